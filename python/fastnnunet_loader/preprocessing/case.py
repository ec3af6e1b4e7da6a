"""One case: read, preprocessed and written as nnU-Net's DefaultPreprocessor does, natively where its code is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core, known
from ..loading.reading.patience import Patience
from ..prediction.originals.followed import own_preprocessing
from ..prediction.preprocessing.preprocess import Preprocessing
from ..prediction.preprocessing.reading import not_finite
from ..prediction.session.memory import Budget
from .cases import TrainingCase
from .reading import Kept, as_int16, read_case
from .saving import save_case

__all__ = ["CasePreprocessor"]

Labels = npt.NDArray[np.int16]
"""4D of shape 1XYZ."""


class CasePreprocessor:
    """Preprocesses cases of a data set.

    Args:
        preprocessor: of nnU-Net. Whatever it does in its own way is called in Python, on the thread of the case.
        plans, configuration, dataset_json: nnU-Net's PlansManager and ConfigurationManager, and dataset.json.
        say: is told what runs in Python.
        budget: of all cases in progress.
        patience: with files.
        kept: where cases are kept that were read already; None for nowhere.
    """

    def __init__(
        self,
        preprocessor: Any,
        plans: Any,
        configuration: Any,
        dataset_json: dict[str, Any],
        say: Callable[[str], None],
        budget: Budget,
        patience: Patience,
        kept: Kept | None = None,
    ) -> None:
        self._preprocessor = preprocessor
        self._plans = plans
        self._configuration = configuration
        self._dataset_json = dataset_json
        self._budget = budget
        self._patience = patience
        self._kept = kept
        self.changes = own_way(preprocessor)
        """What of nnU-Net's preprocessing is not as it is known, or ""."""
        self._preprocessing: Preprocessing | None = None
        if self.changes:
            say(f"{type(preprocessor).__name__} preprocesses in Python, on threads of this process: {self.changes}")
        else:
            self._preprocessing = Preprocessing(
                plans, configuration, dataset_json, 1, say, patience=patience, kind=type(preprocessor)
            )
            if not self._preprocessing.resizes_labels:
                say("segmentations are resampled in Python, by the plans' own function")
        self._classes = _classes(plans.get_label_manager(dataset_json))

    @property
    def native(self) -> bool:
        """Whether images and segmentations are resampled natively."""
        return self._preprocessing is not None and self._preprocessing.native and self._preprocessing.resizes_labels

    @property
    def classes(self) -> int:
        """How many classes have locations."""
        return len(self._classes)

    @property
    def is_nnunets(self) -> bool:
        """Whether all that decides the result is nnU-Net's code or this package's."""
        return self._preprocessing is not None and self._preprocessing.is_nnunets

    def run(self, case: TrainingCase, folder: Path, threads: int) -> None:
        """Write the files of a case to a folder. Raises an error that names the file at fault where one is."""
        if self._preprocessing is None:
            self._follow(case, folder)
            return
        reader = self._plans.image_reader_writer_class
        image, labels, properties = read_case(case, reader, self._kept, self._budget, self._patience)
        odd = not_finite(case.name, image, case.images)
        small = as_int16(labels)
        if small is None:  # NumPy's rounding of such labels is not repeated
            self._follow(case, folder)
            return
        del labels
        box, small_box = [image], [small]
        del image, small  # so that each can go as soon as the next stage has what it needs
        image, segmentation = self._preprocessing.prepare(box.pop(), small_box.pop(), properties, odd, threads)
        assert segmentation is not None
        segmentation = np.ascontiguousarray(segmentation, np.int16)
        properties["class_locations"] = self._locations(segmentation)
        patch = tuple(self._configuration.patch_size)
        from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params

        arrays = {"": np.ascontiguousarray(image, np.float32), "_seg": segmentation}
        save_case(folder, case.name, arrays, properties, patch, comp_blosc2_params, threads)

    def _follow(self, case: TrainingCase, folder: Path) -> None:
        self._preprocessor.run_case_save(
            str(folder / case.name),
            list(case.images),
            case.label,
            self._plans,
            self._configuration,
            self._dataset_json,
        )

    def _locations(self, labels: Labels) -> dict[Any, Any]:
        found = _core.sample_locations(labels[0], [list(key) if isinstance(key, tuple) else [key] for key in self._classes])
        return {key: rows if len(rows) else [] for key, rows in zip(self._classes, found, strict=True)}


def own_way(preprocessor: Any) -> str:
    """Return what of a preprocessor is not as it is known, or ""."""
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    kind = type(preprocessor)
    changes = own_preprocessing(kind)
    if changes:
        return changes
    found = known.changed(preprocessor, "run_case", "run_case_npy", "_normalize", "run_case_save")
    return known.listed([*found, *known.changed(nnUNetDatasetBlosc2, "save_case")])


def _classes(labels: Any) -> list[int | tuple[int, ...]]:
    """The keys of nnU-Net's `class_locations`: labels, or regions; with an ignore label also all that is annotated."""
    chosen = list(labels.foreground_regions if labels.has_regions else labels.foreground_labels)
    if labels.has_ignore_label:
        chosen.append([-1, *labels.all_labels])
    return [tuple(int(label) for label in key) if isinstance(key, (list, tuple)) else int(key) for key in chosen]
