"""Which cases of an unfinished run are done, so that the next run goes on with the others.

nnU-Net begins every run with an empty folder. So does this package, unless the folder is what an interrupted run of the same
plans left there. The record is a file beside the folder, of one line for each finished case. It is gone when all are finished.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from .cases import RawCase

__all__ = ["Record", "digest_of", "stamps_of_raw"]


def digest_of(*parts: Any) -> str:
    """A digest of what decides the result, of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


Stamps = list[list[int]]
"""Size and time of each of some files."""


def stamps_of_raw(case: RawCase) -> Stamps:
    """Return those of a case's raw files."""
    return [_stamp(file) for file in case.files]


def _stamp(file: str | Path) -> list[int]:
    status = os.stat(file)  # noqa: PTH116 - texts
    return [status.st_size, status.st_mtime_ns]


class Record:
    """Of one folder of preprocessed cases.

    Args:
        folder: of the preprocessed cases.
        digest: of all that decides what is written there.
        file: of the record; None for one beside the folder.
    """

    def __init__(self, folder: Path, digest: str, file: Path | None = None) -> None:
        self.file = folder.parent / f".{folder.name}.fastnnunet-unfinished" if file is None else file
        self._folder = folder
        self._digest = digest
        self._lock = threading.Lock()

    def cases(self) -> list[str]:
        """Return the names of all cases that were finished."""
        return list(self._read())

    def files(self, cases: Collection[str]) -> set[str]:
        """Return the names of the files of these finished cases."""
        return {name for case, entry in self._read().items() if case in cases for name in entry["files"]}

    def finished(self, cases: Sequence[RawCase]) -> set[str]:
        """Return the names of cases that the last run finished, whose files are there and whose raw files are the same."""
        told = self._read()
        found = set()
        for case in cases:
            try:
                entry = told.get(case.name)
                if entry is None or entry["raw"] != stamps_of_raw(case):
                    continue
                # Another program may have preprocessed the same folder in between.
                if all(_stamp(self._folder / name) == stamp for name, stamp in entry["files"].items()):
                    found.add(case.name)
            except OSError:
                continue
        return found

    def begin(self) -> None:
        """Note that a run has begun, with whatever of the last one is still valid."""
        if self._read() or self._is_of_this():
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps({"digest": self._digest}) + "\n", encoding="utf-8")

    def add(self, case: RawCase, raw: Stamps, files: Sequence[str]) -> None:
        """Note that the files of a case, with these names, are complete. raw: stamps from before the raw files were read."""
        written = {name: _stamp(self._folder / name) for name in files}
        line = json.dumps({"case": case.name, "raw": raw, "files": written}) + "\n"
        with self._lock, self.file.open("a", encoding="utf-8") as stream:
            stream.write(line)

    def end(self) -> None:
        """Note that all cases are finished."""
        self.file.unlink(missing_ok=True)

    def _is_of_this(self) -> bool:
        try:
            first = self.file.read_text(encoding="utf-8").partition("\n")[0]
            return bool(json.loads(first)["digest"] == self._digest)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _read(self) -> dict[str, Any]:
        if not self._is_of_this():
            return {}
        told = {}
        for line in self.file.read_text(encoding="utf-8").splitlines()[1:]:
            try:
                entry = json.loads(line)
                told[entry["case"]] = {"raw": entry["raw"], "files": dict(entry["files"])}
            except (ValueError, KeyError, TypeError):  # a line that was being written
                continue
        return told
