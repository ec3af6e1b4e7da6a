"""How far training and prediction go beyond one GPU and one machine: what they cost, and what holds on slow storage and on Ray.

    python -m benchmarks.scale [samples] [cases] [storage] [fleet] [hosts] [--json benchmarks/results/scale.json] [--short]

samples: CPU seconds of a sample of nnU-Net's default training (128^3, real brains of 1 mm) on one core, samples per second on
two, and bytes that are read of the files. cases: the same of a case that is preprocessed, and of what a prediction does beside
the network. storage: epochs from nginx behind a cable of limited rate (`tc`, two network namespaces): a second epoch, kill -9
while copying, two runs at once, a full disk, files that changed at the source; bytes are counted at the server. fleet: 20
cases on two Ray nodes of this machine, one of them killed in the middle, beside the single process. hosts: `python -m
tests.hosts`, trainings under torchrun on two hosts that are network namespaces, with killed ranks and a lost host.

Every scene is checked, and the command exits with 1 where one does not hold. storage and hosts need root, storage also nginx,
iproute2 and util-linux (`apt-get install nginx iproute2`); fleet needs `pip install ray`. `--short` takes some minutes in all,
on brains of 4 mm: its figures mean nothing. `--markdown docs/scale.md` writes what docs/scale.md says of a complete file of
figures.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.machine import described, machine, prepare
from fastnnunet_loader import demo

from . import costs, fleet, page, server, storage

PARTS = ("samples", "cases", "storage", "fleet", "hosts")
MIB = 2**20


@dataclass(frozen=True)
class Form:
    """How large a measurement is."""

    short: bool
    seconds: float
    repetitions: int
    megabits: int
    """Of the cable to the server, per second."""
    cases: int
    """To predict."""


LONG = Form(False, 10.0, 3, 200, 20)
SHORT = Form(True, 2.0, 1, 20, 8)


class Data:
    """A preprocessed data set, and a network with images for it, made when they are first asked for."""

    def __init__(self, root: Path, form: Form, log: Console) -> None:
        self._root, self._form, self._log = root, form, log

    def dataset(self) -> str:
        """The name of one whose folders nnU-Net's variables name from then on."""
        return str(self._small().name) if self._form.short else prepare(self._root, self._log)

    def folder(self) -> tuple[Path, tuple[int, ...]]:
        """Its preprocessed cases, and its patch size."""
        name = self.dataset()
        folder = Path(os.environ["nnUNet_preprocessed"]) / name
        plans = json.loads((folder / "nnUNetPlans.json").read_text(encoding="utf-8"))
        wanted = plans["configurations"]["3d_fullres"]
        return folder / str(wanted["data_identifier"]), tuple(wanted["patch_size"])

    def model(self) -> tuple[Path, Path]:
        """The folder of a model of brains of 4 mm, and a folder of images that it has not seen."""
        from models import model_folder

        images = self._root / f"to_predict-{self._form.cases}"
        if not images.is_dir():
            part = images.with_name(f"{images.name}.part")
            with redirect_stdout(StringIO()):
                demo.build_dataset(part, 1, "brains", cases=self._form.cases, resolution=4, seed=1)
            part.rename(images)
        return model_folder(self._small(), self._root), images / "Dataset001_brains" / "imagesTr"

    def _small(self) -> Any:
        from datasets import prepared

        small = prepared("default", self._root, self._root / "nnUNet_results")
        os.environ.update(small.env)
        return small


def missing(parts: list[str]) -> str | None:
    """Say what the machine lacks for these parts."""
    if "storage" in parts:
        if os.name != "posix" or os.geteuid() != 0:
            return "[storage] expected root, which network namespaces need, got another user"
        if (problem := server.missing_program()) is not None:
            return f"[storage] {problem}"
    if "fleet" in parts and importlib.util.find_spec("ray") is None:
        return "[fleet] expected the package ray, got none\n  pip install ray"
    return None


