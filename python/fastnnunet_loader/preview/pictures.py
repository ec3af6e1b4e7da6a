"""Pictures of samples: a grid of tiles, with labels as outlines and a few lines of text under each tile."""

from __future__ import annotations

import colorsys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _pictures
from ..settings import PICTURES_BY

__all__ = ["WIDTH_PX", "Panel", "Row", "Tile", "draw_rows"]

Mask = npt.NDArray[np.bool_]

WIDTH_PX = 1600
_HIGHEST_PX = 2**16 - 1  # that matplotlib draws
_DPI = 100
_MARGIN = 20
_GAP = 16  # between tiles
_SEAM = 4  # between the panels of a tile
_FONT = 9  # points, of the text under a tile
_CHARACTER_PX = 8  # of the monospaced font at this size
_LINE_PX = 16
_TITLE_PX = 22
_COLUMNS = {2: 5, 3: 4}  # by the number of axes
_WIDEST_TILE_PX = {2: 340, 3: 520}
_LEGEND_ENTRIES = 24
_BACKGROUND, _TEXT, _FAINT = "#15181d", "#ffffff", "#aeb6c2"
_COLOURS = ("#ff5a5f", "#35d0ba", "#ffd166", "#6ea8ff", "#d783ff", "#9be564", "#ff9f45", "#f78fb3")


@dataclass(frozen=True)
class Panel:
    """One cut through one channel."""

    heading: str
    size: tuple[float, float]  # height and width in the units of the voxels' spacing
    image: npt.NDArray[np.float32] | None  # (rows, columns)
    outlined: Mapping[int, Mask] = field(default_factory=dict)  # (rows, columns), by number of the label
    filled: Mapping[int, Mask] = field(default_factory=dict)  # the same, drawn as areas
    window: tuple[float, float] = (0.0, 1.0)  # intensities that are black and white


@dataclass(frozen=True)
class Tile:
    """One state of a sample: for each channel one panel (2D), or a large one and two small ones (3D)."""

    title: str
    text: Sequence[str]  # lines, which are wrapped
    blocks: Sequence[Sequence[Panel]]


@dataclass(frozen=True)
class Row:
    """One sample: lines of tiles, each of which goes on below where it is too long."""

    heading: str
    note: str
    lines: Sequence[Sequence[Tile]]


@dataclass(frozen=True)
class _Box:
    """A rectangle in pixels from the upper left corner of the picture."""

    left: float
    top: float
    width: float
    height: float


def colour(number: int) -> str:
    """The colour of the label with this place in the legend; no two are the same."""
    if number < len(_COLOURS):
        return _COLOURS[number]
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.45 + 0.2 * (number % 3), 1)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def _shortened(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 1, 1)] + "…"


def _wrapped(lines: Sequence[str], width: int, most: int) -> list[str]:
    out: list[str] = []
    for line in lines:
        out += textwrap.wrap(line, width, subsequent_indent="  ", break_on_hyphens=False)
    if len(out) > most:
        out = [*out[: most - 1], _shortened(f"{out[most - 1]} …", width)]
    return out


def _panel_boxes(block: Sequence[Panel], width: float) -> tuple[list[_Box], float]:
    """Where the panels of one channel are in a tile of this width, from its corner, and how high all of it is."""

    def fitted(panel: Panel, widest: float, highest: float) -> tuple[float, float]:
        height, breadth = panel.size
        scale = min(widest / breadth, highest / height)
        return breadth * scale, height * scale

    first = block[0]
    if len(block) == 1:
        w, h = fitted(first, width, 1.3 * width)
        return [_Box(0, 0, w, h)], h
    # The first cut takes two thirds, the others share the rest one above the other.
    w, h = fitted(first, (width - _SEAM) * 2 / 3, 0.9 * width)
    small = width - w - _SEAM
    height = max(h, width / 3)
    boxes = [_Box(0, 0, w, h)]
    top = 0.0
    for panel in block[1:]:
        pw, ph = fitted(panel, small, (height - _SEAM) / 2)
        boxes.append(_Box(w + _SEAM, top, pw, ph))
        top += ph + _SEAM
    return boxes, max(h, top - _SEAM)


