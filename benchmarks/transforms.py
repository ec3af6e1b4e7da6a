"""Every transform of batchgeneratorsv2 and every trainer's tree, native and batchgeneratorsv2's, on the same patch in one run.

    python -m benchmarks.transforms [leaves] [trees] [--json FILE] [--markdown FILE]

A real brain of 1 mm, patches of 128^3, one channel, one thread. batchgeneratorsv2 draws parameters and applies them; the same
parameters are replayed natively, and the results are compared before anything is timed. A leaf's time is that of its
application to a sample whose voxels are in memory already, or what it adds to a mirror that does its arithmetic on the way; a
tree's is that of drawing and of all transforms, on both sides. Exits with 1 where a promised factor is missed by more than a
fifth.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.helpers.scalar_type import RandomScalar
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import BrightnessAdditiveTransform, MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.intensity.inversion import InvertImageTransform
from batchgeneratorsv2.transforms.intensity.random_clip import CutOffOutliersTransform
from batchgeneratorsv2.transforms.local.brightness_gradient import BrightnessGradientAdditiveTransform
from batchgeneratorsv2.transforms.local.local_contrast import LocalContrastTransform
from batchgeneratorsv2.transforms.local.local_gamma import LocalGammaTransform
from batchgeneratorsv2.transforms.local.local_smoothing import LocalSmoothingTransform
from batchgeneratorsv2.transforms.nnunet.random_binary_operator import ApplyRandomBinaryOperatorTransform
from batchgeneratorsv2.transforms.nnunet.remove_connected_components import (
    RemoveRandomConnectedComponentFromOneHotEncodingTransform,
)
from batchgeneratorsv2.transforms.nnunet.seg_to_onehot import MoveSegAsOneHotToDataTransform
from batchgeneratorsv2.transforms.noise.blank_rectangle import BlankRectangleTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.noise.median_filter import MedianFilterTransform
from batchgeneratorsv2.transforms.noise.rician import RicianNoiseTransform
from batchgeneratorsv2.transforms.noise.sharpen import SharpeningTransform
from batchgeneratorsv2.transforms.spatial.channel_misalignment import ChannelMisalignmentTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.rot90 import Rot90Transform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.spatial.transpose import TransposeAxesTransform
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from batchgeneratorsv2.transforms.utils.move_channels import MoveChannelsTransform
from batchgeneratorsv2.transforms.utils.nnunet_masking import MaskImageTransform
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform, Convert3DTo2DTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform
from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
from recording import recording
from rich.console import Console
from rich.progress import track
from rich.table import Table
from trainers import nnunet_trainers

import fastnnunet_loader as fl
from fastnnunet_loader.nnunet.sources import open_source

from .agreement import DRAWN_WHILE_APPLIED, IMAGES, comparable, require_agreement, seed_all, tensors
from .floor import floor
from .machine import described, machine, prepare

PARTS = ("leaves", "trees")
PATCH = (128, 128, 128)
LABELS = 5
LEAST_LEAF, LEAST_TREE = 3.0, 10.0
PROMISED_TREES = ("nnUNetTrainer", "nnUNetTrainerDA5")
TOLERATED = 0.8
REPETITIONS = 5  # with the same parameters; the fastest counts
LEAST_MS = 1e-3  # what the clock tells apart
NOTHING_MS = 0.05  # below it a ratio says nothing


@dataclass(frozen=True)
class Figures:
    """One leaf, or one tree, on both sides."""

    name: str
    native_ms: float
    bgv2_ms: float
    image_difference: float | None
    """Largest, as a share of the intensity range; None where it cannot be compared."""
    label_difference: float | None
    """Share of the voxels."""

    @property
    def ratio(self) -> float | None:
        return self.bgv2_ms / self.native_ms if max(self.bgv2_ms, self.native_ms) > NOTHING_MS else None


@dataclass(frozen=True)
class Leaf:
    """A transform with settings that nnU-Net's trainers use, or its own defaults where none does."""

    name: str
    make: Callable[[], BasicTransform]
    before: Sequence[Callable[[], BasicTransform]] = ()
    reads: bool = False  # takes its voxels from where they are stored, as the first transform of a tree does
    mirrored: bool = False  # its arithmetic is done by whoever goes over the voxels next: a mirror, as in nnU-Net's trees


def spatial(**settings: Any) -> Callable[[], BasicTransform]:
    def make() -> BasicTransform:
        return SpatialTransform(PATCH, 0, False, mode_seg="nearest", bg_style_seg_sampling=False, **settings)

    return make


