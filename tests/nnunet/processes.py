"""Which processes a command created, from strace's account of it."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

# What third-party imports and nnU-Net run for a moment: ctypes' search for libraries, and nnU-Net's look at the host's
# name (through the shell).
SHORT_PROGRAMS = {"ldconfig", "sh", "dash", "hostname"}


def created_processes(trace: str) -> dict[int, str]:
    """From strace's text: each process (not thread) that was created, and the program that it ran ("" for none)."""
    processes: dict[int, str] = {}
    started: dict[str, str] = {}
    for line in trace.splitlines():
        match = re.match(r"(\d+)\s+(.*)", line)
        if match is None:
            continue
        pid, call = match.groups()
        if re.match(r"(clone3?|v?fork)\(", call) and "<unfinished" in call:
            started[pid] = call
        if resumed := re.match(r"<\.\.\. (?:clone3?|v?fork) resumed>", call):
            call = started.pop(pid, "") + call[resumed.end() :]
        if re.match(r"(clone3?|v?fork)\(", call) and "CLONE_THREAD" not in call and (child := re.search(r"= (\d+)$", call)):
            processes.setdefault(int(child[1]), "")
        if (program := re.match(r'execve\("([^"]+)"', call)) and int(pid) in processes:
            processes[int(pid)] = Path(program[1]).name
        elif program and started:
            # vfork returns in the parent only after the child's execve.
            processes[int(pid)] = Path(program[1]).name
    return processes


class Trace:
    """Of the processes that a training makes."""

    def __init__(self, file: Path) -> None:
        self.file = file
        if shutil.which("strace") is None:
            pytest.skip("strace is not installed")
        self.command = ["strace", "-f", "--seccomp-bpf", "-e", "trace=process", "-o", str(file)]

    def assert_no_worker(self) -> None:
        text = self.file.read_text(encoding="utf-8")
        assert "CLONE_THREAD" in text, "the trace must show the threads, or it shows nothing"
        created = created_processes(text)
        assert "hostname" in created.values(), "nnU-Net's look at the host's name must be seen, or nothing would be"
        assert set(created.values()) <= SHORT_PROGRAMS, created


def deaf(seconds: float) -> None:
    """Live on whatever one is asked to."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(seconds)


def small_shared_memory(size: str = "4k") -> list[str]:
    """A command before another one, which then has 4 KiB of /dev/shm; nothing where the system does not let one mount it."""
    script = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"'
    for options in (["-m"], ["-r", "-m"]):
        command = ["unshare", *options, "sh", "-c", script, "sh"]
        if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return []
