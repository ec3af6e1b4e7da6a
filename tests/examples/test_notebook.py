"""The notebooks run from their first cell to their last, and draw pictures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = {"augmentation.ipynb": ("SpatialTransform", "standard deviation"), "monai.ipynb": ("SpatialTransform", "labels [0")}
"""What each prints."""


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_the_notebook_runs_and_shows_pictures(notebook: str, tmp_path: Path) -> None:
    output = tmp_path / "executed.ipynb"
    # In a process of its own, as whoever opens it: the client of notebooks warns, and keeps an event loop.
    client = "from nbclient.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", client, "--timeout=300", f"--output={output}", str(EXAMPLES / notebook)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(EXAMPLES / "scripts"), os.environ.get("PYTHONPATH", "")])},
        encoding="utf-8",
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    outputs = [out for cell in json.loads(output.read_text(encoding="utf-8"))["cells"] for out in cell.get("outputs", [])]
    assert sum("image/png" in out.get("data", {}) for out in outputs) == 2
    printed = "".join("".join(out.get("text", "")) for out in outputs)
    assert all(text in printed for text in NOTEBOOKS[notebook])


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_the_notebook_is_kept_without_outputs(notebook: str) -> None:
    """Pictures in a repository are never those of the code beside them."""
    every = json.loads((EXAMPLES / notebook).read_text(encoding="utf-8"))["cells"]
    cells = [cell for cell in every if cell["cell_type"] == "code"]
    assert cells and not any(cell["outputs"] or cell["execution_count"] for cell in cells)
