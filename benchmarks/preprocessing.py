"""Fingerprint and preprocessing, here and in nnU-Net, on real images, in one run.

    python -m benchmarks.preprocessing [labels] [lungs] [small] [--json FILE]
    python -m benchmarks.preprocessing --rows FILE     # the table of docs/preprocessing.md, from such a file

labels: chests with 61 labels. lungs: chests of 512 x 512 x 50, 1 label. small: brains of 256 x 256 x 25, 1 label. Volumes are
those of the source distribution of `pyradiomics`; spacings vary by case along each axis, so that everything is resized. Each
side runs whole commands in processes of their own, nnU-Net with two worker processes: `extract_fingerprint`, `preprocess` of
3d_fullres with the same plans, and from raw images to 3d_fullres in one command, `plan_and_preprocess`. CPU seconds are those
of the process and all that it started; memory is that of the whole process tree.
floor: one thread reads each case with nnU-Net's reader, and compresses what preprocessing writes, with the filters found there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fastnnunet_loader.bench.measure import PeakMemory

from .machine import machine

SIDES = ("nnunet", "fastnnunet", "floor")
PARTS = ("labels", "lungs", "small")
STEPS = ("extract_fingerprint", "preprocess", "plan_and_preprocess")
CASES = {"labels": 8, "lungs": 8, "small": 8}
ID = 150
MIB = 2**20


@dataclass(frozen=True)
class Figures:
    """What one side took for one command on one data set."""

    side: str
    data: str
    step: str
    cases: int
    cpu_seconds: float
    wall_seconds: float
    peak_memory: int


def volumes(part: str, scans: Path) -> list[tuple[Any, Any, tuple[float, float, float]]]:
    """Image, labels and spacing (z, y, x) of each case."""
    import SimpleITK

    def read(name: str) -> list[np.ndarray]:
        files = (scans / f"{name}_image.nrrd", scans / f"{name}_label.nrrd")
        return [SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file))) for file in files]

    made = []
    for number in range(CASES[part]):
        image, label = read(("brain" if part == "small" else "lung") + "12"[number % 2])
        scale, other = 1 + 0.03 * number, 1 + 0.03 * (number * 3 % 8)
        if part == "labels":
            image = image[:, 60:-60:3, 40:-40:3][: 48 - number]
            image = np.repeat(image, 3, axis=0)
            z, y, x = np.indices(image.shape)
            body = image > -300
            label = np.where(body, 1 + (z // 24 * 25 + y // 26 * 5 + x // 26) % 61, 0)
            spacing = (1.7 * other, 1.9 * scale, 1.9 * scale)
        elif part == "lungs":
            image, label = image[:50], label[:50]
            spacing = (5.0 * other, 0.6 * scale, 0.6 * scale)
        else:
            spacing = (6.0 * other, 0.8 * scale, 0.8 * scale)
        made.append((image.astype(np.int16), label.astype(np.uint8), spacing))
    return made


def build(part: str, scans: Path, root: Path) -> int:
    """Write a raw data set; return its number."""
    import SimpleITK

    number = ID + PARTS.index(part)
    folder = root / "nnUNet_raw" / f"Dataset{number}_{part}"
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    most = 1
    for index, (image, labels, spacing) in enumerate(volumes(part, scans)):
        most = max(most, int(labels.max()))
        for array, file in ((image, f"imagesTr/c{index}_0000.nii.gz"), (labels, f"labelsTr/c{index}.nii.gz")):
            made = SimpleITK.GetImageFromArray(array)
            made.SetSpacing(tuple(reversed(spacing)))
            SimpleITK.WriteImage(made, str(folder / file))
    description = {
        "channel_names": {"0": "MR" if part == "small" else "CT"},
        "labels": {"background": 0, **{f"label {n}": n for n in range(1, most + 1)}},
        "numTraining": CASES[part],
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return number


ENTRIES = {step: f"{step}_entry" for step in (*STEPS, "plan_experiment")}
MODULE = "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints"


def command(side: str, step: str, number: int) -> list[str]:
    options = ["-d", str(number)]
    if step in ("preprocess", "plan_and_preprocess"):
        options += ["-c", "3d_fullres", "-np", "2"]
    if step == "extract_fingerprint":
        options += ["-np", "2"]
    if step == "plan_and_preprocess":
        options += ["-npfp", "2"]
    if side == "floor":
        return [sys.executable, "-m", "benchmarks.preprocessing", "--floor", str(number)]
    if side == "fastnnunet":
        return [sys.executable, "-m", "fastnnunet_loader.cli", step, *options, "--threads", "2"]
    return [sys.executable, "-c", f"from {MODULE} import {ENTRIES[step]} as run; run()", *options]


def measured(side: str, part: str, step: str, number: int, root: Path) -> Figures:
    """Run a command to its end."""
    preprocessed = root / f"{side}_{'whole' if step == 'plan_and_preprocess' else 'preprocessed'}"
    folders = {"nnUNet_raw": str(root / "nnUNet_raw"), "nnUNet_preprocessed": str(preprocessed),
               "nnUNet_results": str(root / "nnUNet_results")}  # fmt: skip
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        process = subprocess.Popen(
            command(side, step, number), env={**os.environ, **folders}, stdout=said, stderr=subprocess.STDOUT
        )
        with PeakMemory(process.pid, interval=0.2) as peak:  # more often, it takes part of a core from what is measured
            _, status, used = os.wait4(process.pid, 0)  # with all processes that it has waited for
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            said.seek(0)
            raise RuntimeError(said.read())
    return Figures(side, part, step, CASES[part], used.ru_utime + used.ru_stime, wall, peak.bytes)


def floor(number: int) -> None:
    """Read each raw case, and pack what is in the preprocessed folder once more."""
    import blosc2
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    from fastnnunet_loader import _core

    (raw,) = Path(str(nnUNet_raw)).glob(f"Dataset{number}_*")
    for file in sorted((raw / "imagesTr").iterdir()):
        SimpleITKIO().read_images([str(file)])
        SimpleITKIO().read_seg(str(raw / "labelsTr" / file.name.replace("_0000", "")))
    (folder,) = Path(str(nnUNet_preprocessed)).glob(f"Dataset{number}_*/nnUNetPlans_3d_fullres")
    data = nnUNetDatasetBlosc2(str(folder))
    target = folder.parent / "floor"
    for case in data.identifiers:
        for array in data.load_case(case)[:2]:
            shuffle = blosc2.Filter.SHUFFLE in array.schunk.cparams.filters
            layout: dict[str, Any] = {"chunks": array.chunks, "blocks": array.blocks, "shuffle": shuffle}
            packed = _core.pack_b2nd(case, array[:], **layout, threads=1)
            target.write_bytes(packed)


def compare(part: str, number: int, root: Path, folder: str) -> None:
    """Raise AssertionError unless both sides made the same."""
    import blosc2

    ours, theirs = (root / f"{side}_{folder}" / f"Dataset{number}_{part}" for side in ("fastnnunet", "nnunet"))
    fingerprints = [json.loads((one / "dataset_fingerprint.json").read_text(encoding="utf-8")) for one in (ours, theirs)]
    assert fingerprints[0] == fingerprints[1]
    files = sorted((theirs / "nnUNetPlans_3d_fullres").glob("*.b2nd"))
    assert len(files) == 2 * CASES[part]
    for file in files:
        mine, reference = (blosc2.open(urlpath=str(one / file.parent.name / file.name))[:] for one in (ours, theirs))
        if file.name.endswith("_seg.b2nd"):
            assert np.mean(mine != reference) < 1e-4
        else:
            assert np.abs(mine - reference).max() <= 1e-4 * (reference.max() - reference.min())


def run(part: str, scans: Path) -> list[Figures]:
    """Both sides and the floor on one data set."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        number = build(part, scans, root)
        name = f"Dataset{number}_{part}"
        for side in ("fastnnunet", "nnunet"):
            (root / f"{side}_preprocessed").mkdir()
            found.append(measured(side, part, "extract_fingerprint", number, root))
        measured("nnunet", part, "plan_experiment", number, root)
        for file in ("nnUNetPlans.json", "dataset.json"):
            shutil.copy(root / "nnunet_preprocessed" / name / file, root / "fastnnunet_preprocessed" / name / file)
        found += [measured(side, part, "preprocess", number, root) for side in ("fastnnunet", "nnunet")]
        compare(part, number, root, "preprocessed")
        for side in ("fastnnunet", "nnunet"):
            (root / f"{side}_whole").mkdir()
            found.append(measured(side, part, "plan_and_preprocess", number, root))
        compare(part, number, root, "whole")
        (root / "floor_preprocessed").symlink_to(root / "fastnnunet_preprocessed")
        found.append(measured("floor", part, "preprocess", number, root))
    return found


