"""The messages of others that docs/troubleshooting.md quotes are those that the installed packages print."""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path

import pytest
from blocks import DOCS, blocks_of

# What is quoted, and the file that prints it.
QUOTED = {
    "One or more background workers are no longer alive. Exiting. Please check the print statements above for the actual error "
    "message": "batchgenerators/dataloading/nondet_multi_threaded_augmenter.py",
    "Exception in background worker": "batchgenerators/dataloading/nondet_multi_threaded_augmenter.py",
    "Background workers died. Look for the error message further up! If there is none then your RAM was full and the worker "
    "was killed by the OS. Use fewer workers or get more RAM in that case!": "nnunetv2/inference/data_iterators.py",
    "Segmentation export worker died. It was likely killed by your OS because of insufficient available CPU RAM.": (
        "nnunetv2/inference/predict_from_raw_data.py"
    ),
    "Some background workers are no longer alive": "nnunetv2/utilities/file_path_utilities.py",
    "Some background worker is 6 feet under. Yuck.": "nnunetv2/preprocessing/preprocessors/default_preprocessor.py",
    "One of your background processes is missing. This could be because of an error (look for an error message)": (
        "nnunetv2/experiment_planning/dataset_fingerprint/fingerprint_extractor.py"
    ),
    "Too many open files. Communication with the workers is no longer possible. Please increase the limit using `ulimit -n` in "
    "the shell or change the sharing strategy by calling `torch.multiprocessing.set_sharing_strategy('file_system')` at the "
    "beginning of your code": "torch/utils/data/dataloader.py",
    "received 0 items of ancdata": "multiprocessing/reduction.py",
    "Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).": (
        "torch/lib/libtorch_python.so"
    ),
    "It is possible that dataloader's workers are out of shared memory. Please try to raise your shared memory limit.": (
        "torch/lib/libtorch_python.so"
    ),
    "unable to open shared memory object <": "torch/lib/libtorch_cpu.so",
    "unable to allocate shared memory(shm) for file <": "torch/lib/libtorch_cpu.so",
    "unable to write to file <": "torch/lib/libtorch_cpu.so",
    "Cannot find a working triton installation.": "torch/_inductor/exc.py",
    "An attempt has been made to start a new process before the": "multiprocessing/spawn.py",
}


def file_of(name: str) -> Path:
    package, _, rest = name.partition("/")
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0], rest)


@cache
def texts_of(name: str) -> str:
    """All literal texts of a module, those that Python joins included."""
    tree = ast.parse(file_of(name).read_text(encoding="utf-8"))
    return "\n".join(node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


@pytest.mark.parametrize("message", QUOTED)
def test_a_quoted_message_is_what_is_printed(message: str) -> None:
    assert message in "\n".join(block.text for block in blocks_of(DOCS / "troubleshooting.md") if block.language == "output")
    name = QUOTED[message]
    if name.endswith(".so"):
        assert message.encode() in file_of(name).read_bytes()
    elif message == "received 0 items of ancdata":
        assert "received %d items of ancdata" in texts_of(name)
    else:
        assert message in texts_of(name)
