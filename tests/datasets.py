"""nnU-Net data sets for the tests: real images, planned and preprocessed by nnU-Net, kept in a folder between runs.

`python tests/datasets.py VARIANT FOLDER` prepares one.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastnnunet_loader import demo

CONFIGURATIONS = {"default": ("2d", "3d_fullres"), "cascade": ("3d_lowres", "3d_fullres", "3d_cascade_fullres")}
# A patch of a tenth of the image is what makes nnU-Net plan a cascade.
GPU_MEMORY_GB = {"cascade": 0.005, "anisotropic": 0.012}
# Every kind of data set that nnU-Net makes other transforms for: (variant, configuration).
KINDS_OF_DATA = [
    ("default", "3d_fullres"),
    ("default", "2d"),
    ("anisotropic", "3d_fullres"),
    ("regions", "3d_fullres"),
    ("ignore", "3d_fullres"),
    ("two_channels", "3d_fullres"),
    ("cascade", "3d_cascade_fullres"),
]
CASES = 6
RESOLUTION = 4


def _annotate_some(labels: Any, _: demo.Anatomy, rng: Any) -> Any:
    """Keep the labels of every fourth slice; the rest carries the ignore label."""
    kept = int(rng.integers(4))
    ignored = [z for z in range(labels.shape[2]) if z % 4 != kept]
    labels[:, :, ignored] = 3
    return labels


VARIANTS: dict[str, demo.Variant] = {
    "default": demo.Variant(),
    "anisotropic": demo.Variant(slices=4),
    "regions": demo.Variant(labels={"background": 0, "brain": [1, 2], "white": [2]}, regions_class_order=(1, 2)),
    "ignore": demo.Variant(labels={"background": 0, "grey": 1, "white": 2, "ignore": 3}, relabel=_annotate_some),
    "two_channels": demo.Variant(channels=("T1", "rescale_to_0_1"), air=0.0, margin_mm=(16.0, 32.0)),
    "cascade": demo.Variant(),
}


@dataclass(frozen=True)
class Dataset:
    """A data set that nnU-Net has planned and preprocessed. The raw and preprocessed folders are shared by all tests."""

    variant: str
    id: int
    name: str
    """As nnU-Net has it: DatasetXXX_NAME."""
    raw: Path
    preprocessed: Path
    """The folder that nnUNet_preprocessed names; this data set's own is preprocessed / name."""
    results: Path
    env: dict[str, str]
    """What nnU-Net needs in its environment to find the folders above and nnUNetTrainerDemo."""
    plans: dict[str, Any]
    configuration: str = "3d_fullres"

    def folder(self, configuration: str | None = None) -> Path:
        """The folder with the preprocessed cases of a configuration."""
        wanted = self.plans["configurations"][configuration or self.configuration]
        if "inherits_from" in wanted:
            return self.folder(wanted["inherits_from"])
        return self.preprocessed / self.name / str(wanted["data_identifier"])

    def cases(self) -> list[str]:
        """The names of all cases, sorted."""
        return sorted(file.stem for file in self.folder().glob("*.pkl"))

    def copy(self, root: Path) -> Dataset:
        """The same data set in a folder of its own, to be damaged at will."""
        shutil.copytree(self.preprocessed, root / "nnUNet_preprocessed")
        return _open(self.variant, self.raw, root / "nnUNet_preprocessed", root / "nnUNet_results")

    def add_previous_stage(self, trainer: str = "nnUNetTrainerDemo") -> Path:
        """Write what the low-resolution stage of a cascade predicts: the labels, with a part of them lost.

        In nnU-Net the final validation of 3d_lowres writes these, for every case that some fold validates.
        """
        import blosc2
        import numpy as np

        model = self.results / self.name / f"{trainer}__nnUNetPlans__3d_lowres"
        folder = model / "predicted_next_stage" / "3d_cascade_fullres"
        folder.mkdir(parents=True)
        for case in self.cases():
            labels = blosc2.open(urlpath=str(self.folder() / f"{case}_seg.b2nd"), mode="r")[0]
            predicted = np.where(labels > 0, labels, 0).astype(np.uint8)
            predicted[: predicted.shape[0] // 3] = 0
            blosc2.asarray(np.ascontiguousarray(predicted), urlpath=str(folder / f"{case}.b2nd"))
        return folder


def _open(variant: str, raw: Path, preprocessed: Path, results: Path) -> Dataset:
    (name,) = (folder.name for folder in preprocessed.iterdir() if folder.name.startswith("Dataset"))
    env = demo.nnunet_environment(preprocessed.parent)
    env.update(nnUNet_raw=str(raw), nnUNet_preprocessed=str(preprocessed), nnUNet_results=str(results))
    # nnU-Net's own helpers start no more processes than this where a test compares with them.
    env["nnUNet_def_n_proc"] = "2"
    results.mkdir(parents=True, exist_ok=True)
    plans = json.loads((preprocessed / name / "nnUNetPlans.json").read_text(encoding="utf-8"))
    configuration = "3d_cascade_fullres" if variant == "cascade" else "3d_fullres"
    return Dataset(variant, int(name[7:10]), name, raw, preprocessed, results, env, plans, configuration)


def _recipe() -> str:
    """A hash of everything that a prepared data set depends on."""
    package = Path(demo.__file__).parent
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for file in sorted(package.glob("*.py")):
        digest.update(file.read_bytes())
    digest.update(importlib.metadata.version("nnunetv2").encode())
    digest.update(importlib.metadata.version("nilearn").encode())
    return digest.hexdigest()[:12]


def prepared(variant: str, cache: Path, results: Path) -> Dataset:
    """Return a data set, prepared now if the cache does not have it. Safe to call from several processes at once."""
    root = cache / f"{variant}-{_recipe()}"
    if not root.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=f"{variant}-") as scratch:
            # A process of its own: nnU-Net's planning prints and warns.
            done = subprocess.run(
                [sys.executable, __file__, variant, scratch],
                # nnU-Net 2.6 reads these when it is imported.
                env={**os.environ, **demo.nnunet_environment(Path(scratch, "prepared"))},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                check=False,
            )
            if done.returncode != 0:
                raise RuntimeError(f"[{variant}] expected nnU-Net to plan and preprocess, got:\n{done.stdout}")
            try:
                Path(scratch, "prepared").rename(root)
            except OSError:
                if not root.is_dir():  # else another process was faster
                    raise
    return _open(variant, root / "nnUNet_raw", root / "nnUNet_preprocessed", results)


def _prepare(variant: str, root: Path) -> None:
    environment = demo.nnunet_environment(root)
    os.environ.update(environment)
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        Path(environment[name]).mkdir(parents=True)
    number = list(VARIANTS).index(variant) + 1
    name = demo.build_dataset(root / "nnUNet_raw", number, variant, VARIANTS[variant], CASES, RESOLUTION).name
    demo.plan_and_preprocess(
        number,
        CONFIGURATIONS.get(variant, ("3d_fullres",)),
        gpu_memory_target_in_gb=GPU_MEMORY_GB.get(variant),
    )

    from nnunetv2.utilities.crossval_split import generate_crossval_split

    # What the first training writes; here beforehand, so that tests leave the shared folder as it is.
    folder = root / "nnUNet_preprocessed" / name
    cases = sorted(file.name[: -len(".nii.gz")] for file in (root / "nnUNet_raw" / name / "labelsTr").iterdir())
    (folder / "splits_final.json").write_text(
        json.dumps(generate_crossval_split(cases, seed=12345, n_splits=5)), encoding="utf-8"
    )


if __name__ == "__main__":
    _prepare(sys.argv[1], Path(sys.argv[2], "prepared"))
