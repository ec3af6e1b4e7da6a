"""The configurations of a plans file, and what the training loader of one needs."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import _core

__all__ = ["Configuration", "content", "fault", "has_configurations", "loader_memory", "resolved"]

REQUIRED = ("data_identifier", "batch_size", "patch_size", "spacing", "normalization_schemes")
# From this ratio of its sides on, nnU-Net augments a patch in the plane only.
ANISOTROPIC = 3


@dataclass(frozen=True)
class Configuration:
    """A configuration of the plans with what it inherits."""

    name: str
    folder: Path
    """With the preprocessed cases."""
    settings: dict[str, Any]

    @property
    def patch_size(self) -> tuple[int, ...]:
        """(X, Y, Z), or (Y, Z) in 2D."""
        return tuple(int(n) for n in self.settings["patch_size"])

    @property
    def channels(self) -> int:
        """Of an image."""
        return len(self.settings["normalization_schemes"])


def content(file: Path) -> Any:
    """Return what a JSON file holds."""
    return json.loads(file.read_text(encoding="utf-8"))


def resolved(configurations: dict[str, Any], name: str) -> dict[str, Any]:
    """The settings of a configuration over those that it inherits."""
    chain: list[str] = []
    while True:
        if name in chain:
            raise ValueError(f"expected an inheritance that ends, got {' -> '.join([*chain, name])}")
        if not isinstance(configurations.get(name), dict):
            raise ValueError(f"expected a configuration {name!r} to inherit from, got none")
        chain.append(name)
        if "inherits_from" not in configurations[name]:
            break
        name = configurations[name]["inherits_from"]
    merged: dict[str, Any] = {}
    for link in reversed(chain):
        merged.update(configurations[link])
    return merged


def fault(settings: dict[str, Any]) -> str:
    """What is wrong with the settings of a configuration, or ""."""
    missing = [key for key in REQUIRED if key not in settings]
    if missing:
        return f"expected {', '.join(missing)}, got none"
    patch, spacing, batch = settings["patch_size"], settings["spacing"], settings["batch_size"]
    if not isinstance(patch, list) or len(patch) not in (2, 3) or not all(isinstance(n, int) and n > 0 for n in patch):
        return f"expected a patch_size of 2 or 3 numbers, got {patch}"
    if not isinstance(spacing, list) or len(spacing) != len(patch):
        return f"expected a spacing of {len(patch)} numbers, as the patch has, got {spacing}"
    if not isinstance(batch, int) or batch < 1:
        return f"expected a batch_size from 1 on, got {batch}"
    if not isinstance(settings["normalization_schemes"], list) or not settings["normalization_schemes"]:
        return f"expected a scheme for each channel in normalization_schemes, got {settings['normalization_schemes']}"
    return ""


def loader_memory(configuration: Configuration, regions: int, threads: int) -> int:
    """About what the training loader needs at the least: two batches, and working memory and open files for each
    thread, in bytes.

    regions: that are trained on, 0 for plain labels.
    """
    patch, channels = configuration.patch_size, configuration.channels
    voxels = math.prod(patch)
    # The window that a rotation of 30 degrees (in a plane: any) and the smallest scale, 0.85, ask for.
    if len(patch) == 2:
        window = (max(patch) / 0.85) ** 2
    elif max(patch) / patch[0] > ANISOTROPIC:
        window = patch[0] * (max(patch[1:]) / 0.85) ** 2
    else:
        cos, sin = math.cos(math.pi / 6), math.sin(math.pi / 6)
        window = math.prod(max(n, *(n * cos + other * sin for other in patch)) / 0.85 for n in patch)
    # Deep supervision: 1 + 1/8 + 1/64 ... of the patch, in 2D 1 + 1/4 + ...
    scales = 8 / 7 if len(patch) == 3 else 4 / 3
    target = scales * (regions if regions else 2)
    batch = int(configuration.settings["batch_size"]) * voxels * (4 * channels + target)
    thread = 4 * window + 2 * voxels + _core.open_files_memory
    return int(2 * batch + threads * thread)


def has_configurations(file: Path) -> bool:
    """Return whether a JSON file may be plans."""
    try:
        return "configurations" in content(file)
    except (OSError, ValueError, TypeError):
        return False
