"""From batchgeneratorsv2's transform objects to the native transforms of the same name: one entry for each.

An entry says which attributes it understands, how they become the native transform's, and how parameters that
batchgeneratorsv2 drew become the native ones (for a replay). An object that is of a subclass, or has an attribute that its
entry does not know, is not understood and runs in Python: never a wrong result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from . import _core
from .errors import NotSupportedError
from .fallback import scalar_function

__all__ = ["NATIVE", "NativeTransform", "describe_native"]

Attributes = dict[str, Any]
Parameters = dict[str, Any]
Draw = Callable[[tuple[int, ...], "int | None", "int | None"], float]


@dataclass(frozen=True)
class NativeTransform:
    """How one class of batchgeneratorsv2 is compiled."""

    attributes: frozenset[str]  # of its instances
    compile: Callable[[Any], Attributes]  # raises NotSupportedError with the reason
    replay: Callable[[Any, Parameters], Parameters]


def _meta(shape: tuple[int, ...]) -> torch.Tensor:
    # A callable may ask an image for its shape, but parameters are drawn before there are voxels.
    return torch.empty(shape, device="meta")


def _scalar(value: Any, draw: Callable[..., float], *, name: str) -> _core.Scalar:
    """`draw(callable, shape, channel, axis)` calls it as its transform would."""
    if isinstance(value, (bool, np.bool_)) or value is None:
        raise NotSupportedError(f"'{name}' is {value!r}")
    if isinstance(value, (int, float, np.integer, np.floating)):
        return _core.Scalar.constant(float(value))
    if isinstance(value, (list, tuple)):
        if len(value) != 2 or not value[0] <= value[1]:
            raise NotSupportedError(f"'{name}' is {value!r}")
        return _core.Scalar.range(float(value[0]), float(value[1]))
    if not callable(value):
        raise NotSupportedError(f"'{name}' is {value!r}")
    from batchgeneratorsv2.transforms.intensity.contrast import BGContrast

    contrast = getattr(value, "__self__", value)  # nnU-Net passes the object, others its method
    if type(contrast) is BGContrast and not callable(contrast.contrast_range):
        low, high = contrast.contrast_range
        return _core.Scalar.contrast(float(low), float(high))

    def call(shape: tuple[int, ...], channel: int | None, axis: int | None) -> float:
        return draw(value, shape, channel, axis)

    function = scalar_function(call)
    try:
        function((1, 8, 8, 8), 0, 0, 0)
    except Exception as error:
        raise NotSupportedError(f"'{name}' looks at more than the image's shape ({type(error).__name__}: {error})") from error
    return _core.Scalar.callable(function)


def _of_image_and_channel(function: Any, shape: tuple[int, ...], channel: int | None, axis: int | None) -> float:
    return float(function(image=_meta(shape), channel=channel))


def _numbers(values: Iterable[Any] | None) -> list[float]:
    return [] if values is None else [float(v) for v in values]


def _channels(mask: Any) -> list[int]:
    return [int(c) for c in torch.as_tensor(mask).nonzero().flatten()]


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, np.ndarray)) else [value]


def _as_recorded(transform: Any, parameters: Parameters) -> Parameters:
    return {}


# Noise


def _gaussian_noise(t: Any) -> Attributes:
    def draw(function: Any, shape: tuple[int, ...], channel: int | None, axis: int | None) -> float:
        return float(function(_meta(shape)))

    return {
        "noise_variance": _scalar(t.noise_variance, draw, name="noise_variance"),
        "p_per_channel": float(t.p_per_channel),
        "synchronize_channels": bool(t.synchronize_channels),
    }


def _replay_gaussian_noise(t: Any, p: Parameters) -> Parameters:
    channels = _channels(p["apply_mask"])
    sigmas = p["sigmas"]
    values = _numbers(sigmas) if isinstance(sigmas, (list, tuple)) else [float(sigmas or 0)] * len(channels)
    return {"apply_to_channel": channels, "sigmas": values}


def _gaussian_blur(t: Any) -> Attributes:
    # `benchmark` chooses between two convolutions that give the same.
    def draw(function: Any, shape: tuple[int, ...], channel: int | None, axis: int | None) -> float:
        if t.synchronize_channels and not t.synchronize_axes and axis is not None:
            return float(function(shape[axis + 1]))
        return float(function(shape, dim=None if axis is None else axis + 1))

    return {
        "blur_sigma": _scalar(t.blur_sigma, draw, name="blur_sigma"),
        "synchronize_channels": bool(t.synchronize_channels),
        "synchronize_axes": bool(t.synchronize_axes),
        "p_per_channel": float(t.p_per_channel),
    }


def _replay_gaussian_blur(t: Any, p: Parameters) -> Parameters:
    channels = _channels(p["apply_to_channel"])
    rows = [p["sigmas"]] * len(channels) if t.synchronize_channels else p["sigmas"]
    return {"apply_to_channel": channels, "sigmas": [float(s) for row in rows for s in row]}


# Intensity


def _multiplicative_brightness(t: Any) -> Attributes:
    return {
        "multiplier_range": _scalar(t.multiplier_range, _of_image_and_channel, name="multiplier_range"),
        "synchronize_channels": bool(t.synchronize_channels),
        "p_per_channel": float(t.p_per_channel),
    }


def _contrast(t: Any) -> Attributes:
    return {
        "contrast_range": _scalar(t.contrast_range, _of_image_and_channel, name="contrast_range"),
        "preserve_range": bool(t.preserve_range),
        "synchronize_channels": bool(t.synchronize_channels),
        "p_per_channel": float(t.p_per_channel),
    }


def _replay_multipliers(t: Any, p: Parameters) -> Parameters:
    return {"apply_to_channel": _numbers(p["apply_to_channel"]), "multipliers": _numbers(p["multipliers"])}


def _gamma(t: Any) -> Attributes:
    return {
        "gamma": _scalar(t.gamma, _of_image_and_channel, name="gamma"),
        "p_invert_image": float(t.p_invert_image),
        "synchronize_channels": bool(t.synchronize_channels),
        "p_per_channel": float(t.p_per_channel),
        "p_retain_stats": float(t.p_retain_stats),
    }


def _replay_gamma(t: Any, p: Parameters) -> Parameters:
    return {
        "apply_to_channel": _numbers(p["apply_to_channel"]),
        "retain_stats": _numbers(p["retain_stats"]),
        "invert_image": _numbers(p["invert_image"]),
        "gamma": _numbers(p["gamma"]),
    }


# Spatial


def _spatial(t: Any) -> Attributes:
    refuse = [
        ("p_elastic_deform", t.p_elastic_deform > 0, t.p_elastic_deform),
        ("mode_image", t.mode_image != "bilinear", t.mode_image),
        ("mode_seg", t.mode_seg != "bilinear", t.mode_seg),
        ("padding_mode_image", t.padding_mode_image not in ("zeros", "constant"), t.padding_mode_image),
        ("border_mode_seg", t.border_mode_seg not in ("zeros", "constant"), t.border_mode_seg),
        ("align_corners", bool(t.align_corners), t.align_corners),
    ]
    for name, refused, value in refuse:
        if refused:
            raise NotSupportedError(f"'{name}' is {value!r}")

    def draw(function: Any, shape: tuple[int, ...], channel: int | None, axis: int | None) -> float:
        return float(function(image=_meta(shape), dim=axis))

    return {
        "patch_size": _numbers(t.patch_size),
        "patch_center_dist_from_border": _numbers(t.patch_center_dist_from_border),
        "random_crop": bool(t.random_crop),
        "p_rotation": float(t.p_rotation),
        "rotation": _scalar(t.rotation, draw, name="rotation"),
        "p_rot_per_axis": float(t.p_rot_per_axis),
        "p_scaling": float(t.p_scaling),
        "scaling": _scalar(t.scaling, draw, name="scaling"),
        "p_synchronize_scaling_across_axes": float(t.p_synchronize_scaling_across_axes),
        "padding_value_image": float(t.padding_value_image) if t.padding_mode_image == "constant" else 0.0,
        "padding_value_seg": float(t.padding_value_seg) if t.border_mode_seg == "constant" else 0.0,
        "seg_tiebreak": t.seg_tiebreak,
    }


def _replay_spatial(t: Any, p: Parameters) -> Parameters:
    affine = p["affine"]
    return {
        "center_location_in_pixels": _numbers(p["center_location_in_pixels"]),
        "affine": None if affine is None else [_numbers(row) for row in affine],
    }


def _mirror(t: Any) -> Attributes:
    return {"allowed_axes": _numbers(t.allowed_axes)}


def _replay_mirror(t: Any, p: Parameters) -> Parameters:
    return {"axes": _numbers(p["axes"])}


def _simulate_low_resolution(t: Any) -> Attributes:
    def draw(function: Any, shape: tuple[int, ...], channel: int | None, axis: int | None) -> float:
        return float(function(image=_meta(shape), channel=channel, dim=axis))

    return {
        "scale": _scalar(t.scale, draw, name="scale"),
        "synchronize_channels": bool(t.synchronize_channels),
        "synchronize_axes": bool(t.synchronize_axes),
        "ignore_axes": None if t.ignore_axes is None else _numbers(_list(t.ignore_axes)),
        "allowed_channels": None if t.allowed_channels is None else _numbers(t.allowed_channels),
        "p_per_channel": float(t.p_per_channel),
    }


def _replay_simulate_low_resolution(t: Any, p: Parameters) -> Parameters:
    return {
        "apply_to_channel": _numbers(p["apply_to_channel"]),
        "scales": [float(s) for row in p["scales"] for s in row],
    }


# nnU-Net's own


def _move_seg_as_one_hot_to_data(t: Any) -> Attributes:
    return {
        "source_channel_idx": int(t.source_channel_idx),
        "all_labels": _numbers(t.all_labels),
        "remove_channel_from_source": bool(t.remove_channel_from_source),
    }


def _operator_codes(operators: Iterable[Any]) -> list[int]:
    from batchgeneratorsv2.transforms.nnunet import random_binary_operator as bgv2

    known = [
        bgv2.binary_dilation_torch,
        bgv2.binary_erosion_torch,
        bgv2.binary_closing_torch,
        bgv2.binary_opening_torch,
    ]
    codes = []
    for operator in operators:
        if operator not in known:
            raise NotSupportedError(f"'any_of_these' has {getattr(operator, '__name__', operator)!r}")
        codes.append(known.index(operator))
    return codes


def _apply_random_binary_operator(t: Any) -> Attributes:
    return {
        "channel_idx": _numbers(sorted(t.channel_idx)),
        "operators": _operator_codes(t.any_of_these),
        "strel_size": _scalar(t.strel_size, _of_image_and_channel, name="strel_size"),
        "p_per_label": float(t.p_per_label),
    }


def _replay_apply_random_binary_operator(t: Any, p: Parameters) -> Parameters:
    return {
        "apply_to_channels": _numbers(p["apply_to_channels"]),
        "operators": _operator_codes(p["operators"]),
        "strel_size": _numbers(p["strel_size"]),
    }


def _remove_random_connected_component(t: Any) -> Attributes:
    return {
        "channel_idx": _numbers(sorted(t.channel_idx)),
        "fill_with_other_class_p": float(t.fill_with_other_class_p),
        "dont_do_if_covers_more_than_x_percent": float(t.dont_do_if_covers_more_than_x_percent),
        "p_per_label": float(t.p_per_label),
    }


def _replay_remove_random_connected_component(t: Any, p: Parameters) -> Parameters:
    # batchgeneratorsv2 draws the component and the class that fills it while it applies; a trace that does not have them
    # gets the first component and no filling.
    channels = _numbers(p["apply_to_channels"])
    none = [0.0] * len(channels)
    return {
        "apply_to_channels": channels,
        "component_u": _numbers(p.get("component_u", none)),
        "fill": _numbers(p.get("fill", none)),
        "other_u": _numbers(p.get("other_u", none)),
    }


# Utilities


def _mask_image(t: Any) -> Attributes:
    return {
        "apply_to_channels": _numbers(t.apply_to_channels),
        "channel_idx_in_seg": int(t.channel_idx_in_seg),
        "set_outside_to": float(t.set_outside_to),
    }


def _remove_label(t: Any) -> Attributes:
    channels = t.segmentation_channels
    return {
        "label_value": int(t.label_value),
        "set_to": int(t.set_to),
        "segmentation_channels": None if channels is None else _numbers(channels),
    }


def _convert_segmentation_to_regions(t: Any) -> Attributes:
    return {"regions": [_numbers(region) for region in t.regions], "channel_in_seg": int(t.channel_in_seg)}


def _downsample_seg_for_ds(t: Any) -> Attributes:
    if t.ds_scales is None:
        raise NotSupportedError("'ds_scales' is None")
    return {"ds_scales": [_numbers(_list(scale)) for scale in t.ds_scales]}


def _nothing(t: Any) -> Attributes:
    return {}


def _entry(
    attributes: str, compile_: Callable[[Any], Attributes], replay: Callable[[Any, Parameters], Parameters]
) -> NativeTransform:
    return NativeTransform(frozenset(attributes.split()), compile_, replay)


# By class name; the class itself must be batchgeneratorsv2's.
NATIVE: dict[str, NativeTransform] = {
    "ApplyRandomBinaryOperatorTransform": _entry(
        "channel_idx any_of_these strel_size p_per_label",
        _apply_random_binary_operator,
        _replay_apply_random_binary_operator,
    ),
    "ContrastTransform": _entry(
        "contrast_range preserve_range synchronize_channels p_per_channel", _contrast, _replay_multipliers
    ),
    "Convert2DTo3DTransform": _entry("", _nothing, _as_recorded),
    "Convert3DTo2DTransform": _entry("", _nothing, _as_recorded),
    "ConvertSegmentationToRegionsTransform": _entry("regions channel_in_seg", _convert_segmentation_to_regions, _as_recorded),
    "DownsampleSegForDSTransform": _entry("ds_scales", _downsample_seg_for_ds, _as_recorded),
    "GammaTransform": _entry("gamma p_invert_image synchronize_channels p_per_channel p_retain_stats", _gamma, _replay_gamma),
    "GaussianBlurTransform": _entry(
        "blur_sigma benchmark synchronize_channels synchronize_axes p_per_channel benchmark_use_fft benchmark_num_runs",
        _gaussian_blur,
        _replay_gaussian_blur,
    ),
    "GaussianNoiseTransform": _entry(
        "noise_variance p_per_channel synchronize_channels", _gaussian_noise, _replay_gaussian_noise
    ),
    "MaskImageTransform": _entry("apply_to_channels channel_idx_in_seg set_outside_to", _mask_image, _as_recorded),
    "MirrorTransform": _entry("allowed_axes", _mirror, _replay_mirror),
    "MoveSegAsOneHotToDataTransform": _entry(
        "source_channel_idx all_labels remove_channel_from_source", _move_seg_as_one_hot_to_data, _as_recorded
    ),
    "MultiplicativeBrightnessTransform": _entry(
        "multiplier_range synchronize_channels p_per_channel", _multiplicative_brightness, _replay_multipliers
    ),
    "RemoveLabelTransform": _entry("segmentation_channels label_value set_to", _remove_label, _as_recorded),
    "RemoveRandomConnectedComponentFromOneHotEncodingTransform": _entry(
        "channel_idx fill_with_other_class_p dont_do_if_covers_more_than_x_percent p_per_label",
        _remove_random_connected_component,
        _replay_remove_random_connected_component,
    ),
    "SimulateLowResolutionTransform": _entry(
        "scale synchronize_channels synchronize_axes ignore_axes allowed_channels p_per_channel upmodes",
        _simulate_low_resolution,
        _replay_simulate_low_resolution,
    ),
    "SpatialTransform": _entry(
        "patch_size patch_center_dist_from_border random_crop p_elastic_deform elastic_deform_scale "
        "elastic_deform_magnitude p_rotation rotation p_rot_per_axis p_scaling scaling "
        "p_synchronize_scaling_across_axes p_synchronize_def_scale_across_axes bg_style_seg_sampling seg_tiebreak "
        "mode_seg border_mode_seg center_deformation mode_image padding_mode_image padding_value_seg "
        "padding_value_image align_corners _grid_cache",
        _spatial,
        _replay_spatial,
    ),
}


def describe_native(transform: Any) -> Attributes:
    """The native attributes of one of batchgeneratorsv2's leaf transforms.

    Raises:
        NotSupportedError: with the reason why it has to run in Python.
    """
    cls = type(transform)
    entry = NATIVE.get(cls.__name__)
    if entry is None or not cls.__module__.startswith("batchgeneratorsv2."):
        raise NotSupportedError("it has no native counterpart")
    unknown = set(vars(transform)) ^ entry.attributes
    if unknown:
        raise NotSupportedError(f"its attributes are not those that are known ({', '.join(sorted(unknown))})")
    return entry.compile(transform)
