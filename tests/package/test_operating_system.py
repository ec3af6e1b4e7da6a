"""What only some systems have is asked for in one module; what else there is would run on Windows."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastnnunet_loader
from fastnnunet_loader import operating_system

PACKAGE = Path(fastnnunet_loader.__file__).parent
HOME = "operating_system.py"

# "Availability: Unix" in the documentation of Python's library.
MODULES = {"crypt", "fcntl", "grp", "nis", "posix", "pty", "pwd", "resource", "spwd", "syslog", "termios", "tty"} | {
    "_winapi", "msvcrt", "nt", "winreg", "winsound",
}  # fmt: skip
OF_OS = {
    "O_CLOEXEC", "O_DIRECT", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "O_SYNC", "O_TMPFILE", "WEXITSTATUS", "WIFEXITED",
    "WIFSIGNALED", "WNOHANG", "WTERMSIG", "chown", "chroot", "confstr", "copy_file_range", "ctermid", "execve", "execv",
    "execvp", "eventfd", "fchdir", "fchmod", "fchown", "fdatasync", "fork", "forkpty", "fstatvfs", "getegid", "geteuid",
    "getgid", "getgroups", "getloadavg", "getpgid", "getpgrp", "getpriority", "getresuid", "getsid", "getuid", "kill",
    "killpg", "lchown", "lockf", "major", "memfd_create", "minor", "mkfifo", "mknod", "nice", "openpty", "pathconf",
    "pidfd_open", "pipe2", "posix_fadvise", "posix_fallocate", "posix_spawn", "posix_spawnp", "pread", "preadv", "pwrite",
    "pwritev", "register_at_fork", "sendfile", "setgid", "setgroups", "setpgid", "setpriority", "setresuid", "setsid",
    "setuid", "splice", "startfile", "statvfs", "sync", "sysconf", "uname", "unshare", "wait", "wait3", "wait4", "waitid",
    "waitpid", "writev",
}  # fmt: skip
# Those that Windows has as well.
SIGNALS = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN", "Signals", "Handlers"}
OF_OTHERS = {
    "ctypes": {"WinDLL", "WinError", "oledll", "windll"},
    "multiprocessing": {"forkserver", "popen_fork"},
    "signal": {
        "alarm", "getitimer", "pause", "pidfd_send_signal", "pthread_kill", "pthread_sigmask", "set_wakeup_fd", "setitimer",
        "siginterrupt", "sigpending", "sigtimedwait", "sigwait", "sigwaitinfo",
    },
    "socket": {"AF_UNIX", "socketpair"},
    "time": {"CLOCK_BOOTTIME", "CLOCK_MONOTONIC_RAW", "clock_gettime", "pthread_getcpuclockid", "tzset"},
}  # fmt: skip
OF_STAT = {"st_blksize", "st_blocks", "st_file_attributes", "st_flags", "st_gen", "st_rdev", "st_reparse_tag"}
FOLDERS = ("/proc/", "/sys/", "/dev/", "/etc/", "/var/", "/run/")
# What a file names beside, and why: a child of fork has the watcher of its parent, and it lies before the package is imported.
# The shell is asked only for what a kernel refused to run as a script.
ADMITTED = {("fastnnunet_autoload.py", "os.register_at_fork")}


def of_one_system(module: str, name: str) -> bool:
    """Whether an attribute of a module is missing on Windows, or elsewhere."""
    if module == "os":
        return name in OF_OS or name.startswith("sched_")
    if module == "signal" and name.startswith("SIG") and name not in SIGNALS:
        return True
    return name in OF_OTHERS.get(module, set())


def asked(code: str) -> Iterator[tuple[int, str]]:
    """Lines of a file, and what in each only some systems have."""
    tree = ast.parse(code)
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    } | {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    names = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.partition(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module.partition(".")[0] in MODULES:
                yield node.lineno, node.module
            for alias in node.names:
                if of_one_system(node.module, alias.name):
                    yield node.lineno, f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Attribute) and node.attr in OF_STAT:
            yield node.lineno, node.attr
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = names.get(node.value.id, "")
            if of_one_system(module, node.attr):
                yield node.lineno, f"{module}.{node.attr}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            module, name = node.args[:2]
            if isinstance(name, ast.Constant) and name.value in OF_STAT:
                yield node.lineno, str(name.value)
            elif isinstance(module, ast.Name) and isinstance(name, ast.Constant):
                known = names.get(module.id, "")
                if of_one_system(known, str(name.value)):
                    yield node.lineno, f"{known}.{name.value}"
        elif isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
            called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            first = node.args[0] if node.args else None
            if called in ("get_context", "set_start_method") and isinstance(first, ast.Constant):
                if first.value in ("fork", "forkserver"):
                    yield node.lineno, f"{called}({first.value!r})"
            elif called in ("import_module", "__import__") and isinstance(first, ast.Constant) and first.value in MODULES:
                yield node.lineno, str(first.value)
            yield from ((node.lineno, one.arg) for one in node.keywords if one.arg == "preexec_fn")
        elif isinstance(node, ast.Constant) and id(node) not in documentation and f"{node.value}/".startswith(FOLDERS):
            yield node.lineno, str(node.value)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import os\nos.stat(1).st_blocks", "st_blocks"),
        ("import os\ngetattr(os.stat(1), 'st_blocks', 0)", "st_blocks"),
        ("import os\nos.fork()", "os.fork"),
        ("import os as o\no.sched_setaffinity(0, {1})", "os.sched_setaffinity"),
        ("from os import sched_yield", "os.sched_yield"),
        ("import os\nhasattr(os, 'register_at_fork')", "os.register_at_fork"),
        ("import os\ngetattr(os, 'getuid', None)", "os.getuid"),
        ("def f():\n    import resource", "resource"),
        ("from fcntl import flock", "fcntl"),
        ("__import__('pwd')", "pwd"),
        ("import signal\nsignal.SIGUSR1", "signal.SIGUSR1"),
        ("from signal import SIGKILL", "signal.SIGKILL"),
        ("import ctypes\nctypes.windll", "ctypes.windll"),
        ("open('/proc/self/status')", "/proc/self/status"),
        ("from pathlib import Path\nPath('/sys/fs/cgroup')", "/sys/fs/cgroup"),
        ("shutil.disk_usage('/dev/shm')", "/dev/shm"),
        ("x = f'/proc/{pid}/stat'", "/proc/"),
        ("multiprocessing.get_context('fork')", "get_context('fork')"),
        ("subprocess.run([], preexec_fn=f)", "preexec_fn"),
    ],
)
def test_each_kind_is_found(code: str, found: str) -> None:
    assert found in [name for _, name in asked(code)]


@pytest.mark.parametrize(
    "code",
    [
        '"""Reads /proc/self/status."""',
        '"/proc/self/status: what it says"',
        "import os\nos.cpu_count(), os.getpid(), os.replace(a, b)",
        "import signal\nsignal.SIGINT, signal.SIGTERM, signal.Signals(9)",
        "multiprocessing.get_context('spawn')",
        "from .resource import x",
    ],
)
def test_what_every_system_has_is_left_alone(code: str) -> None:
    assert list(asked(code)) == []


def test_only_one_module_asks_for_what_only_some_systems_have() -> None:
    files = [*PACKAGE.rglob("*.py"), *PACKAGE.parent.glob("fastnnunet_autoload.py")]
    assert len(files) > 100
    found = [
        f"{file.relative_to(PACKAGE.parent)}:{line}: {name}"
        for file in files
        if file != PACKAGE / HOME
        for line, name in asked(file.read_text(encoding="utf-8"))
        if (file.name, name) not in ADMITTED
    ]
    assert found == [], f"ask {HOME} for it"
    assert len(list(asked((PACKAGE / HOME).read_text(encoding="utf-8")))) > 10


def test_a_sparse_file_takes_the_room_of_what_is_written(tmp_path: Path) -> None:
    file = tmp_path / "Fälle 1"
    with file.open("wb") as target:
        operating_system.make_sparse(target)
        target.truncate(10 << 20)
        target.seek(5 << 20)
        target.write(os.urandom(1 << 20))
    assert file.stat().st_size == 10 << 20
    assert 1 << 20 <= operating_system.bytes_on_disk(file) < 2 << 20
    with pytest.raises(FileNotFoundError):
        operating_system.bytes_on_disk(tmp_path / "missing")


def test_a_process_is_alive_until_it_has_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert operating_system.is_alive(process.pid)
        assert operating_system.is_alive(os.getpid())
    finally:
        process.communicate(b"\n")
    assert not operating_system.is_alive(process.pid)


def test_an_interrupt_ends_a_program_that_does_not_mind() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"], stdin=subprocess.PIPE, stdout=-1, stderr=-1
    )
    assert process.stdout is not None
    process.stdout.readline()
    operating_system.interrupt(process.pid)
    process.communicate(timeout=30)
    assert process.returncode != 0


def test_a_program_that_is_killed_takes_its_children_along() -> None:
    child = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'input()']).pid, flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    started = int(process.stdout.readline())
    operating_system.kill_with_children(process)
    assert process.stdin is not None
    process.stdin.close()  # what ends the child on Windows
    process.wait(timeout=30)
    end = time.monotonic() + 30
    while operating_system.is_alive(started) and operating_system.start_of(started) != "ended" and time.monotonic() < end:
        time.sleep(0.05)
    assert not operating_system.is_alive(started) or operating_system.start_of(started) == "ended"
    process.stdout.close()


def test_the_machine_is_the_same_in_every_process_of_it() -> None:
    code = "from fastnnunet_loader import operating_system as o; print(o.machine_and_processes())"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, encoding="utf-8")
    assert done.stdout.strip() == str(operating_system.machine_and_processes())


def test_memory_of_the_machine_is_no_less_than_that_of_this_process() -> None:
    physical = operating_system.physical_memory()
    assert physical is not None and physical >= fastnnunet_loader._core.memory().limit * 0.99
    assert 1 <= operating_system.affinity() <= (os.cpu_count() or 1)


def test_a_program_that_this_process_becomes_gives_its_exit_code() -> None:
    code = (
        "import os, sys; from fastnnunet_loader.operating_system import become; "
        "become(sys.executable, [sys.executable, '-c', 'import os; raise SystemExit(int(os.environ[\"CODE\"]))'], "
        "{**os.environ, 'CODE': '7'})"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7
