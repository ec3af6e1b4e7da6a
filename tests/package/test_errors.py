"""What errors know, and what they are."""

from __future__ import annotations

import errno

import pytest

from fastnnunet_loader import errors
from fastnnunet_loader.sample_id import SampleId


@pytest.mark.parametrize(("number", "passing"), [(None, False), (errno.EIO, True), (errno.ESTALE, True), (errno.ENOENT, False)])
def test_an_error_of_a_file_knows_whether_it_may_pass(number: int | None, passing: bool) -> None:
    error = errors.StorageError("[f] gone", file="f", reason="gone", errno=number)
    assert (str(error), error.file, error.reason, error.errno, error.passing) == ("[f] gone", "f", "gone", number, passing)
    for told in (True, False):  # who knows better says so
        assert errors.StorageError("m", file="f", reason="r", errno=number, passing=told).passing is told


def test_errors_keep_what_they_are_told() -> None:
    told = {"case": "c", "file": "f", "transform": "t", "reason": "r"}
    numbers = {"seed": 1, "rank": 2, "role": 3, "step": 4, "slot": 5, "attempt": 6}
    for kind in (errors.SampleError, errors.BadCaseError):
        error = kind("message", **told, **numbers)  # type: ignore[arg-type]
        assert str(error) == "message"
        assert {name: getattr(error, name) for name in (*told, *numbers)} == {**told, **numbers}
        assert error.sample == SampleId(**numbers)
        assert error.reproduce == ""
        del numbers["attempt"]
        assert kind("m", **told, **numbers).attempt == 0  # type: ignore[arg-type]
        numbers["attempt"] = 6
    error = errors.PredictionError(case="c", stage="read", reason="r", file="f")
    assert (str(error), error.case, error.stage, error.reason, error.file) == ("[c] f: r", "c", "read", "r", "f")
    error = errors.PredictionError(case="c", stage="check", reason="r")
    assert (str(error), error.file) == ("[c] r", "")
    assert errors.TransformError("m", transform="t").transform == "t"
    assert errors.log_of(error) is None
    errors.note_log(error, "log")
    assert errors.log_of(error) == "log"


def test_every_error_is_one_of_this_packages() -> None:
    kinds = {getattr(errors, name) for name in errors.__all__} | {errors.CommandError}
    assert all(issubclass(kind, errors.FastnnUNetError) for kind in kinds)
    assert not any(issubclass(kind, (ValueError, TypeError)) for kind in kinds)
    assert issubclass(errors.BadCaseError, errors.SampleError)
    assert {kind for kind in kinds if issubclass(kind, errors.SampleError)} == {errors.SampleError, errors.BadCaseError}
