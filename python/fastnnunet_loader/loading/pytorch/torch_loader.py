"""A loader with what PyTorch's has besides epochs: its arguments, batches on a device, pictures of batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ... import _core
from ...errors import BadCaseError, FastnnUNetError
from ...settings import parse_bytes
from ..reading.source import BatchKeys
from ..scripts.arguments import checked_classes, checked_epoch, make_sampling, per_case_values
from ..scripts.batches import B
from ..scripts.iterated import IteratedLoader
from ..scripts.ranks import require_seed
from .arguments import TorchKeywords, check_options
from .datasets import CachedDataset
from .devices import Arriving, Copies

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from ...preview.batches import Preview

__all__ = ["DatasetKeywords", "TorchLoader"]


class DatasetKeywords(TorchKeywords, total=False):
    """Keyword arguments of `from_dataset` that go on to `from_folder`, where they are explained."""

    transforms: Any
    oversample_foreground: float
    batches_per_epoch: int | None
    initial_patch_size: Sequence[int] | None
    probabilistic_oversampling: bool
    sampling_probabilities: Sequence[float] | None
    classes: Sequence[int | Sequence[int]] | None
    ignore_label: int | None
    per_case: Mapping[str, Any] | None
    case_key: str


@dataclass(frozen=True)
class OwnSampling:
    """Stands where PyTorch's loaders have a sampler, so that whoever would make another loader of it is told."""

    batch_size: int

    def __iter__(self) -> Iterator[int]:
        raise TypeError(
            "[sampler] expected a loader of torch.utils.data, got one of fastnnunet_loader, which draws patches itself; "
            "it is to be used as it is, and each rank has samples of its own already (with Accelerate, call prepare())"
        )


