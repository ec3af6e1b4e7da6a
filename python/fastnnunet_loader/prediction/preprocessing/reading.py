"""Voxels as a reader returns them: errors that name the files, and channels that are not finite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import PredictionError
from ...loading.reading.patience import Patience

__all__ = ["not_finite", "read"]


def read(case: str, files: Sequence[str], read: Callable[[], Any], patience: Patience) -> Any:
    """Return what `read()` returns, which reads these files. Raises PredictionError that names them."""
    try:
        return patience.reading(files, read, were_there=True)  # when they were checked
    except Exception as error:
        said = " ".join(str(error).split()) or "no reason"
        listed = ", ".join(files)
        raise PredictionError(
            case=case,
            stage="read",
            file=listed,
            reason=f"expected images that can be read, got {type(error).__name__}: {said}",
        ) from error


def not_finite(case: str, image: npt.NDArray[np.float32], files: Sequence[str]) -> dict[int, str]:
    """The channels of an image (C, X, Y, Z) with NaN or infinity, and what to say of each."""
    odd = {}
    for channel, volume in enumerate(image):
        # One number tells, without an array of flags: a sum in float64 cannot overflow, NaN and infinity stay in it.
        if np.isfinite(volume.sum(dtype=np.float64)):
            continue
        bad = int(volume.size - np.count_nonzero(np.isfinite(volume)))
        file = f"{files[channel]}: " if len(files) == len(image) else ""
        odd[channel] = f"[{case}] {file}{bad} of {volume.size} voxels in channel {channel} are NaN or infinite"
    return odd
