"""Imports what a training with nnU-Net imports."""

import nnunetv2.run.run_training  # noqa: F401
import nnunetv2.training.nnUNetTrainer.nnUNetTrainer  # noqa: F401
