"""The memory that a case needs at most, and the budget that all cases in progress share."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...settings import in_units
from ..images import Header
from ..preprocessing.shapes import new_shape
from ..sliding_window.passage import plan_passage, whole_bytes

__all__ = ["Budget", "Need", "device_room", "estimate"]

NETWORK_ON_CPU = 64 * 2**20
"""Bytes that torch needs for its threads and kernels, whatever the size of the image."""


@dataclass(frozen=True)
class Need:
    """Peak memory of each stage of a case in bytes, including what it keeps from the stage before."""

    preprocess: int
    predict: int
    export: int

    @property
    def most(self) -> int:
        """Peak memory of all stages."""
        return max(self.preprocess, self.predict, self.export)

    def beyond(self, limit: int) -> str | None:
        """Return why not even this case alone fits, or None."""
        if self.most <= limit:
            return None
        return f"expected a memory budget of at least {in_units(self.most)}, got {in_units(limit)}"

    @property
    def after_preprocessing(self) -> int:
        """Peak memory of the stages after preprocessing."""
        return max(self.predict, self.export)


def estimate(
    header: Header,
    channels: int,
    plans: Any,
    configuration: Any,
    labels: Any,
    *,
    folds: int = 1,
    on_cpu: bool = True,
    save_probabilities: bool = False,
    native_preprocessing: bool = True,
    native_export: bool = True,
    tile_step_size: float | None = None,
) -> Need:
    """Estimate from a header and the plan how much memory a case needs at most. Cropping is assumed to remove nothing.

    channels: number of channels of the image, without those of a previous stage. on_cpu: whether the network runs on the CPU.
    tile_step_size: step of the sliding window if labels are decided plane by plane; None if the logits of the whole image are
    made.
    """
    forward = plans.transpose_forward
    shape = [header.shape[axis] for axis in forward]
    spacing = [header.spacing[axis] for axis in forward]
    target = list(configuration.spacing)
    target = [spacing[0], *target] if len(target) < 3 else target
    resized_to = new_shape(shape, spacing, target)
    patch = [1] * (3 - len(configuration.patch_size)) + [int(n) for n in configuration.patch_size]
    before, after = math.prod(shape), math.prod(resized_to)
    padded = math.prod(max(n, p) for n, p in zip(resized_to, patch, strict=True))
    heads = int(labels.num_segmentation_heads)
    hot = len(labels.foreground_labels) if configuration.previous_stage_name is not None else 0

    # All channels as they are read and in float32, and beside them one file's image in the library that reads it.
    read = before * channels * (header.itemsize + 4) + before * header.itemsize * header.channels
    # From Python 3.12 on, gzip unpacks 128 KiB of a file at once and holds the result twice: that may be the whole image.
    read = max(read, before * header.itemsize * (channels + 2))
    cropped = before * channels * 8 + before * 12
    work = 8 * max(before, after) if native_preprocessing else 8 * before * channels + 32 * after
    resized = 4 * before * channels + 4 * after * channels + work
    # The previous stage as read and transposed, and resized; the network's input has the image and the labels in one array.
    previous = 8 * before + 4 * after * (1 + channels + hot) if hot else 0
    preprocess = max(read, cropped, resized) + previous

    logits = heads * padded * 2
    kept, decided = whole_bytes([max(n, p) for n, p in zip(resized_to, patch, strict=True)], heads, folds), 0
    if tile_step_size is not None:
        passage = plan_passage(resized_to, configuration.patch_size, tile_step_size)
        if (streamed := passage.bytes(heads, folds)) < kept:
            kept, logits, decided = streamed, 0, before * (1 if heads < 255 else 2)
            decided += 4 * heads * before if save_probabilities else 0
    predict = 8 * padded * (channels + hot) + kept + decided
    if on_cpu:
        predict += NETWORK_ON_CPU + 24 * math.prod(patch) * _first_features(configuration)

    export = logits + 6 * before
    if not native_export:
        export += heads * (8 * after + 4 * before) + 48 * before
        export += 8 * heads * before if save_probabilities or labels.has_regions else 0
    if save_probabilities:
        export += 4 * heads * before
    return Need(preprocess, predict, export)


def _first_features(configuration: Any) -> int:
    features = configuration.network_arch_init_kwargs.get("features_per_stage", 32)
    return int(features[0] if isinstance(features, Sequence) else features)


class Budget:
    """Memory in bytes that cases reserve. A case reserves once, before its first stage, and later only gives back.

    A case that has been admitted never waits again, so cases cannot wait for each other in a circle.

    given: whether the user has set the limit. A case that needs more by itself is then refused; otherwise it starts when no
    other case is in progress.
    """

    def __init__(self, limit: int, given: bool = True) -> None:
        self.limit = limit
        self.given = given
        self._changed = threading.Condition()
        self._reserved: dict[int, int] = {}

    @property
    def reserved(self) -> int:
        """Bytes that all cases have reserved."""
        with self._changed:
            return sum(self._reserved.values())

    def refuses(self, need: Need) -> str | None:
        """Return why a case can never be admitted, or None."""
        return need.beyond(self.limit) if self.given else None

    def warning(self, need: Need) -> str | None:
        """Return a warning if a case is admitted although it needs more than the limit, or None."""
        if self.given or need.most <= self.limit:
            return None
        return (
            f"needs about {in_units(need.most)}, more than the {in_units(self.limit)} for all cases in progress: it is "
            "predicted alone. If the process is killed, the machine or the job does not have enough memory for this case"
        )

    def reserve(self, key: int, need: int | None, stopped: Callable[[], bool]) -> bool:
        """Wait until a case fits, and reserve its memory; return False if `stopped` says so first.

        A case that needs more than the limit, or an unknown amount (None), starts when no other case is in progress, and the
        others wait for it.
        """
        alone = need is None or need > self.limit
        wanted = self.limit if need is None else min(need, self.limit)
        with self._changed:
            while not stopped():
                if not self._reserved or (not alone and sum(self._reserved.values()) + wanted <= self.limit):
                    self._reserved[key] = wanted
                    return True
                self._changed.wait(0.1)
        return False

    def keep(self, key: int, need: int) -> None:
        """Give back all but `need`, the bytes that the remaining stages need."""
        with self._changed:
            if key in self._reserved:
                self._reserved[key] = min(self._reserved[key], need)
                self._changed.notify_all()

    def release(self, key: int) -> None:
        """Give back everything."""
        with self._changed:
            self._reserved.pop(key, None)
            self._changed.notify_all()


def device_room(device: torch.device) -> int | None:
    """Return the free bytes of a CUDA device, including what torch has cached; None for other devices, which do not tell."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
