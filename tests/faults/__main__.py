"""The table of all faults: what was promised, what was seen, and what is left. `python -m tests.faults [WORD ...]`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from datasets import prepared
from faults import disks, files, limits, lives, preprocessing, python_code, signals, threads  # noqa: F401
from faults.fault import FAULTS
from faults.harness import Faults


def main(words: list[str]) -> int:
    """Run the faults whose names have one of the words, or all. 1 where one came out differently."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    table = Table("fault", "promised", "seen", "s", "threads", "handles", "buffers", show_lines=True)
    differing = []
    with tempfile.TemporaryDirectory() as scratch:
        given = os.environ.get("FASTNNUNET_TEST_CACHE")
        cache = Path(given).resolve() if given else Path(scratch, "cache")
        dataset = prepared("default", cache, Path(scratch, "results"))
        with Faults(dataset.name, dataset.env, Path(scratch)) as faults:
            for fault in FAULTS:
                if words and not any(word in fault.name for word in words):
                    continue
                outcome = faults.run(fault.name)
                if not outcome.good:
                    differing.append(fault.name)
                if sys.stderr.isatty():
                    print(f"{'' if outcome.good else 'DIFFERS '}{fault.name}", file=sys.stderr)
                seen = outcome.seen if outcome.good else f"DIFFERS: {outcome.seen}"
                if outcome.processes:
                    seen += f"; {outcome.processes} processes left"
                left = (outcome.threads, outcome.handles, outcome.buffers)
                table.add_row(fault.name, fault.promised, seen, f"{outcome.seconds:.1f}", *map(str, left))
    console.print(table)
    console.print(f"{table.row_count} faults, {len(differing)} differ" + "".join(f"\n  {name}" for name in differing))
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
