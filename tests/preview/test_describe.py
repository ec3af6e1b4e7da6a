"""What a pipeline and a loader tell about themselves."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import OneOfTransform, RandomTransform

import fastnnunet_loader as fl
from fastnnunet_loader.nnunet.sources import open_source


class Halve(ImageOnlyTransform):
    def get_parameters(self, **_: Any) -> dict[str, Any]:
        return {}

    def _apply_to_image(self, img: Any, **_: Any) -> Any:
        return img / 2


def tree() -> ComposeTransforms:
    return ComposeTransforms(
        [
            MirrorTransform((0,)),
            RandomTransform(GammaTransform((0.7, 1.5), 0, False, 0.4, 1), 0.25),
            OneOfTransform([GaussianBlurTransform((1, 1), p_per_channel=0.5), Halve()]),
            RandomTransform(ComposeTransforms([Halve()]), 0),
        ]
    )


def test_a_tree_is_told_with_all_its_probabilities() -> None:
    assert fl.compile_transforms(tree()).describe().splitlines() == [
        "Compose",
        "  MirrorTransform  [native]",
        "  p=0.25  GammaTransform  [native]  p_per_channel=0.4  p_retain_stats=1",
        "  OneOf",
        "    1 of 2  GaussianBlurTransform  [native]  p_per_channel=0.5",
        "    1 of 2  Halve  [Python: it has no native counterpart]",
        "  p=0  Compose",
        "    Halve  [Python: it has no native counterpart]",
    ]


def costs(text: str) -> dict[str, tuple[str, str, str]]:
    """(ms each, applied, share) by transform, of the lines that start with them."""
    found = re.findall(r"^ *([\d.]+|-) +(\d+) +(\d+ %|-)  +(?:1 of \d+  )?(?:p=[\d.]+  )?(\w+)", text, re.MULTILINE)
    # Of several of one name, the first.
    return {name: (each, applied, share) for each, applied, share, name in reversed(found)}


def test_costs_are_told_once_they_are_measured() -> None:
    pipeline = fl.compile_transforms(tree())
    image = np.random.default_rng(0).normal(size=(1, 40, 40, 40)).astype(np.float32)
    for step in range(12):
        pipeline(image=image, step=step)
    text = pipeline.describe()
    assert text.splitlines()[0] == " ms each  applied  share  transform"
    told = costs(text)
    fired = [type(t).__name__ for step in range(12) for t, p in pipeline.draw(image.shape, step=step)]
    blurred = [p for step in range(12) for t, p in pipeline.draw(image.shape, step=step) if "sigmas" in p]
    assert told["GaussianBlurTransform"][1] == str(sum(bool(p["apply_to_channel"]) for p in blurred))
    assert 0 < int(told["MirrorTransform"][1]) < 12  # not applied where it flips no axis
    assert sum(int(share.rstrip(" %")) for _, _, share in told.values() if share != "-") in range(97, 104)
    assert re.search(r"^ *[\d.]+ ms for one sample on average, over 12 samples$", text, re.MULTILINE)
    # The stages of a sample are not samples of their own.
    list(pipeline.stages(image=image))
    assert pipeline.describe() == text
    assert "Halve" in fired
    # The last Halve, which is never reached.
    assert re.search(r"^ +- +0 +- +Halve", text, re.MULTILINE)


def test_a_loader_tells_what_its_samples_cost(nnunet_dataset: Any) -> None:
    dataset = nnunet_dataset("cascade")
    dataset.add_previous_stage("nnUNetTrainer")
    source = open_source(dataset.name, "3d_cascade_fullres", 0)
    with fl.DataLoader.from_nnunet(source.train, threads=1, seed=1, prefetch=1) as loader:
        assert "ms each" not in loader.describe()
        for _ in range(4):
            next(loader)
        text = loader.describe()
    assert all(len(line) <= 100 for line in loader.pipeline.describe().splitlines())
    assert "p=0.1  GaussianNoiseTransform  [native]  p_per_channel=1" in text
    assert "p_rotation=0.2" in text
    assert "p=0.2  RemoveRandomConnectedComponentFromOneHotEncodingTransform" in text
    told = costs(text)
    assert int(told["SpatialTransform"][1]) >= 8
    # Where an image is only cropped, and so read to where it is wanted, the transform itself has nothing to do.
    reading = re.search(r"^ *([\d.]+) ms for reading its voxels", text, re.MULTILINE)
    assert float(reading[1]) + float(told["SpatialTransform"][0]) > 0  # type: ignore[index]
    assert float(re.search(r"^ *([\d.]+) ms for choosing it", text, re.MULTILINE)[1]) > 0  # type: ignore[index]
    samples = int(re.search(r"on average, over (\d+) samples", text)[1])  # type: ignore[index]
    assert 8 <= samples <= 12
