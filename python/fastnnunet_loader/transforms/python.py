"""What the native threads call in Python: transforms that are not native, and callable scalars.

Both draw as they would in one of nnU-Net's workers; `draws` makes that a function of the sample. Several run at once, as far as
they leave Python's lock.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..errors import LoaderClosedError
from . import draws
from .draws import Turn, drawing
from .regression import leaves_targets_alone

__all__ = [
    "PythonTransform",
    "interrupt",
    "interrupt_all",
    "makes_a_sample",
    "noted",
    "python_stack",
    "python_stacks",
    "scalar_function",
]

Array = npt.NDArray[Any]
_OWN_FILES = {__file__, draws.__file__, contextlib.__file__}
_inside: dict[int, int] = {}  # the system's number of a thread, and Python's


def python_stack(thread: int) -> list[str]:
    """Where a thread is in Python code that a sample needs, innermost last; empty where it is in none.

    thread: the system's number, as `threading.get_native_id()` gives it.
    """
    identity = _inside.get(thread)
    frame = None if identity is None else sys._current_frames().get(identity)
    if frame is None:
        return []
    found = traceback.extract_stack(frame)
    return [f"{at.filename}:{at.lineno} in {at.name}" for at in found if at.filename not in _OWN_FILES]


def python_stacks() -> list[str]:
    """The same of every thread that is in such code."""
    return [line for thread in list(_inside) for line in python_stack(thread)]


def interrupt(threads: Iterable[int]) -> None:
    """Raise LoaderClosedError in those of these threads that are in Python code: nobody waits for their samples any more.

    It is heard between two instructions of Python: a call that never returns to Python does not hear it.
    """
    for thread in threads:
        identity = _inside.get(thread)
        if identity is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(identity), ctypes.py_object(LoaderClosedError))


def interrupt_all() -> None:
    """The same for every thread that is in such code."""
    interrupt(list(_inside))


def makes_a_sample() -> bool:
    """Whether the calling thread is in Python code that a sample needs: it must not wait for samples."""
    return threading.get_native_id() in _inside


@contextmanager
def noted() -> Iterator[None]:
    """Inside, the calling thread is in Python code that a sample needs."""
    thread = threading.get_native_id()
    _inside[thread] = threading.get_ident()
    try:
        yield
    finally:
        _inside.pop(thread, None)


_one_thread = threading.local()


def _use_one_thread() -> None:
    """Keep torch's and OpenMP's loops of this thread in this thread, as in nnU-Net's workers: the others make samples, too."""
    if getattr(_one_thread, "set", False):
        return
    from threadpoolctl import ThreadpoolController

    torch.get_num_threads()  # torch sets the number itself when it is first asked in a thread
    for library in ThreadpoolController().lib_controllers:
        if library.user_api == "openmp":
            library.set_num_threads(1)  # of the calling thread only
    _one_thread.set = True


# Entries that batchgeneratorsv2's own transforms of labels change or look at.
_OF_TRANSFORMS = ("regression_target", "keypoints", "bbox", "nchannels_img", "nchannels_seg", "nchannels_regr_trg")
_FOLDED = ("nchannels_img", "nchannels_seg", "nchannels_regr_trg")