class TorchLoader(IteratedLoader[B]):
    """A loader whose batches may be on a device."""

    _copies: Copies | None = None
    _ahead: Arriving | FastnnUNetError | None = None
    """The next batch, which the core has given already; or its error, which is raised when its turn has come."""
    _generator: torch.Generator | None = None

    if TYPE_CHECKING:

        @classmethod
        def from_folder(cls, *args: Any, **kwargs: Any) -> Any:
            """Make batches from a folder; see `DataLoader.from_folder`."""

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        *,
        patch_size: Sequence[int],
        batch_size: int,
        cases: Sequence[str] | None = None,
        image_key: str = "image",
        label_key: str = "label",
        cache: str | os.PathLike[str] | None = None,
        cache_key: str | None = None,
        **options: Unpack[DatasetKeywords],
    ) -> Self:
        """Makes batches from a torch.utils.data.Dataset whose items are whole volumes, which are read once into a cache.

        Items are read one after the other by the thread that calls, since their code is Python's, before this returns; no more
        than one is in memory, and compressed it goes into a folder of `.b2nd` files. Items that are in the folder are not read
        again, also after an interruption. Only the first one is always read: if it has changed, or the data set's pickle or
        class, all are read anew, into another folder. What else an item depends on is not looked at, such as files that were
        changed: give another `cache_key` then, or delete the folder. Ranks share the work if they share the folder.

        Args:
            dataset: with a length and an item for each number: a dictionary with image and label under `image_key` and
                `label_key`, or (image, label), or an image. Shapes and types are those of `from_arrays`; labels may be whole
                numbers in floats. Other values of a dictionary are left out; `per_case` takes them.
            patch_size, batch_size: as `from_folder`.
            cases: names of the cases, in the order of the items; None for "item_0" and so on.
            image_key, label_key: names of image and label in an item, and in a batch.
            cache: the folder that has a folder for each data set; None for the user's folder of caches.
            cache_key: what tells this data set from others; None for a digest of its pickle and the code of its class.
            options: `transforms` and all others of `from_folder`, but for `labels` and `previous_stage`.

        Raises:
            ValueError: an argument is out of range, an item does not fit, or the data set cannot be pickled and has no
                `cache_key`; the item is named.
            TypeError: an argument that this loader does not have; regression targets are among them.
            StorageError: the cache cannot be made.
            FastnnUNetError: the data set's own code raised an error, which is the cause; the item is named.
            MemoryBudgetError: the given budget does not hold an item; or as `from_folder`.
            BadCaseError, ResourceError: as `from_folder`.
        """
        given = check_options(options, DatasetKeywords.__optional_keys__)
        require_seed(given)
        items = len(dataset) if hasattr(dataset, "__len__") else 1
        make_sampling(
            patch_size,
            batch_size,
            options.get("transforms"),
            options.get("oversample_foreground", 0.33),
            options.get("ignore_label"),
            items,
            initial_patch_size=options.get("initial_patch_size"),
            probabilistic_oversampling=options.get("probabilistic_oversampling", False),
            sampling_probabilities=options.get("sampling_probabilities"),
        )
        checked_classes(options.get("classes"))
        checked_epoch(options.get("batches_per_epoch"))
        budget = given.get("memory_budget")
        cached = CachedDataset(
            dataset,
            names=cases,
            patch_size=patch_size,
            image_key=image_key,
            label_key=label_key,
            cache=cache,
            cache_key=cache_key,
            memory_budget=None if budget is None else parse_bytes(budget),
            threads=given.get("threads"),
        )
        keys = BatchKeys(image_key, label_key, options.get("case_key", "case"))
        per_case_values(options.get("per_case") or {}, cached.names, keys, targets=False)
        folder = cached.make()
        made: Self = cls.from_folder(
            folder,
            patch_size=patch_size,
            batch_size=batch_size,
            cases=cached.names,
            image_key=image_key,
            label_key=label_key,
            **options,
        )
        return made

    def _send(self, device: torch.device) -> None:
        self._copies = None if device.type == "cpu" else Copies(device)

    @property
    def device(self) -> torch.device:
        """Where batches are."""
        return torch.device("cpu") if self._copies is None else self._copies.device

    @property
    def generator(self) -> torch.Generator | None:
        """What the seed was drawn from, if it was given."""
        return self._generator

    @property
    def prefetch_factor(self) -> None:
        """None, as of a loader without worker processes."""
        return None

    @property
    def sampler(self) -> OwnSampling:
        """Says that cases and patches are drawn by the loader; there are no indices to go through, and none to put in place."""
        return OwnSampling(self.batch_size)

    @property
    def batch_sampler(self) -> OwnSampling:
        """As `sampler`."""
        return self.sampler

    def _given(self, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The next batch on the device. If the batch after it is ready, its copy begins."""
        if self._copies is None:
            return make()
        self._opened()
        arriving = self._ahead if self._ahead is not None else self._copies.start(make())
        self._ahead = None
        if isinstance(arriving, FastnnUNetError):
            raise arriving
        if self._next_is_ready():
            try:
                self._ahead = self._copies.start(make())
            except FastnnUNetError as error:
                self._ahead = error
            except BaseException:  # Ctrl-C: this batch is still the next
                self._ahead = arriving
                raise
        return self._copies.arrive(arriving)

    def _next_is_ready(self) -> bool:
        """Whether the core can give its next batch at once."""
        step, _, ready, _, _, threads = self._opened().activity()
        return ready > 0 and all(thread[1] != step for thread in threads)

    @property
    def step(self) -> int:
        """The number of the next batch, counted from 0."""
        return super().step - (self._ahead is not None)

    def _state(self, core: _core.Loader) -> dict[str, Any]:
        state = super()._state(core)
        state["step"] -= self._ahead is not None
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state; see `IteratedLoader.load_state_dict`."""
        super().load_state_dict(state)
        self._ahead = None

    def reopen(self, *, role: int, memory_budget: int) -> None:
        """Continue after `close()`, or with other settings. Another role gives other batches; the step stays."""
        super().reopen(role=role, memory_budget=memory_budget)
        self._ahead = None

    def close(self) -> None:
        """Stop the threads' work on this loader and free its memory. Batches that were returned stay valid."""
        super().close()
        self._ahead = None

    def preview(self, batches: int = 1) -> Preview:
        """Draws the next batches: images with outlines of their labels, through the slices with the most labelled voxels.

        They are made for the picture alone: the loader still gives them, and nothing after them changes. In 3D there are three
        slices of each sample; where there are no labels they are the middle ones. Pictures need matplotlib.

        Args:
            batches: how many.

        Returns:
            What a notebook shows as a picture; `.save("file.png")` writes it.

        Raises:
            ValueError: `batches` is no number above 0, or more than a picture has room for.
            ModuleNotFoundError: matplotlib is not installed.
            SampleError, LoaderClosedError: as `sample`.
        """
        from ...preview.batches import draw_batches

        if isinstance(batches, bool) or not isinstance(batches, int) or batches < 1:
            raise ValueError(f"[batches] expected a whole number above 0, got {batches!r}")
        first = self.step
        keys = self._source.keys
        return draw_batches(
            (
                (step, slot, self._shown(step, slot))
                for step in range(first, first + batches)
                for slot in range(self.batch_size)
            ),
            image_key=keys.image,
            label_key=keys.label,
            case_key="key" if keys.case == "keys" else keys.case,
            title=repr(self),
        )

    def _shown(self, step: int, slot: int) -> dict[str, Any]:
        """The sample that a batch will have: where bad cases are skipped, that of the first attempt with a good one."""
        attempt = 0
        while True:
            try:
                return self.sample(step, slot, attempt)
            except BadCaseError:
                attempt += 1
                if self.on_bad_case != "skip" or attempt > 1000:
                    raise
