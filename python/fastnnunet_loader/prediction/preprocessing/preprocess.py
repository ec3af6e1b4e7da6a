"""An image as the network gets it: read, turned, cropped, normalised and resized, as nnU-Net's DefaultPreprocessor does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...errors import PredictionError
from ...loading.reading.patience import Patience
from ...settings import PATIENCE
from ..images.fingerprint import intensity_warnings
from ..originals.followed import own_preprocessing, reads_as_nnunet
from .normalization import schemes_of
from .reading import not_finite, read
from .resizing import function_name, native_resizing
from .steps import Steps, Way

__all__ = ["Preprocessing"]

_MEANINGLESS = "nnU-Net predicts such images too, but the result is meaningless where the network sees them"

Image = npt.NDArray[np.float32]
"""4D of shape CXYZ."""


class Preprocessing:
    """What a plan does to an image before the network.

    Args:
        plans, configuration, dataset_json: nnU-Net's PlansManager and ConfigurationManager, and dataset.json.
        threads: that work on one case.
        say: is told what has no native counterpart and runs in Python.
        verbose: of a preprocessor of the plans' own.
        patience: with files.
        kind: class that preprocesses; None for the one that the plans name.
    """

    def __init__(
        self,
        plans: Any,
        configuration: Any,
        dataset_json: dict[str, Any],
        threads: int,
        say: Callable[[str], None],
        verbose: bool = False,
        patience: Patience | None = None,
        kind: type | None = None,
    ) -> None:
        self._patience = Patience(PATIENCE, say) if patience is None else patience
        self._plans = plans
        self._configuration = configuration
        self._dataset_json = dataset_json
        self._threads = threads
        self._say = say
        self._labels = plans.get_label_manager(dataset_json)
        self._reader = plans.image_reader_writer_class
        kind = configuration.preprocessor_class if kind is None else kind
        changes = own_preprocessing(kind)
        self.reads_as_nnunet = reads_as_nnunet(kind)
        """Whether files and channels must be as nnU-Net takes them."""
        self._stays_finite = False
        self._own = kind(verbose=verbose) if changes else None
        self._image_resizing = native_resizing(configuration.resampling_fn_data)
        self._labels_resizing = native_resizing(configuration.resampling_fn_seg)
        self._steps: Steps | None = None
        if self._own is not None:
            say(f"preprocessing is {kind.__name__}'s own: {changes}")
            return
        schemes = schemes_of(plans, configuration)
        self._steps = Steps(
            tuple(int(axis) for axis in plans.transpose_forward),
            tuple(configuration.spacing),
            schemes,
            Way(self._image_resizing, configuration.resampling_fn_data),
            Way(self._labels_resizing, configuration.resampling_fn_seg),
            say,
        )
        self._stays_finite = all(scheme.is_nnunets for scheme in schemes)
        for name in sorted({scheme.name for scheme in schemes if not scheme.is_nnunets}):
            say(f"images are normalised in Python: {name}")
        if self._image_resizing is None:
            say(f"images are resampled in Python: {function_name(configuration.resampling_fn_data)}")
        if self._labels_resizing is None and configuration.previous_stage_name is not None:
            say(f"the previous stage is resampled in Python: {function_name(configuration.resampling_fn_seg)}")

    @property
    def is_nnunets(self) -> bool:
        """Whether all of it is nnU-Net's code: the preprocessor, its schemes and its resampling functions."""
        functions = (self._configuration.resampling_fn_data, self._configuration.resampling_fn_seg)
        modules = [getattr(function, "func", function).__module__ for function in functions]
        return self._stays_finite and all(module.startswith("nnunetv2.") for module in modules)

    @property
    def native(self) -> bool:
        """Whether images are resampled here."""
        return self._own is None and self._image_resizing is not None

    @property
    def resizes_labels(self) -> bool:
        """Whether segmentations are resampled here."""
        return self._own is None and self._labels_resizing is not None

    def from_files(self, case: str, files: Sequence[str], previous: str | None = None) -> tuple[torch.Tensor, dict[str, Any]]:
        """Return what the network gets, 4D float32 of shape CXYZ, and nnU-Net's properties of the case.

        previous: segmentation of the stage before, of a cascade. Raises PredictionError where a file is at fault.
        """
        if self._own is not None:
            data, seg, properties = self._own.run_case(
                list(files), previous, self._plans, self._configuration, self._dataset_json
            )
            return self._stacked(data, seg, properties, previous is not None)
        reader = self._reader()
        image, properties = read(case, files, lambda: reader.read_images(list(files)), self._patience)
        segmentation = None
        if previous is not None:
            segmentation, _ = read(case, [previous], lambda: reader.read_seg(previous), self._patience)
        known = self._plans.foreground_intensity_properties_per_channel
        for warning in intensity_warnings(case, image, self._configuration.normalization_schemes, known):
            self._say(f"warning: {warning}")
        return self._run(case, image, segmentation, properties, files)

    def from_array(
        self, case: str, image: npt.NDArray[Any], previous: npt.NDArray[Any] | None, properties: dict[str, Any]
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """As `from_files`, from what nnU-Net's reader would return. The array stays as it is, the properties are completed."""
        if self._own is not None:
            data, seg, properties = self._own.run_case_npy(
                image, previous, properties, self._plans, self._configuration, self._dataset_json
            )
            return self._stacked(data, seg, properties, previous is not None)
        image = np.array(image, np.float32)
        return self._run(case, image, None if previous is None else np.array(previous), properties)

    def _run(
        self,
        case: str,
        image: Image,
        previous: npt.NDArray[Any] | None,
        properties: dict[str, Any],
        files: Sequence[str] = (),
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        if previous is not None and previous.shape[1:] != image.shape[1:]:
            raise PredictionError(
                case=case,
                stage="preprocess",
                reason=f"expected a previous stage of the image's shape {image.shape[1:]}, got {previous.shape[1:]}",
            )
        odd = {channel: f"{said}; {_MEANINGLESS}" for channel, said in not_finite(case, image, files).items()}
        with_previous = previous is not None
        image, previous = self.prepare(image, previous, properties, odd)
        return self._stacked(image, previous, properties, with_previous)

    def _stacked(
        self, image: Any, segmentation: Any, properties: dict[str, Any], with_previous: bool
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """The image, and behind it a channel for each label of the previous stage."""
        if with_previous:
            labels = self._labels.foreground_labels
            stacked = np.empty((len(image) + len(labels), *image.shape[1:]), np.float32)
            stacked[: len(image)] = image
            for label, channel in zip(labels, stacked[len(image) :], strict=True):
                np.equal(segmentation[0], label, out=channel)  # without an array of flags for each label
            image = stacked
        return torch.from_numpy(np.ascontiguousarray(image, np.float32)), properties

    def prepare(
        self,
        image: Image,
        segmentation: npt.NDArray[Any] | None,
        properties: dict[str, Any],
        odd: dict[int, str],
        threads: int | None = None,
    ) -> tuple[Image, npt.NDArray[Any] | None]:
        """As `Steps.run`. threads: that work on it, None for the usual number."""
        assert self._steps is not None
        return self._steps.run(image, segmentation, properties, odd, self._threads if threads is None else threads)
