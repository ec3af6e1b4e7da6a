"""Every file of a configuration's cases: opened and decompressed as a training reads it, and compared with its properties."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core
from ..errors import StorageError
from ..loading.reading.cases import ClassLocations, blosc2_files, class_locations, numpy_files
from ..loading.reading.pickles import read_properties
from ..prediction.images import unwritable
from ..settings import in_units
from ..system import memory
from ..threads import Executor
from .machine import MIB
from .report import Check, Verdict, progress

__all__ = ["CaseReport", "Expected", "case_names", "check_case", "check_folder"]

QUICK_CASES = 5
# Of voxels that a thread holds at once.
SLAB = 64 * MIB
SLOW = 20 * MIB
# Less than this says nothing of a disk.
ENOUGH_TO_TIME = 32 * MIB


@dataclass(frozen=True)
class Expected:
    """What the plans and dataset.json say of every case."""

    channels: int
    labels: frozenset[int]
    """With the ignored one. Empty where they are not known."""
    spacing: tuple[float, ...]
    """Of the preprocessed image; without the first axis in 2D."""
    transpose: tuple[int, ...]
    """nnU-Net's transpose_forward."""
    resampled: bool
    """Whether the shape follows from the spacing."""


@dataclass
class CaseReport:
    """What was found in one case."""

    damage: list[str] = field(default_factory=list)
    """Files that a training cannot read, or that do not fit each other."""
    content: list[str] = field(default_factory=list)
    """Voxels that a training cannot use."""
    doubts: list[str] = field(default_factory=list)
    """What a training does not stumble over, but nnU-Net's preprocessing would not have written."""
    unwritable: list[str] = field(default_factory=list)
    """Images of which nnU-Net cannot write a segmentation."""
    file_bytes: int = 0
    file_seconds: float = 0.0
    voxel_bytes: int = 0


def _format(folder: Path) -> str:
    """ "b2nd" or "npz", whichever nnU-Net would take."""
    return "b2nd" if any(folder.glob("*.b2nd")) else "npz"


def case_names(folder: Path) -> set[str]:
    """The cases that nnU-Net finds in a folder."""
    if _format(folder) == "b2nd":
        return {p.stem for p in folder.glob("*.b2nd") if not p.stem.endswith("_seg")}
    return {p.stem for p in folder.glob("*.npz")}


def _all_names(folder: Path) -> list[str]:
    """The cases of which there is any file."""
    names = case_names(folder) | {p.stem for p in folder.glob("*.pkl")}
    names |= {p.stem.removesuffix("_seg") for p in folder.glob("*_seg.b2nd")}
    return sorted(names)


