"""ChannelMisalignmentTransform."""

from __future__ import annotations

from typing import Any

from ...errors import NotSupportedError
from ..mapping import Attributes, NativeTransform, Parameters, numbers

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    return {
        "im_channels_2_misalign": numbers(t.im_channels_2_misalign),
        "squeezingZYX": numbers(t.squeezingZYX),
        "p_squeeze": float(t.p_squeeze),
        "rotation_ax_cor_sag": numbers(t.rotation_ax_cor_sag),
        "p_rotation": float(t.p_rotation),
        "shiftZYX": numbers(t.shiftZYX),
        "p_shift": float(t.p_shift),
    }


def _replay(t: Any, p: Parameters) -> Parameters:
    if p.get("elastic_offsets") is not None:  # batchgeneratorsv2 never draws them
        raise NotSupportedError("'elastic_offsets' are given")
    affine = p["affine"]
    return {
        "center_location_in_pixels": numbers(p["center_location_in_pixels"]),
        "affine": None if affine is None else [numbers(row) for row in affine],
    }


NATIVE = (
    NativeTransform(
        name="ChannelMisalignmentTransform",
        attributes="im_channels_2_misalign squeezingZYX p_squeeze rotation_ax_cor_sag p_rotation shiftZYX p_shift",
        compile=_compile,
        replay=_replay,
    ),
)
