"""How OpenMP threads wait, with which torch computes on the CPU.

By default they spin for a while at the end of every loop, in case more work follows. If other processes use the same cores,
the spinning threads take time from the very thread that they wait for: a prediction on two cores beside one busy process then
takes nine times as long per window (3.2 s instead of 0.36 s; 0.39 s if the threads sleep). On cores that nobody shares,
sleeping costs a few microseconds per loop, and a window has a few hundred loops.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["sleeping"]

_CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
"""Variables with which a user decides: of the standard, of GNU's library, and of LLVM's and Intel's."""


def sleeping(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that let threads sleep while they wait, or {} if the user has set any of them.

    They take effect when torch is loaded, and in processes that are started later.
    """
    if any(name in environment for name in _CHOICES):
        return {}
    # LLVM's library reads the first, but still spins for 200 ms; GNU's library ignores the second.
    return {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
