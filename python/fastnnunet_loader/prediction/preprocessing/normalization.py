"""The normalisation schemes of a plan: nnU-Net's own natively, summed as NumPy sums; others as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ... import _core, known

__all__ = ["NATIVE", "NativeScheme", "Scheme", "schemes_of"]

_MODULE = "nnunetv2.preprocessing.normalization.default_normalization_schemes"

EPSILON = 1e-8
"""The least that nnU-Net divides float32 by."""


NATIVE = (
    "ZScoreNormalization",
    "CTNormalization",
    "NoNormalization",
    "RescaleTo01Normalization",
    "RGBTo01Normalization",
)
"""nnU-Net's schemes, all of which have a native counterpart."""


class NativeScheme:
    """How one channel is normalised, by one of nnU-Net's schemes, without nnU-Net.

    Args:
        name: of `NATIVE`.
        masked: whether the plans want the nonzero region's voxels only.
        intensities: of the foreground in the data set, from the plans. Only CTNormalization needs them.
    """

    is_nnunets = True
    """Whether it is nnU-Net's own: it looks at the mask only where it is `masked`, and NaN stays."""

    def __init__(self, name: str, masked: bool, intensities: dict[str, Any]) -> None:
        self.name = name
        self.masked = masked
        self._intensities = intensities

    @property
    def sees_mask(self) -> bool:
        """Whether the result depends on the nonzero region, as far as one can tell."""
        return self.masked or not self.is_nnunets

    def run(self, channel: npt.NDArray[np.float32], segmentation: npt.NDArray[Any] | None, threads: int) -> None:
        """Normalise a contiguous channel (X, Y, Z) in place. segmentation: (X, Y, Z), -1 outside of the nonzero region.

        Raises ValueError if the channel is not what the scheme is for.
        """
        if self._native(channel, segmentation, threads):
            return
        if self.name != "RGBTo01Normalization":
            raise ValueError(f"expected the nonzero region for {self.name}, got none")
        raise ValueError(f"expected intensities from 0 to 255, got {channel.min():g} to {channel.max():g}")

    def _native(self, channel: npt.NDArray[np.float32], segmentation: npt.NDArray[Any] | None, threads: int) -> bool:
        """Whether it could be done."""
        if self.name == "ZScoreNormalization":
            mask = None
            if self.masked:
                if segmentation is None:
                    return False
                mask = (segmentation >= 0).view(np.uint8)
            _core.normalize_z_score(channel, mask, threads=threads)
        elif self.name == "CTNormalization":
            of = self._intensities
            _core.normalize_ct(
                channel,
                lower=of["percentile_00_5"],
                upper=of["percentile_99_5"],
                mean=of["mean"],
                deviation=max(of["std"], EPSILON),
                threads=threads,
            )
        elif self.name == "RescaleTo01Normalization":
            _core.normalize_rescale(channel, threads=threads)
        elif self.name == "RGBTo01Normalization":
            return bool(_core.normalize_rgb(channel, threads=threads))
        else:
            return self.name == "NoNormalization"
        return True


class Scheme(NativeScheme):
    """How one channel is normalised, by a class of nnU-Net, or of one beside them."""

    def __init__(self, name: str, masked: bool, intensities: dict[str, Any]) -> None:
        self.kind = _class_of(name)
        super().__init__(self.kind.__name__, masked, intensities)
        self.is_nnunets = self.kind.__module__ == _MODULE and not known.changed(self.kind)

    def run(self, channel: npt.NDArray[np.float32], segmentation: npt.NDArray[Any] | None, threads: int) -> None:
        """Normalise a contiguous channel (X, Y, Z) in place. segmentation: (X, Y, Z), -1 outside of the nonzero region."""
        if not self.is_nnunets or not self._native(channel, segmentation, threads):
            # Of a mask that is missing, or of what is no RGB, nnU-Net says so.
            normalizer = self.kind(use_mask_for_norm=self.masked, intensityproperties=self._intensities)
            channel[...] = normalizer.run(channel, segmentation)


def schemes_of(plans: Any, configuration: Any) -> list[Scheme]:
    """The schemes of a configuration, one for each channel. Raises ValueError for a class that is not there."""
    of = plans.foreground_intensity_properties_per_channel
    return [
        Scheme(name, configuration.use_mask_for_norm[channel], of[str(channel)])
        for channel, name in enumerate(configuration.normalization_schemes)
    ]


def _class_of(name: str) -> Any:
    import nnunetv2
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    folder = Path(nnunetv2.__path__[0]) / "preprocessing" / "normalization"
    found = recursive_find_python_class(str(folder), name, "nnunetv2.preprocessing.normalization")
    if found is None:
        raise ValueError(f"[normalization_schemes] expected a class of nnU-Net, got {name!r}")
    return cast("type", found)
