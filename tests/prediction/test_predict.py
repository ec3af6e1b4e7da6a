"""The command against nnUNetv2_predict, voxel by voxel, with trained networks on images that have to be resampled."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from batchgenerators.utilities.file_and_folder_operations import load_json
from prediction_runs import OURS, TIES, assert_same_segmentations, nnunet_predict, predict, private_mounts, run
from raw_images import copy_images

from nnunet.processes import SHORT_PROGRAMS, created_processes

pytestmark = pytest.mark.slow

BUDGET = 128 * 2**20
WITHOUT_PROCESSES = ("-npp", "0", "-nps", "0")


@pytest.mark.parametrize(
    ("variant", "configuration", "folds", "more"),
    [
        ("default", "3d_fullres", (0,), ()),
        ("default", "3d_fullres", (0, 1), ("--disable_tta", "-f", "0", "1")),
        ("default", "2d", (0,), ("--disable_tta",)),
        ("anisotropic", "3d_fullres", (0,), ("--disable_tta", "-step_size", "0.7")),
        ("regions", "3d_fullres", (0,), ("--disable_tta",)),
        ("two_channels", "3d_fullres", (0,), ("--disable_tta",)),
    ],
)
def test_segmentations_are_nnunets(
    trained: Any, tmp_path: Path, variant: str, configuration: str, folds: tuple[int, ...], more: tuple[str, ...]
) -> None:
    dataset, model = trained(variant, configuration, folds)
    images = copy_images(dataset, tmp_path / "images", 1)
    nnunet_predict(dataset, model, images, tmp_path / "theirs", *more, *WITHOUT_PROCESSES)
    predict(dataset, model, images, tmp_path / "ours", *more)
    assert_same_segmentations(tmp_path / "ours", tmp_path / "theirs", TIES)
    given = [load_json(str(tmp_path / name / "predict_from_raw_data_args.json")) for name in ("ours", "theirs")]
    assert given[0].keys() >= given[1].keys()


def test_files_as_people_have_them(trained: Any, tmp_path: Path) -> None:
    """Scaled, of other types and byte orders, turned: `python -m tests.files` has every kind, on small images."""
    dataset, model = trained()
    images = copy_images(dataset, tmp_path / "images", 1, (1, 1, 1))
    file = images / "brain_000_0000.nii.gz"
    whole = nibabel.load(file)
    voxels = np.asarray(whole.dataobj, np.float32)
    for name, dtype, slope, order in (
        ("scaled", np.int16, 0.5, "<"),
        ("bytes", np.uint8, float(voxels.max()) / 255, "<"),
        ("big endian", np.int16, 0.25, ">"),
    ):
        header = nibabel.Nifti1Header(endianness=order)
        header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
        image = nibabel.Nifti1Image(np.rint(voxels / slope).astype(dtype), whole.affine, header)
        image.header.set_slope_inter(slope, 10)
        nibabel.save(image, images / f"{name}_0000.nii.gz")
    turned = whole.as_reoriented(np.array([[1, -1], [0, 1], [2, -1]]))
    nibabel.save(turned, images / "turned_0000.nii.gz")
    more = ("--disable_tta", "-step_size", "1")
    nnunet_predict(dataset, model, images, tmp_path / "theirs", *more, *WITHOUT_PROCESSES)
    predict(dataset, model, images, tmp_path / "ours", *more)
    assert_same_segmentations(tmp_path / "ours", tmp_path / "theirs", TIES)


def test_probabilities_are_nnunets(trained: Any, tmp_path: Path) -> None:
    dataset, model = trained()
    images = copy_images(dataset, tmp_path / "images", 1)
    more = ("--save_probabilities", "--disable_tta")
    nnunet_predict(dataset, model, images, tmp_path / "theirs", *more, "-npp", "1", "-nps", "1")
    predict(dataset, model, images, tmp_path / "ours", *more)
    assert_same_segmentations(tmp_path / "ours", tmp_path / "theirs", TIES)
    with np.load(tmp_path / "ours" / "brain_000.npz") as ours, np.load(tmp_path / "theirs" / "brain_000.npz") as theirs:
        np.testing.assert_allclose(ours["probabilities"], theirs["probabilities"], atol=2e-3)


def test_cascade_takes_the_stage_before(trained: Any, tmp_path: Path) -> None:
    dataset, model = trained("cascade", "3d_cascade_fullres")
    images = copy_images(dataset, tmp_path / "images", 1, (1, 1, 1))
    (tmp_path / "before").mkdir()
    shutil.copy(Path(dataset.raw) / dataset.name / "labelsTr" / "brain_000.nii.gz", tmp_path / "before")
    more = ("-prev_stage_predictions", str(tmp_path / "before"), "--disable_tta")
    nnunet_predict(dataset, model, images, tmp_path / "theirs", *more, *WITHOUT_PROCESSES)
    predict(dataset, model, images, tmp_path / "ours", *more)
    assert_same_segmentations(tmp_path / "ours", tmp_path / "theirs", TIES)


LIMITED = """
import resource, sys
from pathlib import Path
from fastnnunet_loader import cli
from fastnnunet_loader.prediction.session.session import Session

