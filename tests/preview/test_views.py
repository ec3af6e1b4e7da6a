"""What is shown of a sample: its stages, the last of which is what the loader makes, and several draws."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform

import fastnnunet_loader as fl
from fastnnunet_loader.nnunet.sources import Source, open_source
from fastnnunet_loader.preview.pictures import Panel, Row, Tile
from fastnnunet_loader.preview.views import Labels, View, Viewer, parameter_text, positions_of, windows_of


def opened(nnunet_dataset: Any, variant: str, configuration: str, trainer: str = "nnUNetTrainer") -> Source:
    dataset = nnunet_dataset(variant)
    if variant == "cascade":
        dataset.add_previous_stage(trainer)
    return open_source(dataset.name, configuration, 0, trainer)


def check_equal(result: dict[str, Any], batch: dict[str, Any], slot: int) -> None:
    assert torch.equal(result["image"], batch["data"][slot])
    targets, expected = result["segmentation"], batch["target"]
    assert isinstance(targets, list) == isinstance(expected, list)
    for target, full in zip(*([t] if torch.is_tensor(t) else t for t in (targets, expected)), strict=True):
        assert target.dtype == full.dtype
        assert torch.equal(target, full[slot])


# What torch says of itself when a transform in Python is the first to need a part of it.
@pytest.mark.filterwarnings("ignore:`torch.jit.interface` is deprecated")
@pytest.mark.parametrize(
    ("variant", "configuration", "trainer", "part"),
    [
        ("default", "3d_fullres", "nnUNetTrainer", "train"),
        ("default", "2d", "nnUNetTrainer", "train"),
        ("anisotropic", "3d_fullres", "nnUNetTrainer", "train"),
        ("regions", "3d_fullres", "nnUNetTrainer", "train"),
        ("two_channels", "3d_fullres", "nnUNetTrainer", "train"),
        ("cascade", "3d_cascade_fullres", "nnUNetTrainer", "train"),
        ("default", "3d_fullres", "nnUNetTrainer", "val"),
        ("default", "3d_fullres", "nnUNetTrainerDA5", "train"),  # several of its transforms run in Python, within OneOf too
    ],
)
def test_the_last_stage_is_what_the_loader_makes(
    nnunet_dataset: Any, variant: str, configuration: str, trainer: str, part: str
) -> None:
    source = opened(nnunet_dataset, variant, configuration, trainer)
    with fl.DataLoader.from_nnunet(getattr(source, part), threads=2, seed=5, rank=1, role=3) as loader:
        loader.load_state_dict({**loader.state_dict(), "step": 7})
        for step in (7, 8, 9):
            batch = next(loader)
            for slot in range(2):
                patch, identity = loader.patch(step, slot), loader.sample_id(step, slot)
                assert patch.case == batch["keys"][slot]
                *_, last = loader.pipeline.stages(image=patch.image, segmentation=patch.segmentation, **identity)
                check_equal(last.result, batch, slot)
                check_equal(loader.pipeline(image=patch.image, segmentation=patch.segmentation, **identity), batch, slot)


def panels(tile: Tile) -> list[Panel]:
    return [panel for block in tile.blocks for panel in block]


def same_pixels(a: Tile, b: Tile) -> bool:
    def equal(x: Panel, y: Panel) -> bool:
        return all(
            np.array_equal(p, q)
            for p, q in [
                (x.image, y.image),
                *((x.outlined[n], y.outlined[n]) for n in x.outlined),
                *((x.filled[n], y.filled[n]) for n in x.filled),
            ]
        )

    return all(equal(x, y) for x, y in zip(panels(a), panels(b), strict=True))


def first_cut(panel: Panel, array: torch.Tensor) -> Any:
    """The plane of (C, X, Y, Z) that the panel's heading names, or (C, Y, Z) itself."""
    return array.numpy() if array.ndim == 3 else array.numpy()[:, int(panel.heading.strip("[").split(",")[0])]


