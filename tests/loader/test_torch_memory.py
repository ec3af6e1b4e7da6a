"""Memory of torch's allocators, which an extension of its own has: the core does without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fastnnunet_loader as fl
from fastnnunet_loader import _core
from fastnnunet_loader.loading import torch_memory

PACKAGE = Path(fl.__file__).parent


def test_pinned_memory_is_there_and_a_reason_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    version = torch_memory.built_against()
    assert version is not None
    assert version.startswith("2.")
    assert torch_memory.why_not() == ""
    monkeypatch.setattr(torch, "__version__", "2.9.1+cu128")
    assert torch_memory.built_against() is None
    assert torch_memory.why_not() == "it needs torch 2.10 or later, and this is 2.9.1+cu128"
    monkeypatch.setattr(torch, "__version__", "2.10.0.of.tests")
    monkeypatch.setitem(sys.modules, "fastnnunet_loader._torch", None)
    monkeypatch.delattr(fl, "_torch", raising=False)
    assert torch_memory.built_against() is None
    assert torch_memory.why_not() == "this package was built without torch"


def test_an_extension_that_does_not_load_is_told_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "_torch.py").write_text("raise ImportError('undefined symbol: aoti_torch_x')\n", encoding="utf-8")
    monkeypatch.setattr(fl, "__path__", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "fastnnunet_loader._torch", raising=False)
    monkeypatch.delattr(fl, "_torch", raising=False)
    monkeypatch.setattr(torch, "__version__", "2.10.1.of.tests")
    assert torch_memory.built_against() is None
    said = "its extension does not load beside torch 2.10.1.of.tests: undefined symbol: aoti_torch_x"
    assert torch_memory.why_not() == said


def test_releases_are_compared_as_numbers() -> None:
    releases = {
        "2.9.1": (2, 9),
        "2.10.0a0+git12": (2, 10),
        "2.10.0+cu128": (2, 10),
        "3.0": (3, 0),
        "2.11.0.dev20260101": (2, 11),
    }
    assert {version: torch_memory.release(version) for version in releases} == releases


def test_the_accelerator_is_found_in_every_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    now = torch_memory.accelerator()
    assert now == (torch.accelerator.current_accelerator().type if torch.accelerator.is_available() else None)  # type: ignore[union-attr]
    monkeypatch.delattr(torch, "accelerator")  # before 2.6
    assert torch_memory.accelerator() == ("cuda" if torch.cuda.is_available() else None)


def test_the_core_needs_no_torch() -> None:
    code = """
import sys
sys.modules["torch"] = None
import fastnnunet_loader._core as _core
print(_core.simd_target(), _core.available_cores())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [_core.simd_target(), str(_core.available_cores())]
    if sys.platform == "linux":
        needed = subprocess.run(["readelf", "-d", _core.__file__], capture_output=True, encoding="utf-8", check=True).stdout
        assert "torch" not in needed