def address_space():
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmSize:"))
    return int(line.split()[1]) * 1024

budget, original = int(sys.argv[1]), Session.__init__

def limiting(self, *args, **kwargs):
    original(self, *args, **kwargs)
    # The libraries and the model are there by now, and so they are not counted.
    limit = address_space() + budget
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    print("limited to", limit)

Session.__init__ = limiting
sys.exit(cli.main(["predict", "--memory-budget", str(budget), *sys.argv[2:]]))
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_process_and_no_more_memory_than_the_budget(trained: Any, tmp_path: Path) -> None:
    """With a /dev/shm of one page, and an address space of the budget beside libraries and model."""
    if not (under := private_mounts()):
        pytest.skip("nothing can be mounted here")
    dataset, model = trained()
    images, trace = copy_images(dataset, tmp_path / "images", 2, (3, 1, 1)), tmp_path / "trace.txt"
    # Threads reserve more addresses than they use, for stacks and for heaps of their own, and a heap keeps those of large
    # blocks that were freed.
    heap = "MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=131072"
    mounted = f'mount -t tmpfs -o size=4k tmpfs /dev/shm && ulimit -s 1024 && {heap} exec "$@"'
    command = [sys.executable, "-c", LIMITED, str(BUDGET)]
    traced = [*under, "sh", "-c", mounted, "sh", "strace", "-f", "-e", "trace=process", "-o", str(trace)]
    done = run(command, dataset, model, images, tmp_path / "ours", "--disable_tta", under=traced)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "limited to" in done.stdout
    assert sorted(file.name for file in (tmp_path / "ours").glob("*.nii.gz")) == ["brain_000.nii.gz", "brain_001.nii.gz"]
    text = trace.read_text(encoding="utf-8")
    assert "CLONE_THREAD" in text, "the trace must show the threads, or it shows nothing"
    created = created_processes(text)
    assert set(created.values()) <= SHORT_PROGRAMS, created


def test_progress_is_readable_in_a_file(trained: Any, tmp_path: Path) -> None:
    dataset, model = trained()
    images = copy_images(dataset, tmp_path / "images")
    done = run(OURS, dataset, model, images, tmp_path / "ours", "--disable_tta", "--memory-budget", "1GB")
    lines = [line for line in done.stdout.splitlines() if re.match(r"\d of 2 cases", line)]
    assert len(lines) == 2, done.stdout
    assert re.search(r"1 of 2 cases.* left \| memory [\d.]+ \w+ of 1.0 GiB$", lines[0]), lines
    assert "\r" not in done.stdout
    assert "-npp and -nps have no effect" in done.stdout
    quiet = run(OURS, dataset, model, images, tmp_path / "quiet", "--disable_tta", "--disable_progress_bar")
    assert "of 2 cases |" not in quiet.stdout
