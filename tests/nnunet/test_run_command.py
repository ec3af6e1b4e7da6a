"""`fastnnunet run` as a shell's user sees it: the program becomes what was asked for, or one sentence says why not."""

from __future__ import annotations

import importlib.metadata
import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import nnunetv2
import pytest
from programs import RUN, call, needs_the_installed_package, printed

import fastnnunet_loader as fl
from fastnnunet_loader.cli import command as cli
from fastnnunet_loader.cli.loader_options import VARIABLE, as_text, from_text
from fastnnunet_loader.cli.run import interpreter

SHOW = f"import os, sys; print(os.environ['{VARIABLE}']); print(sys.argv[1:])"


@pytest.fixture
def installed() -> None:
    needs_the_installed_package()


@pytest.fixture(scope="module")
def other_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that does not have this package."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / "bin" / "python"


def script(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    file.chmod(0o755)
    return file


def test_the_wheel_has_both_files_where_python_looks() -> None:
    """At the top of site-packages, and in the list of files that pip removes."""
    site_packages = Path(sysconfig.get_path("platlib"))
    if not Path(fl.__file__).is_relative_to(site_packages):
        pytest.skip("the package is not installed in this environment: scripts/setup.sh")
    files = {str(file) for file in importlib.metadata.files("fastnnunet-loader") or []}
    assert {"fastnnunet_autoload.py", "fastnnunet_autoload.pth"} <= files
    assert (site_packages / "fastnnunet_autoload.pth").is_file()


# What becomes of the command


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("options", "value"),
    [
        ([], "1"),
        (["--threads", "4", "--seed", "7"], "--threads 4 --seed 7"),
        (["--memory-budget", "4GB", "--on-bad-case", "skip", "--"], f"--memory-budget {2**32} --on-bad-case skip"),
    ],
)
def test_the_program_gets_its_own_arguments_and_the_variable(options: list[str], value: str) -> None:
    own = ["--threads", "9", "-h", "--", "--debug", "two words", ""]
    shown = printed(call(*RUN, *options, sys.executable, "-c", SHOW, *own))
    assert shown == [value, repr(own)]


def test_files_are_named_from_any_folder(tmp_path: Path) -> None:
    (value,) = printed(call(*RUN, "--stats", "a b.jsonl", "sh", "-c", f"cd / && echo ${VARIABLE}", cwd=tmp_path))
    assert shlex.split(value) == ["--stats", str(tmp_path / "a b.jsonl")]
    assert from_text(value)["stats"] == tmp_path / "a b.jsonl"


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [("nnUNetv2_mine", {}, "0"), ("nnUNetv2_mine", {"JOBLIB_MULTIPROCESSING": "1"}, "1"), ("mine", {}, "unset")],
)
def test_nnunets_commands_make_no_semaphore_of_joblibs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, given: dict[str, str], value: str
) -> None:
    """Other programs may need joblib's processes."""
    monkeypatch.delenv("JOBLIB_MULTIPROCESSING", raising=False)
    program = script(tmp_path / name, "#!/bin/sh\necho ${JOBLIB_MULTIPROCESSING-unset}\n")
    assert printed(call(*RUN, program, environment=given)) == [value]


def test_the_process_is_the_programs() -> None:
    """No process stays in between: signals reach the program, and its exit code is the command's."""
    with subprocess.Popen([*RUN, "sh", "-c", "echo $$; exit 41"], stdout=subprocess.PIPE, encoding="utf-8") as process:
        said = process.communicate()[0]
    assert int(said) == process.pid
    assert process.returncode == 41
    assert call(*RUN, "sh", "-c", "kill -TERM $$").returncode == -15


def test_standard_streams_are_the_programs() -> None:
    assert printed(call(*RUN, "cat", stdin="one\ntwo")) == ["one", "two"]
    # Python ignores SIGPIPE; the program must not.
    cut = call(*RUN, "sh", "-c", "yes | head -n 1")
    assert (cut.stdout, cut.stderr) == ("y\n", "")


def test_a_script_without_a_first_line_runs_as_in_a_shell(tmp_path: Path) -> None:
    assert printed(call(*RUN, script(tmp_path / "plain", f"echo ${VARIABLE} $1\n"), "word")) == ["1 word"]


def test_a_program_is_found_on_path(tmp_path: Path) -> None:
    script(tmp_path / "mine", "#!/bin/sh\necho $0 found\n")
    environment = {"PATH": os.pathsep.join([str(tmp_path), os.environ["PATH"]])}
    assert printed(call(*RUN, "mine", environment=environment)) == [f"{tmp_path / 'mine'} found"]


# What cannot be run


@pytest.mark.parametrize(
    ("program", "code", "expected"),
    [
        ("nnUNetv2_trian", 127, "a program that exists"),
        ("./nowhere", 127, "a program that exists"),
        ("./plain", 126, "executed"),
    ],
)
def test_what_cannot_be_run_is_named(tmp_path: Path, program: str, code: int, expected: str) -> None:
    for name in ("plain", "mine.py"):
        (tmp_path / name).write_text("", encoding="utf-8")
    done = call(*RUN, program, cwd=tmp_path)
    assert done.returncode == code
    assert expected in done.stderr
    assert repr(program) in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_interpreter_is_named(tmp_path: Path) -> None:
    done = call(*RUN, script(tmp_path / "mine", "#!/nowhere/python3\n"))
    assert done.returncode == 127
    assert len(done.stderr.splitlines()) == 1


