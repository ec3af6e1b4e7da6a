"""What the threads of a loader are doing, in words: for stalls, and for whoever asks."""

from __future__ import annotations

from .. import _core
from ..transforms.python import python_stack

__all__ = ["describe_activity"]


def describe_activity(core: _core.Loader) -> str:
    """The batch that comes next, batches ahead, and for each thread at work its case, its stage and since when."""
    step, tasks, ready, being_made, in_use, threads = core.activity()
    lines = [
        f"batch {step} is next; {ready} ready, {being_made} being made, {in_use} in memory; "
        f"{len(threads)} threads at work on {tasks} samples that were started"
    ]
    for thread, at_step, slot, case, stage, in_stage, in_sample in sorted(threads):
        lines.append(
            f"  thread {thread}: batch {at_step}, sample {slot}, {f'case {case}' if case else 'no case yet'}: "
            f"{stage}, for {in_stage:.1f} s ({in_sample:.1f} s in this sample)"
        )
        lines += [f"    {line}" for line in python_stack(thread)]
    if tasks and not threads:
        lines.append("  no thread has taken up a sample: they work for another loader, or the machine has no time for them")
    if not tasks and not ready:
        lines.append("  nothing can be started: every batch that the memory budget holds is still referred to by tensors")
    return "\n".join(lines)
