"""The table of all checks: what is promised, what was seen. `python -m tests.gpu [WORD ...]`; 1 where one differs."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(1, str(Path(__file__).parents[1] / "nnunet"))
sys.path.insert(2, str(Path(__file__).parents[1] / "prediction"))

import torch

from datasets import prepared
from gpu import ahead, pinned, prediction, training  # noqa: F401
from gpu.check import CHECKS, Scene


def main(words: list[str]) -> int:
    """Run the checks whose names have one of the words, or all."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    if not torch.cuda.is_available():
        console.print("tests.gpu: expected a CUDA device, found none", style="red")
        return 2
    table = Table("check", "promised", "seen", "s", show_lines=True)
    differing = []
    with tempfile.TemporaryDirectory() as scratch:
        given = os.environ.get("FASTNNUNET_TEST_CACHE")
        cache = Path(given).resolve() if given else Path(scratch, "cache")
        dataset = prepared("default", cache, Path(scratch, "results"))
        os.environ.update(dataset.env)
        for number, each in enumerate(CHECKS):
            if words and not any(word in each.name for word in words):
                continue
            folder = Path(scratch, str(number))
            folder.mkdir()
            started = time.perf_counter()
            try:
                seen = each.run(Scene(dataset, cache, folder))
            except Exception as error:
                differing.append(each.name)
                traceback.print_exc()
                seen = f"DIFFERS: {str(error)[:600]}"
            seconds = time.perf_counter() - started
            print(f"{each.name}: {seen} ({seconds:.1f} s)", file=sys.stderr, flush=True)
            table.add_row(each.name, each.promised, escape(seen), f"{seconds:.1f}")
    console.print(table)
    console.print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", style="dim")
    console.print(f"{table.row_count} checks, {len(differing)} differ" + "".join(f"\n  {name}" for name in differing))
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
