"""The GPU's own figures, from NVIDIA's driver through `nvidia-ml-py` where that is installed."""

from __future__ import annotations

import functools
from typing import Any

import torch

from .statistics import GpuStats

__all__ = ["device_in_use", "gpu_stats"]


def device_in_use() -> int | None:
    """The CUDA device of the calling thread; None where CUDA is not in use. It starts nothing on a GPU."""
    return torch.cuda.current_device() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]


@functools.cache
def _nvml() -> Any:
    """The started library; None where it or the driver is missing."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # its errors are made of the codes of a driver that may not be there
        return None
    return pynvml


@functools.cache
def _handle(device: int) -> Any:
    nvml = _nvml()
    try:
        # By its UUID: CUDA's numbers follow CUDA_VISIBLE_DEVICES, the driver's do not.
        return nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
    except Exception:
        return None


def gpu_stats(device: int | None) -> GpuStats | None:
    """Of a CUDA device by torch's number; None where there is none, or nothing that tells of it."""
    if device is None or _nvml() is None or _handle(device) is None:
        return None
    nvml, handle = _nvml(), _handle(device)
    try:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        name = nvml.nvmlDeviceGetName(handle)
    except Exception:  # whatever a driver or a newer library does, it is no reason to end a training
        return None
    try:
        utilization = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
    except Exception:  # a part of a GPU (MIG) has none
        utilization = None
    return GpuStats(name if isinstance(name, str) else name.decode(), utilization, int(memory.used), int(memory.total))
