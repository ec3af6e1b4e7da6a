"""Reads nnU-Net's pickled properties without running what else a pickle could hold.

A pickle is a small program. This reader runs it with the few things that nnU-Net's properties consist of, each rebuilt by a
function of this file, and nothing of another module is imported or called by name.
"""

from __future__ import annotations

import collections
import errno
import functools
import math
import os
import pickle
import struct
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, ClassVar

import numpy as np

from ...errors import StorageError
from .patience import may_pass

__all__ = ["read_properties"]

# bool, integers, floats, complex numbers, bytes, text, objects: without fields, dates and shapes of their own.
_KINDS = "?biufcSUO"


def _refuse(expected: str, got: object) -> pickle.UnpicklingError:
    return pickle.UnpicklingError(f"expected {expected}, got {got}")


class _ArrayType:
    """Stands for numpy.ndarray, which a pickle names but has no reason to call."""


_ARRAY_TYPE = _ArrayType()


def _array(kind: Any, shape: Any, _code: Any) -> Any:
    """As NumPy's _reconstruct: an empty array, which its state then fills."""
    if kind is not _ARRAY_TYPE or shape != (0,):
        raise _refuse("an empty numpy.ndarray to be filled", f"{kind!r} of shape {shape!r}")
    return np.ndarray((0,), np.int8)


def _dtype(name: Any, _align: Any = False, _copy: Any = True) -> Any:
    if not isinstance(name, str) or np.dtype(name).kind not in _KINDS.replace("?", "b") or np.dtype(name).subdtype is not None:
        raise _refuse("a plain numpy.dtype", repr(name))
    return np.dtype(name, copy=True)  # a new object each time, for its byte order is set afterwards


def _scalar(dtype: Any, content: Any) -> Any:
    if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(content, bytes) or len(content) != dtype.itemsize:
        raise _refuse("a scalar of NumPy and its bytes", repr(dtype))
    return np.frombuffer(content, dtype)[0] if content else dtype.type()


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> Any:
    """As NumPy's _frombuffer, which pickles of protocol 5 call."""
    if not isinstance(content, (bytes, bytearray)) or not isinstance(dtype, np.dtype):
        raise _refuse("an array's bytes and dtype", f"{type(content).__name__} and {dtype!r}")
    array = np.frombuffer(content, dtype)
    return array.reshape(shape).transpose(axes) if order == "K" and axes is not None else array.reshape(shape, order=order)


def _collection(kind: Callable[..., Any], items: Any = ()) -> Any:
    """A set, frozenset, bytearray or OrderedDict of what the pickle holds; never of a number, which would be a length."""
    if not isinstance(items, (list, tuple, bytes)):
        raise _refuse("a collection's items", type(items).__name__)
    return kind(items)


