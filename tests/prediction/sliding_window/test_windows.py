"""The sliding window that drops planes as they are complete, against nnU-Net's own, with trained networks on a real head."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from raw_images import copy_images, images_of

from fastnnunet_loader.prediction.export.export import Deciding
from fastnnunet_loader.prediction.images import Header
from fastnnunet_loader.prediction.originals.followed import own_way
from fastnnunet_loader.prediction.preprocessing.preprocess import Preprocessing
from fastnnunet_loader.prediction.session.memory import device_room
from fastnnunet_loader.prediction.session.session import Session
from fastnnunet_loader.prediction.sliding_window.passage import HELD_BYTES, Passage, plan_passage, whole_bytes
from fastnnunet_loader.prediction.sliding_window.sums import OrderedSums, Sums
from fastnnunet_loader.prediction.sliding_window.waiting import Waiting
from fastnnunet_loader.prediction.sliding_window.windows import predict_planes


def predictor_of(model: Path, folds: tuple[int, ...] = (0,), *, step: float = 0.5, **options: Any) -> nnUNetPredictor:
    options = {"use_mirroring": False, **options}
    made = nnUNetPredictor(tile_step_size=step, device=torch.device("cpu"), allow_tqdm=False, **options)
    made.initialize_from_trained_model_folder(str(model), folds)
    return made


def head(dataset: Any, predictor: Any, folder: Path, scale: tuple[float, float, float] = (1, 1, 1)) -> torch.Tensor:
    """A preprocessed image (C, X, Y, Z), `scale` times longer than the data set's."""
    files = images_of(copy_images(dataset, folder / "images", 1), "brain_000")
    plan = (predictor.plans_manager, predictor.configuration_manager, predictor.dataset_json)
    image = Preprocessing(*plan, 2, print).from_files("brain_000", files)[0]
    size = [round(n * s) for n, s in zip(image.shape[1:], scale, strict=True)]
    return torch.nn.functional.interpolate(image[None], size, mode="trilinear")[0]


class Collected:
    """Keeps the planes that are handed over, and asks for two of them again, as resizing does."""

    def __init__(self, shape: tuple[int, ...], heads: int, along: int) -> None:
        self.logits = torch.full((heads, *shape), torch.nan, dtype=torch.half)
        self._along = along + 1
        self._end = 0
        self.most = 0

    def add(self, logits: torch.Tensor, first: int) -> int:
        end = first + logits.shape[self._along]
        assert first <= max(0, self._end - 2)
        self.logits.narrow(self._along, first, end - first).copy_(logits)
        self._end = end
        self.most = max(self.most, end - first)
        return end - 2


def planes_of(predictor: Any, image: torch.Tensor, passage: Passage) -> Collected:
    collected = Collected(tuple(image.shape[1:]), predictor.label_manager.num_segmentation_heads, passage.along)
    predict_planes(predictor, image, passage, lambda: collected)
    return collected


@pytest.mark.parametrize(
    ("variant", "configuration", "folds", "scale", "options"),
    [
        ("default", "3d_fullres", (0,), (1.7, 0.7, 0.7), {}),
        ("default", "3d_fullres", (0,), (1.2, 0.4, 0.4), {"use_mirroring": True}),
        ("default", "3d_fullres", (0, 1), (1.5, 0.6, 0.6), {"step": 0.3, "use_gaussian": False}),
        ("default", "3d_fullres", (0, 1), (0.4, 0.6, 0.6), {}),
        ("default", "2d", (0,), (1, 1, 1), {}),
        ("anisotropic", "3d_fullres", (0,), (2, 1, 1), {"step": 1}),
    ],
)
def test_planes_are_nnunets_bit_for_bit(
    trained: Any,
    tmp_path: Path,
    variant: str,
    configuration: str,
    folds: tuple[int, ...],
    scale: tuple[float, float, float],
    options: dict[str, Any],
) -> None:
    dataset, model = trained(variant, configuration, folds)
    predictor = predictor_of(model, folds, **options)
    image = head(dataset, predictor, tmp_path, scale)
    expected = predictor.predict_logits_from_preprocessed_data(image)
    passage = plan_passage(image.shape[1:], predictor.configuration_manager.patch_size, predictor.tile_step_size)
    planes = planes_of(predictor, image, passage)
    assert torch.equal(planes.logits, expected)
    assert planes.most <= passage.waiting(len(folds))


