"""Images and containers of podman, on a machine that runs no container engine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

MINIMAL = ("python3", "python3-venv", "ca-certificates")

# Nobody's user, no rights, nothing to write to but the data and /tmp, and 64 KiB of shared memory.
LOCKED = (
    "--network=none", "--shm-size=64k", "--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp:size=512m", "--cap-drop=all",
    "--security-opt=no-new-privileges", "--memory=4g", "--memory-swap=4g", "--cpus=2", "--pids-limit=300", "--user=1000",
    "--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096",
)  # fmt: skip


@dataclass(frozen=True)
class Done:
    """A command in a container that has ended: exit code, what it printed, and the seconds, since it was stopped if it was."""

    code: int
    said: str
    seconds: float


class Podman:
    """The program, with storage in a folder of its own.

    shown: files and folders of this machine that a build is to see, such as pip's settings for another index, each as
        HERE or as HERE:THERE.
    """

    def __init__(self, folder: Path, shown: list[str]) -> None:
        missing = [name for name in ("podman", "debootstrap") if shutil.which(name) is None]
        if missing or os.geteuid() != 0:
            sys.exit(f"expected root, podman and debootstrap: apt-get install podman crun debootstrap (missing: {missing})")
        self.folder = folder
        places = [(here, there or here) for here, _, there in (name.partition(":") for name in shown)]
        self.shown = [f"--volume={Path(here).resolve()}:{there}:ro" for here, there in places]
        folder.mkdir(parents=True, exist_ok=True)

    def command(self, *arguments: str) -> list[str]:
        """What runs podman, without the control groups that a machine with both versions mixes."""
        store = f"--root={self.folder / 'storage'}", f"--runroot={self.folder / 'run'}"
        script = 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"'
        return ["unshare", "-m", "bash", "-c", script, "bash", "podman", *store, *arguments]

    def base(self, suite: str) -> str:
        """The name of an image of Debian with Python, made by debootstrap."""
        name = f"localhost/debian-{suite}"
        if subprocess.run(self.command("image", "exists", name)).returncode:
            root = self.folder / suite
            shutil.rmtree(root, ignore_errors=True)
            made = ["debootstrap", "--variant=minbase", f"--include={','.join(MINIMAL)}", suite, str(root)]
            subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
            archive = subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE)
            subprocess.run(
                self.command("import", "--quiet", "-", name), stdin=archive.stdout, check=True, stdout=subprocess.DEVNULL
            )
            assert archive.wait() == 0
            shutil.rmtree(root)
        return name

    def build(self, context: Path, dockerfile: Path, target: str, name: str, **arguments: str) -> str:
        """Build a target of a Dockerfile, and return the image's name."""
        given = [f"--build-arg={key}={value}" for key, value in arguments.items()]
        options = ["--network=host", "--ulimit=nofile=1024:1024", "--ulimit=nproc=4096:4096", *self.shown]
        place = ["--tag", name, "--target", target, "--file", str(dockerfile), str(context)]
        subprocess.run(self.command("build", "--quiet", *options, *given, *place), check=True, stdout=subprocess.DEVNULL)
        return name

    def run(
        self,
        image: str,
        command: list[str],
        volumes: dict[Path, str],
        variables: dict[str, str],
        entry: str | None = None,
        stop_at: str | None = None,
    ) -> Done:
        """Run a command in a locked container, and stop the container when the command prints a text."""
        options = [*LOCKED, *(f"--volume={at}:{name}" for at, name in volumes.items())]
        options += [f"--env={name}={value}" for name, value in variables.items()]
        if entry is not None:
            options.append(f"--entrypoint={entry}")
        name, said, begin, stopping = "fastnnunet-test", [], time.monotonic(), None
        with subprocess.Popen(
            self.command("run", "--rm", f"--name={name}", *options, image, *command),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
        ) as process:  # fmt: skip
            late = threading.Timer(1200, self._stop, (name,))
            late.start()
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    said.append(line)
                    if stop_at is not None and stop_at in line and stopping is None:
                        begin = time.monotonic()
                        stopping = threading.Thread(target=self._stop, args=(name,))
                        stopping.start()
            finally:
                late.cancel()
            code = process.wait()
        seconds = time.monotonic() - begin
        if stopping is not None:
            stopping.join()
        return Done(code, "".join(said), seconds)

    def _stop(self, name: str) -> None:
        subprocess.run(self.command("stop", "--time", "30", name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
