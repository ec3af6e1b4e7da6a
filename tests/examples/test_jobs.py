"""The job scripts: the one for Slurm is run, the pod starts the same training and may do no more than it needs.

The image is built and run by `python -m tests.containers`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

JOBS = Path(__file__).parents[2] / "examples" / "jobs"


@pytest.mark.slow
def test_the_slurm_job_trains_its_fold_and_goes_on(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset()
    # Slurm sets ENVIRONMENT, too.
    slurm = {"SLURM_ARRAY_TASK_ID": "3", "ENVIRONMENT": "BATCH"}
    environment = {**os.environ, **dataset.env, **slurm, "NNUNET_ENVIRONMENT": sys.prefix}
    job = ["bash", str(JOBS / "slurm.sh"), str(dataset.id), "3d_fullres", "", "-device", "cpu", "-tr", "nnUNetTrainerDemo"]
    first = subprocess.run(job, env=environment, capture_output=True, encoding="utf-8", timeout=300)
    assert first.returncode == 0, first.stderr[-2000:]
    model = dataset.results / dataset.name / "nnUNetTrainerDemo__nnUNetPlans__3d_fullres"
    assert (model / "fold_3" / "checkpoint_final.pth").is_file()
    assert [folder.name for folder in model.glob("fold_*")] == ["fold_3"]


def test_a_job_without_a_data_set_says_so() -> None:
    environment = {**os.environ, "NNUNET_ENVIRONMENT": sys.prefix}
    done = subprocess.run(["bash", str(JOBS / "slurm.sh")], env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode != 0
    assert "expected a data set" in done.stderr


def test_the_pod_starts_the_same_training() -> None:
    job = yaml.safe_load((JOBS / "kubernetes.yaml").read_text(encoding="utf-8"))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    (line,) = (line for line in (JOBS / "slurm.sh").read_text(encoding="utf-8").splitlines() if line.startswith("exec "))
    options = line.split('${3:-$SLURM_ARRAY_TASK_ID}"')[1].replace('"${@:4}"', "").split()
    assert container["args"] == ["train", "1", "3d_fullres", "$(JOB_COMPLETION_INDEX)", *options]
    assert job["spec"]["completionMode"] == "Indexed"
    first, last = re.findall(r"--array=(\d)-(\d)", (JOBS / "slurm.sh").read_text(encoding="utf-8"))[0]
    assert job["spec"]["completions"] == int(last) - int(first) + 1


def test_the_pod_has_no_rights_and_no_shared_memory() -> None:
    text = (JOBS / "kubernetes.yaml").read_text(encoding="utf-8")
    pod = yaml.safe_load(text)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/data", "/tmp"}
    assert not any("hostIPC" in line or "medium: Memory" in line for line in text.splitlines())


@pytest.mark.parametrize("file", ["Dockerfile", "apptainer.def"])
def test_images_need_neither_shared_memory_nor_a_name_of_an_index(file: str) -> None:
    commands = [line for line in (JOBS / file).read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    assert not any("ipc" in line or "shm" in line for line in commands)
    installed = [line for line in commands if "pip install" in line]
    assert installed
    assert all(".whl)[nnunet" in line or "torch torchvision" in line for line in installed)
