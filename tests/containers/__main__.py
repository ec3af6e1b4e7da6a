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
        # What is run, its own program where it is not ours, whether it is to work, and what it writes.
        rows: list[tuple[list[str], str | None, bool, str]] = [
            (["train", *train, "0", *SHORT], None, True, "fold_0/checkpoint_final.pth"),
            (["run", "nnUNetv2_train", *train, "1", *SHORT], None, True, "fold_1/checkpoint_final.pth"),
            ([*train, "2", *SHORT], "nnUNetv2_train", False, "fold_2/checkpoint_final.pth"),
            (["train", *train, "3", *pod[4:], *SHORT], None, True, "fold_3/checkpoint_final.pth"),
            (["/data/slurm.sh", *train, "4", *SHORT], "bash", True, "fold_4/checkpoint_final.pth"),
            (["predict", *predict, "-o", "/data/nnUNet_results/ours"], None, True, "ours/*.nii.gz"),
            ([*predict, "-o", "/data/nnUNet_results/plain"], "nnUNetv2_predict", False, "plain/*.nii.gz"),
        ]
        results = data / "nnUNet_results"
        results.mkdir()
        for file in [data, *data.rglob("*")]:
            os.chown(file, 1000, 1000)
        for command, entry, works, wanted in rows:
            begin = time.monotonic()
            variables = {"nnUNet_extTrainer": "/data/trainers", "nnUNet_compile": "f", **slurm}
            done = podman.run(image, command, {data: "/data"}, variables, entry)
            found = len([*results.rglob(f"*{wanted.split('/')[0]}/{wanted.split('/')[1]}")])
            whole = found >= (1 if "fold_" in wanted else len(dataset.cases()))
            as_expected = (done.returncode == 0 and whole) == works
            broken += not as_expected
            said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
            telling = [line for line in said if OWN_FAILURES.search(line)] if not works or not as_expected else []
            table.add_row(
                " ".join([entry or "fastnnunet", *command]),
                "works" if works else "fails",
                str(done.returncode),
                f"{time.monotonic() - begin:.0f}",
                str(found),
                (telling or said or [""])[-1][:160],
            )
            if not as_expected:
                console.print(done.stdout[-3000:], markup=False)
    console.print(table)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
