"""`python -m tests.digests [FILE]`: prints the digests of this build as JSON, or writes them into the committed file's form."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from digests.batches import digests, environment, libm, versions
from digests.predictions import digests_of_predictions

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        os.environ.update(environment(Path(scratch)))
        made = dict(digests(Path(scratch)))
    content = {"versions": versions(), "libm": [libm()], "digests": made, "predictions": dict(digests_of_predictions())}
    text = json.dumps(content, indent=2) + "\n"
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
