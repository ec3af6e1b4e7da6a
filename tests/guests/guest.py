"""What is known of a program: what to install, where it looks for its weights, and what it is asked to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["FIRST", "LAST", "PLAIN", "RUN", "Guest", "Scene", "Work"]

PLAIN = "plain"
FIRST = "first"
"""`fastnnunet_loader.install()`, and then the program is imported."""
LAST = "last"
"""The program is imported, and then `fastnnunet_loader.install()`."""
RUN = "run"
"""`fastnnunet run`, with the program in its place."""


@dataclass(frozen=True)
class Scene:
    """What a program is run on."""

    dataset: Any
    """The data set, a `datasets.Dataset`."""
    model: Path
    """Folder of a network trained on it, as nnU-Net writes it: dataset.json, plans.json, fold_0."""
    images: tuple[Path, ...]
    """Two images of the data set, NAME_0000.nii.gz."""
    python: Path
    """The interpreter of the program's own environment."""
    site: Path
    """Its site-packages."""
    folder: Path
    """An empty folder for whatever the program needs; all of its runs share it."""


@dataclass(frozen=True)
class Work:
    """One thing that a program does."""

    what: str
    call: str
    """MODULE:FUNCTION, where MODULE may be a file of the folder `works`, which the program's environment can import."""
    arguments: Callable[[Scene, Path], list[str]]
    """Given the folder for the results."""
    imports: tuple[str, ...] = ()
    """Modules that the program would import only later, and that LAST imports before install()."""
    orders: tuple[str, ...] = (FIRST,)
    compared: bool = True
    """Whether two runs of it with nnU-Net alone would give the same voxels."""


@dataclass(frozen=True)
class Guest:
    """A program."""

    name: str
    distribution: str
    """Its name in the package index, with the version that is installed."""
    works: tuple[Work, ...]
    prepare: Callable[[Scene], Mapping[str, str]]
    """Puts weights where the program looks for them; returns what it needs in its environment."""
    requirements: tuple[str, ...] = ()
    """What else is installed beside it."""
    alone: tuple[str, ...] = ()
    """Requirements that are installed without what they ask for."""
    nnunet: str | None = None
    """The version of nnU-Net that it needs; None for the one that the tests have."""
    own: tuple[str, ...] = field(default=())
    """Starts of the paths of modules that start processes which are none of nnU-Net's."""
    note: str = ""
    """What the table has to say of how it was installed."""
