"""The data loader: nnU-Net's batches, made by threads of this process."""

from __future__ import annotations

import logging
import math
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy.typing as npt
import torch

from ..errors import SampleError
from ..sample_id import role_number
from ..settings import COUNT, MAX_SKIPPED, PATIENCE, SEED, STALL_AFTER, LoaderSettings, parse_bytes
from ..system import Memory, available_cores, default_budget, default_threads, memory, numbers_of_threads
from . import torch_memory
from .opened import dump
from .pytorch.arguments import loader_options
from .pytorch.devices import device_of
from .pytorch.torch_loader import TorchLoader
from .reading.cases import read_off
from .reading.patches import Patch
from .reading.source import BatchKeys, Source
from .sample_lines import Origin
from .scripts.arrays import array_source
from .scripts.batches import B, Batch
from .scripts.folder import folder_source
from .scripts.ranks import of_this_rank
from .state import BadCase
from .statistics import LoaderStats
from .tensors import as_tensor

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .pytorch.arguments import TorchKeywords

__all__ = [
    "BadCase",
    "Batch",
    "DataLoader",
    "LoaderStats",
    "Memory",
    "Patch",
    "available_cores",
    "default_threads",
    "dump",
    "memory",
]

_log = logging.getLogger("fastnnunet_loader")


def draw_seed() -> int:
    """Draw a seed at random, from 0 to 2**63 - 1."""
    return secrets.randbits(63)


