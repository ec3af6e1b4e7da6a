"""Which transforms nnU-Net's trainers use, and with which numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from .tree import Augmentation, checked_size, enlarged, require_transforms

__all__ = ["TRAINERS", "nnunet", "none"]

_ANISOTROPIC = 3  # the longest axis over the first one: beyond it, the planes are augmented
_DEGREE = 1.0 / 360 * 2.0 * np.pi


@dataclass(frozen=True)
class _Recipe:
    strong: bool = False  # nnUNetTrainerDA5's
    mirror: Literal["all", "none", "all but the last"] = "all"
    folds: bool = True  # augment planes if patches are anisotropic
    mode_image: str | None = None
    mode_seg: str | None = None
    p_per_label: float = 0.5  # of a cascade's previous labels


TRAINERS: dict[str, _Recipe] = {
    "nnUNetTrainer": _Recipe(),
    "nnUNetTrainerNoMirroring": _Recipe(mirror="none"),
    "nnUNetTrainer_onlyMirror01": _Recipe(mirror="all but the last"),
    "nnUNetTrainer_noDummy2DDA": _Recipe(folds=False),
    "nnUNetTrainer_DASegOrd0": _Recipe(mode_seg="nearest", p_per_label=1),
    "nnUNetTrainer_DASegOrd0_NoMirroring": _Recipe(mode_seg="nearest", p_per_label=1, mirror="none"),
    "nnUNetTrainer_onlyMirror01_DASegOrd0": _Recipe(mode_seg="nearest", p_per_label=1, mirror="all but the last"),
    "nnUNetTrainerDA5": _Recipe(strong=True, p_per_label=1),
    "nnUNetTrainerDA5ord0": _Recipe(strong=True, p_per_label=1, mode_image="nearest", mode_seg="nearest"),
    "nnUNetTrainerDA5Segord0": _Recipe(strong=True, p_per_label=1, mode_seg="nearest"),
}


def nnunet(
    patch_size: Sequence[int],
    *,
    trainer: str = "nnUNetTrainer",
    mirror_axes: Sequence[int] | None = None,
    deep_supervision_scales: Sequence[Sequence[float]] | None = None,
    use_mask_for_norm: Sequence[bool] | None = None,
    cascade_labels: Sequence[int] | None = None,
    regions: Sequence[int | Sequence[int]] | None = None,
    ignore_label: int | None = None,
) -> Augmentation:
    """Builds the training transforms of one of nnU-Net's trainers.

    Args:
        patch_size: what the network gets, in voxels: (X, Y, Z) or (Y, Z).
        trainer: whose transforms; one of `fl.augmentation.TRAINERS`.
        mirror_axes: axes that may be mirrored; None for the trainer's own, () for none.
        deep_supervision_scales: a factor for each axis of each target; None for one target, which is no list.
        use_mask_for_norm: for each channel, whether the image is 0 outside of the mask that labels of -1 mark.
        cascade_labels: of the previous stage's segmentation, which becomes one channel of the image for each; None without one.
        regions: labels of each region; the target then has a channel of 0 and 1 for each. None leaves labels.
        ignore_label: the label of voxels without annotation; with regions it becomes the last channel.

    Returns:
        The transforms with the sizes of patches. `fl.DataLoader.from_folder` takes them.

    Raises:
        ValueError: an argument is out of range.
        ModuleNotFoundError: batchgeneratorsv2 is not installed.
    """
    require_transforms()
    patch = checked_size(patch_size)
    recipe = TRAINERS.get(trainer)
    if recipe is None:
        raise ValueError(f"[trainer] expected one of {', '.join(TRAINERS)}, got {trainer!r}")
    if mirror_axes is None:
        mirrored = tuple(range({"all": len(patch), "none": 0, "all but the last": len(patch) - 1}[recipe.mirror]))
    else:
        mirrored = tuple(int(axis) for axis in mirror_axes)
        if any(not 0 <= axis < len(patch) for axis in mirrored):
            raise ValueError(f"[mirror_axes] expected axes from 0 to {len(patch) - 1}, got {mirror_axes!r}")
    folded = recipe.folds and len(patch) == 3 and max(patch) / patch[0] > _ANISOTROPIC
    angle = _angle(patch, folded)
    built = [*_augmenting(recipe, patch, angle, folded, mirrored)]
    built += _finishing(recipe, True, deep_supervision_scales, use_mask_for_norm, cascade_labels, regions, ignore_label)
    initial = enlarged(patch, angle, 0.7 if recipe.strong else 0.85, keep_first=folded)
    return Augmentation(_compose(built), patch, initial, mirrored)


def none(
    patch_size: Sequence[int],
    *,
    deep_supervision_scales: Sequence[Sequence[float]] | None = None,
    cascade_labels: Sequence[int] | None = None,
    regions: Sequence[int | Sequence[int]] | None = None,
    ignore_label: int | None = None,
) -> Augmentation:
    """Builds the transforms of nnU-Net's validation: patches as they are, with targets as in training.

    Arguments, result and errors are those of `nnunet`.
    """
    require_transforms()
    patch = checked_size(patch_size)
    built = _finishing(_Recipe(), False, deep_supervision_scales, None, cascade_labels, regions, ignore_label)
    return Augmentation(_compose(built), patch, patch)


def _angle(patch: tuple[int, ...], folded: bool) -> float:
    if len(patch) == 3:
        return 180.0 * _DEGREE if folded else 30.0 * _DEGREE
    return 15.0 * _DEGREE if max(patch) / min(patch) > 1.5 else 180.0 * _DEGREE


def _compose(transforms: list[Any]) -> Any:
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

    return ComposeTransforms(transforms)


def _augmenting(
    recipe: _Recipe, patch: tuple[int, ...], angle: float, folded: bool, mirrored: tuple[int, ...]
) -> Iterator[Any]:
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform

    ignore_axes = (0,) if folded else None
    modes = {"mode_image": recipe.mode_image, "mode_seg": recipe.mode_seg}
    ranges: dict[str, Any] = (
        {"p_rotation": 0.4, "p_rot_per_axis": 0.5, "scaling": (0.7, 1.43), "p_synchronize_scaling_across_axes": 0}
        if recipe.strong
        else {"p_rotation": 0.2, "scaling": (0.7, 1.4), "p_synchronize_scaling_across_axes": 1}
    )
    if folded:
        yield Convert3DTo2DTransform()
    yield SpatialTransform(
        patch[1:] if folded else patch,
        patch_center_dist_from_border=0,
        random_crop=False,
        p_elastic_deform=0,
        rotation=(-angle, angle),
        p_scaling=0.2,
        bg_style_seg_sampling=False,
        border_mode_seg="constant",
        padding_value_seg=-1,
        **ranges,
        **{name: mode for name, mode in modes.items() if mode is not None},
    )
    if folded:
        yield Convert2DTo3DTransform()
    yield from _strong(patch, ignore_axes) if recipe.strong else _default(ignore_axes)
    if mirrored:
        yield MirrorTransform(allowed_axes=mirrored)
    if recipe.strong:
        yield from _strong_local(patch)


def _with(probability: float, transform: Any) -> Any:
    from batchgeneratorsv2.transforms.utils.random import RandomTransform

    return RandomTransform(transform, apply_probability=probability)


def _default(ignore_axes: tuple[int, ...] | None) -> Iterator[Any]:
    from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform

    each = {"synchronize_channels": False, "p_per_channel": 1}
    yield _with(0.1, GaussianNoiseTransform(noise_variance=(0, 0.1), p_per_channel=1, synchronize_channels=True))
    blur = GaussianBlurTransform(
        blur_sigma=(0.5, 1.0), synchronize_channels=False, synchronize_axes=False, p_per_channel=0.5, benchmark=True
    )
    yield _with(0.2, blur)
    yield _with(0.15, MultiplicativeBrightnessTransform(multiplier_range=BGContrast((0.75, 1.25)), **each))
    yield _with(0.15, ContrastTransform(contrast_range=BGContrast((0.75, 1.25)), preserve_range=True, **each))
    low = SimulateLowResolutionTransform(
        scale=(0.5, 1),
        synchronize_channels=False,
        synchronize_axes=True,
        ignore_axes=ignore_axes,
        allowed_channels=None,
        p_per_channel=0.5,
    )
    yield _with(0.25, low)
    yield _with(0.1, GammaTransform(gamma=BGContrast((0.7, 1.5)), p_invert_image=1, p_retain_stats=1, **each))
    yield _with(0.3, GammaTransform(gamma=BGContrast((0.7, 1.5)), p_invert_image=0, p_retain_stats=1, **each))


def _strong(patch: tuple[int, ...], ignore_axes: tuple[int, ...] | None) -> Iterator[Any]:
    """nnUNetTrainerDA5's, up to mirroring."""
    from batchgeneratorsv2.transforms.intensity.brightness import BrightnessAdditiveTransform
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
    from batchgeneratorsv2.transforms.noise.median_filter import MedianFilterTransform
    from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
    from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
    from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
    from batchgeneratorsv2.transforms.utils.random import OneOfTransform

    # Axes of the size that most axes have may change places.
    alike = [patch.count(size) for size in patch]
    if max(alike) > 1:
        axes = {axis for axis, count in enumerate(alike) if count == max(alike)}
        turn = Rot90Transform(num_axis_combinations=1, num_rot_per_combination=(0, 1, 2, 3), allowed_axes=axes)
        yield _with(0.5, turn)
        yield _with(0.5, TransposeAxesTransform(allowed_axes=set(axes)))
    median = MedianFilterTransform((2, 8), p_same_for_each_channel=0, p_per_channel=0.5)
    blur = GaussianBlurTransform((0.3, 1.5), synchronize_channels=False, synchronize_axes=True, p_per_channel=0.5)
    yield OneOfTransform([_with(0.2, median), _with(0.2, blur)])
    yield _with(0.1, GaussianNoiseTransform(noise_variance=(0, 0.1), p_per_channel=1, synchronize_channels=True))
    yield _with(0.1, BrightnessAdditiveTransform(mu=0, sigma=0.5, synchronize_channels=False, p_per_channel=0.5))

    def contrast(preserve_range: bool) -> Any:
        return ContrastTransform(
            contrast_range=BGContrast((0.5, 2)),
            preserve_range=preserve_range,
            synchronize_channels=False,
            p_per_channel=0.5,
        )

    yield OneOfTransform([_with(0.2, contrast(True)), _with(0.2, contrast(False))])
    low = SimulateLowResolutionTransform(
        scale=(0.25, 1), synchronize_channels=False, synchronize_axes=True, ignore_axes=ignore_axes, p_per_channel=0.5
    )
    yield _with(0.15, low)
    for _ in range(2):  # nnU-Net has the inverted one twice
        gamma = GammaTransform(
            gamma=BGContrast((0.7, 1.5)), p_invert_image=1, synchronize_channels=False, p_per_channel=1, p_retain_stats=1
        )
        yield _with(0.1, gamma)


