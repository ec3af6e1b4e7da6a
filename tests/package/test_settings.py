"""One list of settings: `install()`, the command line and the docs agree with it. And how sizes of memory are read."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fastnnunet_loader as fl
from fastnnunet_loader.cli.loader_options import add_loader_options, install_arguments
from fastnnunet_loader.settings import LoaderSettings, Settings, in_units, parse_bytes, settings_of

ROOT = Path(__file__).parents[2]
SETTINGS = settings_of(Settings)


def option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def test_install_takes_every_setting() -> None:
    parameters = inspect.signature(fl.install).parameters
    assert list(parameters) == list(SETTINGS)
    for name, parameter in parameters.items():
        found, _ = SETTINGS[name]
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.default == found.default
        assert parameter.annotation.replace("_", "") == str(found.type).replace("_", ""), name


def test_install_passes_every_setting_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value of another setting would be of another type, or out of range."""
    given = {
        "threads": 3, "seed": 4, "memory_budget": 5, "on_bad_case": "skip", "max_skipped": 0.6, "patience": 7.0,
        "stall_after": 8.0, "abort_after": 9.0, "check_finite": True, "unrestricted_pickles": True, "cache_dir": "copies",
        "cache_size": 11,
        "leave_to_nnunet": ("validation",), "live": True, "log_stats": True, "stats": "s.jsonl", "stats_every": 10.0,
        "metrics": "m.prom",
    }  # fmt: skip
    assert given.keys() == SETTINGS.keys()
    assert all(value != SETTINGS[name][0].default for name, value in given.items())
    import fastnnunet_loader.nnunet

    taken: list[Settings] = []
    monkeypatch.setattr(fastnnunet_loader.nnunet, "install", taken.append)
    arguments: dict[str, Any] = given
    fl.install(**arguments)
    assert taken == [Settings(**arguments)]
    assert dataclasses.asdict(taken[0]) == given


def test_the_command_line_has_every_setting() -> None:
    parser = argparse.ArgumentParser()
    add_loader_options(parser)
    actions = {action.dest: action for action in parser._actions if action.dest != "help"}
    assert list(actions) == list(SETTINGS)
    for name, (_, setting) in SETTINGS.items():
        assert actions[name].option_strings == [option(name)]
        assert str(actions[name].help).startswith(setting.help)
    assert Settings(**install_arguments(parser.parse_args([]))) == Settings()
    words = {
        "--threads": "3", "--seed": "4", "--memory-budget": "5k", "--on-bad-case": "skip", "--max-skipped": "0.6",
        "--patience": "0", "--stall-after": "8", "--abort-after": "9", "--leave-to-nnunet": "training", "--stats": "s.jsonl",
        "--stats-every": "10", "--metrics": "m.prom", "--cache-dir": "copies", "--cache-size": "200GiB",
    }  # fmt: skip
    switches = [option(name) for name, (found, _) in SETTINGS.items() if found.default is False]
    given = parser.parse_args([*switches, *(word for pair in words.items() for word in pair)])
    chosen = Settings(**install_arguments(given))
    assert not [name for name, (found, _) in SETTINGS.items() if getattr(chosen, name) == found.default]
    assert (chosen.memory_budget, chosen.patience, chosen.leave_to_nnunet) == (5120, 0.0, ("training",))


def test_install_and_the_docs_are_written_from_the_settings() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "settings.py"], capture_output=True, encoding="utf-8", check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_help_is_one_sentence() -> None:
    for name, (_, setting) in SETTINGS.items():
        assert setting.help[0].islower(), name
        assert ". " not in setting.help and not setting.help.endswith("."), name
        assert not setting.more or setting.more.endswith("."), name


