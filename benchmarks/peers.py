"""Other libraries on the same brains, with the closest to nnU-Net's default augmentation that they can express.

    python -m benchmarks.peers [--json FILE]

Needs `pip install monai torchio nvidia-dali-cuda130`; what is not installed is left out and named. Each side in a process of
its own, two workers, alternating, with medians; patches of 128^3, batches of two. The peers have the volumes in memory, which
spares them the reading; nnU-Net's loader reads files, and this one reads each once and then keeps it. Before anything is timed,
samples of this loader are compared with what nnU-Net's code makes of the same windows, and a batch of each peer is checked: its
shape and type, finite voxels, labels of the data set only. What a peer lacks stands beside its figure.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fastnnunet_loader.bench.measure import measure, tree_cpu_seconds
from fastnnunet_loader.nnunet.sources import open_source

from .agreement import check_agreement
from .floor import floor
from .machine import described, machine, prepare

WORKERS = 2
BATCH = 2
PATCH = (128, 128, 128)
WINDOW = (205, 205, 205)  # what a rotation by 30 degrees about every axis may need of it
ROTATES = 0.36  # rotation, scaling or both, each with probability 0.2
LACKS = "foreground oversampling, deep supervision, labels by votes, rotation and scaling apart"


@dataclass(frozen=True)
class Peer:
    """A library, how its samples are made, and what nnU-Net's recipe has beyond them."""

    package: str
    make: Callable[[list[dict[str, np.ndarray]]], Iterator[Any]]
    lacks: str


def volumes(folder: Path) -> list[dict[str, np.ndarray]]:
    """The preprocessed cases: image (1, X, Y, Z) float32, segmentation (1, X, Y, Z) int16."""
    import blosc2

    files = [file for file in sorted(folder.glob("*.b2nd")) if not file.stem.endswith("_seg")]
    return [
        {
            "image": blosc2.open(urlpath=str(file), mode="r")[:].astype(np.float32),
            "label": blosc2.open(urlpath=str(file.with_name(f"{file.stem}_seg.b2nd")), mode="r")[:].astype(np.int16),
        }
        for file in files
    ]


def endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def monai(cases: list[dict[str, np.ndarray]], threads: bool) -> Iterator[Any]:
    import monai.transforms as mt
    from monai.data import Dataset, ThreadDataLoader
    from torch.utils.data import DataLoader

    both, image = ["image", "label"], ["image"]
    tree = mt.Compose(
        [
            mt.SpatialPadd(both, PATCH),
            mt.RandSpatialCropd(both, roi_size=WINDOW, random_size=False),
            mt.RandAffined(
                both, prob=ROTATES, rotate_range=(math.pi / 6,) * 3, scale_range=((-0.3, 0.4),) * 3,
                mode=("bilinear", "nearest"), padding_mode="zeros",
            ),
            mt.RandSpatialCropd(both, roi_size=PATCH, random_size=False),
            mt.RandGaussianNoised(image, prob=0.1, std=0.1),
            mt.RandGaussianSmoothd(image, prob=0.1, sigma_x=(0.5, 1), sigma_y=(0.5, 1), sigma_z=(0.5, 1)),
            mt.RandScaleIntensityd(image, factors=0.25, prob=0.15),
            mt.RandScaleIntensityFixedMeand(image, factors=0.25, preserve_range=True, prob=0.15),
            mt.RandSimulateLowResolutiond(image, prob=0.125, zoom_range=(0.5, 1.0)),
            mt.RandAdjustContrastd(image, prob=0.1, gamma=(0.7, 1.5), invert_image=True, retain_stats=True),
            mt.RandAdjustContrastd(image, prob=0.3, gamma=(0.7, 1.5), retain_stats=True),
            *(mt.RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(3)),
            mt.ToTensord(both, track_meta=False),
        ]
    )  # fmt: skip
    data = Dataset(cases * 200, tree)
    settings: dict[str, Any] = {"batch_size": BATCH, "shuffle": True, "num_workers": WORKERS}
    if threads:
        return endless(ThreadDataLoader(data, use_thread_workers=True, **settings))
    return endless(DataLoader(data, persistent_workers=True, **settings))


