"""Convert2DTo3DTransform, Convert3DTo2DTransform."""

from __future__ import annotations

from ..mapping import NativeTransform, no_attributes, no_parameters

__all__ = ["NATIVE"]


NATIVE = (
    NativeTransform(
        name="Convert2DTo3DTransform",
        attributes="",
        compile=no_attributes,
        replay=no_parameters,
    ),
    NativeTransform(
        name="Convert3DTo2DTransform",
        attributes="",
        compile=no_attributes,
        replay=no_parameters,
    ),
)