def every_axis(predictor: Any, image: torch.Tensor) -> list[Passage]:
    """The passages along each of the three axes, whichever would be chosen."""
    chosen = plan_passage(image.shape[1:], predictor.configuration_manager.patch_size, predictor.tile_step_size)
    starts = compute_steps_for_sliding_window(chosen.shape, chosen.patch, predictor.tile_step_size)
    return [replace(chosen, along=axis, extent=chosen.patch[axis], starts=tuple(starts[axis])) for axis in range(3)]


def remember_windows(predictor: Any) -> None:
    """From now on what the network made of a window is made once: the time that these tests take is the network's."""
    predict, known = predictor._internal_maybe_mirror_and_predict, {}

    def predict_once(window: torch.Tensor) -> torch.Tensor:
        fold = float(next(iter(predictor.network.state_dict().values())).sum())
        key = (fold, window.numpy().tobytes())
        if key not in known:
            known[key] = predict(window)
        return known[key].clone()

    predictor._internal_maybe_mirror_and_predict = predict_once


@pytest.mark.parametrize(
    ("folds", "windows", "options"),
    [
        ((0,), (1.6, 1.3, 1.9), {}),  # up to three windows over each other
        ((0,), (0.7, 1.4, 1.9), {}),  # one window along the first axis
        ((0, 1), (1.4, 1.3, 1.2), {"use_gaussian": False}),
        ((0,), (2, 2, 2), {"step": 1}),  # none over another
    ],
)
def test_along_every_axis_planes_are_nnunets_bit_for_bit(
    trained: Any, tmp_path: Path, folds: tuple[int, ...], windows: tuple[float, ...], options: dict[str, Any]
) -> None:
    dataset, model = trained(folds=folds)
    predictor = predictor_of(model, folds, **options)
    patch = predictor.configuration_manager.patch_size
    image = head(dataset, predictor, tmp_path)
    size = [round(n * p) for n, p in zip(windows, patch, strict=True)]
    image = torch.nn.functional.interpolate(image[None], size, mode="trilinear")[0]
    remember_windows(predictor)
    expected = predictor.predict_logits_from_preprocessed_data(image)
    for passage in every_axis(predictor, image):
        planes = planes_of(predictor, image, passage)
        assert torch.equal(planes.logits, expected), passage
        assert planes.most <= passage.waiting(len(folds))


@pytest.mark.parametrize("network", ["trained", "untrained"])
def test_an_unsure_network_too(trained: Any, tmp_path: Path, network: str) -> None:
    """Where classes are close, rounding decides between them. Printed: what sums of float32 would make of it."""
    dataset, model = trained()
    predictor = predictor_of(model)
    if network == "untrained":
        torch.manual_seed(0)
        for layer in predictor.network.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        predictor.list_of_parameters = [predictor.network.state_dict()]
    patch = predictor.configuration_manager.patch_size
    size = [round(n * p) for n, p in zip((1.6, 1.3, 1.9), patch, strict=True)]
    image = torch.nn.functional.interpolate(head(dataset, predictor, tmp_path)[None], size, mode="trilinear")[0]
    remember_windows(predictor)
    theirs = predictor.predict_logits_from_preprocessed_data(image)
    for passage in every_axis(predictor, image):
        assert torch.equal(planes_of(predictor, image, passage).logits, theirs)

    gaussian = compute_gaussian(tuple(patch), sigma_scale=1.0 / 8, value_scaling_factor=10, device=torch.device("cpu"))
    averages = {}
    for dtype in (torch.float32, torch.float64):
        sums, weights = torch.zeros(theirs.shape, dtype=dtype), torch.zeros(theirs.shape[1:], dtype=dtype)
        for slicer in predictor._internal_get_sliding_window_slicers(image.shape[1:]):
            window = image[slicer][None].contiguous()
            sums[slicer] += predictor._internal_maybe_mirror_and_predict(window)[0] * gaussian.to(dtype)
            weights[slicer[1:]] += gaussian
        averages[dtype] = sums / weights
    reference = averages[torch.float64]
    for name, logits in (("nnU-Net, and here", theirs), ("sums of float32", averages[torch.float32])):
        voxels = float((logits.argmax(0) != reference.argmax(0)).float().mean())
        probabilities = float((logits.double().softmax(0) - reference.softmax(0)).abs().max())
        print(f"{network}, {name}: {voxels:.1e} of the voxels and {probabilities:.4f} of a probability from sums of float64")