class _Canvas:
    """A figure with pixels counted from its upper left corner."""

    def __init__(self, height: float) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.height = round(height)
        self.figure = Figure(figsize=(WIDTH_PX / _DPI, self.height / _DPI), dpi=_DPI, facecolor=_BACKGROUND)
        FigureCanvasAgg(self.figure)

    def text(self, left: float, top: float, text: str, size: float = _FONT, colour: str = _TEXT, **style: Any) -> None:
        # What a user named must not be read as mathematics.
        self.figure.text(
            left / WIDTH_PX, 1 - top / self.height, text, fontsize=size, color=colour, va="top", parse_math=False, **style
        )

    def axes(self, box: _Box) -> Any:
        return self.figure.add_axes(
            (
                box.left / WIDTH_PX,
                1 - (box.top + box.height) / self.height,
                box.width / WIDTH_PX,
                box.height / self.height,
            )
        )


def draw_rows(rows: Sequence[Row], names: Mapping[int, str], file: Path, title: str = "", key: str = "") -> Path:
    """Write a PNG of 1600 pixels' width, and a height that shows all tiles.

    Args:
        rows: with at least one tile.
        names: of the labels by number, for the legend; those that are nowhere to be seen are left out.
        file: is written, and its folder made.
        title: above all.
        key: a line below the legend.

    Raises:
        ValueError: there is no tile, or more than fit in a picture.
    """
    tiles = [tile for row in rows for line in row.lines for tile in line]
    if not tiles:
        raise ValueError("[draw_rows] expected at least one tile, got none")
    dims = 3 if any(len(block) > 1 for tile in tiles for block in tile.blocks) else 2
    columns = min(_COLUMNS[dims], max(len(line) for row in rows for line in row.lines))
    width = min((WIDTH_PX - 2 * _MARGIN - (columns - 1) * _GAP) / columns, _WIDEST_TILE_PX[dims])
    characters = int(width / _CHARACTER_PX)

    # Heights first: the canvas needs their sum.
    top = float(58 if title else 12)
    headings: list[tuple[float, Row]] = []
    placed: list[tuple[float, float, Tile, list[list[_Box]], float, list[str]]] = []
    for row in rows:
        headings.append((top, row))
        top += 46
        for line in row.lines:
            for start in range(0, len(line), columns):
                part = line[start : start + columns]
                laid = [_laid_out(tile, width) for tile in part]
                texts = [_wrapped(tile.text, characters, 12) for tile in part]
                panels_height = max(height for _, height in laid)
                for column, (tile, (boxes, _), text) in enumerate(zip(part, laid, texts, strict=True)):
                    left = _MARGIN + column * (width + _GAP)
                    placed.append((left, top, tile, boxes, panels_height, text))
                top += _TITLE_PX + panels_height + 6 + _LINE_PX * max(len(text) for text in texts) + 10
        top += 6
    seen = {n for tile in tiles for block in tile.blocks for panel in block for n in _visible(panel)}
    legend = [(number, name) for number, name in enumerate(names.values()) if list(names)[number] in seen]
    legend_rows = _legend_rows(legend)

    height = top + 24 * len(legend_rows) + (24 if key else 0) + 12
    if height > _HIGHEST_PX:
        raise ValueError(f"[picture] expected at most {_HIGHEST_PX} pixels of height, got {height:.0f} for {len(tiles)} tiles")
    canvas = _Canvas(height)
    if title:
        canvas.text(_MARGIN, 14, _shortened(title, 130), 15, weight="bold")
    for at, row in headings:
        canvas.text(_MARGIN, at, _shortened(row.heading, 120), 12, weight="bold")
        canvas.text(_MARGIN, at + 22, _shortened(row.note, 190), _FONT, _FAINT, family="monospace")
    order = {label: number for number, label in enumerate(names)}
    for left, at, tile, boxes, panels_height, text in placed:
        canvas.text(left, at + 2, _shortened(tile.title, int(width / 9.8)), 10.5)
        for block, block_boxes in zip(tile.blocks, boxes, strict=True):
            for panel, box in zip(block, block_boxes, strict=True):
                axes = canvas.axes(_Box(left + box.left, at + _TITLE_PX + box.top, box.width, box.height))
                _draw_panel(axes, panel, order, 1.3 if box.width > 150 else 1.0)
        for number, words in enumerate(text):
            y = at + _TITLE_PX + panels_height + 6 + number * _LINE_PX
            canvas.text(left, y, words, _FONT, _FAINT, family="monospace")
    for entries in legend_rows:
        left = float(_MARGIN)
        for number, name in entries:
            canvas.figure.patches.append(_swatch(canvas, left, top + 5, colour(number)))
            canvas.text(left + 24, top, name, 10.5)
            left += _entry_px(name)
        top += 24
    if key:
        canvas.text(_MARGIN, top, key, 10.5, _FAINT)
    file.parent.mkdir(parents=True, exist_ok=True)
    canvas.figure.savefig(file, format="png", dpi=_DPI, facecolor=_BACKGROUND, metadata={"Software": PICTURES_BY})
    return file


