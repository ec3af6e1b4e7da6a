"""Finds which parts of nnU-Net's prediction a user or another program has changed. Changed parts are called as they are."""

from __future__ import annotations

from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ... import known
from .stand_ins import original_of

__all__ = ["is_nnunets", "kept_processes", "own_export", "own_methods", "own_preprocessing", "own_way", "reads_as_nnunet"]

STEPS = (
    "predict_from_files",
    "predict_from_files_sequential",
    "predict_from_list_of_npy_arrays",
    "predict_single_npy_array",
    "predict_from_data_iterator",
    "get_data_iterator_from_raw_npy_data",
    "_internal_get_data_iterator_from_lists_of_filenames",
    "_manage_input_and_output_lists",
)
"""Methods of nnU-Net's predictor around its network."""

WINDOWS = (
    "predict_logits_from_preprocessed_data",
    "predict_sliding_window_return_logits",
    "_internal_predict_sliding_window_return_logits",
    "_internal_get_sliding_window_slicers",
)
"""Methods of its sliding window. `_internal_maybe_mirror_and_predict` and `compute_gaussian` are called in any case."""

FOLLOWED = ("compute_gaussian", "_internal_maybe_mirror_and_predict")

READING = ("run_case", "run_case_npy", "_normalize")
"""Methods of nnU-Net's preprocessor that decide which files and channels it accepts."""

PROCESSES = ("multiprocessing", "concurrent.futures", "subprocess", "torch.multiprocessing", "joblib")
"""Packages that start processes."""

STARTERS = ("MultiThreadedAugmenter", "NonDetMultiThreadedAugmenter")


def own_export() -> str:
    """Return what has been changed in the functions with which nnU-Net's predictor exports, or ""."""
    from nnunetv2.inference import predict_from_raw_data as module

    names = ("export_prediction_from_logits", "convert_predicted_logits_to_segmentation_with_correct_shape")
    return known.listed(known.changed(module, *names))


def own_preprocessing(kind: type) -> str:
    """Return what a preprocessor's class has changed, or ""."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    changes = known.listed(known.changed(kind, *READING))
    return changes or ("" if kind is DefaultPreprocessor else f"{kind.__module__}.{kind.__qualname__}")


def reads_as_nnunet(kind: type) -> bool:
    """Whether a preprocessor's class accepts the same files and channels as nnU-Net's."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    return all(original_of(getattr(kind, name, None)) is original_of(vars(DefaultPreprocessor)[name]) for name in READING)


def own_way(predictor: Any) -> str:
    """Return what has been changed in a predictor between the preprocessed image and its logits, or ""."""
    changes = known.changed(predictor, *WINDOWS)
    return known.listed([change for change in changes if change.name.rpartition(".")[2] not in FOLLOWED])


def own_methods(predictor: Any) -> list[str]:
    """Return the names of the methods in `STEPS` that are not nnU-Net's own."""
    from nnunetv2.inference import predict_from_raw_data as module

    return [name for name in STEPS if not is_nnunets(getattr(predictor, name, None), module.__name__)]


def is_nnunets(method: Any, module: str) -> bool:
    """Whether a method is defined in nnU-Net's module, or is this package's replacement of it."""
    function = getattr(method, "__func__", method)
    if isinstance(function, FunctionType) and function.__globals__["__name__"].startswith("fastnnunet_loader."):
        return True
    return isinstance(function, FunctionType) and function.__globals__["__name__"] == module


def kept_processes(predictor: Any) -> list[str]:
    """Return the names of a predictor's own methods that start processes, as far as their code shows."""
    found = []
    for name in own_methods(predictor):
        function = getattr(getattr(predictor, name), "__func__", None)
        if isinstance(function, FunctionType) and any(_starts_processes(value) for value in _used(function)):
            found.append(name)
    return found


def _used(function: FunctionType) -> Iterator[Any]:
    """Yield the values that a function's code uses from its module."""
    codes: list[CodeType] = [function.__code__]
    while codes:
        code = codes.pop()
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        yield from (function.__globals__[name] for name in code.co_names if name in function.__globals__)


def _starts_processes(value: Any) -> bool:
    name = value.__name__ if isinstance(value, ModuleType) else str(getattr(value, "__module__", ""))
    if isinstance(value, ModuleType):
        return name in PROCESSES
    qualified = getattr(value, "__qualname__", "")
    return (name.startswith(PROCESSES) and qualified.partition(".")[0] not in ("TimeoutError",)) or qualified in STARTERS
