"""SpatialTransform."""

from __future__ import annotations

from typing import Any

from ..errors import NotSupportedError
from .mapping import Attributes, NativeTransform, Parameters, meta, numbers, scalar

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
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
        return float(function(image=meta(shape), dim=axis))

    return {
        "patch_size": numbers(t.patch_size),
        "patch_center_dist_from_border": numbers(t.patch_center_dist_from_border),
        "random_crop": bool(t.random_crop),
        "p_rotation": float(t.p_rotation),
        "rotation": scalar(t.rotation, draw, name="rotation"),
        "p_rot_per_axis": float(t.p_rot_per_axis),
        "p_scaling": float(t.p_scaling),
        "scaling": scalar(t.scaling, draw, name="scaling"),
        "p_synchronize_scaling_across_axes": float(t.p_synchronize_scaling_across_axes),
        "padding_value_image": float(t.padding_value_image) if t.padding_mode_image == "constant" else 0.0,
        "padding_value_seg": float(t.padding_value_seg) if t.border_mode_seg == "constant" else 0.0,
        "seg_tiebreak": t.seg_tiebreak,
    }


def _replay(t: Any, p: Parameters) -> Parameters:
    affine = p["affine"]
    return {
        "center_location_in_pixels": numbers(p["center_location_in_pixels"]),
        "affine": None if affine is None else [numbers(row) for row in affine],
    }


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
