"""MONAI's dictionary transforms as native ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .building import Building, InPython
from .called import called_monai
from .monai_known import KNOWN, MOVES, SPATIAL
from .tree import Augmentation, checked_size, require_transforms

__all__ = ["from_monai"]

# Without the d. Whole volumes are read, resampled and normalised when the folder is made; types are the loader's.
_BEFORE = (
    "LoadImage",
    "EnsureChannelFirst",
    "AsChannelFirst",
    "AddChannel",
    "EnsureType",
    "ToTensor",
    "ToDevice",
    "CastToType",
    "Orientation",
    "Spacing",
    "CropForeground",
    "SpatialPad",
    "DivisiblePad",
    "BorderPad",
    "ResizeWithPadOrCrop",
    "Resize",
    "NormalizeIntensity",
    "ScaleIntensity",
    "ScaleIntensityRange",
    "ScaleIntensityRangePercentiles",
    "ThresholdIntensity",
    "MaskIntensity",
    "HistogramNormalize",
    "SelectItems",
    "DeleteItems",
    "CopyItems",
    "Identity",
    "ToNumpy",
)
_CROPS = (
    "RandCropByPosNegLabel",
    "RandCropByLabelClasses",
    "RandSpatialCrop",
    "RandSpatialCropSamples",
    "RandWeightedCrop",
    "CenterSpatialCrop",
)


def from_monai(
    compose: Any,
    patch_size: Sequence[int] | None = None,
    *,
    image_key: str = "image",
    label_key: str | None = "label",
    report: Callable[[str], None] | None = print,
) -> Augmentation:
    """Build the closest native transforms to MONAI's dictionary transforms.

    Known transforms with random parameters become native ones with the same distributions; the others run in Python, a copy for
    each call, seeded by the sample, so that batches do not depend on the number of threads. What is done once for each volume
    (loading, spacing, intensities) is left out up to the last crop, since a folder has volumes that are ready; so are crops,
    since the loader cuts patches. Transforms after the crop see patches, as in MONAI; patches are cut larger for
    spatial transforms that come before it.

    Args:
        compose: monai.transforms.Compose of dictionary transforms, a list of them, or one.
        patch_size: what the network gets, in voxels; None for the size of the crop in `compose`.
        image_key: the key of the image in `compose`, all its channels in one array.
        label_key: the key of the labels, or None without labels. In batches, the loader's own keys are used.
        report: is told each difference; None for nobody.

    Returns:
        The transforms with the sizes of patches, and in `.differences` what differs from MONAI, a sentence each.

    Raises:
        ValueError: `compose` has other keys, no crop and no `patch_size`, or makes patches of several shapes.
        ModuleNotFoundError: batchgeneratorsv2 is not installed.
    """
    require_transforms()
    leaves = list(_leaves(compose))
    crops = [number for number, leaf in enumerate(leaves) if _name(leaf) in _CROPS]
    last_crop = crops[-1] if crops else -1
    if patch_size is None:
        if not crops:
            raise ValueError("[patch_size] expected one, since there is no crop in compose, got None")
        patch_size = _size_of_crop(leaves[last_crop])
    keys = (image_key,) if label_key is None else (image_key, label_key)
    building = Building("MONAI", checked_size(patch_size), keys, lambda one: called_monai(one, image_key, label_key))
    building.margin = any(_name(leaf) in SPATIAL for leaf in leaves[: max(last_crop, 0)])
    before = [leaf for leaf in leaves[: last_crop + 1] if _name(leaf) in _BEFORE]
    if before:
        names = ", ".join(dict.fromkeys(_name(leaf) for leaf in before))
        building.differences.append(f"{names}: left out, since the volumes of a folder are ready: apply them when it is made")
    built = _Translated(building, last_crop).all(compose)
    if report is not None:
        for difference in building.differences:
            report(difference)
    return building.finished(built)


def _name(transform: Any) -> str:
    """Return the name of one of MONAI's own dictionary transforms, without the d; "" for any other."""
    cls = type(transform)
    name = cls.__name__
    if not cls.__module__.startswith("monai.") or not name.endswith("d"):
        return ""
    return name[:-1]


def _children(tree: Any) -> Sequence[Any] | None:
    """Return what a list, a Compose or a OneOf holds, or None for a transform."""
    if isinstance(tree, (list, tuple)):
        return tree
    cls = type(tree)
    if cls.__module__.startswith("monai.") and cls.__name__ in ("Compose", "OneOf"):
        children: Sequence[Any] = tree.transforms
        return children
    return None


def _leaves(tree: Any) -> Iterator[Any]:
    children = _children(tree)
    if children is None:
        yield tree
        return
    for one in children:
        yield from _leaves(one)


def _size_of_crop(crop: Any) -> Sequence[int]:
    holder = crop
    while holder is not None:
        for name in ("spatial_size", "roi_size"):
            size = getattr(holder, name, None)
            if size is not None and not isinstance(size, int) and all(int(n) > 0 for n in size):
                return [int(n) for n in size]
        holder = getattr(holder, "cropper", None)
    raise ValueError(f"[patch_size] expected one, since {type(crop).__name__} has no size of every axis, got None")


class _Translated:
    """The transforms of a Compose, in order."""

    def __init__(self, building: Building, last_crop: int) -> None:
        self._building = building
        self._last_crop = last_crop
        self._number = -1  # of the leaf

    def all(self, tree: Any) -> list[Any]:
        """Return native transforms for a tree."""
        building = self._building
        children = _children(tree)
        if children is not None and type(tree).__name__ == "OneOf":
            return self._one_of(tree)
        if children is not None:
            return [one for child in children for one in self.all(child)]
        self._number += 1
        name = _name(tree)
        if name in _CROPS:
            building.differ(tree, _of_crop(tree))
            return []
        if name in _BEFORE and self._number < self._last_crop:
            return []
        keys = [str(key) for key in getattr(tree, "keys", ())]
        if unknown := [key for key in keys if key not in building.keys]:
            raise ValueError(
                f"[{type(tree).__name__}] expected keys among {', '.join(building.keys)}, got {', '.join(unknown)}"
            )
        if name in ("EnsureType", "ToTensor", "ToDevice", "CastToType", "Identity", "SelectItems"):
            return []
        function = KNOWN.get(name)
        if function is None:
            return building.called(tree, "it has no native counterpart")
        wanted = set(building.keys) if name in MOVES else {building.keys[0]}
        if set(keys) != wanted:
            return building.called(
                tree, f"its keys are {', '.join(keys)}, and the native one is of {', '.join(sorted(wanted))}"
            )
        return building.translated(tree, function)

    def _one_of(self, tree: Any) -> list[Any]:
        ways = [self.all(one) for one in tree.transforms]
        try:
            return [self._building.one_of(tree.weights, ways)]
        except InPython as reason:
            return self._building.called(tree, str(reason))


def _of_crop(crop: Any) -> str:
    how = "left out, since the loader cuts patches"
    cropper = getattr(crop, "cropper", crop)
    if hasattr(cropper, "pos_ratio"):
        how += f": oversample_foreground={float(cropper.pos_ratio):g} is the closest"
    if getattr(cropper, "num_samples", 1) > 1:
        how += "; each patch is of a case of its own, not several of one"
    return how
