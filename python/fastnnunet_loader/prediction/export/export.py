"""Export of a case, from logits to files: native if the plan uses nnU-Net's default resampling, else by nnU-Net itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...settings import in_units
from ..images import missing_voxels, read_header
from ..originals.followed import own_export
from ..preprocessing.resizing import function_name
from .conversion import Conversion, same_labels
from .outputs import Outputs
from .segmentation import SegmentationStream

__all__ = ["Deciding", "Exporting"]


SCRATCH = "probabilities.npy"
"""Name of the file that holds the probabilities until they are compressed."""


class Deciding:
    """A case whose labels are decided while its logits arrive plane by plane."""

    def __init__(
        self,
        stream: Callable[[], SegmentationStream],
        probabilities: npt.NDArray[np.float32] | None,
        folder: Path | None,
    ) -> None:
        self.probabilities = probabilities
        self.folder = folder
        self._make = stream
        self._stream: SegmentationStream | None = None

    def start(self) -> SegmentationStream:
        """Return a new stream that takes the planes. A second call starts over."""
        self._stream = self._make()
        return self._stream

    def segmentation(self) -> npt.NDArray[Any]:
        """Return the segmentation (X, Y, Z) of the image. Raises ValueError while planes are missing."""
        if self._stream is None:
            raise ValueError("expected logits, got none")
        return self._stream.result()


class Exporting:
    """Everything that a plan does after the network.

    Args:
        plans, configuration, dataset_json: nnU-Net's PlansManager and ConfigurationManager, and dataset.json.
        threads: number of threads for one case.
        say: called with a message for each step that has no native counterpart and runs in Python.
        predictor: nnUNetPredictor, or None. If its export functions have been replaced, the replacements are called as it
            would call them.
    """

    def __init__(
        self,
        plans: Any,
        configuration: Any,
        dataset_json: dict[str, Any],
        threads: int,
        say: Callable[[str], None],
        predictor: Any = None,
    ) -> None:
        self.outputs = Outputs()
        self._plans = plans
        self._configuration = configuration
        self._dataset_json = dataset_json
        self._ending = str(dataset_json["file_ending"])
        labels = plans.get_label_manager(dataset_json)
        self._conversion = conversion = Conversion(plans, configuration, labels, threads)
        self._own: Any = None
        if predictor is not None:
            self._find_own(predictor, say)
        if self._own is not None:
            return
        if not conversion.resizes:
            say(f"logits are resampled in Python: {function_name(configuration.resampling_fn_probabilities)}")
        elif not conversion.native:
            say(f"logits are converted to labels in Python: {conversion.declines}")

    def _find_own(self, predictor: Any, say: Callable[[str], None]) -> None:
        self._labels = predictor.label_manager  # nnU-Net uses it when it returns the segmentation
        if changes := own_export():
            say(f"the export functions in nnU-Net's predictor module are called, because they have been changed: {changes}")
        elif not same_labels(self._labels, self._conversion.labels) and self._conversion.labels_are_default:
            say(f"nnU-Net's own export functions are called, because the predictor has its own {type(self._labels).__name__}")
        else:
            return
        from nnunetv2.inference import predict_from_raw_data

        self._own = predict_from_raw_data

    @property
    def native(self) -> bool:
        """Whether native code converts the logits, without resizing all of them first."""
        return self._own is None and self._conversion.native

    @property
    def writes(self) -> bool:
        """Whether nnU-Net's writer writes the segmentations, and not a replacement of nnU-Net's export."""
        return self._own is None

    def takes(self, logits: npt.NDArray[Any] | torch.Tensor, properties: dict[str, Any]) -> bool:
        """Whether the result for these logits and properties equals nnU-Net's."""
        return self._own is None and self._conversion.takes(logits, properties)

    def begin(
        self, shape: Sequence[int], along: int, properties: dict[str, Any], target: str | None, save_probabilities: bool = False
    ) -> Deciding:
        """Begin a case whose logits arrive plane by plane; `segmentation`, `write` or `abandon` ends it. Only if `native`.

        shape: (X, Y, Z) of all logits together. along: axis of the planes.
        """
        folder = None if target is None else self.outputs.begin(Path(target))
        try:
            heads = self._conversion.heads
            probabilities = self._probabilities(properties, folder) if save_probabilities else None
            options = self._conversion.options(properties)
        except BaseException:
            if folder is not None:
                self.outputs.discard(folder)
            raise

        def stream() -> SegmentationStream:
            return SegmentationStream(heads, shape, along, probabilities=probabilities, **options)

        return Deciding(stream, probabilities, folder)

    def abandon(self, deciding: Deciding) -> None:
        """End a case without a result."""
        if deciding.folder is not None:
            self.outputs.discard(deciding.folder)

    def segmentation(
        self, logits: torch.Tensor | Deciding, properties: dict[str, Any], with_probabilities: bool = False
    ) -> Any:
        """Return the image's segmentation (X, Y, Z), or as nnU-Net a pair of it and the probabilities (C, X, Y, Z)."""
        if isinstance(logits, Deciding):
            return (logits.segmentation(), logits.probabilities) if with_probabilities else logits.segmentation()
        if not self.native:
            return self._in_python(logits, properties, with_probabilities)
        if not with_probabilities:
            return self._conversion.convert(logits, properties, None)
        probabilities = self._probabilities(properties, None)
        return self._conversion.convert(logits, properties, probabilities), probabilities

    def write(
        self, logits: torch.Tensor | Deciding, properties: dict[str, Any], target: str, save_probabilities: bool = False
    ) -> None:
        """Write a case's files as nnU-Net does: the segmentation, and with `save_probabilities` also .npz and .pkl.

        target: path of the output file without its ending.
        """
        if self._own is not None:
            self._own.export_prediction_from_logits(
                logits, properties, self._configuration, self._plans, self._dataset_json, target, save_probabilities
            )
            return
        name = Path(target).name
        begun = logits.folder if isinstance(logits, Deciding) else None
        folder = self.outputs.begin(Path(target)) if begun is None else begun
        try:
            if save_probabilities:
                segmentation = self._write_probabilities(logits, properties, folder, name)
            else:
                segmentation = self.segmentation(logits, properties)
            writer = self._plans.image_reader_writer_class()
            writer.write_seg(segmentation, str(folder / (name + self._ending)), properties)
            self._check_written(folder / (name + self._ending))
            self.outputs.complete(folder, Path(target), last=name + self._ending)
        finally:
            self.outputs.discard(folder)

    def _check_written(self, file: Path) -> None:
        """Raise OSError if the file is incomplete. On a full disk, ITK leaves a truncated NIfTI file without an error."""
        try:
            read_header(self._plans.image_reader_writer_class, str(file))
            lack = missing_voxels(str(file))
            missing = None if lack is None else lack.expected
        except Exception as error:
            missing = f"a file that can be read again, got {type(error).__name__}"
        if missing is not None:
            free = in_units(shutil.disk_usage(file.parent).free)
            raise OSError(f"expected {missing}; {free} are free on the disk")

    def _write_probabilities(
        self, logits: torch.Tensor | Deciding, properties: dict[str, Any], folder: Path, name: str
    ) -> npt.NDArray[Any]:
        from batchgenerators.utilities.file_and_folder_operations import save_pickle

        if isinstance(logits, Deciding):
            segmentation, probabilities = logits.segmentation(), logits.probabilities
            logits.probabilities = None
        elif not self.native:
            segmentation, probabilities = self._in_python(logits, properties, True)
        else:
            probabilities = self._probabilities(properties, folder)
            segmentation = self._conversion.convert(logits, properties, probabilities)
        assert probabilities is not None
        np.savez_compressed(folder / f"{name}.npz", probabilities=probabilities)
        save_pickle(properties, str(folder / f"{name}.pkl"))
        del probabilities
        (folder / SCRATCH).unlink(missing_ok=True)
        return np.asarray(segmentation)

    def _in_python(self, logits: torch.Tensor, properties: dict[str, Any], with_probabilities: bool) -> Any:
        from nnunetv2.inference import export_prediction

        if self._own is not None:  # with the arguments of nnU-Net's predictor
            return self._own.convert_predicted_logits_to_segmentation_with_correct_shape(
                logits, self._plans, self._configuration, self._labels, properties, with_probabilities
            )
        return export_prediction.convert_predicted_logits_to_segmentation_with_correct_shape(
            logits,
            self._plans,
            self._configuration,
            self._conversion.labels,
            properties,
            with_probabilities,
            num_threads_torch=torch.get_num_threads(),
        )

    def _probabilities(self, properties: dict[str, Any], folder: Path | None) -> npt.NDArray[np.float32]:
        """Return an array (C, X, Y, Z) for the probabilities. It is very large: with `folder`, it is mapped to a file."""
        shape = self._conversion.probabilities_shape(properties)
        if folder is None:
            return np.empty(shape, np.float32)
        return np.lib.format.open_memmap(folder / SCRATCH, "w+", np.float32, shape)
