"""Versions, and whether what has them works: nnU-Net, CUDA, torch.compile."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import warnings
from functools import cache

import torch

from .. import __version__
from ..loading import torch_memory
from ..operating_system import nvidia_module
from ..settings import in_units
from .probe import probe
from .report import Check, Task, Verdict

__all__ = ["compiling", "cuda", "nnunet", "python_version", "tasks", "tasks_in_this_process", "this_package", "torch_version"]

INSTALL = "pip install nnunetv2 batchgeneratorsv2"
REBUILD = "pip install --no-build-isolation --force-reinstall --no-deps .  # in the folder of this package's sources"
LEAST_TORCH = (2, 3)
LEAST_PYTHON = (3, 10)


def tasks() -> list[Task]:
    """All checks of this module, the slow ones last."""
    return [
        *tasks_in_this_process(),
        ("CUDA", cuda),
        ("import of nnU-Net", import_of_nnunet),
        ("torch.compile", compiling),
    ]


def tasks_in_this_process() -> list[Task]:
    """The checks that need no process of their own."""
    return [
        ("Python", python_version),
        ("torch", torch_version),
        ("fastnnunet_loader", this_package),
        ("nnU-Net", nnunet),
        ("batchgenerators", lambda: helper("batchgenerators")),
        ("batchgeneratorsv2", lambda: helper("batchgeneratorsv2")),
    ]


def python_version() -> Check:
    """The interpreter."""
    found = f"{platform.python_version()} on {platform.system()}, {platform.machine()}"
    if sys.version_info < LEAST_PYTHON:
        return Check("Python", Verdict.FAIL, found, "This package needs Python 3.10 or later.", "install a later Python")
    return Check("Python", Verdict.OK, found)


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def torch_version() -> Check:
    """PyTorch, what it was built for, and the driver that is there."""
    built = "ROCm " + torch.version.hip if torch.version.hip else f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    driver = driver_version()
    found = f"{torch.__version__}, built for {built}; {'driver ' + driver if driver else 'no NVIDIA driver'}"
    if torch_memory.release(torch.__version__) < LEAST_TORCH:
        why = f"This package needs torch {'.'.join(map(str, LEAST_TORCH))} or later."
        return Check("torch", Verdict.FAIL, found, why, "pip install --upgrade torch")
    return Check("torch", Verdict.OK, found)


@cache
def driver_version() -> str | None:
    """The NVIDIA driver's version; None where there is none."""
    said = nvidia_module()
    if said is not None:
        match = re.search(r"Kernel Module.*?\s(\d+\.\d[\d.]*)", said)
        return match[1] if match else "of unknown version"
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        command = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
        run = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.strip().splitlines()[0] if run.stdout.strip() else None


def this_package() -> Check:
    """This package, and the torch that its extension was built against."""
    name, against = "fastnnunet_loader", torch_memory.built_against()
    if against is None:
        why = f"No pinned memory: {torch_memory.why_not()}. Copies to a GPU wait for the training thread."
        verdict = Verdict.WARNING if torch_memory.accelerator() else Verdict.NOTE
        old = torch_memory.release(torch.__version__) < torch_memory.LEAST_TORCH
        mend = "pip install --upgrade torch" if old else REBUILD
        return Check(name, verdict, f"{__version__}, without pinned memory", why, mend)
    return Check(name, Verdict.OK, f"{__version__}, built against torch {against}")


def nnunet() -> Check:
    """nnU-Net, and whether it is a version that this package is tested with."""
    version = _installed("nnunetv2")
    if version is None:
        return Check("nnU-Net", Verdict.FAIL, "not installed", "The data sets and trainers are nnU-Net's.", INSTALL)
    from ..known.versions import TESTED

    tested = TESTED["nnunetv2"]
    if version not in tested:
        why = "Trainers and data sets may differ from those that this package replaces parts of."
        found = f"{version}; tested: {', '.join(tested)}"
        return Check("nnU-Net", Verdict.WARNING, found, why, f"pip install nnunetv2=={tested[-1]}")
    return Check("nnU-Net", Verdict.OK, f"{version} (tested)")


