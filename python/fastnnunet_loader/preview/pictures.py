"""Pictures of samples: a grid of tiles, with labels as outlines and a few lines of text under each tile."""

from __future__ import annotations

import colorsys
import io
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _pictures
from ..settings import PICTURES_BY

__all__ = ["WIDTH_PX", "Panel", "Row", "Tile", "draw", "draw_rows"]

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


def _fitted(panel: Panel, widest: float, highest: float) -> float:
    """The height of a panel that is as large as it can be in so many pixels."""
    height, width = panel.size
    return height * min(widest / width, highest / height)


def _first_height(block: Sequence[Panel], width: float) -> float:
    """Of the first cut beside others: it takes up to two thirds of a tile of this width."""
    return _fitted(block[0], 2 / 3 * (width - _SEAM), 0.9 * width)


def _block_height(block: Sequence[Panel], width: float) -> float:
    """Pixels that the panels of one channel take in a tile of this width."""
    return _fitted(block[0], width, 1.3 * width) if len(block) == 1 else max(_first_height(block, width), width / 3)


def _panels_height(tile: Tile, width: float) -> float:
    return sum(_block_height(block, width) + _SEAM for block in tile.blocks) - _SEAM


@dataclass(frozen=True)
class _Line:
    """Tiles that are side by side, with the text below each."""

    tiles: Sequence[Tile]
    texts: Sequence[Sequence[str]]
    columns: int  # that there is room for
    width: float  # of a tile, in pixels

    @property
    def panels_height(self) -> float:
        return max(_panels_height(tile, self.width) for tile in self.tiles)

    @property
    def text_height(self) -> float:
        return 6 + _LINE_PX * max(len(text) for text in self.texts) + 10

    @property
    def height(self) -> float:
        return _TITLE_PX + self.panels_height + self.text_height

    def draw(self, cell: Any, order: Mapping[int, int]) -> None:
        widths = [self.width, _GAP] * self.columns
        left = WIDTH_PX - 2 * _MARGIN - sum(widths)  # what tiles of the largest size leave
        heights = [_TITLE_PX, self.panels_height, self.text_height]
        grid = cell.subgridspec(3, len(widths) + 1, wspace=0, hspace=0, width_ratios=[*widths, left], height_ratios=heights)
        for number, (tile, text) in enumerate(zip(self.tiles, self.texts, strict=True)):
            title, panels, below = (grid[row, 2 * number] for row in range(3))
            _write(title, _shortened(tile.title, int(self.width / 9.8)), 2, 10.5)
            _draw_blocks(panels, tile.blocks, self.width, self.panels_height, order)
            for place, words in enumerate(text):
                _write(below, words, 6 + place * _LINE_PX, _FONT, _FAINT, family="monospace")


def draw_rows(rows: Sequence[Row], names: Mapping[int, str], file: Path, title: str = "", key: str = "") -> Path:
    """Write what `draw` draws to a file, and make its folder."""
    png = draw(rows, names, title, key)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(png)
    return file


