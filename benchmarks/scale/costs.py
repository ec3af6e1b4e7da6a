"""What a sample and a case cost on one core, how two cores scale, and what is read of a file for a sample."""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastnnunet_loader.bench.measure import measure
from fastnnunet_loader.nnunet.sources import open_source

FINER = 1.25
"""How many times smaller the voxels are that cases are preprocessed to, so that every one of them is resized."""

SAMPLES_READ = 200
CASES_OPENED = 5000


def measure_samples(dataset: str, seconds: float, repetitions: int, say: Callable[[str], None]) -> dict[str, Any]:
    """CPU seconds and samples per second of the default training, with one thread and with two; medians."""
    runs: dict[int, list[Any]] = {1: [], 2: []}
    for _ in range(repetitions):
        for threads, found in runs.items():
            say(f"samples: {threads} thread{'s' * (threads > 1)}")
            found.append(measure("fastnnunet", dataset, "3d_fullres", workers=threads, seconds=seconds, watch_memory=False))
    one, two = (statistics.median(run.samples_per_second for run in found) for found in runs.values())
    say("samples: bytes")
    memory = measure("fastnnunet", dataset, "3d_fullres", workers=2, seconds=seconds / 2).peak_memory
    return {
        "patch": list(runs[1][0].patch_size),
        "cpu_seconds": statistics.median(run.cpu_seconds_per_sample for run in runs[1]),
        "per_second": {"one": one, "two": two},
        "scaling": two / one,
        "peak_memory": memory,
        "bytes": measure_bytes(dataset),
        "open_seconds_of_a_case": measure_opening(dataset),
    }


def measure_opening(dataset: str) -> float:
    """Seconds that a loader takes to open a folder on a disk, for each of very many cases, before its first batch."""
    import fastnnunet_loader as fl

    folder = Path(open_source(dataset, "3d_fullres", 0).trainer.preprocessed_dataset_folder)
    case = min(folder.glob("*.pkl")).stem
    with tempfile.TemporaryDirectory(dir=folder.parents[1]) as name:  # where files can be linked
        for number in range(CASES_OPENED):
            for ending in (".b2nd", "_seg.b2nd", ".pkl"):
                os.link(folder / f"{case}{ending}", Path(name) / f"case_{number:06d}{ending}")
        begin = time.perf_counter()
        settings: dict[str, Any] = {"patch_size": (32, 32, 32), "batch_size": 1, "threads": 1, "pin_memory": False}
        with fl.DataLoader.from_folder(name, seed=0, **settings):
            return (time.perf_counter() - begin) / CASES_OPENED


