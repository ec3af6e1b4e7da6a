"""Puts this pipeline under every nnUNetPredictor of the process, and native code under nnU-Net's functions.

`fastnnunet_loader.nnunet` calls it and undoes it. Three kinds of things are replaced, each only where it is nnU-Net's own:

    functions that programs call directly (natives.py)           ─ native, or nnU-Net's own for what native code does not take
    methods of nnUNetPredictor that go around the network        ─ reader, network and writer on threads, within a budget
    what starts processes: iterators, pools (iterators, pools)   ─ threads, also for a method that somebody has replaced
"""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ... import known
from ..images.cases import find_cases
from ..originals.followed import is_nnunets, kept_processes, own_methods
from ..originals.stand_ins import Patches, original_of
from ..session.pipeline import Job
from ..session.session import Session
from . import options
from .iterators import Arrays, Preprocessed
from .natives import patch_functions
from .pools import ThreadManager, ThreadMultiprocessing
from .speaking import leave_out, say, say_once

__all__ = ["patch_predictor"]

_MODEL = "_fastnnunet_model"
"""Attribute of a predictor: the folder of its trained model, or None."""


def patch_predictor(patch: Callable[[Any, str, Any], None], asked: Callable[[], options.Options]) -> None:
    """Replace all of it.

    Args:
        patch: sets an attribute, `patch(owner, name, value)`, and later puts back what was there, where it is still what was
            set.
        asked: returns what install() was asked for.
    """
    patches = _Patches(patch)
    options.install(patches, asked)
    patch_functions(patches)
    _patch_processes(patches)
    _patch_methods(patches)


class _Patches:
    """A function that sets attributes, as an object."""

    def __init__(self, patch: Callable[[Any, str, Any], None]) -> None:
        self._patch = patch

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Set `owner.name`."""
        self._patch(owner, name, value)


def _patch_processes(patches: Patches) -> None:
    from nnunetv2.inference import data_iterators, predict_from_raw_data
    from torch.multiprocessing import Manager

    for module in (predict_from_raw_data, data_iterators):
        if getattr(module, "multiprocessing", None) is multiprocessing:
            patches.set(module, "multiprocessing", ThreadMultiprocessing(multiprocessing))
    before = getattr(data_iterators, "Manager", None)
    if before == Manager:

        def manager(*args: Any, **kwargs: Any) -> Any:
            return ThreadManager() if options.installed() else Manager(*args, **kwargs)

        patches.set(data_iterators, "Manager", manager)


def _patch_methods(patches: Patches) -> None:
    from nnunetv2.inference import predict_from_raw_data as module

    predictor = module.nnUNetPredictor

    def stand_in(name: str, native: Callable[..., Any]) -> None:
        """Put `native(original, self, ...)` in the place of a method that is nnU-Net's own."""
        original = vars(predictor).get(name)
        if original is None or not is_nnunets(original, module.__name__):
            return  # what somebody else put there is called, and told of where a predictor is made

        @functools.wraps(original)
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not options.installed():
                return original(self, *args, **kwargs)
            return native(original, self, *args, **kwargs)

        method.__module__ = __name__
        patches.set(predictor, name, method)

    for name, native in _METHODS.items():
        stand_in(name, native)
    _patch_list_of_files(patches, module)