def check_folder(folder: Path, title: str, expected: Expected, preprocess: str, threads: int, quick: bool) -> list[Check]:
    """Check all cases of a folder, or a few of them, on threads.

    title: the configurations that use it. preprocess: the line that writes it anew.
    """
    checks = []
    strange = _strange_files(folder)
    if strange is not None:
        checks.append(strange)
    names = _all_names(folder)
    if not names:
        found, why = f"no case in {folder}", "There is nothing to train on."
        return [*checks, Check(f"files, {title}", Verdict.FAIL, found, why, preprocess)]
    chosen = names
    if quick and len(names) > QUICK_CASES:
        # Spread over the list, the first and the last included, and the same every time.
        chosen = [names[i * (len(names) - 1) // (QUICK_CASES - 1)] for i in range(QUICK_CASES)]
    find = blosc2_files if _format(folder) == "b2nd" else numpy_files
    missing = [line for name in names for line in _missing(find(folder, None, name), folder)]
    slab = max(MIB, min(SLAB, memory().available // (8 * threads)))

    def work(name: str) -> CaseReport:
        report = check_case(find(folder, None, name), folder / f"{name}.pkl", expected, slab)
        advance()
        return report

    started = time.perf_counter()
    with progress(f"reading {title}", len(chosen)) as advance:
        pool = Executor(max_workers=threads, thread_name_prefix="fastnnunet-doctor")
        try:
            reports = list(pool.map(work, chosen))
        finally:
            # After Ctrl-C, what has not begun is not begun.
            pool.shutdown(wait=True, cancel_futures=True)
    seconds = time.perf_counter() - started
    which = f"{len(chosen)} of {len(names)} cases" if len(chosen) < len(names) else f"all {len(names)} cases"
    checks += _verdicts(reports, missing, title, which, preprocess)
    checks.append(_speed(reports, title, threads, seconds))
    return checks


def _strange_files(folder: Path) -> Check | None:
    """nnU-Net tells the format from the endings, and stops at a third."""
    endings = {p.name.rsplit(".")[-1] for p in folder.iterdir() if p.is_file()} - {"pkl", "npy"}
    if endings in ({"b2nd"}, {"npz"}):
        return None
    strange = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix not in (".pkl", ".npy", f".{_format(folder)}"))
    return Check(
        "kinds of files",
        Verdict.FAIL,
        f"[{folder}] expected files of .b2nd or of .npz besides .pkl, got {', '.join(sorted(endings)) or 'neither'}",
        "nnU-Net tells the format from the endings, and stops where there are several or none.",
        "\n".join(f"rm {shlex.quote(str(p))}" for p in strange[:5]),
        tuple(str(p) for p in strange),
    )


def _missing(files: _core.CaseFiles, folder: Path) -> list[str]:
    wanted = dict.fromkeys([files.image, files.segmentation, folder / f"{files.name}.pkl"])
    return [f"[{file}] expected a file of case {files.name}, got none" for file in wanted if not Path(file).is_file()]


def _verdicts(reports: list[CaseReport], missing: list[str], title: str, which: str, preprocess: str) -> list[Check]:
    damage = missing + [line for report in reports for line in report.damage]
    content = [line for report in reports for line in report.content]
    doubts = [line for report in reports for line in report.doubts]
    unfit = [line for report in reports for line in report.unwritable]
    checks = []
    again = f"{preprocess}    (writes all cases anew)"
    if damage:
        why = "A training stops at the first of these. A file that is too short was cut off while it was written."
        mend = f"{again}\nor go on without these cases: fastnnunet train ... --on-bad-case skip"
        checks.append(Check(f"files, {title}", Verdict.FAIL, f"{len(damage)} bad in {which}", why, mend, tuple(damage)))
    else:
        checks.append(Check(f"files, {title}", Verdict.OK, f"{which} read in full, and fit their properties"))
    if content:
        why = "One NaN makes the loss and then the whole network NaN; a label that is not planned stops the training."
        mend = f"correct these cases in nnUNet_raw, then: {again}"
        checks.append(Check(f"voxels, {title}", Verdict.FAIL, f"{len(content)} bad in {which}", why, mend, tuple(content)))
    if unfit:
        why = "The training goes to its end; its final validation and each prediction then fail, where they write."
        mend = f"correct these images in nnUNet_raw, then: {again}"
        found = f"{len(unfit)} that nnU-Net cannot write in {which}"
        checks.append(Check(f"segmentations, {title}", Verdict.FAIL, found, why, mend, tuple(unfit)))
    if doubts:
        why = "The training goes on, but with something else than was planned. These files are of other plans or other cases."
        found = f"{len(doubts)} that do not fit the plans"
        checks.append(Check(f"properties, {title}", Verdict.WARNING, found, why, again, tuple(doubts)))
    return checks


def _speed(reports: list[CaseReport], title: str, threads: int, seconds: float) -> Check:
    name = f"speed, {title}"
    read = sum(report.file_bytes for report in reports)
    each = read / max(sum(report.file_seconds for report in reports), 1e-9)
    voxels = sum(report.voxel_bytes for report in reports)
    found = (
        f"files read at {in_units(each)}/s by each of {threads} threads "
        f"({in_units(read)}, perhaps from the system's cache); "
        f"{in_units(voxels)} of voxels checked at {in_units(voxels / max(seconds, 1e-9))}/s"
    )
    if read >= ENOUGH_TO_TIME and each < SLOW:
        why = "A GPU may wait for such storage. A cache pays: after the first epochs, files are read from a local disk."
        mend = "fastnnunet train ... --cache-dir DIR    (on a local disk; docs/storage.md)"
        return Check(name, Verdict.WARNING, found, why, mend)
    return Check(name, Verdict.OK, found)


def check_case(files: _core.CaseFiles, properties_file: Path, expected: Expected, slab: int) -> CaseReport:
    """Read one case in full. Files that do not exist are left to others to report.

    slab: bytes of voxels to hold at once.
    """
    report = CaseReport()
    properties: dict[str, Any] | None = None
    locations: ClassLocations = []
    if properties_file.is_file():
        with _reporting(report, properties_file):
            properties = read_properties(properties_file)
            locations = class_locations(properties_file, properties, ())
            if reason := unwritable(properties):
                report.unwritable.append(f"[{properties_file}] expected {reason}")
    image = _opened(report, Path(files.image), "data")
    segmentation = _opened(report, Path(files.segmentation), "seg")

    if image is not None:
        _check_image_header(report, image, properties, properties_file, expected)
    if image is not None and segmentation is not None and segmentation.shape[1:] != image.shape[1:]:
        report.damage.append(
            f"[{segmentation.file}] expected the image's shape {image.shape[1:]}, got {segmentation.shape[1:]}"
        )
    if segmentation is not None and segmentation.shape[0] != 1:
        report.damage.append(f"[{segmentation.file}] expected 1 channel, got {segmentation.shape[0]}")
    shape = next((volume.shape[1:] for volume in (image, segmentation) if volume is not None), None)
    if shape is not None:
        locations = _inside(report, properties_file, locations, shape)

    if image is not None:
        with _reporting(report, Path(files.image)):
            _check_image(report, image, slab)
    if segmentation is not None:
        with _reporting(report, Path(files.segmentation)):
            fits = shape == segmentation.shape[1:]
            _check_segmentation(report, segmentation, expected.labels, locations if fits else [], properties_file, slab)
    return report


class _reporting:
    """Inside, what is raised becomes a line about a file."""

    def __init__(self, report: CaseReport, file: Path) -> None:
        self._report = report
        self._file = file

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> bool:
        if isinstance(error, StorageError):
            self._report.damage.append(f"[{error.file}] {error.reason}")
        elif isinstance(error, Exception):
            self._report.damage.append(f"[{self._file}] {type(error).__name__}: {error}")
        return error is None or isinstance(error, Exception)


def _opened(report: CaseReport, file: Path, member: str) -> _core.Volume | None:
    """The volume, after its file was read once as it is."""
    volume = None
    if file.is_file():
        with _reporting(report, file):
            volume = _core.open_volume(file, member)
            started, count = time.perf_counter(), 0
            with file.open("rb", buffering=0) as stream:
                while chunk := stream.read(4 * MIB):
                    count += len(chunk)
            report.file_bytes += count
            report.file_seconds += time.perf_counter() - started
    return volume


def _check_image_header(
    report: CaseReport, image: _core.Volume, properties: dict[str, Any] | None, properties_file: Path, expected: Expected
) -> None:
    if image.shape[0] != expected.channels:
        report.damage.append(f"[{image.file}] expected {expected.channels} channels, as in the plans, got {image.shape[0]}")
    if properties is None or not expected.resampled:
        return
    cropped, spacing = properties.get("shape_after_cropping_and_before_resampling"), properties.get("spacing")
    if cropped is None or spacing is None:
        absent = [k for k in ("shape_after_cropping_and_before_resampling", "spacing") if properties.get(k) is None]
        report.doubts.append(f"[{properties_file}] expected {' and '.join(absent)}, got none")
        return
    if len(cropped) != 3 or len(spacing) != 3:
        report.damage.append(f"[{properties_file}] expected a spacing and a shape of 3 axes, got {spacing} and {cropped}")
        return
    original = [float(spacing[axis]) for axis in expected.transpose]
    target = [original[0], *expected.spacing] if len(expected.spacing) == 2 else list(expected.spacing)
    # nnU-Net rounds so, and to even at a half.
    planned = tuple(round(i / j * k) for i, j, k in zip(original, target, cropped, strict=True))
    if planned != image.shape[1:]:
        report.doubts.append(
            f"[{image.file}] expected shape {planned}, from the plans and {properties_file.name}, got {image.shape[1:]}"
        )


def _inside(report: CaseReport, file: Path, locations: ClassLocations, shape: tuple[int, ...]) -> ClassLocations:
    """The class locations that are good."""
    good: ClassLocations = []
    for labels, is_region, annotated, voxels in locations:
        if voxels.size:
            at = voxels[:, 1:]
            outside = ((at < 0) | (at >= np.asarray(shape))).any(axis=1)
            if outside.any():
                first = tuple(int(n) for n in at[int(outside.argmax())])
                report.damage.append(
                    f"[{file}] expected class_locations inside the image of shape {shape}, got {first} "
                    f"of class {_class_name(labels, is_region)}, and {int(outside.sum()) - 1} more"
                )
                continue
            good.append((labels, is_region, annotated, voxels))
    return good


def _class_name(labels: list[int], is_region: bool) -> str:
    return str(tuple(labels)) if is_region else str(labels[0])


def _slabs(volume: _core.Volume, voxel: int, slab: int) -> Iterator[tuple[int, int]]:
    """Ranges of the first axis of which all channels fit into `slab` bytes."""
    channels, planes, rows, columns = volume.shape
    # Compressed members of an archive are read from their beginning every time: once, then.
    step = planes if volume.file.endswith(".npz") else max(1, slab // (channels * rows * columns * voxel))
    for lower in range(0, planes, step):
        yield lower, min(lower + step, planes)


def _check_image(report: CaseReport, image: _core.Volume, slab: int) -> None:
    bad, first = 0, None
    for lower, upper in _slabs(image, 4, slab):
        voxels = image.read_image((lower, 0, 0), (upper, *image.shape[2:]))
        report.voxel_bytes += voxels.nbytes
        finite = np.isfinite(voxels)
        if not finite.all():
            if first is None:
                first = [int(n) for n in np.unravel_index(int(finite.argmin()), finite.shape)]
                first[1] += lower
            bad += int(finite.size - np.count_nonzero(finite))
    if first is not None:
        many = f"{bad} of {math.prod(image.shape)}"
        report.content.append(
            f"[{image.file}] expected finite voxels, got {many} that are NaN or infinite, first {tuple(first)}"
        )


def _check_segmentation(
    report: CaseReport,
    segmentation: _core.Volume,
    labels: frozenset[int],
    locations: ClassLocations,
    properties_file: Path,
    slab: int,
) -> None:
    known = np.array(sorted(labels | {-1}), dtype=np.int16)
    unknown: dict[int, int] = {}
    wrong = [0] * len(locations)
    for lower, upper in _slabs(segmentation, 2, slab):
        voxels = segmentation.read_segmentation((lower, 0, 0), (upper, *segmentation.shape[2:]))
        report.voxel_bytes += voxels.nbytes
        if labels:
            strange = voxels[~np.isin(voxels, known)]
            for value, count in zip(*np.unique(strange, return_counts=True), strict=True):
                unknown[int(value)] = unknown.get(int(value), 0) + int(count)
        for number, (of, _, _, at) in enumerate(locations):
            wrong[number] += _of_another_label(voxels, of, at, lower, upper)
    if unknown:
        values = ", ".join(f"{value} ({count} voxels)" for value, count in sorted(unknown.items()))
        report.content.append(
            f"[{segmentation.file}] expected labels of dataset.json, {sorted(labels)}, or -1, got also {values}"
        )
    for count, (of, is_region, _, at) in zip(wrong, locations, strict=True):
        if count:
            report.doubts.append(
                f"[{properties_file}] expected class_locations of class {_class_name(of, is_region)} to have it in the "
                f"segmentation, got {count} of {len(at)} that have not"
            )


def _of_another_label(
    voxels: npt.NDArray[np.int16], labels: list[int], locations: npt.NDArray[np.int64], lower: int, upper: int
) -> int:
    """How many locations between two planes have none of the labels. voxels: (C, X, Y, Z), of these planes."""
    here = locations[(locations[:, 1] >= lower) & (locations[:, 1] < upper)]
    if here.size == 0:
        return 0
    found = voxels[0, here[:, 1] - lower, here[:, 2], here[:, 3]]
    return int(np.count_nonzero(~np.isin(found, labels)))