def draw(rows: Sequence[Row], names: Mapping[int, str], title: str = "", key: str = "") -> bytes:
    """Return a PNG of 1600 pixels' width, and a height that shows all tiles.

    Args:
        rows: with at least one tile.
        names: of the labels by number, for the legend; those that are nowhere to be seen are left out.
        title: above all.
        key: a line below the legend.

    Raises:
        ValueError: there is no tile, or more than fit in a picture.
        ModuleNotFoundError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("[preview] expected matplotlib for pictures, got none: pip install matplotlib") from error

    tiles = [tile for row in rows for line in row.lines for tile in line]
    if not tiles:
        raise ValueError("[draw_rows] expected at least one tile, got none")
    order = {label: number for number, label in enumerate(names)}
    seen = {n for tile in tiles for block in tile.blocks for panel in block for n in _visible(panel)}
    legend = _Legend([(order[label], name) for label, name in names.items() if label in seen])

    # The bands of the picture from top to bottom: how high each is, and what draws it into its cell of the grid.
    bands: list[tuple[float, Callable[[Any], None]]] = [
        (58 if title else 12, partial(_write, text=_shortened(title, 130), below=14, size=15, weight="bold"))
    ]
    for row, lines in _laid_out(rows, tiles):
        bands.append((46, partial(_draw_heading, row=row)))
        bands += [(line.height, partial(line.draw, order=order)) for line in lines]
        bands.append((6, lambda _: None))
    bands.append((legend.height, legend.draw))
    bands.append((36 if key else 12, partial(_write, text=key, below=0, size=10.5, colour=_FAINT)))
    heights = [height for height, _ in bands]
    if sum(heights) > _HIGHEST_PX:
        raise ValueError(
            f"[picture] expected at most {_HIGHEST_PX} pixels of height, got {sum(heights):.0f} for {len(tiles)} tiles"
        )
    size = (WIDTH_PX / _DPI, round(sum(heights)) / _DPI)
    figure = Figure(figsize=size, dpi=_DPI, facecolor=_BACKGROUND)
    FigureCanvasAgg(figure)
    margin = _MARGIN / WIDTH_PX
    grid = figure.add_gridspec(
        len(bands), 1, left=margin, right=1 - margin, bottom=0, top=1, hspace=0, height_ratios=[max(h, 1e-3) for h in heights]
    )
    for number, (_, draw) in enumerate(bands):
        draw(grid[number, 0])
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=_DPI, facecolor=_BACKGROUND, metadata={"Software": PICTURES_BY})
    return png.getvalue()


def _laid_out(rows: Sequence[Row], tiles: Sequence[Tile]) -> Iterator[tuple[Row, list[_Line]]]:
    """Each row with its lines of tiles; a line that is too long goes on in the next one."""
    dims = 3 if any(len(block) > 1 for tile in tiles for block in tile.blocks) else 2
    columns = min(_COLUMNS[dims], max(len(line) for row in rows for line in row.lines))
    width = min((WIDTH_PX - 2 * _MARGIN - (columns - 1) * _GAP) / columns, _WIDEST_TILE_PX[dims])
    characters = int(width / _CHARACTER_PX)
    for row in rows:
        parts = [line[start : start + columns] for line in row.lines for start in range(0, len(line), columns)]
        yield row, [_Line(part, [_wrapped(tile.text, characters, 12) for tile in part], columns, width) for part in parts]


def _cell_axes(cell: Any) -> Any:
    axes = cell.get_gridspec().figure.add_subplot(cell)
    axes.set_axis_off()
    return axes


def _write(cell: Any, text: str, below: float, size: float, colour: str = _TEXT, **style: Any) -> None:
    """Write a line into a cell, so many pixels below its upper left corner."""
    _cell_axes(cell).annotate(
        text, (0, 1), (0, -below), "axes fraction", "offset pixels", fontsize=size, color=colour, va="top",
        parse_math=False, annotation_clip=False, **style,
    )  # fmt: skip


def _draw_heading(cell: Any, row: Row) -> None:
    _write(cell, _shortened(row.heading, 120), 0, 12, weight="bold")
    _write(cell, _shortened(row.note, 190), 22, _FONT, _FAINT, family="monospace")


def _draw_blocks(cell: Any, blocks: Sequence[Sequence[Panel]], width: float, height: float, order: Mapping[int, int]) -> None:
    """Draw the panels of a tile, the channels below one another, from the top of the cell on."""
    heights = [part for block in blocks for part in (_block_height(block, width), _SEAM)]
    heights[-1] = max(height - sum(heights[:-1]), 1e-3)
    grid = cell.subgridspec(len(heights), 1, hspace=0, height_ratios=heights)
    for number, block in enumerate(blocks):
        channel = grid[2 * number, 0]
        if len(block) == 1:
            _draw_panel(channel, block[0], order, 1.3)
            continue
        # The others share what the first cut leaves, one above the other.
        rows, (high, broad) = (heights[2 * number] - _SEAM) / 2, block[0].size
        first = _first_height(block, width) * broad / high
        columns = [first, _SEAM, width - first - _SEAM]
        cuts = channel.subgridspec(3, 3, wspace=0, hspace=0, width_ratios=columns, height_ratios=[rows, _SEAM, rows])
        for place, panel in zip((cuts[:, 0], cuts[0, 2], cuts[2, 2]), block, strict=True):
            _draw_panel(place, panel, order, 1.3 if panel is block[0] else 1.0)


def _visible(panel: Panel) -> list[int]:
    return [label for masks in (panel.outlined, panel.filled) for label, mask in masks.items() if mask.any()]


class _Legend:
    """The labels that are seen, with their places in the legend, which tell their colours."""

    def __init__(self, labels: Sequence[tuple[int, str]]) -> None:
        self._entries = [(colour(number), _shortened(name, 40)) for number, name in labels[:_LEGEND_ENTRIES]]
        if left := len(labels) - len(self._entries):
            self._entries.append(("none", f"and {left} more"))
        longest = max((len(name) for _, name in self._entries), default=1)
        self._columns = max(1, min(int((WIDTH_PX - 2 * _MARGIN) / (46 + 9.2 * longest)), len(self._entries)))

    @property
    def height(self) -> float:
        return 24.0 * math.ceil(len(self._entries) / self._columns)

    def draw(self, cell: Any) -> None:
        from matplotlib.patches import Patch

        if not self._entries:
            return
        legend = _cell_axes(cell).legend(
            [Patch(color=shown) for shown, _ in self._entries], [name for _, name in self._entries],
            loc="upper left", ncols=self._columns, fontsize=10.5, labelcolor=_TEXT, frameon=False, borderpad=0,
            borderaxespad=0, handlelength=1.2, handleheight=0.5,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)


def _draw_panel(cell: Any, panel: Panel, order: Mapping[int, int], line_width: float) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb
    from matplotlib.patheffects import withStroke

    axes = _cell_axes(cell)
    axes.set_box_aspect(panel.size[0] / panel.size[1])
    axes.set_anchor("NW")
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
    axes.annotate(
        panel.heading, (0, 0), (4, 3), "axes fraction", "offset pixels", fontsize=_FONT, color=_TEXT, va="bottom",
        family="monospace", path_effects=[withStroke(linewidth=2.5, foreground="black")],
    )  # fmt: skip
