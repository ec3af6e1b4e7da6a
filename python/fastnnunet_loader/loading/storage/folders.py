"""A folder of cases, on a disk or at an address."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ... import _core
from ...errors import StorageError
from .places import Place, join, names, place_of

__all__ = ["Folder"]


class Folder:
    """What is in a folder of cases.

    Raises:
        StorageError: its address cannot be read.
        ModuleNotFoundError: fsspec, or what it needs for the address, is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.place = place = place_of(folder)
        # Those of an address, which is listed once. A folder is asked for each file: it may have very many.
        self._names = None if isinstance(place, Path) else set(names(place))

    def require(self) -> None:
        """Raise a StorageError if there is no such folder."""
        if isinstance(self.place, Path) and not self.place.is_dir():
            reason = f"expected a folder of cases, got {'a file' if self.place.exists() else 'no such folder'}"
            raise StorageError(f"[{self.place}] {reason}", file=str(self.place), reason=reason)

    def lacks(self, name: str) -> bool:
        """Whether it is known without a look at the disk that there is no file of this name."""
        return self._names is not None and name not in self._names

    def has(self, name: str) -> bool:
        """Whether there is a file of this name."""
        return (Path(self.place) / name).is_file() if self._names is None else name in self._names

    def file(self, name: str) -> Place:
        """Return the place of a file."""
        return join(self.place, name)

    def cases(self) -> list[_core.CaseFiles]:
        """Return the cases by the names of their files."""
        if self._names is None:
            return _core.find_cases(Path(self.place), labelled=False)
        # The core looks into a folder; names are all that it looks at.
        with tempfile.TemporaryDirectory() as folder:
            for name in self._names:
                if name.endswith((".b2nd", ".npy", ".npz")):
                    (Path(folder) / name).touch()
            return _core.find_cases(Path(folder), labelled=False)
