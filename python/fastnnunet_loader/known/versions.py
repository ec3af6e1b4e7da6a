"""Which nnU-Net is there, by what its code has, whether or not it was installed with its version."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

from ..errors import NotSupportedError

__all__ = ["LEAST", "TESTED", "Version", "found", "note", "require"]

LEAST = "2.6"  # of nnU-Net: it brought the data loader and the data sets that are replaced
TESTED = {"nnunetv2": ("2.6.4", "2.8.1"), "batchgeneratorsv2": ("0.3.6",)}
_NAMES = {"nnunetv2": "nnU-Net"}
_NEEDED = {
    "nnunetv2.training.dataloading.data_loader": ("nnUNetDataLoader",),
    "nnunetv2.training.dataloading.nnunet_dataset": ("nnUNetDatasetBlosc2", "nnUNetDatasetNumpy"),
}


@dataclass(frozen=True)
class Version:
    """A package as Python would import it."""

    package: str
    number: str | None  # None where nothing tells it
    folder: Path

    def __str__(self) -> str:
        return f"{self.number or 'a version that nothing tells'} in {self.folder}"


def found(package: str) -> Version | None:
    """The version that Python imports; None where there is none."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(next(iter(spec.submodule_search_locations))).resolve()
    return Version(package, next(_numbers(package, folder), None), folder)


def _numbers(package: str, folder: Path) -> Iterator[str]:
    """What says the version of the package in that folder, and not of another copy."""
    distributions = [d for d in importlib.metadata.distributions(name=package) if d.metadata["Version"]]
    for distribution in distributions:
        if Path(str(distribution.locate_file(package))).resolve() == folder:
            yield distribution.version
    for distribution in distributions:  # installed to be edited: it says where its sources are
        project = _project(distribution)
        if project is not None and folder.is_relative_to(project):
            yield distribution.version
    for name in ("pyproject.toml", "setup.py"):  # a source tree
        file = folder.parent / name
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            yield from re.findall(r"^\s*version\s*=\s*[\"']([^\"']+)[\"']", text, re.MULTILINE)[:1]


def _project(distribution: importlib.metadata.Distribution) -> Path | None:
    said = distribution.read_text("direct_url.json")
    if not said:
        return None
    try:
        url = urlparse(json.loads(said)["url"])
    except (ValueError, KeyError, TypeError):
        return None
    return Path(unquote(url.path)).resolve() if url.scheme == "file" else None


def require() -> None:
    """Looks whether nnU-Net has what is replaced.

    Raises:
        NotSupportedError: it is older than 2.6, or not there.
    """
    version = found("nnunetv2")
    if version is None:
        raise NotSupportedError(f"[nnunetv2] expected version {LEAST} or later, got none that can be imported")
    for module, names in _NEEDED.items():
        missing = not _exists(module)
        if not missing:
            imported = importlib.import_module(module)
            missing = not all(hasattr(imported, name) for name in names)
        if missing:
            raise NotSupportedError(f"[nnunetv2] expected version {LEAST} or later, got {version}")


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def note() -> str | None:
    """A line for the log where a version is not one of those that this package is tested with; None where all are."""
    others = []
    for package, tested in TESTED.items():
        version = found(package)
        if version is not None and version.number not in tested:
            name = _NAMES.get(package, package)
            others.append(f"{name} {version} has not been tested with this loader (tested: {', '.join(tested)})")
    if not others:
        return None
    return f"{'; '.join(others)}. What is as in a tested version runs natively; what is not is left to Python, and named."
