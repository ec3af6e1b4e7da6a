"""nnU-Net's verdict on a file, and this package's: both predict it with the same network, and the doctor looks at it."""

from __future__ import annotations

import contextlib
import io
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fastnnunet_loader.doctor import report
from fastnnunet_loader.doctor.raw import check_raw
from fastnnunet_loader.errors import PredictionError
from fastnnunet_loader.prediction.images.cases import Case
from fastnnunet_loader.prediction.session.session import Session

from .row import Row

__all__ = ["Verdict", "Verdicts", "judge", "predictor_for"]


@dataclass(frozen=True)
class Verdict:
    """What came of a file: labels, or the stage that failed and what it said."""

    labels: npt.NDArray[Any] | None
    stage: str = ""
    said: str = ""

    @property
    def made(self) -> bool:
        """Whether there is a segmentation."""
        return self.labels is not None

    def __str__(self) -> str:
        return "predicted" if self.made else f"{self.stage}: {self.said}"


@dataclass(frozen=True)
class Verdicts:
    """All of a file."""

    theirs: Verdict
    ours: Verdict
    doctor: tuple[str, ...]
    """What `fastnnunet doctor` finds wrong with it in a raw data set."""


@cache
def predictor_for(reader: str, ending: str, channels: int, scheme: str, flat: bool = False) -> Any:
    """A predictor of nnU-Net's with a small network that has never been trained. flat: in 2D."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(_plans(reader, flat, channels, scheme))
    name = "2d" if flat else "3d_fullres"
    configuration = plans.get_configuration(name)
    names = {str(channel): f"channel {channel}" for channel in range(channels)}
    description = {"channel_names": names, "labels": {"background": 0, "a": 1, "b": 2}, "file_ending": ending}
    torch.manual_seed(5)
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        channels,
        3,
        deep_supervision=False,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(network, plans, configuration, [network.state_dict()], description, "nnUNetTrainer", None)
    return predictor


def _plans(reader: str, flat: bool, channels: int, scheme: str) -> dict[str, Any]:
    dimensions = 2 if flat else 3
    kind = f"torch.nn.modules.{{}}{dimensions}d"
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "files",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [8] * dimensions,
        "median_image_size_in_voxels": [10] * dimensions,
        "spacing": [1.0] * dimensions,
        "normalization_schemes": [scheme] * channels,
        "use_mask_for_norm": [False] * channels,
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling,
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": 2,
                "features_per_stage": [4, 8],
                "conv_op": kind.format("conv.Conv"),
                "kernel_sizes": [[3] * dimensions] * 2,
                "strides": [[1] * dimensions, [2] * dimensions],
                "n_conv_per_stage": [1, 1],
                "n_conv_per_stage_decoder": [1],
                "conv_bias": True,
                "norm_op": kind.format("instancenorm.InstanceNorm"),
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": False,
    }
    intensities = {"mean": 50.0, "std": 20.0, "percentile_00_5": 1.0, "percentile_99_5": 99.0}
    return {
        "dataset_name": "Dataset001_Files",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": reader,
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"2d" if flat else "3d_fullres": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {str(channel): intensities for channel in range(channels)},
    }


def judge(row: Row, folder: Path) -> Verdicts:
    """Write a row's file and return nnU-Net's verdict and ours. What nnU-Net's readers print and warn of is not shown."""
    images = folder / "imagesTs"
    for name in ("imagesTs", "theirs", "ours"):
        (folder / name).mkdir()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        row.write(images)
        files = sorted(str(file) for file in images.iterdir() if file.name.endswith(row.ending) and "_000" in file.name)
        assert files, "a row writes files"
        predictor = predictor_for(row.reader, row.ending, row.channels, row.scheme, row.flat)
        theirs, ours = _theirs(predictor, files, folder / "theirs"), _ours(predictor, files, folder / "ours")
        return Verdicts(theirs, ours, _doctors(predictor, folder))


def _theirs(predictor: Any, files: list[str], output: Path) -> Verdict:
    """By nnU-Net's own functions, in the order in which nnUNetv2_predict calls them."""
    from nnunetv2.inference.export_prediction import export_prediction_from_logits

    plan = (predictor.plans_manager, predictor.configuration_manager, predictor.dataset_json)
    stage = "preprocess"
    try:
        preprocessor = predictor.configuration_manager.preprocessor_class(verbose=False)
        data, _, properties = preprocessor.run_case(files, None, *plan)
        stage = "predict"
        logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data)).cpu().numpy()
        stage = "export"
        plans, configuration, description = plan
        export_prediction_from_logits(logits, properties, configuration, plans, description, str(output / "case"))
    except Exception as error:
        return Verdict(None, stage, f"{type(error).__name__}: {' '.join(str(error).split())}")
    return Verdict(_labels(predictor, output))


def _ours(predictor: Any, files: list[str], output: Path) -> Verdict:
    session = Session(predictor, threads=1, progress=False, say=lambda _: None, memory_budget=2**33)
    try:
        checked, bad = session.check([Case("case", tuple(files), None, str(output / "case"))])
        if bad:
            return Verdict(None, bad[0].stage, str(bad[0]))
        session.run_files(checked)
    except PredictionError as error:
        return Verdict(None, error.stage, str(error))
    return Verdict(_labels(predictor, output))


def _doctors(predictor: Any, folder: Path) -> tuple[str, ...]:
    (folder / "dataset.json").write_text(json.dumps(predictor.dataset_json), encoding="utf-8")
    with contextlib.redirect_stderr(io.StringIO()):
        check = check_raw(folder, predictor.plans_manager.plans, threads=1, quick=False)
    assert (check.verdict is report.Verdict.OK) == (check.details == ()), check
    return check.details


def _labels(predictor: Any, output: Path) -> npt.NDArray[Any]:
    """As nnU-Net reads its own segmentations."""
    file = output / f"case{predictor.dataset_json['file_ending']}"
    read: Callable[..., Any] = predictor.plans_manager.image_reader_writer_class().read_seg
    labels: npt.NDArray[Any] = read(str(file))[0]
    return np.asarray(labels)