@pytest.mark.parametrize(
    ("variant", "configuration", "blocks", "cuts"),
    [
        ("default", "3d_fullres", 1, 3),
        ("default", "2d", 1, 1),
        ("anisotropic", "3d_fullres", 1, 3),
        ("regions", "3d_fullres", 1, 3),
        ("two_channels", "3d_fullres", 2, 3),
        ("cascade", "3d_cascade_fullres", 1, 3),
    ],
)
def test_a_tile_for_each_stage_that_changes_something(
    nnunet_dataset: Any, variant: str, configuration: str, blocks: int, cuts: int
) -> None:
    source = opened(nnunet_dataset, variant, configuration)
    titles = set()
    with fl.DataLoader.from_nnunet(source.train, threads=1, seed=5) as loader:
        viewer = Viewer(source, loader)
        for step, slot in viewer.samples(0, 8):
            row = viewer.stages(step, slot)
            (tiles,) = row.lines
            patch = loader.patch(step, slot)
            fired = loader.pipeline.draw(
                patch.image.shape, segmentation_channels=len(patch.segmentation), **loader.sample_id(step, slot)
            )
            names = [type(transform).__name__.removesuffix("Transform") for transform, _ in fired]
            shown = [tile.title for tile in tiles]
            titles |= {*shown}
            assert row.heading == patch.case
            assert shown[:2] == ["as cut", "Spatial"]
            # In the order of the trace, and nothing else. What is drawn of a 3D sample are its cuts, so tiles may look alike.
            assert [name for name in names if name in shown] == shown[1:]
            assert not {"RemoveLabel", "DownsampleSegForDS", "Convert3DTo2D", "MoveSegAsOneHotToData"} & {*shown}
            assert not any(same_pixels(a, b) for a, b in itertools.pairwise(tiles[1:]))
            for tile in tiles:
                assert [len(block) for block in tile.blocks] == [cuts] * blocks
                assert all(panel.outlined.keys() == source.label_names.keys() for panel in panels(tile))
                assert all(bool(panel.filled) == (variant == "cascade") for panel in panels(tile))
    assert titles > {"as cut", "Spatial", "Mirror"}
    assert len(titles) > 5
    if variant == "cascade":
        assert "ApplyRandomBinaryOperator" in titles


def test_a_later_attempt_is_shown_as_it_was_drawn(nnunet_dataset: Any) -> None:
    """Of a sample whose first case was skipped, as `--reproduce` names it."""
    source = opened(nnunet_dataset, "default", "3d_fullres")
    with fl.DataLoader.from_nnunet(source.train, threads=1, seed=5) as loader:
        viewer = Viewer(source, loader)
        shown, drawn = [], []
        for step, slot in viewer.samples(0, 8):
            shown.append({tile.title for tile in viewer.stages(step, slot, 1).lines[0]} - {"as cut"})
            patch = loader.patch(step, slot, 1)
            fired = loader.pipeline.draw(patch.image.shape, segmentation_channels=1, **loader.sample_id(step, slot, 1))
            drawn.append({type(transform).__name__.removesuffix("Transform") for transform, _ in fired})
    assert all(titles <= names for titles, names in zip(shown, drawn, strict=True))
    assert set.union(*shown) > {"Spatial", "Mirror"}


def test_a_mirrored_sample_is_cut_where_it_was_before(nnunet_dataset: Any) -> None:
    source = opened(nnunet_dataset, "default", "3d_fullres")
    with fl.DataLoader.from_nnunet(source.train, threads=1, seed=5) as loader:
        viewer = Viewer(source, loader)
        rows = [viewer.stages(step, slot) for step, slot in viewer.samples(0, 6)]
    mirrored = [(a, b) for row in rows for a, b in itertools.pairwise(row.lines[0]) if b.title == "Mirror"]
    assert len(mirrored) > 2
    for before, after in mirrored:
        for a, b in zip(panels(before), panels(after), strict=True):
            assert a.image is not None and b.image is not None
            assert any(np.array_equal(a.image[::y, ::x], b.image) for y in (1, -1) for x in (1, -1))


@pytest.mark.parametrize(
    ("variant", "configuration"), [("default", "3d_fullres"), ("default", "2d"), ("regions", "3d_fullres")]
)
def test_draws_of_one_patch_and_the_targets(nnunet_dataset: Any, variant: str, configuration: str) -> None:
    source = opened(nnunet_dataset, variant, configuration)
    with fl.DataLoader.from_nnunet(source.train, threads=1, seed=5) as loader:
        batch = next(loader)
        plain: Row = Viewer(source, loader).draws(0, 1, 3)
        row = Viewer(source, loader, targets=True).draws(0, 1, 3)
        stages = Viewer(source, loader, targets=True).stages(0, 1)
    assert [len(line) for line in plain.lines] == [3]
    assert [len(line) for line in row.lines] == [1 + len(batch["target"])] * 3
    first, *others = plain.lines[0]
    assert not any(same_pixels(first, other) for other in others)
    for tile in (first, stages.lines[0][-1]):
        assert np.array_equal(panels(tile)[0].image, first_cut(panels(tile)[0], batch["data"][1])[0])
    for tile, target in zip(stages.lines[1], batch["target"], strict=True):
        assert tile.text == [" x ".join(map(str, target.shape[2:]))]
        area = panels(tile)[0]
        assert area.image is None
        plane = first_cut(area, target[1])
        for n, label in enumerate(source.label_names):
            expected = plane[n] if variant == "regions" else plane[0] == label
            assert np.array_equal(area.filled[label], expected)
    # The first target is what the last stage outlines.
    for outlines, areas in zip(panels(stages.lines[0][-1]), panels(stages.lines[1][0]), strict=True):
        assert all(np.array_equal(outlines.outlined[n], areas.filled[n]) for n in source.label_names)


