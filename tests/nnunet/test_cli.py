"""What the command says when something is wrong: a line or two, no traceback, an exit code that tells."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fastnnunet_loader.cli import command as cli
from fastnnunet_loader.errors import CommandError, FastnnUNetError, note_log


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["901", "3d_fullres", "0"], ["'901'", "Dataset900_brains"]),
        (["Dataset900_other", "3d_fullres", "0"], ["'Dataset900_other'", "Dataset900_brains"]),
        (["900", "3d_tiny", "0"], ["'3d_tiny'", "2d, 3d_cascade_fullres, 3d_fullres, 3d_large, "]),
        (["900", "2d", "0"], ["nnUNetPlans_2d", "nnUNetv2_preprocess -d 900 -plans_name nnUNetPlans -c 2d"]),
        (["900", "3d_fullres", "0", "-p", "Other"], ["'Other'", "nnUNetPlans"]),
        (["900", "3d_fullres", "0", "--c", "--val"], ["--c", "--val"]),
        (["900", "3d_fullres", "0", "--val_best", "--disable_checkpointing"], ["--val_best"]),
        (["900", "3d_fullres", "0", "-num_gpus", "2", "-device", "cpu"], ["-num_gpus"]),
        (["900", "3d_fullres", "0", "-pretrained_weights", "nowhere.pth"], ["nowhere.pth"]),
        (["900", "3d_fullres", "0", "--stats", "nowhere/s.jsonl"], ["--stats", "nowhere/s.jsonl"]),
    ],
)
def test_wrong_arguments_are_named_with_what_exists(
    folders: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: list[str]
) -> None:
    assert cli.main(["train", *arguments]) == 2
    said = capsys.readouterr().err
    assert all(text in said for text in expected), said
    assert len(said.strip().splitlines()) <= 2
    assert "Traceback" not in said


@pytest.mark.parametrize("variable", ["nnUNet_preprocessed", "nnUNet_results"])
def test_unset_folder_is_named(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str
) -> None:
    monkeypatch.delenv(variable)
    assert cli.main(["train", "900", "3d_fullres", "0"]) == 2
    assert f"export {variable}=" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", [["--threads", "0"], ["--seed", "-1"], ["--memory-budget", "4XB"], ["--on-bad-case", "ignore"]]
)
def test_values_out_of_range_are_refused(capsys: pytest.CaptureFixture[str], option: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train", "900", "3d_fullres", "0", *option])
    assert stopped.value.code == 2
    assert option[0] in capsys.readouterr().err


def test_two_data_sets_of_one_number_are_listed(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folders.parent / "Dataset900_more").mkdir()
    assert cli.main(["train", "900", "3d_fullres", "0"]) == 2
    assert "Dataset900_brains, Dataset900_more" in capsys.readouterr().err


def test_debug_shows_where(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError):
        cli.main(["train", "901", "3d_fullres", "0", "--debug"])
    monkeypatch.setenv("FASTNNUNET_DEBUG", "1")
    with pytest.raises(CommandError):
        cli.main(["train", "901", "3d_fullres", "0"])


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (FastnnUNetError("[case] expected one, got none"), 1, "expected one, got none"),
        (FileNotFoundError(2, "No such file", "plans.json"), 1, "plans.json"),
    ],
)
def test_exit_codes(
    folders: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    code: int,
    said: str,
) -> None:
    from fastnnunet_loader.cli import train

    def failing(_: object) -> int:
        raise raised

    monkeypatch.setattr(train, "run", failing)
    assert cli.main(["train", "900", "3d_fullres", "0"]) == code
    assert said in capsys.readouterr().err


def failing_with(raised: BaseException) -> Callable[[object], int]:
    def failing(_: object) -> int:
        raise raised

    return failing


def from_a_library() -> FastnnUNetError:
    error = FastnnUNetError("[brain] expected to predict it, got ValueError: a surprise")
    error.__cause__ = ValueError("a surprise")
    return error


def logged() -> FastnnUNetError:
    error = from_a_library()
    note_log(error, "/results/training_log.txt")
    return error


@pytest.mark.parametrize(
    ("raised", "with_traceback", "said"),
    [
        (CommandError("[-o] expected a file"), False, "error: [-o] expected a file\n"),
        (FastnnUNetError("[brain] expected a file"), False, "error: [brain] expected a file\n"),
        (from_a_library(), True, "error: [brain] expected to predict it, got ValueError: a surprise\n"),
        (logged(), False, "traceback: /results/training_log.txt\n"),
        (OSError(28, "No space left on device", "/results/x"), True, "error: [Errno 28] No space left on device: '/results/x'"),
        (ConnectionResetError(104, "Connection reset by peer"), True, f"\n  in {__file__}, line "),
    ],
    ids=["arguments", "ours", "from a library", "logged", "full disk", "connection"],
)
def test_an_error_leaves_its_traceback_somewhere(
    folders: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    with_traceback: bool,
    said: str,
) -> None:
    from fastnnunet_loader.cli import train

    monkeypatch.setattr(train, "run", failing_with(raised))
    assert cli.main(["train", "900", "3d_fullres", "0"]) != 0
    told = capsys.readouterr().err
    assert ("Traceback" in told and "in failing" in told) == with_traceback
    assert said in told


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="a signal of POSIX systems")
def test_sigusr1_belongs_to_the_command(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from fastnnunet_loader.cli import train

    def sends(_: object) -> int:
        signal.raise_signal(signal.SIGUSR1)
        return 0

    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL  # although this package, and loaders of it, are here
    monkeypatch.setattr(train, "run", sends)
    assert cli.main(["train", "900", "3d_fullres", "0"]) == 0
    told = capfd.readouterr().err
    assert "test_cli.py" in told and "in sends" in told
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    heard: list[int] = []
    monkeypatch.setattr(train, "run", sends)
    signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    try:
        assert cli.main(["train", "900", "3d_fullres", "0"]) == 0
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    assert heard == [signal.SIGUSR1]


def openmp(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """What torch's OpenMP library tells of the settings that it has read, when it is loaded."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    done = subprocess.run(
        command,
        env={**own, "OMP_DISPLAY_ENV": "verbose", **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert "OPENMP DISPLAY ENVIRONMENT BEGIN" in done.stderr, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("environment", "policy"),
    [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"), ({"GOMP_SPINCOUNT": "5"}, None)],
    ids=["default", "chosen", "chosen otherwise"],
)
def test_threads_of_openmp_sleep_while_they_wait(nnunet_dataset: Any, environment: dict[str, str], policy: str | None) -> None:
    dataset = nnunet_dataset("default")
    train = [sys.executable, "-m", "fastnnunet_loader.cli", "train", dataset.name, "3d_fullres", "0", "-num_gpus", "99"]
    told = openmp(train, environment)  # which ends when torch is loaded, and there are no 99 devices
    assert "expected 99 CUDA device(s)" in told
    assert f"OMP_WAIT_POLICY = '{policy or 'PASSIVE'}'" in told
    assert ("GOMP_SPINCOUNT = '0'" in told) == (policy == "PASSIVE")


def test_what_run_starts_gets_it_too(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "fastnnunet_loader.cli", "run", "sh", "-c"]
    program = 'echo "$OMP_WAIT_POLICY $KMP_BLOCKTIME"'
    own = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}

    def printed(**more: str) -> str:
        return subprocess.run(
            [*run, program], env={**own, **more}, capture_output=True, encoding="utf-8", check=True
        ).stdout.strip()

    assert printed() == "PASSIVE 0"
    assert printed(KMP_BLOCKTIME="30") == "30"


def test_all_of_nnunets_options_are_taken() -> None:
    import argparse

    from nnunetv2.run import run_training

    from fastnnunet_loader.cli import train

    ours = argparse.ArgumentParser(add_help=False)
    train.add_arguments(ours)
    mine = {option for action in ours._actions for option in action.option_strings}

    seen: list[argparse.ArgumentParser] = []

    class Stop(Exception):
        pass

    def parse(parser: argparse.ArgumentParser, *_: object) -> None:
        seen.append(parser)
        raise Stop

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stop):
        patch.setattr(argparse.ArgumentParser, "parse_args", parse)
        run_training.run_training_entry()
    theirs = {option for action in seen[0]._actions for option in action.option_strings} - {"-h", "--help"}
    assert theirs
    assert theirs <= mine


def test_command_runs_as_a_module() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "fastnnunet_loader.cli", "--help"],
        capture_output=True, encoding="utf-8", check=True, env=dict(os.environ),
    )  # fmt: skip
    assert all(name in run.stdout for name in cli.COMMANDS)
