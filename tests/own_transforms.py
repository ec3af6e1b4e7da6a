"""Transforms of users: what they may return, and native ones to put around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform

Data = dict[str, Any]


class Own(BasicTransform):  # type: ignore[misc]
    """Does what the test asks for."""

    def __init__(self, change: Callable[[Data], Any]) -> None:
        super().__init__()
        self.change = change

    def apply(self, data_dict: Data, **_: Any) -> Any:
        return self.change(data_dict)


def put(**values: Callable[[Data], Any]) -> Callable[[Data], Data]:
    """Set entries to what functions of the dictionary give."""

    def change(data: Data) -> Data:
        return {**data, **{name: value(data) for name, value in values.items()}}

    return change


def without(name: str) -> Callable[[Data], Data]:
    return lambda data: {key: value for key, value in data.items() if key != name}


def of_image(function: Callable[[torch.Tensor], Any]) -> Callable[[Data], Data]:
    return put(image=lambda d: function(d["image"]))


def of_labels(function: Callable[[torch.Tensor], Any]) -> Callable[[Data], Data]:
    return put(segmentation=lambda d: function(d["segmentation"]))


CHANGES: dict[str, Callable[[Data], Any]] = {
    "nothing": lambda d: d,
    "in place": lambda d: (d["image"].mul_(2), d)[1],
    "fewer channels": of_image(lambda t: t[:1]),
    "the last channel": of_image(lambda t: t[-1:]),
    "more channels": of_image(lambda t: torch.cat([t, t.flip(0) * 2])),
    "smaller": lambda d: {**d, "image": d["image"][:, 1:], "segmentation": d["segmentation"][:, 1:]},
    "smaller image": of_image(lambda t: t[:, 1:]),
    "smaller labels": of_labels(lambda t: t[..., 2:]),
    "larger": lambda d: {name: torch.nn.functional.pad(value, (1, 1)) for name, value in d.items()},
    "axes swapped": lambda d: {name: value.transpose(-1, -2) for name, value in d.items()},
    "channels turned": of_image(lambda t: t.flip(0)),
    "numpy": of_image(lambda t: t.numpy()[:, ::-1].copy()),
    "numpy view": of_image(lambda t: t.numpy()[::-1]),
    "float64": of_image(lambda t: t.double() / 3),
    "float16": of_image(lambda t: t.half()),
    "int16 image": of_image(lambda t: (t * 10).short()),
    "bool image": of_image(lambda t: t > 0.5),
    "labels as image": put(image=lambda d: d["segmentation"].clone()),
    "image as labels": put(segmentation=lambda d: d["image"].clone()),
    "nan": of_image(lambda t: t.fill_(float("nan"))),
    "gradient": of_image(lambda t: t.clone().requires_grad_()),
    "soft labels": of_labels(lambda t: t.float() * 0.4),
    "half labels": of_labels(lambda t: t.half() * 0.5),
    "bfloat16 labels": of_labels(lambda t: t.bfloat16() * 0.5),
    "double labels": of_labels(lambda t: t.double() * 0.1),
    "long labels": of_labels(lambda t: t.long() + 70000),
    "int32 labels": of_labels(lambda t: t.int()),
    "byte labels": of_labels(lambda t: t.byte()),
    "char labels": of_labels(lambda t: t.char()),
    "bool labels": of_labels(lambda t: t > 0),
    "more labels": of_labels(lambda t: torch.cat([t, t + 1, t])),
    "labels in numpy": of_labels(lambda t: t.numpy() + np.int16(1)),
    "list of labels": of_labels(lambda t: [t, t[..., ::2].float()]),
    "labels in place": lambda d: (d["segmentation"].add_(1), d)[1],
    "distance map": put(dist_map=lambda d: d["segmentation"].float() * 3, name=lambda _: "case"),
    "the image kept": put(original=lambda d: d["image"].clone()),
    "regression target": put(regression_target=lambda d: d["image"][:1] * 2),
    "no labels": without("segmentation"),
    "labels of None": put(segmentation=lambda _: None),
    "no image": without("image"),
    "image of None": put(image=lambda _: None),
    "image of text": put(image=lambda _: "image"),
    "complex image": of_image(lambda t: t.to(torch.complex64)),
    "labels of text": put(segmentation=lambda _: "labels"),
    "empty list of labels": put(segmentation=lambda _: []),
    "no channel": of_image(lambda t: t[:0]),
    "no voxel": of_image(lambda t: t[:, :0]),
    "five axes": of_image(lambda t: t[None]),
    "no axis": of_image(lambda t: t.sum()),
    "two axes": of_image(lambda t: t[0, 0]),
    "nothing at all": lambda _: None,
    "a tuple": lambda d: tuple(d.items()),
    "an empty dictionary": lambda _: {},
    "an error": lambda d: d["missing"],
}  # fmt: skip

# With parameters that leave nothing to chance: so a tree's result can be compared without a replay.
NATIVE: dict[str, Callable[[], Any]] = {
    "brightness": lambda: MultiplicativeBrightnessTransform((1.5, 1.5), synchronize_channels=True, p_per_channel=1),
    "gamma": lambda: GammaTransform((0.7, 0.7), 0, 0, 1, 1),
    "blur": lambda: GaussianBlurTransform((1.0, 1.0), synchronize_channels=True, p_per_channel=1),
    "remove": lambda: RemoveLabelTansform(-1, 0),
    "regions": lambda: ConvertSegmentationToRegionsTransform([(1, 2), (2,)], 0),
    "downsample": lambda: DownsampleSegForDSTransform([[1, 1, 1], [0.5, 0.5, 0.5]]),
    "to 2d": Convert3DTo2DTransform,
    "to 3d": Convert2DTo3DTransform,
}


def sample() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.random((3, 8, 10, 12), np.float32) + 0.1)
    return image, torch.from_numpy(rng.integers(-1, 3, (1, 8, 10, 12)).astype(np.int16))


def built(names: list[str]) -> list[Any]:
    return [NATIVE[name]() if name in NATIVE else Own(CHANGES[name]) for name in names]
