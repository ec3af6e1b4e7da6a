"""Mistakes in transforms that stand for other libraries', and in predictions of any network."""

from __future__ import annotations

from .mistake import PACKAGE, Mistake

_MONAI = "tests/augmentation/test_from_monai.py"
_TORCHIO = "tests/augmentation/test_from_torchio.py"
_VOLUME = "tests/prediction/volume"

TRANSLATED = [
    Mistake(
        f"{PACKAGE}/augmentation/torchio.py",
        "TorchIO's rotations turn the other way",
        "(-math.radians(high), -math.radians(low))",
        "(math.radians(low), math.radians(high))",
        _TORCHIO,
    ),
    Mistake(
        f"{PACKAGE}/augmentation/building.py",
        "a mirror with a probability below 0.5 mirrors half as many samples",
        "self.with_probability(2 * probability, MirrorTransform",
        "self.with_probability(probability, MirrorTransform",
        f"{_MONAI} {_TORCHIO}",
    ),
    Mistake(
        f"{PACKAGE}/augmentation/building.py",
        "patches that are cut larger are off by half a voxel",
        "n + 2 * max(0, math.ceil((large - n) / 2) + (large > n))",
        "n + max(0, math.ceil(large - n) + (large > n))",
        _TORCHIO,
    ),
    Mistake(
        f"{PACKAGE}/augmentation/called.py",
        "MONAI's transforms that run in Python draw from their own generator, in whatever order threads come",
        "transform.set_random_state(seed=int(np.random.randint(_SEEDS, dtype=np.int64)))",
        "pass",
        _MONAI,
    ),
    Mistake(
        f"{PACKAGE}/augmentation/called.py",
        "transforms in Python see the label -1 outside of the image, and interpolate it",
        "None if labels is None else labels.clamp(min=0)",
        "labels",
        _MONAI,
    ),
    Mistake(
        f"{PACKAGE}/augmentation/monai_known.py",
        "zooms make objects smaller where MONAI makes them larger",
        'ranges * axes if same else ranges), of="1/x")',
        'ranges * axes if same else ranges), of="x")',
        _MONAI,
    ),
    Mistake(
        f"{PACKAGE}/prediction/volume/windows.py",
        "after a prediction in a training, every module of the network trains, also those that were frozen",
        "            module.training = training",
        "            module.training = True",
        _VOLUME,
    ),
    Mistake(
        f"{PACKAGE}/prediction/volume/grid.py",
        "weights are 0 in the corners of large windows, whose logits become NaN",
        "    half[half == 0] = half[half > 0].min()\n",
        "",
        _VOLUME,
    ),
    Mistake(
        f"{PACKAGE}/prediction/volume/predict.py",
        "thick slices of a 2D image's result are looked for along the wrong axis",
        "(None if axis is None else axis + 1)",
        "axis",
        _VOLUME,
    ),
]
