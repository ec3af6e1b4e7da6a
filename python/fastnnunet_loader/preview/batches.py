"""Pictures of a loader's batches, without a data set of nnU-Net behind them."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .pictures import Row, Tile, draw
from .views import Labels, View, positions_of, tile_of, windows_of

__all__ = ["Preview", "draw_batches"]


@dataclass(frozen=True)
class Preview:
    """A picture that notebooks show."""

    png: bytes
    title: str

    def save(self, file: str | os.PathLike[str]) -> Path:
        """Write the picture as a PNG; its folder is made. Returns the file."""
        path = Path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.png)
        return path

    def _repr_png_(self) -> bytes:
        return self.png

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.png).decode("ascii")
        return f'<img alt="{html.escape(self.title)}" style="max-width: 100%" src="data:image/png;base64,{data}">'

    def __repr__(self) -> str:
        return f"Preview({self.title})"


def draw_batches(
    samples: Iterable[tuple[int, int, Mapping[str, Any]]],
    *,
    image_key: str,
    label_key: str,
    case_key: str,
    title: str,
) -> Preview:
    """Draw samples, a row for each batch.

    Args:
        samples: (step, slot, sample), the samples of a batch one after the other: image (C, X, Y, Z) or (C, Y, Z), labels of as
            many axes or a list of them for deep supervision, and the case, under these keys.
        title: above all.
    """
    tiles: dict[int, list[Tile]] = {}
    names: dict[int, str] = {}
    for step, slot, sample in samples:
        image = sample[image_key].numpy()
        labels = _labels(sample.get(label_key), image.shape[1:])
        for number in labels.values:
            names[number] = f"{'region' if labels.array.dtype == np.bool_ else 'label'} {number}"
        view = View(image, labels, None)
        text = [f"slot {slot}", " x ".join(map(str, image.shape[1:]))]
        made = tile_of(str(sample[case_key]), text, view, positions_of(view), windows_of(image), [1.0] * (image.ndim - 1))
        tiles.setdefault(step, []).append(made)
    rows = [Row(f"batch {step}", "", [line]) for step, line in tiles.items()]
    return Preview(draw(rows, dict(sorted(names.items())), title, "outlines: labels" if names else ""), title)


def _labels(given: Any, shape: Sequence[int]) -> Labels:
    """Labels above 0, or regions, at the image's resolution. A previous stage, in another channel, is left out."""
    several = [] if given is None else given if isinstance(given, list) else [given]
    full = [one.numpy() for one in several if tuple(one.shape[1:]) == tuple(shape)]
    array: npt.NDArray[Any] = full[0] if full else np.zeros((1, *shape), np.int16)
    if array.dtype == np.bool_:
        return Labels(array, {region: (region,) for region in range(len(array))})
    found = (int(label) for label in np.unique(array[:1]) if label > 0)
    return Labels(array[:1], {label: (label,) for label in found})
