"""`predict_volume`: nnU-Net's sliding window and export for any network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ...errors import MemoryBudgetError
from ...settings import BYTES, COUNT, above_0, in_units, parse_bytes
from ..sliding_window.passage import Passage, best_passage
from ..sliding_window.passing import pass_over, windows_by_start
from ..sliding_window.waiting import Waiting
from .given import check_step, sizes_of, voxels_of, whole_numbers
from .grid import gaussian_weights, padding_of, steps_of
from .results import OUTPUTS, Output, Result
from .windows import Windows, device_of, evaluating, precision

__all__ = ["predict_volume"]

_ANISOTROPIC = 3  # spacings that differ by more have thick slices, as in nnU-Net


def predict_volume(
    network: Callable[[torch.Tensor], torch.Tensor],
    image: Any,
    patch_size: Sequence[int],
    *,
    output: Output = "logits",
    step: float = 0.5,
    gaussian: bool = True,
    mirror_axes: Sequence[int] = (),
    batch_size: int = 1,
    device: str | torch.device | None = None,
    sums_on_device: bool = True,
    autocast: bool | torch.dtype | None = None,
    shape: Sequence[int] | None = None,
    spacing: Sequence[float] | None = None,
    new_spacing: Sequence[float] | None = None,
    regions_class_order: Sequence[int] | None = None,
    out: Any = None,
    memory_budget: int | str | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Any:
    """Predict a whole volume with overlapping windows, as nnU-Net's predictor does, with any network.

    Logits leave the sums of windows plane by plane. For labels and probabilities there are never logits of the whole image,
    so memory does not grow with the number of classes. With `batch_size=1` the logits are those of nnU-Net's
    `predict_sliding_window_return_logits`, bit for bit; larger batches may differ in the last bits of the network's arithmetic.

    Args:
        network: takes (B, C, *patch_size) float32 and returns (B, heads, *patch_size). A module is in evaluation mode
            meanwhile; afterwards each of its modules is as before. No gradients are recorded.
        image: (C, X, Y, Z) or (C, X, Y), an array or a tensor of real numbers, preprocessed as in training.
        patch_size: in voxels, for each axis. Two sizes for an image of three axes: a 2D network sees each plane of X.
        output: "logits", (heads, X, Y, Z) float16; "probabilities", the same shape in float32, softmax; "labels", (X, Y, Z)
            uint8, or uint16 if there are labels from 255 on.
        step: largest distance of windows, as a part of the patch size: above 0, at most 1. MONAI's `overlap` is 1 - step.
        gaussian: voxels in the middle of a window weigh more.
        mirror_axes: axes of the patch, from 0, along which windows are also predicted mirrored, in all combinations.
        batch_size: windows at once.
        device: where the network runs; None for its parameters' device. The network is not moved.
        sums_on_device: keep image and sums on that device; if it lacks memory, they move to the CPU.
        autocast: None for nnU-Net's way, float16 on CUDA only; True, False, or a dtype.
        shape: of the result, if labels or probabilities are to have another one than the image: logits are resized linearly,
            as nnU-Net does.
        spacing: of the image, in mm, for each axis.
        new_spacing: of the result. Together they give the shape, unless there is one, and which axis has thick slices (more
            than three times the spacing of the others): along it, the nearest slice is taken.
        regions_class_order: the label of each head if the heads are regions, which may overlap; None if they are classes.
            Probabilities are then sigmoids.
        out: where logits or probabilities are written: an array or a CPU tensor of their shape and type, for example from
            `np.lib.format.open_memmap` if they do not fit into memory.
        memory_budget: limit for image, sums and result together, such as "4GB" or bytes; None for none. What the network
            itself needs is not known and not counted.
        threads: that decide labels; None for one per core, at most 8. The result does not depend on it.
        progress: is told how many windows are done, and how many there are.

    Returns:
        What `output` says: an array if the image is an array, else a CPU tensor. `out` if it was given.

    Raises:
        ValueError: an argument, or the shape that the network returns, is not as above.
        TypeError: the network does not return a tensor.
        MemoryBudgetError: the budget is too small; the message says what is needed.
        RuntimeError: logits do not fit into half precision.
    """
    as_array = not isinstance(image, torch.Tensor)
    volume = voxels_of(image)
    patch = sizes_of("patch_size", patch_size)
    if not callable(network):
        raise ValueError(f"[network] expected a module or a function, got {type(network).__name__}")
    if progress is not None and not callable(progress):
        raise ValueError(f"[progress] expected a function of two numbers, or None, got {progress!r}")
    flat = volume.ndim == 3
    if volume.ndim not in (3, 4) or len(patch) > volume.ndim - 1 or 0 in volume.shape:
        raise ValueError(
            "[image] expected (C, X, Y, Z), or (C, X, Y) for a patch of two sizes, "
            f"got {tuple(volume.shape)} for a patch of {patch}"
        )
    _check(output, step, batch_size, out)
    mirrored = whole_numbers("mirror_axes", mirror_axes)
    if any(not 0 <= axis < len(patch) for axis in mirrored) or len(set(mirrored)) < len(mirrored):
        raise ValueError(f"[mirror_axes] expected different axes from 0 to {len(patch) - 1}, got {mirror_axes!r}")
    where, axis = _new_shape(volume.shape[1:], shape, spacing, new_spacing)
    if where is not None and output == "logits":
        raise ValueError("[shape] expected output 'labels' or 'probabilities' with another shape, got 'logits'")
    if flat:
        volume = volume[:, None]
        where, axis = (None if where is None else (1, *where)), (None if axis is None else axis + 1)
    size = tuple(int(n) for n in volume.shape[1:])
    passage = best_passage(size, patch, lambda whole, window: steps_of(whole, window, step))
    windows = Windows(network, patch, int(batch_size), mirrored, device_of(network, device), progress)
    run = _Volume(volume, passage, patch, step, gaussian, windows)
    for name, value, kind in (("memory_budget", memory_budget, BYTES), ("threads", threads, COUNT)):
        if value is not None:
            kind.check(name, value)
    budget = None if memory_budget is None else parse_bytes(memory_budget)
    regions = None if regions_class_order is None else whole_numbers("regions_class_order", regions_class_order)
    result = Result(output, size, passage.along, where or size, axis, regions, out, flat, threads)
    with torch.inference_mode(), evaluating(network), precision(run.device, autocast):
        if sums_on_device and run.device.type != "cpu":
            try:
                run.over(run.device, result, budget)
                return result.get(as_array)
            except torch.cuda.OutOfMemoryError:
                pass  # the sums go to the CPU; if the network itself does not fit, it says so again
            torch.cuda.empty_cache()
        run.over(torch.device("cpu"), result, budget)
    return result.get(as_array)


def _check(output: str, step: float, batch_size: int, out: Any) -> None:
    if output not in OUTPUTS:
        raise ValueError(f"[output] expected one of {', '.join(OUTPUTS)}, got {output!r}")
    check_step(step)
    above_0("batch_size", batch_size)
    if out is not None and output == "labels":
        raise ValueError("[out] expected output 'logits' or 'probabilities' with it, got 'labels'")


def _new_shape(
    old: Sequence[int], shape: Sequence[int] | None, spacing: Sequence[float] | None, new_spacing: Sequence[float] | None
) -> tuple[tuple[int, ...] | None, int | None]:
    """Return the shape of the result, or None for the image's, and the axis of thick slices, as nnU-Net finds them."""
    if (spacing is None) != (new_spacing is None):
        raise ValueError("[spacing] expected spacing and new_spacing, got one of them")
    axis = None
    made = None if shape is None else sizes_of("shape", shape)
    if spacing is not None and new_spacing is not None:
        for name, given in (("spacing", spacing), ("new_spacing", new_spacing)):
            if not _are_spacings(given, len(old)):
                raise ValueError(f"[{name}] expected {len(old)} numbers above 0, in mm, got {given!r}")
        if made is None:
            made = tuple(round(i / j * k) for i, j, k in zip(spacing, new_spacing, old, strict=True))
        thick = next((s for s in (spacing, new_spacing) if max(s) / min(s) > _ANISOTROPIC), None)
        if thick is not None:
            axes = [a for a, value in enumerate(thick) if value == max(thick)]
            axis = axes[0] if len(axes) == 1 else None
    if made is not None and (len(made) != len(old) or 0 in made):
        raise ValueError(f"[shape] expected {len(old)} sizes above 0, as the image has axes, got {made}")
    return made, axis


