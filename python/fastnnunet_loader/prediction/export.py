"""From logits to the files of a case: native where the plan resamples as nnU-Net does by default, else nnU-Net's own way."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..inference import SegmentationStream, logits_to_segmentation
from .headers import read_header, truncation
from .memory import readable
from .outputs import Outputs
from .resizing import function_name, native_resizing

__all__ = ["Deciding", "Exporting"]


SCRATCH = "probabilities.npy"
"""File that holds them until they are compressed."""


class Deciding:
    """A case whose logits come plane by plane."""

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
        """Return what takes the planes. Called again, everything begins anew."""
        self._stream = self._make()
        return self._stream

    def segmentation(self) -> npt.NDArray[Any]:
        """Of the image, 3D. Raises ValueError while planes are missing."""
        if self._stream is None:
            raise ValueError("expected logits, got none")
        return self._stream.result()


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

    def begin(
        self, shape: Sequence[int], along: int, properties: dict[str, Any], target: str | None, save_probabilities: bool = False
    ) -> Deciding:
        """Begin with a case whose logits come plane by plane; only where `native`. `segmentation` or `write` end it.

        shape: (X, Y, Z) of all logits together. along: the axis of the planes.
        """
        folder = None if target is None else self.outputs.begin(Path(target))
        try:
            heads = int(self._labels.num_segmentation_heads)
            probabilities = self._probabilities(heads, properties, folder) if save_probabilities else None
            options = self._options(properties)
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
        """Return the image's segmentation, 3D, or a pair of it and the probabilities, 4D, as nnU-Net does."""
        if isinstance(logits, Deciding):
            return (logits.segmentation(), logits.probabilities) if with_probabilities else logits.segmentation()
        if not with_probabilities:
            return self._convert(logits, properties, None)
        if self._resizing is None:
            return self._in_python(logits, properties, True)
        probabilities = self._probabilities(int(logits.shape[0]), properties, None)
        return self._convert(logits, properties, probabilities), probabilities

    def write(
        self, logits: torch.Tensor | Deciding, properties: dict[str, Any], target: str, save_probabilities: bool = False
    ) -> None:
        """Write nnU-Net's files of a case: target with the data set's ending, and .npz and .pkl with the probabilities."""
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
        """Raise OSError where the disk was full: what ITK writes of NIfTI then just ends, and nothing says so."""
        try:
            header = read_header(self._plans.image_reader_writer_class, str(file))
            missing = None if header is None else truncation(str(file), header)
        except Exception as error:
            missing = f"a file that can be read again, got {type(error).__name__}"
        if missing is not None:
            free = readable(shutil.disk_usage(file.parent).free)
            raise OSError(f"expected {missing}; {free} are free on the disk")

    def _write_probabilities(
        self, logits: torch.Tensor | Deciding, properties: dict[str, Any], folder: Path, name: str
    ) -> npt.NDArray[Any]:
        from batchgenerators.utilities.file_and_folder_operations import save_pickle

        if isinstance(logits, Deciding):
            segmentation, probabilities = logits.segmentation(), logits.probabilities
            logits.probabilities = None
        elif self._resizing is None:
            segmentation, probabilities = self._in_python(logits, properties, True)
        else:
            probabilities = self._probabilities(int(logits.shape[0]), properties, folder)
            segmentation = self._convert(logits, properties, probabilities)
        assert probabilities is not None
        np.savez_compressed(folder / f"{name}.npz", probabilities=probabilities)
        save_pickle(properties, str(folder / f"{name}.pkl"))
        del probabilities
        (folder / SCRATCH).unlink(missing_ok=True)
        return np.asarray(segmentation)

    def _convert(
        self, logits: torch.Tensor, properties: dict[str, Any], probabilities: npt.NDArray[np.float32] | None
    ) -> npt.NDArray[Any]:
        if self._resizing is None:
            return np.asarray(self._in_python(logits, properties, False))
        heads = self._labels.num_segmentation_heads
        if logits.shape[0] != heads:
            raise ValueError(f"expected logits of {heads} classes or regions, got {logits.shape[0]}")
        return logits_to_segmentation(logits, probabilities=probabilities, **self._options(properties))

    def deciding_as(self, properties: dict[str, Any]) -> Callable[[torch.Tensor, Sequence[int]], npt.NDArray[Any]] | None:
        """Return what makes labels of any shape from a case's logits, axes as the network has them; only where `native`."""
        if self._resizing is None:
            return None
        _, current = self._spacings(properties)
        options = {"axis": self._resizing.axis(current, current), **self._deciding()}
        return lambda logits, shape: logits_to_segmentation(logits, shape, **options)

    def _options(self, properties: dict[str, Any]) -> dict[str, Any]:
        assert self._resizing is not None
        spacing, current = self._spacings(properties)
        return {
            "new_shape": properties["shape_after_cropping_and_before_resampling"],
            "axis": self._resizing.axis(current, spacing),
            "bbox": properties["bbox_used_for_cropping"],
            "shape": properties["shape_before_cropping"],
            "transpose_backward": self._plans.transpose_backward,
            **self._deciding(),
        }

    def _deciding(self) -> dict[str, Any]:
        order = self._labels.regions_class_order if self._labels.has_regions else None
        return {"regions_class_order": order, "threads": self._threads}

    def _spacings(self, properties: dict[str, Any]) -> tuple[list[float], list[float]]:
        """Of the image and of the logits, axes as the network has them."""
        spacing = [float(properties["spacing"][axis]) for axis in self._plans.transpose_forward]
        current = [float(n) for n in self._configuration.spacing]
        return spacing, current if len(current) == 3 else [spacing[0], *current]

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

    def _probabilities(self, heads: int, properties: dict[str, Any], folder: Path | None) -> npt.NDArray[np.float32]:
        """To be filled. A file in `folder` holds them, so that memory does not have to: they are larger than all else."""
        sizes = properties["shape_before_cropping"]
        shape = (heads, *(int(sizes[axis]) for axis in self._plans.transpose_backward))
        if folder is None:
            return np.empty(shape, np.float32)
        return np.lib.format.open_memmap(folder / SCRATCH, "w+", np.float32, shape)


def _is_default(labels: Any) -> bool:
    from nnunetv2.utilities.helpers import softmax_helper_dim0
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    return type(labels) is LabelManager and labels.inference_nonlin in (torch.sigmoid, softmax_helper_dim0)