def test_a_loader_takes_the_settings_of_loaders() -> None:
    """`DataLoader.from_nnunet` has them under the same names, with the same defaults."""
    parameters = inspect.signature(fl.DataLoader.from_nnunet).parameters
    for name, (found, _) in settings_of(LoaderSettings).items():
        assert parameters[name].default == found.default
        assert parameters[name].annotation == found.type


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"threads": 0}, "[threads] expected a number from 1 on, got 0"),
        ({"seed": 2**64}, f"[seed] expected a number from 0 to 2**64 - 1, got {2**64}"),
        ({"memory_budget": "4 X"}, "[memory_budget] expected a size such as '4GB', got '4 X'"),
        ({"on_bad_case": "ignore"}, "[on_bad_case] expected 'raise' or 'skip', got 'ignore'"),
        ({"max_skipped": 1.5}, "[max_skipped] expected a share from 0 to 1, got 1.5"),
        ({"patience": -1}, "[patience] expected seconds from 0 on, got -1"),
        ({"stall_after": float("nan")}, "[stall_after] expected seconds above 0, got nan"),
        ({"abort_after": 0}, "[abort_after] expected seconds above 0, got 0"),
        ({"stats_every": 0}, "[stats_every] expected seconds above 0, got 0"),
        ({"leave_to_nnunet": "testing"}, "[leave_to_nnunet] expected names out of training, validation, got 'testing'"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError) as raised:
        Settings(**settings)
    assert str(raised.value) == problem


def test_nothing_else_puts_bytes_into_words() -> None:
    """`in_units` is the one way: no other module divides by 2**20 or 2**30 in a text."""
    found = []
    for file in sorted((ROOT / "python").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FormattedValue) and any(
                isinstance(part, ast.BinOp) and isinstance(part.op, ast.Pow) for part in ast.walk(node.value)
            ):
                found.append(f"{file.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node.value)}")
    assert found == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (123, 123),
        ("123", 123),
        ("0", 0),
        ("1B", 1),
        ("1k", 1024),
        ("1kB", 1024),
        ("1KiB", 1024),
        ("64MB", 67_108_864),
        ("64 MiB", 67_108_864),
        ("4G", 4_294_967_296),
        ("4GB", 4_294_967_296),
        ("4 gib", 4_294_967_296),
        (" 1.5G ", 1_610_612_736),
        ("2T", 2_199_023_255_552),
        ("0.5k", 512),
    ],
)
def test_units_are_powers_of_1024(text: str | int, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "G", "4 X", "4GBs", "-1G", "1e9", "4,5G", "1.G", "four"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size such as '4GB', got"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (5 * 2**20 + 2**19, "5.5 MiB"),
        (2**30, "1.0 GiB"),
        (3 * 2**40, "3.0 TiB"),
        (2**60, "1048576.0 TiB"),
    ],
)
def test_bytes_for_people(count: int, said: str) -> None:
    assert in_units(count) == said
    if count >= 1024:
        assert parse_bytes(said) == count


SIZES = ("memory_budget", "cache_size")
RANGES: dict[str, tuple[list[str], list[str]]] = {
    "threads": (["1", "2"], ["0", "-1", "1.0", "", "²", "two"]),
    "seed": (["0", str(2**64 - 1)], [str(2**64), "-1", "1.5"]),
    "memory_budget": (["0", "1", "4GB"], ["-1", "", "4 X"]),
    "on_bad_case": (["raise", "skip"], []),  # argparse names the choices itself
    "max_skipped": (["0", "0.5", "1"], ["1.01", "-0.01", "nan", "inf"]),
    "patience": (["0", "0.1", "1e9"], ["-0.1", "nan", "inf", "soon"]),
    "stall_after": (["0.1", "60"], ["0", "-1", "nan", "inf"]),
    "abort_after": (["0.1", "60"], ["0", "-1", "nan", "inf"]),
    "cache_dir": (["copies"], []),
    "cache_size": (["0", "1", "200GiB"], ["-1", "", "4 X"]),
    "leave_to_nnunet": (["training", "validation"], []),
    "stats": (["s.jsonl"], []),
    "stats_every": (["0.1", "60"], ["0", "-1", "nan", "inf"]),
    "metrics": (["m.prom"], []),
}
"""Texts of a command line that each setting takes, the ends of its range among them, and texts beyond them."""


@pytest.mark.parametrize("name", RANGES)
def test_a_setting_takes_its_whole_range_and_no_more(name: str) -> None:
    """The same on the command line and in `install()`."""
    _, setting = SETTINGS[name]
    good, bad = RANGES[name]
    for text in good:
        value = setting.kind.parse(text)
        kept = getattr(Settings(**{name: value}), name)
        assert kept == (parse_bytes(text) if name in SIZES else (text,) if name == "leave_to_nnunet" else value)
        assert str(kept) == str(value) or name in (*SIZES, "leave_to_nnunet")
    for text in bad:
        with pytest.raises(ValueError) as raised:
            setting.kind.parse(text)
        assert str(raised.value) == f"expected {setting.kind.expected}, got {text!r}"
    numbers = [float(text) for text in bad if text.strip("-.0123456789") == "" and text]
    for number in numbers if name not in ("threads", "seed", *SIZES) else []:
        with pytest.raises(ValueError, match=rf"^\[{name}\] "):
            Settings(**{name: number})


