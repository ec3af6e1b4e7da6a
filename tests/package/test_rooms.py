"""Rooms stay small: files that can be read in one sitting, and folders whose files can be told apart."""

from __future__ import annotations

import ast
from pathlib import Path

import fastnnunet_loader

PACKAGE = Path(fastnnunet_loader.__file__).parent
LINES = 400
FILES = 12


def test_files_are_short_or_say_why_they_are_not() -> None:
    long = {}
    for file in PACKAGE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        lines = text.count("\n")
        if lines > LINES and "One file because" not in (ast.get_docstring(ast.parse(text)) or ""):
            long[str(file.relative_to(PACKAGE))] = lines
    assert long == {}, "split it by responsibility, or say in its head: One file because ..."


def test_a_folder_has_at_most_a_dozen_modules() -> None:
    modules: dict[Path, int] = {}
    for file in PACKAGE.rglob("*.py"):
        if not file.name.startswith("__"):
            modules[file.parent] = modules.get(file.parent, 0) + 1
    assert {str(folder.relative_to(PACKAGE)): count for folder, count in modules.items() if count > FILES} == {}


def test_every_folder_says_what_it_holds() -> None:
    silent = [
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("__init__.py")
        if not ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert silent == []
