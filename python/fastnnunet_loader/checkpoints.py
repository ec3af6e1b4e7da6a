"""Checkpoints that torch cannot load: the error names the file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from .errors import FastnnUNetError, StorageError

__all__ = ["naming_checkpoints"]


@contextlib.contextmanager
def naming_checkpoints() -> Iterator[None]:
    """Inside, a checkpoint that torch cannot load ends in a StorageError that names the file."""
    import torch

    load, failed = torch.load, []

    def naming(f: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return load(f, *args, **kwargs)
        except Exception as error:
            failed.append((error, f))
            raise

    torch.load = naming
    try:
        yield
    except (OSError, FastnnUNetError):  # which name it themselves
        raise
    except Exception as error:
        # Nothing is raised for a file that torch's caller can do without.
        for reason, file in failed:
            if reason is error and isinstance(file, (str, os.PathLike)):
                said = f"expected a checkpoint, got {type(error).__name__}: {error}"
                raise StorageError(f"[{os.fspath(file)}] {said}", file=os.fspath(file), reason=said) from error
        raise
    finally:
        if torch.load is naming:
            torch.load = load