def table(found: list[Figures]) -> Table:
    """A row for each command and side."""
    shown = Table(title="whole commands; CPU seconds a case in brackets")
    for column in ("data", "command", "side", "CPU s", "wall s", "peak MiB"):
        shown.add_column(column, justify="left" if column in ("data", "command", "side") else "right")
    for one in found:
        shown.add_row(
            one.data, one.step, one.side, f"{one.cpu_seconds:.1f} ({one.cpu_seconds / one.cases:.2f})",
            f"{one.wall_seconds:.1f}", f"{one.peak_memory / MIB:.0f}",
        )  # fmt: skip
    return shown


def rows(figures: list[dict[str, Any]]) -> list[str]:
    """Lines of a Markdown table: a row for each data set and command, nnU-Net's, here and floor."""
    found = {(one["data"], one["step"], one["side"]): one for one in figures}
    titles = ["data", "command", "nnU-Net, CPU s", "here, CPU s", "times less", "floor, CPU s", "nnU-Net, s", "here, s"]
    titles += ["nnU-Net, MiB", "here, MiB"]
    made = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for part in PARTS:
        for step in STEPS:
            theirs, ours = found[part, step, "nnunet"], found[part, step, "fastnnunet"]
            floor_of_it = found.get((part, step, "floor"))
            shown = [
                f"{theirs['cpu_seconds']:.1f}", f"{ours['cpu_seconds']:.1f}",
                f"{theirs['cpu_seconds'] / ours['cpu_seconds']:.1f}",
                f"{floor_of_it['cpu_seconds']:.1f}" if floor_of_it else "",
                f"{theirs['wall_seconds']:.1f}", f"{ours['wall_seconds']:.1f}",
                f"{theirs['peak_memory'] / MIB:.0f}", f"{ours['peak_memory'] / MIB:.0f}",
            ]  # fmt: skip
            made.append(f"| {part} | `{step}` | {' | '.join(shown)} |")
    return made


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=(*PARTS, []), help="data sets; all if none is given")
    parser.add_argument("--json", type=Path, help="write the figures to a file")
    parser.add_argument("--scans", type=Path, help="where the volumes are kept between runs")
    parser.add_argument("--rows", type=Path, help="print the table of figures in a file, and measure nothing")
    parser.add_argument("--floor", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.floor is not None:
        floor(options.floor)
        return
    if options.rows is not None:
        print("\n".join(rows(json.loads(options.rows.read_text(encoding="utf-8"))["figures"])))
        return
    from tests.scans import scans_folder

    with tempfile.TemporaryDirectory() as scratch:
        scans = scans_folder(options.scans or Path(scratch))
        found: list[Figures] = []
        for part in options.parts or PARTS:
            found += run(part, scans)
            Console().print(table(found))
    if options.json is not None:
        content = {"machine": machine(), "figures": [asdict(one) for one in found]}
        options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
