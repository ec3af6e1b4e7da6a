"""Whether a transform that runs in Python moves a regression target as it moves the image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["leaves_targets_alone", "why_not_moved"]

_BASIC = "batchgeneratorsv2.transforms.base.basic_transform"
_CHILDREN = {"ComposeTransforms": "transforms", "OneOfTransform": "list_of_transforms", "RandomTransform": "transform"}


def leaves_targets_alone(transform: Any) -> bool:
    """Whether a transform changes nothing but the image, or the labels: by batchgeneratorsv2's own `apply`, or by its word.

    A transform of another library says so itself, in `regression_target`: "alone" or "along".
    """
    kind = type(transform)
    alone = any(
        base.__module__ == _BASIC and base.__name__ in ("ImageOnlyTransform", "SegOnlyTransform")
        and kind.apply is base.__dict__.get("apply")
        for base in kind.__mro__
    )  # fmt: skip
    return (alone and "apply" not in vars(transform)) or getattr(transform, "regression_target", None) == "alone"


def why_not_moved(transform: Any) -> str:
    """Return why a transform in Python cannot be given a regression target; empty if it can."""
    if leaves_targets_alone(transform) or getattr(transform, "regression_target", None) == "along":
        return ""
    kind = type(transform)
    if hasattr(transform, "regression_target"):
        return f"{kind.__name__}, of another library, runs in Python and may move the image"
    if kind.__module__.startswith("batchgeneratorsv2.") and kind.__name__ in _CHILDREN:
        held = getattr(transform, _CHILDREN[kind.__name__])
        return next(filter(None, map(why_not_moved, held if isinstance(held, Iterable) else [held])), "")
    own = [base for base in kind.__mro__ if base.__module__ == _BASIC and base.__name__ == "BasicTransform"]
    if not own:
        return f"{kind.__name__} is no BasicTransform of batchgeneratorsv2's, whose _apply_to_regr_target moves a target"
    if kind._apply_to_regr_target is own[0].__dict__["_apply_to_regr_target"]:
        return f"{kind.__name__} has no _apply_to_regr_target, and is no ImageOnlyTransform or SegOnlyTransform"
    return ""
