"""`fl.predict_volume` against nnU-Net's own predictor, with trained networks and with small ones of every kind."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape as convert
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape, determine_do_sep_z_and_axis

import fastnnunet_loader as fl
from fastnnunet_loader.prediction.volume.grid import gaussian_weights, steps_of
from fastnnunet_loader.prediction.volume.predict import _new_shape

HEADS = 3


def small(dims: int, heads: int = HEADS) -> torch.nn.Module:
    """A network that is not the same mirrored, and that sees its neighbours."""
    torch.manual_seed(0)
    convolution = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[dims]
    norm = {2: torch.nn.BatchNorm2d, 3: torch.nn.BatchNorm3d}[dims]
    return torch.nn.Sequential(
        convolution(2, 4, 3, padding=1), norm(4), torch.nn.Dropout(0.5), torch.nn.LeakyReLU(), convolution(4, heads, 1)
    )


def nnunets(network: torch.nn.Module, patch: tuple[int, ...], *, step: float = 0.5, mirror: Any = None, **options: Any) -> Any:
    """nnU-Net's predictor around a network."""
    made = nnUNetPredictor(
        tile_step_size=step, device=torch.device("cpu"), allow_tqdm=False, use_mirroring=mirror is not None, **options
    )
    made.network = network
    made.allowed_mirroring_axes = mirror
    made.configuration_manager = SimpleNamespace(patch_size=patch)
    made.label_manager = SimpleNamespace(num_segmentation_heads=HEADS)
    return made


def volume(*shape: int) -> torch.Tensor:
    return torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("shape", "patch", "options"),
    [
        ((20, 23, 31), (8, 9, 10), {}),
        ((31, 23, 20), (10, 8, 8), {"step": 0.3, "mirror": (0, 1, 2)}),
        ((9, 40, 9), (8, 8, 8), {"use_gaussian": False}),
        ((5, 12, 30), (8, 8, 8), {"mirror": (2,)}),  # shorter than a patch along one axis
        ((4, 3, 5), (8, 8, 7), {}),
        ((6, 20, 23), (8, 9), {"mirror": (0, 1)}),  # a 2D network
        ((1, 20, 7), (8, 9), {"step": 1}),
    ],
)
def test_logits_are_nnunets_bit_for_bit(shape: tuple[int, ...], patch: tuple[int, ...], options: dict[str, Any]) -> None:
    network, image = small(len(patch)), volume(*shape)
    expected = nnunets(network, patch, **options).predict_sliding_window_return_logits(image)
    ours = {"step": options.get("step", 0.5), "gaussian": options.get("use_gaussian", True)}
    logits = fl.predict_volume(network, image, patch, mirror_axes=options.get("mirror", ()), **ours)
    assert torch.equal(logits, expected)
    several = fl.predict_volume(network, image, patch, mirror_axes=options.get("mirror", ()), batch_size=5, **ours)
    torch.testing.assert_close(several, expected, rtol=0, atol=2e-3)


def test_logits_of_a_trained_network_are_nnunets(trained: Any, tmp_path: Path) -> None:
    _, model = trained()
    predictor = nnUNetPredictor(tile_step_size=0.5, use_mirroring=True, device=torch.device("cpu"), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), (0,))
    patch = predictor.configuration_manager.patch_size
    image = torch.randn(len(predictor.dataset_json["channel_names"]), *(n + 7 for n in patch))
    expected = predictor.predict_logits_from_preprocessed_data(image)
    logits = fl.predict_volume(predictor.network, image, patch, mirror_axes=predictor.allowed_mirroring_axes)
    assert torch.equal(logits, expected)


def test_a_2d_image_is_one_plane() -> None:
    network, image = small(2), volume(20, 23)
    expected = nnunets(network, (8, 9)).predict_sliding_window_return_logits(image[:, None])[:, 0]
    assert torch.equal(fl.predict_volume(network, image, (8, 9)), expected)
    labels = fl.predict_volume(network, image.numpy(), (8, 9), output="labels", shape=(40, 10))
    assert labels.shape == (40, 10)


def test_a_2d_image_may_have_thick_lines() -> None:
    """As the plane of a 3D image has them."""
    network, image = small(2), volume(20, 23)
    logits = fl.predict_volume(network, image, (8, 9))
    labels = fl.predict_volume(network, image, (8, 9), output="labels", spacing=(4, 1), new_spacing=(1, 1.5))
    expected = fl.logits_to_segmentation(logits[:, None], (1, 80, 15), axis=1)[0]
    assert np.array_equal(labels.numpy(), expected)
    assert not np.array_equal(expected, fl.logits_to_segmentation(logits[:, None], (1, 80, 15))[0])