def size(shape: Sequence[int], axis: int) -> float:
    """Of nnUNetTrainerDA5's local transforms."""
    return float(np.exp(np.random.uniform(np.log(shape[axis] // 6), np.log(shape[axis]))))


def gradient(*_: Any) -> float:
    """The strength of nnUNetTrainerDA5's brightness gradient."""
    return np.random.uniform(-5, -1) if np.random.uniform() < 0.5 else np.random.uniform(1, 5)


def contrast() -> RandomScalar:
    return BGContrast((0.75, 1.25))


def one_hot() -> BasicTransform:
    return MoveSegAsOneHotToDataTransform(0, list(range(1, LABELS)), False)


ROTATION = {"p_rotation": 1.0, "rotation": (-np.pi / 6, np.pi / 6), "p_scaling": 1.0, "scaling": (0.7, 1.4)}
LEAVES = (
    Leaf("Spatial: rotation and scaling", spatial(**ROTATION, p_synchronize_scaling_across_axes=1), reads=True),
    Leaf("Spatial: elastic", spatial(p_elastic_deform=1.0), reads=True),
    Leaf("Mirror", lambda: MirrorTransform((0, 1, 2))),
    Leaf("Rot90", lambda: Rot90Transform(1)),
    Leaf("TransposeAxes", lambda: TransposeAxesTransform({0, 1, 2})),
    Leaf("SimulateLowResolution", lambda: SimulateLowResolutionTransform((0.5, 1), False, True, (), None, 1.0)),
    Leaf(
        "ChannelMisalignment",
        lambda: ChannelMisalignmentTransform([0], (0.1, 0, 0), 0.5, (0.1, 0.1, 0.1), "rad", 0.5, (2, 32, 32), 1.0),
    ),
    Leaf("GaussianNoise", lambda: GaussianNoiseTransform((0, 0.1), 1.0, True)),
    Leaf("RicianNoise", lambda: RicianNoiseTransform((0, 0.1))),
    Leaf("GaussianBlur", lambda: GaussianBlurTransform((0.5, 1.0), False, False, 1.0)),
    Leaf("Sharpening", lambda: SharpeningTransform((0.1, 1), 1.0, 1.0, 0.5)),
    Leaf("MedianFilter", lambda: MedianFilterTransform((2, 8), 0, 1.0)),
    Leaf(
        "BlankRectangle",
        lambda: BlankRectangleTransform([[max(1, p // 10), p // 3] for p in PATCH], torch.mean, (1, 5), False, 1.0),
    ),
    Leaf("Contrast", lambda: ContrastTransform(contrast(), True, False, 1.0)),
    Leaf(
        "MultiplicativeBrightness, then Mirror",
        lambda: MultiplicativeBrightnessTransform(contrast(), False, 1.0),
        mirrored=True,
    ),
    Leaf("BrightnessAdditive, then Mirror", lambda: BrightnessAdditiveTransform(0, 0.5, True, 1.0), mirrored=True),
    Leaf("Gamma", lambda: GammaTransform(BGContrast((0.7, 1.5)), 0, False, 1.0, 1.0)),
    Leaf("Gamma: inverted", lambda: GammaTransform(BGContrast((0.7, 1.5)), 1, False, 1.0, 1.0)),
    Leaf("InvertImage, then Mirror", lambda: InvertImageTransform(1.0, 1.0, 1.0), mirrored=True),
    Leaf("CutOffOutliers", lambda: CutOffOutliersTransform((0, 2.5), (97.5, 100), False, 1.0, 0.5)),
    Leaf("BrightnessGradientAdditive", lambda: BrightnessGradientAdditiveTransform(size, (-0.5, 1.5), gradient, False, True)),
    Leaf("LocalGamma", lambda: LocalGammaTransform(size, (-0.5, 1.5), (0.8, 1.5), False, 1.0)),
    Leaf("LocalContrast", lambda: LocalContrastTransform(size, (-0.5, 1.5), (0.5, 1.5), False, 1.0)),
    Leaf("LocalSmoothing", lambda: LocalSmoothingTransform(size, (-0.5, 1.5), (0.5, 1.0), (0.5, 1.5), False, 1.0)),
    Leaf("MoveSegAsOneHotToData", one_hot),
    Leaf(
        "ApplyRandomBinaryOperator",
        lambda: ApplyRandomBinaryOperatorTransform([-1, -2, -3, -4], strel_size=(1, 8), p_per_label=1),
        (one_hot,),
    ),
    Leaf(
        "RemoveRandomConnectedComponentFromOneHotEncoding",
        lambda: RemoveRandomConnectedComponentFromOneHotEncodingTransform([-1, -2, -3, -4], 0, 0.15, 1),
        (one_hot,),
    ),
    Leaf("MaskImage", lambda: MaskImageTransform([0])),
    Leaf("RemoveLabel", lambda: RemoveLabelTransform(1, 0)),
    Leaf("ConvertSegmentationToRegions", lambda: ConvertSegmentationToRegionsTransform([[1, 2, 3, 4], [2, 3], [4]])),
    Leaf("DownsampleSegForDS", lambda: DownsampleSegForDSTransform([[1 / 2**n] * 3 for n in range(6)])),
    Leaf("MoveChannels", lambda: MoveChannelsTransform(-1, "image", "segmentation"), (one_hot,)),
    Leaf("Convert3DTo2D", Convert3DTo2DTransform),
    Leaf("Convert2DTo3D", Convert2DTo3DTransform, (Convert3DTo2DTransform,)),
)


def brain() -> tuple[np.ndarray, np.ndarray]:
    """Image (1, *PATCH) float32, normalised, and segmentation (1, *PATCH) int16 with labels from -1 to LABELS - 1."""
    from nilearn.datasets import load_mni152_template

    whole = np.asarray(load_mni152_template(resolution=1).dataobj, np.float32)
    box = tuple(slice((n - p) // 2, (n - p) // 2 + p) for n, p in zip(whole.shape, PATCH, strict=True))
    image = np.ascontiguousarray(whole[box])
    labels = np.digitize(image, np.quantile(image[image > 0.02], np.linspace(0, 1, LABELS)[:-1])) - 1
    return ((image - image.mean()) / image.std())[None], labels[None].astype(np.int16)


def contiguous(data: dict[str, Any]) -> dict[str, Any]:
    """As the next transform, or the batch, takes it: some transforms give no more than a view."""
    return {key: value.contiguous() if isinstance(value, torch.Tensor) else value for key, value in data.items()}


def replayed(pipeline: Any, trace: list[Any], image: np.ndarray, segmentation: np.ndarray, first: int) -> tuple[float, Any]:
    """Seconds that the leaves from `first` on take, and the result."""

    def seconds() -> float:
        return sum(leaf[1] for leaf in pipeline.core.leaf_statistics()[first:])

    already = seconds()
    result = pipeline.replay(trace, image=image, segmentation=segmentation)
    return seconds() - already, result


def measure_leaf(case: Leaf, draws: int) -> Figures:
    torch.set_num_threads(1)
    image, segmentation = brain()
    # These two touch every voxel, so that the leaf finds them in memory, as it does inside a tree.
    resident = [] if case.reads else [ContrastTransform((1.5, 1.5), False, True, 1.0), RemoveLabelTransform(-1, 0)]
    before = [*resident, *(make() for make in case.before)]
    leaf = case.make()
    after = [MirrorTransform((0, 1))] if case.mirrored else []
    pipeline, without_leaf = fl.compile_transforms([*before, leaf, *after]), fl.compile_transforms([*before, *after])
    if not pipeline.all_native:
        raise RuntimeError(f"[{case.name}] expected a native transform, got {pipeline.fallbacks}")
    known = not isinstance(leaf, DRAWN_WHILE_APPLIED)
    theirs, ours, worst = [], [], (0.0, 0.0)
    for seed in range(draws):
        start = tensors(image, segmentation)
        trace: list[Any] = []
        for transform in before:
            with recording(transform) as drawn:
                start = contiguous(transform(**start))
            trace += drawn
        their_times, our_times, without_times = [], [], []
        for repetition in range(-1, REPETITIONS):  # compared before it is timed
            data = {key: v.clone() if isinstance(v, torch.Tensor) else v for key, v in start.items()}
            seed_all(seed)
            with recording(leaf) as drawn:
                started = time.process_time()
                expected = contiguous(leaf(**data))
                their_times.append(time.process_time() - started)
            mirrored = [(transform, {"axes": [0, 1]}) for transform in after]
            for transform, parameters in mirrored:
                expected = contiguous(transform.apply(expected, **parameters))
            took, got = replayed(pipeline, [*trace, *drawn, *mirrored], image, segmentation, len(before))
            if repetition < 0:
                if known:
                    seen = require_agreement(case.name, got, expected)
                    worst = max(worst[0], seen[0]), max(worst[1], seen[1])
                their_times.clear()
                continue
            our_times.append(took)
            if after:
                without_times.append(replayed(without_leaf, [*trace, *mirrored], image, segmentation, len(before))[0])
        theirs.append(min(their_times))
        ours.append(min(our_times) - min(without_times, default=0.0))
    return Figures(
        case.name,
        max(1e3 * float(np.mean(ours)), LEAST_MS),
        1e3 * float(np.mean(theirs)),
        worst[0] if known else None,
        worst[1] if known else None,
    )


def measure_tree(name: str, loader: Any, draws: int) -> Figures:
    torch.set_num_threads(1)
    tree = loader.transforms
    pipeline = fl.compile_transforms(tree)
    if not pipeline.all_native:
        raise RuntimeError(f"[{name}] expected native transforms, got {pipeline.fallbacks}")
    windows = [window(loader, number) for number in range(draws)]
    worst = (0.0, 0.0)
    # From the nearest voxel, a tie is a whole step of intensity.
    most = float("inf") if name.startswith("nnUNetTrainerDA5ord0") else IMAGES
    with comparable(tree):
        for number, (image, segmentation) in enumerate(windows):
            seed_all(number + 1)
            with recording(tree) as trace, torch.no_grad():
                expected = tree(**tensors(image, segmentation))
            got = pipeline.replay(trace, image=image, segmentation=segmentation)
            seen = require_agreement(name, got, expected, most)
            worst = max(worst[0], seen[0]), max(worst[1], seen[1])
    ours = theirs = 0.0
    for number, (image, segmentation) in enumerate(windows):
        data = tensors(image, segmentation)
        seed_all(number + 1)
        with recording(tree) as trace, torch.no_grad():
            started = time.process_time()
            tree(**data)
            theirs += time.process_time() - started
        # A training draws natively; what is handed over for the comparison is not part of its time.
        started = time.process_time()
        pipeline.draw(image.shape, segmentation_channels=len(segmentation), seed=number + 1)
        ours += time.process_time() - started
        ours += replayed(pipeline, trace, image, segmentation, 0)[0]
    return Figures(name, 1e3 * ours / draws, 1e3 * theirs / draws, *worst)


def window(loader: Any, number: int) -> tuple[np.ndarray, np.ndarray]:
    """What nnU-Net's loader cuts for its transforms: image and segmentation, (C, *loader.patch_size)."""
    seed_all(number)
    transforms, loader.transforms = loader.transforms, None
    try:
        batch = loader.generate_train_batch()
    finally:
        loader.transforms = transforms
    return batch["data"][0].numpy(), batch["target"][0].numpy()


def trees(dataset: str) -> dict[str, Any]:
    """The loaders of all trainers that have a tree of their own, by the trainers' names."""
    named: dict[str, tuple[list[str], Any]] = {}
    for trainer in nnunet_trainers():
        name = trainer.__name__
        if name.startswith("nnUNetTrainerBenchmark"):
            continue  # made on a GPU only; nnUNetTrainer's transforms
        source = open_source(dataset, "3d_fullres", 0, name)
        for role, loader in (("", source.train), (" (validation)", source.val)):
            described = re.sub(r"0x[0-9a-f]+", "", repr(loader.transforms)) + str(loader.patch_size) + role
            names, _ = named.setdefault(described, ([], loader))
            names.append(name + role)
    return {_together(names): loader for names, loader in named.values()}


def _together(names: list[str]) -> str:
    first = min(names, key=lambda name: (name not in PROMISED_TREES, len(name)))
    return first + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def row(figures: Figures) -> tuple[str, ...]:
    ratio, image, labels = figures.ratio, figures.image_difference, figures.label_difference
    return (
        figures.name,
        f"{figures.native_ms:.2f}",
        f"{figures.bgv2_ms:.2f}",
        "-" if ratio is None else "> 100" if ratio > 100 else f"{ratio:.1f}",
        "random" if image is None else f"{image:.1e}",
        "random" if labels is None else f"{labels:.1e}",
    )


HEADINGS = ("transform", "native, ms", "bgv2, ms", "ratio", "image differs by", "labels differ in")


INTRODUCTION = """# Transforms, measured
`python -m benchmarks.transforms --markdown docs/transforms.md` writes this page. It compares every transform of
batchgeneratorsv2 and the pipeline of every nnU-Net trainer, native and batchgeneratorsv2's, on the same patch of a real
brain: {patch} voxels, one channel, {labels} labels, one thread. batchgeneratorsv2 draws the parameters and the native
transform replays them; times are averages over {draws} draws. A single transform is timed on voxels in memory, and the
fastest of {repetitions} runs of a draw counts. "Then Mirror" is the time that the transform adds to a mirror, which
applies its deferred arithmetic. A pipeline is timed once, drawing and random fields included, on both sides.

"Image differs by" is the largest difference of a voxel as a share of the intensity range; "labels differ in" is the
share of voxels. If a transform draws while it is applied, voxels cannot be compared. Its distribution is tested instead
(`tests/transforms/test_distributions.py`), and in pipelines it is switched off for the comparison.
nnUNetTrainerDA5ord0 takes images from the nearest voxel: a tie between two voxels is then a whole step of intensity.

{machine}.

"""


def markdown(title: str, rows: list[Figures]) -> str:
    lines = [f"## {title}", "", "| " + " | ".join(HEADINGS) + " |", "|---|" + "---:|" * (len(HEADINGS) - 1)]
    lines += ["| " + " | ".join(row(figures)) + " |" for figures in rows]
    return "\n".join(lines) + "\n"


def missed(results: dict[str, list[Figures]]) -> list[str]:
    out = []
    for part, rows in results.items():
        for figures in rows:
            promised = any(re.match(rf"{name}( and|$)", figures.name) for name in PROMISED_TREES)
            least = LEAST_LEAF if part == "leaves" else LEAST_TREE if promised else None
            if least is not None and figures.ratio is not None and figures.ratio < TOLERATED * least:
                out.append(f"{figures.name}: {figures.ratio:.1f} times, expected {least:.0f}")
    return out


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transforms", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: both)")
    parser.add_argument("--only", metavar="TEXT", default="", help="transforms and trainers with this in their name")
    parser.add_argument("--draws", type=int, default=10, help="of parameters, for each (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--markdown", type=Path, help="write the tables here")
    parser.add_argument("--data", type=Path, default=Path("build/benchmark-data"), help="folder that keeps the data")
    args = parser.parse_args()
    unknown = set(args.parts) - set(PARTS)
    if unknown or args.draws < 1:
        parser.error(f"expected parts of {', '.join(PARTS)} and at least one draw")
    log = Console(stderr=True)
    results: dict[str, list[Figures]] = {}
    if not args.parts or "leaves" in args.parts:
        cases = [case for case in LEAVES if args.only in case.name]
        results["leaves"] = [measure_leaf(case, args.draws) for case in track(cases, "leaves", console=log)]
    if not args.parts or "trees" in args.parts:
        loaders = {name: loader for name, loader in trees(prepare(args.data.resolve(), log)).items() if args.only in name}
        rows = [measure_tree(name, loader, args.draws) for name, loader in track(loaders.items(), "trees", console=log)]
        results["trees"] = sorted(rows, key=lambda figures: figures.name)

    console = Console()
    for part, rows in results.items():
        table = Table(*HEADINGS, title=f"{part}, patches of {' x '.join(map(str, PATCH))}, one thread")
        for column in table.columns[1:]:
            column.justify = "right"
        for figures in rows:
            table.add_row(*row(figures))
        console.print(table)
    facts = machine()
    console.print(described(facts), style="dim")
    if args.json:
        least = floor(open_source(prepare(args.data.resolve(), log), "3d_fullres", 0).train)
        named = {part: [{**asdict(figures), "ratio": figures.ratio} for figures in rows] for part, rows in results.items()}
        args.json.write_text(json.dumps({"machine": facts, "floor": least, **named}, indent=1) + "\n", encoding="utf-8")
    if args.markdown:
        introduction = INTRODUCTION.format(
            patch=" x ".join(map(str, PATCH)),
            labels=LABELS,
            repetitions=REPETITIONS,
            draws=args.draws,
            machine=f"{described(facts)}; commit {facts['commit']}",
        )
        tables = "\n".join(markdown(part.capitalize(), rows) for part, rows in results.items())
        args.markdown.write_text(introduction + tables, encoding="utf-8")
    failures = missed(results)
    for failure in failures:
        console.print(f"missed: {failure}", style="red")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
