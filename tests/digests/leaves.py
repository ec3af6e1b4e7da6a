"""Every native transform by itself, always firing, with settings under which it changes the sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from batchgeneratorsv2.transforms.intensity.brightness import BrightnessAdditiveTransform, MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.intensity.inversion import InvertImageTransform
from batchgeneratorsv2.transforms.intensity.random_clip import CutOffOutliersTransform
from batchgeneratorsv2.transforms.local.brightness_gradient import BrightnessGradientAdditiveTransform
from batchgeneratorsv2.transforms.local.local_contrast import LocalContrastTransform
from batchgeneratorsv2.transforms.local.local_gamma import LocalGammaTransform
from batchgeneratorsv2.transforms.local.local_smoothing import LocalSmoothingTransform
from batchgeneratorsv2.transforms.nnunet.random_binary_operator import ApplyRandomBinaryOperatorTransform
from batchgeneratorsv2.transforms.nnunet.remove_connected_components import (
    RemoveRandomConnectedComponentFromOneHotEncodingTransform,
)
from batchgeneratorsv2.transforms.nnunet.seg_to_onehot import MoveSegAsOneHotToDataTransform
from batchgeneratorsv2.transforms.noise.blank_rectangle import BlankRectangleTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.noise.median_filter import MedianFilterTransform
from batchgeneratorsv2.transforms.noise.rician import RicianNoiseTransform
from batchgeneratorsv2.transforms.noise.sharpen import SharpeningTransform
from batchgeneratorsv2.transforms.spatial.channel_misalignment import ChannelMisalignmentTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from batchgeneratorsv2.transforms.utils.move_channels import MoveChannelsTransform
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform

__all__ = ["everything", "leaves"]

_TURNED = {"p_rotation": 1.0, "p_scaling": 1.0, "scaling": (0.7, 1.4)}


def _one_hot() -> Any:
    return MoveSegAsOneHotToDataTransform(0, [1, 2, 3], False)


def leaves(patch: tuple[int, ...]) -> Iterator[tuple[str, list[Any]]]:
    """(name, transforms): for each native transform the names begin with its own.

    patch: of the result of SpatialTransform; what the transforms are given has 2 channels and labels from -1 to 3.
    """
    dims = len(patch)
    axes = tuple(range(dims))
    kernel: dict[str, Any] = {"scale": (2.0, 9.0), "loc": (-0.5, 1.5)}

    def spatial(**settings: Any) -> list[Any]:
        return [SpatialTransform(patch, 0, False, rotation=(-np.pi / 6, np.pi / 6), **settings)]

    yield "SpatialTransform: crop", spatial()
    yield "SpatialTransform: turned", spatial(**_TURNED, p_synchronize_scaling_across_axes=1)
    yield "SpatialTransform: turned, nearest labels", spatial(**_TURNED, mode_seg="nearest")
    yield "SpatialTransform: turned, border", spatial(**_TURNED, padding_mode_image="border", border_mode_seg="border")
    yield "SpatialTransform: scaled", spatial(p_scaling=1.0)
    yield "SpatialTransform: elastic", spatial(p_elastic_deform=1.0)
    yield "SpatialTransform: elastic and turned", spatial(p_elastic_deform=1.0, **_TURNED)
    yield "MirrorTransform", [MirrorTransform(axes)]
    yield "Rot90Transform", [Rot90Transform(1, allowed_axes=set(axes[-2:]))]
    yield "TransposeAxesTransform", [TransposeAxesTransform(set(axes[-2:]))]
    yield "SimulateLowResolutionTransform", [SimulateLowResolutionTransform((0.5, 1), False, True, (), None, 1.0)]
    yield "SimulateLowResolutionTransform: each axis", [SimulateLowResolutionTransform((0.3, 1), False, False, (0,), None, 1.0)]
    angles = (0.1, 0.1, 0.1)
    yield (
        "ChannelMisalignmentTransform",
        [ChannelMisalignmentTransform([0], (0.1, 0.05, 0.1), 1.0, angles, "rad", 1.0, (2, 3, 4), 1.0)],
    )
    yield "GaussianNoiseTransform", [GaussianNoiseTransform((0, 0.1), 1.0, True)]
    yield "GaussianNoiseTransform: each channel", [GaussianNoiseTransform((0.05, 0.1), 1.0, False)]
    yield "RicianNoiseTransform", [RicianNoiseTransform((0, 0.1))]
    yield "GaussianBlurTransform", [GaussianBlurTransform((0.5, 1.0), False, False, 1.0)]
    yield "GaussianBlurTransform: wide", [GaussianBlurTransform((1.5, 4.0), True, True, 1.0)]
    yield "SharpeningTransform", [SharpeningTransform((0.1, 1), 1.0, 1.0, 0.5)]
    yield "MedianFilterTransform", [MedianFilterTransform((2, 8), 0, 1.0)]
    yield "BlankRectangleTransform", [BlankRectangleTransform([[2, 6]] * dims, (-1.0, 1.0), (1, 5), False, 1.0)]
    yield "ContrastTransform", [ContrastTransform(BGContrast((0.75, 1.25)), True, False, 1.0)]
    yield "ContrastTransform: range not preserved", [ContrastTransform(BGContrast((0.5, 2.0)), False, True, 1.0)]
    yield "MultiplicativeBrightnessTransform", [MultiplicativeBrightnessTransform(BGContrast((0.75, 1.25)), False, 1.0)]
    yield "BrightnessAdditiveTransform", [BrightnessAdditiveTransform(0, 0.5, False, 1.0)]
    yield "GammaTransform", [GammaTransform(BGContrast((0.7, 1.5)), 0, False, 1.0, 1.0)]
    yield "GammaTransform: inverted", [GammaTransform(BGContrast((0.7, 1.5)), 1, True, 1.0, 0.0)]
    yield "InvertImageTransform", [InvertImageTransform(1.0, 1.0, 1.0)]
    yield "CutOffOutliersTransform", [CutOffOutliersTransform((0, 2.5), (97.5, 100), False, 1.0, 1.0)]
    yield (
        "BrightnessGradientAdditiveTransform",
        [
            BrightnessGradientAdditiveTransform(
                **kernel, max_strength=(1, 5), same_for_all_channels=False, clip_intensities=True
            )
        ],
    )
    yield "LocalGammaTransform", [LocalGammaTransform(**kernel, gamma=(0.8, 1.5), same_for_all_channels=False)]
    yield "LocalContrastTransform", [LocalContrastTransform(**kernel, same_for_all_channels=False)]
    yield "LocalSmoothingTransform", [LocalSmoothingTransform(**kernel, same_for_all_channels=False)]
    yield "MoveSegAsOneHotToDataTransform", [_one_hot()]
    operators = ApplyRandomBinaryOperatorTransform([-1, -2, -3], strel_size=(1, 5), p_per_label=1)
    yield "ApplyRandomBinaryOperatorTransform", [_one_hot(), operators]
    removed = RemoveRandomConnectedComponentFromOneHotEncodingTransform([-1, -2, -3], 0.5, 0.15, 1)
    yield "RemoveRandomConnectedComponentFromOneHotEncodingTransform", [_one_hot(), removed]
    yield "MaskImageTransform", [MaskImageTransform([1], set_outside_to=-1)]
    yield "RemoveLabelTransform", [RemoveLabelTransform(-1, 0)]
    yield "ConvertSegmentationToRegionsTransform", [ConvertSegmentationToRegionsTransform([[1, 2, 3], [2, 3], [3]])]
    yield "DownsampleSegForDSTransform", [DownsampleSegForDSTransform([[1 / 2**n] * dims for n in range(3)])]
    yield "MoveChannelsTransform", [_one_hot(), MoveChannelsTransform(-1, "image", "segmentation")]
    if dims == 3:
        yield "Convert3DTo2DTransform", [Convert3DTo2DTransform()]
        yield "Convert2DTo3DTransform", [Convert3DTo2DTransform(), MirrorTransform((0, 1)), Convert2DTo3DTransform()]


def everything(patch: tuple[int, ...]) -> Any:
    """One tree with every native transform that can follow others, each always firing."""
    chosen = {
        name: transforms[-1]
        for name, transforms in leaves(patch)
        if not name.startswith(("Convert2D", "Convert3D", "DownsampleSeg", "MoveSeg", "MoveChannels", "SpatialTransform"))
    }
    last = {name: chosen.pop(name) for name in [*chosen] if name.startswith(("ApplyRandom", "RemoveRandom", "ConvertSeg"))}
    spatial = SpatialTransform(patch, 0, False, p_elastic_deform=1.0, rotation=(-np.pi, np.pi), **_TURNED)
    scales = DownsampleSegForDSTransform([[1.0] * len(patch), [0.5] * len(patch)])
    return ComposeTransforms([spatial, *chosen.values(), _one_hot(), *last.values(), scales])
