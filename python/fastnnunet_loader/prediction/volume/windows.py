"""The windows of a volume through a network: batches, mirrored axes, precision."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Windows", "device_of", "evaluating", "precision"]


@dataclass(frozen=True)
class Windows:
    """A network with all that is done to a window, as nnU-Net's predictor does it."""

    network: Callable[[torch.Tensor], torch.Tensor]
    patch: tuple[int, ...]
    """(X, Y, Z), or (Y, Z) of a 2D network."""
    batch_size: int
    mirrored: tuple[int, ...]
    """Axes of the patch, from 0."""
    device: torch.device
    progress: Callable[[int, int], None] | None

    def predict(
        self, image: torch.Tensor, slicers: Sequence[Any], weight: torch.Tensor | None, to: torch.device
    ) -> Iterator[torch.Tensor]:
        """Yield the logits (heads, *patch) of every window on the device `to`, multiplied by the weights (*patch).

        image: (C, X, Y, Z), of which the slicers cut (C, *patch).
        """
        for first in range(0, len(slicers), self.batch_size):
            cut = slicers[first : first + self.batch_size]
            batch = torch.stack([image[slicer] for slicer in cut]).contiguous().to(self.device)
            logits = self._mirrored(batch).to(to)
            del batch
            for number, prediction in enumerate(logits):
                yield prediction if weight is None else prediction * weight
                if self.progress is not None:
                    self.progress(first + number + 1, len(slicers))

    def _mirrored(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the mean over all combinations of mirrored axes, added in nnU-Net's order."""
        logits = self._checked(self.network(batch), batch)
        axes = [axis + 2 for axis in self.mirrored]
        flips = [some for count in range(1, len(axes) + 1) for some in itertools.combinations(axes, count)]
        for some in flips:
            logits = logits + torch.flip(self._checked(self.network(torch.flip(batch, some)), batch), some)
        return logits / (len(flips) + 1) if flips else logits

    def _checked(self, logits: Any, batch: torch.Tensor) -> torch.Tensor:
        wanted = (batch.shape[0], "C", *self.patch)
        if not isinstance(logits, torch.Tensor):
            raise TypeError(
                f"[network] expected a tensor of shape {_words(wanted)}, got {type(logits).__name__}; if the network has "
                "several outputs, pass a function that returns one: lambda x: network(x)[0]"
            )
        if logits.ndim != batch.ndim or logits.shape[0] != batch.shape[0] or tuple(logits.shape[2:]) != self.patch:
            raise ValueError(f"[network] expected a tensor of shape {_words(wanted)}, got {tuple(logits.shape)}")
        return logits


def _words(shape: Sequence[Any]) -> str:
    return f"({', '.join(map(str, shape))})"


def device_of(network: Any, device: str | torch.device | None) -> torch.device:
    """Return the device of the network's parameters. Raises ValueError if another one is asked for."""
    parameter = next(network.parameters(), None) if isinstance(network, torch.nn.Module) else None
    try:
        asked = None if device is None else torch.device(device)
    except (RuntimeError, TypeError):
        raise ValueError(f"[device] expected a device of torch, such as 'cuda', got {device!r}") from None
    if parameter is None:
        return asked or torch.device("cpu")
    of_network: torch.device = parameter.device
    same = asked is None or (asked.type == of_network.type and asked.index in (None, of_network.index))
    if not same:
        raise ValueError(f"[device] expected the network's, {of_network}, got {asked}")
    return of_network


def precision(device: torch.device, autocast: bool | torch.dtype | None) -> AbstractContextManager[Any]:
    """Return the context in which the network runs: by default nnU-Net's, autocast on CUDA only."""
    if not isinstance(autocast, (bool, torch.dtype, type(None))):
        raise ValueError(f"[autocast] expected None, True, False or a dtype of torch, got {autocast!r}")
    if autocast is None:
        autocast = device.type == "cuda"
    if autocast is False:
        return nullcontext()
    return torch.autocast(device.type, dtype=None if autocast is True else autocast)


@contextmanager
def evaluating(network: Any) -> Iterator[None]:
    """Inside, every module of the network is in evaluation mode; afterwards each is as it was."""
    if not isinstance(network, torch.nn.Module):
        yield
        return
    before = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training
