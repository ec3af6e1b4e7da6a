"""DownsampleSegForDSTransform."""

from __future__ import annotations

from typing import Any

from ...errors import NotSupportedError
from ..mapping import Attributes, NativeTransform, as_list, no_parameters, numbers

__all__ = ["NATIVE"]


def _compile(t: Any) -> Attributes:
    if t.ds_scales is None:
        raise NotSupportedError("'ds_scales' is None")
    return {"ds_scales": [numbers(as_list(scale)) for scale in t.ds_scales]}


NATIVE = (
    NativeTransform(
        name="DownsampleSegForDSTransform",
        attributes="ds_scales",
        compile=_compile,
        replay=no_parameters,
    ),
)
