"""Native transforms that stand for MONAI's: their samples are distributed as MONAI's own."""

from __future__ import annotations

import copy
from typing import Any

import monai.transforms as mt
import numpy as np
import pytest
import torch
from likeness import affine_of, blocks, compare, displacements, facts_of, native, places, texture, values_of

import fastnnunet_loader as fl

SHAPE = (20, 22, 24)
BOTH = ["image", "label"]
MODES = {"mode": ("bilinear", "nearest")}


def built(*transforms: Any, patch: Any = SHAPE, **options: Any) -> fl.augmentation.Augmentation:
    return fl.augmentation.from_monai(mt.Compose(list(transforms)), patch, report=None, **options)


def monais(transform: Any, image: torch.Tensor, labels: torch.Tensor, count: int) -> list[Any]:
    samples = []
    for seed in range(count):
        one = copy.deepcopy(transform).set_random_state(seed=seed)
        out = one({"image": image.clone(), "label": labels.clone()})
        samples.append((torch.as_tensor(out["image"]), torch.as_tensor(out["label"])))
    return samples


@pytest.mark.parametrize(
    "transform",
    [
        mt.RandAffined(BOTH, prob=1, rotate_range=(0.3, 0.1, 0.2), scale_range=((-0.1, 0.3), 0.2, 0.05), **MODES),
        mt.RandAffined(BOTH, prob=0.4, rotate_range=0.3, scale_range=0.2, padding_mode="border", **MODES),
        mt.RandAffined(BOTH, prob=1, rotate_range=[(0.1, 0.4)], **MODES),
        mt.RandRotated(BOTH, range_x=0.3, range_z=(-0.1, 0.4), prob=0.7, **MODES),
        mt.RandZoomd(BOTH, prob=0.6, min_zoom=0.8, max_zoom=1.3, mode=("trilinear", "nearest")),
        mt.RandZoomd(BOTH, prob=1, min_zoom=(0.8, 0.9, 1), max_zoom=(1.3, 1.2, 1), mode=("trilinear", "nearest")),
    ],
    ids=lambda t: type(t).__name__,
)
def test_voxels_come_from_where_monai_takes_them(transform: Any) -> None:
    image, labels, count = places(SHAPE), blocks(SHAPE), 120
    augmentation = built(transform)
    assert fl.compile_transforms(augmentation.transforms).all_native
    ours, theirs = native(augmentation, image, labels, count), monais(transform, image, labels, count)
    # A zoom of MONAI's gives a whole number of voxels, so it is off by half of one.
    coarse = isinstance(transform, mt.RandZoomd)
    facts = [[facts_of(affine_of(moved)) for moved, _ in some] for some in (ours, theirs)]
    if coarse:
        facts = [[{k: v for k, v in one.items() if k.startswith("scale")} for one in some] for some in facts]
    compare(*facts, tolerance=0.05 if coarse else 1e-3)
    assert {int(n) for _, made in ours for n in made.unique()} <= {0, 3, 7}


def test_the_border_is_monais() -> None:
    """Where nothing is known: image and labels, each in its way."""
    for border in ("zeros", "border", "reflection"):
        transform = mt.RandAffined(BOTH, prob=1, scale_range=[(0.8, 0.8)] * 3, padding_mode=border, **MODES)
        image, labels = texture(SHAPE), blocks(SHAPE)
        ((ours, our_labels),) = native(built(transform), image, labels, 1)
        ((theirs, their_labels),) = monais(transform, image, labels, 1)
        torch.testing.assert_close(ours, theirs.float(), atol=2e-3, rtol=0)
        assert float((our_labels != their_labels.round().short()).float().mean()) < 0.01, border


def test_elastic_deformations_are_as_large_and_as_smooth() -> None:
    transform = mt.Rand3DElasticd(BOTH, sigma_range=(3, 4), magnitude_range=(30, 60), prob=1, padding_mode="border", **MODES)
    shape = (32, 32, 32)
    image, labels = places(shape), blocks(shape)
    ours, theirs = ([displacements(moved, 9) for moved, _ in make] for make in (
        native(built(transform, patch=shape), image, labels, 40), monais(transform, image, labels, 40)
    ))  # fmt: skip
    for name in ours[0]:
        a, b = (np.mean([facts[name] for facts in some]) for some in (ours, theirs))
        assert a == pytest.approx(b, rel=0.25), name