def measure_bytes(dataset: str) -> dict[str, float]:
    """Bytes that are read of the files for a sample, in three ways of reading them."""
    import fastnnunet_loader as fl

    source = open_source(dataset, "3d_fullres", 0)
    folder = Path(source.trainer.preprocessed_dataset_folder)
    cases = [file.stem for file in folder.glob("*.pkl")]
    images, labels, properties = (
        statistics.fmean((folder / f"{case}{ending}").stat().st_size for case in cases)
        for ending in (".b2nd", "_seg.b2nd", ".pkl")
    )
    batch = int(source.train.batch_size)
    settings: dict[str, Any] = {"threads": 1, "seed": 0, "pin_memory": False, "keep_blocks": False}
    with fl.DataLoader.from_nnunet(source.train, **settings) as loader:
        for _ in range(10):
            next(loader)
        # What threads make ahead is the same before and after, but for a few samples of many.
        before = _read()
        for _ in range(SAMPLES_READ // batch):
            next(loader)
        blocks = (_read() - before) / (SAMPLES_READ // batch * batch)
    return {"image_file": images, "labels_file": labels, "properties_file": properties, "blocks_of_a_sample": blocks}


def _read() -> int:
    """Bytes that this process has read by system calls."""
    for line in Path("/proc/self/io").read_text(encoding="utf-8").splitlines():
        if line.startswith("rchar:"):
            return int(line.split()[1])
    raise RuntimeError("[scale] expected rchar in /proc/self/io, got none")


def measure_preprocessing(dataset: str, repetitions: int, say: Callable[[str], None]) -> dict[str, Any]:
    """`fastnnunet preprocess` to finer voxels: seconds for each case with one core and one thread, and with two."""
    raw = Path(os.environ["nnUNet_raw"]) / dataset
    cases = len(list((raw / "labelsTr").iterdir()))
    found: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    for _ in range(repetitions):
        for threads, runs in found.items():
            say(f"cases: preprocessed with {threads} thread{'s' * (threads > 1)}")
            runs.append(_preprocess(dataset, threads))
    # What the command takes before it works: the imports.
    module = "nnunetv2.preprocessing.preprocessors.default_preprocessor"
    starts = [_timed(["-c", f"import fastnnunet_loader.cli.planning, {module}"], 1) for _ in range(repetitions)]
    start, start_cpu = (min(values) for values in zip(*starts, strict=True))
    one, two = (statistics.median(wall for wall, _ in runs) - start for runs in found.values())
    shape, voxels = _shape_of(raw)
    return {
        "cases": cases,
        "shape": shape,
        "voxels": round(voxels * FINER**3),
        "cpu_seconds": (statistics.median(cpu for _, cpu in found[1]) - start_cpu) / cases,
        "seconds": {"one": one / cases, "two": two / cases},
        "scaling": one / two,
        "start_seconds": start,
    }


def _shape_of(raw: Path) -> tuple[list[int], float]:
    import nibabel
    import numpy as np

    shapes = [nibabel.load(file).shape for file in sorted((raw / "imagesTr").iterdir())]
    return [round(float(n)) for n in np.mean(shapes, 0)], float(np.mean([np.prod(shape) for shape in shapes]))


def _preprocess(dataset: str, cores: int) -> tuple[float, float]:
    """Wall and CPU seconds of a command on so many cores."""
    given = Path(os.environ["nnUNet_preprocessed"]) / dataset
    with tempfile.TemporaryDirectory(prefix="fastnnunet-scale-") as name:
        made = Path(name) / dataset
        made.mkdir()
        shutil.copy(given / "dataset.json", made)
        plans = json.loads((given / "nnUNetPlans.json").read_text(encoding="utf-8"))
        wanted = plans["configurations"]["3d_fullres"]
        wanted["spacing"] = [spacing / FINER for spacing in wanted["spacing"]]
        (made / "nnUNetPlans.json").write_text(json.dumps(plans), encoding="utf-8")
        options = ["-d", str(int(dataset[7:10])), "-c", "3d_fullres", "-np", str(cores), "--threads", str(cores)]
        return _timed(["-m", "fastnnunet_loader.cli", "preprocess", *options], cores, {"nnUNet_preprocessed": name})


def _timed(words: list[str], cores: int, variables: dict[str, str] | None = None) -> tuple[float, float]:
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        ["taskset", "-c", ",".join(map(str, allowed)), sys.executable, "-W", "ignore", *words],
        env={**os.environ, **(variables or {})}, capture_output=True, encoding="utf-8", check=False,
    )  # fmt: skip
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(
            f"[scale] expected a command that ends well, got exit code {done.returncode}:\n{done.stderr[-3000:]}"
        )
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_export(repetitions: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Beside the network of a prediction: what benchmarks.prediction measures of an image of 301 x 370 x 316 with 5 classes."""
    from benchmarks import prediction

    found: dict[str, list[float]] = {"preprocess": [], "convert 5": []}
    with tempfile.TemporaryDirectory(prefix="fastnnunet-scale-") as name:
        for _ in range(repetitions):
            for work, runs in found.items():
                say(f"cases: {work}, one thread")
                runs.append(prediction.measure("fastnnunet", work, Path(name) / "result.npy").cpu_seconds)
    preprocess, export = (statistics.median(runs) for runs in found.values())
    return {
        "shape": list(prediction.IMAGE),
        "network_shape": list(prediction.PREDICTED),
        "classes": 5,
        "preprocess_cpu_seconds": preprocess,
        "export_cpu_seconds": export,
        **_files(repetitions, say),
    }


def _files(repetitions: int, say: Callable[[str], None]) -> dict[str, float]:
    """CPU seconds of reading such an image from .nii.gz and of writing its labels there, by nnU-Net's reader."""
    import numpy as np
    import SimpleITK
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    import fastnnunet_loader as fl
    from benchmarks import prediction

    say("cases: files")
    image = fl.resample(prediction.head(), prediction.IMAGE)[0]
    labels = np.digitize(image, np.quantile(image[image > 0.05], (0.2, 0.4, 0.6, 0.8))).astype(np.uint8)
    labels[image <= 0.05] = 0
    found: dict[str, list[float]] = {"read_cpu_seconds": [], "write_cpu_seconds": []}
    with tempfile.TemporaryDirectory(prefix="fastnnunet-scale-") as name:
        file, made = f"{name}/case_0000.nii.gz", f"{name}/case.nii.gz"
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray((1000 * image).astype(np.int16)), file)
        for _ in range(repetitions):
            begin = time.process_time()
            _, properties = SimpleITKIO().read_images([file])
            read = time.process_time()
            SimpleITKIO().write_seg(labels, made, properties)
            found["read_cpu_seconds"].append(read - begin)
            found["write_cpu_seconds"].append(time.process_time() - read)
        written = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(made))
    if not np.array_equal(written, labels):
        raise RuntimeError("[cases] expected the labels that were written, got others")
    return {what: statistics.median(runs) for what, runs in found.items()}