def test_parameters_are_told_in_few_words() -> None:
    def told(angles: Any, scaling: Any, shape: tuple[int, ...], **settings: Any) -> list[str]:
        transform = SpatialTransform(
            (10,) * len(shape), 0, False, p_rotation=1, rotation=angles, p_scaling=1, scaling=scaling, **settings
        )
        ((drawn, parameters),) = fl.compile_transforms(transform).draw((1, *shape))
        return parameter_text(drawn, parameters)

    def angle(image: Any, dim: int) -> float:
        return (0.2, -0.3, 0.1)[dim]

    assert told(angle, (1.25, 1.25), (20, 20, 20)) == ["rotation 11° -17° 6°", "scaling 1.25"]
    assert told((-0.5, -0.5), (0.8, 0.8), (20, 20)) == ["rotation -29°", "scaling 0.8"]
    assert told((0.0, 0.0), (1.0, 1.0), (20, 20)) == []


def test_parameters_of_the_default_transforms(nnunet_dataset: Any) -> None:
    source = opened(nnunet_dataset, "two_channels", "3d_fullres")
    pipeline = fl.compile_transforms(source.train.transforms)
    told: dict[str, list[list[str]]] = {}
    for step in range(60):
        for transform, parameters in pipeline.draw((2, 50, 50, 50), seed=1, step=step):
            told.setdefault(type(transform).__name__, []).append(parameter_text(transform, parameters, 2))
    assert ["crop, no rotation, no scaling"] in told["SpatialTransform"]
    assert told["GaussianNoiseTransform"][0][0] == "channels 0 1"
    assert [] in told["MirrorTransform"] and ["axes 0 2"] in told["MirrorTransform"]
    assert any("retain_stats yes" in words for words in told["GammaTransform"])
    assert all(words == [] for words in told["RemoveLabelTransform"] + told["DownsampleSegForDSTransform"])
    lines = [line for several in told.values() for words in several for line in words]
    assert max(map(len, lines)) < 60


def test_samples_follow_each_other_and_are_noted_under_their_case(nnunet_dataset: Any) -> None:
    source = opened(nnunet_dataset, "default", "3d_fullres")
    with fl.DataLoader.from_nnunet(source.train, threads=1, seed=5) as loader:
        viewer = Viewer(source, loader)
        assert loader.batch_size == 2
        assert viewer.samples(3, 5) == [(3, 0), (3, 1), (4, 0), (4, 1), (5, 0)]
        forced = set()
        for step, slot in viewer.samples(3, 4):
            patch = loader.patch(step, slot)
            window = ", ".join(f"{lower}:{upper}" for lower, upper in patch.window)
            expected = f"step {step}, slot {slot}   patch [{window}]" + "   foreground forced" * patch.forced_foreground
            for row in (viewer.stages(step, slot), viewer.draws(step, slot, 1)):
                assert (row.heading, row.note) == (patch.case, expected)
            forced.add(patch.forced_foreground)
        assert forced == {False, True}


def test_draws_are_of_the_same_patch_with_the_numbers_of_later_steps(nnunet_dataset: Any) -> None:
    source = opened(nnunet_dataset, "default", "2d")
    with fl.DataLoader.from_nnunet(source.train, threads=1, seed=5) as loader:
        (tiles,) = Viewer(source, loader).draws(3, 1, 3).lines
        patch = loader.patch(3, 1)
        assert [tile.title for tile in tiles] == ["draw 0 (step 3)", "draw 1 (step 4)", "draw 2 (step 5)"]
        for number, tile in enumerate(tiles):
            result = loader.pipeline(image=patch.image, segmentation=patch.segmentation, **loader.sample_id(3 + number, 1))
            assert np.array_equal(panels(tile)[0].image, result["image"][0].numpy())
            fired = loader.pipeline.draw(patch.image.shape, segmentation_channels=1, **loader.sample_id(3 + number, 1))
            told = [text.partition(":")[0] for text in tile.text]
            names = [type(transform).__name__.removesuffix("Transform") for transform, _ in fired]
            assert told == [name for name in names if name in told]


