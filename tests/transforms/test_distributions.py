"""What is drawn natively is spread as what batchgeneratorsv2 draws: how often each transform fires, and every parameter.

Each comparison is of 3,000 draws on either side, with fixed seeds; a p-value below 1e-4 fails. Kolmogorov-Smirnov for
numbers, chi-square of the table of counts for choices.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from recording import leaves, recording, seed_all
from scipy.stats import chi2_contingency, ks_2samp, kstest

import fastnnunet_loader as fl
from fastnnunet_loader.transforms.registry import NATIVE

DRAWS = 3000
LEAST_P = 1e-4

Values = dict[tuple[int, str], list[float]]


class Spread:
    """Counts and values of every leaf's parameters over many samples."""

    def __init__(self, tree: Any) -> None:
        self.number = {id(leaf): number for number, leaf in enumerate(leaves(tree))}
        self.fired: dict[int, int] = defaultdict(int)
        self.values: Values = defaultdict(list)

    def add(self, trace: Iterable[tuple[Any, dict[str, Any]]]) -> None:
        for leaf, parameters in trace:
            number = self.number[id(leaf)]
            self.fired[number] += 1
            for name, value in parameters.items():
                self.note((number, name), value)

    def note(self, key: tuple[int, str], value: Any) -> None:
        if value is None:
            self.values[(key[0], key[1] + " is None")].append(1.0)
            return
        flat = [float(v) for v in np.ravel(np.asarray(value, dtype=object))] if not np.isscalar(value) else [float(value)]
        self.values[(key[0], f"number of {key[1]}")].append(len(flat))
        if key[1] == "affine":
            size = round(len(flat) ** 0.5)
            for entry, v in enumerate(flat):
                self.values[(key[0], f"affine[{entry // size}, {entry % size}]")].append(v)
        elif key[1] in ("axes", "apply_to_channel", "apply_to_channels"):
            for v in flat:
                self.values[(key[0], key[1])].append(v)
        else:
            # A number that several axes or channels share is one draw: the tests take values to be independent.
            shared = any(not v.is_integer() for v in flat)
            self.values[(key[0], f"distinct {key[1]}")].append(len(set(flat)))
            self.values[key].extend(dict.fromkeys(flat) if shared else flat)


class Comparison:
    """P-values of ours against theirs, gathered over one or many trees."""

    def __init__(self) -> None:
        self.found: list[tuple[float, str]] = []

    def add(self, ours: Spread, theirs: Spread, draws: int, name: str = "") -> int:
        """Compares how often each transform fired, and every parameter; how many parameters there were."""
        for number in {*ours.fired, *theirs.fired}:
            a, b = ours.fired[number], theirs.fired[number]
            if min(a, b) < draws:
                p = chi2_contingency([[a, draws - a], [b, draws - b]]).pvalue
                self.found.append((p, f"{name}transform {number} fired {a} and {b} times"))
        keys = {*ours.values, *theirs.values}
        # Which component vanishes is drawn by batchgeneratorsv2 later, and so is not in its parameters.
        keys = {k for k in keys if not any(k[1].endswith(n) for n in ("component_u", "fill", "other_u"))}
        keys = {k for k in keys if ours.values[k] or theirs.values[k]}  # a list may be empty on both sides
        for key in sorted(keys):
            self.add_values(ours.values[key], theirs.values[key], f"{name}transform {key[0]}, {key[1]}")
        return len(keys)

    def add_values(self, a: list[float], b: list[float], what: str) -> None:
        distinct = sorted({*a, *b})
        assert a and b, f"{what}: one side never draws it"
        if len(distinct) == 1:
            return
        if len(distinct) <= 12:
            p = chi2_contingency([[side.count(v) for v in distinct] for side in (a, b)]).pvalue
        else:
            p = ks_2samp(a, b).pvalue
        self.found.append((p, f"{what}: means {np.mean(a):.4f} and {np.mean(b):.4f}"))

    def assert_alike(self, least: float = LEAST_P) -> None:
        p, what = min(self.found)
        assert p > least, f"p = {p:.1e} of {len(self.found)}: {what}"


