"""The matrix of files. `python -m tests.files [WORD ...]`: rows whose names have all of the words, or all of them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from files import pictures, volumes  # noqa: F401
from files.matrix import difference
from files.row import rows
from files.verdicts import judge


def main(words: list[str]) -> int:
    """Judge, and print. 1 where a verdict is another than nnU-Net's."""
    console = Console(width=None if sys.stdout.isatty() else 220)
    table = Table("reader", "format", "voxels", "kind", "nnU-Net", "this package")
    differing = []
    for row in rows(words):
        with tempfile.TemporaryDirectory() as folder:
            verdicts = judge(row, Path(folder))
        if differs := difference(row, verdicts):
            differing.append(f"{row.name}: {differs}")
        why = f" ({row.refused or row.late})" if row.refused or row.late else ""
        said = f"{'DIFFERS ' if differs else ''}{str(verdicts.ours)[:110]}{why}"
        table.add_row(row.reader, row.ending, row.voxels, row.kind, str(verdicts.theirs)[:70], said)
    console.print(table)
    console.print(
        f"{table.row_count} files, {len(differing)} differ" + "".join(f"\n  {line}" for line in differing), markup=False
    )
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