@pytest.mark.parametrize("variant", ["anisotropic", "default"])
def test_panels_are_as_large_as_their_voxels(nnunet_dataset: Any, variant: str) -> None:
    source = opened(nnunet_dataset, variant, "3d_fullres")
    spacing = [float(s) for s in source.trainer.configuration_manager.spacing]
    with fl.DataLoader.from_nnunet(source.train, threads=1, seed=5) as loader:
        row = Viewer(source, loader, targets=True).stages(0, 0)
        patch = loader.patch(0, 0)
    first, *_, last = row.lines[0]
    assert first.text == [" x ".join(map(str, patch.image.shape[1:]))]
    for tile, shape in ((first, patch.image.shape[1:]), (last, source.trainer.configuration_manager.patch_size)):
        for axis, panel in enumerate(panels(tile)):
            rows, columns = (a for a in range(3) if a != axis)
            assert panel.image is not None
            assert panel.image.shape == (shape[rows], shape[columns])
            assert panel.size == pytest.approx((shape[rows] * spacing[rows], shape[columns] * spacing[columns]))
    # Targets of lower resolutions have larger voxels.
    for tile in row.lines[1]:
        for target, full in zip(panels(tile), panels(last), strict=True):
            assert target.size == pytest.approx(full.size)


def test_the_legend_says_what_areas_are(nnunet_dataset: Any) -> None:
    for variant, configuration, of_cascade in (("default", "3d_fullres", False), ("cascade", "3d_cascade_fullres", True)):
        source = opened(nnunet_dataset, variant, configuration)
        with fl.DataLoader.from_nnunet(source.train, threads=1, seed=5) as loader:
            for targets in (False, True):
                said = Viewer(source, loader, targets=targets).legend
                assert said.startswith("outlines: labels")
                assert ("the previous stage" in said, "targets on black" in said) == (of_cascade, targets)


@pytest.mark.parametrize(
    ("parameters", "channels", "said"),
    [
        ({"apply_to_channel": [0, 2], "gamma": [0.7, 1.3]}, 3, ["channels 0 2", "gamma 0.7 1.3"]),
        ({"apply_to_channel": [0], "gamma": [0.7]}, 1, ["gamma 0.7"]),
        ({"apply_to_channels": [0], "size": [2]}, 1, ["channels 0", "size 2"]),
        ({"apply_to_channel": [], "gamma": []}, 3, []),
        ({"axes": []}, 1, []),
        ({"axes": [0, 2]}, 1, ["axes 0 2"]),
        ({"operators": [0, 3, 1, 2]}, 1, ["dilation opening erosion closing"]),
        ({"retain_stats": [1, 0]}, 1, ["retain_stats yes no"]),
        ({"invert_image": [0, 0]}, 1, ["invert_image no"]),
        ({"sigmas": [0.5, 0.5, 0.5]}, 1, ["sigmas 0.5"]),
        ({"sizes": [3, 3]}, 1, ["sizes 3 3"]),
        ({"values": list(range(8))}, 1, ["values 0 1 2 3 4 5 …"]),
        ({"variance": 0.123456}, 1, ["variance 0.123"]),
        ({"token": 3}, 1, ["parameters drawn in Python"]),
    ],
)
def test_each_kind_of_parameter_in_words(parameters: Any, channels: int, said: list[str]) -> None:
    assert parameter_text(object(), parameters, channels) == said


VALUES = {1: (1,), 2: (2,)}


def labelled(*places: tuple[int, int, int], label: int = 1) -> Labels:
    array = np.zeros((1, 5, 6, 7), np.int16)
    for place in places:
        array[(0, *place)] = label
    return Labels(array, VALUES)


def test_cuts_are_where_most_is_labelled() -> None:
    """In the sample, else in the previous stage, else in the middle."""
    image, few = np.zeros((1, 5, 6, 7), np.float32), labelled((1, 2, 3), (1, 2, 4), (1, 5, 3), (4, 2, 3))
    for labels, previous, at in (
        (few, None, [1, 2, 3]),
        (few, labelled((0, 0, 0), (0, 0, 1)), [1, 2, 3]),
        (labelled(), few, [1, 2, 3]),
        (labelled(), labelled(), [2, 3, 3]),
        (labelled(), None, [2, 3, 3]),
        (labelled((4, 5, 6), label=3), None, [2, 3, 3]),  # of no entry of the legend
    ):
        assert positions_of(View(image, labels, previous)) == at


