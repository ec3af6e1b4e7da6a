"""What a predictor of nnU-Net's has to tell after install(): in the log of this package."""

from __future__ import annotations

import logging

from ...errors import PredictionError
from . import options

__all__ = ["leave_out", "say", "say_once"]

_log = logging.getLogger("fastnnunet_loader")

_said: set[str] = set()


def say(text: str) -> None:
    """A warning where it begins as one."""
    warning = text.removeprefix("warning: ")
    _log.log(logging.INFO if warning == text else logging.WARNING, "%s", warning)


def say_once(text: str) -> None:
    """Warn; the same words once in a process."""
    if text not in _said:
        _said.add(text)
        _log.warning("%s", text)


def leave_out(error: PredictionError) -> None:
    """Go on without a case where install() was asked to, else raise its error."""
    if options.current is None or options.current().on_bad_case == "raise":
        raise error
    _log.warning("left out: %s", error)
