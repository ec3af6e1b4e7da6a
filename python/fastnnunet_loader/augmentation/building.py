"""Transforms of batchgeneratorsv2 that stand for those of another library, and what differs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .scalars import Range, Ranges, Sigmas
from .tree import Augmentation, leaves_of

__all__ = ["Building", "InPython"]

_MOST_PARTS = 100  # into which probabilities are divided
_LEAST_SIGMA = 0.01  # of a blur that does nothing


class InPython(Exception):
    """A transform has no native counterpart; the message says why."""


class Building:
    """A tree while it is built.

    Args:
        library: whose transforms are translated, in words.
        patch: what the network gets, in voxels.
        keys: of the image, and of the labels if there are any.
        in_python: makes, of a transform of the library, one that batchgeneratorsv2's tree can call.
    """

    def __init__(self, library: str, patch: tuple[int, ...], keys: tuple[str, ...], in_python: Callable[[Any], Any]) -> None:
        self.patch = patch
        self.keys = keys
        self.differences: list[str] = []
        self.mirrored: set[int] = set()
        self.margin = False  # whether patches are cut out of something larger
        self._initial = patch  # large enough for all spatial transforms
        self._library = library
        self._in_python = in_python

    def differ(self, transform: Any, how: str) -> None:
        """Note a difference, once."""
        sentence = f"{type(transform).__name__}: {how}"
        if sentence not in self.differences:
            self.differences.append(sentence)

    def translated(self, transform: Any, function: Callable[[Building, Any], Iterator[Any]] | None) -> list[Any]:
        """Return native transforms for one of the library, or the one that calls it in Python."""
        if function is None:
            return self.called(transform, "it has no native counterpart")
        noted, mirrored = len(self.differences), set(self.mirrored)
        try:
            return list(function(self, transform))
        except InPython as reason:
            del self.differences[noted:]
            self.mirrored = mirrored
            return self.called(transform, str(reason))

    def called(self, transform: Any, reason: str) -> list[Any]:
        """Return the transform that calls it in Python."""
        self.differ(transform, f"runs in Python, as {self._library} does it, since {reason}")
        return [self._in_python(transform)]

    def with_probability(self, probability: float, *transforms: Any) -> Any:
        """Return transforms that are applied together or not at all."""
        from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
        from batchgeneratorsv2.transforms.utils.random import RandomTransform

        one = transforms[0] if len(transforms) == 1 else ComposeTransforms(list(transforms))
        if probability >= 1:
            return one
        if self._crops(one):  # what is not applied has to crop as well
            return self.one_of([probability, 1 - probability], [[one], []])
        return RandomTransform(one, apply_probability=float(probability))

    def one_of(self, weights: Sequence[float], ways: Sequence[list[Any]]) -> Any:
        """Return a choice between several ways, which all give patches of one size."""
        from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
        from batchgeneratorsv2.transforms.utils.random import OneOfTransform

        if any(map(self._crops, ways)):
            ways = [way if self._crops(way) else [self.spatial(1), *way] for way in ways]
        several = [way[0] if len(way) == 1 else ComposeTransforms(way) for way in ways]
        total = sum(weights)
        for parts in range(1, _MOST_PARTS + 1):
            counts = [weight / total * parts for weight in weights]
            if all(abs(count - round(count)) < 1e-9 for count in counts):
                # batchgeneratorsv2 chooses among all with the same probability.
                return OneOfTransform([one for one, count in zip(several, counts, strict=True) for _ in range(round(count))])
        raise InPython(f"probabilities {', '.join(f'{weight / total:.6g}' for weight in weights)} are no simple fractions")

    def _crops(self, tree: Any) -> bool:
        """Whether a tree makes patches of larger ones."""
        return self.margin and any(type(leaf).__name__ == "SpatialTransform" for leaf in leaves_of(tree))

    def spatial(
        self,
        probability: float,
        *,
        rotation: Sequence[Range] = (),
        scaling: Any = None,
        same_scale: bool = False,
        sigma: Range | Sequence[Range] | None = None,
        magnitude: Any = None,
        reach: float = 0.0,
        padding: str = "zeros",
        padding_value: float = 0.0,
        nearest: bool = False,
        label_padding: str = "constant",
    ) -> Any:
        """Return a SpatialTransform that is applied with a probability, and otherwise crops.

        rotation: of each axis, in radians. scaling: a RandomScalar, of which larger values make objects smaller. sigma: of an
        elastic deformation, in voxels. magnitude: a RandomScalar, in voxels. reach: the largest magnitude to expect.
        """
        from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform

        if self.margin:
            largest = getattr(scaling, "bounds", scaling)
            factor = 1.0 if largest is None else float(largest if isinstance(largest, (int, float)) else max(largest))
            self._initial = tuple(map(max, self._initial, _enough(self.patch, rotation, factor, reach)))
        turned: Any = 0.0
        if rotation:
            turned = rotation[0] if len(set(rotation)) == 1 else Ranges(tuple(rotation))
        # The three are drawn apart, and a transform of another library does all of them or none.
        together = [bool(rotation), scaling is not None, sigma is not None]
        if sum(together) > 1 and probability < 1:
            inside = self.spatial(
                1, rotation=rotation, scaling=scaling, same_scale=same_scale, sigma=sigma, magnitude=magnitude, reach=reach,
                padding=padding, padding_value=padding_value, nearest=nearest, label_padding=label_padding,
            )  # fmt: skip
            return self.with_probability(probability, inside)
        scales = None if sigma is None else [sigma] if isinstance(sigma[0], (int, float)) else list(sigma)
        return SpatialTransform(
            self.patch,
            patch_center_dist_from_border=0,
            random_crop=False,
            p_rotation=probability if rotation else 0,
            rotation=turned,
            p_scaling=probability if scaling is not None else 0,
            scaling=1.0 if scaling is None else scaling,
            p_synchronize_scaling_across_axes=1 if same_scale else 0,
            p_elastic_deform=probability if sigma is not None else 0,
            elastic_deform_scale=0.1 if scales is None else self._scale(scales),
            elastic_deform_magnitude=0.0 if magnitude is None else magnitude,
            p_synchronize_def_scale_across_axes=0,
            center_deformation=False,
            bg_style_seg_sampling=False,
            mode_image="nearest" if nearest else "bilinear",
            padding_mode_image=padding,
            padding_value_image=padding_value,
            mode_seg="nearest",
            border_mode_seg=label_padding,
            padding_value_seg=0,
        )

    def _scale(self, sigma: Sequence[Any]) -> Ranges:
        """Of an elastic deformation, as a share of the patch."""
        each = tuple(sigma) if len(sigma) == len(self.patch) else tuple(sigma[:1]) * len(self.patch)
        return Ranges(tuple((float(low), float(high)) for low, high in each), each=tuple(map(float, self.patch)))

    def mirror(self, axis: int, probability: float) -> Any:
        """Return a mirror along one axis. batchgeneratorsv2's mirrors half of the samples."""
        from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform

        self.mirrored.add(axis)
        if probability > 0.5:
            raise InPython("native mirrors mirror at most half of the samples")
        return self.with_probability(2 * probability, MirrorTransform(allowed_axes=(axis,)))

    def blur(self, sigmas: Sequence[Range]) -> Any:
        """Return a Gaussian blur with sigmas of each axis, in voxels, the same for all channels."""
        from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform

        ranges = tuple((max(float(low), _LEAST_SIGMA), max(float(high), _LEAST_SIGMA)) for low, high in sigmas)
        alike = len(set(ranges)) == 1
        # With synchronized channels, a callable is not told the axis.
        return GaussianBlurTransform(
            blur_sigma=ranges[0] if alike else Sigmas(ranges), synchronize_channels=alike, synchronize_axes=False
        )

    def finished(self, transforms: list[Any]) -> Augmentation:
        """Return the tree with the sizes of its patches."""
        from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
        from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform

        built = [*transforms, RemoveLabelTansform(-1, 0)]
        return Augmentation(
            ComposeTransforms(built), self.patch, self._initial, tuple(sorted(self.mirrored)), tuple(self.differences)
        )


def _enough(patch: Sequence[int], rotation: Sequence[Range], factor: float, reach: float) -> tuple[int, ...]:
    """Return the size of the box that holds a patch however it is deformed, scaled and turned.

    Only the box that a sample needs is read, so a large one costs nothing.
    """
    size = [(n + 2 * reach) * factor for n in patch]
    turns = [max(map(abs, ends)) for ends in rotation]
    planes = [((0, 1), turns[-1])] if len(patch) == 2 and turns else list(zip(((1, 2), (2, 0), (0, 1)), turns, strict=False))
    for (a, b), turn in planes:
        size[a], size[b] = _turned_extent(size[a], size[b], turn), _turned_extent(size[b], size[a], turn)
    # As many voxels more on each side, so that the middle stays where it is.
    return tuple(n + 2 * max(0, math.ceil((large - n) / 2) + (large > n)) for n, large in zip(patch, size, strict=True))


def _turned_extent(along: float, across: float, largest: float) -> float:
    """Return the extent along an axis of a rectangle that is turned by any angle up to the largest one."""
    turn = min(largest, math.atan2(across, along))
    return along * math.cos(turn) + across * math.sin(turn)
