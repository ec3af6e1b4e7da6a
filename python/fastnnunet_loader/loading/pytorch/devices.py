"""Batches on a device: copied on a stream of its own while the training works on the batch before."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch

from .. import torch_memory

__all__ = ["Arriving", "Copies", "device_of"]


def device_of(to: torch.device | str | int | None) -> torch.device:
    """Return the device, with its number where devices of its kind have one.

    Raises:
        ValueError: this is no device, or torch has no such device here.
    """
    if to is None:
        return torch.device("cpu")
    try:
        device = torch.device(to)
    except (RuntimeError, TypeError):
        raise ValueError(f"[to] expected a device of torch, such as 'cuda' or 'cuda:1', got {to!r}") from None
    if device.type in ("cpu", "meta"):
        return device
    here = torch_memory.accelerator()
    if device.type != here:
        has = "no accelerator" if here is None else f"only {here}"
        raise ValueError(
            f"[to] expected a device that torch has here, got {str(device)!r}: torch {torch.__version__} finds {has}"
        )
    module = getattr(torch, device.type)
    if device.index is None:
        return torch.device(device.type, module.current_device()) if hasattr(module, "current_device") else device
    if device.index >= module.device_count():
        raise ValueError(f"[to] expected a device below {device.type}:{module.device_count()}, got {str(device)!r}")
    return device


@dataclass(frozen=True)
class Arriving:
    """A batch whose copy has been queued."""

    batch: dict[str, Any]
    copied: Any  # the event after the last copy; None where copies are done when they return


class Copies:
    """Copies batches to one device, on a stream of its own where the device has streams."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        module: Any = getattr(torch, device.type, None)
        has_streams = all(hasattr(module, name) for name in ("Stream", "stream", "current_stream"))
        self._module: Any = module if has_streams else None
        self._stream = module.Stream(device) if has_streams else None

    def start(self, batch: dict[str, Any]) -> Arriving:
        """Queue the copies of all tensors.

        The copy of a pinned tensor may still run when the tensor is gone: its memory is a block of torch's allocator, which
        gives it out again only when the copies from it are done (Note [Who may write a buffer]). A copy from ordinary memory
        is done when this returns.
        """
        streaming = contextlib.nullcontext() if self._stream is None else self._module.stream(self._stream)
        with streaming:
            moved = {name: value for name, value in batch.items() if not _is_pinned(value)}
            # Those that are waited for come first: behind others they would be waited for with them.
            moved = {name: self._moved(value, wait=True) for name, value in moved.items()}
            moved |= {name: self._moved(value, wait=False) for name, value in batch.items() if name not in moved}
            copied = None if self._stream is None else self._stream.record_event()
        return Arriving({name: moved[name] for name in batch}, copied)

    def arrive(self, arriving: Arriving) -> dict[str, Any]:
        """Return the batch for the current stream, whose later work waits for the copies; the caller does not wait."""
        if arriving.copied is not None:
            current = self._module.current_stream(self.device)
            current.wait_event(arriving.copied)
            for value in arriving.batch.values():
                for tensor in value if isinstance(value, list) else [value]:
                    if isinstance(tensor, torch.Tensor):
                        # It was allocated on the stream of copies, which would take its memory while this stream reads it.
                        tensor.record_stream(current)
        return arriving.batch

    def _moved(self, value: Any, wait: bool) -> Any:
        if isinstance(value, torch.Tensor):
            return value.to(self.device, non_blocking=not wait)
        return [self._moved(one, wait) for one in value] if isinstance(value, list) else value


def _is_pinned(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_is_pinned(one) for one in value)
    return isinstance(value, torch.Tensor) and value.is_pinned()