def _patch_list_of_files(patches: Patches, module: Any) -> None:
    before = module.create_lists_from_splitted_dataset_folder
    if known.changed(original_of(before)):
        return

    @functools.wraps(before)
    def list_files(folder: str, file_ending: str, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs or not options.installed():
            return before(folder, file_ending, *args, **kwargs)
        cases, strays = find_cases(folder, file_ending)
        if strays:
            raise strays[0]
        return cases

    list_files.__module__ = __name__
    patches.set(module, "create_lists_from_splitted_dataset_folder", list_files)


def _init(original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> None:
    original(self, *args, **kwargs)
    _tell_of(self)


def _tell_of(predictor: Any) -> None:
    """Say, before it does anything, which of its methods are not nnU-Net's."""
    kept, name = kept_processes(predictor), type(predictor).__name__
    if own := [method for method in own_methods(predictor) if method not in kept]:
        say_once(f"{name} predicts with {', '.join(own)} of its own: they are called as they are, on threads of this process")
    if kept:
        say_once(f"{name} keeps the worker processes that its own {', '.join(kept)} start")


def _initialize_from_trained_model_folder(
    original: Callable[..., Any], self: Any, model_training_output_dir: Any, *args: Any, **kwargs: Any
) -> Any:
    result = original(self, model_training_output_dir, *args, **kwargs)
    setattr(self, _MODEL, Path(model_training_output_dir))
    return result


def _manual_initialization(original: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> Any:
    result = original(self, *args, **kwargs)
    setattr(self, _MODEL, None)  # nobody says where the network comes from
    return result


def _session_of(predictor: Any, **settings: Any) -> Session:
    assert options.current is not None
    return Session(predictor, model=getattr(predictor, _MODEL, None), say=say, **settings, **vars(options.current()))


def _predict_from_data_iterator(
    _: Callable[..., Any],
    self: Any,
    data_iterator: Any,
    save_probabilities: bool = False,
    num_processes_segmentation_export: int = 0,
) -> list[Any]:
    session = _session_of(self, save_probabilities=save_probabilities, progress=self.allow_tqdm)
    if getattr(data_iterator, "num_processes", 0) and hasattr(data_iterator, "_processes"):
        say_once(f"the {type(data_iterator).__name__} that was given keeps its worker processes")
    results = _run(session, self, data_iterator)
    if hasattr(data_iterator, "_finish"):
        data_iterator._finish()
    return results


def _predict_from_files_sequential(
    original: Callable[..., Any],
    self: Any,
    list_of_lists_or_source_folder: Any,
    output_folder_or_list_of_truncated_output_files: Any,
    save_probabilities: bool = False,
    overwrite: bool = True,
    folder_with_segs_from_prev_stage: str | None = None,
) -> list[Any] | None:
    from nnunetv2.inference import predict_from_raw_data as module

    output = output_folder_or_list_of_truncated_output_files
    if own_methods(self):  # nnU-Net calls none of those here
        return original(  # type: ignore[no-any-return]
            self, list_of_lists_or_source_folder, output, save_probabilities, overwrite, folder_with_segs_from_prev_stage
        )
    if isinstance(output, list):
        output = [os.path.join(os.path.curdir, file) for file in output]  # noqa: PTH118 - a text, as nnU-Net takes it
    results: list[Any] | None = module.nnUNetPredictor.predict_from_files(
        self,
        list_of_lists_or_source_folder,
        output,
        save_probabilities,
        overwrite,
        folder_with_segs_from_prev_stage=folder_with_segs_from_prev_stage,
    )
    # nnU-Net returns segmentations here, and nothing for those that were written.
    return results if results is None or output is None else []


def _predict_single_npy_array(
    _: Callable[..., Any],
    self: Any,
    input_image: Any,
    image_properties: dict[str, Any],
    segmentation_previous_stage: Any = None,
    output_file_truncated: str | None = None,
    save_or_return_probabilities: bool = False,
) -> Any:
    session = _session_of(self, save_probabilities=save_or_return_probabilities)
    return session.single(input_image, image_properties, segmentation_previous_stage, output_file_truncated)


_METHODS: dict[str, Callable[..., Any]] = {
    "__init__": _init,
    "initialize_from_trained_model_folder": _initialize_from_trained_model_folder,
    "manual_initialization": _manual_initialization,
    "predict_from_data_iterator": _predict_from_data_iterator,
    "predict_from_files_sequential": _predict_from_files_sequential,
    "predict_single_npy_array": _predict_single_npy_array,
}
"""Of nnUNetPredictor, each called with nnU-Net's own before the other arguments."""


def _run(session: Session, predictor: Any, items: Any) -> list[Any]:
    if not isinstance(items, Preprocessed) or items.begun:
        results = session.run(session.jobs_of_items(items), None)
    elif isinstance(items.source, Arrays):
        source = items.source
        jobs: list[Job] = session.jobs_of_arrays(source.images, source.before, source.properties, source.targets)
        results = session.run(jobs, len(jobs))
    else:
        cases = items.source.cases(str(predictor.dataset_json["file_ending"]))
        checked, bad = session.check(cases)
        for error in bad:
            leave_out(error)
        predicted = dict(zip((id(case) for case, _ in checked), session.run_files(checked), strict=True))
        results = [predicted.get(id(case)) for case in cases]
    for error in session.failures:
        leave_out(error)
    return results
