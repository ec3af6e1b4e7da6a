"""Runs a function of another package in this process: `under.py ORDER IMPORTS MODULE:FUNCTION [ARGUMENT ...]`.

ORDER is plain (nnU-Net as it is), first (this package is installed, then the program is imported), last, or run (`fastnnunet
run` installs it). GUEST_REPORT names a file that gets a line of JSON for each process that was started, for each sentence that
this package said, and at the end for what uninstall() left behind. It runs in the program's environment and imports nothing of
the tests.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from multiprocessing import util
from pathlib import Path
from typing import Any

_STANDARD = sysconfig.get_path("stdlib")
_OWNERS = (
    "nnunetv2.inference.predict_from_raw_data",
    "nnunetv2.inference.predict_from_raw_data:nnUNetPredictor",
    "nnunetv2.inference.export_prediction",
    "nnunetv2.utilities.find_objects",
    "nnunetv2.training.nnUNetTrainer.nnUNetTrainer",
    "nnunetv2.training.nnUNetTrainer.nnUNetTrainer:nnUNetTrainer",
    "nnunetv2.preprocessing.preprocessors.default_preprocessor:DefaultPreprocessor",
    "nnunetv2.preprocessing.resampling.default_resampling",
)


def _report(**entry: Any) -> None:
    with Path(os.environ["GUEST_REPORT"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def _starter() -> str:
    """The first line of code outside of the standard library that asked for a process."""
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if "site-packages" in file or not (file.startswith((_STANDARD, "<")) or file == __file__):
            return f"{file.rpartition('site-packages/')[2]}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "a thread of the standard library's"


def _watch_processes() -> None:
    """Note who starts processes: everything in Python that does goes through one of three functions."""

    def noting(start: Callable[..., Any], pid_of: Callable[[tuple[Any, ...], Any], int]) -> Callable[..., Any]:
        def started(*arguments: Any, **options: Any) -> Any:
            by = _starter()
            result = start(*arguments, **options)
            if pid := pid_of(arguments, result):
                _report(started=pid, by=by)
            return result

        return started

    os.fork = noting(os.fork, lambda _, pid: pid)
    util.spawnv_passfds = noting(util.spawnv_passfds, lambda _, pid: pid)
    subprocess.Popen._execute_child = noting(subprocess.Popen._execute_child, lambda own, _: own[0].pid)  # type: ignore[attr-defined]


class _Saying(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _report(said=record.getMessage())


def _names() -> dict[str, Any]:
    """What nnU-Net's modules and classes have, for those of them that are imported."""
    found = {}
    for owner in _OWNERS:
        module, _, cls = owner.partition(":")
        if module in sys.modules:
            holder = getattr(sys.modules[module], cls) if cls else sys.modules[module]
            found.update({f"{owner.rpartition('.')[2]}.{name}": value for name, value in vars(holder).items()})
    return found


def _is_ours(value: Any) -> bool:
    code = getattr(getattr(value, "__func__", value), "__code__", None)  # a wrapper takes the name of the module that it wraps
    return "fastnnunet_loader" in (type(value).__module__ if code is None else code.co_filename)


def _left_behind(before: dict[str, Any], during: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names that uninstall() did not give back, or took away from the program."""
    wrong = [name for name, value in after.items() if _is_ours(value)]
    for name, value in during.items():
        expected = before.get(name, after.get(name)) if _is_ours(value) else value
        if after.get(name) is not expected:
            wrong.append(name)
    return sorted(set(wrong))


def main() -> int:
    """Run it; return the exit code."""
    order, imports, call, *arguments = sys.argv[1:]
    module, function = call.split(":")
    _watch_processes()
    logging.getLogger("fastnnunet_loader").addHandler(_Saying(logging.WARNING))
    before: dict[str, Any] = {}
    if order == "first":
        _install()
    if order == "last":
        for name in [*imports.split(","), module]:
            if name:
                importlib.import_module(name)
        before = _names()
        _install()
    sys.argv = [module, *arguments]
    code = 0
    try:
        getattr(importlib.import_module(module), function)()
    except SystemExit as ended:
        code = 1 if isinstance(ended.code, str) else int(ended.code or 0)
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
    if order != "plain":
        import fastnnunet_loader as fl

        during = _names()
        fl.uninstall()
        _report(left=_left_behind(before, during, _names()))
    return code


def _install() -> None:
    import fastnnunet_loader as fl

    fl.install()


if __name__ == "__main__":
    with contextlib.suppress(ValueError):
        sys.path.remove(str(Path(__file__).parent))
    sys.path.append(str(Path(__file__).parent / "works"))
    sys.exit(main())
