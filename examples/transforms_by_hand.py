"""Compiles a tree of batchgeneratorsv2's transforms, looks at it, and applies it to an image, without nnU-Net's trainer.

python examples/transforms_by_hand.py
"""

from __future__ import annotations

import numpy as np
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from nilearn.datasets import load_mni152_gm_template, load_mni152_template

import fastnnunet_loader as fl


def main() -> None:
    tree = ComposeTransforms(
        [
            SpatialTransform((48, 48, 48), 0, False, p_rotation=1, rotation=(-0.5, 0.5), p_scaling=1, scaling=(0.7, 1.4)),
            RandomTransform(GammaTransform((0.7, 1.5), 0, False, 1, 1), 0.5),
            MirrorTransform((0, 1, 2)),
        ]
    )
    image = np.asarray(load_mni152_template(resolution=3).dataobj, np.float32)[None]  # (C, X, Y, Z)
    grey = np.asarray(load_mni152_gm_template(resolution=3).dataobj, np.float32)[None]

    pipeline = fl.compile_transforms(tree)
    for seed in range(20):
        out = pipeline(image=image, segmentation=(grey > 0.5).astype(np.int16), seed=seed)
    print(pipeline.describe())
    print("image", tuple(out["image"].shape), "segmentation", tuple(out["segmentation"].shape))


if __name__ == "__main__":
    main()
