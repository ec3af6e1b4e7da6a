"""One image of any format: its header, and its voxels. SimpleITK, nibabel and NumPy read the files."""

from __future__ import annotations

import importlib
import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..prediction.images import Header, missing_voxels
from . import dicom
from .grids import Grid

__all__ = ["ENDINGS", "Look", "load", "look", "require", "split"]

NIFTI = (".nii.gz", ".nii")
PICTURES = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff")
NUMPY = (".npy", ".npz")
ENDINGS = (*NIFTI, ".nrrd", ".nhdr", ".mha", ".mhd", ".gipl", *PICTURES, *NUMPY)
"""Of the names of files that are images."""

MEMBERS = {"image": "data", "label": "seg", "target": "target"}
"""Names of arrays in an .npz, as `from_folder` has them."""


@dataclass(frozen=True)
class Look:
    """What a file's header says."""

    header: Header
    grid: Grid
    slices: tuple[str, ...] = ()
    """The files of a DICOM series, in the order of its slices; else none."""


def split(name: str) -> tuple[str, str]:
    """Return the name of a file without its ending, and the ending; "" if it is no image's."""
    ending = next((ending for ending in ENDINGS if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)], name[len(name) - len(ending) :]


def require(files: Sequence[str]) -> None:
    """Raise ModuleNotFoundError if a package is missing that reads these files."""
    needed = set()
    for file in files:
        ending = split(file)[1].lower()
        if ending not in NUMPY:
            needed.add("SimpleITK")
        if ending in NIFTI:
            needed.add("nibabel")  # without it, nobody would see that voxels are missing at the end
    for package in sorted(needed):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ModuleNotFoundError(
                f"[{package}] expected the package, which reads such images, got {error}\n  pip install {package}"
            ) from error


def look(file: str, what: str, series: str | None, given: Sequence[float] | None) -> Look:
    """Return what the header of a file says.

    Args:
        file: a file, or the folder of a DICOM series.
        what: "image", "label" or "target".
        series: of DICOM.
        given: spacing in mm in the order of the file's axes, if the file does not tell.

    Raises:
        ValueError: it is not such an image; what was expected and found.
        Exception: of the library that reads the file.
    """
    ending = split(file)[1].lower()
    if Path(file).is_dir():
        slices = dicom.files_of(file, series)
        return replace(_of_itk(dicom.information(slices), file), slices=tuple(slices))
    if not Path(file).stat().st_size:
        raise ValueError("expected an image, got an empty file")
    if ending in NUMPY:
        shape, dtype = _numpy_header(file, what)
        channels, size = _numpy_shape(shape)
        grid = Grid(size, (1.0, 1.0, 1.0))
        return _look(channels, _with_spacing(grid, given), _number(dtype).itemsize)
    if (lack := missing_voxels(file)) is not None and lack.certain:
        raise ValueError(f"expected {lack.expected}")
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(file)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        if _only_nibabel_reads(file, error):
            return _nibabel(file)[0]
        raise
    found = _of_itk(reader, file)
    return found if found.grid.told else replace(found, grid=_with_spacing(found.grid, given))


def load(file: str, what: str, slices: Sequence[str]) -> npt.NDArray[Any]:
    """Return the voxels of a file, (C, X, Y, Z): float32, or of labels as they are in the file.

    slices: of a DICOM series, as `look` found them.

    Raises:
        Exception: of the library that reads the file.
    """
    if slices:
        return _array(dicom.read(slices, as_float=what != "label"), what)
    if split(file)[1].lower() in NUMPY:
        voxels = _numpy_voxels(file, what)
        _, size = _numpy_shape(voxels.shape)
        return _typed(voxels.reshape(-1, *size), what)
    if split(file)[1].lower() in NIFTI and (floats := _nifti_floats(file)) is not None:
        return _typed(floats, what)
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(file)
    except RuntimeError as error:
        if not _only_nibabel_reads(file, error):
            raise
        return _typed(_of_nibabel(_nibabel(file)[1]), what)
    return _array(image, what)


def _nifti_floats(file: str) -> npt.NDArray[Any] | None:
    """Voxels that may be NaN, which ITK makes 0 without a word; None if ITK is to read the file."""
    import nibabel

    image: Any = nibabel.load(file)
    if image.get_data_dtype().kind != "f" or image.ndim not in (2, 3, 4):
        return None
    return _of_nibabel(image)


def _of_nibabel(image: Any) -> npt.NDArray[Any]:
    """The voxels of an image, (C, X, Y, Z)."""
    voxels: npt.NDArray[Any] = np.asanyarray(image.dataobj)
    voxels = voxels.reshape(*voxels.shape, *(1,) * (4 - voxels.ndim))
    return voxels.transpose(3, 2, 1, 0)