@pytest.mark.parametrize(
    "transform",
    [
        mt.RandGaussianNoised("image", prob=0.5, std=0.4),
        mt.RandGaussianNoised("image", prob=1, std=0.4, sample_std=False),
        mt.RandShiftIntensityd("image", offsets=(-0.1, 0.5), prob=0.6),
        mt.RandScaleIntensityd("image", factors=0.3, prob=0.6),
        mt.RandScaleIntensityd("image", factors=(-0.5, 0.1), prob=1, channel_wise=True),
        mt.RandScaleIntensityFixedMeand("image", factors=0.5, prob=0.7, channel_wise=True),
        mt.RandScaleIntensityFixedMeand("image", factors=0.5, prob=0.7, channel_wise=True, preserve_range=True),
        mt.RandGaussianSmoothd("image", (0.5, 1.5), (0.5, 1.5), (0.5, 1.5), prob=0.8),
        mt.RandCoarseDropoutd("image", holes=2, max_holes=5, spatial_size=(3, 5, 7), fill_value=0, prob=1),
        mt.RandCoarseDropoutd("image", holes=1, spatial_size=3, max_spatial_size=(9, 10, 11), fill_value=3, prob=0.7),
        mt.RandSimulateLowResolutiond("image", prob=0.6, zoom_range=(0.4, 0.9), downsample_mode="nearest-exact"),
    ],
    ids=lambda t: type(t).__name__,
)
def test_values_are_distributed_as_monais(transform: Any) -> None:
    name = type(transform).__name__
    image, labels, count = texture(SHAPE, channels=1 if "Dropout" in name else 2), blocks(SHAPE), 150
    ours, theirs = native(built(transform), image, labels, count), monais(transform, image, labels, count)
    facts = [values_of(lambda number, some=some: some[number][0], image, count) for some in (ours, theirs)]
    if "Smooth" in name:  # MONAI's is 0 beyond the borders
        inside = (slice(None), *(slice(5, -5),) * 3)
        facts = [values_of(lambda n, s=some: s[n][0][inside], image[inside], count) for some in (ours, theirs)]
    compare(*facts, tolerance=4e-3)
    assert all(torch.equal(made, labels) for _, made in ours)


@pytest.mark.parametrize("options", [{}, {"invert_image": True}, {"retain_stats": True}])
def test_contrast_is_monais_of_one_channel(options: dict[str, Any]) -> None:
    transform = mt.RandAdjustContrastd("image", prob=0.7, gamma=(0.5, 2), **options)
    image, labels, count = texture(SHAPE), blocks(SHAPE), 150
    ours, theirs = native(built(transform), image, labels, count), monais(transform, image, labels, count)
    compare(*(values_of(lambda number, some=some: some[number][0], image, count) for some in (ours, theirs)), tolerance=2e-3)


@pytest.mark.parametrize(
    "transform",
    [
        mt.RandFlipd(BOTH, prob=0.5, spatial_axis=0),
        mt.RandFlipd(BOTH, prob=0.2, spatial_axis=[-1]),
        mt.RandFlipd(BOTH, prob=0.7, spatial_axis=(0, 2)),
        mt.RandAxisFlipd(BOTH, prob=0.4),
        mt.RandRotate90d(BOTH, prob=0.6, spatial_axes=(0, 2)),
        mt.RandRotate90d(BOTH, prob=0.6, max_k=1, spatial_axes=(2, 0)),
    ],
)
def test_mirrors_and_quarter_turns_are_as_frequent(transform: Any) -> None:
    shape, count = (6, 5, 6), 400
    image, labels = texture(shape), blocks(shape)
    augmentation = built(transform, patch=shape)
    assert fl.compile_transforms(augmentation.transforms).all_native and not augmentation.differences
    seen: list[dict[bytes, int]] = [{}, {}]
    for some, kinds in zip(
        (native(augmentation, image, labels, count), monais(transform, image, labels, count)), seen, strict=True
    ):
        for moved, made in some:
            key = moved.float().numpy().tobytes() + made.short().numpy().tobytes()
            kinds[key] = kinds.get(key, 0) + 1
    assert seen[0].keys() == seen[1].keys()
    for key, number in seen[0].items():
        assert abs(number - seen[1][key]) < 4 * np.sqrt(count / 2), (number, seen[1][key])


def whole() -> mt.Compose:
    return mt.Compose(
        [
            mt.LoadImaged(BOTH),
            mt.EnsureChannelFirstd(BOTH),
            mt.NormalizeIntensityd("image"),
            mt.RandAffined(BOTH, prob=0.5, rotate_range=(0.3, 0, 0), **MODES),
            mt.RandCropByPosNegLabeld(BOTH, "label", (16, 16, 16), pos=2, neg=1, num_samples=2),
            mt.RandFlipd(BOTH, prob=0.5, spatial_axis=1),
            mt.RandBiasFieldd("image", prob=0.6),
            mt.RandGaussianSharpend("image", prob=0.6),
            mt.OneOf([mt.RandGibbsNoised("image", prob=1), mt.RandGaussianNoised("image", prob=1)], weights=(0.25, 0.75)),
        ]
    )


