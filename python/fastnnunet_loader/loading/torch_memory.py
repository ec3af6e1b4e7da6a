"""Batches in memory of torch's allocators: an extension of its own, which needs torch's stable ABI (torch 2.10 and later)."""

from __future__ import annotations

import functools
import re
import warnings

import torch

__all__ = ["LEAST_TORCH", "accelerator", "built_against", "is_pinned", "release", "why_not"]

LEAST_TORCH = (2, 10)
"""The first torch whose stable ABI has what the extension calls."""


def built_against() -> str | None:
    """Return the version of torch that the extension was built against, None where there is no pinned memory."""
    return _found(torch.__version__)[0]


def why_not() -> str:
    """Return why there is no pinned memory, empty where there is."""
    return _found(torch.__version__)[1]


def accelerator() -> str | None:
    """Return the type of device that batches are copied to, such as "cuda", and None where there is only the CPU."""
    module = getattr(torch, "accelerator", None)  # since 2.6
    if module is None:
        return "cuda" if torch.cuda.is_available() else None
    return str(module.current_accelerator().type) if module.is_available() else None


def is_pinned(asked: bool | None) -> bool:
    """Whether batches are in pinned memory. None: if there is an accelerator. True without one warns, as in torch."""
    if asked and accelerator() is None:
        warnings.warn("[pin_memory] expected an accelerator, got only the CPU: batches are in ordinary memory", stacklevel=5)
        return False
    return accelerator() is not None and built_against() is not None if asked is None else bool(asked)


def release(version: str) -> tuple[int, ...]:
    """Return the two numbers of a version's release: a preview of 2.10 (2.10.0a0) has what 2.10 has."""
    return tuple(int(number) for number in re.findall(r"\d+", version.split("+")[0])[:2])


@functools.cache
def _found(version: str) -> tuple[str | None, str]:
    if release(version) < LEAST_TORCH:
        return None, f"it needs torch {'.'.join(map(str, LEAST_TORCH))} or later, and this is {version}"
    try:
        from .. import _torch
    except ModuleNotFoundError:
        return None, "this package was built without torch"
    except ImportError as error:
        return None, f"its extension does not load beside torch {version}: {error}"
    return _torch.built_against, ""
