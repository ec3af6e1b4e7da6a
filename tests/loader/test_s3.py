"""Cases in an S3 bucket: the batches are those of the folder, with the keys of the environment and with no others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import s3fs
from small_folders import numpy_folder, open_folder
from test_slow_storage import same, taken

from buckets import Bucket, bucket
from fastnnunet_loader.errors import StorageError


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with bucket() as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        yield made
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize("ending", ["b2nd", "npz"])
def test_batches_from_a_bucket_are_those_of_the_folder(cases: Bucket, tmp_path: Path, ending: str) -> None:
    folder = numpy_folder(tmp_path / "cases", ending)
    wanted = taken(open_folder(folder))
    settings: dict[str, Any] = {"cache_dir": tmp_path / "cache", "cache": tmp_path / "classes"}
    address = cases.put(folder, "folder/cases")
    assert same(taken(open_folder(address, **settings)), wanted)


def test_keys_that_the_bucket_does_not_know_are_refused_with_its_words(
    cases: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = cases.put(numpy_folder(tmp_path / "cases", "b2nd", cases=1), "cases")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(StorageError) as error:
        open_folder(address, cache_dir=tmp_path / "cache", patience=0.0)
    assert error.value.file == address
    assert "signature" in error.value.reason