@pytest.mark.parametrize("regions", [None, (1, 2, 3)])
@pytest.mark.parametrize(
    ("shape", "spacing", "new_spacing"),
    [(None, None, None), ((25, 19, 28), None, None), (None, (1, 1, 1), (0.8, 1.3, 1)), ((8, 26, 30), (1, 1, 1), (4, 1, 1))],
)
def test_labels_and_probabilities_are_those_of_nnunets_export(regions: Any, shape: Any, spacing: Any, new_spacing: Any) -> None:
    """nnU-Net's own function makes labels and probabilities of the logits of the whole image."""
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    network, image, patch = small(3), volume(20, 23, 31), (8, 9, 10)
    logits = fl.predict_volume(network, image, patch)
    old = spacing or (1.0, 1.0, 1.0)
    new = new_spacing or old
    target = list(shape) if shape else [int(n) for n in compute_new_shape(image.shape[1:], old, new)]
    values = {"background": 0, "a": 1, "b": 2}
    if regions:
        values = {"background": 0, "all": (1, 2, 3), "two": (2, 3), "three": 3}
    manager = LabelManager(values, regions)
    plans = SimpleNamespace(transpose_backward=[0, 1, 2], transpose_forward=[0, 1, 2], get_label_manager=lambda _: manager)
    options = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}

    def resized(data: Any, new_shape: Any, current: Any, wanted: Any) -> Any:
        return resample_data_or_seg_to_shape(data, new_shape, current, wanted, **options)

    configuration = SimpleNamespace(spacing=old, resampling_fn_probabilities=resized)
    properties = {
        "spacing": new,
        "shape_after_cropping_and_before_resampling": target,
        "shape_before_cropping": target,
        "bbox_used_for_cropping": [[0, n] for n in target],
    }
    expected, chances = convert(logits, plans, configuration, manager, properties, return_probabilities=True)
    arguments: Any = {"shape": shape, "spacing": spacing, "new_spacing": new_spacing, "regions_class_order": regions}
    labels = fl.predict_volume(network, image, patch, output="labels", **arguments)
    found = fl.predict_volume(network, image, patch, output="probabilities", **arguments)
    assert labels.dtype == torch.uint8 and tuple(labels.shape) == tuple(target)
    assert (labels.numpy() != expected).mean() < 1e-3
    np.testing.assert_allclose(found.numpy(), np.asarray(chances), atol=2e-3)


def test_the_axis_of_thick_slices_is_nnunets() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        old, new = ([float(s) for s in generator.choice([0.5, 1, 2, 4], 3)] for _ in range(2))
        separate, axis = determine_do_sep_z_and_axis(None, old, new)
        made, found = _new_shape((20, 30, 40), None, old, new)
        assert found == (int(axis) if separate else None), (old, new)
        assert list(made or ()) == [int(n) for n in compute_new_shape((20, 30, 40), old, new)]


@pytest.mark.parametrize("patch", [(8, 9, 10), (64, 32, 5), (128, 128, 128), (40, 56), (1, 7, 2)])
def test_weights_are_nnunets(patch: tuple[int, ...]) -> None:
    expected = compute_gaussian(patch, sigma_scale=1.0 / 8, value_scaling_factor=10, device=torch.device("cpu"))
    assert torch.equal(gaussian_weights(patch), expected)


def test_steps_are_nnunets() -> None:
    for size in range(7, 60):
        for step in (0.1, 0.25, 0.5, 0.7, 1):
            assert steps_of((size,), (7,), step) == compute_steps_for_sliding_window((size,), (7,), step)


def test_the_network_is_as_before() -> None:
    """Also where a part of it was in evaluation mode, and if it fails."""
    network = small(3).train()
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    image = volume(9, 9, 9)
    first = fl.predict_volume(network, image, (8, 8, 8))
    assert torch.equal(first, fl.predict_volume(network, image, (8, 8, 8))), "no dropout"
    with pytest.raises(RuntimeError):
        fl.predict_volume(network, image[:1], (8, 8, 8))
    assert [module.training for module in network] == [True, False, True, True, True] and network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())


def test_memory_is_within_the_budget_or_refused() -> None:
    network, image = small(3, heads=40), volume(30, 16, 16)
    with pytest.raises(fl.MemoryBudgetError, match=r"\[memory_budget\] expected at least .* labels need the least"):
        fl.predict_volume(network, image, (8, 8, 8), memory_budget="500KB")
    with pytest.raises(fl.MemoryBudgetError):
        fl.predict_volume(network, image, (8, 8, 8), output="labels", memory_budget="500KB")
    labels = fl.predict_volume(network, image, (8, 8, 8), output="labels", memory_budget="3MB")
    assert torch.equal(labels.long(), fl.predict_volume(network, image, (8, 8, 8)).float().argmax(0))


