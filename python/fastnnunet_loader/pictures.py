"""Pictures of what the network sees: patches as the loader makes them, with the outlines of their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Patch", "draw_patches", "patches_of"]

WIDTH_PX = 1600
_DPI = 100
_COLOURS = ("#ff5a5f", "#35d0ba", "#ffd166", "#6ea8ff", "#d783ff", "#9be564", "#ff9f45", "#f78fb3")


@dataclass(frozen=True)
class Patch:
    """One sample of a batch."""

    case: str
    image: npt.NDArray[np.float32]
    """Of shape CXYZ or CXY."""
    masks: dict[int, npt.NDArray[np.bool_]]
    """Where each label or region is, of shape XYZ or XY, by label or by index of the region."""


def patches_of(batch: Mapping[str, Any], labels: Sequence[int]) -> list[Patch]:
    """Take a batch apart, at full resolution.

    batch: as nnU-Net's: 'data' of shape BCXYZ or BCXY, 'target' of B1XYZ (labels) or BRXYZ (regions), or a list of those for
    deep supervision, 'keys'. labels: those to be outlined; for regions, their indices. Nothing of the batch is kept.
    """
    target = batch["target"]
    target = np.asarray(target[0] if isinstance(target, (list, tuple)) else target)
    images = np.asarray(batch["data"])
    patches = []
    for case, image, segmentation in zip(batch["keys"], images, target, strict=True):
        regions = segmentation.dtype == np.bool_ or len(segmentation) > 1
        masks = {n: (segmentation[n] > 0) if regions else (segmentation[0] == n) for n in labels}
        patches.append(Patch(str(case), image.copy(), {n: np.array(mask, bool) for n, mask in masks.items()}))
    return patches


def _fullest_slice(masks: Mapping[int, npt.NDArray[np.bool_]], shape: tuple[int, ...], axis: int) -> int:
    """Return the slice with the most labelled voxels, the middle one where there are none."""
    others = tuple(a for a in range(len(shape)) if a != axis)
    counts = sum((mask.sum(axis=others) for mask in masks.values()), np.zeros(shape[axis], int))
    return int(np.argmax(counts)) if counts.any() else shape[axis] // 2


def _cuts(patch: Patch) -> list[tuple[str, npt.NDArray[np.float32], dict[int, npt.NDArray[np.bool_]]]]:
    """Return (title, image of shape RC, masks of shape RC): three cuts of a 3D patch, or a 2D patch itself."""
    channels = range(min(2, len(patch.image)))
    named = len(patch.image) > 1
    if patch.image.ndim == 3:
        return [(f"channel {c}" if named else "", patch.image[c], patch.masks) for c in channels]
    cuts = []
    for c in channels:
        for axis in range(3):
            at = _fullest_slice(patch.masks, patch.image.shape[1:], axis)
            title = f"{'zyx'[axis]} = {at}" + (f", channel {c}" if named else "")
            masks = {n: np.take(mask, at, axis) for n, mask in patch.masks.items()}
            cuts.append((title, np.take(patch.image[c], at, axis), masks))
    return cuts


def draw_patches(patches: Sequence[Patch], names: Mapping[int, str], file: Path, title: str = "") -> Path:
    """Write a PNG of 1600 pixels' width: a row for each 3D patch, or several 2D patches in a row, and a legend.

    names: of the labels, for the legend. Intensities are shown from the 1st to the 99th percentile of each patch's channel.
    Raises ValueError if there is no patch.
    """
    if not patches:
        raise ValueError("[draw_patches] expected at least one patch, got none")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    tiles = [[(patch, *cut) for cut in _cuts(patch)] for patch in patches]
    if patches[0].image.ndim == 3:  # 2D: one or two tiles a patch, so several patches fit in a row
        flat = [tile for row in tiles for tile in row]
        tiles = [flat[i : i + 4] for i in range(0, len(flat), 4)]
    columns = max(len(row) for row in tiles)
    # Rows as high as their highest tile is at the width of a column, with room for a title above it.
    column_px = (WIDTH_PX - 20 * (columns + 1)) / columns
    heights = [max(min(1.3, image.shape[0] / image.shape[1]) for _, _, image, _ in row) * column_px + 34 for row in tiles]
    head, foot = (50 if title else 10), 46
    figure = Figure(figsize=(WIDTH_PX / _DPI, (head + sum(heights) + foot) / _DPI), dpi=_DPI, facecolor="#15181d")
    FigureCanvasAgg(figure)
    total = head + sum(heights) + foot
    top = float(head)
    for row, height in zip(tiles, heights, strict=True):
        for column, (patch, heading, image, masks) in enumerate(row):
            left = 20 + column * (column_px + 20)
            box = (left / WIDTH_PX, 1 - (top + height) / total, column_px / WIDTH_PX, (height - 34) / total)
            axes = figure.add_axes(box)
            _draw_tile(axes, image, masks, list(names))
            first = column == 0 or patches[0].image.ndim == 3
            label = "   ".join(part for part in (patch.case if first else "", heading) if part)
            axes.set_title(label, color="white", fontsize=12, loc="left", pad=5)
        top += height
    if title:
        figure.text(20 / WIDTH_PX, 1 - 16 / total, title, color="white", fontsize=15, va="top", weight="bold")
    handles = [Line2D([], [], color=_colour(i), lw=3, label=name) for i, name in enumerate(names.values())]
    figure.legend(
        handles=handles, loc="lower center", ncols=min(len(handles), 10), frameon=False, labelcolor="white", fontsize=12
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, format="png", dpi=_DPI, facecolor=figure.get_facecolor())
    return file


def _colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]


def _draw_tile(axes: Any, image: npt.NDArray[np.float32], masks: Mapping[int, npt.NDArray[np.bool_]], order: list[int]) -> None:
    finite = image[np.isfinite(image)]
    low, high = np.percentile(finite, (1, 99)) if finite.size else (0.0, 1.0)
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest")
    for index, label in enumerate(order):
        mask = masks[label]
        if mask.any() and not mask.all():
            axes.contour(mask.astype(np.float32), levels=[0.5], colors=[_colour(index)], linewidths=1.4)
    axes.set_axis_off()
