"""One case: read, preprocessed and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ..blocks import blocks_and_chunks
from ..errors import PreprocessingError
from ..loading.reading.patience import Patience
from ..loading.scripts.locations import CaseLocations
from ..prediction.preprocessing.resampling import resample
from ..prediction.preprocessing.shapes import new_shape
from ..prediction.preprocessing.steps import Steps
from ..preprocessing.cases import native_bytes
from ..preprocessing.saving import save_case
from .checks import Seen, check_numbers, labels_of, voxels_of
from .recipe import Recipe

__all__ = ["CasePacker", "find_locations", "peak_bytes"]

SMALL_LABEL = 127
CLASSES = 16
"""Classes whose locations are counted in the memory of a case if nobody has told how many there are."""


def peak_bytes(seen: Seen, recipe: Recipe, steps: Steps) -> int:
    """The memory that a case needs at its peak."""
    header = seen.header
    spacing = [header.spacing[axis] for axis in recipe.forward]
    after = int(np.prod(new_shape([header.shape[axis] for axis in recipe.forward], spacing, steps.target(spacing))))
    classes = CLASSES if recipe.classes is None else len(recipe.classes)
    whole = native_bytes(header, seen.channels, classes, after) + header.voxels * seen.itemsize
    return whole + 4 * seen.target_channels * (2 * header.voxels + 4 * after)


class CasePacker:
    """Packs cases.

    Args:
        recipe, steps: what is done to each.
        patience: with files.
    """

    def __init__(self, recipe: Recipe, steps: Steps, patience: Patience) -> None:
        self._recipe = recipe
        self._steps = steps
        self._patience = patience

    def run(self, seen: Seen, folder: Path, threads: int) -> None:
        """Write the files of a case to a folder. Raises PreprocessingError that names the file at fault."""
        case = seen.case
        image = voxels_of(case, case.images, "image", seen, self._patience)
        check_numbers(case, case.images, image)
        labels = None
        if case.label is not None:
            voxels = voxels_of(case, [case.label], "label", seen, self._patience)
            labels = labels_of(case, case.label, voxels)
            del voxels
        properties = _properties(seen)
        box, label_box = [image], [labels]
        del image, labels  # so that each can go as soon as the next stage has what it needs
        try:
            image, labels = self._steps.run(box.pop(), label_box.pop(), properties, {}, threads)
        except ValueError as error:
            file = ", ".join(case.images)
            raise PreprocessingError(case=case.name, stage="pack", file=file, reason=str(error)) from error
        arrays: dict[str, npt.NDArray[Any]] = {"": np.ascontiguousarray(image, np.float32)}
        if case.label is not None:
            arrays["_seg"] = self._finished(labels, properties)
        if case.target is not None:
            arrays["_target"] = self._target(seen, case.target, properties, image.shape[1:], threads)
        save_case(folder, case.name, arrays, properties, self._recipe.patch_size, blocks_and_chunks, threads)

    def _finished(self, given: Any, properties: dict[str, Any]) -> npt.NDArray[Any]:
        labels: npt.NDArray[np.int16] = np.asarray(given, np.int16, order="C")
        classes = self._recipe.classes
        if classes is None:
            small = not self._recipe.marks and labels.max() <= SMALL_LABEL
            return labels.astype(np.int8) if small else labels
        found = _core.sample_locations(labels[0], [list(key) if isinstance(key, tuple) else [key] for key in classes])
        properties["class_locations"] = {key: rows if len(rows) else [] for key, rows in zip(classes, found, strict=True)}
        return labels

    def _target(
        self, seen: Seen, file: str, properties: dict[str, Any], shape: tuple[int, ...], threads: int
    ) -> npt.NDArray[np.float32]:
        """A regression target (C, X, Y, Z), which goes where its image goes, between voxels linearly."""
        target: npt.NDArray[np.float32] = voxels_of(seen.case, [file], "target", seen, self._patience)
        check_numbers(seen.case, [file], target)
        inside = (slice(None), *(slice(low, high) for low, high in properties["bbox_used_for_cropping"]))
        target = target.transpose(0, *(axis + 1 for axis in self._recipe.forward))[inside]
        return resample(np.ascontiguousarray(target), shape, 1, threads=threads)


def _properties(seen: Seen) -> dict[str, Any]:
    """nnU-Net's properties of a case, with what takes a prediction back to the files that were read."""
    grid = seen.turn.of_grid(seen.grid)
    dims = 2 if grid.flat else 3
    return {
        "sitk_stuff": {
            "spacing": grid.spacing[::-1][:dims],
            "origin": grid.origin or (0.0,) * dims,
            "direction": grid.direction or tuple(float(n) for n in np.eye(dims).ravel()),
        },
        "spacing": list(grid.spacing),
        "packed": {
            "files": list(seen.case.images),
            "shape": seen.grid.shape,
            "spacing": seen.grid.spacing,
            "origin": seen.grid.origin,
            "direction": seen.grid.direction,
            "axes": seen.turn.axes,
            "reversed": seen.turn.reversed,
        },
    }


def find_locations(folder: Path, name: str) -> None:
    """Find the classes of a packed case, as `from_folder` does when it needs them first, and keep them where it looks."""
    file = _core.CaseFiles(name=name, image=folder / f"{name}.b2nd", segmentation=folder / f"{name}_seg.b2nd")
    CaseLocations([file], [folder / f"{name}.pkl"], folder, None, None, None)(0, False)
