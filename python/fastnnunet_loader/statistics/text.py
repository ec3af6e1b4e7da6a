"""Statistics in words: one line, and a table for a terminal."""

from __future__ import annotations

from rich.table import Table

from ..loading.statistics import LoaderStats
from ..settings import in_units
from .bottleneck import bottleneck_of

__all__ = ["line", "table"]


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def line(now: LoaderStats, before: LoaderStats | None, batch_size: int) -> str:
    """What a loader did since `before` (None: since its first batch): rates are of that time, medians of all so far."""
    if before is not None and before.batches > now.batches:
        before = None  # of a loader that this one follows
    batches = now.batches - (before.batches if before else 0)
    seconds = now.running - (before.running if before else 0.0)
    waited = now.waited - (before.waited if before else 0.0)
    hits = now.cache_hits - (before.cache_hits if before else 0)
    blocks = hits + now.cache_misses - (before.cache_misses if before else 0)
    read = now.bytes_read - (before.bytes_read if before else 0)
    parts = [
        f"{batches * batch_size / seconds:.1f} samples/s" if seconds > 0 else "no samples yet",
        f"waited {waited:.1f} s of {seconds:.1f} s",
        f"{now.ready_batches} of {now.prefetch} batches ready",
        f"a sample takes {_ms(now.sample_median)}, at most {_ms(now.sample_p99)} in 99 of 100",
        f"{in_units(read)} read",
        f"{100 * hits / blocks:.0f} % of blocks cached" if blocks else "no blocks cached",
        f"loader {in_units(now.memory_used)} of {in_units(now.memory_budget)}",
        f"process {in_units(now.process_memory)}",
        f"{in_units(now.memory_available)} of {in_units(now.memory_limit)} free",
    ]
    if (bottleneck := bottleneck_of(now, before, batch_size)) is not None:
        parts.insert(2, str(bottleneck))
    if now.gpu is not None:
        share = "" if now.gpu.utilization is None else f"{100 * now.gpu.utilization:.0f} % busy, "
        parts.append(f"GPU {share}{in_units(now.gpu.memory_used)} of {in_units(now.gpu.memory_total)}")
    if now.python_fallbacks:
        parts.append(f"{100 * now.python_share:.0f} % of the time in Python")
    if now.skipped_cases:
        parts.append(f"{now.skipped_cases} cases skipped")
    return ", ".join(parts)


def table(loaders: dict[str, tuple[LoaderStats, LoaderStats | None, int]]) -> Table:
    """Each loader's line, and its stages: (now, a moment before, batch size) by name."""
    rows = Table(box=None, pad_edge=False)
    for column in ("loader", "stage", "ms median", "ms p99", "share"):
        rows.add_column(column, justify="left" if column in ("loader", "stage") else "right")
    for name, (now, before, batch_size) in loaders.items():
        rows.add_row(name, line(now, before, batch_size))
        total = sum(stage.total for stage in now.stages)
        for stage in sorted(now.stages, key=lambda s: -s.total)[:8]:
            if stage.count:
                shown = stage.name if stage.native else f"{stage.name} (Python)"
                share = f"{100 * stage.total / total:.0f} %" if total > 0 else ""
                rows.add_row("", shown, f"{1e3 * stage.median:.3g}", f"{1e3 * stage.p99:.3g}", share)
    return rows
