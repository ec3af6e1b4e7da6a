"""nnU-Net's sliding window without the logits of the whole image: planes leave as soon as their last window has passed.

window, window, ... at one place of the axis  ──>  sums of logits and weights, one window long
                                                          │ planes that no window reaches any more
                                                          ▼
                                divided, the folds averaged  ──>  decided and dropped (SegmentationStream)

Sums are of half precision, as nnU-Net's, so the order of additions decides their last bit, and now and then which of two
classes wins. Every voxel gets its windows in nnU-Net's order, whatever the axis: where a later place of the axis would come too
late, windows are held until it is their turn (`_OrderedSums`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

__all__ = ["Passage", "Planes", "plan_passage", "predict_planes", "whole_bytes"]

WORTH_ANOTHER_AXIS = 1.25
"""How many times less has to be kept along another axis than along the first, whose planes lie in one piece of memory."""

HELD_BYTES = 4
"""Of a logit of a window that is held: what the network gives, float32 on a CPU, half of that under autocast."""

PLANES_AT_ONCE = 16
"""Decided together at least: threads share the planes."""

PLANES_TOGETHER = 32
"""Leave the sums together at most."""

PLANES_BETWEEN = 2
"""That a resized plane lies between, and so stay until the next ones come."""


@dataclass(frozen=True)
class Passage:
    """How windows pass over an image."""

    along: int
    """The axis that planes are across, 0 to 2."""
    extent: int
    """Of a window along this axis, in planes."""
    starts: tuple[int, ...]
    """Of the windows along this axis."""
    shape: tuple[int, int, int]
    """Of the image, padded to a window at least."""
    patch: tuple[int, int, int]
    """Of a window; (1, Y, Z) for a 2D network."""
    windows: tuple[int, int, int]
    """How many there are along each axis."""

    @property
    def plane(self) -> int:
        """Voxels of a plane."""
        return math.prod(self.shape) // self.shape[self.along]

    @property
    def largest_step(self) -> int:
        """Planes that are complete at once at most."""
        return max(b - a for a, b in zip(self.starts, (*self.starts[1:], self.starts[-1] + self.extent), strict=True))

    @property
    def overlap(self) -> bool:
        """Whether a plane gets windows of several starts."""
        return any(b - a < self.extent for a, b in zip(self.starts, self.starts[1:], strict=False))

    @property
    def in_order(self) -> bool:
        """Whether every voxel gets its windows in nnU-Net's order as they come. nnU-Net's last axis runs fastest."""
        return not self.overlap or math.prod(self.windows[: self.along]) == 1

    @property
    def held(self) -> int:
        """Numbers of windows, at most, that are held for each head and fold."""
        if self.in_order:
            return 0
        left = [
            sum(max(0, before + self.extent - following) for before in self.starts[: place + 1])
            for place, following in enumerate(self.starts[1:])
        ]
        # As the windows of one place come, those of the place before leave.
        together = math.prod(self.windows) // len(self.starts) + math.prod(self.windows[self.along + 1 :])
        return max(left) * together * math.prod(self.patch) // self.extent

    def step(self, folds: int) -> int:
        """Planes, at most, that leave the sums together."""
        return min(self.largest_step, PLANES_TOGETHER) if self.sums(folds) == folds else self.largest_step

    def waiting(self, folds: int) -> int:
        """Planes, at most, that are complete and not yet decided."""
        return self.step(folds) + PLANES_AT_ONCE + PLANES_BETWEEN

    def sums(self, folds: int) -> int:
        """How many sums are kept: folds are averaged after the division, as nnU-Net does."""
        return folds if self.overlap else 1

    @property
    def length(self) -> int:
        """Of the sums, in planes: a window's, or no more than are complete at once where windows are held."""
        return self.extent if self.in_order else self.largest_step

    def bytes(self, heads: int, folds: int) -> int:
        """Of all that is kept, sums in half precision, with what looking for infinity takes."""
        sums = self.length * self.plane * (heads * self.sums(folds) + 1) * 2 + self.held * heads * folds * HELD_BYTES
        return sums + self.plane * heads * (2 * self.waiting(folds) + 3 * self.step(folds))


