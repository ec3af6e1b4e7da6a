"""The labels of dataset.json."""

from __future__ import annotations

from typing import Any

__all__ = ["label_faults", "label_values"]


def label_values(labels: dict[str, Any]) -> set[int]:
    """All labels that may be in a segmentation, the ignored one included."""
    values: set[int] = set()
    for value in labels.values():
        values.update(int(v) for v in value) if isinstance(value, list) else values.add(int(value))
    return values


def label_faults(labels: dict[str, Any], order: Any) -> list[str]:
    """What nnU-Net would refuse, or fail at in its loss."""
    if "background" not in labels or isinstance(labels["background"], list) or int(labels["background"]) != 0:
        return [f"expected a label 'background' with value 0, got {labels.get('background')}"]
    ignore = labels.get("ignore")
    plain = sorted(label_values({name: value for name, value in labels.items() if name != "ignore"}))
    regions = any(isinstance(value, list) and len(value) > 1 for value in labels.values())
    faults = []
    if ignore is not None and (not isinstance(ignore, int) or ignore != plain[-1] + 1):
        faults.append(f"expected the label 'ignore' to be one more than the largest other, {plain[-1] + 1}, got {ignore}")
    if not regions and plain != list(range(len(plain))):
        faults.append(f"expected labels without a gap, 0 to {len(plain) - 1}, got {plain}")
    if regions:
        count = len(labels) - 1 - (ignore is not None)
        if not isinstance(order, list) or len(order) != count:
            faults.append(f"expected regions_class_order with a number for each of {count} regions, got {order}")
    return faults
