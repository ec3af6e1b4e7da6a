"""The cases to pack: of folders, by the names of files, or of a list."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PreprocessingError
from .dicom import looks_like_dicom
from .formats import split

__all__ = ["PackCase", "Suffixes", "cases_of_folder", "cases_of_list", "read_list"]

TAKEN = ("_seg", "_target")
"""What follows the names of cases in the names of packed files."""


@dataclass(frozen=True)
class PackCase:
    """Files of one case; a DICOM series is a folder."""

    name: str
    images: tuple[str, ...]
    """One for each channel, or one with all channels."""
    label: str | None = None
    target: str | None = None

    @property
    def beside(self) -> tuple[str, ...]:
        """The files beside the images."""
        return tuple(file for file in (self.label, self.target) if file is not None)

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that the result depends on."""
        return tuple(file for given in (*self.images, *self.beside) for file in _all_files(given))


@dataclass(frozen=True)
class Suffixes:
    """What follows the name of a case in the names of its label and of its target."""

    label: str = ""
    target: str = ""


Found = tuple[list[PackCase], list[PreprocessingError]]
"""Cases, and errors of others."""


def bad(name: str, file: str, reason: str) -> PreprocessingError:
    """Return the error of a case that was found out before anything is read."""
    return PreprocessingError(case=name, stage="check", file=file, reason=reason)


def cases_of_folder(
    images: Path,
    folders: tuple[Path | None, Path | None],
    suffixes: Suffixes,
    channel_endings: bool | None,
    say: Callable[[str], None],
) -> Found:
    """Return the cases of a folder of images, or of one file.

    Args:
        images: files, and folders with a DICOM series each; or one of these.
        folders: of labels and of targets.
        suffixes: of their names.
        channel_endings: whether names end in the number of the channel, _0000; None finds out.
        say: is told what is ignored.

    Raises:
        ValueError: there are none.
    """
    wanted = {"labels": (folders[0], suffixes.label), "targets": (folders[1], suffixes.target)}
    # In the folder of the images, names tell labels from images.
    others = tuple(suffix for folder, suffix in wanted.values() if folder is not None and folder == images and suffix)
    listed = {name: files for name, files in _listed("images", images, say).items() if not (others and name.endswith(others))}
    beside = {what: {} if folder is None else _listed(what, folder, say) for what, (folder, _) in wanted.items()}
    if channel_endings is None:
        channel_endings = _have_channels(listed, {*beside["labels"], *beside["targets"]}, wanted)
    cases: list[PackCase] = []
    errors: list[PreprocessingError] = []
    used: dict[str, set[str]] = {what: set() for what in wanted}
    for name, channels in _channels(listed, channel_endings, errors).items():
        found: dict[str, str | None] = {}
        for what, (folder, suffix) in wanted.items():
            files = beside[what].get(f"{name}{suffix}", [])
            used[what].add(f"{name}{suffix}")
            if folder is not None and len(files) != 1:
                got = ", ".join(Path(file).name for file in files) or "none"
                reason = f"expected one file {name}{suffix} with any ending in {folder}, got {got}"
                errors.append(bad(name, channels[0], reason))
                break
            found[what] = files[0] if files else None
        else:
            cases.append(PackCase(name, channels, found["labels"], found["targets"]))
    for what, files_of in beside.items():
        suffix = wanted[what][1]
        if left := sorted(name for name in files_of.keys() - used[what] if name.endswith(suffix) and what not in listed):
            say(f"ignoring {what} without an image: {_some(left)}")
    return _checked(cases, errors)


def _listed(what: str, folder: Path, say: Callable[[str], None]) -> dict[str, list[str]]:
    """The files of a folder that are images, and folders with DICOM files, by their names without an ending."""
    if not folder.exists():
        raise ValueError(f"[{what}] expected a folder, got {folder}, which does not exist")
    if folder.is_file():
        name, ending = split(folder.name)
        if not ending:
            raise ValueError(f"[{what}] expected an image of a format that is read, got {folder}")
        return {name: [str(folder)]}
    if looks_like_dicom(folder):
        return {folder.resolve().name: [str(folder)]}
    found: dict[str, list[str]] = {}
    ignored = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        name, ending = split(path.name)
        if path.is_dir():
            if looks_like_dicom(path):
                found.setdefault(path.name, []).append(str(path))
            else:
                ignored.append(path.name)
        elif ending:
            found.setdefault(name, []).append(str(path))
        elif not _is_part(path):
            ignored.append(path.name)
    if ignored:
        say(f"ignoring what is no image in {folder}: {_some(ignored)}")
    if not found:
        raise ValueError(f"[{what}] expected images, or folders with a DICOM series, in {folder}, got none")
    return found


def _is_part(path: Path) -> bool:
    """Whether it holds the voxels of another file, such as of an .mhd."""
    return path.suffix.lower() in (".raw", ".zraw") or path.name.lower().endswith(".raw.gz")


def _have_channels(listed: Iterable[str], beside: set[str], wanted: Mapping[str, tuple[Path | None, str]]) -> bool:
    """Whether names end in the number of a channel: then some end in _0000, and labels do not have these endings."""
    names = list(listed)
    if not any(name.endswith("_0000") for name in names):
        return False
    suffixes = [suffix for folder, suffix in wanted.values() if folder is not None]
    return not any(f"{name}{suffix}" in beside for name in names for suffix in suffixes if _number(name) is not None)


