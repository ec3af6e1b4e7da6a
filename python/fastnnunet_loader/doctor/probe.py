"""Runs what could crash or hang in a process of its own, for a limited time."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ..operating_system import kill_with_children

__all__ = ["Probe", "probe"]

SECONDS = 180.0
# "package.module.SomethingError: what it was", as a traceback ends.
_RAISED = re.compile(r"^[\w.]*(?:Error|Exception|Compiler|Interrupt)\b.*")


@dataclass(frozen=True)
class Probe:
    """How it went."""

    ok: bool
    said: str
    """What it printed last where it went well; else the error in a line."""
    seconds: float


def probe(name: str, *arguments: str, seconds: float = SECONDS, environment: dict[str, str] | None = None) -> Probe:
    """Run `probes/NAME.py` with arguments.

    seconds: after which it is killed, with every process that it started. environment: what is added to this process's own.
    """
    script = Path(__file__).parent / "probes" / f"{name}.py"
    started = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        env = {
            **os.environ,
            # Nothing that was compiled before, nothing that is left behind, and no worker processes.
            "TORCHINDUCTOR_CACHE_DIR": str(Path(scratch) / "inductor"),
            "TRITON_CACHE_DIR": str(Path(scratch) / "triton"),
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
            "JOBLIB_MULTIPROCESSING": "0",
            "PYTHONIOENCODING": "utf-8",
            **(environment or {}),
        }
        # Files, for a pipe stays open as long as a child of the script's has it.
        out, err = Path(scratch) / "stdout", Path(scratch) / "stderr"
        with out.open("wb") as printed, err.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, str(script), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=errors,
                cwd=scratch,
                env=env,
                start_new_session=True,  # has no meaning on Windows
            )
            try:
                code = process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                _kill(process)
                return Probe(False, f"no answer within {seconds:.0f} s", time.monotonic() - started)
            except BaseException:
                _kill(process)
                raise
        printed_text, error_text = (file.read_text(encoding="utf-8", errors="replace") for file in (out, err))
    took = time.monotonic() - started
    if code == 0:
        return Probe(True, next((line.strip() for line in reversed(printed_text.splitlines()) if line.strip()), ""), took)
    return Probe(False, _error(error_text, code), took)


def _kill(process: subprocess.Popen[bytes]) -> None:
    kill_with_children(process)
    process.wait()


def _error(said: str, code: int) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    raised = next((line for line in reversed(lines) if _RAISED.match(line)), lines[-1] if lines else "")
    if code < 0:
        try:
            ended = f"killed by {signal.Signals(-code).name}"
        except ValueError:
            ended = f"killed by signal {-code}"
        return f"{ended}: {raised}" if raised else ended
    return raised or f"exit code {code}"