def plan_passage(shape: Sequence[int], patch_size: Sequence[int], tile_step_size: float) -> Passage:
    """Choose the axis along which the least has to be kept; the first one where that is hardly more.

    shape: (X, Y, Z) of the preprocessed image. patch_size: 2D or 3D.
    """
    from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

    flat = len(patch_size) < 3
    x, y, z = ([1] if flat else []) + [int(n) for n in patch_size]
    padded = [max(int(n), p) for n, p in zip(shape, (x, y, z), strict=True)]
    size = (padded[0], padded[1], padded[2])
    if flat:  # its windows lie in single planes already
        across = compute_steps_for_sliding_window(size[1:], (y, z), tile_step_size)
        return Passage(0, 1, tuple(range(size[0])), size, (1, y, z), (size[0], len(across[0]), len(across[1])))
    starts = compute_steps_for_sliding_window(size, (x, y, z), tile_step_size)
    windows = (len(starts[0]), len(starts[1]), len(starts[2]))
    passages = [
        Passage(axis, (x, y, z)[axis], tuple(dict.fromkeys(starts[axis])), size, (x, y, z), windows)
        for axis in range(3)
        # Steps of less than a voxel repeat windows, which could not be told apart.
        if all(len(set(starts[before])) == len(starts[before]) for before in range(axis))
    ]
    least = min(passages, key=lambda passage: passage.bytes(heads=2, folds=1))
    worth = WORTH_ANOTHER_AXIS * least.bytes(heads=2, folds=1) < passages[0].bytes(heads=2, folds=1)
    return least if worth else passages[0]


def whole_bytes(shape: Sequence[int], heads: int, folds: int) -> int:
    """What nnU-Net's own predictor keeps of logits: of the image, of all folds before, and looking for infinity in them."""
    return math.prod(shape) * (heads * (2 + 3 + 2 * (folds > 1)) + 2)


class Planes(Protocol):
    """Takes logits."""

    def add(self, logits: torch.Tensor, first: int) -> int:
        """Planes (C, X, Y, Z) in half precision on the CPU, the first being number `first`; returns the first still needed."""