class PythonTransform:
    """A transform in Python, called by a native pipeline on its own memory."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform
        self.sees_target = not leaves_targets_alone(transform)
        self.turn = Turn()
        self._recorded: dict[int, dict[str, Any]] = {}
        self._tokens = itertools.count()  # several threads may record at once

    @property
    def _name(self) -> str:
        return type(self.transform).__name__

    def record(self, parameters: dict[str, Any]) -> int:
        """Keeps parameters for one later application; the number returned stands for them."""
        token = next(self._tokens)
        self._recorded[token] = parameters
        return token

    def apply(
        self,
        image: Array,
        labels: Array | list[Array] | None,
        target: Array | None,
        entries: dict[str, Any],
        folded: tuple[int, int, int],
        seed: int,
        token: int,
    ) -> tuple[Array, Array | None, dict[str, Any], bool, bool, bool, Array | None]:
        """Applies the transform to views of native memory, in place where it works in place.

        Args:
            image: (C, X, Y, Z) or (C, Y, Z) float32.
            labels: (C, X, Y, Z) or (C, Y, Z) int16 or bool, or one for each scale of deep supervision; None where there are
                none, or where they are among the entries.
            target: a regression target (C, X, Y, Z) or (C, Y, Z) float32, if there is one and the transform may move it.
            entries: what transforms in Python have added to the dictionary; it is not changed.
            folded: channels of the image, the labels and the target without the planes, where planes of a 3D sample are
                channels for a while; else zeros.
            seed: of the random numbers.
            token: of recorded parameters; -1 to draw them.

        Returns:
            The image; the labels, None where they are as they were or among the entries; the entries; whether these hold the
            labels, or there are none any more; whether they hold what batchgeneratorsv2's own transforms change; whether the
            transform gave the labels their form; the target.

        Raises:
            TypeError, ValueError: what it returned is no sample.
        """
        with noted():
            data: dict[str, Any] = {"image": torch.from_numpy(image), **entries}
            if labels is not None:
                data["segmentation"] = (
                    [torch.from_numpy(a) for a in labels] if isinstance(labels, list) else torch.from_numpy(labels)
                )
            given = data.get("segmentation")
            if target is not None:
                data["regression_target"] = torch.from_numpy(target)
            if folded[0]:
                data.update((name, count) for name, count in zip(_FOLDED, folded, strict=True) if count)
            _use_one_thread()
            with drawing(seed, self.turn), torch.no_grad():
                if token < 0:
                    data = self.transform(**data)
                else:
                    data = self.transform.apply(data, **self._recorded.pop(token))
            if not isinstance(data, dict):
                raise TypeError(f"expected a dictionary from it, got {type(data).__name__}")
            data = dict(data)
            out = self._image(data, image)
            moved = None if target is None else self._moved(data, out)
            if folded[0] and out.ndim == 3:
                for name in _FOLDED:
                    data.pop(name, None)
            return (*self._labels(out, image, labels, given, data), moved)

    @staticmethod
    def _moved(data: dict[str, Any], image: Array) -> Array:
        """The regression target as the transform made it."""
        out = _numbers(data.pop("regression_target", None), "regression_target")
        if out.shape[1:] != image.shape[1:] or not out.shape[0]:
            raise ValueError(f"expected 'regression_target' of the image's shape {image.shape[1:]}, got {out.shape[1:]}")
        return np.ascontiguousarray(out, dtype=np.float32)

    def _image(self, data: dict[str, Any], before: Array) -> Array:
        if data.get("image") is None:
            raise ValueError(f"expected 'image' in what it returns, got {', '.join(map(repr, data)) or 'nothing'}")
        out = _numbers(data.pop("image"), "image")
        if out.ndim not in (3, 4) or 0 in out.shape:
            raise ValueError(f"expected 'image' of shape (C, X, Y, Z) or (C, Y, Z), got {out.shape}")
        # Back-to-front views, for one, are of its memory and no array of their own.
        return np.ascontiguousarray(out, dtype=np.float32)

    def _labels(
        self, image: Array, image_before: Array, before: Array | list[Array] | None, given: Any, data: dict[str, Any]
    ) -> tuple[Array, Array | None, dict[str, Any], bool, bool, bool]:
        found = data.get("segmentation")
        of_transforms = any(data.get(name) is not None for name in _OF_TRANSFORMS)
        for name, value in data.items():
            if name != "segmentation":
                data[name] = _apart(value, (image_before, before))
        if before is not None and isinstance(given, list) and isinstance(found, list) and _unchanged(found, before):
            data.pop("segmentation")
            return image, None, data, False, of_transforms, False
        array = _native_labels(found, image)
        if array is not None:
            data.pop("segmentation")
            return image, array, data, False, of_transforms, True
        if found is not None:
            data["segmentation"] = _apart(found, (image_before, before))
        return image, None, data, True, of_transforms, found is not given

    def targets(self, entries: dict[str, Any]) -> tuple[list[Array], bool]:
        """Returns labels that have a form of their own as arrays for a batch, and whether they are a list.

        Raises:
            TypeError, ValueError: they are none.
        """
        found = entries.get("segmentation")
        if found is None:
            raise ValueError("expected 'segmentation' after all transforms, got none")
        with noted():
            return self._targets(found)

    @staticmethod
    def _targets(found: Any) -> tuple[list[Array], bool]:
        several = list(found) if isinstance(found, (list, tuple)) else [found]
        if not several:
            raise ValueError("expected 'segmentation' after all transforms, got an empty list")
        return [_target(value) for value in several], isinstance(found, (list, tuple))


def _numbers(value: Any, name: str) -> Array:
    """A tensor or an array of numbers, on the CPU; bfloat16 as it is in memory."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().resolve_conj().resolve_neg()
        if value.layout is not torch.strided:
            value = value.to_dense()
        if value.dtype is torch.bfloat16:
            value = value.float() if name == "image" else value.contiguous().view(torch.uint16)
        array: Array = value.numpy()
    elif isinstance(value, np.ndarray):
        array = value
    else:
        raise TypeError(f"expected {name!r} to be a tensor, got {type(value).__name__}")
    if array.dtype.kind not in "biuf":
        raise TypeError(f"expected {name!r} of real numbers, got {array.dtype}")
    return array


