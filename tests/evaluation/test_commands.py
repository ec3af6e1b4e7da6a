"""nnU-Net's commands after a prediction, and its conversions: the files of nnU-Net, without its worker processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scene import make_scene
from tests.nnunet.processes import SHORT_PROGRAMS, created_processes, small_shared_memory

COMMANDS = Path(__file__).with_name("commands.py")
FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


def run(dataset: Any, work: Path, *names: str, ours: bool, under: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **{name: str(work / name) for name in FOLDERS}, "nnUNet_def_n_proc": "2"}
    environment.pop("FASTNNUNET_RUN", None)
    if ours:
        environment |= {"FASTNNUNET_RUN": "1", "JOBLIB_MULTIPROCESSING": "0"}  # as `fastnnunet run` has it
    command = [*under, sys.executable, "-W", "ignore", str(COMMANDS), dataset.name, *names]
    return subprocess.run(
        command, cwd=work, env=environment, capture_output=True, encoding="utf-8", timeout=900, check=False
    )  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["default", "regions"])
def test_commands_write_nnunets_files_without_a_process(
    variant: str, nnunet_dataset: Callable[[str], Any], tmp_path: Path
) -> None:
    dataset = nnunet_dataset(variant)
    made = make_scene(dataset, tmp_path / "made")
    written, said = [], []
    trace = tmp_path / "trace"
    for ours in (False, True):
        # In the same place, because summaries have the paths of files.
        work = tmp_path / "work"
        shutil.copytree(made, work, symlinks=True)
        under: list[str] = small_shared_memory() if ours else []
        if ours and shutil.which("strace"):
            under += ["strace", "-f", "--seccomp-bpf", "-e", "trace=process,openat,unlink,link", "-o", str(trace)]
        done = run(dataset, work, ours=ours, under=tuple(under))
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        written.append(files(work))
        said.append([line for line in done.stdout.splitlines() if "it/s" not in line])
        shutil.rmtree(work)
    assert written[1].keys() == written[0].keys()
    assert [name for name in written[0] if written[1][name] != written[0][name]] == []
    assert len(written[0]) > 150
    assert said[1] == said[0]
    if trace.is_file():
        text = trace.read_text(encoding="utf-8", errors="replace")
        assert "CLONE_THREAD" in text, "the trace must show the threads, or it shows nothing"
        assert set(created_processes(text).values()) <= SHORT_PROGRAMS
        assert '"/dev/shm/' not in text, "a semaphore is a file there"


@pytest.mark.slow
def test_processes_of_nnunet_write_the_same(nnunet_dataset: Callable[[str], Any], tmp_path: Path) -> None:
    """The other test's reference has pools without workers; here they are as nnU-Net has them."""
    dataset = nnunet_dataset("default")
    work = make_scene(dataset, tmp_path / "work")
    program = (
        "from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder_simple as evaluate\n"
        "import sys\n"
        "if __name__ == '__main__':\n"
        "    evaluate('gt', 'predictions', [1, 2], 'processes.json', 2)\n"
        "    import fastnnunet_loader as fl\n"
        "    fl.install()\n"
        "    evaluate('gt', 'predictions', [1, 2], 'threads.json', 2)\n"
    )
    (work / "program.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "-W", "ignore", "program.py"]
    done = subprocess.run(command, cwd=work, capture_output=True, encoding="utf-8", timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (work / "threads.json").read_bytes() == (work / "processes.json").read_bytes()
