"""Versions, and what is tried in a process of its own."""

from __future__ import annotations

import importlib.metadata
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import fastnnunet_loader as fl
from fastnnunet_loader.doctor import Verdict, probe, software
from fastnnunet_loader.loading import torch_memory


def test_versions_are_those_that_are_installed() -> None:
    assert torch.__version__ in software.torch_version().found
    assert fl.__version__ in software.this_package().found
    assert str(torch_memory.built_against()) in software.this_package().found
    assert software.helper("batchgeneratorsv2").found == importlib.metadata.version("batchgeneratorsv2")
    assert software.python_version().verdict is Verdict.OK


def _install(folder: Path, package: str, version: str) -> None:
    """As far as metadata goes."""
    description = folder / f"{package}-{version}.dist-info"
    description.mkdir()
    (description / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n", encoding="utf-8")


def test_untested_version_of_nnunet_warns_with_the_tested_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastnnunet_loader.known.versions import TESTED

    _install(tmp_path, "nnunetv2", "2.0.1")
    monkeypatch.syspath_prepend(str(tmp_path))
    check = software.nnunet()
    assert check.verdict is Verdict.WARNING
    assert "2.0.1" in check.found
    assert all(version in check.found for version in TESTED["nnunetv2"])
    assert check.mend == f"pip install nnunetv2=={TESTED['nnunetv2'][-1]}"


def test_missing_package_is_named() -> None:
    check = software.helper("batchgenerators-of-nobody")
    assert check.verdict is Verdict.FAIL
    assert check.mend == software.INSTALL


def test_cuda_says_what_torch_says() -> None:
    check = software.cuda()
    assert (check.verdict is Verdict.OK) == torch.cuda.is_available()
    assert check.verdict is not Verdict.FAIL
    if not torch.cuda.is_available() and software.driver_version() is None:
        assert check.verdict is Verdict.NOTE


@pytest.mark.skipif(os.name == "nt", reason="nnU-Net does not compile on Windows")
def test_compiling_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("nnUNet_compile", raising=False)
    check = software.compiling()
    assert check.verdict is Verdict.OK, check
    assert "compiled and ran" in check.found


@pytest.mark.skipif(os.name == "nt" or torch.cuda.is_available(), reason="torch.compile for the CPU")
def test_compiling_without_a_compiler_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("nnUNet_compile", raising=False)
    monkeypatch.setenv("CXX", "/bin/false")
    check = software.compiling()
    assert check.verdict is Verdict.WARNING
    assert "compiler" in check.found
    assert "\n" not in check.found
    assert check.mend == "export nnUNet_compile=false"


@pytest.mark.parametrize("setting", ["false", "F", "0", "no"])
def test_compiling_that_is_switched_off_is_not_tried(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    monkeypatch.setenv("nnUNet_compile", setting)
    monkeypatch.setenv("CXX", "/bin/false")
    check = software.compiling()
    assert check.verdict is Verdict.OK
    assert f"nnUNet_compile={setting}" in check.found


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in the place of the package's own."""
    (tmp_path / "probes").mkdir()
    monkeypatch.setattr(probe, "__file__", str(tmp_path / "probe.py"))
    return tmp_path / "probes" / "script.py"


def test_probe_that_hangs_is_ended_with_its_children(script: Path, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script.write_text(
        "import subprocess, sys, time, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid))\n"
        "time.sleep(600)\n",
        encoding="utf-8",
    )
    started = time.monotonic()
    done = probe.probe("script", seconds=3)
    assert time.monotonic() - started < 30
    assert not done.ok
    assert done.said == "no answer within 3 s"
    if os.name == "posix":
        # A child that is dead may still be waited for by init.
        for _ in range(100):
            state = Path("/proc", pid.read_text(encoding="utf-8"), "stat")
            if not state.exists() or state.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z":
                break
            time.sleep(0.1)
        else:
            pytest.fail("the child of the probe is alive")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_probe_that_crashes_tells_how(script: Path) -> None:
    script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", encoding="utf-8")
    done = probe.probe("script")
    assert not done.ok
    assert done.said == "killed by SIGSEGV"


def test_probe_tells_the_exception_and_not_the_advice_after_it(script: Path) -> None:
    script.write_text(
        "import sys\n"
        "for line in ('Traceback:', 'package.exc.SomeError: what it was', '', 'Set VERBOSE=1 for more'):\n"
        "    print(line, file=sys.stderr)\n"
        "sys.exit(1)\n",
        encoding="utf-8",
    )
    assert probe.probe("script").said == "package.exc.SomeError: what it was"


def test_probe_says_what_was_printed_last(script: Path) -> None:
    script.write_text("print('first')\nprint('last')\n", encoding="utf-8")
    done = probe.probe("script")
    assert done.ok
    assert done.said == "last"


@pytest.mark.parametrize(
    ("version", "verdict"),
    [
        ("2.2.2", Verdict.FAIL),
        ("1.13.1+cu117", Verdict.FAIL),
        ("2.3.0", Verdict.OK),
        ("2.9.1", Verdict.OK),
        ("2.10.0", Verdict.OK),
        ("2.11.0+cpu", Verdict.OK),
        ("2.100.0a0+git12", Verdict.OK),
        ("3.0", Verdict.OK),
    ],
)
def test_versions_are_compared_as_numbers(monkeypatch: pytest.MonkeyPatch, version: str, verdict: Verdict) -> None:
    monkeypatch.setattr(torch, "__version__", version)
    check = software.torch_version()
    assert check.verdict is verdict
    assert check.found.startswith(f"{version}, built for ")
    assert ("torch 2.3 or later" in check.why) == (verdict is Verdict.FAIL)


def test_a_gpu_that_torch_does_not_see_is_told_from_none(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.accelerator.is_available():
        pytest.skip("there is one")
    nothing = software._no_cuda(None, "")
    assert (nothing.verdict, nothing.mend) == (Verdict.NOTE, "fastnnunet train ... -device cpu")
    monkeypatch.setattr(torch.version, "cuda", None)
    of_cpu = software._no_cuda("555.1", "")
    assert (of_cpu.verdict, of_cpu.found) == (Verdict.WARNING, "torch is built without CUDA")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    hidden = software._no_cuda("555.1", "what torch said")
    assert hidden.verdict is Verdict.WARNING
    assert hidden.found == "torch finds no GPU (driver 555.1, torch for CUDA 12.8) what torch said"


def test_a_package_that_is_not_there_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(importlib.metadata, "version", version)
    for check in (software.nnunet(), software.helper("batchgenerators")):
        assert (check.verdict, check.found, check.mend) == (Verdict.FAIL, "not installed", software.INSTALL)
    check = software.import_of_nnunet()
    assert (check.verdict, check.found) == (Verdict.NOTE, "not tried: nnU-Net is not installed")


def test_a_probe_gets_its_arguments_and_a_place_of_its_own(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script.write_text(
        "import os, sys\n"
        "names = ('FIRST', 'SECOND', 'TORCHINDUCTOR_COMPILE_THREADS')\n"
        "open('left behind', 'w').close()\n"
        "print(sys.argv[1:], *(os.environ[name] for name in names), os.getcwd(), sep='|')\n"
        "print(' \\n')\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("FIRST", "1")
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "8")
    done = probe.probe("script", "a", "b c", environment={"SECOND": "2"})
    assert done.ok
    assert 0 < done.seconds < 60
    arguments, first, second, threads, folder = done.said.split("|")
    assert (arguments, first, second, threads) == ("['a', 'b c']", "1", "2", "1")
    assert not Path(folder).exists()


def test_a_probe_that_says_nothing_has_its_exit_code(script: Path) -> None:
    script.write_text("import sys; sys.exit(3)\n", encoding="utf-8")
    assert probe.probe("script").said == "exit code 3"
    script.write_text("import sys; print('only this', file=sys.stderr); sys.exit(3)\n", encoding="utf-8")
    assert probe.probe("script").said == "only this"


@pytest.mark.skipif(os.name == "nt", reason="nnU-Net does not compile on Windows")
@pytest.mark.parametrize("setting", ["true", "T", "1"])
def test_compiling_that_is_asked_for_is_tried(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    asked: list[tuple[str, ...]] = []

    def note(*arguments: str) -> probe.Probe:
        asked.append(arguments)
        return probe.Probe(True, "", 1.0)

    monkeypatch.setattr(software, "probe", note)
    monkeypatch.setenv("nnUNet_compile", setting)
    check = software.compiling()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    assert asked == [("compile_function", device)]
    assert check.found == f"compiled and ran a function on {device} in 1 s"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_compiling_that_fails_is_as_bad_as_nnunets_use_of_it(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    """On the CPU nnU-Net does not compile."""
    monkeypatch.delenv("nnUNet_compile", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: device == "cuda")
    monkeypatch.setattr(software, "probe", lambda *_: probe.Probe(False, "what it said", 1.0))
    check = software.compiling()
    assert (check.verdict, check.found) == (Verdict.FAIL if device == "cuda" else Verdict.WARNING, f"on {device}: what it said")
    assert ("Triton" in check.why) == (device == "cuda")
    assert ("a training without a GPU goes on" in check.why) == (device == "cpu")


@pytest.mark.parametrize("well", [True, False])
def test_gpus_are_named_and_tried(monkeypatch: pytest.MonkeyPatch, well: bool) -> None:
    gpus = [SimpleNamespace(name="one", total_memory=24 * 2**30), SimpleNamespace(name="two", total_memory=80 * 2**30)]
    tried: list[str] = []

    def note(name: str) -> probe.Probe:
        tried.append(name)
        return probe.Probe(well, "" if well else "what it said", 1.0)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", gpus.__getitem__)
    monkeypatch.setattr(software, "probe", note)
    check = software.cuda()
    assert tried == ["multiply_matrices"]
    assert check.verdict is (Verdict.OK if well else Verdict.FAIL)
    assert check.found == f"one, 24.0 GiB; two, 80.0 GiB; {'a product of matrices is the CPU' if well else 'what it said'}" + (
        "'s" * well
    )