def test_what_has_not_changed_is_the_same_also_where_it_is_not_a_number() -> None:
    image = np.full((1, 5, 6, 7), np.nan, np.float32)
    view = View(image, labelled((1, 2, 3)), labelled((0, 0, 0)))
    assert view.same(View(image.copy(), labelled((1, 2, 3)), labelled((0, 0, 0))))
    assert not view.same(View(np.zeros_like(image), labelled((1, 2, 3)), labelled((0, 0, 0))))
    assert not view.same(View(image, labelled((1, 2, 4)), labelled((0, 0, 0))))
    assert not view.same(View(image, labelled((1, 2, 3)), labelled((0, 0, 1))))


def test_black_and_white_are_those_of_each_channel_without_what_is_not_finite() -> None:
    image = np.stack([np.linspace(low, high, 1001, dtype=np.float32).reshape(1, 7, 143) for low, high in ((0, 1), (-50, 150))])
    expected = [(0.005 - 0.099, 0.995 + 0.099), (-49 - 19.8, 149 + 19.8)]
    np.testing.assert_allclose(windows_of(image), expected, atol=1e-3)
    image[1, 0, 3, :2] = np.nan, np.inf
    np.testing.assert_allclose(windows_of(image), expected, atol=0.2)
    image[1] = np.nan
    np.testing.assert_allclose(windows_of(image)[1], (-0.1, 1.1))


def test_targets_are_cut_at_the_same_place(nnunet_dataset: Any) -> None:
    source = opened(nnunet_dataset, "default", "3d_fullres")
    with fl.DataLoader.from_nnunet(source.train, threads=1, seed=5) as loader:
        viewer = Viewer(source, loader, targets=True)
        rows = [viewer.stages(step, slot) for step, slot in viewer.samples(0, 4)]

    def cuts(tile: Tile) -> list[int]:
        return [int(panel.heading.strip("[]").split(",")[axis]) for axis, panel in enumerate(panels(tile))]

    for row in rows:
        full, sizes = cuts(row.lines[0][-1]), source.trainer.configuration_manager.patch_size
        assert len(row.lines[1]) > 1
        for tile in row.lines[1]:
            shape = [int(n) for n in tile.text[0].split(" x ")]
            for at, place, own, size in zip(cuts(tile), full, shape, sizes, strict=True):
                assert at <= (place + 0.5) * own / size < at + 1


def test_areas_are_the_previous_stage_and_outlines_the_labels(nnunet_dataset: Any) -> None:
    """Where both are in the segmentation, and where the transforms have made channels of the stage before."""
    source = opened(nnunet_dataset, "cascade", "3d_cascade_fullres")
    differ = 0
    with fl.DataLoader.from_nnunet(source.train, threads=1, seed=5) as loader:
        viewer = Viewer(source, loader)
        for step, slot in viewer.samples(0, 4):
            patch, identity = loader.patch(step, slot), loader.sample_id(step, slot)
            made = loader.pipeline(image=patch.image, segmentation=patch.segmentation, **identity)
            first, *_, last = viewer.stages(step, slot).lines[0]
            segmentation, full = torch.from_numpy(patch.segmentation), made["segmentation"][0]
            other = np.stack([patch.segmentation[0], np.full_like(patch.segmentation[0], 2)])
            view = viewer._view(patch, patch.image, other)
            assert view.previous is not None
            assert np.array_equal(np.concatenate([view.labels.array, view.previous.array]), other)
            for index, label in enumerate(source.label_names):
                for tile, labels, areas in (
                    (first, segmentation[:1] == label, segmentation[1:] == label),
                    (last, full == label, made["image"][1 + index][None] > 0.5),
                ):
                    panel = panels(tile)[0]
                    assert np.array_equal(panel.outlined[label], first_cut(panel, labels)[0])
                    assert np.array_equal(panel.filled[label], first_cut(panel, areas)[0])
                    differ += not np.array_equal(panel.outlined[label], panel.filled[label])
    assert differ


def test_what_is_done_plane_by_plane_is_told_with_its_parameters(nnunet_dataset: Any) -> None:
    source = opened(nnunet_dataset, "anisotropic", "3d_fullres")
    with fl.DataLoader.from_nnunet(source.train, threads=1, seed=5) as loader:
        viewer = Viewer(source, loader)
        texts = [viewer.stages(step, slot).lines[0][1].text for step, slot in viewer.samples(0, 8)]
    assert all("plane by plane" in text for text in texts)
    assert any(line.startswith("rotation ") for text in texts for line in text)
