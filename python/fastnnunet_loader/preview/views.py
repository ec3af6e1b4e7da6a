"""From a loader's samples to the tiles of a picture: the patch as it was cut, and what the transforms make of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..transforms.pipeline import DrawnParameters
from .pictures import Mask, Panel, Row, Tile

if TYPE_CHECKING:  # a loader draws its batches with this room
    from ..loading.loader import DataLoader, Patch
    from ..nnunet.sources import Source

__all__ = ["Labels", "View", "Viewer", "parameter_text", "positions_of", "tile_of", "windows_of"]

_MOST_CHANNELS = 2
_MOST_NUMBERS = 6
_OPERATORS = ("dilation", "erosion", "closing", "opening")
_FLAGS = ("retain_stats", "invert_image", "fill")
_CHANNELS = ("apply_to_channel", "apply_to_channels")
_CONVERSIONS = ("Convert3DTo2DTransform", "Convert2DTo3DTransform")


@dataclass(frozen=True)
class Labels:
    """A segmentation. Masks are made where they are looked at: a hundred of a whole patch would fill the memory."""

    array: npt.NDArray[Any]  # (1, X, Y, Z) or (1, Y, Z) labels, or bool (R, ...) regions in the order of `values`
    values: Mapping[int, tuple[int, ...]]  # the labels of each entry of the legend

    def masks(self) -> Iterator[tuple[int, Mask]]:
        """The voxels of each entry of the legend."""
        for place, (n, labels) in enumerate(self.values.items()):
            if self.array.dtype == np.bool_:
                yield n, self.array[place]
            elif len(labels) == 1:
                yield n, self.array[0] == labels[0]
            else:
                yield n, np.isin(self.array[0], labels)

    def cut(self, axis: int, at: int) -> dict[int, Mask]:
        """The masks of one plane."""
        return dict(Labels(np.ascontiguousarray(np.take(self.array, at, axis + 1)), self.values).masks())

    def counts(self) -> list[npt.NDArray[np.int64]]:
        """How many voxels have any of the labels, by axis and slice."""
        labelled = np.zeros(self.array.shape[1:], bool)
        for _, mask in self.masks():
            labelled |= mask
        axes = range(labelled.ndim)
        return [labelled.sum(axis=tuple(a for a in axes if a != axis)) for axis in axes]

    def same(self, other: Labels) -> bool:
        """Whether they look the same."""
        if self.array.dtype == other.array.dtype and np.array_equal(self.array, other.array):
            return True
        return all(np.array_equal(a, b) for (_, a), (_, b) in zip(self.masks(), other.masks(), strict=True))


@dataclass(frozen=True)
class View:
    """What is drawn of a sample."""

    image: npt.NDArray[np.float32]  # (C, X, Y, Z) or (C, Y, Z)
    labels: Labels
    previous: Labels | None  # a cascade's previous stage

    def same(self, other: View) -> bool:
        """Whether it looks the same."""
        if self.image.shape != other.image.shape or not np.array_equal(self.image, other.image, equal_nan=True):
            return False
        if self.previous is not None and other.previous is not None and not self.previous.same(other.previous):
            return False
        return self.labels.same(other.labels)


class Viewer:
    """Makes the rows of a picture from the samples of one loader."""

    def __init__(self, source: Source, loader: DataLoader, *, targets: bool = False) -> None:
        """Targets: whether those of deep supervision are shown as well."""
        self._loader = loader
        self._targets = targets
        self._labels = source.label_values
        self._foreground = source.foreground_labels
        self._spacing = source.spacing
        self._cascaded = source.trainer.is_cascaded

    @property
    def legend(self) -> str:
        """What outlines and areas stand for."""
        areas = ["the previous stage"] * self._cascaded + ["targets on black"] * self._targets
        return "outlines: labels" + (f"   areas: {', '.join(areas)}" if areas else "")

    def samples(self, first_step: int, count: int) -> list[tuple[int, int]]:
        """(step, slot) of the first samples from a step on."""
        batch_size = self._loader.batch_size
        return [(first_step + i // batch_size, i % batch_size) for i in range(count)]

    def stages(self, step: int, slot: int, attempt: int = 0) -> Row:
        """The patch as it was cut, then after each transform that changed it."""
        patch = self._loader.patch(step, slot, attempt)
        shown = self._view(patch, patch.image, patch.segmentation)
        windows = windows_of(patch.image)
        at = positions_of(shown)
        tiles = [tile_of("as cut", [_shape(shown)], shown, at, windows, self._spacing)]
        result: Any = patch.segmentation
        folded: list[str] = []
        for stage in self._loader.pipeline.stages(
            image=patch.image, segmentation=patch.segmentation, **self._loader.sample_id(step, slot, attempt)
        ):
            name = type(stage.transform).__name__
            text = parameter_text(stage.transform, stage.parameters, len(patch.image))
            if name not in _CONVERSIONS:
                folded.append(_short(name))
            image, result = stage.result["image"].numpy(), stage.result.get("segmentation")
            if image.ndim != patch.image.ndim:  # planes are channels now, and will be planes again
                waiting = text if name not in _CONVERSIONS else []
                continue
            if name == _CONVERSIONS[1]:
                text = [*waiting, "plane by plane"]
            view = self._view(patch, image, result)
            title, folded = " + ".join(folded), []
            if not view.same(shown):
                if view.image.shape[1:] != shown.image.shape[1:]:
                    text = [*text, _shape(view)]
                if name == "MirrorTransform":  # the same cuts as before
                    for axis in map(int, stage.parameters.get("axes", ())):
                        at[axis] = view.image.shape[1 + axis] - 1 - at[axis]
                elif name == "SpatialTransform" or name in _CONVERSIONS or view.image.shape[1:] != shown.image.shape[1:]:
                    at = positions_of(view)
                tiles.append(tile_of(title, text, view, at, windows, self._spacing))
                shown = view
        lines = [tiles]
        if self._targets:
            lines.append(self._target_tiles(result, shown, at))
        return Row(patch.case, self._note(patch, step, slot), lines)

    def draws(self, step: int, slot: int, count: int) -> Row:
        """What the whole pipeline makes of one patch, with the parameters of this sample and of this place in later batches."""
        patch = self._loader.patch(step, slot)
        windows = windows_of(patch.image)
        pipeline = self._loader.pipeline
        tiles, lines = [], []
        for draw in range(count):
            identity = self._loader.sample_id(step + draw, slot)
            result = pipeline(image=patch.image, segmentation=patch.segmentation, **identity)
            trace = pipeline.draw(patch.image.shape, segmentation_channels=len(patch.segmentation), **identity)
            text = []
            for transform, parameters in trace:
                own = parameter_text(transform, parameters, len(patch.image))
                if own:
                    text.append(f"{_short(type(transform).__name__)}: {', '.join(own)}")
            view = self._view(patch, result["image"].numpy(), result["segmentation"])
            at = positions_of(view)
            tiles.append(tile_of(f"draw {draw} (step {step + draw})", text, view, at, windows, self._spacing))
            if self._targets:
                lines.append([tiles[-1], *self._target_tiles(result["segmentation"], view, at)])
        return Row(patch.case, self._note(patch, step, slot), lines or [tiles])

    def _note(self, patch: Patch, step: int, slot: int) -> str:
        window = ", ".join(f"{lower}:{upper}" for lower, upper in patch.window)
        forced = "   foreground forced" if patch.forced_foreground else ""
        # Of ranks that share batches, the slot of the whole batch, by which errors name it.
        return f"step {step}, slot {self._loader.sample_id(step, slot).slot}   patch [{window}]{forced}"

    def _view(self, patch: Patch, image: npt.NDArray[np.float32], segmentation: Any) -> View:
        several = segmentation if isinstance(segmentation, (list, tuple)) else [segmentation]
        full = next((a for a in map(np.asarray, several) if a.shape[1:] == image.shape[1:]), None)
        if full is None:  # deep supervision without the full resolution
            full = np.zeros((1, *image.shape[1:]), np.int16)
        own = len(patch.image)
        previous = None
        if len(image) > own:  # one channel for each label
            marked = [[i for i, label in enumerate(self._foreground) if label in values] for values in self._labels.values()]
            regions = np.stack([(image[[own + i for i in channels]] > 0.5).any(axis=0) for channels in marked])
            previous = Labels(regions, self._labels)
        elif full.dtype != np.bool_ and len(full) > 1:
            previous = Labels(full[-1:], self._labels)
        return View(image[:own], Labels(full if full.dtype == np.bool_ else full[:1], self._labels), previous)

    def _target_tiles(self, targets: Any, view: View, at: Sequence[int]) -> list[Tile]:
        several = list(targets) if isinstance(targets, (list, tuple)) else [targets]
        tiles = []
        for number, target in enumerate(several):
            labels = Labels(np.asarray(target), self._labels)
            shape = tuple(target.shape[1:])
            spacing = [s * full / own for s, full, own in zip(self._spacing, view.image.shape[1:], shape, strict=True)]
            cut = [
                min(own - 1, int((a + 0.5) * own / full)) for a, own, full in zip(at, shape, view.image.shape[1:], strict=True)
            ]
            panels = list(_panels(None, None, labels, cut, spacing, "", (0, 1)))
            tiles.append(Tile(f"target {number}", [" x ".join(map(str, shape))], [panels]))
        return tiles


def _shape(view: View) -> str:
    return " x ".join(map(str, view.image.shape[1:]))


def _short(name: str) -> str:
    return name.removesuffix("Transform") or name


def windows_of(image: npt.NDArray[np.float32]) -> list[tuple[float, float]]:
    """Intensities that are black and white in each channel of a row, so that its tiles can be compared."""
    windows = []
    for channel in image:
        finite = channel[np.isfinite(channel)]
        low, high = (float(v) for v in np.percentile(finite, (0.5, 99.5))) if finite.size else (0.0, 1.0)
        margin = 0.1 * (high - low)
        windows.append((low - margin, high + margin))
    return windows


def positions_of(view: View) -> list[int]:
    """On each axis the slice with the most labelled voxels, the middle one where there are none."""
    shape = view.image.shape[1:]
    counts = view.labels.counts()
    if view.previous is not None and not counts[0].any():
        counts = view.previous.counts()
    return [int(np.argmax(count)) if count.any() else size // 2 for count, size in zip(counts, shape, strict=True)]


def tile_of(
    title: str,
    text: Sequence[str],
    view: View,
    at: Sequence[int],
    windows: Sequence[tuple[float, float]],
    spacing: Sequence[float],
) -> Tile:
    """A view through the slices `at`, with intensities between the two of `windows` for each channel."""
    channels = range(min(_MOST_CHANNELS, len(view.image)))
    blocks = []
    for c in channels:
        heading = f"channel {c}" if len(view.image) > 1 else ""
        blocks.append(list(_panels(view.image[c], view.labels, view.previous, at, spacing, heading, windows[c])))
    return Tile(title, text, blocks)


def _panels(
    image: npt.NDArray[np.float32] | None,
    outlined: Labels | None,
    filled: Labels | None,
    at: Sequence[int],
    spacing: Sequence[float],
    heading: str,
    window: tuple[float, float],
) -> Iterator[Panel]:
    """A panel of a 2D channel, or the three orthogonal cuts of a 3D one through `at`."""
    shape = image.shape if image is not None else filled.array.shape[1:] if filled is not None else ()
    if len(shape) == 2:
        size = (shape[0] * spacing[0], shape[1] * spacing[1])
        lines, areas = ({} if labels is None else dict(labels.masks()) for labels in (outlined, filled))
        yield Panel(heading, size, image, lines, areas, window)
        return
    for axis in range(3):
        rows, columns = (a for a in range(3) if a != axis)
        where = ",".join(str(at[a]) if a == axis else ":" for a in range(3))
        lines, areas = ({} if labels is None else labels.cut(axis, at[axis]) for labels in (outlined, filled))
        yield Panel(
            f"{heading} [{where}]" if heading and axis == 0 else f"[{where}]",
            (shape[rows] * spacing[rows], shape[columns] * spacing[columns]),
            None if image is None else np.ascontiguousarray(np.take(image, at[axis], axis)),
            lines,
            areas,
            window,
        )


def parameter_text(transform: Any, parameters: DrawnParameters, channels: int = 1) -> list[str]:
    """Drawn parameters in a few words each; nothing for a transform that leaves nothing to chance, or chose no channel or axis.

    channels: of the image; which were chosen is not said where there is one.
    """
    if "token" in parameters:
        return ["parameters drawn in Python"]
    if type(transform).__name__ == "SpatialTransform":
        return _spatial_text(transform, parameters)
    if any(name in parameters and not parameters[name] for name in (*_CHANNELS, "axes")):
        return []  # nothing was chosen
    text = []
    for name, value in parameters.items():
        numbers = list(value) if isinstance(value, (list, tuple)) else [value]
        if name in _CHANNELS:
            if channels > 1 or name == "apply_to_channels":
                text.append("channels " + _numbers(numbers))
        elif name == "operators":
            text.append(" ".join(_OPERATORS[int(code)] for code in numbers))
        elif name in _FLAGS:
            text.append(f"{name} {' '.join('yes' if n else 'no' for n in dict.fromkeys(numbers))}")
        else:
            text.append(f"{name} {_numbers(numbers)}")
    return text


def _numbers(values: Sequence[float]) -> str:
    """Rounded; once where all are the same."""
    rounded = [f"{float(value):.3g}" for value in values]
    if len(set(rounded)) == 1 and len(rounded) > 1 and not float(values[0]).is_integer():
        rounded = rounded[:1]
    return " ".join(rounded[:_MOST_NUMBERS]) + (" …" if len(rounded) > _MOST_NUMBERS else "")


def _spatial_text(transform: Any, parameters: DrawnParameters) -> list[str]:
    affine = parameters["affine"]
    text = []
    if affine is None:
        text.append("crop, no rotation, no scaling")
    else:
        # A scaling along the axes, then rotations about the first, second and third axis.
        matrix = np.asarray(affine)
        scales = np.linalg.norm(matrix, axis=0)
        turned = matrix / scales
        if len(matrix) == 2:
            angles = [math.atan2(turned[1, 0], turned[0, 0])]
        else:
            angles = [
                math.atan2(turned[2, 1], turned[2, 2]),
                math.asin(float(np.clip(-turned[2, 0], -1, 1))),
                math.atan2(turned[1, 0], turned[0, 0]),
            ]
        degrees = [round(math.degrees(angle)) for angle in angles]
        if any(degrees):
            text.append("rotation " + " ".join(f"{d}°" for d in degrees))
        if not np.allclose(scales, 1, atol=1e-6):
            text.append("scaling " + _numbers([float(s) for s in scales]))
    if transform.random_crop:
        text.append("centre " + _numbers(parameters["center_location_in_pixels"]))
    return text
