"""The names of the package: all are there, each is found when it is first used, and none of them costs a command its start."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import fastnnunet_loader as fl
from fastnnunet_loader.cli.command import COMMANDS


def typed_exports() -> dict[str, str]:
    """Each name that the package imports for type checkers, with its module; "" for a module itself."""
    tree = ast.parse(Path(fl.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return {alias.name: node.module or "" for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_type_checkers_see_is_what_there_is() -> None:
    exports = typed_exports()
    assert {*exports, "install", "uninstall"} == set(fl.__all__)
    for name, module in exports.items():
        home = importlib.import_module(f"fastnnunet_loader.{module or name}")
        assert getattr(fl, name) is (getattr(home, name) if module else home), name


def test_all_names_are_there_before_one_is_used() -> None:
    complete = "import fastnnunet_loader as fl; print(set(fl.__all__) <= set(dir(fl)))"
    said = python(f"{complete}; from fastnnunet_loader import *; print(DataLoader)")
    assert said.splitlines() == ["True", "<class 'fastnnunet_loader.loading.loader.DataLoader'>"]


def test_a_name_that_does_not_exist_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'instal'"):
        getattr(fl, "instal")  # noqa: B009 - a typo that a type checker would find  # codespell:ignore instal


@pytest.mark.parametrize("module", ["", ".cli", ".cli.train", ".errors"])
def test_what_starts_a_command_needs_no_torch(module: str) -> None:
    assert (
        python(f"import sys, fastnnunet_loader{module}; print('torch' in sys.modules, 'numpy' in sys.modules)") == "False False"
    )


@pytest.mark.parametrize(
    "module",
    [
        "loading.activity",
        "preview.views",
        "prediction.preprocessing.resampling",
        "loading.statistics",
        "transforms.noise.sharpen",
    ],
)
def test_torch_is_there_before_the_extension(module: str) -> None:
    """Whichever module is imported first: the extension uses the libraries that torch brings."""
    names = python(f"import sys, fastnnunet_loader.{module}; print(*sys.modules)").split()
    assert names.index("torch") < names.index("fastnnunet_loader._core")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_neither_torch_nor_numpy(command: str) -> None:
    """So that it is there at once: importing torch takes seconds."""
    words = [command, "--help"] if command else ["--help"]
    code = f"""
import sys
from fastnnunet_loader.cli import main
try:
    main({words!r})
except SystemExit as end:
    print(end.code, *sorted({{"torch", "numpy", "nnunetv2", "matplotlib", "fastnnunet_loader._core"}} & set(sys.modules)))
"""
    assert python(code).splitlines()[-1] == "0"
