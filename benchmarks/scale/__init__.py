"""What a training or a fleet of predictions takes that is larger than one GPU on one machine."""

import sys
from pathlib import Path

# What the tests have too: data sets, networks, hosts, and processes that are stopped at a known place.
_TESTS = Path(__file__).parents[2] / "tests"
sys.path += [str(_TESTS), str(_TESTS / "prediction")]
