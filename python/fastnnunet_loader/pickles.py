"""Reads nnU-Net's pickled properties without running what else a pickle could hold."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from .errors import StorageError

__all__ = ["read_properties"]

# What nnU-Net's preprocessing writes: arrays, scalars, containers. NumPy moved its modules between versions.
_ADMITTED = {
    ("builtins", name)
    for name in ("dict", "list", "tuple", "set", "frozenset", "str", "bytes", "bytearray", "int", "float", "complex")
} | {
    ("builtins", "slice"),
    ("builtins", "range"),
    ("collections", "OrderedDict"),
    ("pathlib", "Path"),
    ("pathlib", "PosixPath"),
    ("pathlib", "PurePath"),
    ("pathlib", "PurePosixPath"),
    ("pathlib", "PureWindowsPath"),
    ("pathlib", "WindowsPath"),
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _ADMITTED or (module == "numpy.dtypes" and name.endswith("DType")):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"expected arrays, numbers, strings and containers, got {module}.{name}")


def read_properties(file: Path) -> dict[str, Any]:
    """The properties of a preprocessed case (`CASE.pkl`).

    Raises:
        StorageError: the file is missing, damaged, or holds anything else than nnU-Net writes.
    """
    try:
        with file.open("rb") as stream:
            properties = _Unpickler(stream).load()
    except OSError as error:
        raise _bad(file, error.strerror or str(error)) from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise _bad(file, f"expected a whole pickle of nnU-Net's properties, got {type(error).__name__}: {error}") from error
    if not isinstance(properties, dict):
        raise _bad(file, f"expected a dictionary of properties, got {type(properties).__name__}")
    return properties


def _bad(file: Path, reason: str) -> StorageError:
    return StorageError(f"[{file}] {reason}", file=str(file), reason=reason)
