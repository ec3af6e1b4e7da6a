"""A training in the group of ranks that torchrun made: nnU-Net's own, with each rank's device, restart and error."""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ...errors import CommandError
from ..replacing.patches import Patches
from .failures import Failures
from .launch import Launch, seed_of, trained_by
from .meeting import meet

__all__ = ["Group", "joined"]

_FILES = ("checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth")
"""In the order in which nnU-Net's `--c` takes them."""


class Group:
    """The ranks of one training; `device` is this one's."""

    def __init__(self, launch: Launch, device: torch.device, agents_of: Callable[[Path], list[str]]) -> None:
        self.launch = launch
        self.device = device
        self._agents_of = agents_of
        self._store: Any = dist.distributed_c10d._get_default_store()
        self.agents = self._of_all("agent", launch.agent)
        self.failures = Failures(self._store, launch.rank)

    @property
    def seed(self) -> int | None:
        """A seed for all ranks that they have again after a restart; None if there is none."""
        return seed_of(self.agents)

    def _of_all(self, name: str, value: str) -> list[str]:
        """Return the value of each rank. All ranks must ask."""
        self._store.set(f"fastnnunet_loader/{name}/{self.launch.rank}", json.dumps(value))
        found = [self._store.get(f"fastnnunet_loader/{name}/{rank}") for rank in range(self.launch.ranks)]
        return [json.loads(one) for one in found]

    def saved_checkpoint(self, folder: Path) -> Path | None:
        """Return the checkpoint in a folder that this launch of torchrun saved before it was restarted. All ranks must ask."""
        found = ""
        if self.launch.rank == 0:
            known = {agent for agent in self.agents if agent}
            files = (folder / name for name in _FILES)
            found = next((file.name for file in files if known & set(self._agents_of(file))), "")
        name = self._of_all("checkpoint", found)[0]
        return folder / name if name else None


@contextmanager
def joined(launch: Launch, device: str, agents_of: Callable[[Path], list[str]]) -> Iterator[Group]:
    """Join the group that torchrun made; at the end, leave it.

    Inside, trainers and DistributedDataParallel are on this rank's device, a training that torchrun restarted goes on from its
    checkpoint, and the error of a rank ends all of them.

    Args:
        launch: this process's place.
        device: "cuda" or "cpu".
        agents_of: returns which torchruns trained together when a checkpoint was saved.

    Raises:
        CommandError: this machine has fewer devices than ranks.
    """
    placed = _device(launch, device)
    c10d: Any = dist  # whose types do not say what it exports
    store = next(c10d.rendezvous("env://", launch.rank, launch.ranks))[0]
    fresh = c10d.PrefixStore(f"fastnnunet_loader/{meet(store, launch.rank, launch.ranks)}", store)
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, store=fresh, rank=launch.rank, world_size=launch.ranks)
    patches = Patches()
    try:
        group = Group(launch, placed, agents_of)
        _place_trainers(patches, placed)
        _continue_after_restart(patches, group)
        with trained_by(group.agents), group.failures.heard():
            yield group
    finally:
        patches.undo()
    # After an error the process ends, and with it the group: leaving it may wait for ranks that are gone.
    dist.destroy_process_group()


def _device(launch: Launch, device: str) -> torch.device:
    if device == "cpu":
        return torch.device("cpu")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpus <= launch.local_rank:
        raise CommandError(
            f"[-device] expected a CUDA device for each of {launch.ranks_here} rank(s) of {socket.gethostname()}, got {gpus}; "
            "-device cpu trains without"
        )
    torch.cuda.set_device(launch.local_rank)
    return torch.device("cuda", launch.local_rank)


def _place_trainers(patches: Patches, device: torch.device) -> None:
    """nnU-Net takes the rank among all machines for the number of the GPU, and expects GPUs."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    make, parallel = nnUNetTrainer.__init__, torch.nn.parallel.DistributedDataParallel
    wrap = parallel.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        with warnings.catch_warnings():
            if device.type == "cpu":
                warnings.simplefilter("ignore")  # it makes what it needs on a GPU
            make(self, *args, **kwargs)
        self.device = device
        if device.type == "cpu":
            self.grad_scaler = None  # as without ranks

    def init_parallel(self: Any, module: Any, device_ids: Any = None, *args: Any, **kwargs: Any) -> None:
        if device_ids == [dist.get_rank()]:
            device_ids = None if device.type == "cpu" else [device.index]
        wrap(self, module, device_ids, *args, **kwargs)

    patches.set(nnUNetTrainer, "__init__", functools.wraps(make)(init))
    patches.set(parallel, "__init__", functools.wraps(wrap)(init_parallel))


def _continue_after_restart(patches: Patches, group: Group) -> None:
    """torchrun restarts ranks with the arguments that they had: one that has saved a checkpoint goes on from it."""
    from nnunetv2.run import run_training

    load = run_training.maybe_load_checkpoint

    def maybe_load_checkpoint(trainer: Any, continues: bool, only_validates: bool, *args: Any, **kwargs: Any) -> None:
        folder = getattr(trainer, "output_folder", None)
        file = None if only_validates or folder is None else group.saved_checkpoint(Path(folder))
        if file is None:
            load(trainer, continues, only_validates, *args, **kwargs)
            return
        with contextlib.suppress(Exception):
            trainer.print_to_log_file(f"fastnnunet_loader: torchrun restarted this training; it goes on from {file.name}.")
        trainer.load_checkpoint(str(file))

    patches.set(run_training, "maybe_load_checkpoint", functools.wraps(load)(maybe_load_checkpoint))
