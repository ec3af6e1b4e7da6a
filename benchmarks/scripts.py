"""The same training in a script, with MONAI's network and transforms, fed by MONAI, by TorchIO and by this loader.

    python -m benchmarks.scripts [--json FILE] [--short] [--device cuda]

Needs `pip install monai torchio`. Each side runs in a process of its own, alternating, with medians: it reads the same NIfTI
files of brains into memory, normalises them, and feeds a SegResNet with batches of two patches. MONAI: CacheDataset with worker
processes, and with ThreadDataLoader's threads; TorchIO: its Queue with worker processes; this loader: `from_arrays` with
`from_monai` of MONAI's transforms. The recipe is MONAI's; what the others do otherwise stands beside their figures.

Before anything is timed, batches of each side are checked: shape, type, finite voxels, labels, share of foreground, and mean
and deviation of its voxels within a range of MONAI's. CPU time and memory are those of all processes of a side. Each side is
run twice: with the training, and with nobody who uses its batches, which says what the batches alone cost. "First batch" is the
time from the first file to the first batch. `--short` is for trying it: brains of 4 mm, small patches, few iterations.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import fastnnunet_loader as fl
from fastnnunet_loader import demo
from fastnnunet_loader.bench.measure import PeakMemory, tree_cpu_seconds

from .machine import CASES, described, machine

BATCH, CLASSES, BOTH = 2, 3, ["image", "label"]
CHECKED = 20  # batches of each side that are compared
OURS = "fastnnunet-loader"

Batches = Iterator[dict[str, Any]]


@dataclass(frozen=True)
class Form:
    """How large a measurement is."""

    resolution: int  # in mm
    patch: tuple[int, int, int]
    filters: int  # of the network's first stage
    warm: int  # iterations before figures are taken
    iterations: int  # of the training
    batches: int  # without one


LONG = Form(1, (96, 96, 96), 16, 3, 20, 200)
SHORT = Form(4, (32, 32, 32), 8, 2, 8, 8)


def files_of(root: Path) -> list[dict[str, str]]:
    """The images and labels of the data set."""
    images = sorted(root.glob("*/imagesTr/*_0000.nii.gz"))
    labels = [file.parents[1] / "labelsTr" / file.name.replace("_0000", "") for file in images]
    return [{"image": str(image), "label": str(label)} for image, label in zip(images, labels, strict=True)]


def endless(loader: Any) -> Batches:
    while True:
        yield from loader


def reading() -> list[Any]:
    import monai.transforms as mt

    return [
        mt.LoadImaged(BOTH),
        mt.EnsureChannelFirstd(BOTH),
        mt.NormalizeIntensityd("image"),
        mt.EnsureTyped(BOTH, track_meta=False),
    ]


def random_transforms(patch: tuple[int, ...]) -> list[Any]:
    import monai.transforms as mt

    modes = ("bilinear", "nearest")
    return [
        mt.RandCropByPosNegLabeld(BOTH, label_key="label", spatial_size=patch, pos=1, neg=1),
        *(mt.RandFlipd(BOTH, prob=0.5, spatial_axis=axis) for axis in range(3)),
        mt.RandAffined(BOTH, prob=0.3, rotate_range=(0.3,) * 3, scale_range=(0.2,) * 3, mode=modes, padding_mode="border"),
        mt.RandGaussianNoised("image", prob=0.2, std=0.1),
        mt.RandGaussianSmoothd("image", (0.5, 1), (0.5, 1), (0.5, 1), prob=0.2),
        mt.RandScaleIntensityd("image", factors=0.25, prob=0.3),
        mt.RandShiftIntensityd("image", offsets=0.1, prob=0.3),
        mt.RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.5)),
    ]


def monai(files: list[dict[str, str]], form: Form, workers: int, threads: bool) -> Batches:
    import monai.data
    import monai.transforms as mt

    tree = mt.Compose([*reading(), *random_transforms(form.patch)])
    cached = monai.data.CacheDataset(files, tree, progress=False, num_workers=workers)
    data = torch_repeated(cached, 200)
    settings: dict[str, Any] = {"batch_size": BATCH, "shuffle": True, "num_workers": workers}
    if threads:
        return endless(monai.data.ThreadDataLoader(data, use_thread_workers=True, **settings))
    return endless(monai.data.DataLoader(data, persistent_workers=True, **settings))


def torch_repeated(data: Any, times: int) -> Any:
    """The same data set several times over, so that epochs are long."""
    import torch

    return torch.utils.data.ConcatDataset([data] * times)


def torchio(files: list[dict[str, str]], form: Form, workers: int) -> Batches:
    import torchio as tio

    tree = tio.Compose(
        [
            tio.RandomFlip(axes=(0, 1, 2)),
            tio.RandomAffine(scales=0.2, degrees=17, default_pad_value=0, p=0.3),
            tio.RandomNoise(std=(0, 0.1), p=0.2),
            tio.RandomBlur(std=(0.5, 1), p=0.2),
            tio.RandomGamma(log_gamma=(-0.36, 0.41), p=0.3),
        ]
    )
    ready = tio.Compose([tio.ToCanonical(), tio.ZNormalization()])
    subjects = []
    for file in files:  # in memory, ready, as CacheDataset has them
        subject = ready(tio.Subject(image=tio.ScalarImage(file["image"]), label=tio.LabelMap(file["label"])))
        subject.load()
        subjects.append(subject)
    sampler = tio.LabelSampler(form.patch, "label", {0: 2, 1: 1, 2: 1})
    queue = tio.Queue(tio.SubjectsDataset(subjects, transform=tree), 16, 4, sampler, num_workers=workers)
    loader = tio.SubjectsLoader(queue, batch_size=BATCH, num_workers=0)
    for batch in endless(loader):
        yield {"image": batch["image"]["data"].float(), "label": batch["label"]["data"]}


def ours(files: list[dict[str, str]], form: Form, workers: int) -> Batches:
    import monai.transforms as mt

    read = mt.Compose(reading())
    cases = [read(file) for file in files]
    images, labels = ([np.ascontiguousarray(case[key]) for case in cases] for key in BOTH)
    transforms = fl.augmentation.from_monai(random_transforms(form.patch), report=None)
    settings: dict[str, Any] = {"patch_size": form.patch, "batch_size": BATCH, "transforms": transforms, "threads": workers}
    return fl.DataLoader.from_arrays(
        images, [label.astype(np.int16) for label in labels], oversample_foreground=0.5, **settings
    )


SIDES: dict[str, tuple[str, Callable[[list[dict[str, str]], Form, int], Batches], str]] = {
    OURS: ("fastnnunet-loader", ours, ""),
    "MONAI, processes": ("monai", lambda files, form, workers: monai(files, form, workers, threads=False), ""),
    "MONAI, threads": ("monai", lambda files, form, workers: monai(files, form, workers, threads=True), ""),
    "TorchIO": ("torchio", torchio, "no scale and shift of intensities; gamma of the values; four patches of each volume"),
}
"""The package, what makes its batches, and how its recipe differs."""


def differences(form: Form) -> str:
    """How this loader's recipe differs from MONAI's."""
    return "; ".join(fl.augmentation.from_monai(random_transforms(form.patch), report=None).differences)


def checked(batch: dict[str, Any], form: Form) -> dict[str, float]:
    """Facts of a batch. Raises RuntimeError if it is none."""
    image, label = batch["image"], batch["label"]
    wanted = (BATCH, 1, *form.patch)
    if tuple(image.shape) != wanted or tuple(label.shape) != wanted:
        raise RuntimeError(f"expected batches of {wanted}, got {tuple(image.shape)} and {tuple(label.shape)}")
    if str(image.dtype) != "torch.float32" or not bool(image.isfinite().all()):
        raise RuntimeError(f"expected finite float32, got {image.dtype}")
    if not {float(value) for value in label.unique()} <= set(range(CLASSES)):
        raise RuntimeError(f"expected labels below {CLASSES}, got {label.unique().tolist()}")
    inside = image[label > 0]  # what lies around it depends on where a sampler may put its patches
    return {"mean": float(inside.mean()), "deviation": float(inside.std()), "foreground": float((label > 0).float().mean())}


def facts_here(side: str, files: list[dict[str, str]], form: Form, workers: int) -> dict[str, float]:
    batches = SIDES[side][1](files, form, workers)
    facts = [checked(next(iter(batches)), form) for _ in range(CHECKED)]
    return {name: statistics.fmean(one[name] for one in facts) for name in facts[0]}


def agree(facts: dict[str, dict[str, float]]) -> None:
    """Raise RuntimeError if a side's batches are not like MONAI's."""
    reference = facts["MONAI, processes"]
    for side, found in facts.items():
        # MONAI moves patches that reach over the border, TorchIO and nnU-Net draw from those that do not: they see more brain.
        for name, tolerance in (("mean", 0.15), ("deviation", 0.15), ("foreground", 0.3)):
            if abs(found[name] - reference[name]) > tolerance:
                raise RuntimeError(f"[{side}] expected a {name} near MONAI's, {reference[name]:.3f}, got {found[name]:.3f}")


def train_here(side: str, files: list[dict[str, str]], form: Form, workers: int, device: str) -> dict[str, float]:
    import torch
    from monai.losses import DiceCELoss
    from monai.networks.nets import SegResNet

    torch.set_num_threads(1)
    network = SegResNet(in_channels=1, out_channels=CLASSES, init_filters=form.filters).to(device)
    loss_of, optimizer = DiceCELoss(to_onehot_y=True, softmax=True), torch.optim.AdamW(network.parameters(), lr=1e-3)
    started = time.perf_counter()
    batches = iter(SIDES[side][1](files, form, workers))
    batch = next(batches)
    first = time.perf_counter() - started

    def step(batch: dict[str, Any]) -> None:
        with torch.autocast(device, enabled=device == "cuda"):
            loss = loss_of(network(batch["image"].to(device, non_blocking=True)), batch["label"].to(device, non_blocking=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for _ in range(form.warm):
        step(batch)
        batch = next(batches)
    cpu, started = tree_cpu_seconds(os.getpid()), time.perf_counter()
    for _ in range(form.iterations):
        step(batch)
        batch = next(batches)
    if device == "cuda":
        torch.cuda.synchronize()
    seconds, cpu = time.perf_counter() - started, tree_cpu_seconds(os.getpid()) - cpu
    one = time.process_time()
    for _ in range(form.warm):  # what the training itself takes
        step(batch)
    own = (time.process_time() - one) / form.warm
    return {
        "iterations_per_second": form.iterations / seconds,
        "cpu_seconds_per_sample": cpu / form.iterations / BATCH,
        "training_cpu_seconds_per_sample": own / BATCH,
        "first_batch_seconds": first,
    }


def feed_here(side: str, files: list[dict[str, str]], form: Form, workers: int) -> dict[str, float]:
    """What the batches cost that nobody uses."""
    import torch

    torch.set_num_threads(1)
    batches = iter(SIDES[side][1](files, form, workers))
    for _ in range(5 * form.warm):  # what was prefetched while the first was waited for
        next(batches)
    cpu, started = tree_cpu_seconds(os.getpid()), time.perf_counter()
    for _ in range(form.batches):
        next(batches)
    seconds, cpu = time.perf_counter() - started, tree_cpu_seconds(os.getpid()) - cpu
    return {"batches_per_second": form.batches / seconds, "batch_cpu_seconds_per_sample": cpu / form.batches / BATCH}


def in_a_process(side: str, what: str, args: argparse.Namespace) -> dict[str, float]:
    """Run one side alone, and watch the memory of all its processes."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.scripts", "--side", side, "--what", what]
    command += ["--data", str(args.data), "--workers", str(args.workers), "--device", args.device]
    command += ["--short"] if args.short else []
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as process,
        PeakMemory(process.pid) as peak,
    ):
        printed, errors = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"[{side}] expected figures, got exit code {process.returncode}:\n{printed}{errors}")
    figures: dict[str, float] = json.loads(printed.splitlines()[-1])
    return {**figures, "peak_memory": float(peak.bytes)} if what == "train" else figures