def _native_labels(value: Any, image: Array) -> Array | None:
    """Labels or regions as native transforms take them: beside the image, voxel for voxel."""
    if not isinstance(value, (torch.Tensor, np.ndarray)):
        return None
    if value.dtype not in (torch.int16, torch.bool, np.dtype(np.int16), np.dtype(np.bool_)):
        return None
    array = _numbers(value, "segmentation")
    if array.ndim != image.ndim or array.shape[1:] != image.shape[1:] or not array.shape[0]:
        return None
    return np.ascontiguousarray(array)


def _target(value: Any) -> Array:
    array = _numbers(value, "segmentation")
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise ValueError(f"expected 'segmentation' of shape (C, X, Y, Z) or (C, Y, Z), got {array.shape}")
    # torch's other types are few and rare: what holds them is what torch computes them in.
    if array.dtype == np.uint16 and not (isinstance(value, torch.Tensor) and value.dtype is torch.bfloat16):
        array = array.astype(np.int32)
    elif array.dtype == np.uint32:
        array = array.astype(np.int64)
    elif array.dtype == np.uint64 or array.dtype.itemsize > 8:
        raise TypeError(f"expected 'segmentation' of a type that torch computes with, got {array.dtype}")
    return np.ascontiguousarray(array)


def _unchanged(found: list[Any], before: list[Array] | Array) -> bool:
    if len(found) != len(before):
        return False
    for value, array in zip(found, before, strict=True):
        if not isinstance(value, torch.Tensor) or value.dtype not in (torch.int16, torch.bool) or value.shape != array.shape:
            return False
        if value.data_ptr() != array.ctypes.data or not value.is_contiguous():
            return False
    return True


def _apart(value: Any, lent: tuple[Any, ...]) -> Any:
    """The same, with a copy of what lies in memory that native transforms write again."""
    if type(value) in (list, tuple):
        return type(value)(_apart(item, lent) for item in value)
    if type(value) is dict:
        return {name: _apart(item, lent) for name, item in value.items()}
    if isinstance(value, torch.Tensor):
        on_host = value.device.type == "cpu" and value.layout is torch.strided
        return value.clone() if on_host and _overlaps(value, lent) else value
    return value.copy() if isinstance(value, np.ndarray) and _overlaps(value, lent) else value


def _overlaps(value: Any, lent: tuple[Any, ...]) -> bool:
    arrays = [array for item in lent if item is not None for array in (item if isinstance(item, list) else [item])]
    low, high = _bounds(value)
    return any(low < end and start < high for start, end in map(_bounds, arrays))


def _bounds(value: Any) -> tuple[int, int]:
    """The first byte of an array or a tensor, and the one after its last."""
    if isinstance(value, torch.Tensor):
        low, item = value.data_ptr(), value.itemsize
        strides = [stride * item for stride in value.stride()]
    else:
        low, item, strides = value.ctypes.data, value.itemsize, list(value.strides)
    high = low + item
    for size, stride in zip(value.shape, strides, strict=True):
        if size == 0:
            return low, low
        low += min(0, (size - 1) * stride)
        high += max(0, (size - 1) * stride)
    return low, high


def scalar_function(draw: Callable[..., float]) -> Callable[..., float]:
    """Wraps a callable scalar so that its random numbers are a function of the seed that the core gives."""
    turn = Turn()

    def call(shape: tuple[int, ...], channel: int | None, axis: int | None, seed: int, **more: float) -> float:
        with noted(), drawing(seed, turn):
            return float(draw(tuple(shape), channel, axis, **more))

    return call
