"""nnU-Net's functions of one case after prediction, with its signatures, results and files.

Each returns NotImplemented for what native code does not do as nnU-Net does; then nnU-Net's own function is called.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from acvl_utils.morphology import morphology_helper
from nnunetv2.ensembling import ensemble
from nnunetv2.evaluation import evaluate_predictions
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from .. import _core
from ..prediction.originals.stand_ins import stands_for
from .probabilities import open_all

__all__ = ["compute_metrics", "merge_files", "remove_all_but_largest_component"]

LARGEST_LABEL = 65535
_LABELS = tuple(np.dtype(kind) for kind in "bBhHiIlLfd")


@stands_for(evaluate_predictions, "compute_metrics")
def compute_metrics(
    reference_file: str, prediction_file: str, image_reader_writer: Any, labels_or_regions: Any, ignore_label: Any = None
) -> Any:
    """Take files that nnU-Net's reader reads as arrays of one shape, and labels that are integers."""
    regions = [(one, _labels_of(one)) for one in labels_or_regions]
    ignored = _labels_of(ignore_label) if ignore_label is not None else []
    if ignored is None or any(labels is None for _, labels in regions):
        return NotImplemented
    labels = sorted({label for _, found in regions for label in found or ()} | set(ignored))
    if not labels or labels[0] < -LARGEST_LABEL or labels[-1] > LARGEST_LABEL or len(labels) > 4096:
        return NotImplemented
    reference, _ = image_reader_writer.read_seg(reference_file)
    prediction, _ = image_reader_writer.read_seg(prediction_file)
    arrays = [reference, prediction]
    if any(type(array) is not np.ndarray or array.dtype not in _LABELS for array in arrays):
        return NotImplemented
    if reference.shape != prediction.shape:
        return NotImplemented  # nnU-Net says what is wrong
    counts = _core.count_pairs(np.ascontiguousarray(reference), np.ascontiguousarray(prediction), labels)
    number = {label: i + 1 for i, label in enumerate(labels)}
    if ignored:
        counts[number[ignored[0]]] = 0
    metrics = {one: _metrics(counts, [number[label] for label in found or ()]) for one, found in regions}
    return {"reference_file": reference_file, "prediction_file": prediction_file, "metrics": metrics}


def _labels_of(one: Any) -> list[int] | None:
    """Return the labels of a label or region; None if they are not integers."""
    if isinstance(one, (bool, np.bool_)):
        return None
    labels: Any = [one] if np.isscalar(one) else one
    try:
        return [operator.index(label) for label in labels]
    except TypeError:
        return None


def _metrics(counts: npt.NDArray[np.int64], numbers: Sequence[int]) -> dict[str, Any]:
    """counts: rows are numbers of the reference's labels, columns of the prediction's. numbers: of a region's labels."""
    inside = sorted(set(numbers))
    tp = counts[np.ix_(inside, inside)].sum()
    fn = counts[inside].sum() - tp
    fp = counts[:, inside].sum() - tp
    tn = counts.sum() - tp - fp - fn
    if tp + fp + fn == 0:
        dice, iou = np.nan, np.nan
    else:
        dice, iou = 2 * tp / (2 * tp + fp + fn), tp / (tp + fp + fn)
    # nnU-Net's order.
    return {"Dice": dice, "IoU": iou, "FP": fp, "TP": tp, "FN": fn, "TN": tn, "n_pred": fp + tp, "n_ref": fn + tp}


@stands_for(ensemble, "merge_files", classes=(LabelManager,))
def merge_files(
    list_of_files: Any,
    output_filename_truncated: str,
    output_file_ending: str,
    image_reader_writer: Any,
    label_manager: Any,
    save_probabilities: bool = False,
) -> Any:
    """Take files of nnU-Net's predictor, in float32 or float16, and its own label manager; keep no probabilities."""
    from batchgenerators.utilities.file_and_folder_operations import load_pickle

    if save_probabilities or type(label_manager) is not LabelManager:
        return NotImplemented
    order = label_manager.regions_class_order if label_manager.has_regions else None
    with open_all(list_of_files) as files:
        if files is None or files.shape[0] != label_manager.num_segmentation_heads:
            return NotImplemented
        if files.shape[0] > LARGEST_LABEL or (order is not None and _beyond(order, files.shape[0])):
            return NotImplemented
        properties = load_pickle(list_of_files[0][:-4] + ".pkl")
        labels = np.zeros(files.shape[1:], np.uint16)
        best = np.full(files.shape[1:], -np.inf, np.float32) if order is None else None
        for channel, sums in enumerate(files.sums()):
            if best is not None:
                _core.keep_best(sums, len(list_of_files), channel, best, labels)
            elif order is not None and channel < len(order):
                _core.keep_above_half(sums, len(list_of_files), order[channel], labels)
    # nnU-Net's own writers choose the type in the file by the largest label.
    known = type(image_reader_writer).__module__.startswith("nnunetv2.imageio.")
    segmentation = labels if known or order is not None else labels.astype(np.int64)
    image_reader_writer.write_seg(segmentation, output_filename_truncated + output_file_ending, properties)
    return None


def _beyond(order: Sequence[Any], channels: int) -> bool:
    return len(order) > channels or any(type(label) is not int or not 0 <= label <= LARGEST_LABEL for label in order)


@stands_for(morphology_helper, "remove_all_but_largest_component")
def remove_all_but_largest_component(binary_image: Any, connectivity: Any = None) -> Any:
    """Take bool arrays (X, Y, Z) or (X, Y) and neighbours in all directions."""
    try:
        import cc3d
    except ImportError:
        return NotImplemented
    if type(binary_image) is not np.ndarray or binary_image.dtype != bool or connectivity is not None:
        return NotImplemented
    if binary_image.ndim not in (2, 3) or binary_image.size == 0:
        return NotImplemented
    image = np.ascontiguousarray(binary_image)
    components, number = cc3d.connected_components(image, connectivity=8 if image.ndim == 2 else 26, return_N=True)
    components = np.ascontiguousarray(components).reshape(-1)
    kept = np.empty(image.shape, bool)
    if number < 2:  # nothing to choose from
        kept[...] = image
        return kept
    pieces = range(0, components.size, 1 << 16)  # that fit in a cache
    sizes = np.zeros(number + 1, np.int64)
    for first in pieces:
        found = np.bincount(components[first : first + (1 << 16)])
        sizes[: len(found)] += found
    sizes[0] = 0
    largest = sizes == sizes.max()
    flat = kept.reshape(-1)
    for first in pieces:
        flat[first : first + (1 << 16)] = largest[components[first : first + (1 << 16)]]
    return kept
