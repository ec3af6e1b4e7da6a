"""Compiles a tree of batchgeneratorsv2's transforms into a native pipeline."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .. import _core
from ..errors import NotSupportedError
from ..known import changed, listed
from .origins import digest
from .plugins import plugin_of
from .python import PythonTransform
from .registry import NATIVE, describe_native

__all__ = ["DrawnParameters", "Pipeline", "Stage", "compile_transforms"]

_WIDTH = 100  # columns of describe()
_CONTAINERS = {"ComposeTransforms", "RandomTransform", "OneOfTransform"}


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


@dataclass
class _Leaf:
    transform: Any
    native: bool
    reason: str  # why not
    replay: Callable[[Any, dict[str, Any]], dict[str, Any]]  # parameters that get_parameters returned, for the core
    in_python: PythonTransform


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

    def node(self, transform: Any, depth: int, odds: str = "") -> tuple[Any, ...]:
        """odds: with what probability the node is reached, for its line."""
        kind = _container(transform)
        if kind is not None and (changes := changed(transform)):
            return self.python(transform, depth, odds, f"its code has changed: {listed(changes)}")
        if kind == "ComposeTransforms":
            self.lines.append(_Line(depth, f"{odds}Compose"))
            return ("compose", [self.node(t, depth + 1) for t in transform.transforms])
        if kind == "OneOfTransform":
            self.lines.append(_Line(depth, f"{odds}OneOf"))
            several = transform.list_of_transforms
            return ("one_of", [self.node(t, depth + 1, f"1 of {len(several)}  ") for t in several])
        if kind == "RandomTransform" and isinstance(transform.apply_probability, Real):
            probability = float(transform.apply_probability)
            return ("random", probability, self.node(transform.transform, depth, f"{odds}p={probability:g}  "))
        return self.leaf(transform, depth, odds)

    def leaf(self, transform: Any, depth: int, odds: str = "") -> tuple[Any, ...]:
        name = type(transform).__name__
        if (plugin := plugin_of(transform)) is not None:
            self.lines.append(_Line(depth, odds + name, len(self.leaves)))
            stand_in = PythonTransform(transform)
            self.leaves.append(_Leaf(transform, True, "", lambda t, p: {"parameters": list(plugin.replay(t, p))}, stand_in))
            return ("plugin", name, plugin.capsule(transform), stand_in)
        try:
            attributes = describe_native(transform)
            node: tuple[Any, ...] = ("native", name, attributes)
            _core.Pipeline(node)  # what the core does not accept runs in Python as well
        except (NotSupportedError, ValueError, TypeError) as error:
            return self.python(transform, depth, odds, str(error))
        self.lines.append(_Line(depth, odds + name, len(self.leaves)))
        # Where a transform in Python leaves what native code does not know, this one has to run in Python, too.
        stand_in = PythonTransform(transform)
        self.leaves.append(_Leaf(transform, True, "", NATIVE[name].replay, stand_in))
        return (*node, stand_in)

    def python(self, transform: Any, depth: int, odds: str, reason: str) -> tuple[Any, ...]:
        """The transform as it is, a whole branch of the tree where it has others inside."""
        name = type(transform).__name__
        self.lines.append(_Line(depth, odds + name, len(self.leaves)))
        wrapper = PythonTransform(transform)
        self.leaves.append(_Leaf(transform, False, reason, lambda _, p: {}, wrapper))
        return ("python", name, wrapper)


def _container(transform: Any) -> str | None:
    cls = type(transform)
    return cls.__name__ if cls.__name__ in _CONTAINERS and cls.__module__.startswith("batchgeneratorsv2.") else None


def _probabilities(transform: Any) -> str:
    """The probabilities among a transform's attributes; those that are 0 are left out."""
    values = [(name, value) for name, value in vars(transform).items() if name.startswith("p_") or name.endswith("_p")]
    numbers = [(name, value) for name, value in values if isinstance(value, Real) and not isinstance(value, bool)]
    return "  ".join(f"{name}={float(value):g}" for name, value in numbers if value)