def test_a_compose_says_what_differs() -> None:
    told: list[str] = []
    augmentation = fl.augmentation.from_monai(whole(), report=told.append)
    assert tuple(told) == augmentation.differences
    assert augmentation.patch_size == (16, 16, 16) and augmentation.mirror_axes == (1,)
    assert all(initial > 16 for initial in augmentation.initial_patch_size[1:]), "the affine comes before the crop"
    text = "\n".join(told)
    assert "LoadImage, EnsureChannelFirst, NormalizeIntensity: left out" in text
    assert "RandCropByPosNegLabeld: left out, since the loader cuts patches: oversample_foreground=0.666667" in text
    assert "RandBiasFieldd: runs in Python" in text and "RandGaussianSharpend: runs in Python" in text
    assert "RandFlipd" not in text


def test_what_runs_in_python_is_monais_own() -> None:
    """A copy for each call, seeded by the sample: the seed says what MONAI draws, and no call disturbs another."""
    sharpen = mt.RandGaussianSharpend("image", prob=1)
    pipeline = fl.compile_transforms(built(sharpen).transforms)
    assert not pipeline.all_native and "RandGaussianSharpend" in pipeline.describe()
    image, labels = texture(SHAPE), blocks(SHAPE)
    state = sharpen.R.get_state()[1].copy()
    first = [pipeline(image=image, segmentation=labels, seed=seed)["image"] for seed in (1, 2, 1)]
    assert torch.equal(first[0], first[2]) and not torch.equal(first[0], first[1])
    assert np.array_equal(sharpen.R.get_state()[1], state), "the user's object is left alone"
    facts = [[{"mean": float(x.mean()), "roughness": float(x.diff(dim=1).std())} for x, _ in some] for some in (
        native(built(sharpen), image, labels, 60), monais(sharpen, image, labels, 60)
    )]  # fmt: skip
    compare(*facts)


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_do_not_depend_on_threads(threads: int) -> None:
    """Although MONAI's transforms keep what they drew in attributes."""
    augmentation = fl.augmentation.from_monai(whole(), report=None)
    images = [texture((24, 24, 24), 1) * (1 + n) for n in range(3)]
    labels = [blocks((24, 24, 24)) for _ in images]

    def batches(count: int) -> list[torch.Tensor]:
        settings: dict[str, Any] = {"patch_size": (16, 16, 16), "batch_size": 2, "transforms": augmentation, "seed": 7}
        with fl.DataLoader.from_arrays(images, labels, threads=count, batches_per_epoch=8, **settings) as loader:
            return [batch["image"].clone() for batch in loader]

    assert all(torch.equal(a, b) for a, b in zip(batches(threads), batches(2), strict=True))


def test_labels_stay_labels_in_python() -> None:
    """Also where MONAI makes floats of them, and where a patch reaches beyond its image."""
    shear = mt.RandAffined(BOTH, prob=1, shear_range=(0.2, 0.2), padding_mode="zeros", **MODES)
    augmentation = built(shear)
    assert any("shear_range is not 0" in sentence for sentence in augmentation.differences)
    labels = blocks(SHAPE)
    labels[:, :3] = -1
    for _, made in native(augmentation, texture(SHAPE), labels, 5):
        assert made.dtype == torch.int16 and set(made.unique().tolist()) <= {0, 3, 7}


def test_python_sees_no_label_that_monai_does_not_know() -> None:
    seen: list[int] = []
    record = mt.Lambdad("label", func=lambda label: (seen.append(int(label.min())), label)[1])
    labels = blocks(SHAPE)
    labels[:, :3] = -1
    native(built(record), texture(SHAPE), labels, 1)
    assert seen == [0]


