"""The folder of packed cases: what is done of it, so that the next run goes on with the others.

`pack.json` says what was asked for, and `.packed.jsonl` has a line for each finished case.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .._core import __version__
from ..prediction.export.outputs import remove_leftovers
from ..prediction.images.checks import output_problem
from ..preprocessing.record import Record, digest_of
from .cases import PackCase
from .plans import INTENSITIES

__all__ = ["PackedFolder"]

FORMAT = 1
"""Increased if files change that the same settings make."""

SETTINGS = "pack.json"
RECORD = ".packed.jsonl"


class PackedFolder:
    """A folder that is packed.

    Args:
        root: the folder; made if it is missing.
        settings: what is asked for.
        overwrite: whether other files of the cases may be replaced, and what other settings packed be removed.
        say: is told what is removed.

    Raises:
        ValueError: the folder cannot be written to, or holds what another program or other settings made.
    """

    def __init__(self, root: Path, settings: dict[str, Any], overwrite: bool, say: Callable[[str], None]) -> None:
        self.root = root
        self._settings: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **settings}))
        if problem := output_problem(root):
            raise ValueError(f"[output] {problem}")
        self._overwrite = overwrite
        before = self._read()
        if before is not None and before.get("settings") != self._settings:
            self._refuse_or_empty(before, say)
            before = None
        self.intensities: dict[str, Any] | None = None if before is None else before.get(INTENSITIES)
        """Of the foreground in the data set, if an earlier run knew them."""
        self.record = Record(root, digest_of(self._settings), root / RECORD)
        self._is_new = before is None
        for line in remove_leftovers(root).describe(root):
            say(line)

    def begin(self, cases: Sequence[PackCase], intensities: dict[str, Any] | None) -> None:
        """Write down what is asked for.

        intensities: of the foreground in the data set, if they are known.

        Raises:
            ValueError: files of these cases are there that this package has not written.
        """
        if self._is_new and not self._overwrite:
            names = [f"{case.name}{ending}" for case in cases for ending in (".b2nd", ".npz", ".npy", ".pkl")]
            if there := [name for name in names if (self.root / name).exists()]:
                raise ValueError(
                    f"[output] expected a folder without files of these cases, got {there[0]} in {self.root}, "
                    f"written by another program; --overwrite replaces {'it' if len(there) == 1 else f'all {len(there)}'}"
                )
        if self._is_new or intensities != self.intensities:
            content = {"made_by": f"fastnnunet-loader {__version__}", "settings": self._settings, INTENSITIES: intensities}
            part = self.root / f".{SETTINGS}-{secrets.token_hex(8)}"
            part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            part.replace(self.root / SETTINGS)
        self.record.begin()

    def others(self, cases: Sequence[PackCase]) -> list[str]:
        """Return the names of packed cases that are not among these."""
        names = {case.name for case in cases}
        return sorted(name for name in self.record.cases() if name not in names)

    def make_room(self, case: PackCase, names: Sequence[str]) -> None:
        """Remove what an earlier run packed of a case before it gets new files with these names.

        The file that a case is found by goes first, so that no case is there with old and new files.
        """
        image = f"{case.name}.b2nd"
        old = {image, f"{case.name}.npz", f"{case.name}.npy", f"{case.name}_seg.b2nd", f"{case.name}_target.b2nd"}
        for name in sorted(old | self.record.files([case.name]), key=lambda name: name != image):
            if name == image or name not in names:
                (self.root / name).unlink(missing_ok=True)

    def _read(self) -> dict[str, Any] | None:
        try:
            content = json.loads((self.root / SETTINGS).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            content = {}
        return content if isinstance(content, dict) and isinstance(content.get("settings"), dict) else {"settings": {}}

    def _refuse_or_empty(self, before: dict[str, Any], say: Callable[[str], None]) -> None:
        old = before["settings"]
        if not self._overwrite:
            differ = [name for name in {**old, **self._settings} if old.get(name) != self._settings.get(name)]
            name = differ[0]
            raise ValueError(
                f"[output] expected the settings that packed {self.root}, {name} {_short(old.get(name))}, "
                f"got {_short(self._settings.get(name))}; --overwrite packs it anew"
            )
        record = Record(self.root, digest_of(old), self.root / RECORD)
        files = record.files(record.cases())
        say(f"removing {len(files)} files that other settings packed from {self.root}")
        for file in files:
            (self.root / os.path.basename(file)).unlink(missing_ok=True)  # noqa: PTH119 - a name in a file of this folder
        for file in (SETTINGS, RECORD):
            (self.root / file).unlink(missing_ok=True)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]} ..."
