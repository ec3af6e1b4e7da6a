"""Runs a program in all of its ways, and makes a row of the table of each."""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .environments import NotInstalled, environment_of, site_of
from .guest import PLAIN, Guest, Scene
from .running import Seen, differing_voxels, order_names, run

__all__ = ["Row", "rows_of"]

# Says that an nnU-Net is new, and names no part that stays nnU-Net's.
_VERSION = "has not been tested"


@dataclass(frozen=True)
class Row:
    """What came of one thing that a program does, in one order of imports."""

    program: str
    version: str
    nnunet: str
    what: str
    order: str
    processes: str = ""
    """Of nnU-Net's and its own, with nnU-Net alone and with this package."""
    shared_memory: str = ""
    voxels: str = ""
    seconds: str = ""
    faults: tuple[str, ...] = ()
    """What is not as it was promised; empty where all is."""
    said: tuple[str, ...] = ()
    """What this package said of it."""


def rows_of(guest: Guest, dataset: Any, model: Path, cache: Path) -> Iterator[Row]:
    """Install a program, and yield a row for each thing that it does and each order."""
    name, version = guest.distribution.split("==")
    try:
        python = environment_of(guest, cache)
    except NotInstalled as reason:
        yield Row(guest.name, version, "", "is not installed", "", faults=(str(reason),))
        return
    site = site_of(python)
    (found,) = importlib.metadata.distributions(name="nnunetv2", path=[str(site)])
    with tempfile.TemporaryDirectory(prefix=f"guest-{name}-") as folder:
        files = sorted((dataset.raw / dataset.name / "imagesTr").glob("*_0000.nii.gz"))[:2]
        images = Path(folder, "images_of_the_data_set")
        images.mkdir()
        for file in files:
            (images / file.name).symlink_to(file)
        scene = Scene(dataset, model, tuple(images / file.name for file in files), python, site, Path(folder))
        environment = guest.prepare(scene)
        for work in guest.works:
            plain = run(guest, work, scene, python, PLAIN, environment)
            for order in work.orders:
                with_package = run(guest, work, scene, python, order, environment)
                yield _row(guest, version, found.version, work.what, order, work.compared, plain, with_package)


def _row(guest: Guest, version: str, nnunet: str, what: str, order: str, compared: bool, plain: Seen, seen: Seen) -> Row:
    faults = [f"{whose}: {run.error}" for whose, run in (("nnU-Net alone", plain), ("with this package", seen)) if run.code]
    named = [text for text in seen.said if _VERSION not in text]
    voxels = "-"
    if compared and not faults:
        try:
            differing, of = differing_voxels(plain, seen)
            voxels = f"{differing} of {of:,}"
            if differing and not named:
                faults.append(f"{differing} voxels differ, and nothing was said")
        except AssertionError as other:
            faults.append(str(other))
    if seen.workers and not named:
        by = ", ".join(f"{count} by {who}" for who, count in seen.processes.items() if not who.startswith(guest.own or "\0"))
        faults.append(f"processes were started, and nothing was said: {by}")
    if seen.left:
        faults.append(f"after uninstall() these are not as they were: {', '.join(seen.left)}")
    return Row(
        guest.name,
        version,
        nnunet,
        what,
        order_names(order),
        f"{plain.workers} / {seen.workers}" + (f" (its own: {plain.own} / {seen.own})" if plain.own or seen.own else ""),
        f"{plain.shared_memory} / {seen.shared_memory}",
        voxels,
        f"{plain.seconds:.0f} / {seen.seconds:.0f}",
        tuple(faults),
        tuple(dict.fromkeys(seen.said)),
    )