def build(root: Path, form: Form, say: Console) -> Path:
    """The NIfTI files, made once."""
    folder = root / f"scripts-{form.resolution}mm"
    if not (folder / "done").exists():
        say.print(f"making {CASES} brains of {form.resolution} mm in {folder} (once)", highlight=False)
        with redirect_stdout(StringIO()):
            demo.build_dataset(folder, 1, "brains", cases=CASES, resolution=form.resolution)
        (folder / "done").touch()
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scripts", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--data", type=Path, default=Path("build/benchmark-data"), help="folder that keeps the data")
    parser.add_argument("--short", action="store_true", help="small and quick, to try it: figures mean nothing")
    parser.add_argument("--device", default="cpu", help="of the network (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes, or threads (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=3, help="of each measurement (default: %(default)s)")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--what", choices=("facts", "train", "feed"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    form = SHORT if args.short else LONG
    console, log = Console(), Console(stderr=True)
    files = files_of(build(args.data.resolve(), form, log))
    if args.side:
        here = (args.side, files, form, args.workers)
        what = {"facts": facts_here, "feed": feed_here, "train": functools.partial(train_here, device=args.device)}
        print(json.dumps(what[args.what](*here)), flush=True)
        os._exit(0)  # some workers outlive their loader
    log.print("comparing batches", highlight=False)
    facts = {side: in_a_process(side, "facts", args) for side in SIDES}
    agree(facts)
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for repetition in range(1, args.repetitions + 1):
        for side, measured in runs.items():
            log.print(f"{side}, run {repetition} of {args.repetitions}", highlight=False)
            measured.append(in_a_process(side, "feed", args) | in_a_process(side, "train", args))
    differ = {side: difference for side, (_, _, difference) in SIDES.items()} | {OURS: differences(form)}
    console.print(table_of(runs, form, args))
    for side, difference in differ.items():
        if difference:
            console.print(f"{side} differs from MONAI: {difference}", style="dim", highlight=False)
    described_machine = machine()
    described_machine["versions"] |= {package: importlib.metadata.version(package) for package in ("monai", "torchio")}
    console.print(described(described_machine), style="dim")
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        settings = {"patch": form.patch, "batch": BATCH, "workers": args.workers, "device": args.device, "short": args.short}
        written = {"machine": described_machine, "settings": settings, "facts": facts, "runs": runs, "differences": differ}
        args.json.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    return 0


def table_of(runs: dict[str, list[dict[str, float]]], form: Form, args: argparse.Namespace) -> Table:
    table = Table(title=f"SegResNet, patches of {' x '.join(map(str, form.patch))}, {args.workers} workers, {args.device}")
    headings = (
        "loader",
        "CPU s a sample, batches alone",
        "batches/s alone",
        "iterations/s of the training",
        "CPU s a sample, with the training",
        "peak memory, GiB",
        "first batch, s",
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "loader" else "right")
    for side, measured in runs.items():
        middle = {name: statistics.median(run[name] for run in measured) for name in measured[0]}
        cells = [
            f"{middle['batch_cpu_seconds_per_sample']:.4f}",
            f"{middle['batches_per_second']:.1f}",
            f"{middle['iterations_per_second']:.2f}",
            f"{middle['cpu_seconds_per_sample']:.3f}",
            f"{middle['peak_memory'] / 2**30:.2f}",
            f"{middle['first_batch_seconds']:.1f}",
        ]
        table.add_row(side, *cells)
    table.caption = said_of(runs)
    return table


def said_of(runs: dict[str, list[dict[str, float]]]) -> str:
    """How many times fewer CPU seconds this loader's batches cost than the best of the others'."""
    cost = {side: statistics.median(run["batch_cpu_seconds_per_sample"] for run in measured) for side, measured in runs.items()}
    best = min((side for side in cost if side != OURS), key=lambda side: cost[side])
    return f"the batches of {OURS} take {cost[best] / cost[OURS]:.1f} times fewer CPU seconds than those of {best}"


if __name__ == "__main__":
    sys.exit(main())
