"""What the local transforms share: attributes of their kernels, and kernels that batchgeneratorsv2 drew."""

from __future__ import annotations

from typing import Any

from ..mapping import Attributes, Parameters, numbers, scalar

__all__ = ["ATTRIBUTES", "kernel_attributes", "replay_kernels"]

ATTRIBUTES = "loc scale same_for_all_channels p_per_channel"


def _of_shape_and_axis(function: Any, shape: tuple[int, ...], channel: int | None, axis: int | None) -> float:
    return float(function(list(shape[1:]), axis))


def kernel_attributes(t: Any) -> Attributes:
    """Of any local transform."""
    return {
        "scale": scalar(t.scale, _of_shape_and_axis, name="scale"),
        "loc": scalar(t.loc, _of_shape_and_axis, name="loc"),
        "same_for_all_channels": bool(t.same_for_all_channels),
        "p_per_channel": float(t.p_per_channel),
    }


def replay_kernels(p: Parameters, values: str) -> Parameters:
    """Chosen channels, their kernels, and the values that go with them.

    batchgeneratorsv2 returns each kernel voxel by voxel and does not say where it put it. Where the parameters have
    'locations' and 'scales' as well, (kernels, axes), the kernels are made from these.
    """
    if "apply_to_channel" in p:  # as drawn natively
        channels = numbers(p["apply_to_channel"])
        chosen = numbers(p[values])
    else:
        present = [number for number, kernel in enumerate(p["kernels"]) if kernel is not None]
        channels = numbers(present)
        given = p.get(values, [])  # for each channel of the image
        chosen = numbers(given[number] for number in present) if given else []
    replayed: Parameters = {"apply_to_channel": channels, values: chosen}
    if "locations" in p:
        return replayed | {"locations": [numbers(k) for k in p["locations"]], "scales": [numbers(k) for k in p["scales"]]}
    kernels = [kernel for kernel in p["kernels"] if kernel is not None]
    if all(kernel is kernels[0] for kernel in kernels):
        kernels = kernels[:1]
    return replayed | {"kernels": [kernel if isinstance(kernel, list) else kernel.ravel().tolist() for kernel in kernels]}
