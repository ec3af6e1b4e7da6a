"""What continues a loader with the next batch, as a checkpoint keeps it: plain numbers and strings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import _core
from ..transforms.origins import versions

__all__ = ["BadCase", "check_batch_size", "check_version", "fingerprint", "make_state", "skipped_in", "still_skipped"]

_VERSION = 2
_OLDER = (1,)  # ranks did not share batches


@dataclass(frozen=True)
class BadCase:
    """A case that `on_bad_case="skip"` skips, from the batch `step` on."""

    name: str
    file: str
    reason: str
    step: int
    slot: int = 0  # of the sample that found it
    attempt: int = 0
    stamp: str = ""  # a digest of its files at that time; empty if they could not be examined


def fingerprint(names: Sequence[str], sampling: Mapping[str, Any], dims: int) -> str:
    """Return a digest of cases, patch sizes and batch size. A state belongs to loaders with the same one."""
    described = repr((list(names), sorted(sampling.items()), dims))
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def make_state(
    core: _core.Loader, *, seed: int, rank: int, role: int, global_batch_size: int | None, fingerprint: str, transforms: str
) -> dict[str, Any]:
    """Return the state of a loader.

    global_batch_size: that a loader must have to continue from it, with any number of ranks; None if they share no batches.
    transforms: the digest of its pipeline.
    """
    bad_cases = [BadCase(*bad) for bad in core.bad_cases()]
    return {
        "version": _VERSION,
        "seed": seed,
        "rank": rank,
        "role": role,
        **({} if global_batch_size is None else {"global_batch_size": global_batch_size}),
        "step": core.step,
        "excluded": {bad.name: bad.step for bad in bad_cases},
        "skipped": {bad.name: _details(bad) for bad in bad_cases},
        "fingerprint": fingerprint,
        "versions": versions(),
        "transforms": transforms,
    }


def check_version(state: Any) -> None:
    """Raise ValueError if this is no state, or one of a later version."""
    if not isinstance(state, dict) or state.get("version") not in (*_OLDER, _VERSION):
        version = state.get("version") if isinstance(state, dict) else type(state).__name__
        raise ValueError(f"[state] expected version {_VERSION}, got {version}")


def check_batch_size(state: Mapping[str, Any], global_batch_size: int, ranks: int) -> None:
    """Raise ValueError if ranks that share batches do not make those that a state goes on with."""
    needed = state.get("global_batch_size", global_batch_size)
    if needed != global_batch_size:
        each = f"{global_batch_size // ranks} of each of {ranks} ranks" if ranks > 1 else "of one rank"
        raise ValueError(
            f"[state] expected a global batch size (batch_size times ranks) of {needed}, as it was saved with, "
            f"got {global_batch_size} ({each})"
        )


def _details(bad: BadCase) -> dict[str, Any]:
    return {"file": bad.file, "reason": bad.reason, "slot": bad.slot, "attempt": bad.attempt, "stamp": bad.stamp}


def skipped_in(state: Mapping[str, Any]) -> list[BadCase]:
    """Return the skipped cases of a state. States of older versions have their names and steps only."""
    details, unknown = state.get("skipped", {}), {"file": "", "reason": "found bad before the training was continued"}
    return [
        BadCase(name=str(name), step=int(step), **{**unknown, **details.get(name, {})})
        for name, step in state["excluded"].items()
    ]


def still_skipped(
    skipped: Sequence[BadCase], cases: Sequence[_core.CaseFiles], on_bad_case: str
) -> tuple[list[BadCase], list[BadCase], str]:
    """Return the cases that stay skipped, those that are tried again, and why."""
    files = {case.name: case for case in cases}
    known = [bad for bad in skipped if bad.name in files]  # a state may be of other cases
    if on_bad_case != "skip":
        return [], known, "because on_bad_case is 'raise'"
    still = [bad for bad in known if bad.stamp and _core.stamp_of_case(files[bad.name]) == bad.stamp]
    return still, [bad for bad in known if bad not in still], "because their files may have changed since"
