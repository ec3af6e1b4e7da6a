"""Folders that stand for a preprocessed data set at an address, for programs that look for files in folders, as nnU-Net does.

A mirror has every file's name. Files of JSON have their content, all others are empty and stand for what is at the address.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from filelock import FileLock

from . import places
from .cache import FileCache
from .places import Place, place_of

__all__ = ["fill", "make_mirror", "mirrored", "origin", "whole"]

_MARKER = "fastnnunet_mirror.json"


def origin(file: Path) -> Place:
    """Return the place of a file: its address if the path is one, or if it is in a mirror; else the path."""
    place = place_of(file)
    if isinstance(place, Path) and (found := _mirror_of(place.parent)) is not None:
        address, root = found
        return f"{address}/{place.relative_to(root).as_posix()}"
    return place


def mirrored(folder: Path) -> bool:
    """Whether a folder is in a mirror."""
    return _mirror_of(folder) is not None


@functools.lru_cache(maxsize=1024)
def _mirror_of(folder: Path) -> tuple[str, Path] | None:
    if "fastnnunet_cache" not in folder.parts:
        return None
    for root in (folder, *folder.parents):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return str(json.loads((root / _MARKER).read_text(encoding="utf-8"))["address"]), root
    return None


def make_mirror(address: str, dataset: str, cache: Path) -> Path:
    """Bring the mirror of a data set up to date, and return the folder that stands for `address`.

    address: of the folder with data sets. dataset: name of the data set's folder in it. cache: folder of the copies.

    Raises:
        StorageError: the address cannot be read.
        ModuleNotFoundError: fsspec, or what it needs for the address, is not installed.
    """
    root = cache.absolute() / "fastnnunet_cache" / "mirrors" / hashlib.sha256(address.encode()).hexdigest()[:16]
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        _appear(root / _MARKER, lambda part: part.write_text(json.dumps({"address": address}), encoding="utf-8"))
        wanted = {root / dataset / name for name in places.tree(places.join(address, dataset))}
        for folder in {file.parent for file in wanted}:
            folder.mkdir(parents=True, exist_ok=True)
        for file in wanted:
            if file.suffix == ".json":
                place = f"{address}/{file.relative_to(root).as_posix()}"
                _appear(file, lambda part, place=place: places.copy(place, part, lambda: False))  # type: ignore[misc]
            elif not file.exists():
                file.touch()
        for file in sorted((root / dataset).rglob("*")):
            if file.is_file() and file not in wanted and file.suffix != ".json":  # nnU-Net may have made a split
                file.unlink()
    return root


@contextlib.contextmanager
def whole(files: Iterable[Path], cache: tuple[Path, int | None] | None, say: Callable[[str], None]) -> Iterator[None]:
    """Inside, those of these files that are in a mirror have their content."""
    filled = [file for file in files if isinstance(origin(file), str)]
    try:
        fill(filled, cache, say)
        yield
    finally:
        for file in filled:
            _appear(file, Path.touch)


def fill(files: Iterable[Path], cache: tuple[Path, int | None] | None, say: Callable[[str], None]) -> None:
    """Give files of a mirror their content."""
    copies: FileCache | None = None
    for file in files:
        place = origin(file)
        if isinstance(place, Path):
            continue
        if copies is None and cache is not None:
            copies = FileCache(*cache, say)
        local = None if copies is None else copies.local(place)
        if local is None:
            _appear(file, lambda part, place=place: places.copy(place, part, lambda: False))  # type: ignore[misc]
        else:
            _appear(file, lambda part, local=local: _link(local, part))  # type: ignore[misc]


def _link(source: Path, to: Path) -> None:
    try:
        os.link(source, to)
    except OSError:  # a file system without links
        shutil.copyfile(source, to)


def _appear(file: Path, write: Callable[[Path], object]) -> None:
    """Write a file that appears whole."""
    part = file.with_name(f".{file.name}.{secrets.token_hex(6)}.part")
    try:
        write(part)
        part.replace(file)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
