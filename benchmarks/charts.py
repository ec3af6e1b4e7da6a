"""Charts of the figures in benchmarks/results, for the README.

    python -m benchmarks.charts

Draws docs/images/loader.png, transforms.png and peers.png from the JSON that the benchmarks wrote.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

RESULTS, IMAGES = Path("benchmarks/results"), Path("docs/images")
LARGEST_RATIO = 100
OURS, THEIRS, FLOOR = "#1f77b4", "#b8c0cc", "#d62728"


def loader_chart(figures: dict[str, Any], file: Path) -> None:
    rows = figures["rows"]
    names = [row["name"] for row in rows]
    sides = {
        "nnU-Net's loader": ([_seconds(row["nnunets"]) for row in rows], THEIRS),
        "fastnnunet-loader": ([_seconds(row["ours"]) for row in rows], OURS),
    }
    figure = Figure(figsize=(9, 0.62 * len(rows) + 1.6), layout="constrained")
    axes = figure.subplots()
    for shift, (label, (values, colour)) in zip((0.2, -0.2), sides.items(), strict=True):
        bars = axes.barh([-i + shift for i in range(len(rows))], values, 0.38, color=colour, label=label)
        axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=3, fontsize=8)
    axes.set_yticks([-i for i in range(len(rows))], names)
    _finish_seconds(figure, figures, file, columns=3)


def peers_chart(figures: dict[str, Any], file: Path) -> None:
    runs = {name: _seconds(measured) for name, measured in figures["runs"].items()}
    figure = Figure(figsize=(9, 0.42 * len(runs) + 1.6), layout="constrained")
    axes = figure.subplots()
    colours = [OURS if name == "fastnnunet-loader" else THEIRS for name in runs]
    bars = axes.barh(list(runs), list(runs.values()), 0.6, color=colours)
    axes.bar_label(bars, [f"{value:.3g}" for value in runs.values()], padding=3, fontsize=8)
    axes.invert_yaxis()
    _finish_seconds(figure, figures, file, columns=1)


def _finish_seconds(figure: Figure, figures: dict[str, Any], file: Path, columns: int) -> None:
    (axes,) = figure.axes
    axes.axvline(figures["floor"], color=FLOOR, linestyle="--", linewidth=1, label="floor: c-blosc2 decompresses 128^3")
    axes.set(xscale="log", xlabel="CPU seconds per sample (less is better)")
    axes.margins(x=0.12)
    figure.legend(loc="outside upper center", ncols=columns, fontsize=8)
    _save(figure, figures["machine"], file)


def transforms_chart(figures: dict[str, Any], file: Path) -> None:
    rows = sorted((row for row in figures["leaves"] if row["ratio"] is not None), key=lambda row: row["ratio"])
    figure = Figure(figsize=(9, 0.24 * len(rows) + 1.4), layout="constrained")
    axes = figure.subplots()
    # What costs next to nothing has no ratio that could be measured.
    ratios = [min(row["ratio"], LARGEST_RATIO) for row in rows]
    bars = axes.barh([row["name"] for row in rows], ratios, color=OURS)
    labels = [f"> {LARGEST_RATIO}" if row["ratio"] > LARGEST_RATIO else f"{row['ratio']:.1f}" for row in rows]
    axes.bar_label(bars, labels, padding=3, fontsize=8)
    axes.set(xscale="log", xlabel="times as fast as batchgeneratorsv2's, one thread")
    axes.margins(x=0.1, y=0.01)
    _save(figure, figures["machine"], file)


def _seconds(runs: list[dict[str, Any]]) -> float:
    return statistics.median(run["cpu_seconds_per_sample"] for run in runs)


def _save(figure: Figure, facts: dict[str, Any], file: Path) -> None:
    figure.supxlabel(f"{facts['processor']}, {facts['vectors']}, {facts['cores']} cores; commit {facts['commit']}", fontsize=7)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    print(file)


def main() -> int:
    missing = 0
    for name, draw in (("loader", loader_chart), ("transforms", transforms_chart), ("peers", peers_chart)):
        results = RESULTS / f"{name}.json"
        if results.is_file():
            draw(json.loads(results.read_text(encoding="utf-8")), IMAGES / f"{name}.png")
        else:
            print(f"expected {results}, got none: python -m benchmarks.{name} --json {results}", file=sys.stderr)
            missing = 1
    return missing


if __name__ == "__main__":
    sys.exit(main())