def _number(name: str) -> int | None:
    match = re.fullmatch(r".*_(\d{4})", name, re.DOTALL)
    return None if match is None else int(match[1])


def _channels(listed: Mapping[str, list[str]], endings: bool, errors: list[PreprocessingError]) -> dict[str, tuple[str, ...]]:
    """The images of each case. Errors are added."""
    grouped: dict[str, dict[int, str]] = {}
    for name, files in listed.items():
        if len(files) > 1:
            errors.append(bad(name, files[0], f"expected one image of this name, got {_names(files)}"))
            continue
        number = _number(name) if endings else 0
        if number is None:
            reason = f"expected a name with the number of the channel, such as {name}_0000, as others have, got {name}"
            errors.append(bad(name, files[0], reason))
            continue
        grouped.setdefault(name[:-5] if endings else name, {})[number] = files[0]
    count = max((max(channels) + 1 for channels in grouped.values()), default=0)
    cases = {}
    for name, channels in grouped.items():
        missing = [number for number in range(count) if number not in channels]
        if missing and endings:
            got = _names(list(channels.values()))
            reason = f"expected {count} channels, as other cases have, got {got} and none that ends in _{missing[0]:04d}"
            errors.append(bad(name, next(iter(channels.values())), reason))
        else:
            cases[name] = tuple(channels[number] for number in sorted(channels))
    return cases


def read_list(file: Path, section: str) -> tuple[list[Any], Path]:
    """Return the entries of a JSON file, MONAI's datalist or a plain list, and the folder that paths are relative to.

    Raises:
        ValueError: it is no such file.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"[images] expected a folder or a JSON list of cases, got {file}: {error}") from error
    if isinstance(content, dict):
        if not isinstance(content.get(section), list):
            there = ", ".join(name for name, value in content.items() if isinstance(value, list)) or "no list"
            raise ValueError(f"[section] expected a list of cases in {file}, got {section!r}; there is {there}")
        content = content[section]
    if not isinstance(content, list) or not content:
        raise ValueError(f"[images] expected a list of cases in {file}, got {'an empty one' if content == [] else 'none'}")
    return content, file.parent


def cases_of_list(entries: Sequence[Any], folder: Path) -> Found:
    """Return the cases of a list.

    Args:
        entries: mappings with "image", a file or one for each channel, and perhaps "label", "target" and "name"; or files.
        folder: that relative paths start from.

    Raises:
        ValueError: an entry has another form.
    """
    cases: list[PackCase] = []
    errors: list[PreprocessingError] = []
    for number, entry in enumerate(entries):
        given = entry if isinstance(entry, Mapping) else {"image": entry}
        images = given.get("image")
        many = list(images) if isinstance(images, (list, tuple)) else [images]
        others = [given.get(key) for key in ("label", "target")]
        files = [*many, *(other for other in others if other is not None)]
        if not many or not all(isinstance(file, (str, Path)) and str(file) for file in files):
            raise ValueError(f"[images] expected files as 'image', 'label' and 'target' of entry {number}, got {entry!r}")
        paths = [str(Path(folder, str(file))) for file in many]
        label, target = (None if other is None else str(Path(folder, other)) for other in others)
        first = Path(paths[0]).name
        name = split(first)[0] if split(first)[1] else first
        name = str(given.get("name", name[:-5] if name.endswith("_0000") else name))
        if missing := [file for file in (*paths, label, target) if file is not None and not Path(file).exists()]:
            errors.append(bad(name, missing[0], "expected a file, got none"))
            continue
        cases.append(PackCase(name, tuple(paths), label, target))
    for what in ("label", "target"):
        if any(getattr(case, what) for case in cases):
            lacking = [case for case in cases if getattr(case, what) is None]
            errors += [bad(case.name, case.images[0], f"expected a {what}, as other cases have, got none") for case in lacking]
            cases = [case for case in cases if getattr(case, what) is not None]
    return _checked(cases, errors)


def _checked(cases: list[PackCase], errors: list[PreprocessingError]) -> Found:
    """Refuse names that cannot be those of packed files."""
    by_name: dict[str, list[PackCase]] = {}
    for case in cases:
        by_name.setdefault(case.name.casefold(), []).append(case)  # some file systems do not tell them apart
    good = []
    for same in by_name.values():
        first = same[0]
        if len(same) > 1:
            listed = ", ".join(case.images[0] for case in same)
            reason = f'expected a name for each case, got it for {listed}; an entry of a list may have a "name"'
            errors.append(bad(first.name, "", reason))
        elif first.name.endswith(TAKEN) or not first.name or re.search(r'[/\\:*?"<>|]', first.name) or first.name[0] == ".":
            reason = f"expected a name that files can have, and that does not end in {' or '.join(TAKEN)}, got {first.name!r}"
            errors.append(bad(first.name, first.images[0], reason))
        else:
            good.append(first)
    return good, errors


def _all_files(given: str) -> list[str]:
    if not Path(given).is_dir():
        return [given]
    return sorted(str(file) for file in Path(given).iterdir() if file.is_file())


def _names(files: Sequence[str]) -> str:
    return ", ".join(Path(file).name for file in files)


def _some(names: Sequence[str], most: int = 5) -> str:
    listed = ", ".join(names[:most])
    return listed if len(names) <= most else f"{listed} and {len(names) - most} more"
