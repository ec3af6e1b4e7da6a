"""The table of programs that build on nnU-Net: `python -m tests.guests [NAME ...]`. Exit code 1 where a promise is broken."""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from datasets import prepared
from guests import programs
from guests.guest import Guest
from guests.table import rows_of
from prediction.models import model_folder


def guests(words: list[str]) -> list[Guest]:
    """The programs whose names have one of the words, or all."""
    modules = [importlib.import_module(f"guests.programs.{module.name}") for module in pkgutil.iter_modules(programs.__path__)]
    known: list[Guest] = [module.GUEST for module in modules if hasattr(module, "GUEST")]
    return [guest for guest in known if not words or any(word.lower() in guest.name.lower() for word in words)]


def main() -> int:
    """Run them, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.guests", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a program, or a part of it (default: all)")
    parser.add_argument(
        "--cache", type=Path, default=os.environ.get("FASTNNUNET_TEST_CACHE"), metavar="FOLDER",
        help="keeps the programs' environments, a data set and a network (default: FASTNNUNET_TEST_CACHE, else they go)",
    )  # fmt: skip
    given = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 200)
    table = Table(
        "program", "nnU-Net", "what it ran", "fastnnunet_loader", "processes", "/dev/shm", "voxels that differ", "seconds",
        "as promised", show_lines=True,
    )  # fmt: skip
    said: dict[str, list[str]] = {}
    notes: list[str] = []
    broken = 0
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch, "cache") if given.cache is None else Path(given.cache).resolve()
        dataset = prepared("default", cache, Path(scratch, "results"))
        model = model_folder(dataset, cache)
        for guest in guests(given.names):
            for row in rows_of(guest, dataset, model, cache):
                broken += bool(row.faults)
                remarks = [*(f"NO: {fault}" for fault in row.faults), *(f"said: {text}" for text in row.said)]
                table.add_row(
                    f"{row.program} {row.version}", row.nnunet, row.what, row.order, row.processes, row.shared_memory,
                    row.voxels, row.seconds, "NO" if row.faults else "with a word" if row.said else "yes",
                )  # fmt: skip
                for remark in remarks:
                    said.setdefault(remark, []).append(f"{row.program}, {row.what}, {row.order}")
                print(f"{row.program}, {row.what}, {row.order}: {'; '.join(remarks) or 'yes'}", file=sys.stderr)
            if guest.note:
                notes.append(f"{guest.name}: {guest.note}")
    console.print(table)
    console.print("processes, /dev/shm and seconds: with nnU-Net alone / with this package")
    console.print("/dev/shm: how often a file in it was opened; joblib, which nnU-Net needs, opens one when it is imported")
    for line in notes:
        console.print(line, highlight=False)
    for remark, where in said.items():
        console.print(f"{remark}\n    {'; '.join(where)}", highlight=False, markup=False)
    console.print(f"{table.row_count} rows, {broken} not as promised")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
