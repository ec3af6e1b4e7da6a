"""Benchmarks. Each builds its data, runs both sides in one go, and prints what it measured."""

import sys
from pathlib import Path

# What the tests of transforms have too: the recording of what batchgeneratorsv2 draws, and nnU-Net's trainers.
sys.path.append(str(Path(__file__).parents[1] / "tests" / "transforms"))
