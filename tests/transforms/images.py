"""Real images for the transforms: crops of the MNI152 template with tissue labels, in the shapes that tests ask for."""

from __future__ import annotations

import functools

import numpy as np


@functools.cache
def _brain() -> tuple[np.ndarray, np.ndarray]:
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template

    t1 = np.asarray(load_mni152_template(resolution=2).dataobj, np.float32)
    grey = np.asarray(load_mni152_gm_template(resolution=2).dataobj, np.float32)
    white = np.asarray(load_mni152_wm_template(resolution=2).dataobj, np.float32)
    labels = np.where(white > 0.5, 2, np.where(grey > 0.4, 1, 0)).astype(np.int16)
    labels[t1 <= 0.02] = -1
    return (t1 - t1.mean()) / t1.std(), labels


def brain(channels: int, shape: tuple[int, ...], *, labels: int = 3, segmentation_channels: int = 1, seed: int = 0):
    """Image (C, *shape) float32 and segmentation (C', *shape) int16 with values from -1 to `labels` - 1."""
    rng = np.random.default_rng(seed)
    t1, tissue = _brain()
    crops, tissues = [], []
    for _ in range(max(channels, segmentation_channels)):
        sizes = (1,) * (3 - len(shape)) + tuple(shape)
        starts = [int(rng.integers(0, max(1, n - s + 1))) for n, s in zip(t1.shape, sizes, strict=True)]
        box = tuple(slice(a, a + s) for a, s in zip(starts, sizes, strict=True))
        missing = [(0, s - len(range(*b.indices(n)))) for b, s, n in zip(box, sizes, t1.shape, strict=True)]
        crops.append(np.pad(t1[box], missing).reshape(shape))
        found = np.pad(tissue[box], missing).reshape(shape)
        if labels != 3:  # finer classes from intensities, so that there are as many as asked for
            edges = np.quantile(crops[-1], np.linspace(0, 1, labels + 1)[1:-1])
            found = np.where(found < 0, -1, np.digitize(crops[-1], edges)).astype(np.int16)
        tissues.append(found)
    return np.stack(crops[:channels]), np.stack(tissues[:segmentation_channels])
