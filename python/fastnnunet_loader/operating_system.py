"""What only some operating systems have: asked for here and nowhere else (tests/package/test_operating_system.py).

Each function says what it returns, or that it does nothing, on a system without it. The C++ core has the like in
`cpp/fastnnunet/platform`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

__all__ = [
    "SHARED_MEMORY",
    "STATUS_SIGNAL",
    "affinity",
    "become",
    "bytes_on_disk",
    "file_limits",
    "in_forked_children",
    "interrupt",
    "is_alive",
    "kill_with_children",
    "machine_and_processes",
    "make_sparse",
    "memory_limits",
    "nvidia_module",
    "physical_memory",
    "shared_memory",
    "signal_thread",
    "start_of",
    "thread_limits",
]

STATUS_SIGNAL: int | None = getattr(signal, "SIGUSR1", None)
"""The signal that asks a command what it is doing; None on Windows, which has none for it."""

SHARED_MEMORY = "/dev/shm"
"""Where Linux has the memory that processes share."""


def affinity() -> int:
    """Return how many processors this process may run on; all of the machine's where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def physical_memory() -> int | None:
    """Return the machine's memory in bytes; None where the system does not tell."""
    if sys.platform == "win32":
        import ctypes

        # MEMORYSTATUSEX: two numbers of 32 bits, the first of which is its size, and seven of 64.
        status = (ctypes.c_uint64 * 8)(64)
        return int(status[1]) if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def memory_limits() -> Iterator[tuple[int, int, str]]:
    """Yield (limit in bytes, bytes of it that this process uses, name) for each `ulimit` that is set. None on Windows."""
    try:
        import resource
    except ImportError:
        return
    for kind, name in (("RLIMIT_AS", "ulimit -v"), ("RLIMIT_DATA", "ulimit -d"), ("RLIMIT_RSS", "ulimit -m")):
        number = getattr(resource, kind, None)
        if number is None:
            continue
        soft = resource.getrlimit(number)[0]
        if soft != resource.RLIM_INFINITY and soft > 0:
            yield soft, _used(kind), name


def _used(kind: str) -> int:
    if kind == "RLIMIT_RSS":
        from . import _core  # needs NumPy, which a command's help does not

        return int(_core.resident_memory())
    return _status("VmSize" if kind == "RLIMIT_AS" else "VmData")


def _status(key: str) -> int:
    """Return the bytes of one entry of Linux's /proc/self/status; 0 on other systems."""
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    match = re.search(rf"^{key}:\s+(\d+) kB$", text, re.MULTILINE)
    return 1024 * int(match[1]) if match else 0


def thread_limits() -> Iterator[tuple[str, int, int | None]]:
    """Yield (name, limit of threads, how many there are, or None) for each limit that is set. None on Windows.

    `ulimit -u` counts the threads of all processes of a user; Linux's control groups (version 1 and 2) those of a container or
    a job. The group that has least left is told.
    """
    try:
        import resource
    except ImportError:
        return
    number = getattr(resource, "RLIMIT_NPROC", None)
    if number is not None and (soft := resource.getrlimit(number)[0]) != resource.RLIM_INFINITY:
        yield "ulimit -u", soft, None
    groups = []
    for folder in _groups_of_processes():
        with contextlib.suppress(OSError, ValueError):  # "max" is no limit
            limit = int((folder / "pids.max").read_text(encoding="ascii"))
            groups.append((limit, int((folder / "pids.current").read_text(encoding="ascii"))))
    if groups:
        limit, used = min(groups, key=lambda group: group[0] - group[1])
        yield "pids.max of the control group", limit, used


