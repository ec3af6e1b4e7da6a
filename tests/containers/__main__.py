"""`python -m tests.containers`: the image of examples/jobs/Dockerfile, with trainings and predictions in locked containers.

No rights, a read-only root, no network, /dev/shm of 64 KiB, 4 GB of memory, two cores. nnU-Net's own commands run in the same
container, for comparison. Needs root, podman, debootstrap, and in dist/ a wheel for the Python of Debian 12 (CPython 3.11).
Exit code 1 where a promise is broken.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from containers.podman import Podman
from datasets import prepared
from fastnnunet_loader import demo

ROOT = Path(__file__).resolve().parents[2]
JOBS = ROOT / "examples" / "jobs"
SHORT = ["-device", "cpu", "-tr", "nnUNetTrainerDemo"]
OWN_FAILURES = re.compile(r"(error|died|no longer alive|no space|read-only|cannot allocate|semlock)", re.IGNORECASE)


@dataclass(frozen=True)
class Row:
    """A command in a container."""

    program: str
    command: list[str]
    wanted: str  # what it writes, as FOLDER/PATTERN
    works: bool = True
    stopped: bool = False  # by `podman stop`, in its second epoch


def kubernetes_arguments() -> list[str]:
    """The arguments of the pod in kubernetes.yaml, for fold 0."""
    job = yaml.safe_load((JOBS / "kubernetes.yaml").read_text(encoding="utf-8"))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return [str(argument).replace("$(JOB_COMPLETION_INDEX)", "0") for argument in container["args"]]


def main() -> int:
    """Build the image, run what users run in it, print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.containers", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "containers", help="keeps images and root file systems")
    parser.add_argument(
        "--shown", nargs="*", default=[], metavar="HERE[:THERE]", help="of this machine, for pip in the build to see"
    )
    parser.add_argument(
        "--torch-index",
        default="https://download.pytorch.org/whl/cpu",
        metavar="URL",
        help="with torch (default: %(default)s)",
    )
    given = parser.parse_args()
    podman = Podman(given.folder.resolve(), given.shown)
    console = Console(width=None if sys.stdout.isatty() else 180)
    begin = time.monotonic()
    base = podman.base("bookworm")
    image = podman.build(ROOT, JOBS / "Dockerfile", "cpu", "localhost/fastnnunet", PYTHON=base, TORCH_INDEX=given.torch_index)
    console.print(f"image: {time.monotonic() - begin:.0f} s")

    broken = 0
    table = Table("command in the container", "expected", "exit code", "seconds", "files", "last words", show_lines=True)
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(os.environ.get("FASTNNUNET_TEST_CACHE", scratch)).resolve()
        dataset = prepared("default", cache, Path(scratch, "unused"))
        data = Path(scratch, "data")
        shutil.copytree(dataset.raw, data / "nnUNet_raw")
        shutil.copytree(dataset.preprocessed, data / "nnUNet_preprocessed")
        shutil.copytree(demo.trainer_folder(), data / "trainers")
        shutil.copy(JOBS / "slurm.sh", data)
        images = f"/data/nnUNet_raw/{dataset.name}/imagesTr"
        number = str(dataset.id)
        train, predict = [number, "3d_fullres"], ["-i", images, "-d", number, "-c", "3d_fullres", "-f", "0", *SHORT]
        slurm = {"SLURM_ARRAY_TASK_ID": "4", "NNUNET_ENVIRONMENT": "/opt/nnunet"}
        pod = kubernetes_arguments()
        assert pod[:3] == ["train", "1", "3d_fullres"]
        ours, theirs = "fastnnunet", "nnUNetv2_train"
        rows = [
            Row(ours, ["train", *train, "0", *SHORT], "fold_0/checkpoint_final.pth"),
            Row(ours, ["run", theirs, *train, "1", *SHORT], "fold_1/checkpoint_final.pth"),
            Row(theirs, [*train, "2", *SHORT], "fold_2/checkpoint_final.pth", works=False),
            Row(ours, ["train", *train, "3", *pod[4:], *SHORT], "fold_3/checkpoint_final.pth"),
            Row("bash", ["/data/slurm.sh", *train, "4", *SHORT], "fold_4/checkpoint_final.pth"),
            Row(ours, ["predict", *predict, "-o", "/data/nnUNet_results/ours"], "ours/*.nii.gz"),
            Row("nnUNetv2_predict", [*predict, "-o", "/data/nnUNet_results/plain"], "plain/*.nii.gz", works=False),
            Row(ours, ["train", *train, "all", *SHORT], "fold_all/training_log_*.txt", stopped=True),
            Row(ours, ["run", theirs, *train, "all", *SHORT], "fold_all/training_log_*.txt", stopped=True),
        ]
        results = data / "nnUNet_results"
        results.mkdir()
        for file in [data, *data.rglob("*")]:
            os.chown(file, 1000, 1000)
        for number, row in enumerate(rows):
            variables = {"nnUNet_extTrainer": "/data/trainers", "nnUNet_compile": "f", **slurm}
            if row.stopped:
                variables["FASTNNUNET_DEMO_EPOCHS"] = "1000"
            entry = None if row.program == ours else row.program
            done = podman.run(image, row.command, {data: "/data"}, variables, entry, ": Epoch 1" if row.stopped else None)
            (podman.folder / f"said-{number}.txt").write_text(done.said, encoding="utf-8")
            folder, name = row.wanted.split("/")
            found = len([*results.rglob(f"*{folder}/{name}")])
            whole = found >= (1 if "fold_" in folder else len(dataset.cases()))
            good = done.code == (143 if row.stopped else 0) and whole and (not row.stopped or done.seconds < 20)
            broken += good != row.works
            lines = [line.strip() for line in done.said.splitlines() if line.strip()]
            telling = [line for line in lines if OWN_FAILURES.search(line)] if not good else []
            table.add_row(
                " ".join([row.program, *row.command]),
                "fails" if not row.works else "is stopped, 143" if row.stopped else "works",
                str(done.code),
                f"{done.seconds:.0f}",
                str(found),
                # Of a failure, the first words: what comes after it comes of it.
                telling[0][:160] if telling else "".join(lines[-1:])[:160],
            )
            if good != row.works:
                console.print(done.said[-3000:], markup=False)
    console.print(table)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