def compare(
    tree: Any, shape: tuple[int, ...], segmentation_channels: int = 1, least_parameters: int = 1, pipeline: Any = None
) -> None:
    """pipeline: of the tree, where it was compiled before the test changed batchgeneratorsv2's code."""
    pipeline = fl.compile_transforms(tree) if pipeline is None else pipeline
    assert pipeline.all_native
    ours, theirs = Spread(tree), Spread(tree)
    for step in range(DRAWS):
        ours.add(pipeline.draw(shape, segmentation_channels=segmentation_channels, seed=1, step=step))
    seed_all(1)
    image = torch.randn(shape)
    segmentation = torch.randint(0, 3, (segmentation_channels, *shape[1:]), dtype=torch.int16)
    with torch.no_grad():
        for _ in range(DRAWS):
            with recording(tree) as trace:
                tree(image=image.clone(), segmentation=segmentation.clone())
            theirs.add((leaf, NATIVE[type(leaf).__name__].replay(leaf, p)) for leaf, p in trace)
    comparison = Comparison()
    assert comparison.add(ours, theirs, DRAWS) >= least_parameters
    comparison.assert_alike()


@pytest.mark.parametrize(
    ("patch", "window", "dummy_2d", "cascade"),
    [((10, 11, 12), (14, 15, 16), False, False), ((20, 22), (30, 32), False, False), ((6, 12, 12), (6, 18, 18), True, False),
     ((10, 11, 12), (14, 15, 16), False, True)],
    ids=["3D", "2D", "dummy 2D", "cascade"],
)  # fmt: skip
def test_default_training_transforms(patch: Any, window: Any, dummy_2d: bool, cascade: bool) -> None:
    rotation = (-np.pi, np.pi) if len(patch) == 2 or dummy_2d else (-np.pi / 6, np.pi / 6)
    tree = nnUNetTrainer.get_training_transforms(
        patch,
        rotation,
        [[1] * len(patch), [0.5] * len(patch)],
        tuple(range(len(patch))),
        dummy_2d,
        is_cascaded=cascade,
        foreground_labels=[1, 2] if cascade else None,
    )
    compare(tree, (2, *window), 2 if cascade else 1, least_parameters=20)


def test_options_that_the_default_does_not_use() -> None:
    tree = ComposeTransforms(
        [
            SpatialTransform(
                (10, 11, 12), 4, True, p_rotation=0.5, rotation=(-1, 2), p_scaling=0.7, scaling=(0.5, 2), p_rot_per_axis=0.6,
                p_synchronize_scaling_across_axes=0.3,
            ),
            GaussianBlurTransform((0.3, 0.8), False, True, 0.4),
            ContrastTransform(BGContrast((0.5, 2.0)), True, True, 0.5),
            ContrastTransform(BGContrast((1.1, 2.0)), True, False, 1),
            GammaTransform((0.5, 2), 0.3, False, 0.6, 0.8),
            SimulateLowResolutionTransform((0.4, 1), False, False, (1,), None, 0.6),
        ]
    )  # fmt: skip
    compare(tree, (3, 14, 15, 16), least_parameters=20)


def test_noise_is_normal_and_independent() -> None:
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform

    pipeline = fl.compile_transforms(GaussianNoiseTransform((0.25, 0.25), 1, False))
    image = np.zeros((2, 40, 40, 40), np.float32)
    fields = [pipeline(image=image, seed=3, step=step)["image"].numpy().reshape(2, -1) for step in range(2)]
    for field in (*fields[0], *fields[1]):
        assert kstest(field / 0.25, "norm").pvalue > LEAST_P
    both = np.concatenate(fields)
    correlation = np.corrcoef(both)[~np.eye(4, dtype=bool)]
    assert np.abs(correlation).max() < 4 / np.sqrt(both.shape[1])
    shifted = np.corrcoef(both[0, :-1], both[0, 1:])[0, 1]
    assert abs(shifted) < 4 / np.sqrt(both.shape[1])