def helper(package: str) -> Check:
    """A package that nnU-Net's batches come from."""
    version = _installed(package)
    if version is None:
        return Check(package, Verdict.FAIL, "not installed", "nnU-Net's transforms and loaders come from it.", INSTALL)
    return Check(package, Verdict.OK, version)


def import_of_nnunet() -> Check:
    """Whether what a training imports can be imported."""
    name = "import of nnU-Net"
    if _installed("nnunetv2") is None:
        return Check(name, Verdict.NOTE, "not tried: nnU-Net is not installed")
    done = probe("import_nnunet")
    if done.ok:
        return Check(name, Verdict.OK, f"done in {done.seconds:.1f} s")
    why = "A training starts with this import. Packages that do not fit each other are the usual reason."
    return Check(name, Verdict.FAIL, done.said, why, "pip install --upgrade --force-reinstall nnunetv2")


def cuda() -> Check:
    """Whether the GPUs compute, and compute what the CPU does."""
    driver = driver_version()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        return _no_cuda(driver, next((str(w.message).splitlines()[0] for w in said), ""))
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    found = "; ".join(f"{gpu.name}, {in_units(gpu.total_memory)}" for gpu in gpus)
    done = probe("multiply_matrices")
    if done.ok:
        return Check("CUDA", Verdict.OK, f"{found}; a product of matrices is the CPU's")
    why = "Training on this GPU stops in the same way."
    return Check(
        "CUDA", Verdict.FAIL, f"{found}; {done.said}", why, "nvidia-smi    (shows its state; then update driver or torch)"
    )


def _no_cuda(driver: str | None, said: str) -> Check:
    if driver is None:
        if other := torch_memory.accelerator():
            return Check("CUDA", Verdict.NOTE, f"none; there is {other}", "", f"fastnnunet train ... -device {other}")
        why = "Training runs on the CPU, which is many times slower."
        return Check("CUDA", Verdict.NOTE, "no GPU that torch can use", why, "fastnnunet train ... -device cpu")
    if torch.version.cuda is None:
        why = "There is a driver, but this torch cannot use a GPU."
        return Check("CUDA", Verdict.WARNING, "torch is built without CUDA", why, "pip install --force-reinstall torch")
    found = f"torch finds no GPU (driver {driver}, torch for CUDA {torch.version.cuda}) {said}".strip()
    why = "There is a driver. It is too old for this torch, or the container or the job was given no GPU."
    return Check("CUDA", Verdict.WARNING, found, why, "docker run --gpus all ...    or a later driver")


def compiling() -> Check:
    """Whether torch.compile works where nnU-Net would use it."""
    name = "torch.compile"
    setting = os.environ.get("nnUNet_compile")
    # As nnU-Net reads it.
    if setting is not None and setting.lower() not in ("true", "1", "t"):
        return Check(name, Verdict.OK, f"not tried: nnUNet_compile={setting} switches it off")
    if os.name == "nt":
        return Check(name, Verdict.OK, "not tried: nnU-Net does not compile on Windows")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    done = probe("compile_function", device)
    if done.ok:
        return Check(name, Verdict.OK, f"compiled and ran a function on {device} in {done.seconds:.0f} s")
    needs = "Triton, and for it a C compiler (CC, gcc)" if device == "cuda" else "a C++ compiler (CXX, g++)"
    why = f"It needs {needs}. nnU-Net compiles its network on a GPU unless nnUNet_compile=false"
    why += "." if device == "cuda" else "; on the CPU it does not, so a training without a GPU goes on."
    verdict = Verdict.FAIL if device == "cuda" else Verdict.WARNING
    return Check(name, verdict, f"on {device}: {done.said}", why, "export nnUNet_compile=false")
