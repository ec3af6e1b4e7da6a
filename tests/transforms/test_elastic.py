"""The elastic deformation of SpatialTransform: what is drawn natively is spread as what batchgeneratorsv2 draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.spatial import spatial as module
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from recording import seed_all
from scipy.stats import chi2_contingency, ks_2samp

import fastnnunet_loader as fl

LEAST_P = 1e-4


def assert_same_spread(a: Any, b: Any, what: str) -> None:
    p = ks_2samp(np.asarray(a), np.asarray(b)).pvalue
    assert p > LEAST_P, f"{what}: p = {p:.1e}, means {np.mean(a):.4f} and {np.mean(b):.4f}"


@pytest.mark.parametrize("patch", [(6, 7, 8), (9, 12)], ids=["3D", "2D"])
def test_parameters(patch: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    draws = 3000
    transform = SpatialTransform(
        patch, 0, False, p_elastic_deform=0.4, elastic_deform_scale=(0.05, 0.3), elastic_deform_magnitude=(-0.5, 3),
        p_synchronize_def_scale_across_axes=0.3,
    )  # fmt: skip
    pipeline = fl.compile_transforms(transform)
    assert pipeline.all_native
    ours = []
    for step in range(draws):
        ((_, parameters),) = pipeline.draw((1, *patch), step=step)
        if "elastic_sigmas" in parameters:
            ours.append(parameters["elastic_sigmas"] + parameters["elastic_magnitudes"])

    sigmas: list[float] = []
    original = module.fourier_gaussian

    def noting(array: Any, sigma: float) -> Any:
        sigmas.append(sigma)
        return original(array, sigma)

    monkeypatch.setattr(module, "fourier_gaussian", noting)
    seed_all(2)
    image = torch.zeros((1, *patch))
    theirs = []
    for _ in range(draws):
        offsets = transform.get_parameters(image=image)["elastic_offsets"]
        if offsets is not None:
            theirs.append([*sigmas[-len(patch) :], *offsets.abs().flatten(0, -2).amax(0).tolist()])
    p = chi2_contingency([[len(ours), draws - len(ours)], [len(theirs), draws - len(theirs)]]).pvalue
    assert p > LEAST_P, f"fired {len(ours)} and {len(theirs)} times"
    a, b = np.round(ours, 4), np.round(theirs, 4)  # batchgeneratorsv2's magnitudes are those of a float32 field
    for column in range(a.shape[1]):
        assert_same_spread(a[:, column], b[:, column], f"sigma or magnitude {column}")
    # How often all axes share a scale.
    equal = [int((np.ptp(side[:, : len(patch)] / patch, axis=1) < 1e-4).sum()) for side in (a, b)]
    p = chi2_contingency([[equal[0], len(a)], [equal[1], len(b)]]).pvalue
    assert p > LEAST_P and min(equal) > 0, equal


def native_offsets(transform: SpatialTransform, step: int) -> np.ndarray:
    """The field itself, (dims, *patch): what an image of coordinates looks like afterwards."""
    patch = transform.patch_size
    margin = 8
    ramps = np.stack(np.meshgrid(*[np.arange(p + 2 * margin) for p in patch], indexing="ij")).astype(np.float32)
    moved = fl.compile_transforms(transform)(image=ramps, step=step)["image"].numpy()
    inner = (slice(None), *[slice(margin, margin + p) for p in patch])
    return moved - ramps[inner]


def features(field: np.ndarray, waves: list[tuple[int, ...]]) -> list[float]:
    """Of one component: spread, mean, a value, correlation of neighbours, power of some waves."""
    flat = field - field.mean()
    neighbours = [float((field * np.roll(field, 1, axis)).mean() / (field**2).mean()) for axis in range(field.ndim)]
    spectrum = np.abs(np.fft.fftn(flat)) ** 2 / (np.abs(field).max() ** 2)
    return [float(field.std()), float(field.mean()), float(field.flat[0]), float(field.flat[field.size // 3]), *neighbours,
            *(float(spectrum[wave]) for wave in waves)]  # fmt: skip


@pytest.mark.parametrize("scale", [0.02, 0.08, 0.25])
@pytest.mark.parametrize("patch", [(9, 12, 20), (15, 24)], ids=["3D", "2D"])
def test_fields(patch: tuple[int, ...], scale: float) -> None:
    draws = 300
    magnitude = 2.5
    transform = SpatialTransform(
        patch,
        0,
        False,
        p_elastic_deform=1,
        elastic_deform_scale=scale,
        elastic_deform_magnitude=magnitude,
        center_deformation=False,
    )
    dims = len(patch)
    waves = [tuple(int(axis == at) for at in range(dims)) for axis in range(dims)]
    waves += [(1,) * dims, (2,) * dims, tuple(p // 2 for p in patch)]
    seed_all(0)
    image = torch.zeros((1, *patch))
    ours, theirs, products = [], [], []
    for step in range(draws):
        a = native_offsets(transform, step)
        b = np.moveaxis(transform.get_parameters(image=image)["elastic_offsets"].numpy(), -1, 0)
        for field in (*a, *b):
            assert np.abs(field).max() == pytest.approx(magnitude, abs=1e-4)
        products.append([np.corrcoef(a.reshape(dims, -1))[0, 1], a[0].flat[5] * a[1].flat[5]])
        ours.append([features(field, waves) for field in a])
        theirs.append([features(field, waves) for field in b])
    first, second = np.array(ours), np.array(theirs)  # (draws, component, feature)
    for component in range(dims):
        for feature in range(first.shape[2]):
            if second[:, component, feature].max() < 1e-6:  # a wave that the filter leaves nothing of
                assert first[:, component, feature].max() < 1e-6
                continue
            assert_same_spread(
                first[:, component, feature], second[:, component, feature], f"component {component}, feature {feature}"
            )
    # Components are independent of one another.
    spread = np.std(products, axis=0) / np.sqrt(draws)
    assert (np.abs(np.mean(products, axis=0)) < 4 * spread).all()


def test_callables_get_what_batchgeneratorsv2_gives() -> None:
    asked: list[dict[str, Any]] = []

    def scale(image: Any, dim: int | None, patch_size: Any) -> float:
        asked.append({"shape": tuple(image.shape), "dim": dim, "patch_size": tuple(patch_size)})
        return 0.1 + 0.01 * (dim or 0) + 0.001 * np.random.uniform()

    def magnitude(image: Any, patch_size: Any, dim: int, deformation_scale: float) -> float:
        return 10 * deformation_scale + dim

    patch = (8, 9, 10)
    for synchronize in (0, 1):
        transform = SpatialTransform(
            patch, 0, False, p_elastic_deform=1, elastic_deform_scale=scale, elastic_deform_magnitude=magnitude,
            p_synchronize_def_scale_across_axes=synchronize,
        )  # fmt: skip
        pipeline = fl.compile_transforms(transform)
        assert pipeline.all_native
        asked.clear()
        ((_, parameters),) = pipeline.draw((2, 12, 13, 14), step=3)
        ((_, again),) = pipeline.draw((2, 12, 13, 14), step=3)
        assert parameters == again
        assert asked[0] == {"shape": (2, 12, 13, 14), "dim": None if synchronize else 0, "patch_size": patch}
        assert len(asked) == (2 if synchronize else 6)
        scales = [s / p for s, p in zip(parameters["elastic_sigmas"], patch, strict=True)]
        assert (len({round(s, 9) for s in scales}) == 1) == bool(synchronize)
        expected = [10 * s + dim for dim, s in enumerate(scales)]
        assert parameters["elastic_magnitudes"] == pytest.approx(expected)


def test_the_same_sample_is_deformed_the_same() -> None:
    transform = SpatialTransform((20, 21, 22), 0, False, p_elastic_deform=1, elastic_deform_magnitude=(2, 4))
    image = np.random.default_rng(0).normal(size=(1, 24, 24, 24)).astype(np.float32)
    pipeline = fl.compile_transforms(transform)
    first, again, other = (pipeline(image=image, seed=1, step=step)["image"] for step in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
