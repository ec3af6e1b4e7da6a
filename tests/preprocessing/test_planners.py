"""nnU-Net's planners, whose networks have no weights while they are only measured."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    nnUNetPlannerResEncM,
)

from fastnnunet_loader.nnunet.replacing.patches import Patches
from fastnnunet_loader.nnunet.replacing.planning import patch_planning

ARCHITECTURES = "dynamic_network_architectures.architectures.unet."


class Measured(torch.nn.Module):
    """A network that remembers where it was made."""

    devices: list[str] = []  # noqa: RUF012  emptied by each test

    def __init__(self, input_channels: int, num_classes: int, looks: bool = False) -> None:
        super().__init__()
        self.layer = torch.nn.Conv3d(input_channels, num_classes, 3)
        self.devices.append(self.layer.weight.device.type)
        self.size = float(self.layer.weight.abs().sum() > 0) if looks else 1.0

    def compute_conv_feature_map_size(self, patch: Any) -> float:
        return self.size * patch[0]


def unet(dimensions: int, name: str, patch: tuple[int, ...]) -> tuple[Any, ...]:
    """Arguments of the estimate."""
    stages = 5
    kind = "residual" if name.startswith("Residual") else "plain"
    convolutions = "n_blocks_per_stage" if kind == "residual" else "n_conv_per_stage"
    kwargs = {
        "n_stages": stages,
        "features_per_stage": [32, 64, 128, 256, 320],
        "conv_op": f"torch.nn.modules.conv.Conv{dimensions}d",
        "kernel_sizes": [[3] * dimensions] * stages,
        "strides": [[1] * dimensions, *[[2] * dimensions] * (stages - 1)],
        convolutions: [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
        "conv_bias": True,
        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimensions}d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    return patch, 2, 5, ARCHITECTURES + name, kwargs, ("conv_op", "norm_op", "dropout_op", "nonlin")


@pytest.fixture
def measured() -> Iterator[list[str]]:
    Measured.devices.clear()
    yield Measured.devices
    Measured.devices.clear()


@pytest.fixture
def patched() -> Iterator[Callable[..., Any]]:
    """nnU-Net's own function, while the planners are changed."""
    original = vars(ExperimentPlanner)["static_estimate_VRAM_usage"].__func__
    patches = Patches()
    patch_planning(patches)
    yield original
    patches.undo()
    assert vars(ExperimentPlanner)["static_estimate_VRAM_usage"].__func__ is original


@pytest.mark.parametrize("name", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize(("dimensions", "patch"), [(2, (256, 320)), (3, (96, 112, 128))])
def test_the_estimate_is_nnunets(patched: Callable[..., Any], dimensions: int, name: str, patch: tuple[int, ...]) -> None:
    asked = unet(dimensions, name, patch)
    threads = torch.get_num_threads()
    assert nnUNetPlannerResEncM.static_estimate_VRAM_usage(*asked) == patched(*asked) > 0
    assert torch.get_num_threads() == threads
    assert torch.zeros(1).device.type == "cpu"


def test_a_network_has_no_weights_unless_it_looks_at_them(patched: Callable[..., Any], measured: list[str]) -> None:
    name = f"{__name__}.Measured"
    assert ExperimentPlanner.static_estimate_VRAM_usage((8, 8, 8), 1, 2, name, {}, ()) == 8.0
    assert measured == ["meta"]
    measured.clear()
    before = torch.get_num_threads()
    torch.set_num_threads(3)  # not what nnU-Net sets for the estimate
    try:
        assert ExperimentPlanner.static_estimate_VRAM_usage((8, 8, 8), 1, 2, name, {"looks": True}, ()) == 8.0
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert measured == ["meta", "cpu"]


def test_what_a_networks_module_makes_when_it_is_imported_has_values(
    patched: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays for the training that follows in the same process."""
    (tmp_path / "own_network.py").write_text(
        "import torch\nWEIGHTS = torch.ones(3)\n"
        "class Network(torch.nn.Module):\n"
        "    def __init__(self, input_channels, num_classes, norm):\n        super().__init__()\n"
        "    def compute_conv_feature_map_size(self, patch):\n        return float(WEIGHTS.sum())\n",
        encoding="utf-8",
    )
    (tmp_path / "own_norm.py").write_text("import torch\nclass Norm:\n    scale = torch.ones(2)\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    asked = ((8, 8, 8), 1, 2, "own_network.Network", {"norm": "own_norm.Norm"}, ("norm",))
    assert ExperimentPlanner.static_estimate_VRAM_usage(*asked) == 3.0
    for name in ("own_network", "own_norm"):
        module: Any = sys.modules.pop(name)
        made = module.WEIGHTS if name == "own_network" else module.Norm.scale
        assert made.device.type == "cpu"


def test_an_error_of_the_network_is_its_own(patched: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'depth'"):
        ExperimentPlanner.static_estimate_VRAM_usage((8, 8, 8), 1, 2, f"{__name__}.Measured", {"depth": 3}, ())


def test_an_estimate_of_ones_own_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def own(*_: Any) -> float:
        return 1.0

    monkeypatch.setattr(ExperimentPlanner, "static_estimate_VRAM_usage", staticmethod(own))
    patches = Patches()
    patch_planning(patches)
    assert vars(ExperimentPlanner)["static_estimate_VRAM_usage"].__func__ is own
    patches.undo()


@pytest.mark.slow
@pytest.mark.parametrize("planner", [ExperimentPlanner, nnUNetPlannerResEncM])
def test_plans_are_nnunets(planner: type, planned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, folder = planned()
    name = "dataset_fingerprint.json"
    shutil.copy(dataset.preprocessed / dataset.name / name, folder / name)
    found = []
    for changed in (True, False):
        patches = Patches()
        if changed:
            patch_planning(patches)
        asked = planner(dataset.id, plans_name="Tried")
        asked.UNet_vram_target_GB = 0.5  # several patch sizes are tried
        asked.plan_experiment()
        patches.undo()
        found.append((folder / "Tried.json").read_text(encoding="utf-8"))
        (folder / "Tried.json").unlink()
    assert found[0] == found[1]
