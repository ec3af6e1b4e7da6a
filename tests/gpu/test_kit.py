"""The kit for a machine with a GPU: what goes into it, and parts of a limited size. Its script needs such a machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "gpu"


def run(script: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPTS / script, *arguments]
    return subprocess.run([str(word) for word in command], capture_output=True, encoding="utf-8", timeout=60, check=False)


def test_what_belongs_to_torch_is_not_brought(tmp_path: Path) -> None:
    brought = ["numpy", "nnunetv2", "torchvision", "timm", "nvidia-ml-py"]
    there = ["torch", "triton", "nvidia-cublas-cu12", "nvidia-cudnn-cu13", "cuda-bindings", "fastnnunet-loader"]
    report = {"install": [{"metadata": {"name": name, "version": "1.2"}} for name in [*brought, *there]]}
    (tmp_path / "report.json").write_text(json.dumps(report), encoding="utf-8")
    assert run("names.py", tmp_path / "report.json").stdout.splitlines() == [f"{name}==1.2" for name in brought]


# A mebibyte; many files that fill a block but for one byte, which have the largest share of headers; files of all sizes.
LIMIT = 2**20


@pytest.mark.parametrize(
    "sizes",
    [[700_000, 300_000, 200_000, 100_000, 5], [513] * 2000, [LIMIT - 20_000, 1], list(range(1, 60_000, 1777)), [1]],
    ids=["large and small", "many", "nearly the limit", "all sizes", "one"],
)
def test_every_file_is_in_one_part_and_no_part_is_too_large(tmp_path: Path, sizes: list[int]) -> None:
    files, parts, out = tmp_path / "files", tmp_path / "parts", tmp_path / "out"
    for folder in (files, parts, out):
        folder.mkdir()
    for number, size in enumerate(sizes):
        (files / f"{number:04d}.whl").write_bytes(os.urandom(size))
    done = run("parts.py", files, parts, LIMIT, "kit")
    assert done.returncode == 0, done.stderr
    made = sorted(parts.iterdir())
    assert [part.name for part in made] == [f"part-kit-{n:02d}-of-{len(made):02d}.tar" for n in range(1, len(made) + 1)]
    assert max(part.stat().st_size for part in made) <= LIMIT
    for part in made:
        with tarfile.open(part) as archive:
            for member in archive.getmembers():
                assert not (out / member.name).exists()
                content = archive.extractfile(member)
                assert content is not None
                (out / member.name).write_bytes(content.read())
    assert {file.name: file.read_bytes() for file in out.iterdir()} == {
        file.name: file.read_bytes() for file in files.iterdir()
    }


def test_a_file_larger_than_a_part_is_refused(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "large.whl").write_bytes(bytes(LIMIT))
    done = run("parts.py", tmp_path / "files", tmp_path, LIMIT, "kit")
    assert done.returncode == 1
    assert done.stderr == f"expected files of at most {LIMIT} bytes, got {LIMIT} in large.whl\n"


def test_the_script_waits_for_all_parts(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    for name in "ab":
        (tmp_path / "files" / name).write_bytes(os.urandom(LIMIT // 2 + 1))
    run("parts.py", tmp_path / "files", tmp_path, LIMIT, "kit")
    done = subprocess.run(
        ["bash", str(SCRIPTS / "try.sh"), str(tmp_path / "part-kit-02-of-02.tar")],
        env={**os.environ, "KIT": str(tmp_path / "kit")}, capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "1 of 2 parts are here\n")


def test_parts_of_two_kits_do_not_fit_together(tmp_path: Path) -> None:
    for kit in ("one", "two"):
        (tmp_path / kit).mkdir()
        (tmp_path / kit / "file").write_bytes(b"content")
        run("parts.py", tmp_path / kit, tmp_path, LIMIT, kit)
    done = subprocess.run(
        ["bash", str(SCRIPTS / "try.sh"), str(tmp_path / "part-one-01-of-01.tar"), str(tmp_path / "part-two-01-of-01.tar")],
        env={**os.environ, "KIT": str(tmp_path / "kit")}, capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "expected parts of one kit, got parts of one and of two\n")