def _groups_of_processes() -> Iterator[Path]:
    """Yield the folders of the control groups that may limit the number of threads of this process."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "pids" not in controllers.split(","):
            continue
        root = Path("/sys/fs/cgroup", "pids" if controllers else "")
        folder = root / path.lstrip("/")
        yield from [folder, *(parent for parent in folder.parents if parent.is_relative_to(root))]


def file_limits() -> tuple[int | None, int | None] | None:
    """Return how many files this process may open, and to what it may raise that, each None for no limit.

    None on Windows, where a process has no limit of its own.
    """
    try:
        import resource
    except ImportError:
        return None
    soft, hard = (None if limit == resource.RLIM_INFINITY else limit for limit in resource.getrlimit(resource.RLIMIT_NOFILE))
    return soft, hard


def make_sparse(file: BinaryIO) -> None:
    """Make an empty file sparse: bytes that nobody writes take no room, where the file system can do that.

    On Windows a file is marked so (FSCTL_SET_SPARSE); elsewhere all are.
    """
    if sys.platform == "win32":
        import ctypes
        import msvcrt

        handle, got = ctypes.c_void_p(msvcrt.get_osfhandle(file.fileno())), ctypes.c_ulong()
        ctypes.windll.kernel32.DeviceIoControl(handle, 0x900C4, None, 0, None, 0, ctypes.byref(got), None)


def bytes_on_disk(file: Path) -> int:
    """Return the room that a file takes, which is less than its size if it is sparse.

    Raises:
        OSError: it is not there.
    """
    if sys.platform != "win32":
        return 512 * file.stat().st_blocks
    import ctypes

    sizes = [file.stat().st_size]
    kernel = ctypes.WinDLL("kernel32")
    kernel.CreateFileW.restype = ctypes.c_void_p
    # To look at its attributes (0x80), which keeps nobody from reading, writing and deleting it (7); it must be there (3).
    handle = ctypes.c_void_p(kernel.CreateFileW(str(file), 0x80, 7, None, 3, 0, None))
    # FileStandardInfo and FileCompressionInfo begin with what is allocated. Of sparse files not every system tells both.
    for kind in (1, 8):
        info = (ctypes.c_int64 * 3)()
        if kernel.GetFileInformationByHandleEx(handle, kind, ctypes.byref(info), ctypes.sizeof(info)):
            sizes.append(info[0])
    kernel.CloseHandle(handle)
    return min(sizes)


def shared_memory() -> int | None:
    """Return the size in bytes of the memory that processes share; None where there is no such place."""
    try:
        return shutil.disk_usage(SHARED_MEMORY).total
    except OSError:
        return None


def nvidia_module() -> str | None:
    """Return what Linux tells of NVIDIA's kernel module; None without one, and on other systems."""
    try:
        return Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
    except OSError:
        return None


def machine_and_processes() -> tuple[str, str]:
    """Return names of the machine, on Linux of its current boot, and of the namespace of process numbers.

    Each container has its own namespace; other systems have one, and its name is "".
    """
    machine, processes = f"{socket.gethostname()} {uuid.getnode():x}", ""
    with contextlib.suppress(OSError):
        machine = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        processes = str(Path("/proc/self/ns/pid").readlink())
    return machine, processes


def start_of(pid: int) -> str:
    """Return when a process started, in the system's units, "ended" if it has ended, or "" where that is not known."""
    try:
        if os.readlink("/proc/self") != str(os.getpid()):  # noqa: PTH115  a number, not a path
            return ""  # /proc belongs to another namespace, with other process numbers
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "ended" if fields[0] in "ZX" else fields[19]


def is_alive(pid: int) -> bool:
    """Whether a process with this number exists; True where that cannot be told."""
    if sys.platform == "win32":  # where os.kill would terminate the process
        import ctypes

        kernel = ctypes.windll.kernel32
        process = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
        if not process:
            return bool(kernel.GetLastError() != 87)  # ERROR_INVALID_PARAMETER: no such process
        code = ctypes.c_ulong()
        known = kernel.GetExitCodeProcess(process, ctypes.byref(code))
        kernel.CloseHandle(process)
        return not known or code.value == 259  # STILL_ACTIVE
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user
        pass
    return True


def interrupt(pid: int) -> None:
    """Send SIGINT, as Ctrl-C does. On Windows, where that is no signal for one process, end it."""
    os.kill(pid, signal.SIGINT)


def signal_thread(thread: threading.Thread, number: int) -> None:
    """Send a signal to a thread of this process, so that a call in which it waits ends; nothing on Windows."""
    if sys.platform != "win32":
        signal.pthread_kill(thread.ident or 0, number)


def in_forked_children(call: Callable[[], None]) -> None:
    """Call this first in each child that this process forks; nothing on Windows, which has no fork."""
    if sys.platform != "win32":
        os.register_at_fork(after_in_child=call)


def kill_with_children(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that was started with `start_new_session`, and all that it started; on Windows, the process alone."""
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def become(program: str, command: Sequence[str], environment: dict[str, str]) -> NoReturn:
    """Replace this process by a program; where Windows cannot, run it, wait for it and end with its exit code.

    Raises:
        OSError: the program cannot be run.
    """
    if sys.platform == "win32":
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a console
        sys.exit(subprocess.run([program, *command[1:]], env=environment, check=False).returncode)
    for name in ("SIGPIPE", "SIGXFSZ"):  # ignored by Python, and the program would inherit that
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.execve(program, list(command), environment)
