"""What docs/scale.md says of cores, memory and bandwidth is computed from benchmarks/results/scale.json."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.scale import page
from blocks import DOCS, ROOT

FIGURES = ROOT / "benchmarks" / "results" / "scale.json"


def test_the_page_says_what_was_measured() -> None:
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    assert not figures["short"]
    text = (DOCS / "scale.md").read_text(encoding="utf-8")
    assert page.section(figures).strip() in text, (
        "python -m benchmarks.scale --markdown docs/scale.md --json benchmarks/results/scale.json"
    )


def test_every_scene_that_is_reported_held() -> None:
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    held = [holds for row in figures["storage"]["rows"] for holds in row["holds"].values()]
    held += figures["fleet"]["holds"].values()
    assert len(held) > 20 and all(held)


def test_the_section_is_written_anew(tmp_path: Path) -> None:
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    file = tmp_path / "page.md"
    file.write_text(f"before\n{page.BEGIN}\nsuperseded\n{page.END}\nafter\n", encoding="utf-8")
    figures["samples"]["cpu_seconds"] = 0.5
    page.write(file, figures)
    text = file.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "superseded" not in text
    assert "500.0 ms of CPU time" in text