def predict_planes(
    predictor: Any,
    image: torch.Tensor,
    passage: Passage,
    begin: Callable[[], Planes],
    tell: Callable[[int, int], None] | None = None,
    *,
    on_device: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Predict an image, as `nnUNetPredictor.predict_logits_from_preprocessed_data` does, plane by plane.

    Mirroring, weights, tile step, folds and precision are nnU-Net's. Where the device lacks memory, sums are kept on the CPU.

    Args:
        predictor: nnU-Net's, initialised.
        image: (C, X, Y, Z) float32, preprocessed.
        passage: of `plan_passage`.
        begin: gives what takes the planes; called again where the prediction begins again.
        tell: is told how many windows are done, and how many there are.
        say: is told what a user may want to know.
        on_device: whether to try to keep image and sums on the device, where the predictor is asked to.
    """
    from nnunetv2.utilities.helpers import dummy_context, empty_cache

    predictor.network = predictor.network.to(predictor.device)
    predictor.network.eval()
    empty_cache(predictor.device)
    on_cuda = predictor.device.type == "cuda"
    with torch.inference_mode(), torch.autocast("cuda", enabled=True) if on_cuda else dummy_context():
        run = _Run(predictor, image, passage, tell)
        if on_device and predictor.perform_everything_on_device:
            try:
                run.over(predictor.device, begin())
                return
            except RuntimeError as error:
                say(f"the sums of logits are kept on the CPU, for the device failed: {error}")
            empty_cache(predictor.device)
        run.over(torch.device("cpu"), begin())


class _Run:
    """One image."""

    def __init__(self, predictor: Any, image: torch.Tensor, passage: Passage, tell: Callable[[int, int], None] | None) -> None:
        from acvl_utils.cropping_and_padding.padding import pad_nd_image

        self._predictor = predictor
        self._tell = tell
        self._passage = passage
        self._patch = tuple(predictor.configuration_manager.patch_size)
        self._image, unpad = pad_nd_image(image, self._patch, "constant", {"value": 0}, True, None)
        self._unpad = unpad[1:]
        slicers = predictor._internal_get_sliding_window_slicers(self._image.shape[1:])
        self._windows: dict[int, list[Any]] = {start: [] for start in passage.starts}
        for slicer in slicers:  # those of one start stay in nnU-Net's order
            at = slicer[passage.along + 1]
            self._windows[at if isinstance(at, int) else at.start].append(slicer)
        self._total = len(slicers)

    def over(self, device: torch.device, planes: Planes) -> None:
        """Predict with sums on a device."""
        from nnunetv2.inference.predict_from_raw_data import compute_gaussian  # as it is there now

        passage, predictor = self._passage, self._predictor
        image = self._image.to(device)
        gaussian = torch.ones((), dtype=torch.half, device=device).expand(self._patch)
        if predictor.use_gaussian:
            gaussian = compute_gaussian(self._patch, sigma_scale=1.0 / 8, value_scaling_factor=10, device=device)
        heads, folds = predictor.label_manager.num_segmentation_heads, predictor.list_of_parameters
        kind = _Sums if passage.in_order else _OrderedSums
        sums = [kind(passage, heads, device) for _ in range(passage.sums(len(folds)))]
        weights = kind(passage, 1, device)
        waiting = _Waiting(passage, heads, len(folds), self._unpad, planes)
        done, all_of_them = 0, self._total * len(folds)
        if len(folds) == 1:
            self._load(folds[0])
        for start, following in zip(passage.starts, (*passage.starts[1:], None), strict=True):
            complete = passage.extent if following is None else following - start
            for slicer in self._windows[start]:
                weights.add(gaussian, slicer, start, complete)
            for fold, parameters in enumerate(folds):
                if len(folds) > 1:
                    self._load(parameters)
                kept = sums[fold % len(sums)]
                for slicer in self._windows[start]:
                    window = torch.clone(image[slicer][None], memory_format=torch.contiguous_format)
                    prediction = predictor._internal_maybe_mirror_and_predict(window.to(predictor.device))[0].to(device)
                    if predictor.use_gaussian:
                        prediction *= gaussian
                    kept.add(prediction, slicer, start, complete)
                    del prediction
                    done += 1
                    if self._tell is not None:
                        self._tell(done, all_of_them)
                if len(sums) < len(folds):  # the next fold begins with nothing in the same sums
                    kept.take(start, complete, weights, waiting.place(complete), add=fold > 0)
            step = passage.step(len(folds))
            for first in range(start, start + complete, step):
                count = min(step, start + complete - first)
                place = waiting.place(count)
                if len(sums) == len(folds):
                    for fold, kept in enumerate(sums):
                        kept.take(first, count, weights, place, add=fold > 0)
                if len(folds) > 1:
                    place /= len(folds)
                waiting.put(count, last=following is None and first + count == start + complete)
            weights.clear(start, complete)

    def _load(self, parameters: Any) -> None:
        from torch._dynamo import OptimizedModule

        network = self._predictor.network
        (network._orig_mod if isinstance(network, OptimizedModule) else network).load_state_dict(parameters)


class _Sums:
    """Of some planes along the axis, in a ring: plane p of the image is p modulo the length."""

    def __init__(self, passage: Passage, channels: int, device: torch.device) -> None:
        shape = list(passage.shape)
        shape[passage.along] = self._length = passage.length
        self._extent = passage.extent
        self._along = passage.along + 1
        self._ring = torch.zeros((channels, *shape), dtype=torch.half, device=device)

    def _pieces(self, start: int, count: int) -> list[tuple[int, torch.Tensor]]:
        """Parts of the ring that hold planes start to start + count, each with the number of planes before it."""
        at = start % self._length
        first = min(count, self._length - at)
        pieces = [(0, self._ring.narrow(self._along, at, first))]
        if count > first:
            pieces.append((first, self._ring.narrow(self._along, 0, count - first)))
        return pieces

    def add(self, values: torch.Tensor, slicer: Any, start: int, complete: int) -> None:
        """Add a window (C, *patch), or (*patch) to all channels.

        slicer: where nnU-Net has it. start: its first plane. complete: planes from there on that no later place reaches.
        """
        for before, piece in self._pieces(start, self._extent):
            inside = list(slicer[1:])
            inside[self._along - 1] = slice(None) if isinstance(inside[self._along - 1], slice) else 0
            to, count = piece[(slice(None), *inside)], piece.shape[self._along]
            if self._extent > 1:
                axis = self._along - 1 + values.ndim - 3  # the last three are the patch
                to += values.narrow(axis, before, count)
            else:
                to += values

    def take(self, start: int, count: int, weights: _Sums, place: torch.Tensor, *, add: bool) -> None:
        """Write the quotient of complete planes to `place`, or add it, and begin anew."""
        for (before, piece), (_, weight) in zip(self._pieces(start, count), weights._pieces(start, count), strict=True):
            torch.div(piece, weight, out=piece)
            if torch.any(torch.isinf(piece)):
                raise RuntimeError(
                    "expected finite logits, got infinity: the network's output does not fit into half precision"
                )
            to = place.narrow(self._along, before, piece.shape[self._along])
            if add:
                to += piece.to("cpu")
            else:
                to.copy_(piece)
            piece.zero_()

    def clear(self, start: int, count: int) -> None:
        """Begin anew."""
        for _, piece in self._pieces(start, count):
            piece.zero_()


_Held = list[tuple[Any, torch.Tensor]]  # where nnU-Net has the window, and its planes that are not complete


class _OrderedSums(_Sums):
    """Of planes that are complete, for an axis that is not nnU-Net's slowest.

    nnU-Net goes through all places of this axis before it moves on along those before: at one place of them (a column) all
    windows come, then all of the next column. So what a window has for planes that are not complete yet is held; later,
    each column's turn begins with what is held of it.
    """

    def __init__(self, passage: Passage, channels: int, device: torch.device) -> None:
        super().__init__(passage, channels, device)
        self._held: dict[tuple[int, ...], _Held] = {}
        self._turn: tuple[int, tuple[int, ...]] | None = None

    def add(self, values: torch.Tensor, slicer: Any, start: int, complete: int) -> None:
        """Add the part of complete planes, and hold the rest. Windows of a place come in nnU-Net's order."""
        column = tuple(at.start for at in slicer[1 : self._along])
        waiting = self._held.setdefault(column, [])
        if self._turn != (start, column):
            self._turn = (start, column)
            before = waiting.copy()
            waiting.clear()
            for place, rest in before:
                self._add(rest, place, start, complete, waiting)
            del before
        self._add(values, slicer, start, complete, waiting)

    def _add(
        self, values: torch.Tensor, slicer: Any, start: int, complete: int, waiting: list[tuple[Any, torch.Tensor]]
    ) -> None:
        axis = self._along - 1 + values.ndim - 3
        planes = values.shape[axis]
        count = min(planes, complete)
        inside = list(slicer)
        inside[self._along] = slice(None)
        for before, piece in self._pieces(start, count):
            to = piece[tuple(inside)]
            to += values.narrow(axis, before, piece.shape[self._along])
        if planes > count:
            rest = values.narrow(axis, count, planes - count)
            # A copy, so that the rest of the window can go; the weights are the same for all windows.
            waiting.append((slicer, rest.clone() if values.ndim > 3 else rest))


class _Waiting:
    """Planes on the CPU that are complete and not yet decided."""

    def __init__(self, passage: Passage, heads: int, folds: int, unpad: Sequence[slice], planes: Planes) -> None:
        shape = list(passage.shape)
        shape[passage.along] = passage.waiting(folds)
        self._along = passage.along + 1
        self._buffer = torch.empty((heads, *shape), dtype=torch.half)
        lower, upper, _ = unpad[passage.along].indices(passage.shape[passage.along])
        self._lower, self._upper = lower, upper
        across = [slice(None), *unpad]
        across[self._along] = slice(None)
        self._across = tuple(across)
        self._planes = planes
        self._first = 0  # plane of the padded image that the buffer begins with
        self._count = 0

    def place(self, count: int) -> torch.Tensor:
        """Where the next planes are to be written."""
        return self._buffer.narrow(self._along, self._count, count)

    def put(self, count: int, *, last: bool) -> None:
        """Planes were written; decide, unless they are too few to begin with."""
        self._count += count
        if self._count < PLANES_AT_ONCE + PLANES_BETWEEN and not last:
            return
        begin = max(self._first, self._lower)
        end = min(self._first + self._count, self._upper)
        needed = begin
        if end > begin:
            logits = self._buffer.narrow(self._along, begin - self._first, end - begin)[self._across]
            needed = self._planes.add(logits, begin - self._lower) + self._lower
        kept = max(0, self._first + self._count - max(needed, self._first))
        if kept:  # at most two planes, or few that were not enough to decide anything
            rest = self._buffer.narrow(self._along, self._count - kept, kept).clone()
            self._buffer.narrow(self._along, 0, kept).copy_(rest)
        self._first += self._count - kept
        self._count = kept
