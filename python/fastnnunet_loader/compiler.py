"""Compiles a tree of batchgeneratorsv2's transforms into a native pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from . import _core
from .errors import NotSupportedError
from .fallback import PythonTransform
from .plugins import plugin_of
from .transforms import NATIVE, describe_native

__all__ = ["Pipeline", "compile_transforms"]

_CONTAINERS = {"ComposeTransforms", "RandomTransform", "OneOfTransform"}


@dataclass
class _Leaf:
    transform: Any
    native: bool
    reason: str  # why not
    replay: Callable[[Any, dict[str, Any]], dict[str, Any]]  # parameters that get_parameters returned, for the core


@dataclass
class _Line:
    """One line of describe()."""

    depth: int
    text: str
    leaf: int | None = None


@dataclass
class _Compiled:
    leaves: list[_Leaf] = field(default_factory=list)
    lines: list[_Line] = field(default_factory=list)

    def node(self, transform: Any, depth: int) -> tuple[Any, ...]:
        kind = _container(transform)
        if kind == "ComposeTransforms":
            self.lines.append(_Line(depth, "Compose"))
            return ("compose", [self.node(t, depth + 1) for t in transform.transforms])
        if kind == "OneOfTransform":
            self.lines.append(_Line(depth, "OneOf"))
            return ("one_of", [self.node(t, depth + 1) for t in transform.list_of_transforms])
        if kind == "RandomTransform":
            self.lines.append(_Line(depth, f"Random p={transform.apply_probability:g}"))
            return ("random", float(transform.apply_probability), self.node(transform.transform, depth + 1))
        return self.leaf(transform, depth)

    def leaf(self, transform: Any, depth: int) -> tuple[Any, ...]:
        name = type(transform).__name__
        self.lines.append(_Line(depth, name, len(self.leaves)))
        if (plugin := plugin_of(transform)) is not None:
            self.leaves.append(_Leaf(transform, True, "", lambda t, p: {"parameters": list(plugin.replay(t, p))}))
            return ("plugin", name, plugin.capsule(transform))
        try:
            attributes = describe_native(transform)
            node: tuple[Any, ...] = ("native", name, attributes)
            _core.Pipeline(node)  # what the core does not accept runs in Python as well
        except (NotSupportedError, ValueError, TypeError) as error:
            wrapper = PythonTransform(transform)
            self.leaves.append(_Leaf(transform, False, str(error), lambda _, p: {"token": wrapper.record(p)}))
            return ("python", name, wrapper)
        self.leaves.append(_Leaf(transform, True, "", NATIVE[name].replay))
        return node


def _container(transform: Any) -> str | None:
    cls = type(transform)
    return cls.__name__ if cls.__name__ in _CONTAINERS and cls.__module__.startswith("batchgeneratorsv2.") else None


class Pipeline:
    """A compiled tree of transforms. Make it with `compile_transforms`."""

    def __init__(self, tree: Any) -> None:
        compiled = _Compiled()
        if tree is None:
            root: tuple[Any, ...] = ("compose", [])
        elif isinstance(tree, (list, tuple)):
            root = ("compose", [compiled.node(t, 0) for t in tree])
        else:
            root = compiled.node(tree, 0)
        self._leaves = compiled.leaves
        self._lines = compiled.lines
        self._number = {id(leaf.transform): number for number, leaf in enumerate(self._leaves)}
        self.core = _core.Pipeline(root)

    @property
    def all_native(self) -> bool:
        """Whether no transform runs in Python."""
        return all(leaf.native for leaf in self._leaves)

    @property
    def fallbacks(self) -> list[str]:
        """The transforms that run in Python, each with the reason."""
        return [f"{type(leaf.transform).__name__}: {leaf.reason}" for leaf in self._leaves if not leaf.native]

    def describe(self) -> str:
        """The tree, a line for each transform: native or Python and why, and what it cost so far."""
        statistics = self.core.leaf_statistics()
        lines = []
        for line in self._lines:
            text = "  " * line.depth + line.text
            if line.leaf is not None:
                leaf = self._leaves[line.leaf]
                text += "  [native]" if leaf.native else f"  [Python: {leaf.reason}]"
                applied, seconds = statistics[line.leaf]
                if applied:
                    text += f"  {1e3 * seconds / applied:.2f} ms each, applied {applied} times"
            lines.append(text)
        return "\n".join(lines) if lines else "(no transforms)"

    def draw(
        self,
        shape: Sequence[int],
        *,
        segmentation_channels: int = 1,
        seed: int = 0,
        step: int = 0,
        slot: int = 0,
    ) -> list[tuple[Any, dict[str, Any]]]:
        """Draws the parameters of one sample without touching voxels.

        Args:
            shape: (C, X, Y, Z) or (C, Y, Z) of the image.
            segmentation_channels: of the segmentation.
            seed, step, slot: which sample.

        Returns:
            The transforms that fire, in order, each with its parameters.
        """
        identity = _core.SampleId(seed=seed, step=step, slot=slot)
        trace = self.core.draw(shape[0], segmentation_channels, list(shape[1:]), identity)
        return [(self._leaves[leaf].transform, parameters) for leaf, parameters in trace]

    def __call__(self, *, image: Any, segmentation: Any = None, seed: int = 0, step: int = 0, slot: int = 0) -> dict[str, Any]:
        """Draws parameters and applies them to one sample.

        Args:
            image: (C, X, Y, Z) or (C, Y, Z), float32; a tensor or an array. It is not changed.
            segmentation: (C', X, Y, Z) or (C', Y, Z), int16, or None.
            seed, step, slot: which sample; the same give the same.

        Returns:
            batchgeneratorsv2's dictionary: 'image' float32, and 'segmentation' int16 or bool, or a list of them.

        Raises:
            TransformError: a transform failed; what it raised is the cause.
            ValueError: shapes that do not fit.
        """
        return self._run(image, segmentation, _core.SampleId(seed=seed, step=step, slot=slot), None)

    def replay(
        self, trace: Iterable[tuple[Any, dict[str, Any]]], *, image: Any, segmentation: Any = None, seed: int = 0
    ) -> dict[str, Any]:
        """Applies parameters that batchgeneratorsv2 drew.

        Args:
            trace: (leaf transform object, parameters that its get_parameters returned) in order of application. The objects
                are those of the compiled tree.
            image: (C, X, Y, Z) or (C, Y, Z), float32. It is not changed.
            segmentation: (C', X, Y, Z) or (C', Y, Z), int16, or None.
            seed: of what no parameter says (noise fields).

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
            entries.append((number, leaf.replay(transform, parameters)))
        return self._run(image, segmentation, _core.SampleId(seed=seed), entries)

    def _run(self, image: Any, segmentation: Any, identity: Any, trace: list[Any] | None) -> dict[str, Any]:
        labels = None if segmentation is None else _array(segmentation, np.int16)
        result, targets, is_list, _, _ = self.core.run(_array(image, np.float32), labels, identity, trace)
        out: dict[str, Any] = {"image": torch.from_numpy(result)}
        if segmentation is not None:
            tensors = [torch.from_numpy(t) for t in targets]
            out["segmentation"] = tensors if is_list or len(tensors) > 1 else tensors[0]
        return out


def _array(value: Any, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
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
