"""Every block of Python or shell of the documentation runs, or is named here with the reason why it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from blocks import DOCS, PAGES, ROOT, Block, blocks_of

from datasets import Dataset
from fastnnunet_loader.cli.command import _parser

DOCKER = "needs a container engine"
AGAIN = "start/five_minutes.md runs the command, and test_options_exist takes its options"
NOT_RUN = {
    "README.md: import fastnnunet_loader as fl": AGAIN,
    "index.md: fastnnunet train": AGAIN,
    "auto.md: fastnnunet auto": "tests/auto runs the command",
    "start/five_minutes.md: apt-get install": "installs OS packages, as scripts/setup.sh does before the tests",
    "start/five_minutes.md: scripts/wheels.sh linux-x86_64": "builds for half an hour",
    "start/five_minutes.md: pip install": "scripts/try_wheels.sh installs wheels",
    "start/five_minutes.md: scripts/demo.sh": "trains for ten minutes; tests/demo runs its steps",
    "start/moving.md: fastnnunet doctor": "tests/bench measures both loaders",
    "start/moving.md: fastnnunet run": "tests/nnunet/test_run.py runs programs in both ways",
    "start/docker.md: docker run --rm": DOCKER,
    "start/docker.md: docker run --gpus all -v": DOCKER,
    "start/docker.md: docker run --gpus all --memory 16g": DOCKER,
    "examples.md: export nnUNet_extTrainer": "tests/examples/test_custom_trainer.py runs it",
    "preprocessing.md: fastnnunet plan_and_preprocess": "tests/preprocessing/test_planning_commands.py runs the commands",
    "scale.md: fastnnunet train": "needs several GPUs; test_ddp.py and test_torchrun.py of tests/nnunet run them on CPUs",
    "settings.md: fl.install": "shows three ways side by side; tests/package/test_settings.py uses each",
    "clusters.md: pip install": "installs Ray; tests/cluster predicts so",
    "storage.md: fastnnunet train 1 3d_fullres 0 --cache-dir": "tests/nnunet/test_slow_storage_training.py trains so",
    "storage.md: export nnUNet_preprocessed=s3": "tests/nnunet/test_slow_storage_training.py trains at another address",
    "troubleshooting.md: fastnnunet train 1 3d_fullres 0 --c": AGAIN,
    "troubleshooting.md: fastnnunet train 1 3d_fullres 0 --val": "tests/nnunet/test_train.py runs the validation alone",
    "troubleshooting.md: fastnnunet predict": AGAIN,
    "troubleshooting.md: fastnnunet doctor 1 -c 3d_fullres --quick": AGAIN,
    "troubleshooting.md: fastnnunet plan_and_preprocess -d 1 -c 3d_fullres\n": "tests/preprocessing runs both commands",
    "troubleshooting.md: fastnnunet doctor 1 -c 3d_fullres\n": "tests/doctor reads all files of a data set",
    "troubleshooting.md: nnUNet_compile=f": AGAIN,
}
"""Page and beginning of the block, and the reason."""

# Users' commands, with nnU-Net's shortest training and without a GPU. `doctor` ends with 1 where it only warns. What nnU-Net
# continues has an epoch to go.
PRELUDE = """
set -euo pipefail
fastnnunet() {
  case "$*" in
    doctor*) command fastnnunet "$@" || [ $? -eq 1 ] ;;
    train*) command fastnnunet "$@" -device cpu -tr nnUNetTrainerDemo ;;
    predict*) command fastnnunet "$@" -device cpu -tr nnUNetTrainerDemo ;;
    *) command fastnnunet "$@" ;;
  esac
}
nnUNetv2_train() { FASTNNUNET_DEMO_EPOCHS=2 command nnUNetv2_train "$@" -device cpu -tr nnUNetTrainerDemo; }
"""
ALL = [block for page in PAGES for block in blocks_of(DOCS / page)] + blocks_of(ROOT / "README.md")


def reasons_against(block: Block) -> list[str]:
    """The entries of NOT_RUN that name the block."""
    return [name for name in NOT_RUN if f"{block.page}: {block.text}".startswith(name)]


def runs(block: Block) -> bool:
    return block.language in ("sh", "python") and not reasons_against(block)


def test_every_block_says_what_it_is() -> None:
    """README's are for people; a block of a page without a language is a drawing or settings.md's three ways.

    Files of examples/jobs, which tests/examples has, are "dockerfile", "yaml", "bash" and "text".
    """
    languages = {block.language for block in ALL if block.page != "README.md"}
    assert languages <= {"sh", "python", "output", "yaml", "dockerfile", "bash", "text", ""}
    bare = {block.page for block in ALL if not block.language and not reasons_against(block)}
    assert bare <= {"README.md", "how.md", "reliability.md"}
    for block in ALL:
        if not block.language and block.page != "README.md" and not reasons_against(block):
            assert not any(word in block.text for word in ("fastnnunet ", "import ", "pip ", "docker ")), block.name


def test_each_reason_names_one_block_or_equal_ones() -> None:
    for name in NOT_RUN:
        texts = {block.text.split(" --")[0] for block in ALL if name in reasons_against(block)}
        assert len(texts) == 1, (name, texts)


@pytest.mark.parametrize("page", sorted({block.page for block in ALL if runs(block)}))
def test_the_blocks_of_a_page_run(page: str, nnunet_dataset: Callable[[str], Dataset], tmp_path: Path) -> None:
    dataset = nnunet_dataset("default")
    (tmp_path / "images").mkdir()
    image = min((dataset.raw / dataset.name / "imagesTr").glob("*.nii.gz"))
    shutil.copy(image, tmp_path / "images")
    script = PRELUDE
    for number, block in enumerate(block for block in ALL if block.page == page and runs(block)):
        if block.language == "sh":
            script += block.text
        else:
            file = tmp_path / f"block_{number}.py"
            file.write_text(block.text, encoding="utf-8")
            script += f"python {file.name}\n"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "nnUNet_compile": "f",
        "FASTNNUNET_DEMO_EPOCHS": "1",
        "FASTNNUNET_DEMO_ITERATIONS": "2",
        "nnUNet_n_proc_DA": "1",
    }
    done = subprocess.run(
        ["timeout", "--kill-after=10", "580", "bash", "-c", script],  # ends what the shell has started too
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout[-6000:]}"
    if page == "start/five_minutes.md":
        assert "fastnnunet_loader, training:" in done.stdout
        assert (tmp_path / "segmentations" / image.name.replace("_0000", "")).is_file()
        assert (tmp_path / "stages.png").is_file()
    if page == "start/moving.md":  # there and back
        before, _, after = done.stdout.partition("Epoch 1")
        assert "fastnnunet_loader, training:" in before and after
        assert "fastnnunet_loader" not in after


@pytest.mark.parametrize("block", [block for block in ALL if block.language == "sh"], ids=lambda block: block.name)
def test_shell_is_shell(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")


def commands() -> list[list[str]]:
    found = [command for block in ALL if block.language == "sh" for command in block.commands()]
    for block in ALL:
        if block.language == "yaml":
            for container in yaml.safe_load(block.text)["spec"]["template"]["spec"]["containers"]:
                # Of the image, whose program is fastnnunet. Kubernetes puts in the fold.
                found.append(
                    ["fastnnunet", *(argument.replace("$(JOB_COMPLETION_INDEX)", "0") for argument in container["args"])]
                )
    return found


def test_options_exist() -> None:
    """Also of the blocks that are not run."""
    found = commands()
    assert len(found) > 15
    assert {command[1] for command in found} >= {"train", "predict", "doctor", "preview", "bench", "run"}
    for _, name, *options in found:
        _parser(name).parse_args([name, *options])
