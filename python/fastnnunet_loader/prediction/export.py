"""From logits to the files of a case: native where the plan resamples as nnU-Net does by default, else nnU-Net's own way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..inference import logits_to_segmentation
from .outputs import Outputs
from .resizing import function_name, native_resizing

__all__ = ["Exporting"]


class Exporting:
    """What a plan does to logits after the network.

    Args:
        plans, configuration, dataset_json: nnU-Net's PlansManager and ConfigurationManager, and dataset.json.
        threads: that work on one case.
        say: is told what has no native counterpart and runs in Python.
    """

    def __init__(
        self, plans: Any, configuration: Any, dataset_json: dict[str, Any], threads: int, say: Callable[[str], None]
    ) -> None:
        self.outputs = Outputs()
        self._plans = plans
        self._configuration = configuration
        self._ending = str(dataset_json["file_ending"])
        self._threads = threads
        self._labels = plans.get_label_manager(dataset_json)
        resizing = native_resizing(configuration.resampling_fn_probabilities)
        if resizing is not None and (resizing.is_seg or resizing.order != 1 or resizing.order_z != 0):
            resizing = None
        if resizing is None:
            say(f"logits are resampled in Python: {function_name(configuration.resampling_fn_probabilities)}")
        elif not _is_default(self._labels):
            say(f"logits become labels in Python: {type(self._labels).__name__}")
            resizing = None
        self._resizing = resizing

    @property
    def native(self) -> bool:
        """Whether logits are converted here, without resizing them as a whole."""
        return self._resizing is not None

    def segmentation(self, logits: torch.Tensor, properties: dict[str, Any], with_probabilities: bool = False) -> Any:
        """Return the image's segmentation, 3D, or a pair of it and the probabilities, 4D, as nnU-Net does."""
        if not with_probabilities:
            return self._convert(logits, properties, None)
        if self._resizing is None:
            return self._in_python(logits, properties, True)
        probabilities = np.empty(self._shape_of_probabilities(logits, properties), np.float32)
        return self._convert(logits, properties, probabilities), probabilities

    def write(self, logits: torch.Tensor, properties: dict[str, Any], target: str, save_probabilities: bool = False) -> None:
        """Write nnU-Net's files of a case: target with the data set's ending, and .npz and .pkl with the probabilities."""
        name = Path(target).name
        with self.outputs.beside(Path(target), last=name + self._ending) as folder:
            if save_probabilities:
                segmentation = self._write_probabilities(logits, properties, folder, name)
            else:
                segmentation = self._convert(logits, properties, None)
            writer = self._plans.image_reader_writer_class()
            writer.write_seg(segmentation, str(folder / (name + self._ending)), properties)

    def _write_probabilities(
        self, logits: torch.Tensor, properties: dict[str, Any], folder: Path, name: str
    ) -> npt.NDArray[Any]:
        from batchgenerators.utilities.file_and_folder_operations import save_pickle

        if self._resizing is None:
            segmentation, probabilities = self._in_python(logits, properties, True)
        else:
            # A file holds them, so that memory does not have to: they are larger than all else of a case.
            shape = self._shape_of_probabilities(logits, properties)
            scratch = folder / "probabilities.npy"
            probabilities = np.lib.format.open_memmap(scratch, "w+", np.float32, shape)
            segmentation = self._convert(logits, properties, probabilities)
        np.savez_compressed(folder / f"{name}.npz", probabilities=probabilities)
        save_pickle(properties, str(folder / f"{name}.pkl"))
        del probabilities
        (folder / "probabilities.npy").unlink(missing_ok=True)
        return np.asarray(segmentation)

    def _convert(
        self, logits: torch.Tensor, properties: dict[str, Any], probabilities: npt.NDArray[np.float32] | None
    ) -> npt.NDArray[Any]:
        if self._resizing is None:
            return np.asarray(self._in_python(logits, properties, False))
        heads = self._labels.num_segmentation_heads
        if logits.shape[0] != heads:
            raise ValueError(f"expected logits of {heads} classes or regions, got {logits.shape[0]}")
        spacing = [float(properties["spacing"][axis]) for axis in self._plans.transpose_forward]
        current = list(self._configuration.spacing)
        if len(current) < 3:
            current = [spacing[0], *current]
        return logits_to_segmentation(
            logits,
            properties["shape_after_cropping_and_before_resampling"],
            axis=self._resizing.axis(current, spacing),
            regions_class_order=self._labels.regions_class_order if self._labels.has_regions else None,
            bbox=properties["bbox_used_for_cropping"],
            shape=properties["shape_before_cropping"],
            transpose_backward=self._plans.transpose_backward,
            probabilities=probabilities,
            threads=self._threads,
        )

    def _in_python(self, logits: torch.Tensor, properties: dict[str, Any], with_probabilities: bool) -> Any:
        from nnunetv2.inference import export_prediction

        return export_prediction.convert_predicted_logits_to_segmentation_with_correct_shape(
            logits,
            self._plans,
            self._configuration,
            self._labels,
            properties,
            with_probabilities,
            num_threads_torch=torch.get_num_threads(),
        )

    def _shape_of_probabilities(self, logits: torch.Tensor, properties: dict[str, Any]) -> tuple[int, ...]:
        sizes = properties["shape_before_cropping"]
        return (int(logits.shape[0]), *(int(sizes[axis]) for axis in self._plans.transpose_backward))


def _is_default(labels: Any) -> bool:
    from nnunetv2.utilities.helpers import softmax_helper_dim0
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    return type(labels) is LabelManager and labels.inference_nonlin in (torch.sigmoid, softmax_helper_dim0)
