"""The arguments of torch.utils.data.DataLoader: which of them mean something here, and what takes the place of the others."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

import torch

from ..scripts.options import ScriptKeywords
from ..scripts.ranks import of_the_job, require_same_draw
from .devices import device_of

__all__ = ["TorchKeywords", "check_options", "loader_options"]


class TorchKeywords(ScriptKeywords, total=False):
    """Keyword arguments of the loaders of scripts: those of `from_nnunet`, and those of PyTorch's loader.

    docs/without_nnunet.md has a table of PyTorch's.
    """

    to: torch.device | str | int | None
    generator: torch.Generator | None
    num_workers: int
    shuffle: bool | None
    drop_last: bool
    timeout: float
    persistent_workers: bool
    in_order: bool
    sampler: None
    batch_sampler: None
    collate_fn: None
    worker_init_fn: None
    multiprocessing_context: None
    prefetch_factor: None
    pin_memory_device: str


_OF_LOADERS = ("origin", "report")  # of `from_nnunet`, for tools
_WHOLE_CASES = "loader.dataset goes through whole cases in order"
# Arguments that nothing here corresponds to, but for the values that PyTorch has as defaults: what to use instead.
_INSTEAD: dict[str, tuple[Callable[[Any], bool], str]] = {
    "shuffle": (
        lambda value: value is None or value is True,
        f"cases and patches are drawn at random, the same ones for the same seed=; {_WHOLE_CASES}",
    ),
    "drop_last": (lambda value: isinstance(value, bool), "every batch is complete, so both values mean the same"),
    "persistent_workers": (lambda value: value is True, "threads go on from one epoch to the next, and close() ends them"),
    "in_order": (lambda value: value is True, "batches come in order, whichever thread makes them"),
    "sampler": (
        lambda value: value is None,
        f"sampling_probabilities= has a weight for each case, and cases= chooses among them; {_WHOLE_CASES}",
    ),
    "batch_sampler": (
        lambda value: value is None,
        "batch_size= and oversample_foreground= say what a batch has, sampling_probabilities= a weight for each case",
    ),
    "collate_fn": (
        lambda value: value is None,
        "batches are made in place, so there is nothing to collate; call the function on each batch: map(function, loader)",
    ),
    "worker_init_fn": (
        lambda value: value is None,
        "there are no worker processes; random numbers of transforms are from seed=, whichever thread runs them",
    ),
    "multiprocessing_context": (lambda value: value is None, "there are no worker processes; threads= is their number"),
    "prefetch_factor": (
        lambda value: value is None,
        "prefetch= is the largest number of batches that all threads together prefetch",
    ),
    "pin_memory_device": (lambda value: value == "", "to= is the device that batches are copied to"),
}


def loader_options(options: TorchKeywords) -> ScriptKeywords:
    """Return the options of `from_nnunet` that PyTorch's arguments stand for; `to` is left out.

    Without a seed, one is drawn from the generator, or, by a process alone, from torch's default one, as PyTorch's loader does.

    Raises:
        ValueError: an argument that means nothing here, or two that say the same; or generators of ranks that differ.
        TypeError: an argument that no loader has.
    """
    made = check_options(options)
    generator = made.pop("generator", None)
    if made.get("seed") is None and (generator is not None or not _one_of_several(made)):
        seed = _drawn(generator)
        if generator is not None:
            require_same_draw(seed, {**made, "generator": generator})
        made["seed"] = seed
    return cast(ScriptKeywords, made)


def check_options(options: TorchKeywords, known: Collection[str] = TorchKeywords.__optional_keys__) -> dict[str, Any]:
    """Return what `loader_options` does, with the generator that a seed will be drawn from; or raise its ValueError."""
    made = cast("dict[str, Any]", {**options})
    if unknown := [name for name in made if name not in (*known, *_OF_LOADERS)]:
        likely = difflib.get_close_matches(unknown[0], known, 1)
        raise TypeError(
            f"[{unknown[0]}] expected an argument of this loader, got one that it does not have"
            + (f"; is it {likely[0]}?" if likely else "")
        )
    device_of(made.pop("to", None))
    for name, (fits, instead) in _INSTEAD.items():
        if name in made and not fits(value := made.pop(name)):
            accepted = {"shuffle": "True or None", "drop_last": "True or False", "pin_memory_device": "''"}.get(name)
            accepted = accepted or ("True" if name in ("persistent_workers", "in_order") else "None")
            raise ValueError(f"[{name}] expected {accepted}, got {value!r}: {instead}")
    _synonym(made, "num_workers", "threads", _threads)
    _synonym(made, "timeout", "abort_after", _abort_after)
    generator = made.get("generator")
    if generator is not None and not isinstance(generator, torch.Generator):
        raise ValueError(f"[generator] expected a torch.Generator or None, got {type(generator).__name__}")
    if generator is not None and made.get("seed") is not None:
        raise ValueError(f"[generator] expected either a generator or a seed, got both (seed={made['seed']})")
    return made


def _synonym(made: dict[str, Any], name: str, ours: str, meaning: Callable[[Any], Any]) -> None:
    if name not in made:
        return
    value = made.pop(name)
    if made.get(ours) is not None:
        raise ValueError(f"[{name}] expected either {name} or {ours}, which mean the same, got both")
    made[ours] = meaning(value)


def _threads(workers: Any) -> int:
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 0:
        raise ValueError(f"[num_workers] expected a whole number from 0 on, got {workers!r}")
    return max(workers, 1)  # batches are never made by the thread that trains


def _abort_after(timeout: Any) -> float | None:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout >= 0:
        raise ValueError(f"[timeout] expected seconds from 0 on, got {timeout!r}")
    return float(timeout) or None


def _drawn(generator: torch.Generator | None) -> int:
    device = "cpu" if generator is None else generator.device
    return int(torch.empty((), dtype=torch.int64, device=device).random_(generator=generator).item())


def _one_of_several(options: Mapping[str, Any]) -> bool:
    """Whether there are other ranks, whose default generators may be in other states."""
    ranks = options.get("ranks")
    return bool((of_the_job() or (0, 1))[1] > 1 if ranks is None else ranks > 1)
