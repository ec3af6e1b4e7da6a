"""nnU-Net's functions that programs call directly, with its signatures, results and files.

Each returns NotImplemented for what native code does not do as nnU-Net does; then nnU-Net's own function is called.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from nnunetv2.inference import export_prediction
from nnunetv2.preprocessing.cropping import cropping
from nnunetv2.preprocessing.resampling import default_resampling
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from ..export.conversion import Conversion
from ..originals.stand_ins import STAND_INS, Patches, stands_for
from ..preprocessing.cropping import bounding_box, fill_holes
from ..preprocessing.resampling import resample
from . import options
from .speaking import say_once

__all__ = [
    "convert_predicted_logits_to_segmentation_with_correct_shape",
    "crop_to_nonzero",
    "export_prediction_from_logits",
    "patch_functions",
    "resample_and_save",
    "resample_data_or_seg",
]

LABELS = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32)
"""Dtypes of segmentations."""

LARGEST = 1e30
"""Of intensities: a spline of larger ones could leave float32, which nnU-Net's float64 does not."""


def patch_functions(patches: Patches) -> None:
    """Replace nnU-Net's functions of this module, and of others that have been imported, wherever their code is known."""
    for stand_in in STAND_INS:
        if changes := stand_in.install(patches):
            say_once(f"{stand_in.name} is called as it is, without native code: {'; '.join(changes[:3])}")


@stands_for(default_resampling, "resample_data_or_seg")
def resample_data_or_seg(
    data: Any,
    new_shape: Any,
    is_seg: bool = False,
    axis: Any = None,
    order: Any = 3,
    do_separate_z: Any = False,
    order_z: Any = 0,
    dtype_out: Any = None,
) -> Any:
    """Take 4D arrays, images of float32 and float16 and segmentations of `LABELS`, of finite numbers."""
    sizes = _integers(new_shape)
    if not _is_array(data) or data.ndim != 4 or not data.size or sizes is None or len(sizes) != 3 or min(sizes) < 1:
        return NotImplemented
    if dtype_out is not None and np.dtype(dtype_out) != data.dtype:
        return NotImplemented
    if list(data.shape[1:]) == sizes:
        return data  # the very array, as nnU-Net returns it
    number, number_z = _order(order), _order(order_z) if do_separate_z else 0
    thick = _integers([axis]) if do_separate_z else None
    if do_separate_z and (thick is None or thick[0] not in (0, 1, 2)):
        return NotImplemented
    along = None if thick is None else thick[0]
    if is_seg:
        taken = data.dtype in LABELS and number in (0, 1) and number_z == 0
    else:
        taken = data.dtype in (np.float32, np.float16) and number in (0, 1, 3) and number_z in (0, 1, 3)
    if not taken or not _is_bounded(data):
        return NotImplemented
    assert number is not None
    assert number_z is not None
    arguments: dict[str, Any] = {"is_seg": bool(is_seg), "axis": along, "order_z": number_z, "threads": options.threads()}
    if data.dtype != np.float16:
        return resample(np.ascontiguousarray(data), sizes, number, **arguments)
    resized = np.empty((data.shape[0], *sizes), np.float16)
    for channel in range(data.shape[0]):  # one at a time, for float32 takes twice the memory
        resized[channel] = resample(data[channel : channel + 1].astype(np.float32), sizes, number, **arguments)[0]
    return resized


@stands_for(cropping, "crop_to_nonzero")
def crop_to_nonzero(data: Any, seg: Any = None, nonzero_label: Any = -1) -> Any:
    """Take images (C, X, Y, Z), and segmentations (C, X, Y, Z) of the same size."""
    if not _is_array(data) or data.ndim != 4 or not data.size:
        return NotImplemented
    if seg is not None and (not _is_array(seg) or seg.shape[1:] != data.shape[1:]):
        return NotImplemented
    mask = data[0] != 0
    for channel in data[1:]:
        mask |= channel != 0
    box = bounding_box(mask)
    inside = tuple(slice(lower, upper) for lower, upper in box)
    # Around its box everything is zero, so that holes are the same in the box alone.
    mask = fill_holes(mask[inside])[None]
    cropped = data[(slice(None), *inside)]
    if seg is None:
        return cropped, np.where(mask, np.int8(0), np.int8(nonzero_label)), box
    seg = seg[(slice(None), *inside)]
    seg[(seg == 0) & ~mask] = nonzero_label
    return cropped, seg, box


@stands_for(export_prediction, "convert_predicted_logits_to_segmentation_with_correct_shape", classes=(LabelManager,))
def convert_predicted_logits_to_segmentation_with_correct_shape(
    predicted_logits: Any,
    plans_manager: Any,
    configuration_manager: Any,
    label_manager: Any,
    properties_dict: dict[str, Any],
    return_probabilities: bool = False,
    num_threads_torch: Any = None,
) -> Any:
    """Take logits (C, X, Y, Z) of float32 and float16 on the CPU, resized linearly, and nnU-Net's own label manager."""
    threads = _threads(num_threads_torch)
    if threads is None or not _are_logits(predicted_logits):
        return NotImplemented
    conversion = Conversion(plans_manager, configuration_manager, label_manager, threads)
    if not conversion.takes(predicted_logits, properties_dict):
        return NotImplemented
    probabilities = np.empty(conversion.probabilities_shape(properties_dict), np.float32) if return_probabilities else None
    segmentation = conversion.convert(predicted_logits, properties_dict, probabilities)
    return (segmentation, probabilities) if return_probabilities else segmentation


