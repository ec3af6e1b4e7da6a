"""How the threads of OpenMP wait, which torch computes with on the CPU.

By default they spin for a while at the end of every loop, in case there is more to do. Where other processes want the cores,
too, they take the time from the very thread that they wait for: a prediction on two cores beside one busy process then takes
nine times as long for a window (3.2 s in place of 0.36 s; 0.39 s where they sleep). On cores that nobody shares, sleeping costs
a few microseconds for each loop, where a window has a few hundred.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["sleeping"]

_CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
"""Variables with which a user decides: of the standard, of GNU's library, and of LLVM's and Intel's."""


def sleeping(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that let threads sleep while they wait, {} where the user has decided.

    They count when torch is loaded, and for processes that are started later.
    """
    if any(name in environment for name in _CHOICES):
        return {}
    # LLVM's library understands the first, but spins for 200 ms all the same; GNU's knows nothing of the second.
    return {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