def _encoded(text: Any, encoding: Any = "latin1") -> bytes:
    """How protocols 0 to 2 write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _refuse("text in latin1", repr(encoding))
    return text.encode("latin1")


def _path(kind: type, *parts: str) -> Any:
    """A path of another system than this one becomes a pure one."""
    return kind(*parts)


_HERE: dict[str, type] = {"posix": PurePosixPath, "nt": PureWindowsPath}
_POSIX, _WINDOWS = (Path if _HERE.get(os.name) is pure else pure for pure in (PurePosixPath, PureWindowsPath))

# What nnU-Net's preprocessing writes: arrays, scalars, containers. Lists, dicts, tuples, text and numbers need no name.
_ADMITTED: dict[tuple[str, str], Callable[..., Any]] = {
    ("builtins", "set"): functools.partial(_collection, set),
    ("builtins", "frozenset"): functools.partial(_collection, frozenset),
    ("builtins", "bytearray"): functools.partial(_collection, bytearray),
    ("builtins", "bytes"): functools.partial(_collection, bytes),
    ("builtins", "complex"): complex,
    ("builtins", "slice"): slice,
    ("collections", "OrderedDict"): functools.partial(_collection, collections.OrderedDict),
    ("_codecs", "encode"): _encoded,
    ("numpy", "dtype"): _dtype,
}
# NumPy and pathlib moved their modules between versions; Python 2 had another name for builtins, which protocol 2 keeps.
_ADMITTED |= {("__builtin__", name): made for (module, name), made in _ADMITTED.items() if module == "builtins"}
for _core in ("numpy.core", "numpy._core"):
    _ADMITTED[f"{_core}.multiarray", "_reconstruct"] = _array
    _ADMITTED[f"{_core}.multiarray", "scalar"] = _scalar
    _ADMITTED[f"{_core}.numeric", "_frombuffer"] = _from_buffer
for _module in ("pathlib", "pathlib._local"):
    for _name, _kind in {"Path": Path, "PosixPath": _POSIX, "WindowsPath": _WINDOWS}.items():
        _ADMITTED[_module, _name] = functools.partial(_path, _kind)
    for _pure in (PurePosixPath, PureWindowsPath):
        _ADMITTED[_module, _pure.__name__] = functools.partial(_path, _pure)
    _ADMITTED[_module, "PurePath"] = functools.partial(_path, _HERE[os.name])


# Python's own in Python: the one in C takes memory by numbers that stand in the file.
_PythonUnpickler: Any = pickle._Unpickler


class _Unpickler(_PythonUnpickler):  # type: ignore[misc]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(_PythonUnpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy", "ndarray"):
            return _ARRAY_TYPE
        made = _ADMITTED.get((module, name))
        if made is None:
            raise _refuse("arrays, numbers, strings and containers", f"{module}.{name}")
        return functools.partial(made)  # an object of this pickle's own: no pickle can leave anything behind in ours

    def load_build(self) -> None:
        """Sets the state of arrays and their types, and of nothing else."""
        state = self.stack.pop()
        built = self.stack[-1]
        if isinstance(built, np.dtype):
            # The byte order alone. The rest could say that bytes of the file are references to objects.
            if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
                raise _refuse("the state of a numpy.dtype", repr(state))
            if built.kind in "biufcU":
                own = (built.itemsize, built.alignment) if built.kind == "U" else (-1, -1)
                built.__setstate__((3, state[1], None, None, None, *own, built.flags))  # type: ignore[attr-defined]
        elif type(built) is np.ndarray:
            _check_array_state(state)
            built.__setstate__(state)
        else:
            raise _refuse("the state of an array", f"one of {type(built).__name__}")

    dispatch[pickle.BUILD[0]] = load_build

    def load_bytearray8(self) -> None:
        """As bytes are read: Python's own makes room for all that the number says, before it looks whether it is there."""
        (count,) = struct.unpack("<Q", self.read(8))
        if count > sys.maxsize:
            raise _refuse("as many bytes as memory can hold", count)
        self.append(bytearray(self.read(count)))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


def _check_array_state(state: Any) -> None:
    _, shape, dtype, _, content = state
    if not isinstance(dtype, np.dtype) or not isinstance(content, list if dtype.hasobject else (bytes, bytearray)):
        raise _refuse("an array's type and voxels", f"{dtype!r} and {type(content).__name__}")
    if not isinstance(shape, tuple) or any(not isinstance(n, int) or n < 0 for n in shape):
        raise _refuse("an array's shape", repr(shape))
    if math.prod(shape) * (1 if dtype.hasobject else dtype.itemsize) != len(content):
        raise _refuse(f"as many bytes as an array of shape {shape} has", len(content))


def read_properties(file: Path, unrestricted: bool = False) -> dict[str, Any]:
    """The properties of a preprocessed case (`CASE.pkl`).

    Args:
        file: the pickle.
        unrestricted: read it with Python's own unpickler, which runs whatever code the file holds.

    Raises:
        StorageError: the file is missing, damaged, or holds anything else than nnU-Net writes.
    """
    try:
        with file.open("rb") as stream:
            properties = pickle.load(stream) if unrestricted else _Unpickler(stream).load()
    except OSError as error:
        raise _bad(file, error.strerror or str(error), error.errno, passing=may_pass(error)) from error
    except Exception as error:  # a damaged pickle can raise nearly anything
        # Python's own unpickler believes the sizes that a file names, so there the file may be what is wrong.
        if isinstance(error, MemoryError) and not unrestricted:
            raise _bad(file, "no memory is left to read it", errno.ENOMEM) from error
        reason = f"expected a whole pickle of nnU-Net's properties, got {type(error).__name__}: {error}"
        raise _bad(file, reason) from error
    if not isinstance(properties, dict):
        raise _bad(file, f"expected a dictionary of properties, got {type(properties).__name__}")
    return properties


def _bad(file: Path, reason: str, number: int | None = None, passing: bool | None = None) -> StorageError:
    return StorageError(f"[{file}] {reason}", file=str(file), reason=reason, errno=number, passing=passing)