@pytest.mark.parametrize(("output", "dtype"), [("logits", np.float16), ("probabilities", np.float32)])
def test_large_results_go_to_a_file(tmp_path: Path, output: Any, dtype: Any) -> None:
    network, image = small(3), volume(20, 23, 31)
    expected = fl.predict_volume(network, image, (8, 9, 10), output=output)
    file = np.lib.format.open_memmap(tmp_path / "result.npy", "w+", dtype, (HEADS, 20, 23, 31))
    assert fl.predict_volume(network, image, (8, 9, 10), output=output, out=file) is file
    file.flush()
    assert np.array_equal(np.load(tmp_path / "result.npy"), expected.numpy())
    with pytest.raises(ValueError, match=r"\[out\] expected contiguous memory of the CPU, \(3, 20, 23, 31\)"):
        fl.predict_volume(network, image, (8, 9, 10), output=output, out=torch.empty(3, 20, 23, 30))


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    fl.predict_volume(small(3), volume(12, 12, 12), (8, 8, 8), batch_size=3, progress=lambda *of: told.append(of))
    assert told == [(n, 8) for n in range(1, 9)]


def test_autocast_is_the_networks_precision() -> None:
    seen: list[torch.dtype] = []

    def network(x: torch.Tensor) -> torch.Tensor:
        out = torch.nn.functional.conv3d(x, torch.ones(2, 2, 1, 1, 1))
        seen.append(out.dtype)
        return out

    image = volume(8, 8, 8)
    exact = fl.predict_volume(network, image, (8, 8, 8), gaussian=False)
    rounded = fl.predict_volume(network, image, (8, 8, 8), gaussian=False, autocast=torch.bfloat16)
    assert seen == [torch.float32, torch.bfloat16]
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0.02)


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        (small(3), {"image": torch.zeros(8, 8)}, r"\[image\] expected \(C, X, Y, Z\), or .* got \(8, 8\)"),
        (small(3), {"image": "scan.nii.gz"}, r"^\[image\] expected an array or a tensor of real numbers, got str$"),
        (small(3), {"image": None}, r"^\[image\] expected an array or a tensor of real numbers, got NoneType$"),
        (small(3), {"image": torch.zeros(2, 8, 8, 8, dtype=torch.complex64)}, r"^\[image\] .*, got torch.complex64$"),
        (small(3), {"image": torch.zeros(2, 8, 8, 8).to_sparse()}, r"^\[image\] .*, got sparse_coo torch.float32$"),
        (small(3), {"image": np.zeros((2, 8, 8, 8), ">f4")}, r"^\[image\] .*, got >f4$"),
        (small(3), {"step": "half"}, r"^\[step\] expected a part of the patch size above 0 and at most 1, got 'half'$"),
        (small(3), {"batch_size": None}, r"^\[batch_size\] expected a whole number above 0, got None$"),
        (small(3), {"mirror_axes": 0}, r"^\[mirror_axes\] expected whole numbers, got 0$"),
        (small(3), {"device": "gpu"}, r"^\[device\] expected a device of torch, such as 'cuda', got 'gpu'$"),
        (small(3), {"autocast": "half"}, r"^\[autocast\] expected None, True, False or a dtype of torch, got 'half'$"),
        (small(3), {"memory_budget": "much"}, r"^\[memory_budget\] expected a size such as '4GB', got 'much'$"),
        (small(3), {"threads": "all"}, r"^\[threads\] expected a number from 1 on, got 'all'$"),
        (small(3), {"progress": 3}, r"^\[progress\] expected a function of two numbers, or None, got 3$"),
        (None, {}, r"^\[network\] expected a module or a function, got NoneType$"),
        (small(3), {"patch_size": (8, 8, 0)}, r"\[patch_size\] expected 2 or 3 whole numbers"),
        (small(3), {"mirror_axes": (3,)}, r"\[mirror_axes\] expected different axes from 0 to 2"),
        (small(3), {"step": 1.5}, r"\[step\] expected a part of the patch size"),
        (small(3), {"output": "argmax"}, r"\[output\] expected one of logits"),
        (small(3), {"shape": (9, 9, 9)}, r"\[shape\] expected output 'labels' or 'probabilities'"),
        (small(3), {"spacing": (1, 1, 1)}, r"\[spacing\] expected spacing and new_spacing"),
        (small(3), {"device": "meta"}, r"\[device\] expected the network's, cpu, got meta"),
        (small(3, 1), {"output": "labels"}, r"\[network\] expected two heads or more"),
        (small(3), {"output": "labels", "regions_class_order": (1, 2)}, r"\[regions_class_order\] expected 3 labels"),
        (lambda x: x[..., :4], {}, r"\[network\] expected a tensor of shape \(1, C, 8, 8, 8\), got \(1, 2, 8, 8, 4\)"),
        (lambda x: [x, x], {}, r"\[network\] expected a tensor .* got list; if the network has several outputs"),
    ],
)
def test_what_does_not_fit_is_one_sentence(network: Any, arguments: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"image": volume(8, 8, 8), "patch_size": (8, 8, 8), **arguments}
    with pytest.raises((ValueError, TypeError), match=message):
        fl.predict_volume(network, **given)
