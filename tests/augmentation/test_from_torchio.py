"""Native transforms that stand for TorchIO's: their samples are distributed as TorchIO's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchio as tio
from likeness import affine_of, blocks, compare, displacements, facts_of, native, places, texture, values_of

import fastnnunet_loader as fl

SHAPE = (20, 22, 24)


def built(transform: Any, patch: Any = SHAPE, **options: Any) -> fl.augmentation.Augmentation:
    return fl.augmentation.from_torchio(transform, patch, report=None, **options)


def torchios(transform: Any, image: torch.Tensor, labels: torch.Tensor, count: int) -> list[Any]:
    samples = []
    for seed in range(count):
        torch.manual_seed(seed)
        out = transform(tio.Subject(image=tio.ScalarImage(tensor=image.clone()), label=tio.LabelMap(tensor=labels.clone())))
        samples.append((out["image"].data, out["label"].data))
    return samples


@pytest.mark.parametrize(
    "transform",
    [
        tio.RandomAffine(scales=(0.8, 1.3), degrees=12, default_pad_value=0),
        tio.RandomAffine(scales=(0.8, 1.2, 1, 1, 0.9, 1), degrees=(0, 0, 0, 0, 5, 20), p=0.6, default_pad_value=0),
        tio.RandomAffine(scales=0.2, degrees=0, isotropic=True, p=0.5, default_pad_value=0),
        tio.RandomAffine(scales=0, degrees=(0, 25, 0, 0, 0, 0), p=1, default_pad_value=0),
    ],
)
def test_voxels_come_from_where_torchio_takes_them(transform: Any) -> None:
    count = 120
    augmentation = built(transform)
    assert fl.compile_transforms(augmentation.transforms).all_native
    larger = augmentation.initial_patch_size
    ours = native(augmentation, places(larger), blocks(larger), count)
    theirs = torchios(transform, places(SHAPE), blocks(SHAPE), count)
    compare(*([facts_of(affine_of(moved)) for moved, _ in some] for some in (ours, theirs)), tolerance=5e-3)
    assert {int(n) for _, made in ours for n in made.unique()} <= {0, 3, 7}


def test_patches_are_cut_large_enough() -> None:
    """So that corners have voxels of the volume, as where TorchIO transforms whole volumes."""
    for transform in (tio.RandomAffine(scales=(0.8, 1.2), degrees=20), tio.RandomElasticDeformation(max_displacement=3)):
        augmentation = built(transform)
        larger = augmentation.initial_patch_size
        assert all(a > b for a, b in zip(larger, SHAPE, strict=True))
        samples = native(augmentation, torch.ones(1, *larger), blocks(larger), 40)
        assert min(float(image.min()) for image, _ in samples) > 0.999
        assert all(image.shape[1:] == SHAPE for image, _ in samples)


def test_elastic_deformations_are_as_large_and_as_smooth() -> None:
    shape = (48, 48, 48)
    transform = tio.RandomElasticDeformation(num_control_points=9, max_displacement=(3.5, 3.5, 3.5), locked_borders=0)
    augmentation = built(transform, shape)
    larger = augmentation.initial_patch_size
    ours = [displacements(moved, 12) for moved, _ in native(augmentation, places(larger), blocks(larger), 25)]
    theirs = [displacements(moved, 12) for moved, _ in torchios(transform, places(shape), blocks(shape), 25)]
    for name in ours[0]:
        a, b = (np.mean([facts[name] for facts in some]) for some in (ours, theirs))
        assert a == pytest.approx(b, rel=0.25), name


@pytest.mark.parametrize(
    "transform",
    [
        tio.RandomNoise(std=(0.1, 0.5), p=0.7),
        tio.RandomNoise(std=0.3),
        tio.RandomBlur(std=(0.5, 2), p=0.6),
    ],
    ids=lambda t: type(t).__name__,
)
def test_values_are_distributed_as_torchios(transform: Any) -> None:
    image, labels, count = texture(SHAPE, 2), blocks(SHAPE), 150
    ours, theirs = native(built(transform), image, labels, count), torchios(transform, image, labels, count)
    inside = (slice(None), *(slice(5, -5),) * 3)  # the borders of a blur differ a little
    compare(*(values_of(lambda n, s=some: s[n][0][inside], image[inside], count) for some in (ours, theirs)), tolerance=4e-3)
    assert all(torch.equal(made, labels) for _, made in ours)


def test_gamma_is_torchios_of_intensities_from_0_to_1() -> None:
    transform = tio.RandomGamma(log_gamma=(-0.4, 0.2), p=0.7)
    image, labels, count = texture(SHAPE), blocks(SHAPE), 150
    image = (image - image.min()) / (image.max() - image.min())
    ours, theirs = native(built(transform), image, labels, count), torchios(transform, image, labels, count)
    compare(*(values_of(lambda number, some=some: some[number][0], image, count) for some in (ours, theirs)), tolerance=2e-3)


def test_anisotropy_is_along_one_of_the_axes() -> None:
    transform = tio.RandomAnisotropy(axes=(0, 2), downsampling=(2, 4), p=0.8)
    image, labels, count = texture((24, 24, 24)), blocks((24, 24, 24)), 200
    made = native(built(transform, (24, 24, 24)), image, labels, count), torchios(transform, image, labels, count)
    inside = (slice(None), *(slice(5, -5),) * 3)  # TorchIO fills planes at the borders with 0

    def rough(volume: torch.Tensor) -> list[float]:
        return [float(volume[inside].diff(dim=axis).std()) for axis in (1, 2, 3)]

    roughness = [np.array([rough(moved) for moved, _ in some]) / rough(image) for some in made]
    for axis in (0, 1, 2):
        smoothed = [np.mean((ratios.argmin(1) == axis) & (ratios.min(1) < 1)) for ratios in roughness]
        assert smoothed[0] == pytest.approx(smoothed[1], abs=0.15)
        assert np.mean(roughness[0][:, axis]) == pytest.approx(np.mean(roughness[1][:, axis]), abs=0.1)


@pytest.mark.parametrize(
    "transform",
    [
        tio.RandomFlip(axes=0),
        tio.RandomFlip(axes=(0, 2), flip_probability=0.3),
        tio.RandomFlip(axes=("LR", "Superior"), p=0.5),
        tio.OneOf({tio.RandomFlip(axes=0): 3, tio.RandomFlip(axes=1): 1}, p=0.8),
        tio.Compose([tio.RandomFlip(axes=1), tio.RandomFlip(axes=2)], p=0.4),
    ],
)
def test_mirrors_are_as_frequent(transform: Any) -> None:
    shape, count = (6, 5, 6), 400
    image, labels = texture(shape), blocks(shape)
    augmentation = built(transform, shape)
    assert fl.compile_transforms(augmentation.transforms).all_native and augmentation.initial_patch_size == shape
    seen: list[dict[bytes, int]] = [{}, {}]
    for some, kinds in zip(
        (native(augmentation, image, labels, count), torchios(transform, image, labels, count)), seen, strict=True
    ):
        for moved, made in some:
            key = moved.float().numpy().tobytes() + made.short().numpy().tobytes()
            kinds[key] = kinds.get(key, 0) + 1
    assert seen[0].keys() == seen[1].keys()
    for key, number in seen[0].items():
        assert abs(number - seen[1][key]) < 4 * np.sqrt(count / 2), (number, seen[1][key])


@pytest.mark.parametrize(
    "transform",
    [
        tio.OneOf({tio.RandomAffine(degrees=20): 0.8, tio.RandomElasticDeformation(): 0.2}, p=0.75),
        tio.OneOf([tio.RandomAffine(degrees=20, p=0.5), tio.RandomNoise()]),
        tio.Compose([tio.RandomAffine(degrees=20), tio.RandomNoise()], p=0.3),
        tio.Compose([tio.OneOf([tio.RandomNoise(), tio.RandomBlur()], p=0.5), tio.RandomAffine(degrees=20, p=0.25)]),
        tio.Compose([tio.RandomAffine(degrees=20), tio.RandomAffine(degrees=20, translation=3)]),
    ],
)
def test_all_ways_give_patches_of_one_size(transform: Any) -> None:
    augmentation = built(transform)
    larger = augmentation.initial_patch_size
    for image, labels in native(augmentation, texture(larger), blocks(larger), 20):
        assert image.shape[1:] == labels.shape[1:] == SHAPE


def test_a_compose_says_what_differs() -> None:
    told: list[str] = []
    transform = tio.Compose([tio.ToCanonical(), tio.ZNormalization(), tio.RandomBiasField(), tio.RandomGamma()])
    augmentation = fl.augmentation.from_torchio(transform, SHAPE, report=told.append)
    assert tuple(told) == augmentation.differences
    assert [sentence.split(":")[0] for sentence in told] == ["ToCanonical", "ZNormalization", "RandomBiasField", "RandomGamma"]
    assert "runs in Python, as TorchIO does it, since it has no native counterpart" in told[2]


def test_what_runs_in_python_is_torchios_own() -> None:
    transform = tio.RandomBiasField(coefficients=0.4)
    pipeline = fl.compile_transforms(built(transform).transforms)
    assert not pipeline.all_native and "RandomBiasField" in pipeline.describe()
    image, labels = texture(SHAPE), blocks(SHAPE)
    before = torch.get_rng_state()
    first = [pipeline(image=image, segmentation=labels, seed=seed)["image"] for seed in (1, 2, 1)]
    assert torch.equal(first[0], first[2]) and not torch.equal(first[0], first[1])
    assert torch.equal(torch.get_rng_state(), before), "the training's random numbers are left alone"
    ours, theirs = native(built(transform), image, labels, 60), torchios(transform, image, labels, 60)
    compare(*([{"mean": float(x.mean()), "deviation": float(x.std())} for x, _ in some] for some in (ours, theirs)))


def test_batches_do_not_depend_on_threads() -> None:
    """Several of TorchIO's transforms seed torch's generator themselves."""
    augmentation = built(
        tio.Compose([tio.RandomFlip(), tio.RandomMotion(num_transforms=1), tio.RandomGhosting()]), (16, 16, 16)
    )
    images = [texture((24, 24, 24), 1) * (1 + n) for n in range(3)]

    def batches(threads: int) -> list[torch.Tensor]:
        settings: dict[str, Any] = {"patch_size": (16, 16, 16), "batch_size": 2, "transforms": augmentation, "seed": 7}
        labels = [blocks((24, 24, 24)) for _ in images]
        with fl.DataLoader.from_arrays(images, labels, threads=threads, batches_per_epoch=6, **settings) as loader:
            return [batch["image"].clone() for batch in loader]

    assert all(torch.equal(a, b) for a, b in zip(batches(1), batches(3), strict=True))


def test_2d() -> None:
    shape = (24, 20)
    at = torch.stack(torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in shape), indexing="ij"))
    augmentation = built(tio.Compose([tio.RandomFlip(axes=(0, 1)), tio.RandomNoise(), tio.RandomBiasField()]), shape)
    for image, labels in native(augmentation, at, blocks(shape), 5):
        assert image.shape == at.shape and labels.shape == (1, *shape)


def test_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[RandomNoise\] expected images among image, label, got t2"):
        built(tio.RandomNoise(include=["t2"]))
    assert "includes or excludes" in built(tio.RandomFlip(include=["image"])).differences[0]


@pytest.mark.parametrize("labelled", [True, False])
def test_a_regression_target_is_an_image_of_spatial_transforms_in_python(labelled: bool) -> None:
    """It moves along, and intensities leave it alone."""
    images = [np.random.default_rng(number).normal(size=(1, 16, 16, 16)).astype(np.float32) for number in range(2)]
    labels = [(image[0] > 0).astype(np.int8) for image in images] if labelled else None

    def batch(*transforms: Any) -> Any:
        augmentation = built(tio.Compose(list(transforms)), (16, 16, 16), label_key="label" if labelled else None)
        settings: dict[str, Any] = {"patch_size": (16, 16, 16), "batch_size": 4, "threads": 2, "seed": 0, "pin_memory": False}
        with fl.DataLoader.from_arrays(images, labels, images, transforms=augmentation, **settings) as loader:
            assert loader.pipeline.fallbacks
            return next(loader)

    always = tio.RandomFlip(axes=(0, 1, 2), flip_probability=0.8)  # native ones mirror at most half of the samples
    moved = batch(always)
    assert torch.equal(moved["image"], moved["target"])
    plain = batch(tio.RandomSpike())
    assert not torch.equal(plain["image"], plain["target"])
    assert any(torch.equal(plain["target"][0], torch.from_numpy(image)) for image in images)
