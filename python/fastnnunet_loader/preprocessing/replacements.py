"""What takes the place of nnU-Net's fingerprint extraction and preprocessing, under every program of this process."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..loading.reading.patience import Patience
from ..prediction.originals.followed import is_nnunets
from ..prediction.originals.stand_ins import Patches
from ..prediction.replacements import options
from ..prediction.session.memory import Budget
from ..system import available_cores, memory
from .dataset import preprocess_cases
from .fingerprint import fingerprint_of, own_analysis
from .reading import current
from .session import raise_all

__all__ = ["patch_preprocessing"]

_log = logging.getLogger("fastnnunet_loader")


def say(text: str) -> None:
    """Log as a warning, so that it is shown without a logging handler."""
    _log.warning("%s", text.removeprefix("warning: "))


def patch_preprocessing(patches: Patches) -> None:
    """Replace `DefaultPreprocessor.run` and `DatasetFingerprintExtractor.run`. Pools: see `nnunet.replacing.pools`.

    Classes that derive from these keep what they have of their own. It is called on threads.
    """
    from nnunetv2.experiment_planning.dataset_fingerprint import fingerprint_extractor
    from nnunetv2.preprocessing.preprocessors import default_preprocessor

    _replace(patches, default_preprocessor.DefaultPreprocessor, default_preprocessor.__name__, _preprocess)
    _replace(patches, fingerprint_extractor.DatasetFingerprintExtractor, fingerprint_extractor.__name__, _extract)


def _replace(patches: Patches, kind: type, module: str, native: Callable[..., Any]) -> None:
    """Put `native(self, ...)` in the place of a `run` that is nnU-Net's own."""
    original = vars(kind).get("run")
    if original is None or not is_nnunets(original, module):
        return
    signature = inspect.signature(original)

    @functools.wraps(original)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not options.installed():
            return original(self, *args, **kwargs)
        given = signature.bind(self, *args, **kwargs)
        given.apply_defaults()
        result = native(**given.arguments)
        return original(self, *args, **kwargs) if result is NotImplemented else result

    run.__module__ = __name__
    patches.set(kind, "run", run)


def _shared(most_cases: Any) -> dict[str, Any]:
    """Settings of install(), and as many cases at once as nnU-Net would have processes, but no more than cores."""
    assert options.current is not None
    chosen = options.current()
    given = chosen.memory_budget is not None
    threads = available_cores() if chosen.threads is None else chosen.threads
    return {
        "budget": Budget(memory().available // 2 if chosen.memory_budget is None else chosen.memory_budget, given),
        "threads": threads,
        "most_cases": min(int(most_cases), threads) if isinstance(most_cases, int) else threads,
        "say": say,
        "patience": Patience(chosen.patience, say),
        "kept": current(),
    }


def _preprocess(
    self: Any, dataset_name_or_id: Any, configuration_name: str, plans_identifier: str, num_processes: Any, **_: Any
) -> Any:
    from batchgenerators.utilities.file_and_folder_operations import load_json
    from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
    from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
    from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

    name = maybe_convert_to_dataset_name(dataset_name_or_id)
    # Texts, for nnU-Net's paths are lazy.
    raw, preprocessed = (os.path.join(folder, name) for folder in (nnUNet_raw, nnUNet_preprocessed))  # noqa: PTH118
    plans_file = Path(preprocessed, f"{plans_identifier}.json")
    if not Path(raw).is_dir() or not plans_file.is_file():
        return NotImplemented  # nnU-Net says what is missing
    plans = PlansManager(load_json(str(plans_file)))
    configuration = plans.get_configuration(configuration_name)
    dataset_json = load_json(str(Path(preprocessed, "dataset.json")))
    errors = preprocess_cases(
        self,
        get_filenames_of_train_images_and_targets(raw, dataset_json),
        Path(preprocessed, configuration.data_identifier),
        plans,
        configuration,
        dataset_json,
        progress=bool(getattr(self, "show_progress_bar", True)),
        **_shared(num_processes),
    )
    raise_all(errors)
    return None


def _extract(self: Any, overwrite_existing: bool = False, **_: Any) -> Any:
    from batchgenerators.utilities.file_and_folder_operations import load_json, save_json
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json
    from nnunetv2.paths import nnUNet_preprocessed

    if changes := own_analysis():
        say(f"{type(self).__name__} extracts the fingerprint in Python, on threads of this process: {changes}")
        return NotImplemented
    file = Path(os.path.join(nnUNet_preprocessed, self.dataset_name), "dataset_fingerprint.json")  # noqa: PTH118
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.is_file() and not overwrite_existing:
        return load_json(str(file))
    first = next(iter(self.dataset.values()))["images"][0]
    found = fingerprint_of(
        self.dataset,
        self.dataset_json,
        determine_reader_writer_from_dataset_json(self.dataset_json, first),
        int(self.num_foreground_voxels_for_intensitystats),
        progress=bool(getattr(self, "show_progress_bar", True)),
        **_shared(self.num_processes),
    )
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".fingerprint-") as folder:
        complete = Path(folder, file.name)
        save_json(found, str(complete))
        complete.replace(file)
    return found
