"""The transforms of nnU-Net's trainers for any training script, built of batchgeneratorsv2's objects; nnU-Net is not needed."""

from __future__ import annotations

from .recipes import TRAINERS, nnunet, none
from .tree import Augmentation, initial_patch_size_of

__all__ = ["TRAINERS", "Augmentation", "initial_patch_size_of", "nnunet", "none"]