def test_2d() -> None:
    shape = (24, 20)
    transform = mt.RandAffined(BOTH, prob=1, rotate_range=[(0.2, 0.5)], scale_range=(0.1, 0.2), **MODES)
    noise = mt.RandGibbsNoised("image", prob=1)
    augmentation = built(transform, patch=shape)
    at = torch.stack(torch.meshgrid(*(torch.arange(n) - (n - 1) / 2 for n in shape), indexing="ij"))

    def turned(moved: torch.Tensor) -> dict[str, float]:
        inside = (slice(None), slice(6, -6), slice(6, -6))
        matrix = np.linalg.lstsq(
            at[inside].reshape(2, -1).T.numpy(), moved[inside].reshape(2, -1).T.double().numpy(), rcond=None
        )[0]
        return {f"{i}{j}": float(matrix[i, j]) for i in range(2) for j in range(2)}

    labels = blocks(shape)
    ours, theirs = native(augmentation, at, labels, 100), monais(transform, at, labels, 100)
    compare([turned(moved) for moved, _ in ours], [turned(moved) for moved, _ in theirs])
    ((image, _),) = native(built(noise, patch=shape), at, labels, 1)
    assert image.shape == at.shape and not torch.equal(image, at)


def test_images_without_labels() -> None:
    transform = mt.RandFlipd("image", prob=0.5, spatial_axis=0)
    assert fl.compile_transforms(built(transform, label_key=None).transforms).all_native
    assert "its keys are image, and the native one is of image, label" in built(transform).differences[0]


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([mt.RandFlipd(["t1", "label"])], r"\[RandFlipd\] expected keys among image, label, got t1"),
        ([mt.RandRotate90d(BOTH)], r"\[RandRotate90d\] expected a patch of equal size along axes 0 and 1"),
    ],
)
def test_what_cannot_be_followed_is_one_sentence(transforms: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built(*transforms)


@pytest.mark.parametrize(
    "crop",
    [
        mt.RandCropByPosNegLabeld(BOTH, "label", (8, 9, 10)),
        mt.RandCropByLabelClassesd(BOTH, "label", spatial_size=(8, 9, 10)),
        mt.RandSpatialCropd(BOTH, roi_size=(8, 9, 10), random_size=False),
        mt.RandSpatialCropSamplesd(BOTH, num_samples=2, roi_size=(8, 9, 10), random_size=False),
    ],
    ids=lambda t: type(t).__name__,
)
def test_the_patch_size_is_the_crops(crop: Any) -> None:
    """And a choice before the crop gives patches of that size, whichever way it takes."""
    either = mt.OneOf([mt.RandRotated(BOTH, range_x=0.3, prob=0.5, **MODES), mt.RandGaussianNoised("image", prob=1)])
    augmentation = built(either, crop, patch=None)
    assert augmentation.patch_size == (8, 9, 10)
    larger = augmentation.initial_patch_size
    assert larger[1] > 9 and larger[0] == 8
    for image, labels in native(augmentation, texture(larger), blocks(larger), 12):
        assert image.shape[1:] == labels.shape[1:] == (8, 9, 10)


def test_a_patch_size_is_needed() -> None:
    with pytest.raises(ValueError, match=r"\[patch_size\] expected one, since there is no crop in compose"):
        fl.augmentation.from_monai(mt.Compose([mt.RandFlipd(BOTH)]), report=None)


def batch_of_images_as_targets(augmentation: Any) -> dict[str, Any]:
    images = [np.random.default_rng(number).normal(size=(1, 26, 26, 26)).astype(np.float32) for number in range(2)]
    labels = [(image[0] > 0).astype(np.int8) for image in images]
    settings: dict[str, Any] = {"patch_size": (20, 20, 20), "batch_size": 4, "threads": 2, "seed": 0, "pin_memory": False}
    with fl.DataLoader.from_arrays(images, labels, images, transforms=augmentation, **settings) as loader:
        return next(loader)


def test_a_regression_target_goes_beside_transforms_of_intensities() -> None:
    """Those that move voxels are native; of those in Python, nobody could tell where they moved them."""
    patch = (20, 20, 20)
    moves = [mt.RandFlipd(BOTH, prob=0.5, spatial_axis=0), mt.RandRotate90d(BOTH, prob=0.7)]
    batch = batch_of_images_as_targets(built(*moves, mt.RandHistogramShiftd("image", prob=1), *moves, patch=patch))
    for image, target in zip(batch["image"].flatten(1), batch["target"].flatten(1), strict=True):
        assert not torch.equal(image, target)
        # The shift is monotonous, and each voxel is where its target is.
        assert torch.all(image[target.argsort()].diff() >= -1e-4)
    with pytest.raises(fl.NotSupportedError, match=r"got RandGridDistortiond, of another library, runs in Python and may move"):
        batch_of_images_as_targets(built(mt.RandGridDistortiond(BOTH, prob=1), patch=patch))
    with pytest.raises(ValueError, match=r"got monai's Compose; fl\.augmentation\.from_monai translates it$"):
        batch_of_images_as_targets(mt.Compose(moves))