def test_held_windows_are_no_more_than_estimated(trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, model = trained()
    predictor = predictor_of(model)
    image = head(dataset, predictor, tmp_path)
    patch = predictor.configuration_manager.patch_size
    image = torch.nn.functional.interpolate(image[None], [round(1.6 * n) for n in patch], mode="trilinear")[0]
    heads = predictor.label_manager.num_segmentation_heads
    # What the network says does not matter here, but how long it takes.
    network = lambda x: torch.zeros((1, heads, *x.shape[2:]))  # noqa: E731
    monkeypatch.setattr(predictor, "_internal_maybe_mirror_and_predict", network)
    most = 0
    add = OrderedSums._add

    def adding(self: Any, values: torch.Tensor, *args: Any) -> None:
        nonlocal most
        add(self, values, *args)
        if values.ndim > 3:
            kept = sum(rest.untyped_storage().nbytes() for waiting in self._held.values() for _, rest in waiting)
            most = max(most, kept)

    monkeypatch.setattr(OrderedSums, "_add", adding)
    for passage in every_axis(predictor, image)[1:]:
        most = 0
        planes_of(predictor, image, passage)
        estimate = passage.held * heads * HELD_BYTES
        assert 0.4 * estimate < most <= estimate


def test_prediction_begins_again_on_the_cpu_where_the_device_fails(
    trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, model = trained()
    predictor = predictor_of(model, step=1)
    image = head(dataset, predictor, tmp_path, (2, 1, 1))
    expected = predictor.predict_logits_from_preprocessed_data(image)
    predictor.perform_everything_on_device = True
    calls = []

    def failing_once(self: Any, x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 12:
            raise torch.OutOfMemoryError("out of memory")
        return original(self, x)

    original = nnUNetPredictor._internal_maybe_mirror_and_predict
    monkeypatch.setattr(nnUNetPredictor, "_internal_maybe_mirror_and_predict", failing_once)
    begun = []

    def begin() -> Collected:
        begun.append(Collected(tuple(image.shape[1:]), 3, 0))
        return begun[-1]

    predict_planes(predictor, image, plan_passage(image.shape[1:], predictor.configuration_manager.patch_size, 1), begin)
    assert len(begun) == 2
    assert torch.equal(begun[1].logits, expected)
    assert "the sums of logits are kept on the CPU, for the device failed: out of memory" in capsys.readouterr().out


def test_device_without_room_keeps_the_network_alone(trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, model = trained()
    predictor = predictor_of(model, step=1)
    image = head(dataset, predictor, tmp_path, (3, 1, 1))
    passage = plan_passage(image.shape[1:], predictor.configuration_manager.patch_size, 1)
    said: list[str] = []
    session = Session(predictor, progress=False, say=said.append)
    assert device_room(predictor.device) is None, "of a CPU nothing is known here"
    assert session._fits_the_device("case", image, passage)
    predictor.perform_everything_on_device = True
    needed = 4 * image.numel() + passage.bytes(3, 1)
    for room in (needed, needed - 1):
        monkeypatch.setattr("fastnnunet_loader.prediction.session.session.device_room", lambda _, room=room: room)
        assert session._fits_the_device("case", image, passage) == (room == needed)
    (line,) = said
    assert line.startswith("[case] image and sums need ")


def test_infinite_logits_are_refused(trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, model = trained()
    predictor = predictor_of(model, step=1)
    image = head(dataset, predictor, tmp_path, (1, 0.5, 0.5))
    monkeypatch.setattr(predictor, "network", torch.nn.Conv3d(1, 3, 1).requires_grad_(False))
    predictor.network.bias.fill_(1e5)
    predictor.list_of_parameters = [predictor.network.state_dict()]
    passage = plan_passage(image.shape[1:], predictor.configuration_manager.patch_size, 1)
    with pytest.raises(RuntimeError, match="expected finite logits, got infinity"):
        planes_of(predictor, image, passage)


def test_axis_and_memory() -> None:
    long = plan_passage((400, 100, 100), (64, 64, 64), 0.5)
    assert (long.along, long.extent, long.step(1)) == (0, 64, 32)
    for axis, shape in enumerate([(400, 64, 64), (64, 400, 64), (64, 64, 400)]):
        alone = plan_passage(shape, (64, 64, 64), 0.5)
        assert (alone.along, alone.in_order, alone.held) == (axis, True, 0), "one window along the axes before: none is held"
    held = plan_passage((100, 100, 800), (64, 64, 64), 0.5)
    assert (held.along, held.in_order) == (2, False)
    assert plan_passage((100, 100, 200), (64, 64, 64), 0.5).along == 0, "to hold windows would take more than it saves"
    assert plan_passage((100, 120, 100), (64, 64, 64), 0.5).along == 0, "hardly longer"
    assert plan_passage((128, 128, 768), (64, 64, 64), 1).held == 0, "windows that do not overlap are not held"
    assert plan_passage((9, 9, 2000), (8, 8, 8), 0.5).along == 2
    assert plan_passage((9, 9, 2000), (8, 8, 8), 0.1).along == 0, "steps of less than a voxel repeat windows"
    flat = plan_passage((300, 400, 400), (128, 128), 0.5)
    assert (flat.along, flat.extent, len(flat.starts)) == (0, 1, 300)
    for heads in (2, 5, 117):
        assert long.bytes(heads, 1) < 0.25 * whole_bytes(long.shape, heads, 1)
        assert held.bytes(heads, 1) < 0.25 * whole_bytes(held.shape, heads, 1)
        assert flat.bytes(heads, 5) < 0.2 * whole_bytes(flat.shape, heads, 5)
    for longer in (plan_passage((4000, 100, 100), (64, 64, 64), 0.5), plan_passage((100, 100, 8000), (64, 64, 64), 0.5)):
        shorter = held if longer.along else long
        assert abs(longer.bytes(5, 1) - shorter.bytes(5, 1)) < 0.1 * shorter.bytes(5, 1), "whatever the length"


def test_what_replaces_nnunets_way_is_used_and_named(trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, model = trained()
    predictor = predictor_of(model, step=1)
    image = head(dataset, predictor, tmp_path, (3, 1, 1))
    said: list[str] = []
    session = Session(predictor, progress=False, say=said.append)
    size = tuple(int(n) for n in image.shape[1:])
    header = Header(1, (size[0], size[1], size[2]), (4.0, 4.0, 4.0), 4, 0)
    properties = {
        "spacing": header.spacing,
        "shape_before_cropping": size,
        "bbox_used_for_cropping": [[0, n] for n in size],
        "shape_after_cropping_and_before_resampling": size,
    }
    assert not own_way(predictor)
    assert not said
    predicted = session.predict("case", image, properties, None)
    assert isinstance(predicted, Deciding)
    original = nnUNetPredictor.predict_sliding_window_return_logits

    def own(self: Any, data: torch.Tensor) -> Any:
        return original(self, data)

    monkeypatch.setattr(nnUNetPredictor, "predict_sliding_window_return_logits", own)
    other = Session(predictor, progress=False, say=said.append)
    (sentence,) = said
    assert sentence.startswith(
        "the logits of a whole image are kept in memory: the predictor has its own sliding window (nnUNetPredictor."
    )
    assert f"predict_sliding_window_return_logits, defined in {__file__}:" in sentence
    assert other.need(header).predict > session.need(header).predict
    logits = other.predict("case", image, properties, None)
    assert isinstance(logits, torch.Tensor)
    assert torch.equal(torch.from_numpy(predicted.segmentation().astype("int64")), logits.argmax(0))


def with_network(model: Path, network: torch.nn.Module, folds: int = 1) -> Any:
    """A predictor whose network needs no training, the same for each fold."""
    predictor = predictor_of(model, step=1)
    predictor.network = network
    predictor.list_of_parameters = [network.state_dict()] * folds
    return predictor


def test_a_network_that_was_in_training_is_not_while_it_predicts(trained: Any, tmp_path: Path) -> None:
    dataset, model = trained()
    layers = torch.nn.Conv3d(1, 3, 1), torch.nn.BatchNorm3d(3), torch.nn.Dropout(0.5)
    predictor = with_network(model, torch.nn.Sequential(*layers).requires_grad_(False))
    image = head(dataset, predictor, tmp_path, (2, 0.5, 0.5))
    expected = predictor.predict_logits_from_preprocessed_data(image)
    predictor.network.train()
    passage = plan_passage(image.shape[1:], predictor.configuration_manager.patch_size, 1)
    assert torch.equal(planes_of(predictor, image, passage).logits, expected)


@pytest.mark.parametrize("folds", [1, 2])
@pytest.mark.parametrize("at_once", [True, False])
def test_every_window_of_every_fold_is_told(trained: Any, tmp_path: Path, folds: int, at_once: bool) -> None:
    dataset, model = trained()
    predictor = with_network(model, torch.nn.Conv3d(1, 3, 1).requires_grad_(False), folds)
    image = head(dataset, predictor, tmp_path, (2, 1, 1))
    passage = plan_passage(image.shape[1:], predictor.configuration_manager.patch_size, 1 if at_once else 0.5)
    predictor.tile_step_size = 1 if at_once else 0.5
    collected = Collected(tuple(image.shape[1:]), 3, passage.along)
    told: list[tuple[int, int]] = []
    predict_planes(predictor, image, passage, lambda: collected, lambda done, of: told.append((done, of)))
    total = folds * len(predictor._internal_get_sliding_window_slicers(passage.shape))
    assert told == [(done, total) for done in range(1, total + 1)]


@pytest.mark.parametrize("value", [1e6, -1e6])
def test_one_infinite_logit_is_enough(trained: Any, tmp_path: Path, value: float) -> None:
    dataset, model = trained()
    network = torch.nn.Conv3d(1, 3, 1).requires_grad_(False)
    network.weight.fill_(1)
    predictor = with_network(model, network)
    image = head(dataset, predictor, tmp_path, (1, 0.5, 0.5))
    image[0, -1, -1, -1] = value
    passage = plan_passage(image.shape[1:], predictor.configuration_manager.patch_size, 1)
    with pytest.raises(RuntimeError, match="expected finite logits, got infinity"):
        planes_of(predictor, image, passage)


@pytest.mark.parametrize("folds", [1, 2, 5])
@pytest.mark.parametrize(
    ("shape", "patch", "step"),
    [
        ((60, 30, 30), (16, 16, 16), 0.5),
        ((16, 16, 90), (16, 16, 16), 0.5),  # along the last axis
        ((30, 30, 300), (16, 16, 16), 0.5),  # so that windows are held
        ((60, 30, 30), (16, 16, 16), 1),
        ((9, 8, 7), (16, 16, 16), 0.5),  # padded
        ((40, 30, 30), (16, 16), 0.5),
    ],
)
def test_what_is_kept_is_no_more_than_estimated(
    shape: tuple[int, int, int], patch: tuple[int, ...], step: float, folds: int
) -> None:
    heads, device, passage = 7, torch.device("cpu"), plan_passage(shape, patch, step)
    kind = Sums if passage.in_order else OrderedSums
    kept = [kind(passage, heads, device)._ring for _ in range(passage.sums(folds))]
    kept.append(kind(passage, 1, device)._ring)
    unpad = [slice(0, n) for n in passage.shape]
    kept.append(Waiting(passage, heads, folds, unpad, Collected(shape, heads, 0))._buffer)
    found = sum(tensor.nbytes for tensor in kept) + passage.held * heads * folds * HELD_BYTES
    assert 0.4 * passage.bytes(heads, folds) < found <= passage.bytes(heads, folds)
