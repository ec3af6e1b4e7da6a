"""An environment for each program: packages of its own before those of the interpreter that runs the tests."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
import sys
import sysconfig
from pathlib import Path

from filelock import FileLock

from .guest import Guest

__all__ = ["PACKAGE", "NotInstalled", "environment_of", "site_of"]

# What this package was built for and tested with. pip leaves them as they are, and fails where a program wants others.
KEPT = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "batchgenerators",
    "batchgeneratorsv2",
    "acvl-utils",
    "dynamic-network-architectures",
    "blosc2",
    "nibabel",
    "SimpleITK",
    "scikit-image",
)

PACKAGE = "GUEST_PACKAGE"
"""The variable that says in which folder a program finds this package."""


class NotInstalled(Exception):
    """A program could not be installed; says why."""


def _constraints(guest: Guest) -> list[str]:
    installed = {}
    for name in KEPT:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    installed["nnunetv2"] = guest.nnunet or importlib.metadata.version("nnunetv2")
    return [f"{name}=={version}" for name, version in installed.items()]


def _pip(python: Path, *arguments: str) -> None:
    # The environment has no pip of its own: it finds that of the interpreter that runs the tests.
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise NotInstalled("; ".join(errors) or done.stderr[-300:])


def environment_of(guest: Guest, cache: Path) -> Path:
    """Return the interpreter of a program's environment, made now if the cache does not have it.

    Raises NotInstalled with pip's reason.
    """
    constraints = _constraints(guest)
    wanted = [sys.prefix, sys.version, constraints, guest.distribution, guest.requirements, guest.alone, PACKAGE]
    recipe = hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:8]
    folder = cache / "guests" / f"{guest.distribution.split('==')[0].lower()}-{recipe}"
    python = folder / "bin" / "python"
    complete = folder / "complete"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if complete.is_file():
            return python
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)], check=True)
        outer = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
        lines = [f"import site; site.addsitedir({path!r})" for path in sorted(outer)]
        # As if this package were installed here, from wherever the tests import it.
        lines.append(f"import os, site; {PACKAGE!r} in os.environ and site.addsitedir(os.environ[{PACKAGE!r}])")
        (site_of(python) / "outer.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
        limits = folder / "constraints.txt"
        limits.write_text("\n".join(constraints) + "\n", encoding="utf-8")
        # Some programs write trainers into nnU-Net's folder: each has a copy of its own.
        nnunet = next(line for line in constraints if line.startswith("nnunetv2=="))
        _pip(python, "--no-deps", "--ignore-installed", nnunet)
        if guest.alone:
            _pip(python, "--no-deps", *guest.alone)
        if guest.requirements or guest.distribution not in guest.alone:
            own = [] if guest.distribution in guest.alone else [guest.distribution]
            _pip(python, "--constraint", str(limits), *own, *guest.requirements)
        complete.touch()
    return python


def site_of(python: Path) -> Path:
    """The site-packages folder of an environment."""
    return python.parents[1] / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
