"""Lets nnU-Net's `-num_gpus` run where there is no GPU: on PYTHONPATH, every Python process imports this before anything else.

Only what says CUDA or NCCL is another: the backend is gloo, the device is chosen by nobody, and DistributedDataParallel is
not told which one it is. The trainer (`nnUNetTrainerRanks`) keeps its tensors on the CPU. All else is nnU-Net's.
"""

import sys
from typing import Any

_SPAWNED = "--multiprocessing-fork" in sys.orig_argv  # a rank
_OTHER = any("resource_tracker" in argument for argument in sys.orig_argv)

if not _OTHER:
    import torch
    import torch.distributed

    _init = torch.distributed.init_process_group
    _Parallel = torch.nn.parallel.DistributedDataParallel

    def _on_gloo(backend: str, *args: Any, **kwargs: Any) -> None:
        assert backend == "nccl", backend
        _init("gloo", *args, **kwargs)

    class _OnCpu(_Parallel):
        def __init__(self, module: Any, device_ids: Any = None, **kwargs: Any) -> None:
            super().__init__(module, **kwargs)

    torch.distributed.init_process_group = _on_gloo
    torch.nn.parallel.DistributedDataParallel = _OnCpu  # type: ignore[misc]
    torch.cuda.set_device = lambda *_: None
    if not _SPAWNED:
        # What starts the ranks only counts the devices.
        torch.cuda.is_available = lambda: True
        torch.cuda.device_count = lambda: 2