def _until(node: tuple[Any, ...], last: int, passed: list[int]) -> tuple[Any, ...]:
    """A tree without its leaves after the leaf `last`. Nodes keep their places, and with them their random streams."""
    kind = node[0]
    if kind in ("native", "plugin", "python"):
        passed.append(1)
        return node if len(passed) - 1 <= last else ("compose", [])
    if kind == "random":
        return (kind, node[1], _until(node[2], last, passed))
    return (kind, [_until(child, last, passed) for child in node[1]])


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
        self._root = root
        self._calls = 0
        self._leaves = compiled.leaves
        self._lines = compiled.lines
        self.digest = digest(
            (f"{line.depth} {line.text}" for line in self._lines), ((leaf.transform, leaf.native) for leaf in self._leaves)
        )
        self._number = {id(leaf.transform): number for number, leaf in enumerate(self._leaves)}
        self.core = _core.Pipeline(root)

    @property
    def all_native(self) -> bool:
        """Whether no transform runs in Python."""
        return all(leaf.native for leaf in self._leaves)

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

    def _reasons(self) -> list[str]:
        """Why each leaf runs in Python; empty for those that do not."""
        stood_in = set(self.core.stood_in())
        reasons = []
        for number, leaf in enumerate(self._leaves):
            reason = leaf.reason
            if number in stood_in:
                reason = "the labels, or what else it changes, are of a form that transforms before it gave them"
            if reason and leaf.in_python.turn.alone_for:
                reason += f"; one at a time, since {leaf.in_python.turn.alone_for}"
            reasons.append(reason)
        return reasons

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
        statistics, reasons = self.core.leaf_statistics(), self._reasons()
        if not self._lines:
            return "(no transforms)"
        total = sum(seconds for _, seconds in statistics)
        measured = any(applied for applied, _ in statistics)
        # A sample that is being made is counted only when it is done.
        samples = max([samples + self._calls, *(applied for applied, _ in statistics)])
        lines = []
        for line in self._lines:
            text, cost = line.text, ""
            if line.leaf is not None:
                leaf = self._leaves[line.leaf]
                text += f"  [Python: {reasons[line.leaf]}]" if reasons[line.leaf] else "  [native]"
                own = _probabilities(leaf.transform)
                text += f"  {own}" if own else ""
                applied, seconds = statistics[line.leaf]
                if measured:
                    each = f"{1e3 * seconds / applied:.2f}" if applied else "-"
                    share = f"{100 * seconds / total:.0f} %" if applied and total > 0 else "-"
                    cost = f"{each:>8} {applied:>8} {share:>6}  "
            cost = cost or " " * (26 if measured else 0)
            margin = "  " * line.depth
            lines += textwrap.wrap(
                text,
                _WIDTH,
                initial_indent=cost + margin,
                subsequent_indent=" " * len(cost) + margin + "    ",
                break_on_hyphens=False,
            )
        if measured:
            lines.insert(0, f"{'ms each':>8} {'applied':>8} {'share':>6}  transform")
            one = "sample" if samples == 1 else "samples"
            lines.append(f"{1e3 * total / samples:8.2f} ms for one sample on average, over {samples} {one}")
        return "\n".join(lines)

    def draw(
        self,
        shape: Sequence[int],
        *,
        segmentation_channels: int = 1,
        seed: int = 0,
        rank: int = 0,
        role: int = 0,
        step: int = 0,
        slot: int = 0,
        attempt: int = 0,
    ) -> list[tuple[Any, DrawnParameters]]:
        """Draws the parameters of one sample without touching voxels.

        Args:
            shape: (C, X, Y, Z) or (C, Y, Z) of the image.
            segmentation_channels: of the segmentation.
            seed, rank, role, step, slot: which sample.

        Returns:
            The transforms that fire, in order, each with its parameters. Those that run in Python draw theirs when they are
            applied.
        """
        identity = _core.SampleId(seed=seed, rank=rank, role=role, step=step, slot=slot, attempt=attempt)
        trace = self.core.draw(shape[0], segmentation_channels, list(shape[1:]), identity)
        return [(self._leaves[leaf].transform, DrawnParameters(parameters)) for leaf, parameters in trace]

    def __call__(
        self,
        *,
        image: Any,
        segmentation: Any = None,
        regression_target: Any = None,
        seed: int = 0,
        rank: int = 0,
        role: int = 0,
        step: int = 0,
        slot: int = 0,
        attempt: int = 0,
    ) -> dict[str, Any]:
        """Draws parameters and applies them to one sample.

        Args:
            image: (C, X, Y, Z) or (C, Y, Z), float32; a tensor or an array. It is not changed.
            segmentation: (C', X, Y, Z) or (C', Y, Z), int16, or None.
            regression_target: (C", X, Y, Z) or (C", Y, Z), float32, or None: what is moved as the image is, and nothing else.
            seed, rank, role, step, slot: which sample; the same give the same.

        Returns:
            batchgeneratorsv2's dictionary: 'image' float32, 'segmentation' int16 or bool, or a list of them, and
            'regression_target' float32, those that were given.

        Raises:
            TransformError: a transform failed; what it raised is the cause.
            ValueError: shapes that do not fit.
        """
        identity = _core.SampleId(seed=seed, rank=rank, role=role, step=step, slot=slot, attempt=attempt)
        return self._run(self.core, image, segmentation, identity, None, regression_target)

    def stages(
        self,
        *,
        image: Any,
        segmentation: Any = None,
        seed: int = 0,
        rank: int = 0,
        role: int = 0,
        step: int = 0,
        slot: int = 0,
        attempt: int = 0,
    ) -> Iterator[Stage]:
        """What a call makes of one sample, after each transform that fires; the last stage is the call's result.

        Each stage is made from the start, by the transforms up to it. Between Convert3DTo2DTransform and
        Convert2DTo3DTransform the planes of the first axis are channels.

        Args:
            image, segmentation, seed, rank, role, step, slot: as of a call.

        Raises:
            TransformError, ValueError: as a call.
        """
        pixels = _array(image, np.float32, "image")
        labels = None if segmentation is None else _array(segmentation, np.int16, "segmentation")
        identity = _core.SampleId(seed=seed, rank=rank, role=role, step=step, slot=slot, attempt=attempt)
        trace = self.core.draw(len(pixels), 0 if labels is None else len(labels), list(pixels.shape[1:]), identity)
        for leaf, parameters in trace:
            core = _core.Pipeline(_until(self._root, leaf, []))
            result = self._run(core, pixels, labels, identity, None)
            yield Stage(self._leaves[leaf].transform, DrawnParameters(parameters), result)

    def replay(
        self,
        trace: Iterable[tuple[Any, dict[str, Any]]],
        *,
        image: Any,
        segmentation: Any = None,
        regression_target: Any = None,
        seed: int = 0,
        rank: int = 0,
        role: int = 0,
        step: int = 0,
        slot: int = 0,
        attempt: int = 0,
    ) -> dict[str, Any]:
        """Applies parameters that batchgeneratorsv2 drew, or that `draw` gave.

        Args:
            trace: (leaf transform object, parameters that its get_parameters returned) in order of application. The objects
                are those of the compiled tree.
            image: (C, X, Y, Z) or (C, Y, Z), float32. It is not changed.
            segmentation: (C', X, Y, Z) or (C', Y, Z), int16, or None.
            regression_target: (C", X, Y, Z) or (C", Y, Z), float32, or None: what is moved as the image is, and nothing else.
            seed, rank, role, step, slot: which sample, for what no parameter says (noise fields).

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
        identity = _core.SampleId(seed=seed, rank=rank, role=role, step=step, slot=slot, attempt=attempt)
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
        if moving is not None and not self.all_native:
            raise NotSupportedError("[regression target] expected native transforms only, got " + "; ".join(self.fallbacks))
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
