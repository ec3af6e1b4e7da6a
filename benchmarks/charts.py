"""Charts of the figures in benchmarks/results, for the README.

    python -m benchmarks.charts

Draws docs/images/training.png, loader.png, stages.png, transforms.png, peers.png, scripts.png, preprocessing.png and
prediction.png from the JSON that the benchmarks wrote.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

RESULTS, IMAGES = Path("benchmarks/results"), Path("docs/images")
LARGEST_RATIO = 100
LEAST_SHARE = 0.04  # of a stage that is shown by itself
LEAST_MS = 1e-2  # that a chart shows
OURS, THEIRS, FLOOR = "#1f77b4", "#b8c0cc", "#d62728"
FLOOR_OF = "floor: c-blosc2 decompresses the patch"


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
    _mark_floors(axes, [row["floor"] for row in rows], [-i for i in range(len(rows))])
    _finish_seconds(figure, figures, file)


def stages_chart(figures: dict[str, Any], file: Path) -> None:
    """Where the thread time of a sample goes; what takes little is put together."""
    rows = figures["rows"]
    shares, floors = [], []
    for row in rows:
        stages: dict[str, list[float]] = {}
        for run in row["ours"]:
            for name, seconds in run["stages"].items():
                stages.setdefault(name, []).append(seconds)
        middle = {name.removesuffix("Transform"): statistics.median(values) for name, values in stages.items()}
        shares.append({name: seconds / sum(middle.values()) for name, seconds in middle.items()})
        floors.append(100 * row["floor"] / sum(middle.values()))
    shown = sorted({name for share in shares for name, part in share.items() if part >= LEAST_SHARE})
    figure = Figure(figsize=(9, 0.42 * len(rows) + 2.4), layout="constrained")
    axes = figure.subplots()
    left = [0.0] * len(rows)
    for number, name in enumerate([*shown, "all others"]):
        parts = [
            100 * (share.get(name, 0.0) if name in shown else sum(part for other, part in share.items() if other not in shown))
            for share in shares
        ]
        colour = THEIRS if name not in shown else f"C{number % 10}"
        hatch = "//" if name in shown and number >= 10 else None
        axes.barh([row["name"] for row in rows], parts, 0.7, left=left, label=name, color=colour, hatch=hatch)
        left = [a + b for a, b in zip(left, parts, strict=True)]
    inside = [(share, place) for place, share in enumerate(floors) if share <= 100]
    _mark_floors(axes, [share for share, _ in inside], [place for _, place in inside])
    for place, share in enumerate(floors):
        if share > 100:
            axes.annotate(f"→ {share:.0f}", (100.5, place), color=FLOOR, va="center", fontsize=8)
    axes.invert_yaxis()
    axes.set(xlim=(0, 108), xlabel="% of a sample's thread time")
    figure.legend(loc="outside upper center", ncols=4, fontsize=8)
    _save(figure, figures["machine"], file)


def peers_chart(figures: dict[str, Any], file: Path) -> None:
    runs = {name: _seconds(measured) for name, measured in figures["runs"].items()}
    figure = Figure(figsize=(9, 0.42 * len(runs) + 1.6), layout="constrained")
    axes = figure.subplots()
    colours = [OURS if name == "fastnnunet-loader" else THEIRS for name in runs]
    bars = axes.barh(list(runs), list(runs.values()), 0.6, color=colours)
    axes.bar_label(bars, [f"{value:.3g}" for value in runs.values()], padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(figures["floor"], color=FLOOR, linestyle="--", linewidth=1, label=FLOOR_OF)
    _finish_seconds(figure, figures, file)


def scripts_chart(figures: dict[str, Any], file: Path) -> None:
    """What feeding the same training costs beyond the training itself, and the memory of all processes."""
    runs = figures["runs"]

    def middle(name: str, value: Callable[[dict[str, float]], float]) -> float:
        return statistics.median(value(run) for run in runs[name])

    panels: list[tuple[str, Callable[[dict[str, float]], float]]] = [
        ("CPU s a sample, batches alone", lambda run: run["batch_cpu_seconds_per_sample"]),
        ("iterations/s (more is better)", lambda run: run["iterations_per_second"]),
        ("CPU s a sample, all processes, with the training", lambda run: run["cpu_seconds_per_sample"]),
        ("peak memory, GiB", lambda run: run["peak_memory"] / 2**30),
        ("first batch, s", lambda run: run["first_batch_seconds"]),
    ]
    figure = Figure(figsize=(14, 0.42 * len(runs) + 1.6), layout="constrained")
    colours = [OURS if name == "fastnnunet-loader" else THEIRS for name in runs]
    for axes, (label, value) in zip(figure.subplots(1, len(panels), sharey=True), panels, strict=True):
        values = [middle(name, value) for name in runs]
        axes.bar_label(axes.barh(list(runs), values, 0.6, color=colours), [f"{v:.3g}" for v in values], padding=3, fontsize=8)
        axes.set_xlabel(label, fontsize=8)
        axes.margins(x=0.25)
    axes.invert_yaxis()
    _save(figure, figures["machine"], file)


def preprocessing_chart(figures: dict[str, Any], file: Path) -> None:
    """CPU seconds of whole commands, for each data set."""
    found = {(one["data"], one["step"], one["side"]): one["cpu_seconds"] for one in figures["figures"]}
    parts = list(dict.fromkeys(one["data"] for one in figures["figures"]))
    steps = list(dict.fromkeys(one["step"] for one in figures["figures"]))
    figure = Figure(figsize=(12, 3.2), layout="constrained")
    for axes, part in zip(figure.subplots(1, len(parts), sharey=True), parts, strict=True):
        for shift, side, label, colour in ((0.2, "nnunet", "nnU-Net", THEIRS), (-0.2, "fastnnunet", "fastnnunet", OURS)):
            values = [found[part, step, side] for step in steps]
            bars = axes.barh([-i + shift for i in range(len(steps))], values, 0.38, color=colour, label=label)
            axes.bar_label(bars, [f"{value:.1f}" for value in values], padding=3, fontsize=8)
        for place, step in enumerate(steps):
            if (part, step, "floor") in found:
                label = "floor: reading and compressing"
                axes.vlines(found[part, step, "floor"], -place - 0.42, -place + 0.42, color=FLOOR, linewidth=2, label=label)
        axes.set_yticks([-i for i in range(len(steps))], steps)
        axes.set(xlabel="CPU seconds (less is better)", title=part)
        axes.margins(x=0.18)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=8)
    _save(figure, figures["machine"], file)


def training_chart(figures: list[dict[str, Any]], file: Path) -> None:
    """Iterations per second on a GPU, for each set-up that was measured."""
    sides = (("fastnnunet", "fed by fastnnunet-loader", OURS), ("nnunet", "fed by nnU-Net's loader", THEIRS))
    figure = Figure(figsize=(9, 0.8 * len(figures) + 1.6), layout="constrained")
    axes = figure.subplots()
    names = []
    for place, measured in enumerate(figures):
        facts, runs = measured["machine"], measured["runs"]
        speeds = {feed: statistics.median(run["iterations_per_second"] for run in runs[feed]) for feed in runs}
        names.append(f"{facts['cores']} cores, network {'' if facts['compiled'] else 'not '}compiled")
        for shift, (feed, label, colour) in zip((-0.2, 0.2), sides, strict=True):
            bar = axes.barh(place + shift, speeds[feed], 0.38, color=colour, label=label if place == 0 else None)
            axes.bar_label(bar, [f"{speeds[feed]:.1f}"], label_type="center", fontsize=8)
        label = "fed with one batch again and again" if place == 0 else None
        axes.vlines(speeds["one batch"], place - 0.42, place + 0.42, color=FLOOR, linewidth=2, label=label)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set(xlabel="iterations per second of nnU-Net's default training, 2 x 128^3 (more is better)")
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)
    facts = figures[0]["machine"]
    figure.supxlabel(f"{facts['device']}; {facts['processor']}, {facts['vectors']}; commit {facts['commit']}", fontsize=7)
    figure.savefig(file, dpi=110)
    print(file)


def prediction_chart(figures: dict[str, Any], file: Path) -> None:
    """Work that one thread does, and whole predictions."""
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    works, memory = figure.subplots(1, 2)
    panels = (
        (works, figures["results"], lambda r: r["work"] + (" classes" if "export" in r["work"] else ""), "cpu_seconds", 1.0),
        (memory, figures["runs"], lambda r: f"{r['cases']} cases", "peak_memory", 2.0**30),
    )
    for axes, measured, name_of, figure_of, unit in panels:
        names = list(dict.fromkeys(name_of(r) for r in measured))
        for shift, side, label, colour in ((-0.2, "nnunet", "nnU-Net", THEIRS), (0.2, "fastnnunet", "fastnnunet-loader", OURS)):
            of_side = {name_of(r): r[figure_of] / unit for r in measured if r["side"] == side}
            places = [number + shift for number, name in enumerate(names) if name in of_side]
            bars = axes.bar(places, [of_side[name] for name in names if name in of_side], 0.38, color=colour, label=label)
            axes.bar_label(bars, [f"{of_side[name]:.3g}" for name in names if name in of_side], padding=2, fontsize=8)
        axes.set_xticks(range(len(names)), names, rotation=20)
        axes.margins(y=0.12)
    works.set(yscale="log", ylabel="CPU seconds, one thread", title="export to and resizing to 301 x 370 x 316")
    memory.set(ylabel="peak memory of all processes, GiB", title="predict on the CPU, from start to end")
    figure.legend(*works.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=8)
    _save(figure, figures["machine"], file)


def transforms_chart(figures: dict[str, Any], file: Path) -> None:
    rows = sorted((row for row in figures["leaves"] if row["ratio"] is not None), key=lambda row: -row["bgv2_ms"])
    figure = Figure(figsize=(9, 0.24 * len(rows) + 1.8), layout="constrained")
    axes = figure.subplots()
    # What costs next to nothing is drawn at the edge.
    ours = [max(row["native_ms"], LEAST_MS) for row in rows]
    theirs = [row["bgv2_ms"] for row in rows]
    places = list(range(len(rows)))
    axes.hlines(places, ours, theirs, color=THEIRS, linewidth=2, zorder=1)
    axes.scatter(theirs, places, color=THEIRS, zorder=2, label="batchgeneratorsv2")
    axes.scatter(ours, places, color=OURS, zorder=2, label="fastnnunet-loader")
    for row, place, value in zip(rows, places, theirs, strict=True):
        times = f"> {LARGEST_RATIO}" if row["ratio"] > LARGEST_RATIO else f"{row['ratio']:.1f}"
        axes.annotate(times, (value, place), (7, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(places, [row["name"] for row in rows])
    axes.invert_yaxis()
    axes.axvline(1e3 * figures["floor"], color=FLOOR, linestyle="--", linewidth=1, label=FLOOR_OF)
    axes.set(xscale="log", xlabel="ms for 128^3, one thread (less is better; times as fast)")
    axes.margins(x=0.12, y=0.02)
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)
    _save(figure, figures["machine"], file)


def _mark_floors(axes: Axes, floors: list[float], places: list[int]) -> None:
    axes.vlines(floors, [p - 0.42 for p in places], [p + 0.42 for p in places], color=FLOOR, linewidth=2, label=FLOOR_OF)


def _finish_seconds(figure: Figure, figures: dict[str, Any], file: Path) -> None:
    (axes,) = figure.axes
    axes.set(xscale="log", xlabel="CPU seconds per sample (less is better)")
    axes.margins(x=0.12)
    figure.legend(loc="outside upper center", ncols=3, fontsize=8)
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
    charts = (
        ("loader", loader_chart, "loader"),
        ("loader", stages_chart, "stages"),
        ("transforms", transforms_chart, "transforms"),
        ("peers", peers_chart, "peers"),
        ("scripts", scripts_chart, "scripts"),
        ("preprocessing", preprocessing_chart, "preprocessing"),
        ("prediction", prediction_chart, "prediction"),
    )
    for name, draw, picture in charts:
        results = RESULTS / f"{name}.json"
        if results.is_file():
            draw(json.loads(results.read_text(encoding="utf-8")), IMAGES / f"{picture}.png")
        else:
            print(f"expected {results}, got none: python -m benchmarks.{name} --json {results}", file=sys.stderr)
            missing = 1
    trainings = [RESULTS / f"training{kind}.json" for kind in ("", "_not_compiled", "_two_cores")]
    training_chart([json.loads(file.read_text(encoding="utf-8")) for file in trainings], IMAGES / "training.png")
    return missing


if __name__ == "__main__":
    sys.exit(main())