def _laid_out(tile: Tile, width: float) -> tuple[list[list[_Box]], float]:
    boxes, top = [], 0.0
    for block in tile.blocks:
        panels, height = _panel_boxes(block, width)
        boxes.append([_Box(box.left, box.top + top, box.width, box.height) for box in panels])
        top += height + _SEAM
    return boxes, top - _SEAM


def _visible(panel: Panel) -> list[int]:
    return [label for masks in (panel.outlined, panel.filled) for label, mask in masks.items() if mask.any()]


def _entry_px(name: str) -> float:
    return 24 + 9.2 * len(name) + 22


def _legend_rows(legend: Sequence[tuple[int, str]]) -> list[list[tuple[int, str]]]:
    rows: list[list[tuple[int, str]]] = []
    left = float(WIDTH_PX)
    shown = [(number, _shortened(name, 40)) for number, name in legend[:_LEGEND_ENTRIES]]
    if len(legend) > len(shown):
        number, name = shown[-1]
        shown[-1] = (number, f"{name}   and {len(legend) - len(shown)} more")
    for number, name in shown:
        if left + _entry_px(name) > WIDTH_PX - _MARGIN:
            rows.append([])
            left = float(_MARGIN)
        rows[-1].append((number, name))
        left += _entry_px(name)
    return rows


def _swatch(canvas: _Canvas, left: float, top: float, colour: str) -> Any:
    from matplotlib.patches import Rectangle

    size = (18 / WIDTH_PX, 8 / canvas.height)
    corner = (left / WIDTH_PX, 1 - top / canvas.height - size[1])
    return Rectangle(corner, *size, color=colour, transform=canvas.figure.transFigure)


def _draw_panel(axes: Any, panel: Panel, order: Mapping[int, int], line_width: float) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb
    from matplotlib.patheffects import withStroke

    shape = panel.image.shape if panel.image is not None else next(iter(panel.filled.values())).shape
    if panel.image is None:
        axes.imshow(np.zeros(shape), cmap="gray", vmin=0, vmax=1, aspect="auto")
    else:
        low, high = panel.window
        axes.imshow(panel.image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="nearest", aspect="auto")
    if any(mask.any() for mask in panel.filled.values()):
        areas = np.zeros((*shape, 4))
        for label, mask in panel.filled.items():
            areas[mask] = (*to_rgb(colour(order[label])), 0.9 if panel.image is None else 0.25)
        axes.imshow(areas, interpolation="nearest", aspect="auto")
    for label, mask in panel.outlined.items():
        edge = colour(order[label])
        axes.add_collection(
            PolyCollection(_pictures.outlines(mask), facecolors="none", edgecolors=edge, linewidths=line_width), autolim=False
        )
    heading = axes.text(
        4,
        3,
        panel.heading,
        fontsize=_FONT,
        color=_TEXT,
        va="bottom",
        family="monospace",
        transform=_pixels_from_lower_left(axes),
    )
    heading.set_path_effects([withStroke(linewidth=2.5, foreground="black")])
    axes.set_axis_off()


def _pixels_from_lower_left(axes: Any) -> Any:
    from matplotlib.transforms import Affine2D, ScaledTranslation

    # One unit is one pixel of the picture.

    corner = axes.get_position()
    figure = axes.figure
    return Affine2D() + ScaledTranslation(corner.x0, corner.y0, figure.transFigure)
