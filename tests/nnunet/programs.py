"""Runs programs with this package under them, as a user's shell does: by `fastnnunet run`, or by its variable alone."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

RUN = (sys.executable, "-m", "fastnnunet_loader", "run")
SCRIPTS = Path(sysconfig.get_path("scripts"))


def needs_the_installed_package() -> None:
    """Skip where the tests run on the sources: Python reads a .pth file in site-packages only."""
    import fastnnunet_loader

    site_packages = Path(sysconfig.get_path("platlib"))
    from_sources = not Path(fastnnunet_loader.__file__).is_relative_to(site_packages)
    if from_sources and not (site_packages / "fastnnunet_autoload.pth").is_file():
        pytest.skip("the package is not installed in this environment: scripts/setup.sh")


def call(
    *command: str | Path, environment: Mapping[str, str] | None = None, stdin: str = "", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; it finds this environment's programs first, and no FASTNNUNET_RUN of the tests' own."""
    variables = {**os.environ, "PATH": os.pathsep.join([str(SCRIPTS), os.environ["PATH"]])}
    variables.pop("FASTNNUNET_RUN", None)
    return subprocess.run(
        [str(word) for word in command], env={**variables, **(environment or {})}, input=stdin, cwd=cwd,
        capture_output=True, encoding="utf-8", timeout=600, check=False,
    )  # fmt: skip


def printed(done: subprocess.CompletedProcess[str]) -> Sequence[str]:
    """The lines that a program printed, which ended well."""
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout.splitlines()
