"""The command: text and JSON say the same, and the exit code follows."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from damaging import truncate

from fastnnunet_loader.cli import command as cli
from fastnnunet_loader.doctor import Check, Printer, Verdict, exit_code, run, to_json
from fastnnunet_loader.doctor.report import progress

MIXED = [
    Check("one", Verdict.OK, "as it should be", "not shown", "not shown"),
    Check("two", Verdict.NOTE, "a longer text " * 10, "which matters " * 10, "export A=1"),
    Check("a name that is longer than its column", Verdict.WARNING, "found", "why", "line 1\nline 2"),
    Check("four", Verdict.FAIL, "[place] expected x, got y", "why", "mend", tuple(f"file {i}" for i in range(25))),
]


def text_of(checks: list[Check]) -> str:
    stream = io.StringIO()
    printer = Printer(stream)
    for check in checks:
        printer.check(check)
    printer.summary(checks)
    return stream.getvalue()


def verdicts_in(text: str) -> list[str]:
    """The verdicts at the beginning of lines, down to the summary."""
    body = text.rpartition("\n\n")[0]
    return [match[1].strip() for line in body.splitlines() if (match := re.match(r"(ok|note|warning|will fail) +\S", line))]


def test_text_is_plain_and_80_columns_wide() -> None:
    text = text_of(MIXED)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert verdicts_in(text) == ["ok", "note", "warning", "will fail"]
    assert "not shown" not in text
    assert "> export A=1\n" in text
    assert "and 5 more" in text
    assert "1 ok, 1 note, 1 warning, 1 will fail" in text


def test_lines_to_run_are_not_broken() -> None:
    line = "nnUNetv2_preprocess " + "-d 1 " * 40 + "end"
    assert f"> {line}\n" in text_of([Check("x", Verdict.FAIL, "found", "why", line)])


def test_letters_that_the_stream_has_not() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    Printer(stream).check(Check("データ", Verdict.FAIL, "頭部.b2nd", "", ""))
    stream.flush()


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], 0),
        ([Verdict.OK, Verdict.NOTE], 0),
        ([Verdict.WARNING, Verdict.OK], 1),
        ([Verdict.FAIL, Verdict.WARNING], 2),
    ],
)
def test_exit_codes(verdicts: list[Verdict], code: int) -> None:
    assert exit_code([Check("x", verdict, "") for verdict in verdicts]) == code


def test_json_has_everything() -> None:
    report = json.loads(to_json(MIXED))
    assert report["exit_code"] == 2
    assert [check["verdict"] for check in report["checks"]] == ["ok", "note", "warning", "will fail"]
    assert set(report["checks"][0]) == {"name", "verdict", "found", "why", "mend", "details"}
    assert len(report["checks"][3]["details"]) == 25


def test_check_that_raises_is_a_failure_with_the_exception() -> None:
    def raising() -> Check:
        raise ZeroDivisionError("by nothing")

    shown: list[Check] = []
    checks = run([("first", raising), ("second", lambda: MIXED[0])], shown.append)
    assert checks == shown
    assert [check.verdict for check in checks] == [Verdict.FAIL, Verdict.OK]
    assert checks[0].name == "first"
    assert checks[0].found == "ZeroDivisionError: by nothing"
    with pytest.raises(ZeroDivisionError):
        run([("first", raising)], shown.append, debug=True)


def test_progress_is_plain_lines_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    with progress("reading", 3, stream) as advance:
        for _ in range(3):
            advance()
    assert stream.getvalue() == "reading: 3 of 3\n"


def test_text_and_json_of_a_damaged_data_set_have_the_same_verdicts(
    nnunet_dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = nnunet_dataset("default").copy(tmp_path / "copy")
    for name, value in dataset.env.items():  # among them nnUNet_compile=f
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("nnUNet_raw")
    file = dataset.folder() / f"{dataset.cases()[0]}.b2nd"
    before, _ = truncate(file)

    assert cli.main(["doctor", dataset.name, "-c", "3d_fullres"]) == 2
    text = capsys.readouterr().out
    assert cli.main(["doctor", str(dataset.id), "--configuration", "3d_fullres", "--json", "--threads", "2"]) == 2
    report = json.loads(capsys.readouterr().out)

    assert [check["verdict"] for check in report["checks"]] == verdicts_in(text)
    assert [check["name"] for check in report["checks"] if check["verdict"] == "will fail"] == ["files, 3d_fullres"]
    for said in (text.replace("\n", ""), json.dumps(report)):
        assert file.name in said
        assert str(before) in said
    names = {check["name"] for check in report["checks"]}
    assert {
        "Python",
        "torch",
        "nnU-Net",
        "CUDA",
        "torch.compile",
        "cores",
        "memory",
        "/dev/shm",
        "open files",
        "splits",
    } <= names
    assert {check["name"]: check["verdict"] for check in report["checks"]}["nnUNet_raw"] == "note"
    assert "\x1b" not in text


def test_arguments_out_of_range_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["doctor", "1", "--threads", "0"])
    assert stopped.value.code == 2
    assert "--threads" in capsys.readouterr().err


class Terminal(io.StringIO):
    """A stream that is one."""

    def isatty(self) -> bool:
        return True


def test_a_summary_names_what_matters_from_bad_to_less_bad() -> None:
    checks = [
        Check("a note", Verdict.NOTE, ""),
        Check("first warning", Verdict.WARNING, ""),
        Check("a failure", Verdict.FAIL, ""),
        Check("second warning", Verdict.WARNING, ""),
    ]
    stream = io.StringIO()
    Printer(stream).summary(checks)
    assert stream.getvalue().splitlines() == [
        "",
        "will fail  a failure",
        "warning    first warning, second warning",
        "0 ok, 1 note, 2 warning, 1 will fail",
    ]
    assert json.loads(to_json(checks))["counts"] == {"ok": 0, "note": 1, "warning": 2, "will fail": 1}


def test_lines_of_a_check_stand_below_each_other() -> None:
    stream = io.StringIO()
    details = tuple(f"file {n}" for n in range(21))
    Printer(stream).check(Check("name", Verdict.WARNING, "found", "why", "one\ntwo", details))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "warning    name                 found"
    assert lines[1:21] == [f"           - file {n}" for n in range(20)]
    assert lines[21:] == ["           - and 1 more; --json lists all", " " * 32 + "why", "           > one", "           > two"]


def test_colours_are_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    Printer(stream).check(MIXED[3])
    assert "\x1b[" in stream.getvalue()
    plain = re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue())
    assert plain.startswith("will fail  four")
    assert "> mend" in plain


def test_progress_says_at_times_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("fastnnunet_loader.doctor.report.time.monotonic", lambda: now[0])
    stream = io.StringIO()
    with progress("reading", 5, stream) as advance:
        for now[0] in (1.0, 11.0, 12.0, 22.0, 23.0):
            advance()
    assert stream.getvalue() == "reading: 2 of 5\nreading: 4 of 5\nreading: 5 of 5\n"


@pytest.mark.parametrize("count", [1, 20, 21, 300])
def test_details_that_are_left_out_are_counted(count: int) -> None:
    stream = io.StringIO()
    Printer(stream).check(Check("name", Verdict.WARNING, "found", "", "", tuple(f"file {n}" for n in range(count))))
    lines = stream.getvalue().splitlines()[1:]
    assert lines[: min(count, 20)] == [f"           - file {n}" for n in range(min(count, 20))]
    assert lines[20:] == ([f"           - and {count - 20} more; --json lists all"] if count > 20 else [])


@pytest.mark.parametrize("length", [1, 19, 20, 21, 40])
def test_a_long_name_has_a_line_of_its_own(length: int) -> None:
    stream = io.StringIO()
    Printer(stream).check(Check("n" * length, Verdict.OK, "found\nmore"))
    first = f"ok         {'n' * length}"
    lines = [f"{first.ljust(32)}found"] if length <= 20 else [first, f"{'':32}found"]
    assert stream.getvalue().splitlines() == [*lines, f"{'':32}more"]
