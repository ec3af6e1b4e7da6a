"""SIGTERM ends real trainings: what `docker stop`, the eviction of a pod and the time limit of a job send."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import needs_the_installed_package
from training_runs import SHORT, TRAINERS, assert_finished, batches, checkpoint, output_folder, train

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGTERM")]

SENTENCE = "fastnnunet: ended by SIGTERM; --c continues from the last checkpoint, or begins anew if none was saved"
TRAIN = (sys.executable, "-m", "fastnnunet_loader", "train")
RUN = (sys.executable, "-m", "fastnnunet_loader", "run", "--threads", "2", sys.executable)

# nnU-Net's console script.
PROGRAM = """
from nnunetv2.run.run_training import run_training_entry
run_training_entry()
"""

# One that does something on SIGTERM itself.
OWN_HANDLER = f"""
import os, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
{PROGRAM}
"""


class Training:
    """A training that goes on until it is ended."""

    def __init__(self, dataset: Any, results: Path) -> None:
        self.dataset, self.results = dataset, results
        self.process: subprocess.Popen[str] | None = None

    def begin(self, *command: str) -> None:
        """Start it, and wait until it is in its second epoch."""
        self.results.mkdir(exist_ok=True)
        variables = {
            **os.environ,
            **self.dataset.env,
            "nnUNet_results": str(self.results),
            "nnUNet_extTrainer": str(TRAINERS),
            "RECORD_FILE": str(self.results / "batches.txt"),
            "RECORD_EPOCHS": "1000",
        }
        self.process = subprocess.Popen(
            [*command, self.dataset.name, "3d_fullres", "0", *SHORT[:4]],
            env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", start_new_session=True,
        )  # fmt: skip
        end = time.monotonic() + 300
        while not (self.results / "batches.txt").exists() or len(batches(self.results)) < 7:
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)

    def ended(self, pid: int | None = None) -> tuple[int, str]:
        """Send SIGTERM; the exit code and what was said on standard error."""
        assert self.process is not None
        os.kill(pid or self.process.pid, signal.SIGTERM)
        # What Python takes apart at its end takes long on a machine that does other work, too.
        _, said = self.process.communicate(timeout=120)
        assert "Traceback" not in said
        return self.process.returncode, said


@pytest.fixture
def training(nnunet_dataset: Any, tmp_path: Path) -> Iterator[Training]:
    """A training, which does not outlive the test."""
    training = Training(nnunet_dataset("default"), tmp_path / "nnUNet_results")
    yield training
    if training.process is not None and training.process.poll() is None:
        os.killpg(training.process.pid, signal.SIGKILL)
        training.process.communicate()


def program(folder: Path, text: str) -> str:
    needs_the_installed_package()
    file = folder / "nnUNetv2_train"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_a_training_ends_at_once_and_can_be_continued(training: Training) -> None:
    training.begin(*TRAIN)
    code, said = training.ended()
    assert (code, said.strip().splitlines()[-1]) == (143, SENTENCE)
    output = output_folder(training.dataset, training.results)
    assert [file.name for file in output.glob("checkpoint_latest*")] == ["checkpoint_latest.pth"]
    epochs = checkpoint(output, "checkpoint_latest.pth")["current_epoch"]
    done = train(training.dataset, training.results, "--c", environment={"RECORD_EPOCHS": str(epochs + 1)})
    assert_finished(done, output)


def test_the_first_process_of_a_container_ends_alike(training: Training) -> None:
    under = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid():
        under[1:1] = ["--user", "--map-root-user"]
    if subprocess.run([*under, "true"], check=False, capture_output=True).returncode:
        assert not os.environ.get("CI"), "namespaces of processes cannot be made here"
        pytest.skip("namespaces of processes cannot be made here")
    training.begin(*under, *TRAIN)
    assert training.process is not None
    outside = training.process.pid
    (first,) = Path(f"/proc/{outside}/task/{outside}/children").read_text(encoding="ascii").split()
    code, said = training.ended(int(first))
    assert (code, said.strip().splitlines()[-1]) == (143, SENTENCE)


def test_a_training_under_run_ends_alike(training: Training, tmp_path: Path) -> None:
    training.begin(*RUN, program(tmp_path, PROGRAM))
    code, said = training.ended()
    assert code == 143
    assert [line for line in said.splitlines() if "SIGTERM" in line] == [SENTENCE]


def test_a_program_under_run_keeps_what_it_does_on_sigterm(training: Training, tmp_path: Path) -> None:
    training.begin(*RUN, program(tmp_path, OWN_HANDLER))
    assert training.ended()[0] == 7