def _strong_local(patch: tuple[int, ...]) -> Iterator[Any]:
    """nnUNetTrainerDA5's, after mirroring."""
    from batchgeneratorsv2.transforms.local.brightness_gradient import BrightnessGradientAdditiveTransform
    from batchgeneratorsv2.transforms.local.local_gamma import LocalGammaTransform
    from batchgeneratorsv2.transforms.noise.blank_rectangle import BlankRectangleTransform
    from batchgeneratorsv2.transforms.noise.sharpen import SharpeningTransform

    blank = BlankRectangleTransform(
        rectangle_size=[[max(1, size // 10), size // 3] for size in patch],
        rectangle_value=torch.mean,
        num_rectangles=(1, 5),
        force_square=False,
        p_per_channel=0.5,
    )
    yield _with(0.4, blank)
    local: dict[str, Any] = {"scale": _kernel_size, "loc": (-0.5, 1.5), "same_for_all_channels": False, "p_per_channel": 0.5}
    yield _with(0.3, BrightnessGradientAdditiveTransform(max_strength=_strength, mean_centered=False, **local))
    yield _with(0.3, LocalGammaTransform(gamma=_local_gamma, **local))
    yield _with(0.2, SharpeningTransform(strength=(0.1, 1), p_same_for_each_channel=0, p_per_channel=0.5))


def _kernel_size(shape: Sequence[int], axis: int) -> Any:
    return np.exp(np.random.uniform(np.log(shape[axis] // 6), np.log(shape[axis])))


def _strength(_shape: Any, _axis: Any) -> float:
    return np.random.uniform(-5, -1) if np.random.uniform() < 0.5 else np.random.uniform(1, 5)


def _local_gamma() -> float:
    return np.random.uniform(0.01, 0.8) if np.random.uniform() < 0.5 else np.random.uniform(1.5, 4)


def _finishing(
    recipe: _Recipe,
    training: bool,
    scales: Sequence[Sequence[float]] | None,
    masked: Sequence[bool] | None,
    cascade_labels: Sequence[int] | None,
    regions: Sequence[int | Sequence[int]] | None,
    ignore_label: int | None,
) -> list[Any]:
    """From labels to targets."""
    from batchgeneratorsv2.transforms.nnunet.seg_to_onehot import MoveSegAsOneHotToDataTransform
    from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
    from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
    from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform
    from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform

    built: list[Any] = []
    if masked is not None and any(masked):
        channels = [channel for channel, of in enumerate(masked) if of]
        built.append(MaskImageTransform(apply_to_channels=channels, channel_idx_in_seg=0, set_outside_to=0))
    built.append(RemoveLabelTansform(-1, 0))
    if cascade_labels is not None:
        labels = list(cascade_labels)
        built.append(MoveSegAsOneHotToDataTransform(source_channel_idx=1, all_labels=labels, remove_channel_from_source=True))
        if training:
            # They need acvl_utils, which batchgeneratorsv2 does not require.
            from batchgeneratorsv2.transforms.nnunet.random_binary_operator import ApplyRandomBinaryOperatorTransform
            from batchgeneratorsv2.transforms.nnunet.remove_connected_components import (
                RemoveRandomConnectedComponentFromOneHotEncodingTransform,
            )

            channels = list(range(-len(labels), 0))
            moved = ApplyRandomBinaryOperatorTransform(channel_idx=channels, strel_size=(1, 8), p_per_label=recipe.p_per_label)
            removed = RemoveRandomConnectedComponentFromOneHotEncodingTransform(
                channel_idx=list(channels),
                fill_with_other_class_p=0,
                dont_do_if_covers_more_than_x_percent=0.15,
                p_per_label=recipe.p_per_label,
            )
            built += [_with(0.4, moved), _with(0.2, removed)]
    if regions is not None:
        every = [*regions, ignore_label] if ignore_label is not None else [*regions]
        built.append(ConvertSegmentationToRegionsTransform(regions=every, channel_in_seg=0))
    if scales is not None:
        built.append(DownsampleSegForDSTransform(ds_scales=scales))
    return built
