"""What figures depend on, and the real data sets that benchmarks share."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console

from fastnnunet_loader import demo

from .brains import VARIANTS, BrainsPlanner, ParcelsPlanner

CASES = 6
PACKAGES = ("fastnnunet-loader", "nnunetv2", "batchgenerators", "batchgeneratorsv2", "torch", "numpy", "blosc2")


@dataclass(frozen=True)
class Brains:
    """Six brains of 1 mm, planned and preprocessed by nnU-Net."""

    id: int
    variant: str
    configurations: tuple[str, ...] = ("3d_fullres",)
    planner: type[BrainsPlanner] = BrainsPlanner

    @property
    def name(self) -> str:
        return f"Dataset{self.id}_{self.variant}"


DEFAULT = Brains(128, "brains128", ("2d", "3d_fullres"))
FOUR_CHANNELS = Brains(129, "four_channels")
PARCELS = Brains(130, "parcels", planner=ParcelsPlanner)


def prepare(root: Path, say: Console, brains: Brains = DEFAULT) -> str:
    """Build, plan and preprocess a data set below root, unless it is there; return its name."""
    environment = demo.nnunet_environment(root)
    os.environ.update(environment)
    done = root / f"prepared-{brains.id}"
    if not done.exists():
        say.print(f"preparing {brains.name}: {CASES} brains in {root} (once, some minutes)", highlight=False)
        for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            Path(environment[variable]).mkdir(parents=True, exist_ok=True)
        with redirect_stdout(StringIO()):
            demo.build_dataset(root / "nnUNet_raw", brains.id, brains.variant, VARIANTS[brains.variant], CASES, 1)
            demo.plan_and_preprocess(brains.id, brains.configurations, planner=brains.planner)
        done.touch()
    return brains.name


def add_cascade(root: Path, dataset: str, trainers: Sequence[str]) -> str:
    """Plan a cascade on top of 3d_fullres, whose previous stage predicted most of the labels; return its configuration."""
    import blosc2
    import numpy as np

    folder = root / "nnUNet_preprocessed" / dataset
    file = folder / "nnUNetPlans.json"
    plans = json.loads(file.read_text(encoding="utf-8"))
    configurations = plans["configurations"]
    configurations["3d_lowres"] = {"inherits_from": "3d_fullres", "next_stage": "3d_cascade_fullres"}
    configurations["3d_cascade_fullres"] = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    file.write_text(json.dumps(plans, indent=4), encoding="utf-8")
    for trainer in trainers:
        model = root / "nnUNet_results" / dataset / f"{trainer}__nnUNetPlans__3d_lowres"
        predicted = model / "predicted_next_stage" / "3d_cascade_fullres"
        predicted.mkdir(parents=True, exist_ok=True)
        for labels_file in folder.glob("nnUNetPlans_3d_fullres/*_seg.b2nd"):
            target = predicted / labels_file.name.replace("_seg", "")
            if not target.exists():
                labels = blosc2.open(urlpath=str(labels_file), mode="r")[0]
                labels = np.where(labels > 0, labels, 0).astype(np.uint8)
                labels[: labels.shape[0] // 3] = 0
                blosc2.asarray(np.ascontiguousarray(labels), urlpath=str(target))
    return "3d_cascade_fullres"


def machine() -> dict[str, Any]:
    """Return what figures depend on."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, encoding="utf-8", check=False
    ).stdout.strip()
    return {
        "processor": models[0] if models else platform.processor(),
        "vectors": "AVX-512" if "avx512vl" in flags else "AVX2" if "avx2" in flags else "as by default",
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commit": commit or "unknown",
    }


def described(facts: dict[str, Any]) -> str:
    """The same in a sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    return f"{facts['processor']} ({facts['vectors']}), {facts['cores']} cores; Python {facts['python']}, {versions}"