def torchio(cases: list[dict[str, np.ndarray]]) -> Iterator[Any]:
    import torch
    import torchio as tio
    from torch.utils.data import DataLoader

    tree = tio.Compose(
        [
            tio.RandomAffine(scales=(0.7, 1.4), degrees=30, isotropic=True, default_pad_value=0, p=ROTATES),
            tio.CropOrPad(PATCH),
            tio.RandomNoise(std=(0, 0.1), p=0.1),
            tio.RandomBlur(std=(0.5, 1), p=0.1),
            tio.RandomAnisotropy(downsampling=(1, 2), p=0.125),
            tio.RandomGamma(log_gamma=(math.log(0.7), math.log(1.5)), p=0.37),
            tio.RandomFlip(axes=(0, 1, 2)),
        ]
    )
    subjects = []
    for case in cases:
        image, label = (torch.from_numpy(case[key]) for key in ("image", "label"))
        subjects.append(tio.Subject(image=tio.ScalarImage(tensor=image), label=tio.LabelMap(tensor=label)))

    class Samples(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 200 * len(subjects)

        def __getitem__(self, number: int) -> dict[str, Any]:
            made = tree(subjects[number % len(subjects)])
            return {"image": made["image"].data.float(), "label": made["label"].data.to(torch.int16)}

    return endless(DataLoader(Samples(), batch_size=BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True))


def dali(cases: list[dict[str, np.ndarray]]) -> Iterator[Any]:
    import nvidia.dali.fn as fn
    import torch
    from nvidia.dali import math as on_voxels
    from nvidia.dali import pipeline_def, types

    images = [np.ascontiguousarray(case["image"][0, ..., None]) for case in cases]
    labels = [np.ascontiguousarray(case["label"][0, ..., None]) for case in cases]
    random = np.random.default_rng(0)

    def choose(_: Any) -> tuple[np.ndarray, ...]:
        number = int(random.integers(len(images)))
        room = [n - size for n, size in zip(images[number].shape[:3], PATCH, strict=True)]
        corner = np.array([random.integers(n + 1) for n in room], np.int32)
        return images[number], labels[number], corner, (corner + np.array(PATCH) / 2)[::-1].astype(np.float32)

    def fires(probability: float) -> Any:
        return fn.random.coin_flip(probability=probability, dtype=types.BOOL)

    def between(low: float, high: float) -> Any:
        return fn.random.uniform(range=(low, high))

    def curve(image: Any) -> Any:
        low, high = fn.reductions.min(image), fn.reductions.max(image)
        mean = fn.reductions.mean(image)
        deviation = fn.reductions.std_dev(image, mean)
        raised = on_voxels.pow((image - low) / (high - low + 1e-7), between(0.7, 1.5)) * (high - low) + low
        new_mean = fn.reductions.mean(raised)
        return (raised - new_mean) / (fn.reductions.std_dev(raised, new_mean) + 1e-7) * deviation + mean

    @pipeline_def(batch_size=BATCH, num_threads=WORKERS, device_id=None, enable_conditionals=True, seed=0)  # type: ignore[untyped-decorator]
    def recipe() -> tuple[Any, Any]:
        whole, whole_label, corner, middle = fn.external_source(
            choose, num_outputs=4, batch=False, no_copy=True, layout=["DHWC", "DHWC", "", ""]
        )
        if fires(ROTATES):
            turn = fn.transforms.translation(offset=[-size / 2 for size in PATCH])
            scale = between(0.7, 1.4)
            turn = fn.transforms.scale(turn, scale=fn.stack(scale, scale, scale))
            for axis in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
                turn = fn.transforms.rotation(turn, angle=between(-30, 30), axis=axis)
            turn = fn.transforms.translation(turn, offset=middle)
            settings = {"matrix": turn, "size": PATCH, "fill_value": 0, "inverse_map": True}
            image = fn.warp_affine(whole, interp_type=types.INTERP_LINEAR, **settings)
            label = fn.warp_affine(whole_label, interp_type=types.INTERP_NN, **settings)
        else:
            image = fn.slice(whole, start=corner, shape=PATCH, axes=(0, 1, 2))
            label = fn.slice(whole_label, start=corner, shape=PATCH, axes=(0, 1, 2))
        if fires(0.1):
            image = fn.noise.gaussian(image, stddev=between(0, 0.316))
        if fires(0.1):
            image = fn.gaussian_blur(image, sigma=between(0.5, 1))
        if fires(0.15):
            image = image * between(0.75, 1.25)
        if fires(0.15):
            mean, low, high = fn.reductions.mean(image), fn.reductions.min(image), fn.reductions.max(image)
            image = on_voxels.clamp((image - mean) * between(0.75, 1.25) + mean, low, high)
        if fires(0.125):
            small = on_voxels.floor(between(0.5, 1) * PATCH[0])
            image = fn.resize(image, size=fn.stack(small, small, small), interp_type=types.INTERP_NN)
            image = fn.resize(image, size=PATCH, interp_type=types.INTERP_LINEAR, antialias=False)
        if fires(0.1):
            image = -curve(-image)
        if fires(0.3):
            image = curve(image)
        across, up, deep = (fn.random.coin_flip(probability=0.5) for _ in range(3))
        flips = {"horizontal": across, "vertical": up, "depthwise": deep}
        return fn.flip(image, **flips), fn.flip(label, **flips)

    pipeline = recipe()
    pipeline.build()
    while True:
        image, label = (torch.from_numpy(np.array(out.as_array())) for out in pipeline.run())
        yield {"image": image.reshape(BATCH, 1, *PATCH), "label": label.reshape(BATCH, 1, *PATCH)}


PEERS = {
    "MONAI, processes": Peer("monai", lambda cases: monai(cases, threads=False), LACKS),
    "MONAI, threads": Peer("monai", lambda cases: monai(cases, threads=True), LACKS),
    "DALI, on the CPU": Peer("nvidia-dali-cuda130", dali, LACKS),
    "TorchIO": Peer("torchio", torchio, f"{LACKS}; patches at random places, brightness, contrast"),
}


def version_of(package: str) -> str | None:
    """None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check(batch: dict[str, Any], labels: set[int]) -> None:
    image, label = batch["image"], batch["label"]
    if tuple(image.shape) != (BATCH, 1, *PATCH) or label.shape != image.shape:
        raise RuntimeError(f"expected batches of {(BATCH, 1, *PATCH)}, got {tuple(image.shape)} and {tuple(label.shape)}")
    if not bool(image.isfinite().all()):
        raise RuntimeError("expected finite voxels")
    if not {int(value) for value in label.unique()} <= labels | {0}:
        raise RuntimeError(f"expected labels of {sorted(labels)}, got {label.unique().tolist()}")


def measure_here(peer: str, folder: Path, seconds: float) -> dict[str, float]:
    import torch

    torch.set_num_threads(1)
    cases = volumes(folder)
    batches = PEERS[peer].make(cases)
    check(next(batches), {int(value) for case in cases for value in np.unique(case["label"])})
    for _ in range(2 * WORKERS + 2):
        next(batches)
    cpu, started, count = tree_cpu_seconds(os.getpid()), time.perf_counter(), 0
    while time.perf_counter() - started < seconds or count < 4:
        next(batches)
        count += 1
    elapsed, cpu = time.perf_counter() - started, tree_cpu_seconds(os.getpid()) - cpu
    return {"samples_per_second": BATCH * count / elapsed, "cpu_seconds_per_sample": cpu / (BATCH * count)}


def measure_peer(peer: str, folder: Path, seconds: float) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.peers", "--peer", peer, "--folder", str(folder)]
    done = subprocess.run([*command, "--seconds", str(seconds)], capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        raise RuntimeError(f"[{peer}] expected figures, got exit code {done.returncode}:\n{done.stdout}{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure_loader(loader: str, dataset: str, seconds: float) -> dict[str, float]:
    found = measure(loader, dataset, "3d_fullres", workers=WORKERS, seconds=seconds, watch_memory=False)
    return {"samples_per_second": found.samples_per_second, "cpu_seconds_per_sample": found.cpu_seconds_per_sample}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--data", type=Path, default=Path("build/benchmark-data"), help="folder that keeps the data")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=3, help="of each measurement (default: %(default)s)")
    parser.add_argument("--peer", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        print(json.dumps(measure_here(args.peer, args.folder, args.seconds)), flush=True)
        sys.stdout.flush()
        os._exit(0)  # some workers outlive their loader
    console, log = Console(), Console(stderr=True)
    root = args.data.resolve()
    dataset = prepare(root, log)
    folder = root / "nnUNet_preprocessed" / dataset / "nnUNetPlans_3d_fullres"
    log.print("comparing samples with nnU-Net's", highlight=False)
    check_agreement(dataset, "3d_fullres")
    runs: dict[str, list[dict[str, float]]] = {"fastnnunet-loader": [], "nnU-Net": []}
    runs |= {name: [] for name, peer in PEERS.items() if version_of(peer.package)}
    for package in sorted({peer.package for name, peer in PEERS.items() if name not in runs}):
        console.print(f"left out: {package} is not installed (pip install {package})", style="yellow")
    for repetition in range(1, args.repetitions + 1):
        for name, measured in runs.items():
            log.print(f"{name}, run {repetition} of {args.repetitions}", highlight=False)
            if name in PEERS:
                measured.append(measure_peer(name, folder, args.seconds))
            else:
                loader = "nnunet" if name == "nnU-Net" else "fastnnunet"
                measured.append(measure_loader(loader, dataset, args.seconds))

    def median(name: str, figure: str) -> float:
        return statistics.median(run[figure] for run in runs[name])

    ours = median("fastnnunet-loader", "cpu_seconds_per_sample")
    table = Table(title=f"patches of {' x '.join(map(str, PATCH))}, {WORKERS} workers")
    for heading in ("loader", "CPU s a sample", "times this loader's", "samples/s", "lacks of nnU-Net's recipe"):
        table.add_column(heading, justify="left" if heading.startswith(("loader", "lacks")) else "right")
    for name, measured in runs.items():
        values = [run["cpu_seconds_per_sample"] for run in measured]
        cpu = statistics.median(values)
        table.add_row(
            name,
            f"{cpu:.4f} ± {(max(values) - min(values)) / 2:.4f}",
            f"{cpu / ours:.1f}",
            f"{median(name, 'samples_per_second'):.1f}",
            PEERS[name].lacks if name in PEERS else "",
        )
    floor_seconds = floor(open_source(dataset, "3d_fullres", 0).train)
    table.caption = f"floor, c-blosc2 decompresses image and segmentation of 128^3: {floor_seconds:.4f} s"
    console.print(table)
    facts = machine()
    facts["versions"] |= {peer.package: version_of(peer.package) for name, peer in PEERS.items() if name in runs}
    console.print(described(facts), style="dim")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        lacks = {name: peer.lacks for name, peer in PEERS.items() if name in runs}
        written = {"machine": facts, "floor": floor_seconds, "runs": runs, "lacks": lacks}
        args.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
