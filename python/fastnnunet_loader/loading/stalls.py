"""What is done about a batch that takes long: it is reported, and after `abort_after` it is an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import StallError
from ..transforms.python import python_stacks

__all__ = ["Stalls"]


@dataclass(frozen=True)
class Stalls:
    """The limits of a loader, in seconds, and whom to tell. Each function takes the seconds that were waited.

    They return when to look again: seconds after the beginning, or None for never.

    Raises:
        StallError: the wait has reached `abort_after`.
    """

    stall_after: float
    abort_after: float | None
    report: Callable[[str], None]

    @property
    def first_look(self) -> float:
        """Seconds after which a wait is looked at for the first time."""
        return self.stall_after if self.abort_after is None else min(self.stall_after, self.abort_after)

    def of_batch(self, waited: float, doing: str) -> float | None:
        """A batch is late. doing: what the threads are doing."""
        self._abort_if_late(waited, "a batch", doing)
        self.report(f"fastnnunet_loader: a batch has taken more than {self.stall_after:g} s. {doing}")
        return self.abort_after

    def of_first_cases(self, waited: float, fallbacks: Sequence[str]) -> float | None:
        """The loader is late to open. fallbacks: transforms in Python, which make the first sample meanwhile."""
        opening, doing = "opening the files of the first cases has", ""
        if fallbacks:
            opening = "opening the first cases, and the first sample, have"
            stacks = "\n".join(python_stacks())
            doing = f"Its transforms in Python: {', '.join(fallbacks)}\n{stacks}"
        self._abort_if_late(waited, "the first cases and the first sample", doing)
        self.report(f"fastnnunet_loader: {opening} taken more than {self.stall_after:g} s. {doing}".rstrip())
        return self.abort_after

    def _abort_if_late(self, waited: float, what: str, doing: str) -> None:
        if self.abort_after is not None and waited >= self.abort_after:
            raise StallError(f"[loader] expected {what} within {self.abort_after:g} s, got none. {doing}")