def storage_table(found: dict[str, Any]) -> Table:
    table = Table(title=f"from nginx at {found['megabits_per_second']} Mbit/s; the data set has {found['bytes'] / MIB:.1f} MiB")
    for heading in ("scene", "seconds", "requests", "MiB sent", "checks hold"):
        table.add_column(heading, justify="left" if heading == "scene" else "right")
    for row in found["rows"]:
        seconds, sent = f"{row['seconds']:.1f}", f"{row['sent'] / MIB:.2f}"
        held = list(row["holds"].values())
        table.add_row(row["scene"], seconds, str(row["requests"]), sent, f"{sum(held)} of {len(held)}")
    return table


def fleet_table(found: dict[str, Any]) -> Table:
    table = Table(title=f"{found['cases']} cases")
    for heading in ("command", "first case after, s", "each other case, s", "whole, s"):
        table.add_column(heading, justify="left" if heading == "command" else "right")
    for run in found["runs"]:
        table.add_row(run["name"], f"{run['first']:.1f}", f"{run['each']:.2f}", f"{run['seconds']:.1f}")
    table.caption = told(found["holds"])
    return table


def told(holds: dict[str, bool]) -> str:
    return "\n".join(f"{'yes' if true else 'NO '} {what}" for what, true in holds.items())


def failures(written: dict[str, Any]) -> list[str]:
    """What does not hold."""
    rows = [(row["scene"], row["holds"]) for row in written.get("storage", {}).get("rows", [])]
    rows += [(part, written.get(part, {}).get("holds", {})) for part in ("fleet", "hosts")]
    return [f"{scene}: {what}" for scene, holds in rows for what, true in holds.items() if not true]


def measure(parts: list[str], form: Form, data: Data, console: Console, say: Callable[[str], None]) -> dict[str, Any]:
    facts = machine()
    written: dict[str, Any] = {"machine": facts, "short": form.short}
    if "samples" in parts:
        written["samples"] = costs.measure_samples(data.dataset(), form.seconds, form.repetitions, say)
        console.print_json(data=written["samples"])
    if "cases" in parts:
        preprocessed = costs.measure_preprocessing(data.dataset(), form.repetitions, say)
        written["cases"] = {"preprocessed": preprocessed, "predicted": costs.measure_export(form.repetitions, say)}
        console.print_json(data=written["cases"])
    if "storage" in parts:
        folder, patch = data.folder()
        written["storage"] = storage.measure(folder, patch, form.megabits, say)
        console.print(storage_table(written["storage"]))
    if "fleet" in parts:
        written["fleet"] = fleet.measure(*data.model(), say)
        console.print(fleet_table(written["fleet"]))
        facts["versions"]["ray"] = importlib.metadata.version("ray")
    if "hosts" in parts:
        say("hosts: python -m tests.hosts")
        done = subprocess.run([sys.executable, "-m", "tests.hosts"], check=False)
        written["hosts"] = {"holds": {"all checks of python -m tests.hosts": done.returncode == 0}}
    console.print(described(facts), style="dim")
    return written


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here; those of other parts stay there")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the section of this page anew from --json, measure nothing"
    )
    parser.add_argument("--data", type=Path, default=Path("build/benchmark-data"), help="folder that keeps data and network")
    parser.add_argument("--short", action="store_true", help="small and quick, to try it: figures mean nothing")
    args = parser.parse_args()
    if set(args.parts) - set(PARTS):
        parser.error(f"expected parts of {', '.join(PARTS)}")
    if args.markdown is not None:
        if args.json is None:
            parser.error("expected --json FILE with --markdown")
        page.write(args.markdown, json.loads(args.json.read_text(encoding="utf-8")))
        return 0
    parts = args.parts or list(PARTS)
    if (problem := missing(parts)) is not None:
        parser.error(problem)
    root, form = args.data.resolve(), SHORT if args.short else LONG
    root.mkdir(parents=True, exist_ok=True)
    os.environ.update(demo.nnunet_environment(root))
    log, console = Console(stderr=True), Console()
    written = measure(parts, form, Data(root, form, log), console, lambda text: log.print(text, highlight=False, markup=False))
    if args.json:
        kept = json.loads(args.json.read_text(encoding="utf-8")) if args.json.is_file() else {}
        both = {**kept, **written} if kept.get("short") == form.short else written
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(both, indent=1) + "\n", encoding="utf-8")
    failed = failures(written)
    for failure in failed:
        console.print(f"does not hold: {failure}", style="red", markup=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
