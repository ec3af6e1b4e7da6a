"""Compiles a tree of batchgeneratorsv2's transforms into a native pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from .. import _core
from ..errors import NotSupportedError
from ..sample_id import SampleId, SampleKeys
from .origins import digest
from .regression import leaves_targets_alone, why_not_moved
from .tree import Tree, until

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["DrawnParameters", "Pipeline", "Stage", "compile_transforms"]


class DrawnParameters(dict[str, Any]):
    """Parameters as the core draws them: numbers and lists of numbers, under batchgeneratorsv2's names.

    Some are in another form than batchgeneratorsv2's own (numbers of channels for a mask, codes for functions); the type
    tells them apart in a replay.
    """


@dataclass(frozen=True)
class Stage:
    """A sample after one of its transforms."""

    transform: Any
    parameters: DrawnParameters
    result: dict[str, Any]  # 'image' and 'segmentation', as a call gives them


class Pipeline:
    """A compiled tree of transforms. Make it with `compile_transforms`."""

    def __init__(self, tree: Any) -> None:
        self._tree = compiled = Tree()
        self._root = compiled.root(tree)
        self._calls = 0
        self._leaves = compiled.leaves
        self.digest = digest(
            (f"{line.depth} {line.text}" for line in compiled.lines),
            ((leaf.transform, leaf.native) for leaf in self._leaves),
        )
        self._number = {id(leaf.transform): number for number, leaf in enumerate(self._leaves)}
        self.core = _core.Pipeline(self._root)

    @property
    def all_native(self) -> bool:
        """Whether no transform runs in Python."""
        return all(leaf.native for leaf in self._leaves)

    @property
    def leaf_count(self) -> int:
        """The number of transforms, without those that only hold others."""
        return len(self._leaves)

    @property
    def fallbacks(self) -> list[str]:
        """The transforms that run in Python, each with the reason.

        Native ones are among them once they had to run in Python for what a transform before them made of a sample.
        """
        return [
            f"{type(leaf.transform).__name__}: {reason}"
            for leaf, reason in zip(self._leaves, self._reasons(), strict=True)
            if reason
        ]

    def require_moves_of_targets(self) -> None:
        """Look whether every transform moves a regression target as it moves the image, or leaves both where they are.

        Raises:
            NotSupportedError: one does not, or nobody can tell.
        """
        unable = []
        for leaf in self._leaves:
            if leaf.plugin and not leaves_targets_alone(leaf.transform):
                unable.append(f"{type(leaf.transform).__name__} is a plug-in, which sees image and labels only")
            elif not leaf.native and (reason := why_not_moved(leaf.transform)):
                unable.append(reason)
        if unable:
            raise NotSupportedError(
                "[regression target] expected transforms that move it with the image, or leave both in place, got "
                + "; ".join(unable)
            )

    def _reasons(self) -> list[str]:
        return self._tree.reasons(self.core.stood_in())

    def describe(self, samples: int = 0) -> str:
        """The tree, a line for each transform: with which probability, native or Python and why, and what it cost so far.

        Args:
            samples: that a loader made with this pipeline; those of calls are counted here.

        Returns:
            Lines of at most 100 columns. `p=` before a name is the probability that the transform is called at all, `p_...`
            after it are its own; those that are 0 are left out. Where anything has run, the first columns are the
            milliseconds of one application (reading files is not in them), how many samples it was applied to, and its share
            of the time of all.
        """
        return self._tree.describe(self.core.leaf_statistics(), self._reasons(), samples + self._calls)

    def draw(
        self,
        shape: Sequence[int],
        *,
        segmentation_channels: int = 1,
        **sample: Unpack[SampleKeys],
    ) -> list[tuple[Any, DrawnParameters]]:
        """Draws the parameters of one sample without touching voxels.

        Args:
            shape: (C, X, Y, Z) or (C, Y, Z) of the image.
            segmentation_channels: of the segmentation.
            sample: seed, rank, role, step, slot and attempt: which sample.

        Returns:
            The transforms that fire, in order, each with its parameters. Those that run in Python draw theirs when they are
            applied.
        """
        identity = _core.SampleId(**SampleId(**sample))
        trace = self.core.draw(shape[0], segmentation_channels, list(shape[1:]), identity)
        return [(self._leaves[leaf].transform, DrawnParameters(parameters)) for leaf, parameters in trace]

    def __call__(
        self,
        *,
        image: Any,
        segmentation: Any = None,
        regression_target: Any = None,
        **sample: Unpack[SampleKeys],
    ) -> dict[str, Any]:
        """Draws parameters and applies them to one sample.

        Args:
            image: (C, X, Y, Z) or (C, Y, Z), float32; a tensor or an array. It is not changed.
            segmentation: (C', X, Y, Z) or (C', Y, Z), int16, or None.
            regression_target: (C", X, Y, Z) or (C", Y, Z), float32, or None: what is moved as the image is, and nothing else.
            sample: seed, rank, role, step, slot and attempt: which sample; the same give the same.

        Returns:
            batchgeneratorsv2's dictionary: 'image' float32, 'segmentation' int16 or bool, or a list of them, and
            'regression_target' float32, those that were given.

        Raises:
            TransformError: a transform failed; what it raised is the cause.
            ValueError: shapes that do not fit.
        """
        identity = _core.SampleId(**SampleId(**sample))
        return self._run(self.core, image, segmentation, identity, None, regression_target)

    def stages(
        self,
        *,
        image: Any,
        segmentation: Any = None,
        **sample: Unpack[SampleKeys],
    ) -> Iterator[Stage]:
        """What a call makes of one sample, after each transform that fires; the last stage is the call's result.

        Each stage is made from the start, by the transforms up to it. Between Convert3DTo2DTransform and
        Convert2DTo3DTransform the planes of the first axis are channels. Arguments and errors are those of a call.
        """
        pixels = _array(image, np.float32, "image")
        labels = None if segmentation is None else _array(segmentation, np.int16, "segmentation")
        identity = _core.SampleId(**SampleId(**sample))
        trace = self.core.draw(len(pixels), 0 if labels is None else len(labels), list(pixels.shape[1:]), identity)
        for leaf, parameters in trace:
            core = _core.Pipeline(until(self._root, leaf, []))
            result = self._run(core, pixels, labels, identity, None)
            yield Stage(self._leaves[leaf].transform, DrawnParameters(parameters), result)

    def replay(
        self,
        trace: Iterable[tuple[Any, dict[str, Any]]],
        *,
        image: Any,
        segmentation: Any = None,
        regression_target: Any = None,
        **sample: Unpack[SampleKeys],
    ) -> dict[str, Any]:
        """Applies parameters that batchgeneratorsv2 drew, or that `draw` gave.

        Args:
            trace: (leaf transform object, parameters that its get_parameters returned) in order of application. The objects
                are those of the compiled tree.
            image: (C, X, Y, Z) or (C, Y, Z), float32. It is not changed.
            segmentation: (C', X, Y, Z) or (C', Y, Z), int16, or None.
            regression_target: (C", X, Y, Z) or (C", Y, Z), float32, or None: what is moved as the image is, and nothing else.
            sample: seed, rank, role, step, slot and attempt: which sample, for what no parameter says (noise fields).

        Returns:
            As a call.

        Raises:
            ValueError: a transform that is not of this tree, or parameters that do not fit.
            TransformError: a transform failed; what it raised is the cause.
        """
        entries = []
        for transform, parameters in trace:
            number = self._number.get(id(transform))
            if number is None:
                raise ValueError(f"[replay] expected a transform of the compiled tree, got {transform!r}")
            leaf = self._leaves[number]
            if not isinstance(parameters, DrawnParameters):
                # The token is for where it has to run in Python.
                token = {} if self.all_native else {"token": leaf.in_python.record(parameters)}
                entries.append((number, {**leaf.replay(transform, parameters), **token}))
            elif leaf.native:
                entries.append((number, dict(parameters)))
            else:
                name = type(transform).__name__
                raise ValueError(f"[replay] expected batchgeneratorsv2's parameters of {name}, which runs in Python, got none")
        identity = _core.SampleId(**SampleId(**sample))
        return self._run(self.core, image, segmentation, identity, entries, regression_target)

    def _run(
        self,
        core: _core.Pipeline,
        image: Any,
        segmentation: Any,
        identity: _core.SampleId,
        trace: list[Any] | None,
        regression_target: Any = None,
    ) -> dict[str, Any]:
        labels = None if segmentation is None else _array(segmentation, np.int16, "segmentation")
        moving = None if regression_target is None else _array(regression_target, np.float32, "regression_target")
        if moving is not None:
            self.require_moves_of_targets()
        self._calls += core is self.core
        result, targets, is_list, _, moved, entries = core.run(
            _array(image, np.float32, "image"), labels, identity, trace, moving
        )
        out: dict[str, Any] = {"image": torch.from_numpy(result)}
        if targets:
            tensors = [torch.from_numpy(t) for t in targets]
            out["segmentation"] = tensors if is_list or len(tensors) > 1 else tensors[0]
        out.update(entries)
        if moved is not None:
            out["regression_target"] = torch.from_numpy(moved)
        return out


def _array(value: Any, dtype: npt.DTypeLike, name: str) -> npt.NDArray[Any]:
    """As it is, or in another type that holds all of its values."""
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if not np.can_cast(array.dtype, dtype):
        raise TypeError(f"[pipeline] expected '{name}' of dtype {np.dtype(dtype)}, got {array.dtype}")
    if array.ndim not in (3, 4):
        raise ValueError(f"[pipeline] expected '{name}' of shape (C, X, Y, Z) or (C, Y, Z), got {array.shape}")
    return np.ascontiguousarray(array, dtype=dtype)


def compile_transforms(transforms: Any) -> Pipeline:
    """Compiles a transform of batchgeneratorsv2, or a list of them, into native code.

    Args:
        transforms: a ComposeTransforms, RandomTransform, OneOfTransform or leaf transform, a list of transforms, or None.

    Returns:
        The pipeline. Transforms that have no native counterpart run in Python between the native ones; `describe()` and
        `fallbacks` name them.
    """
    return Pipeline(transforms)
