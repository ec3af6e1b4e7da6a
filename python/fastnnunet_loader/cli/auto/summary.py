"""The page at the end of a run: what was trained, how good it is, how long it took, with pictures."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...folders import read_json
from ...prediction.session.progress import duration
from ...preview.pictures import Row, draw_rows
from ...preview.views import Labels, View, Viewer, positions_of, tile_of, windows_of
from .choosing import Chosen
from .options import Options
from .steps import Record
from .training import Training

__all__ = ["draw_patches", "draw_validation", "write_page"]

PAGE = "summary.html"
STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; } td, th { padding: .2em 1em .2em 0; text-align: left; border-bottom: 1px solid #ccc; }
img { max-width: 100%; }
"""


def draw_patches(options: Options, plans: str, training: Training, file: Path) -> Path:
    """Draw what the network of a training saw: four patches, each augmented four times."""
    from ...loading.loader import DataLoader
    from ...nnunet.sources import open_source

    name, settings = training.configuration, options.settings
    source = open_source(options.dataset, name, training.fold, options.trainer, plans)
    with DataLoader.from_nnunet(source.train, threads=settings.threads, seed=settings.seed or 0) as loader:
        viewer = Viewer(source, loader)
        rows = [viewer.draws(step, slot, 4) for step, slot in viewer.samples(0, 4)]
    return draw_rows(rows, source.label_names, file, f"{options.dataset}   {name}   training", viewer.legend)


def draw_validation(options: Options, plans: str, chosen: Chosen, file: Path) -> Path | None:
    """Draw the worst and the best case of the cross-validation, with the reference beside the prediction.

    None if the raw images are not there.
    """
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    folder = chosen.postprocessing.parent / "postprocessed"
    found = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["metric_per_case"]
    described = read_json(options.preprocessed / "dataset.json")
    rated = sorted((dice, case) for case in found if np.isfinite(dice := _dice(case)))
    if not rated or not (options.raw / "imagesTr").is_dir():
        return None
    names, values = _labels(described["labels"])
    reader = PlansManager(str(options.preprocessed / f"{plans}.json")).image_reader_writer_class()
    ending = str(described["file_ending"])
    rows = []
    for dice, case in rated[:1] + rated[1:][-1:]:
        name = Path(case["prediction_file"]).name.removesuffix(ending)
        images = sorted(str(path) for path in (options.raw / "imagesTr").glob(f"{name}_[0-9][0-9][0-9][0-9]{ending}"))
        if not images:
            continue
        image, properties = reader.read_images(images[:1])
        files = (case["reference_file"], str(folder / f"{name}{ending}"))
        views = [_view(image, reader.read_seg(file)[0], values) for file in files]
        at, windows = positions_of(views[0]), windows_of(views[0].image)
        spacing = [float(s) for s in properties["spacing"]][-len(at) :]
        titles = ("reference", "prediction")
        tiles = [tile_of(title, [], view, at, windows, spacing) for title, view in zip(titles, views, strict=True)]
        rows.append(Row(name, f"Dice {dice:.3f}", [tiles]))
    return draw_rows(rows, names, file, f"{options.dataset}   cross-validation", "outlines: labels") if rows else None


def _dice(case: Mapping[str, Any]) -> float:
    scores = [float(of_label["Dice"]) for of_label in case["metrics"].values()]
    there = [score for score in scores if np.isfinite(score)]
    return float(np.mean(there)) if there else float("nan")


def _labels(described: Mapping[str, Any]) -> tuple[dict[int, str], dict[int, tuple[int, ...]]]:
    """Names and labels by their place in the legend."""
    foreground = {name: value for name, value in described.items() if name not in ("background", "ignore")}
    values = [tuple(value) if isinstance(value, (list, tuple)) else (value,) for value in foreground.values()]
    return dict(enumerate(foreground)), {place: tuple(int(v) for v in value) for place, value in enumerate(values)}


def _view(image: Any, labels: Any, values: Mapping[int, tuple[int, ...]]) -> View:
    image, labels = np.asarray(image, np.float32), np.asarray(labels)
    if image.shape[1] == 1:  # nnU-Net reads a picture as one slice
        image, labels = image[:, 0], labels[:, 0]
    return View(image, Labels(labels, values), None)


def write_page(
    options: Options,
    file: Path,
    *,
    trainings: Sequence[Training],
    chosen: Chosen,
    record: Record,
    pictures: Sequence[tuple[str, Path]],
    notes: Sequence[str],
) -> None:
    """Write the page as a whole.

    Args:
        options: of the run.
        file: the page.
        trainings: all of them.
        chosen: the best.
        record: times and notes of all runs together.
        pictures: heading and file of each.
        notes: lines of text.
    """
    file.parent.mkdir(parents=True, exist_ok=True)

    def link(target: Path) -> str:
        return html.escape(os.path.relpath(target, file.parent))

    seconds = record.seconds
    rows = [["configuration", "fold", "Dice", "time", "", ""]]
    for training in trainings:
        curve = training.folder / "progress.png"
        shown = f'<a href="{link(curve)}">progress</a>' if curve.is_file() else ""
        took = duration(seconds[training.title]) if training.title in seconds else ""
        said = html.escape(record.notes.get(training.title, ""))
        rows.append([training.configuration, str(training.fold), f"{training.dice():.3f}", took, shown, said])
    scores = [["model", "Dice of the cross-validation"]]
    scores += [[html.escape(name), f"{dice:.3f}"] for name, dice in chosen.scores.items()]
    times = [["step", "time"], *([html.escape(step), duration(took)] for step, took in seconds.items())]
    times.append(["all", duration(sum(seconds.values()))])
    parts = [
        f"<h1>{html.escape(options.dataset)}</h1>",
        f"<p>Best: {html.escape(chosen.described)} ({chosen.before:.3f} before the postprocessing).</p>",
        *(f"<p>{html.escape(note)}</p>" for note in notes),
        "<h2>Trainings</h2>",
        _table(rows),
        "<h2>Models</h2>",
        _table(scores),
        *(f'<h2>{html.escape(head)}</h2><img alt="{html.escape(head)}" src="{link(path)}">' for head, path in pictures),
        "<h2>Times</h2>",
        _table(times),
    ]
    head = f'<meta charset="utf-8"><title>{html.escape(options.dataset)}</title><style>{STYLE}</style>'
    text = f"<!doctype html>\n<html><head>{head}</head><body>\n" + "\n".join(parts) + "\n</body></html>\n"
    beside = file.with_name(f".{file.name}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(file)


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body]
    return "<table>\n" + "\n".join(lines) + "\n</table>"
