"""A tree of batchgeneratorsv2's transforms as the core takes it, and in words: what is native, and why the rest is not."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from .. import _core
from ..augmentation.tree import Augmentation
from ..errors import NotSupportedError
from ..known import changed, listed
from .plugins import plugin_of
from .python import PythonTransform
from .registry import NATIVE, describe_native

__all__ = ["Leaf", "Tree", "until"]

_WIDTH = 100  # columns of describe()
_CONTAINERS = {"ComposeTransforms", "RandomTransform", "OneOfTransform"}


@dataclass
class Leaf:
    """One transform of the tree that is no container."""

    transform: Any
    native: bool
    reason: str  # why not
    replay: Callable[[Any, dict[str, Any]], dict[str, Any]]  # parameters that get_parameters returned, for the core
    in_python: PythonTransform
    plugin: bool = False


@dataclass
class _Line:
    """One line of describe()."""

    depth: int
    text: str
    leaf: int | None = None


@dataclass
class Tree:
    """What a tree compiles to. Its nodes are tuples: ("compose", [node, ...]), ("native", name, attributes), ..."""

    leaves: list[Leaf] = field(default_factory=list)
    lines: list[_Line] = field(default_factory=list)

    def root(self, tree: Any) -> tuple[Any, ...]:
        """Compile a transform, a list of them, or None."""
        if tree is None:
            return ("compose", [])
        if isinstance(tree, (list, tuple)):
            return ("compose", [self.node(transform, 0) for transform in tree])
        return self.node(tree, 0)

    def node(self, transform: Any, depth: int, odds: str = "") -> tuple[Any, ...]:
        """Compile a part of the tree. odds: with what probability it is reached, for its line."""
        if isinstance(transform, Augmentation):
            transform = transform.transforms
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
        """Compile a transform that is no container."""
        name = type(transform).__name__
        if (plugin := plugin_of(transform)) is not None:
            self.lines.append(_Line(depth, odds + name, len(self.leaves)))
            stand_in = PythonTransform(transform)
            self.leaves.append(
                Leaf(transform, True, "", lambda t, p: {"parameters": list(plugin.replay(t, p))}, stand_in, True)
            )
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
        self.leaves.append(Leaf(transform, True, "", NATIVE[name].replay, stand_in))
        return (*node, stand_in)

    def python(self, transform: Any, depth: int, odds: str, reason: str) -> tuple[Any, ...]:
        """The transform as it is, a whole branch of the tree where it has others inside."""
        name = type(transform).__name__
        self.lines.append(_Line(depth, odds + name, len(self.leaves)))
        wrapper = PythonTransform(transform)
        self.leaves.append(Leaf(transform, False, reason, lambda _, p: {}, wrapper))
        return ("python", name, wrapper)

    def reasons(self, stood_in: Iterable[int]) -> list[str]:
        """Why each leaf runs in Python; empty for those that do not. stood_in: native ones that had to."""
        standing = set(stood_in)
        reasons = []
        for number, leaf in enumerate(self.leaves):
            reason = leaf.reason
            if number in standing:
                reason = "the labels, or what else it changes, are of a form that transforms before it gave them"
            if reason and leaf.in_python.turn.alone_for:
                reason += f"; one at a time, since {leaf.in_python.turn.alone_for}"
            reasons.append(reason)
        return reasons

    def describe(self, statistics: Sequence[tuple[int, float]], reasons: Sequence[str], samples: int) -> str:
        """See `Pipeline.describe`. statistics: (how often applied, seconds) of each leaf. reasons: why each runs in Python."""
        if not self.lines:
            return "(no transforms)"
        total = sum(seconds for _, seconds in statistics)
        measured = any(applied for applied, _ in statistics)
        # A sample that is being made is counted only when it is done.
        samples = max([samples, *(applied for applied, _ in statistics)])
        lines = []
        for line in self.lines:
            text, cost = line.text, ""
            if line.leaf is not None:
                leaf = self.leaves[line.leaf]
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


def _container(transform: Any) -> str | None:
    cls = type(transform)
    return cls.__name__ if cls.__name__ in _CONTAINERS and cls.__module__.startswith("batchgeneratorsv2.") else None


def _probabilities(transform: Any) -> str:
    """The probabilities among a transform's attributes; those that are 0 are left out."""
    values = [(name, value) for name, value in vars(transform).items() if name.startswith("p_") or name.endswith("_p")]
    numbers = [(name, value) for name, value in values if isinstance(value, Real) and not isinstance(value, bool)]
    return "  ".join(f"{name}={float(value):g}" for name, value in numbers if value)


def until(node: tuple[Any, ...], last: int, passed: list[int]) -> tuple[Any, ...]:
    """A tree without its leaves after the leaf `last`. Nodes keep their places, and with them their random streams."""
    kind = node[0]
    if kind in ("native", "plugin", "python"):
        passed.append(1)
        return node if len(passed) - 1 <= last else ("compose", [])
    if kind == "random":
        return (kind, node[1], until(node[2], last, passed))
    return (kind, [until(child, last, passed) for child in node[1]])
