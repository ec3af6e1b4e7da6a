"""Transforms for any training script, built of batchgeneratorsv2's objects; nnU-Net is not needed.

There are those of nnU-Net's trainers, and the closest ones to MONAI's and TorchIO's.
"""

from __future__ import annotations

from .monai import from_monai
from .recipes import TRAINERS, nnunet, none
from .torchio import from_torchio
from .tree import Augmentation, initial_patch_size_of

__all__ = ["TRAINERS", "Augmentation", "from_monai", "from_torchio", "initial_patch_size_of", "nnunet", "none"]