def _are_spacings(given: Any, count: int) -> bool:
    try:
        return len(given) == count and all(0 < float(value) < math.inf for value in given)
    except (TypeError, ValueError):
        return False


class _Volume:
    """An image with the way of its windows."""

    def __init__(
        self, volume: torch.Tensor, passage: Passage, patch: tuple[int, ...], step: float, gaussian: bool, windows: Windows
    ) -> None:
        self.device = windows.device
        self._windows, self._passage, self._patch, self._gaussian = windows, passage, patch, gaussian
        shape = [int(n) for n in volume.shape[1:]]
        padding = padding_of(shape, passage.patch)
        image = volume.to(torch.float32)
        if any(map(sum, padding)):
            image = torch.nn.functional.pad(image, [n for sides in reversed(padding) for n in sides])
        self._image = image
        self._unpad = [slice(low, low + n) for (low, _), n in zip(padding, shape, strict=True)]
        flat = 3 - len(patch)
        places: list[Any] = [range(passage.shape[0])] * flat + steps_of(passage.shape[flat:], patch, step)
        sizes = [None] * flat + list(patch)
        self._slicers = [
            (slice(None), *(at if n is None else slice(at, at + n) for at, n in zip(place, sizes, strict=True)))
            for place in itertools.product(*places)
        ]

    def over(self, device: torch.device, result: Result, budget: int | None) -> None:
        """Predict with image and sums on a device."""
        passage, image = self._passage, self._image.to(device)
        by_start = windows_by_start(passage, self._slicers)
        gaussian = gaussian_weights(self._patch).to(device) if self._gaussian else None
        weight = torch.ones((), dtype=torch.half, device=device).expand(self._patch) if gaussian is None else gaussian
        in_order = [slicer for start in passage.starts for slicer in by_start[start]]
        predictions = self._windows.predict(image, in_order, gaussian, device)
        first = next(predictions)
        heads = int(first.shape[0])
        _keep_budget(budget, 4 * math.prod(image.shape) + passage.bytes(heads, 1), result.bytes(heads))
        waiting = Waiting(passage, heads, 1, self._unpad, result.begin(heads))
        rest = itertools.chain([first], predictions)
        del first
        pass_over(passage, by_start, lambda _, slicers: itertools.islice(rest, len(slicers)), weight, heads, 1, device, waiting)
        next(predictions, None)  # progress is told after the last one


def _keep_budget(budget: int | None, work: int, result: int) -> None:
    if budget is not None and work + result > budget:
        raise MemoryBudgetError(
            f"[memory_budget] expected at least {in_units(work + result)} for image and sums ({in_units(work)}) and the result "
            f"({in_units(result)}), got {in_units(budget)}; labels need the least, and `out` takes a memory-mapped file"
        )
