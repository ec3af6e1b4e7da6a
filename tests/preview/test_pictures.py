"""The grid of tiles: its size, what is cut short, and images that show nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from fastnnunet_loader._pictures import outlines
from fastnnunet_loader.preview.pictures import Panel, Row, Tile, _Legend, colour, draw_rows

RNG = np.random.default_rng(0)


def tile(words: int = 1, cuts: int = 1, title: str = "a title") -> Tile:
    image = RNG.normal(size=(20, 24)).astype(np.float32)
    mask = np.zeros(image.shape, bool)
    mask[5:10, 5:10] = True
    panel = Panel("here", (20, 24), image, {1: mask}, {}, (-2, 2))
    return Tile(title, ["word " * words], [[panel] * cuts])


def height(lines: list[list[Tile]], file: Path) -> int:
    pixels = imread(draw_rows([Row("case", "note", lines)], {1: "one"}, file))
    assert pixels.shape[1] == 1600
    return int(pixels.shape[0])


@pytest.mark.parametrize(("rows", "columns"), [((5, 8), (1, 3)), ((0, 1), (2, 7)), ((3, 9), (6, 7))])
def test_outlines_are_columns_and_rows_as_matplotlib_has_them(rows: tuple[int, int], columns: tuple[int, int]) -> None:
    mask = np.zeros((9, 7), np.uint8)
    mask[slice(*rows), slice(*columns)] = 1
    (polygon,) = outlines(mask)
    # An eighth of a voxel inside of the area, which reaches half a voxel beyond the centres.
    assert [polygon[:, 0].min(), polygon[:, 0].max()] == [columns[0] - 0.375, columns[1] - 0.625]
    assert [polygon[:, 1].min(), polygon[:, 1].max()] == [rows[0] - 0.375, rows[1] - 0.625]


def test_tiles_that_do_not_fit_go_on_below(tmp_path: Path) -> None:
    for cuts, most in ((1, 5), (3, 4)):
        one = height([[tile(cuts=cuts)] * most], tmp_path / "a.png")
        two = height([[tile(cuts=cuts)] * (most + 1)], tmp_path / "b.png")
        assert two > 1.6 * one
        assert two == height([[tile(cuts=cuts)] * most, [tile(cuts=cuts)]], tmp_path / "c.png")


def test_text_makes_room_for_itself_until_it_is_cut_short(tmp_path: Path) -> None:
    short, long, longer = (height([[tile(words)] * 5], tmp_path / "a.png") for words in (1, 40, 4000))
    assert short < long < longer < short + 300


def test_text_stays_within_its_tile(tmp_path: Path) -> None:
    file = draw_rows([Row("c" * 500, "n" * 500, [[tile(60, title="T" * 500)] * 5])], {1: "o" * 500}, tmp_path / "a.png")
    pixels = imread(file)[..., :3]
    background = pixels[0, 0]
    gaps = [20 + column * (1560 - 64) // 5 + column * 16 for column in range(1, 5)]
    # Left of every tile but the first, and right of the last, is nothing but background, below the two lines of the heading.
    for right in (*gaps, 1600):
        assert np.array_equal(
            np.broadcast_to(background, pixels[70:-40, right - 6 : right - 1].shape), pixels[70:-40, right - 6 : right - 1]
        )


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_images_that_show_nothing_are_drawn(tmp_path: Path, value: float) -> None:
    panel = Panel("", (9, 8), np.full((9, 8), value, np.float32), {1: np.zeros((9, 8), bool)}, {}, (0, 0))
    file = draw_rows([Row("a", "", [[Tile("b", [], [[panel]])]])], {1: "x"}, tmp_path / "deep" / "a.png")
    assert imread(file).shape[1] == 1600


def test_names_are_not_read_as_mathematics(tmp_path: Path) -> None:
    draw_rows([Row("$case_{", "", [[tile(title="$\\frac")]])], {1: "$x"}, tmp_path / "a.png")


def test_every_label_has_a_colour_of_its_own() -> None:
    assert len({colour(number) for number in range(120)}) == 120


def test_a_legend_of_many_labels_is_cut_short(tmp_path: Path) -> None:
    masks: dict[int, Any] = {n: np.eye(30, k=n, dtype=bool) for n in range(29)}
    panel = Panel("", (30, 30), np.zeros((30, 30), np.float32), {}, masks)

    def with_names(count: int) -> int:
        names = {n: f"label {n}" for n in range(count)}
        shown = Panel("", (30, 30), panel.image, {}, {n: masks[n] for n in names})
        file = draw_rows([Row("a", "", [[Tile("b", [], [[shown]])]])], names, tmp_path / "a.png")
        return int(imread(file).shape[0])

    assert with_names(2) < with_names(24) <= with_names(29) <= with_names(24) + 24


def test_no_tile_and_too_many_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\[draw_rows\] expected at least one tile"):
        draw_rows([], {1: "x"}, tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"\[picture\] expected at most 65535 pixels of height, got \d+ for 2000 tiles"):
        draw_rows([Row("a", "", [[tile()] * 2000])], {1: "x"}, tmp_path / "a.png")


def test_outlines_of_labels_that_touch_are_both_seen(tmp_path: Path) -> None:
    left = np.zeros((20, 20), bool)
    left[4:16, 4:10] = True
    right = np.zeros((20, 20), bool)
    right[4:16, 10:16] = True
    panel = Panel("", (20, 20), np.zeros((20, 20), np.float32), {1: left, 2: right}, {}, (0, 1))
    pixels = imread(draw_rows([Row("a", "", [[Tile("b", [], [[panel]])]])], {1: "l", 2: "r"}, tmp_path / "a.png"))[..., :3]

    tile_pixels = pixels[90:-60]  # without the legend, which has both colours too
    counts = []
    for number in range(2):
        wanted = np.array([int(colour(number)[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        counts.append(int((np.abs(tile_pixels - wanted).max(-1) < 0.1).sum()))
    assert min(counts) > 100
    assert max(counts) < 1.3 * min(counts)


def drawn(panel: Panel, names: dict[int, str], file: Path, title: str = "", key: str = "") -> Any:
    """The picture of one panel, (rows, columns, 3) from 0 to 255."""
    tiles = [[Tile("", [], [[panel]])]]
    pixels = imread(draw_rows([Row("", "", tiles)], names, file, title, key))[..., :3]
    return np.rint(255 * pixels).astype(int)


def rgb(number: int, share: float = 1.0) -> list[int]:
    return [round(share * int(colour(number)[i : i + 2], 16)) for i in (1, 3, 5)]


def area_of(pixels: Any, wanted: list[int], tolerance: int = 2) -> tuple[int, int]:
    """Height and width of the part of a picture that has a colour."""
    rows, columns = np.nonzero(np.abs(pixels - np.array(wanted)).max(-1) <= tolerance)
    assert rows.size, f"nothing has the colour {wanted}"
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


@pytest.mark.parametrize("size", [(20.0, 40.0), (40.0, 20.0), (30.0, 30.0)])
@pytest.mark.parametrize("shape", [(10, 40), (40, 10)])
def test_a_panel_has_the_proportions_of_its_size_and_not_of_its_voxels(
    tmp_path: Path, size: tuple[float, float], shape: tuple[int, int]
) -> None:
    panel = Panel("", size, np.full(shape, 0.4, np.float32))
    height, width = area_of(drawn(panel, {1: "x"}, tmp_path / "a.png"), [102] * 3)
    assert height / width == pytest.approx(size[0] / size[1], rel=0.03)


def test_rows_and_columns_are_where_they_are_in_the_array(tmp_path: Path) -> None:
    image = np.zeros((4, 4), np.float32)
    image[0, 3], image[3, 0] = 0.4, 0.8
    pixels = drawn(Panel("", (4, 4), image), {1: "x"}, tmp_path / "a.png")

    def middle(value: int) -> Any:
        return np.argwhere(np.abs(pixels - value).max(-1) <= 2).mean(0)

    upper_right, lower_left = middle(102), middle(204)
    assert upper_right[0] < lower_left[0] - 100
    assert upper_right[1] > lower_left[1] + 100


@pytest.mark.parametrize(("window", "grey"), [((0.0, 1.0), 102), ((0.2, 0.6), 128), ((-0.6, 1.4), 128), ((0.4, 0.8), 0)])
def test_intensities_are_grey_between_the_ends_of_the_window(tmp_path: Path, window: tuple[float, float], grey: int) -> None:
    panel = Panel("", (30, 30), np.full((30, 30), 0.4, np.float32), {}, {}, window)
    height, width = area_of(drawn(panel, {1: "x"}, tmp_path / "a.png"), [grey] * 3, 3)
    assert min(height, width) > 200


def test_labels_have_the_colours_of_their_places_among_the_names(tmp_path: Path) -> None:
    """Areas are almost full on black, and a quarter over an image; outlines are full."""
    mask = np.zeros((30, 30), bool)
    mask[5:25, 5:25] = True
    names = {7: "seven", 3: "three", 5: "five"}
    for number, label in enumerate(names):
        pixels = drawn(Panel("", (30, 30), None, {}, {label: mask}), names, tmp_path / "a.png")
        assert min(area_of(pixels[:-60], rgb(number, 0.9))) > 150
        grey = Panel("", (30, 30), np.full((30, 30), 0.4, np.float32), {}, {label: mask})
        mixed = [round(0.25 * c + 0.75 * 102) for c in rgb(number)]
        assert min(area_of(drawn(grey, names, tmp_path / "a.png")[:-60], mixed)) > 150
        lines = Panel("", (30, 30), np.zeros((30, 30), np.float32), {label: mask})
        assert min(area_of(drawn(lines, names, tmp_path / "a.png")[:-60], rgb(number))) > 150


def test_the_legend_has_what_is_seen(tmp_path: Path) -> None:
    mask = np.ones((30, 30), bool)
    names = {7: "seven", 3: "three", 5: "five"}
    panel = Panel("", (30, 30), np.zeros((30, 30), np.float32), {5: mask, 3: ~mask})
    below = drawn(panel, names, tmp_path / "a.png")[-60:]
    area_of(below, rgb(2))
    for number in (0, 1):
        with pytest.raises(AssertionError, match="nothing has the colour"):
            area_of(below, rgb(number))


def test_a_title_and_a_key_make_room_for_themselves(tmp_path: Path) -> None:
    panel = Panel("", (30, 30), np.zeros((30, 30), np.float32))
    plain, titled, both = (
        len(drawn(panel, {1: "x"}, tmp_path / "a.png", *texts)) for texts in ((), ("title",), ("title", "key"))
    )
    assert (titled - plain, both - titled) == (46, 24)


def test_the_first_cut_is_large_and_the_others_are_beside_it(tmp_path: Path) -> None:
    """The second one above the third, each in the proportions of its own size."""
    sizes, values = ((40.0, 30.0), (20.0, 30.0), (20.0, 40.0)), (0.2, 0.5, 0.8)
    cuts = [Panel("", size, np.full((4, 4), value, np.float32)) for size, value in zip(sizes, values, strict=True)]
    pixels = np.rint(255 * imread(draw_rows([Row("", "", [[Tile("", [], [cuts])]])], {1: "x"}, tmp_path / "a.png"))[..., :3])
    places, areas = [], []
    for size, value in zip(sizes, values, strict=True):
        wanted = [round(255 * value)] * 3
        height, width = area_of(pixels, wanted)
        assert height / width == pytest.approx(size[0] / size[1], rel=0.05)
        places.append(np.argwhere(np.abs(pixels - wanted).max(-1) <= 2).mean(0))
        areas.append(height * width)
    assert areas[0] > 2 * max(areas[1:])
    (_, first), (upper, second), (lower, third) = places
    assert first + 100 < min(second, third)
    assert upper + 50 < lower


def test_the_legend_has_areas_and_says_how_many_labels_are_left_out(tmp_path: Path) -> None:
    mask = np.ones((30, 30), bool)
    names = {7: "seven", 3: "three"}
    area_of(drawn(Panel("", (30, 30), np.zeros((30, 30), np.float32), {}, {3: mask}), names, tmp_path / "a.png")[-60:], rgb(1))
    for count, last in ((24, "name 23"), (25, "and 1 more"), (40, "and 16 more")):
        assert _Legend([(number, f"name {number}") for number in range(count)])._entries[-1][1] == last
