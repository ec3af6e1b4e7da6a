"""A small real data set for nnU-Net, made from the MNI152 template that nilearn carries; nothing is downloaded."""

from .dataset import Anatomy, Variant, build_dataset
from .planning import DemoPlanner, nnunet_environment, plan_and_preprocess, trainer_folder

__all__ = [
    "Anatomy",
    "DemoPlanner",
    "Variant",
    "build_dataset",
    "nnunet_environment",
    "plan_and_preprocess",
    "trainer_folder",
]
