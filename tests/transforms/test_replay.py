"""What a replay refuses."""

from __future__ import annotations

import numpy as np
import pytest
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from test_trainers import of_trainer

import fastnnunet_loader as fl


def test_replay_refuses_a_transform_of_another_tree() -> None:
    tree = of_trainer((20, 20, 20))
    pipeline = fl.compile_transforms(tree)
    stranger = MirrorTransform((0, 1, 2))
    with pytest.raises(ValueError, match=r"\[replay\] expected a transform of the compiled tree"):
        pipeline.replay([(stranger, {"axes": []})], image=np.zeros((1, 20, 20, 20), np.float32))
