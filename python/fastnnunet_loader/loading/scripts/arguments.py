"""What scripts ask for: names of cases, sampling, epochs, values of cases. What does not fit is one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import torch

from ...augmentation.tree import Augmentation, initial_patch_size_of
from ...settings import SHARE, Kind, above_0, whole_number
from ..reading.source import BatchKeys
from .locations import Classes

__all__ = [
    "checked_classes",
    "checked_epoch",
    "checked_names",
    "make_sampling",
    "per_case_values",
    "some_of",
]

_LABEL = Kind("N", "a label from 0 (-1 is what lies outside of an image)", whole_number, lambda value: whole_number(value) >= 0)


def checked_names(names: Iterable[str]) -> list[str]:
    """Return names of cases, or raise a ValueError. Their order counts: batches of the same seed depend on it."""
    if isinstance(names, (str, Set, Mapping)) or not isinstance(names, Iterable):
        raise ValueError(f"[cases] expected a list of names, got {names!r}")
    made = [str(name) if isinstance(name, str) else name for name in names]
    if not all(isinstance(name, str) for name in made):
        raise ValueError(f"[cases] expected texts as names of cases, got {made!r}")
    return made


def checked_classes(classes: Sequence[int | Sequence[int]] | None) -> Classes | None:
    """Return the labels of each class, or raise a ValueError."""
    if classes is None:
        return None
    try:
        made = tuple(
            tuple(whole_number(x) for x in one) if isinstance(one, Sequence) else (whole_number(one),) for one in classes
        )
    except (TypeError, ValueError):
        made = ()
    if not made or not all(made):
        raise ValueError(f"[classes] expected labels, or tuples of labels for regions, got {classes!r}")
    return made


def make_sampling(
    patch_size: Sequence[int],
    batch_size: int,
    transforms: Any,
    oversample_foreground: float,
    ignore_label: int | None,
    cases: int,
    *,
    initial_patch_size: Sequence[int] | None,
    probabilistic_oversampling: bool,
    sampling_probabilities: Sequence[float] | None,
) -> tuple[int, dict[str, Any]]:
    """Return (2 or 3, the fields of SamplingOptions).

    Raises:
        ValueError: an argument is out of range.
    """
    final = _size("patch_size", patch_size)
    _check_transforms(transforms)
    if isinstance(transforms, Augmentation):
        if transforms.patch_size != final:
            raise ValueError(f"[patch_size] expected {transforms.patch_size}, as the augmentation has, got {final}")
        initial = transforms.initial_patch_size
    else:
        initial = initial_patch_size_of(transforms, final)
    if initial_patch_size is not None:
        initial = _size("initial_patch_size", initial_patch_size)
    if len(initial) != len(final) or any(i < f for i, f in zip(initial, final, strict=True)):
        raise ValueError(f"[initial_patch_size] expected at least patch_size, {final}, got {initial}")
    above_0("batch_size", batch_size)
    SHARE.check("oversample_foreground", oversample_foreground)
    if ignore_label is not None:
        _LABEL.check("ignore_label", ignore_label)
    probabilities = _numbers("sampling_probabilities", sampling_probabilities)
    if probabilities and len(probabilities) != cases:
        raise ValueError(f"[sampling_probabilities] expected one for each of {cases} cases, got {len(probabilities)}")
    lead = [1] * (3 - len(final))
    return len(final), {
        "batch_size": int(batch_size),
        "patch_size": [*lead, *initial],
        "final_patch_size": [*lead, *final],
        "pad_sides": [0, 0, 0],
        "oversample_foreground": float(oversample_foreground),
        "probabilistic_oversampling": bool(probabilistic_oversampling),
        "has_ignore": ignore_label is not None,
        "sampling_probabilities": probabilities,
    }


def _check_transforms(transforms: Any) -> None:
    """Raise ValueError for what is taken for transforms by mistake; what they do is found out when they run."""
    for one in transforms if isinstance(transforms, (list, tuple)) else [transforms]:
        library = type(one).__module__.partition(".")[0]
        if library in ("monai", "torchio"):
            raise ValueError(
                f"[transforms] expected batchgeneratorsv2's, or what fl.augmentation builds, got {library}'s "
                f"{type(one).__name__}; fl.augmentation.from_{library} translates it"
            )
        if not (one is None or callable(one) or isinstance(one, (Augmentation, list, tuple))):
            raise ValueError(f"[transforms] expected batchgeneratorsv2's, or what fl.augmentation builds, got {one!r}")


def _numbers(name: str, values: Sequence[float] | None) -> list[float]:
    try:
        return [] if values is None else [float(value) for value in values]
    except (TypeError, ValueError):
        raise ValueError(f"[{name}] expected a number for each case, got {values!r}") from None


def _size(name: str, size: Sequence[int]) -> tuple[int, ...]:
    try:
        made = tuple(int(n) for n in size)
        if len(made) in (2, 3) and all(n > 0 for n in made) and all(n == m for n, m in zip(made, size, strict=True)):
            return made
    except (TypeError, ValueError):
        pass
    raise ValueError(f"[{name}] expected 2 or 3 whole numbers above 0, got {size!r}")


def checked_epoch(batches: int | None) -> int | None:
    """Return the length of an epoch, or raise a ValueError."""
    return None if batches is None else above_0("batches_per_epoch", batches, ", or None")


def per_case_values(given: Mapping[str, Any], names: Sequence[str], keys: BatchKeys, targets: bool) -> dict[str, Any]:
    """Return a tensor or a list for each name, with an item for each case in their order.

    given: under each name, a value for each case, in order or by the names of cases.
    targets: whether batches have regression targets, too.

    Raises:
        ValueError: a name that batches have already, or values for other cases.
    """
    taken = (keys.image, keys.label, keys.case, *([keys.target] if targets else []))
    if not isinstance(given, Mapping):
        raise ValueError(f"[per_case] expected a dictionary of names and values, got {type(given).__name__}")
    if odd := [key for key in (*taken, *given) if not isinstance(key, str)]:
        raise ValueError(f"[{'per_case' if odd[0] in given else 'keys'}] expected texts as names, got {odd[0]!r}")
    if len(set(taken)) != len(taken):
        raise ValueError(f"[keys] expected names that differ, got {taken}")
    made: dict[str, Any] = {}
    for name, values in given.items():
        if name in taken:
            raise ValueError(f"[per_case] expected names besides {', '.join(taken)}, got {name!r}")
        if isinstance(values, Mapping) or hasattr(values, "keys"):  # such as a Series of pandas
            if missing := [case for case in names if case not in values]:
                raise ValueError(f"[per_case] expected '{name}' of every case, got none of {some_of(missing)}")
            values = [values[case] for case in names]
        if isinstance(values, str) or not hasattr(values, "__len__"):
            raise ValueError(f"[per_case] expected '{name}' of {len(names)} cases, got {values!r} for all of them")
        if len(values) != len(names):
            raise ValueError(f"[per_case] expected '{name}' of {len(names)} cases, got {len(values)} values")
        made[name] = _stacked(name, values, names)
    return made


def _stacked(name: str, values: Any, names: Sequence[str]) -> Any:
    if isinstance(values, torch.Tensor):
        return values
    values = list(values)
    texts = [isinstance(value, str) for value in values]
    if all(texts):
        return values
    tensors = []
    for case, value in zip(names, values, strict=True):
        try:
            tensors.append(torch.as_tensor(value))
        except (TypeError, ValueError, RuntimeError):
            kinds = "a text, as other cases have" if any(texts) and not isinstance(value, str) else "a number or an array"
            kinds = kinds if any(texts) else "a number, an array or a text"
            raise ValueError(f"[per_case] expected {kinds} as '{name}', got {value!r} of case {case}") from None
    for case, tensor in zip(names, tensors, strict=True):
        if tensor.shape != tensors[0].shape:
            raise ValueError(
                f"[per_case] expected '{name}' of shape {tuple(tensors[0].shape)}, as {names[0]} has, "
                f"got {tuple(tensor.shape)} of case {case}"
            )
    stacked = torch.stack(tensors)
    return stacked.float() if stacked.dtype is torch.float64 and not isinstance(values[0], torch.Tensor) else stacked


def some_of(names: Sequence[str], most: int = 3) -> str:
    """Return the first few of these names, and how many more there are."""
    listed = ", ".join(map(str, names[:most]))
    return listed if len(names) <= most else f"{listed} and {len(names) - most} more"