@stands_for(export_prediction, "export_prediction_from_logits", classes=(LabelManager,))
def export_prediction_from_logits(
    predicted_array_or_file: Any,
    properties_dict: dict[str, Any],
    configuration_manager: Any,
    plans_manager: Any,
    dataset_json_dict_or_file: Any,
    output_file_truncated: str,
    save_probabilities: bool = False,
    num_threads_torch: Any = None,
) -> Any:
    """Take what the conversion takes, and write nnU-Net's files, all of them or none."""
    from ..export.export import Exporting

    threads = _threads(num_threads_torch)
    target = output_file_truncated
    if not isinstance(target, str) or target.endswith(("/", "\\")) or not Path(target).parent.is_dir():
        return NotImplemented
    if threads is None or not _are_logits(predicted_array_or_file):
        return NotImplemented
    dataset_json = _read_json(dataset_json_dict_or_file)
    exporting = Exporting(plans_manager, configuration_manager, dataset_json, threads, _ignore)
    if not exporting.takes(predicted_array_or_file, properties_dict):
        return NotImplemented
    exporting.write(predicted_array_or_file, properties_dict, target, save_probabilities)
    return None


@stands_for(export_prediction, "resample_and_save", classes=(LabelManager,))
def resample_and_save(
    predicted: Any,
    target_shape: Any,
    output_file: str,
    plans_manager: Any,
    configuration_manager: Any,
    properties_dict: dict[str, Any],
    dataset_json_dict_or_file: Any,
    num_threads_torch: Any = None,
    dataset_class: Any = None,
) -> Any:
    """Take what the conversion takes; nnU-Net still writes the file."""
    threads, sizes = _threads(num_threads_torch), _integers(target_shape)
    if threads is None or sizes is None or len(sizes) != 3 or not _are_logits(predicted):
        return NotImplemented
    dataset_json = _read_json(dataset_json_dict_or_file)
    conversion = Conversion(plans_manager, configuration_manager, plans_manager.get_label_manager(dataset_json), threads)
    if not conversion.takes(predicted, properties_dict):
        return NotImplemented
    decide = conversion.deciding_as(properties_dict)
    # nnU-Net finds that the resized logits are labels.
    labels = With(conversion.labels, convert_logits_to_segmentation=lambda decided: decided)
    plans = With(plans_manager, get_label_manager=lambda *_, **__: labels)
    configuration = With(configuration_manager, resampling_fn_probabilities=lambda logits, shape, *_: decide(logits, shape))
    write = resample_and_save.__wrapped__  # type: ignore[attr-defined]
    return write(predicted, sizes, output_file, plans, configuration, properties_dict, dataset_json, threads, dataset_class)


class With:
    """An object, some of whose attributes are others."""

    def __init__(self, thing: Any, **others: Any) -> None:
        self.__dict__.update(others)
        self._thing = thing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._thing, name)


def _is_array(value: Any) -> bool:
    return type(value) in (np.ndarray, np.memmap) and bool(value.dtype.isnative)


def _are_logits(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        plain = type(value) is torch.Tensor and value.device.type == "cpu" and not value.requires_grad
        return plain and value.layout == torch.strided and value.dtype in (torch.float32, torch.float16) and _is_4d(value.shape)
    return _is_array(value) and value.dtype in (np.float32, np.float16) and _is_4d(value.shape)


def _is_4d(shape: Sequence[int]) -> bool:
    return len(shape) == 4 and min(shape) > 0


def _is_bounded(array: npt.NDArray[Any]) -> bool:
    # NaN fails each comparison.
    return array.dtype.kind != "f" or -LARGEST < float(array.min()) <= float(array.max()) < LARGEST


def _order(value: Any) -> int | None:
    found = None if isinstance(value, (bool, np.bool_)) else _integers([value])
    return None if found is None else found[0]


def _integers(values: Any) -> list[int] | None:
    try:
        return [operator.index(value) for value in values]
    except TypeError:
        return None


def _threads(asked: Any) -> int | None:
    """For `num_threads_torch`; None where torch would refuse the number."""
    if asked is None:
        return options.threads()
    found = _integers([asked])
    return None if found is None or found[0] < 1 else min(found[0], options.threads())


def _read_json(content: Any) -> Any:
    from batchgenerators.utilities.file_and_folder_operations import load_json

    return load_json(content) if isinstance(content, str) else content


def _ignore(_: str) -> None:
    """What has no native counterpart is nnU-Net's own then."""