def python_script(file: Path, python: Path, kind: str) -> Path:
    first_line = {
        "script": f"#!{python}\n",
        "environment": "#!/usr/bin/env python\n",
        "long path": f"#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n' '''\n",
    }
    return script(file, first_line[kind] + "print('runs')\n")


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("kind", ["python", "script", "environment", "long path"])
@pytest.mark.parametrize("nnunet", [True, False])
def test_an_environment_without_the_package_is_named(tmp_path: Path, other_python: Path, kind: str, nnunet: bool) -> None:
    (paths,) = other_python.parents[1].glob("lib/python*/site-packages")
    # A folder that a .pth file adds is searched for modules, and for .pth files not.
    (paths / "nnunet.pth").write_text(str(Path(nnunetv2.__path__[0]).parent) if nnunet else "", encoding="utf-8")
    program = other_python if kind == "python" else python_script(tmp_path / "mine", other_python, kind)
    environment = {"PATH": os.pathsep.join([str(other_python.parent), os.environ["PATH"]])}
    done = call(*RUN, program, environment=environment)
    assert str(other_python) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    if kind != "python" and not nnunet:
        # It cannot use nnU-Net itself, but what it starts may, as what conda starts.
        assert printed(done) == ["runs"]
        assert "has neither nnU-Net nor this package" in done.stderr
    else:
        assert done.returncode == 2
        assert not done.stdout
        assert "got none; install it there" in done.stderr


@pytest.mark.usefixtures("installed")
def test_pythons_own_options_are_respected() -> None:
    for options in ([], ["-I"], ["-E", "-s"], ["-u", "-W", "error"]):
        assert printed(call(*RUN, sys.executable, *options, "-c", SHOW))[0] == "1"
    done = call(*RUN, sys.executable, "-S", "-c", SHOW)
    assert done.returncode == 2
    assert "got the option -S" in done.stderr


@pytest.mark.parametrize(
    ("first_line", "expected"),
    [
        ("#!/usr/bin/env bash", None),
        ("#!/bin/sh", None),
        ("echo", None),
        ("\x7fELF", None),
        (f"#!{sys.executable} -sE", [sys.executable, "-s", "-E"]),
        (f"#! {sys.executable}", [sys.executable]),
        (f"#!/usr/bin/env -S A=b {sys.executable} -u -I", [sys.executable, "-I"]),
    ],
)
def test_what_runs_a_program(tmp_path: Path, first_line: str, expected: list[str] | None) -> None:
    assert interpreter(script(tmp_path / "mine", first_line + "\n")) == expected


# The options


@pytest.mark.parametrize("option", [["--threads", "0"], ["--seed", "-1"], ["--memory-budget", "4XB"], ["--stats", "nowhere/s"]])
def test_wrong_options_are_named(option: list[str]) -> None:
    done = call(*RUN, *option, "true")
    assert done.returncode == 2
    assert option[0] in done.stderr


def test_the_options_of_a_training_are_those_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All options of the loader go through the variable and come out as what `fastnnunet train` installs."""
    import argparse
    import inspect

    from fastnnunet_loader.cli import train
    from fastnnunet_loader.cli.loader_options import add_loader_options, install_arguments

    given = shlex.split(
        "--threads 3 --seed 4 --memory-budget 2GB --on-bad-case skip --max-skipped 0.2 --patience 60 --stall-after 5 "
        "--abort-after 600 --check-finite --unrestricted-pickles "
        f"--leave-to-nnunet validation --live --log-stats --stats {tmp_path}/s.jsonl --stats-every 30 "
        f"--metrics {tmp_path}/m.prom --cache-dir {tmp_path}/cache --cache-size 1GB"
    )
    parser = argparse.ArgumentParser()
    add_loader_options(parser)
    args = parser.parse_args(given)
    training = argparse.ArgumentParser()
    train.add_arguments(training)
    wanted = install_arguments(training.parse_args(["1", "3d_fullres", "0", *given]))
    assert install_arguments(args) == wanted
    assert from_text(as_text(args)) == wanted
    # Files are those that the command was given, in whichever folder the training's processes work.
    monkeypatch.chdir(tmp_path)
    relative = as_text(parser.parse_args(["--stats", "s.jsonl", "--metrics", "below/m.prom", "--cache-dir", "c"]))
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    found = from_text(relative)
    assert (found["stats"], found["metrics"]) == (tmp_path / "s.jsonl", tmp_path / "below" / "m.prom")
    assert found["cache_dir"] == tmp_path / "c"
    assert from_text("1") == from_text("") == install_arguments(parser.parse_args([]))
    parameters = inspect.signature(fl.install).parameters
    assert wanted.keys() == parameters.keys()
    assert {name: parameters[name].default for name in parameters} == from_text("1")
    assert all(wanted[name] != parameters[name].default for name in parameters), "each option is tried with another value"


def test_the_help_names_the_options_and_the_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["run", "--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    assert all(
        text in said for text in ("--memory-budget", VARIABLE, "COMMAND", "fastnnunet run nnUNetv2_train 1 3d_fullres 0")
    )


@pytest.mark.parametrize(("command", "kept"), [("train", True), ("bench", False), ("preview", False)])
def test_commands_that_look_at_nnunet_do_not_pass_the_variable_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, kept: bool
) -> None:
    for name in ("nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv(VARIABLE, "--seed 1")
    assert cli.main([command, "901", "3d_fullres", "0", *(["-o", "x.png"] if command == "preview" else [])]) == 2
    assert (VARIABLE in os.environ) is kept


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_commands_of_this_package_install_what_they_need_themselves() -> None:
    code = """
import fastnnunet_loader.cli as cli
cli.main(["bench", "901", "3d_fullres", "0"])
import nnunetv2.run.run_training
from fastnnunet_loader.nnunet import installed
print(installed())
"""
    assert printed(call(sys.executable, "-c", code, environment={VARIABLE: "1"})) == ["False"]