class DataLoader(TorchLoader[B]):
    """Batches of patches from preprocessed cases, made by threads of this process.

    `from_nnunet`, `from_folder`, `from_arrays` and `from_dataset` make one. It is a context manager and an iterator without
    end; with a length, `for batch in loader` gives the batches of one epoch. Every sample is a function of (seed, role, step,
    slot); ranks that do not share batches have random numbers of their own. `close()` stops the work of its threads and frees
    its memory.
    """

    @classmethod
    def from_nnunet(
        cls,
        data_loader: Any,
        *,
        threads: int | None = None,
        most_threads: int | None = None,
        seed: int | None = None,
        rank: int = 0,
        role: str | int = "train",
        memory_budget: int | str | None = None,
        on_bad_case: Literal["raise", "skip"] = "raise",
        max_skipped: float = MAX_SKIPPED,
        patience: float = PATIENCE,
        pin_memory: bool | None = None,
        prefetch: int | None = None,
        check_finite: bool = False,
        keep_blocks: bool = True,
        budget_binds: bool | None = None,
        unrestricted_pickles: bool = False,
        stall_after: float = STALL_AFTER,
        abort_after: float | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        cache_size: int | str | None = None,
        origin: Origin | None = None,
        report: Callable[[str], None] = _log.warning,
    ) -> DataLoader[B]:
        """Makes the batches of an nnUNetDataLoader: its cases, patches, oversampling and transforms.

        Args:
            data_loader: nnU-Net's nnUNetDataLoader. It is only read.
            threads: number of threads that make samples; None for `default_threads()`. Loaders with the same numbers share.
            most_threads: as many as may be added while the training waits; None for none if `threads` are given, else for one
                less than the cores, at most 32.
            seed: of all random numbers, below 2**64; None to draw one, which is then in `.seed`.
            rank: of torch.distributed. Ranks have disjoint random streams.
            role: "train", "val", or a number from 2 on. Loaders of one run with different roles have disjoint streams.
            memory_budget: in bytes, or as text such as "4GB"; None for a quarter of the free memory, at most 16 GiB.
            on_bad_case: "raise", or "skip" to skip cases whose files are bad.
            max_skipped: largest share of cases to skip, rounded down, or one case; more raise a SampleError that lists them.
            patience: seconds for which reading is retried if a disk or file server does not answer (EIO, ESTALE, ETIMEDOUT
                and similar errors), or if a file disappeared; 0 gives up at once. The wait is reported as a stall.
            pin_memory: whether batches are in pinned memory; None pins them if there is an accelerator.
            prefetch: largest number of prefetched batches; None chooses it by threads and batch size. At first as many are
                prefetched as keep the threads busy, and one more whenever the training waited while a thread was idle.
            check_finite: treat cases with NaN or infinite voxels as bad cases.
            keep_blocks: keep blocks of the files decompressed as far as the budget allows; batches are the same.
            budget_binds: whether a budget that is too small is an error, or is exceeded and reported; None: an error if given.
            unrestricted_pickles: read properties (`CASE.pkl`) with Python's own unpickler, which runs any code in the file.
                By default, a case whose properties hold anything that nnU-Net does not write is a bad case.
            stall_after: seconds after which a slow batch is reported once, with what each thread is doing.
            abort_after: seconds after which a slow batch raises a StallError; None waits.
            cache_dir: folder on a disk of this machine for copies of the cases (docs/storage.md); None reads them in place.
            cache_size: largest size of all copies, in bytes or as text such as "200GiB"; None for nine tenths of the free disk.
            origin: the training that the loader belongs to. Errors then print the line of code that makes a sample again.
            report: takes messages while batches are made, such as reports of stalls.

        Raises:
            NotSupportedError: the loader or its data set has code of its own, in its class, its object or their modules,
                which native code would replace.
            BadCaseError: the first case cannot be read; with "skip", no case can.
            MemoryBudgetError: the given budget does not hold two batches and the threads' working memory.
            ResourceError: the system does not give the process so many threads.
            ValueError: an argument is out of range.
        """
        for name, value in {"threads": threads, "most_threads": most_threads, "prefetch": prefetch, "seed": seed}.items():
            if value is not None:
                (SEED if name == "seed" else COUNT).check(name, value)
        source = data_loader if isinstance(data_loader, Source) else read_off(data_loader)
        threads, most_threads = numbers_of_threads(threads, most_threads)
        if memory_budget is None:
            memory_budget, budget_binds = default_budget() // 2, bool(budget_binds)
        if prefetch is None:
            prefetch = math.ceil(most_threads / source.sampling["batch_size"]) + 2
        settings = LoaderSettings(
            threads=threads,
            seed=draw_seed() if seed is None else int(seed),
            memory_budget=memory_budget,
            on_bad_case=on_bad_case,
            max_skipped=max_skipped,
            patience=patience,
            check_finite=check_finite,
            unrestricted_pickles=unrestricted_pickles,
            stall_after=stall_after,
            abort_after=abort_after,
            cache_dir=cache_dir,
            cache_size=cache_size,
        )
        return cls(
            source,
            settings,
            memory_budget=parse_bytes(memory_budget),
            budget_binds=budget_binds is None or budget_binds,
            rank=int(rank),
            role=role_number(role),
            pin_memory=bool(torch_memory.is_pinned(pin_memory)),
            prefetch=int(prefetch),
            most_threads=most_threads,
            keep_blocks=keep_blocks,
            origin=origin,
            report=report,
        )

    @classmethod
    def from_folder(
        cls,
        folder: str | os.PathLike[str],
        *,
        patch_size: Sequence[int],
        batch_size: int,
        transforms: Any = None,
        cases: Sequence[str] | None = None,
        oversample_foreground: float = 0.33,
        batches_per_epoch: int | None = None,
        initial_patch_size: Sequence[int] | None = None,
        probabilistic_oversampling: bool = False,
        sampling_probabilities: Sequence[float] | None = None,
        labels: bool | None = None,
        targets: bool = False,
        classes: Sequence[int | Sequence[int]] | None = None,
        ignore_label: int | None = None,
        previous_stage: str | os.PathLike[str] | None = None,
        per_case: Mapping[str, Any] | None = None,
        image_key: str = "image",
        label_key: str = "label",
        target_key: str = "target",
        case_key: str = "case",
        cache: str | os.PathLike[str] | None = None,
        **options: Unpack[TorchKeywords],
    ) -> DataLoader[B]:
        """Makes batches from a folder of preprocessed cases, for any training script; nnU-Net is not needed.

        A case is CASE.b2nd with CASE_seg.b2nd, CASE.npy with CASE_seg.npy, or CASE.npz with the arrays 'data' and 'seg'. Images
        are (C, X, Y, Z), labels (1, X, Y, Z); 2D images are (C, 1, Y, Z). Regression targets are CASE_target.b2nd or .npy, or
        the array 'target', of shape (C", X, Y, Z).

        Args:
            folder: with the cases. Nothing in it is changed but for a folder `class_locations`, see `cache`. It may be an
                address that fsspec reads, such as "s3://bucket/folder", with a `cache_dir`.
            patch_size: what the network gets, in voxels: (X, Y, Z), or (Y, Z) for slices along X.
            batch_size: samples in a batch.
            transforms: what `fl.augmentation.nnunet` or `.none` returns, a tree of batchgeneratorsv2's transforms, or None.
                With None, labels are -1 where a patch reaches beyond its image; the loss has to ignore that.
            cases: names of the cases, in this order; None for all, sorted by name.
            oversample_foreground: share of the samples, the last ones of each batch, whose patch is centred on a voxel of a
                class.
            batches_per_epoch: the length of the loader; None for batches without end.
            initial_patch_size: what is cut out of an image and given to the transforms, in voxels; None takes what
                `transforms` needs to fill `patch_size` when they turn and scale it.
            probabilistic_oversampling: choose the samples with foreground at random, each with that probability.
            sampling_probabilities: of each case; None for all alike.
            labels: whether there are labels; None looks. Without labels, batches have images only, and no foreground is
                oversampled.
            targets: whether each case has a regression target, such as a dose or a distance. It is turned, scaled, mirrored and
                interpolated as the image is, padded as it is, and left alone otherwise, as batchgeneratorsv2 does with
                'regression_target', which is its name in the dictionary of transforms in Python. Batches have it as float32
                (B, C", X, Y, Z).
            classes: labels, or tuples of labels for regions, that count as foreground; None for nnU-Net's `class_locations` of
                `CASE.pkl`, or for all labels above 0 where there is no such file.
            ignore_label: the label of voxels without annotation. Patches are then centred on others.
            previous_stage: a folder, or an address, with a segmentation of each case, CASE.b2nd, .npy or .npz, that becomes the
                last channel of the labels.
            per_case: under names of your own, a number, an array or a text for each case, in the order of `cases` or by name.
                A batch has those of its cases under that name.
            image_key, label_key, target_key, case_key: names of image, label, regression target and case in a batch.
            cache: where class locations are kept that were found in labels; None for `folder`, or for the user's folder of
                caches if `folder` is read-only.
            options: threads, seed and all others of `from_nnunet`; `to`, a device that batches are copied to ahead; the
                arguments of PyTorch's loader that docs/without_nnunet.md lists, such as `generator`, which the seed is drawn
                from. A process alone without `seed` draws one from torch's default generator; for several ranks one is drawn,
                if torch.distributed is initialized. `rank` and `ranks` are those of torch.distributed or torchrun: each rank
                makes `batch_size` samples of a batch of all, rank r those from slot r * batch_size on, and takes its share of
                the cores and the memory. All samples of a step together are those of one process with `batch_size` times
                `ranks`. `ranks=1` makes a loader for one rank alone, such as validation on rank 0.

        Raises:
            ValueError: an argument is out of range, or several ranks have no seed in common.
            TypeError: an argument that this loader does not have.
            ModuleNotFoundError: the folder is at an address, and fsspec or what it needs for that is not installed.
            NotSupportedError: there are targets, and a transform in Python would leave them where they are.
            StorageError: there is no such folder, or it has no cases.
            BadCaseError, MemoryBudgetError, ResourceError: as `from_nnunet`.
        """
        source = folder_source(
            folder,
            patch_size=patch_size,
            batch_size=batch_size,
            transforms=transforms,
            cases=cases,
            labels=labels,
            targets=targets,
            classes=classes,
            ignore_label=ignore_label,
            previous_stage=previous_stage,
            cache=cache,
            oversample_foreground=oversample_foreground,
            keys=BatchKeys(image_key, label_key, case_key, target_key),
            per_case=per_case or {},
            batches_per_epoch=batches_per_epoch,
            initial_patch_size=initial_patch_size,
            probabilistic_oversampling=probabilistic_oversampling,
            sampling_probabilities=sampling_probabilities,
        )
        return cls._of_script(source, options)

    @classmethod
    def from_arrays(
        cls,
        images: Sequence[Any] | Mapping[str, Any],
        labels: Sequence[Any] | Mapping[str, Any] | None = None,
        targets: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        patch_size: Sequence[int],
        batch_size: int,
        transforms: Any = None,
        cases: Sequence[str] | None = None,
        oversample_foreground: float = 0.33,
        batches_per_epoch: int | None = None,
        initial_patch_size: Sequence[int] | None = None,
        probabilistic_oversampling: bool = False,
        sampling_probabilities: Sequence[float] | None = None,
        classes: Sequence[int | Sequence[int]] | None = None,
        ignore_label: int | None = None,
        per_case: Mapping[str, Any] | None = None,
        image_key: str = "image",
        label_key: str = "label",
        target_key: str = "target",
        case_key: str = "case",
        **options: Unpack[TorchKeywords],
    ) -> DataLoader[B]:
        """Makes batches from volumes in memory, which are not copied. They must not be changed while the loader is open.

        Args:
            images: an array of NumPy or a tensor of the CPU for each case, of shape (C, X, Y, Z), or (C, Y, Z) where
                `patch_size` has two numbers; without C it has one channel. A dictionary has the names of cases as keys.
            labels: whole numbers for each case, in the order of the images or by name: the image's shape without channels, or
                (C', X, Y, Z) or (C', Y, Z). None for images without labels.
            targets: a regression target for each case, numbers of any type: the image's shape without channels, or
                (C", X, Y, Z) or (C", Y, Z). What becomes of it: as `from_folder`.
            patch_size, batch_size, transforms, oversample_foreground, batches_per_epoch, initial_patch_size: as `from_folder`.
            probabilistic_oversampling, sampling_probabilities, classes, ignore_label, per_case: as `from_folder`.
            image_key, label_key, target_key, case_key, options: as `from_folder`.
            cases: names of the cases; None for the keys of `images`, or "case_0" and so on.

        Raises:
            ValueError: an argument is out of range, or an array does not fit; the case is named.
            MemoryBudgetError, ResourceError: as `from_nnunet`.
        """
        source = array_source(
            images,
            labels,
            targets,
            patch_size=patch_size,
            batch_size=batch_size,
            transforms=transforms,
            cases=cases,
            classes=classes,
            ignore_label=ignore_label,
            oversample_foreground=oversample_foreground,
            keys=BatchKeys(image_key, label_key, case_key, target_key),
            per_case=per_case or {},
            batches_per_epoch=batches_per_epoch,
            initial_patch_size=initial_patch_size,
            probabilistic_oversampling=probabilistic_oversampling,
            sampling_probabilities=sampling_probabilities,
        )
        return cls._of_script(source, options)

    @classmethod
    def _of_script(cls, source: Source, options: TorchKeywords) -> DataLoader[B]:
        device = device_of(options.get("to"))
        share, of_nnunet = of_this_rank(loader_options(options))
        loader = cls.from_nnunet(replace(source, share=share), **of_nnunet)
        loader._generator = options.get("generator")
        loader._send(device)
        return loader

    def __next__(self) -> B:
        """The next batch: 'data' (B, C, X, Y, Z) float32, 'target' int16 or bool (B, R, X, Y, Z) or a list of them for deep
        supervision, and 'keys', the case of each sample. 2D batches have no X. The names are those of nnU-Net; `from_folder`
        has others. The memory of a batch is reused only when its last tensor is gone.

        Raises:
            BadCaseError: a case cannot be read, and on_bad_case is "raise".
            SampleError: a sample failed for another reason, which is the cause; the next call returns the next batch. Or more
                cases are bad than `max_skipped` allows.
            MemoryBudgetError: the caller keeps references to as many batches as the budget allows.
            StallError: the batch has taken longer than `abort_after`. The next call waits for the same batch.
            LoaderClosedError: the loader was closed, or made before a fork.
        """
        return cast(B, self._given(self._made))

    def _made(self) -> dict[str, Any]:
        core = self._opened()
        try:
            data, targets, moved, numbers, _ = core.next(self._stalls.first_look, self._report_stall)
        except SampleError as error:
            self._add_reproduction(error)
            raise
        if self.on_bad_case == "skip":
            self._report_bad_cases()
        keys = self._source.keys
        batch: dict[str, Any] = {keys.image: self._tensor(data)}
        if tensors := [self._tensor(target) for target in targets]:
            batch[keys.label] = tensors if core.target_is_list else tensors[0]
        if moved is not None:
            batch[keys.target] = self._tensor(moved)
        batch[keys.case] = [self._names[number] for number in numbers]
        for name, values in self._source.per_case.items():
            batch[name] = values[numbers] if isinstance(values, torch.Tensor) else [values[number] for number in numbers]
        return batch

    def _tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return as_tensor(array, self._memory)

    def _report_bad_cases(self) -> None:
        for bad in self.bad_cases:
            if bad.name not in self._reported:
                self._reported.add(bad.name)
                _log.warning(
                    "skipping case %s: [%s] %s (found at step %d)\n%s",
                    *(bad.name, bad.file, bad.reason, bad.step, self.reproduction(bad)),
                )

    def __enter__(self) -> DataLoader[B]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
