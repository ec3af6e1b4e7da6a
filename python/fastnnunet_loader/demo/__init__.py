"""A small real data set for nnU-Net, made from the MNI152 template that nilearn carries; nothing is downloaded."""

from .dataset import VARIANTS, build_dataset
from .planning import BrainsPlanner, DemoPlanner, ParcelsPlanner, nnunet_environment, plan_and_preprocess, trainer_folder

__all__ = [
    "VARIANTS",
    "BrainsPlanner",
    "DemoPlanner",
    "ParcelsPlanner",
    "build_dataset",
    "nnunet_environment",
    "plan_and_preprocess",
    "trainer_folder",
]
