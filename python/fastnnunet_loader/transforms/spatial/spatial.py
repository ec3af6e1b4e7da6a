"""SpatialTransform."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import NotSupportedError
from ..mapping import Attributes, NativeTransform, Parameters, meta, numbers, scalar

__all__ = ["NATIVE"]


_BORDERS = ("zeros", "constant", "border", "reflection")
_CHOICES = {
    "mode_image": ("bilinear", "nearest"),  # bicubic is left to Python
    "mode_seg": ("bilinear", "nearest"),
    "padding_mode_image": _BORDERS,
    "border_mode_seg": _BORDERS,
}


def _compile(t: Any) -> Attributes:
    for name, choices in _CHOICES.items():
        if (value := getattr(t, name)) not in choices:
            raise NotSupportedError(f"'{name}' is {value!r}")
    patch = t.patch_size
    # What never fires need not be understood.
    scale, magnitude = (t.elastic_deform_scale, t.elastic_deform_magnitude) if t.p_elastic_deform > 0 else (0.0, 0.0)

    def draw(function: Any, shape: tuple[int, ...], channel: int | None, axis: int | None) -> float:
        return float(function(image=meta(shape), dim=axis))

    def draw_scale(function: Any, shape: tuple[int, ...], channel: int | None, axis: int | None) -> float:
        return float(function(image=meta(shape), dim=axis, patch_size=patch))

    def draw_magnitude(
        function: Any, shape: tuple[int, ...], channel: int | None, axis: int | None, deformation_scale: float
    ) -> float:
        return float(function(image=meta(shape), patch_size=patch, dim=axis, deformation_scale=deformation_scale))

    return {
        "patch_size": numbers(t.patch_size),
        "patch_center_dist_from_border": numbers(t.patch_center_dist_from_border),
        "random_crop": bool(t.random_crop),
        "p_elastic_deform": float(t.p_elastic_deform),
        "elastic_deform_scale": scalar(scale, draw_scale, name="elastic_deform_scale"),
        "elastic_deform_magnitude": scalar(magnitude, draw_magnitude, name="elastic_deform_magnitude", deformation_scale=0.1),
        "p_synchronize_def_scale_across_axes": float(t.p_synchronize_def_scale_across_axes),
        "center_deformation": bool(t.center_deformation),
        "p_rotation": float(t.p_rotation),
        "rotation": scalar(t.rotation, draw, name="rotation"),
        "p_rot_per_axis": float(t.p_rot_per_axis),
        "p_scaling": float(t.p_scaling),
        "scaling": scalar(t.scaling, draw, name="scaling"),
        "p_synchronize_scaling_across_axes": float(t.p_synchronize_scaling_across_axes),
        "mode_image": t.mode_image,
        "padding_mode_image": t.padding_mode_image,
        "padding_value_image": float(t.padding_value_image),
        # bg_style_seg_sampling says how the labels are computed, not what they are.
        "mode_seg": t.mode_seg,
        "border_mode_seg": t.border_mode_seg,
        "padding_value_seg": float(t.padding_value_seg),
        "seg_tiebreak": t.seg_tiebreak,
        "align_corners": bool(t.align_corners),
    }


def _replay(t: Any, p: Parameters) -> Parameters:
    affine = p["affine"]
    replayed: Parameters = {
        "center_location_in_pixels": numbers(p["center_location_in_pixels"]),
        "affine": None if affine is None else [numbers(row) for row in affine],
    }
    if (offsets := p.get("elastic_offsets")) is not None:  # (*patch, dims); natively (dims, *patch)
        replayed["elastic_offsets"] = np.ascontiguousarray(np.moveaxis(np.asarray(offsets), -1, 0), np.float32)
    return replayed


NATIVE = (
    NativeTransform(
        name="SpatialTransform",
        attributes=(
            "patch_size patch_center_dist_from_border random_crop p_elastic_deform "
            "elastic_deform_scale elastic_deform_magnitude p_rotation rotation p_rot_per_axis "
            "p_scaling scaling p_synchronize_scaling_across_axes p_synchronize_def_scale_across_axes "
            "bg_style_seg_sampling seg_tiebreak mode_seg border_mode_seg center_deformation "
            "mode_image padding_mode_image padding_value_seg padding_value_image align_corners "
            "_grid_cache"
        ),
        compile=_compile,
        replay=_replay,
    ),
)
