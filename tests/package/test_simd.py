"""The environment variable FASTNNUNET_SIMD: which instruction set's code runs, and what another name gives."""

from __future__ import annotations

import os
import subprocess
import sys

from fastnnunet_loader import _core


def run(name: str, code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FASTNNUNET_SIMD": name, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"from fastnnunet_loader import _core\n{code}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_instruction_set_of_this_processor_can_be_forced() -> None:
    names = _core.simd_targets()
    assert names[0] == "BASELINE"
    for name in names:
        done = run(name, "print(_core.simd_target())")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == name or (name == "BASELINE" and done.stdout.strip() not in names[1:])


def test_a_name_that_is_none_is_an_error_that_says_which_there_are() -> None:
    done = run("AVX9", "")
    assert done.returncode == 1
    assert "ImportError: [FASTNNUNET_SIMD] expected a target that this processor has (BASELINE" in done.stderr
    assert done.stderr.strip().endswith("got AVX9")
