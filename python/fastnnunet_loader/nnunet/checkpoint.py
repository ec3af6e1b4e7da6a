"""The loaders' state in nnU-Net's checkpoints, which are written whole or not at all."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .distributed.launch import training_agents
from .distributed.ranks import of_ranks, publish, rank, ranks
from .replacing.patches import Patches
from .runs import Run

if TYPE_CHECKING:
    from ..loading.loader import DataLoader

__all__ = [
    "KEY",
    "agents_of",
    "follows",
    "number_of_ranks",
    "patch_torch",
    "reading",
    "state_for",
    "state_of",
    "writing",
]

KEY = "fastnnunet_loader"
"""Of the loaders' state in a checkpoint. nnU-Net ignores it."""

_VERSION = 2
"""Of the state. Version 1, or none: ranks had batches of their own. Version 2: they make each batch together."""

_here = threading.local()  # .writing, .reading: of the thread whose checkpoint it is; other threads save and load as always


def state_for(run: Run) -> dict[str, Any]:
    """Return what a checkpoint that is saved now has to hold: plain numbers and strings."""
    if not run.augmenters and run.closed is None and run.pending is not None:
        return run.pending  # it was loaded, and nothing has been trained since
    state: dict[str, Any] = {
        "version": _VERSION,
        "loaders": run.states(),
        "seed": run.seed,
        "number_of_ranks": ranks(),
    }
    if agents := training_agents():
        state["agents"] = agents
    others = {str(number): told for number, told in of_ranks().items()}
    if others:
        state["ranks"] = others
    return state


def tell_other_ranks(run: Run) -> None:
    """Let rank 0, which saves the checkpoints, know the bad cases of this rank."""
    if ranks() > 1:
        states = {str(augmenter.loader.role): augmenter.state_dict() for augmenter in run.augmenters}
        excluded, skipped = ({role: state[key] for role, state in states.items()} for key in ("excluded", "skipped"))
        publish({"seed": run.seed, "excluded": excluded, "skipped": skipped})


def number_of_ranks(pending: dict[str, Any]) -> int:
    """Return by how many ranks a checkpoint was saved."""
    return int(pending.get("number_of_ranks", ranks()))


def state_of(pending: dict[str, Any], role: int, fingerprint: str) -> dict[str, Any] | None:
    """Return the state of one loader of this rank in what a checkpoint has, or None where it has none."""
    found: dict[str, Any] | None = next((state for state in pending["loaders"] if state["role"] == role), None)
    if found is None:
        return None
    others = pending.get("ranks", {})
    if number_of_ranks(pending) != ranks():
        # A case that one rank found to be bad is bad for all.
        excluded, skipped = dict(found["excluded"]), dict(found.get("skipped", {}))  # older checkpoints tell less
        for told in others.values():
            details = told.get("skipped", {}).get(str(role), {})
            for case, step in told["excluded"].get(str(role), {}).items():
                if step < excluded.get(case, step + 1):  # who found it first knows why
                    excluded[case], skipped[case] = step, details.get(case, {})
        return {**found, "excluded": excluded, "skipped": skipped, "fingerprint": fingerprint}
    if found["rank"] == rank():
        return found
    # Another rank has saved. Its batches are as many as everyone's; the bad cases, and the share of a batch, are each rank's
    # own.
    told = others.get(str(rank()), {})
    own = {key: told.get(key, {}).get(str(role), {}) for key in ("excluded", "skipped")}
    return {**found, "seed": told.get("seed", found["seed"]), **own, "fingerprint": fingerprint}


def follows(pending: dict[str, Any], loader: DataLoader) -> bool:
    """Whether the batches of a loader are those that would have followed what a checkpoint has, as far as ranks matter."""
    state = next(state for state in pending["loaders"] if state["role"] == loader.role)
    before, here = number_of_ranks(pending), ranks()
    together = "global_batch_size" in state  # ranks made each batch together
    if before == here:
        return here == 1 or together == loader.shares_batches
    same = state["fingerprint"] == loader.fingerprint  # a trainer may give each rank cases of its own
    return same and (before == 1 or together) and (here == 1 or loader.shares_batches)


def agents_of(file: Path) -> list[str]:
    """Return which torchruns trained together when a checkpoint was saved; [] if none did, or if the file cannot be read."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=False, mmap=True)
        return [str(agent) for agent in content[KEY]["agents"]]
    except Exception:  # there is none, it was saved without this package, or it is damaged
        return []


@contextmanager
def writing(state: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """Inside, what this thread saves as a checkpoint of nnU-Net's holds the loaders' state, too."""
    before = getattr(_here, "writing", None)
    _here.writing = state
    try:
        yield
    finally:
        _here.writing = before


@contextmanager
def reading(source: Any) -> Iterator[Callable[[], tuple[bool, dict[str, Any] | None]]]:
    """Inside, the state in the checkpoint `source`, a file or what was read of it, is noted when this thread loads it.

    Yields a function that returns whether a checkpoint was read, and its state. Other files that are loaded meanwhile, of a
    teacher or of pretrained weights, have states of their own, which do not count.
    """
    loaded: list[tuple[Any, dict[str, Any]]] = []
    before = getattr(_here, "reading", None)
    _here.reading = loaded

    def found() -> tuple[bool, dict[str, Any] | None]:
        if isinstance(source, dict):
            return True, source.get(KEY)
        own = [content for file, content in loaded if _same(file, source)]
        # A trainer that finds its checkpoint by itself: the first that is one.
        for content in own or [content for _, content in loaded if _is_checkpoint(content)]:
            return True, content.get(KEY)
        return False, None

    try:
        yield found
    finally:
        _here.reading = before


def _same(one: Any, other: Any) -> bool:
    try:
        return Path(one).resolve() == Path(other).resolve()
    except TypeError:
        return one is other  # an open file


def _is_checkpoint(content: Any) -> bool:
    return isinstance(content, dict) and "network_weights" in content


def patch_torch(patches: Patches) -> None:
    """Put `writing` and `reading` under torch.save and torch.load; where neither is at work, both are as they were."""
    save, load = torch.save, torch.load

    def saving(obj: Any, f: Any, *args: Any, **kwargs: Any) -> Any:
        state = getattr(_here, "writing", None)
        if state is None or not _is_checkpoint(obj):
            return save(obj, f, *args, **kwargs)
        obj = {**obj, KEY: state()}
        if not isinstance(f, (str, os.PathLike)):
            return save(obj, f, *args, **kwargs)
        with _whole(Path(f)) as beside:
            return save(obj, beside, *args, **kwargs)

    def loading(f: Any, *args: Any, **kwargs: Any) -> Any:
        content = load(f, *args, **kwargs)
        loaded = getattr(_here, "reading", None)
        if loaded is not None and isinstance(content, dict):
            loaded.append((f, content))
        return content

    patches.set(torch, "save", functools.wraps(save)(saving))
    patches.set(torch, "load", functools.wraps(load)(loading))


@contextmanager
def _whole(file: Path) -> Iterator[Path]:
    """Yield a file beside `file` that takes its place at the end: whoever is killed in between leaves the old one."""
    file = file.resolve()  # a link stays a link
    beside = file.with_name(f".{file.name}.part")  # what a killed process left there is written over
    try:
        yield beside
        with beside.open("rb+") as written:
            os.fsync(written.fileno())
        with contextlib.suppress(OSError):  # a new file has the rights that the system gives; an old one keeps its own
            beside.chmod(file.stat().st_mode)
        beside.replace(file)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(file)  # "no space left on device" alone tells nobody where
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
