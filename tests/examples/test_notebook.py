"""The notebook runs from its first cell to its last, and draws pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

NOTEBOOK = Path(__file__).parents[2] / "examples" / "augmentation.ipynb"


def test_the_notebook_runs_and_shows_pictures(tmp_path: Path) -> None:
    output = tmp_path / "executed.ipynb"
    # In a process of its own, as whoever opens it: the client of notebooks warns, and keeps an event loop.
    done = subprocess.run(
        [sys.executable, "-c", "from nbclient.cli import main; main()", "--timeout=300", f"--output={output}", str(NOTEBOOK)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    outputs = [out for cell in json.loads(output.read_text(encoding="utf-8"))["cells"] for out in cell.get("outputs", [])]
    assert sum("image/png" in out.get("data", {}) for out in outputs) == 2
    printed = "".join("".join(out.get("text", "")) for out in outputs)
    assert "SpatialTransform" in printed and "standard deviation" in printed


def test_the_notebook_is_kept_without_outputs() -> None:
    """Pictures in a repository are never those of the code beside them."""
    cells = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert cells and not any(cell["outputs"] or cell["execution_count"] for cell in cells)
