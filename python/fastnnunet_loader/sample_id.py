"""The address of a sample. Every random number of a sample is a function of it, so it makes exactly that sample again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

__all__ = ["ROLES", "SampleId", "SampleKeys", "role_name", "role_number"]

ROLES = ("train", "val")
"""Names of the roles 0 and 1. Further loaders of a training have numbers only."""


def role_number(role: str | int) -> int:
    """Return the number of a role.

    Raises:
        ValueError: no role has this name.
    """
    if isinstance(role, int) and not isinstance(role, bool) and role >= 0:
        return role
    if role not in ROLES:
        raise ValueError(f"[role] expected 'train', 'val' or a number, got {role!r}")
    return ROLES.index(str(role))


def role_name(role: int) -> str | int:
    """Return the name of a role, or its number if it has none."""
    return ROLES[role] if role < len(ROLES) else role


class SampleKeys(TypedDict, total=False):
    """The parts of a `SampleId` as keyword arguments; what is not given is 0."""

    seed: int
    step: int
    slot: int
    role: int
    rank: int
    attempt: int


@dataclass(frozen=True)
class SampleId:
    """The address of a sample. `**sample_id` passes its parts as keyword arguments."""

    seed: int = 0
    step: int = 0
    """The number of the batch."""
    slot: int = 0
    """The position in the batch: that of all ranks, if they share batches."""
    role: int = 0
    """0 for the training loader, 1 for the validation loader, or the number of a further one."""
    rank: int = 0
    """Of torch.distributed; 0 if ranks share batches."""
    attempt: int = 0
    """How many times the sample was drawn before, because its case was bad."""

    def keys(self) -> Iterator[str]:
        """Names of the parts."""
        return iter(_PARTS)

    def __getitem__(self, name: str) -> int:
        value: int = getattr(self, name)
        return value

    def named(self, ranks: int = 1) -> dict[str, Any]:
        """Return the parts that a user has to give: seed, step and slot, and others that are not 0; ranks if it is not 1."""
        found: dict[str, Any] = {"seed": self.seed, "step": self.step, "slot": self.slot}
        if self.role != 0:
            found["role"] = role_name(self.role)
        if self.rank != 0:
            found["rank"] = self.rank
        if ranks != 1:
            found["ranks"] = ranks
        if self.attempt != 0:
            found["attempt"] = self.attempt
        return found

    def as_text(self, ranks: int = 1) -> str:
        """Return the text that `parse` reads."""
        return ",".join(f"{name}={value}" for name, value in self.named(ranks).items())

    @classmethod
    def parse(cls, text: str) -> tuple[SampleId, int]:
        """Return a sample, and the number of ranks, from "seed=N,step=N,slot=N[,role=val][,rank=N][,ranks=N][,attempt=N]".

        Raises:
            ValueError: "expected ..., got ...".
        """
        parts: dict[str, int] = {}
        for part in text.split(","):
            name, equals, value = part.partition("=")
            if name == "role" and value in ROLES:
                value = str(ROLES.index(value))
            if not equals or name not in (*_PARTS, "ranks") or not value.isdecimal():
                raise ValueError(f"expected seed=N,step=N,slot=N and what else the line has, got {text!r}")
            parts[name] = int(value)
        missing = [name for name in ("seed", "step", "slot") if name not in parts]
        if missing:
            raise ValueError(f"expected also {', '.join(missing)}, got {text!r}")
        ranks = parts.pop("ranks", 1)
        sample = cls(**parts)
        if ranks != 1 and sample.rank >= ranks:
            raise ValueError(f"expected a rank below {ranks}, got {text!r}")
        return sample, ranks


_PARTS = tuple(part.name for part in dataclasses.fields(SampleId))