def _of_itk(reader: Any, file: str) -> Look:
    """reader: of a file whose header has been read, or an image."""
    import SimpleITK as sitk

    size, spacing = [int(n) for n in reader.GetSize()], [abs(float(s)) for s in reader.GetSpacing()]
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if "complex" in kind:
        raise ValueError(f"expected real voxels, got {kind}")
    channels = int(reader.GetNumberOfComponents()) if hasattr(reader, "GetNumberOfComponents") else 1
    origin, direction = tuple(reader.GetOrigin()), np.array(reader.GetDirection())
    dims = len(size)
    if dims == 4:
        if channels != 1:
            raise ValueError(f"expected one value for each voxel of a 4D image, got {channels}")
        channels = size.pop()
        del spacing[3]
        origin, direction, dims = origin[:3], direction.reshape(4, 4)[:3, :3], 3
    if dims not in (2, 3):
        raise ValueError(f"expected an image of 2, 3 or 4 dimensions, got {dims}")
    told = split(file)[1].lower() not in PICTURES
    if dims == 2:
        size.append(1)
        spacing = [*spacing, 999 * max(spacing)] if told else [1.0, 1.0, 999.0]
    elif not told:
        spacing = [1.0, 1.0, 1.0]
    x, y, z = size[::-1]
    if min(size) < 1:
        raise ValueError(f"expected an image with voxels, got the size {(x, y, z)}")
    if not all(math.isfinite(s) and s > 0 for s in spacing):
        raise ValueError(f"expected spacings above 0, got {tuple(spacing)}")
    itemsize = sitk.GetArrayViewFromImage(sitk.Image([1, 1], reader.GetPixelID())).dtype.itemsize
    grid = Grid((x, y, z), (spacing[2], spacing[1], spacing[0]))
    if told:
        grid = replace(grid, origin=origin, direction=tuple(float(n) for n in direction.ravel()))
    return _look(channels, grid, itemsize)


def _array(image: Any, what: str) -> npt.NDArray[Any]:
    import SimpleITK as sitk

    voxels = sitk.GetArrayViewFromImage(image)
    dims = image.GetDimension()
    if image.GetNumberOfComponentsPerPixel() > 1:
        voxels = np.moveaxis(voxels, -1, 0)
    elif dims < 4:
        voxels = voxels[None]
    if dims == 2:
        voxels = voxels[:, None]
    return _typed(voxels, what)


def _typed(voxels: npt.NDArray[Any], what: str) -> npt.NDArray[Any]:
    """A copy in C order; images and targets in float32."""
    with np.errstate(over="ignore"):  # what is too large for float32 is found to be infinite
        return np.array(voxels, None if what == "label" else np.float32, order="C")


def _only_nibabel_reads(file: str, error: RuntimeError) -> bool:
    """Whether a NIfTI file has axes that are not at right angles, which ITK refuses."""
    return split(file)[1].lower() in NIFTI and "orthonormal" in str(error)


def _nibabel(file: str) -> tuple[Look, Any]:
    import nibabel

    image: Any = nibabel.load(file)
    if image.ndim not in (3, 4):
        raise ValueError(f"expected an image of 3 or 4 dimensions, got {image.ndim}")
    x, y, z = image.shape[:3]
    zooms = [float(zoom) for zoom in image.header.get_zooms()[:3]]
    to_lps = np.diag((-1.0, -1.0, 1.0))
    direction = to_lps @ image.affine[:3, :3] / np.array(zooms)
    grid = Grid(
        (z, y, x),
        (zooms[2], zooms[1], zooms[0]),
        tuple(float(n) for n in to_lps @ image.affine[:3, 3]),
        tuple(float(n) for n in direction.ravel()),
    )
    channels = int(image.shape[3]) if image.ndim == 4 else 1
    return _look(channels, grid, max(8, image.get_data_dtype().itemsize)), image


def _numpy_header(file: str, what: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if file.lower().endswith(".npy"):
        voxels = np.load(file, mmap_mode="r", allow_pickle=False)  # this checks the length of the file, too
        return voxels.shape, voxels.dtype
    with zipfile.ZipFile(file) as archive, archive.open(f"{_member(archive, what)}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        return shape, dtype


def _numpy_voxels(file: str, what: str) -> npt.NDArray[Any]:
    if file.lower().endswith(".npy"):
        return np.asarray(np.load(file, allow_pickle=False))
    with zipfile.ZipFile(file) as archive:
        member = _member(archive, what)
    with np.load(file, allow_pickle=False) as arrays:
        return np.asarray(arrays[member])


def _member(archive: zipfile.ZipFile, what: str) -> str:
    names = [name.removesuffix(".npy") for name in archive.namelist()]
    wanted = MEMBERS[what]
    if wanted in names:
        return wanted
    if len(names) != 1:
        raise ValueError(f"expected an array '{wanted}', or only one, got {', '.join(names) or 'none'}")
    return names[0]


def _numpy_shape(shape: tuple[int, ...]) -> tuple[int, tuple[int, int, int]]:
    """Channels, and the size (X, Y, Z), of an array (Y, Z), (X, Y, Z) or (C, X, Y, Z)."""
    if len(shape) not in (2, 3, 4) or not math.prod(shape):
        raise ValueError(f"expected an array (C, X, Y, Z), (X, Y, Z) or (Y, Z) with voxels, got the shape {shape}")
    channels, x, y, z = (1,) * (4 - len(shape)) + shape
    return channels, (x, y, z)


def _number(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind not in "biuf":
        raise ValueError(f"expected real numbers, got {dtype}")
    return dtype


def _with_spacing(grid: Grid, given: Sequence[float] | None) -> Grid:
    if given is None:
        return grid
    if len(given) != (2 if grid.shape[0] == 1 else 3):
        raise ValueError(f"expected {2 if grid.shape[0] == 1 else 3} numbers as the spacing of the images, got {len(given)}")
    last = [999 * max(given)] if len(given) == 2 else []
    z, y, x = (float(s) for s in (*given, *last))
    return replace(grid, spacing=(x, y, z))


def _look(channels: int, grid: Grid, itemsize: int) -> Look:
    return Look(Header(channels, grid.shape, grid.spacing, itemsize), grid)
