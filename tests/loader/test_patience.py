"""What Python reads itself is tried again where a disk or a file server does not answer; the core's part is in tests/faults."""

from __future__ import annotations

import errno
import time
from pathlib import Path
from typing import Any

import pytest

import fastnnunet_loader as fl
from fastnnunet_loader.loading.reading import pickles
from fastnnunet_loader.loading.reading.patience import Patience, may_pass, patiently


class Failing:
    """A call that fails some times before it succeeds."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error = error
        self.times = times

    def __call__(self) -> str:
        self.times -= 1
        if self.times >= 0:
            raise self.error
        return "read"


@pytest.mark.parametrize("name", ["EIO", "ESTALE", "ETIMEDOUT", "EAGAIN", "ENOTCONN", "EHOSTDOWN"])
def test_what_may_pass_is_tried_again(name: str) -> None:
    said: list[str] = []
    assert patiently(Failing(OSError(getattr(errno, name), "away", "file"), 3), 60, said.append) == "read"
    assert said == [f"waiting for the file server, for up to 60 s: [Errno {getattr(errno, name)}] away: 'file'"]


def test_what_may_pass_is_known_however_a_library_wraps_it() -> None:
    def wrapped(how: str) -> Exception:
        try:
            try:
                raise OSError(errno.ESTALE, "away")
            except OSError as error:
                if how == "from it":
                    raise RuntimeError("cannot read") from error
                if how == "from none":
                    raise RuntimeError("cannot read") from None
                raise RuntimeError("cannot read")  # noqa: B904
        except RuntimeError as error:
            return error

    for how in ("from it", "from none", "while it was handled"):
        assert may_pass(wrapped(how)), how
        assert patiently(Failing(wrapped(how), 2), 60, lambda _: None) == "read"


@pytest.mark.parametrize("error", [OSError(errno.ENOENT, "none"), OSError(errno.EACCES, "no"), ValueError("damaged")])
def test_what_does_not_pass_is_raised_at_once(error: Exception) -> None:
    call = Failing(error, 1)
    with pytest.raises(type(error)):
        patiently(call, 60, print)
    assert call.times == 0


def test_patience_ends() -> None:
    with pytest.raises(OSError, match="away"):
        patiently(Failing(OSError(errno.EIO, "away"), 1000), 0.2, lambda _: None)
    call = Failing(OSError(errno.EIO, "away"), 1000)
    with pytest.raises(OSError, match="away"):
        patiently(call, 0, print)
    assert call.times == 999


def test_properties_that_cannot_be_read_now_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ESTALE, "Stale file handle")

    with pytest.raises(fl.StorageError) as missing:
        pickles.read_properties(tmp_path / "none.pkl")
    assert (missing.value.errno, missing.value.passing) == (errno.ENOENT, False)
    monkeypatch.setattr(Path, "open", away)
    with pytest.raises(fl.StorageError) as caught:
        pickles.read_properties(tmp_path / "case.pkl")
    assert (caught.value.errno, caught.value.passing) == (errno.ESTALE, True)
    assert may_pass(caught.value)


def test_images_of_a_prediction_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastnnunet_loader.prediction.preprocessing import preprocess

    image = tmp_path / "image.nii.gz"
    image.write_bytes(b"voxels")
    said: list[str] = []
    # SimpleITK's error has no number; what the system says of the file counts.
    opened = Path.open
    left = [2]

    def failing(self: Path, *args: Any, **kwargs: Any) -> Any:
        if self == image and left[0] > 0:
            left[0] -= 1
            raise OSError(errno.EIO, "Input/output error", str(self))
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", failing)
    patience = Patience(60, said.append)
    assert preprocess.read("case", [str(image)], Failing(RuntimeError("unable to read"), 2), patience) == "read"
    assert len(said) == 1
    assert repr(str(image)) in said[0]  # as an OSError names it
    with pytest.raises(fl.PredictionError, match="unable to read"):
        preprocess.read("case", [str(image)], Failing(RuntimeError("unable to read"), 1), patience)


@pytest.mark.parametrize(
    ("name", "value"), [("patience", -1), ("patience", float("nan")), ("max_skipped", 1.5), ("abort_after", 0)]
)
def test_settings_are_checked(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"\[{name}\]"):
        fl.install(**{name: value})  # type: ignore[arg-type]


def test_a_wait_is_told_once_and_ends_with_the_last_error() -> None:
    said: list[str] = []
    errors = [OSError(errno.EIO, f"error {number}") for number in range(1000)]
    raised = iter(errors)

    def failing() -> None:
        raise next(raised)

    begin = time.monotonic()
    with pytest.raises(OSError) as caught:
        patiently(failing, 0.5, said.append)
    assert 0.5 <= time.monotonic() - begin < 15
    assert said == [f"waiting for the file server, for up to 0.5 s: {errors[0]}"]
    tries = errors.index(caught.value) + 1
    assert 4 <= tries <= 6  # after 0.05 s, 0.15 s, 0.35 s and 0.5 s


def test_what_passes_is_up_to_who_asks() -> None:
    call = Failing(ValueError("damaged"), 2)
    assert patiently(call, 60, lambda _: None, lambda error: isinstance(error, ValueError)) == "read"
    with pytest.raises(OSError, match="away"):
        patiently(Failing(OSError(errno.EIO, "away"), 1), 60, print, lambda _: False)


@pytest.mark.parametrize("were_there", [True, False])
def test_files_that_were_there_may_come_back(tmp_path: Path, were_there: bool) -> None:
    said: list[str] = []
    patience = Patience(60, said.append)
    gone = FileNotFoundError(errno.ENOENT, "No such file or directory")

    def read(times: int) -> str:
        return patience.reading([], Failing(gone, times), were_there=were_there)

    if were_there:
        assert read(2) == "read"
        assert said == [f"waiting for the file server, for up to 60 s: {gone}"]
    else:
        with pytest.raises(FileNotFoundError):
            read(1)
        assert said == []


@pytest.mark.parametrize("which", [0, 1, 2])
def test_any_of_several_files_may_be_the_one_that_is_away(tmp_path: Path, which: int) -> None:
    """A library's error says nothing; each file is read to its end."""
    files = [tmp_path / f"{number}.nii.gz" for number in range(3)]
    for number, file in enumerate(files):
        if number != which:
            file.write_bytes(b"voxels")
    library = RuntimeError("unable to read")
    patience = Patience(0.1, lambda _: None)
    with pytest.raises(FileNotFoundError) as caught:
        patience.reading([str(file) for file in files], Failing(library, 1000), were_there=True)
    assert caught.value.filename == str(files[which])
    assert caught.value.__cause__ is library
    call = Failing(library, 1000)
    with pytest.raises(RuntimeError, match="unable to read"):  # a file that is not there, and was not, is no reason to wait
        patience.reading([str(file) for file in files], call)
    assert call.times == 999