def test_every_setting_has_a_range_or_is_a_switch() -> None:
    assert set(RANGES) == {name for name, (found, _) in SETTINGS.items() if found.default is not False}


def test_what_may_be_left_open_may_be() -> None:
    """None is a value where the help says what it means."""
    for name, (_, setting) in SETTINGS.items():
        if setting.unset and name != "leave_to_nnunet":
            assert getattr(Settings(**{name: None}), name) is None


@pytest.mark.parametrize("left", [(), ("training",), ["validation", "training"], "validation", {"training"}])
def test_loaders_that_are_left_to_nnunet_are_a_tuple(left: Any) -> None:
    assert Settings(leave_to_nnunet=left).leave_to_nnunet == ((left,) if isinstance(left, str) else tuple(left))
    with pytest.raises(ValueError, match="got 'testing'"):
        Settings(leave_to_nnunet=["training", "testing"])  # type: ignore[list-item]


@pytest.mark.parametrize(("given", "budget"), [(None, None), ("4GB", 2**32), (5, 5), ("512 MiB", 2**29)])
def test_the_budget_is_in_bytes(given: Any, budget: int | None) -> None:
    assert Settings(memory_budget=given).budget == Settings(memory_budget=given).memory_budget == budget


def test_words_for_a_default() -> None:
    """What the help and the docs say where nothing is given."""
    words = {name: setting.default_in_words for name, (_, setting) in SETTINGS.items() if setting.default_in_words}
    assert words == {
        "threads": "nnUNet_n_proc_DA, else one less than the cores, at most 8",
        "seed": "drawn at random and logged",
        "memory_budget": "half of the free memory, at most 32GB",
        "abort_after": "wait",
        "cache_dir": "no copies",
        "cache_size": "nine tenths of what the disk has free",
        "leave_to_nnunet": "none",
        "stats": "no file",
        "metrics": "no file",
    }


def test_the_help_of_a_command_tells_the_defaults() -> None:
    parser = argparse.ArgumentParser()
    add_loader_options(parser)
    said = " ".join(parser.format_help().split())
    for shown in ("else one less than the cores, at most 8)", "(default: raise)", "(default: 0.05)", "(default: 300)",
                  "(default: 60)", "(default: wait)", "(default: no file)"):  # fmt: skip
        assert shown in said, said
    titles = [group.title for group in parser._action_groups if group._group_actions]
    assert titles[-2:] == ["options of the loader", "statistics of the loader"]
    found = {action.dest: group.title for group in parser._action_groups for action in group._group_actions}
    assert {name for name in SETTINGS if found[name] == "statistics of the loader"} == {
        "live", "log_stats", "stats", "stats_every", "metrics"
    }  # fmt: skip


@pytest.mark.parametrize("file", ["stats", "metrics"])
def test_a_file_of_statistics_needs_a_folder_that_is_there(tmp_path: Path, file: str) -> None:
    from fastnnunet_loader.cli.loader_options import check_loader_options, from_text
    from fastnnunet_loader.errors import CommandError

    parser = argparse.ArgumentParser()
    add_loader_options(parser)
    check_loader_options(parser.parse_args([f"--{file}", str(tmp_path / "f")]))
    for place in (tmp_path / "none" / "f", tmp_path):
        with pytest.raises(CommandError, match=rf"^\[--{file}\] expected a file.* got .*{place}"):
            check_loader_options(parser.parse_args([f"--{file}", str(place)]))
    with pytest.raises(CommandError, match=rf"^expected 1, 0 or options .*\[--{file}\] expected a file"):
        from_text(f"--{file} {tmp_path}/none/f")


def test_sizes_are_told_with_one_digit_at_every_unit() -> None:
    for power, unit in ((10, "KiB"), (20, "MiB"), (30, "GiB"), (40, "TiB")):
        for count in (1.0, 1.5, 1000.0):
            assert in_units(count * 2**power) == f"{count:.1f} {unit}"
    assert in_units(1024**2 - 1) == "1024.0 KiB"
