"""What Python reads itself is tried again where a disk or a file server does not answer; the core's part is in tests/faults."""

from __future__ import annotations

import errno
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
    assert preprocess._read("case", [str(image)], Failing(RuntimeError("unable to read"), 2), patience) == "read"
    assert len(said) == 1
    assert str(image) in said[0]
    with pytest.raises(fl.PredictionError, match="unable to read"):
        preprocess._read("case", [str(image)], Failing(RuntimeError("unable to read"), 1), patience)


@pytest.mark.parametrize(
    ("name", "value"), [("patience", -1), ("patience", float("nan")), ("max_skipped", 1.5), ("abort_after", 0)]
)
def test_settings_are_checked(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"\[{name}\]"):
        fl.install(**{name: value})  # type: ignore[arg-type]
