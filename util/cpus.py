"""How many CPUs there are for us, and how their threads wait."""

from __future__ import annotations

import os


def cpu_count() -> int:
    """Processors this process may use (fewer than the machine has, under a job scheduler or in a container)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_cpus() -> None:
    """Let threads of PyTorch that wait for one another sleep instead of spinning; to be called before it is imported.

    Where other programs compute too, spinning threads take the time of those that they wait for: the network was 25
    times as slow on two processors with a load of 5, and is not with this. A user's own settings stay.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "1000"  # some ten microseconds, which the next step of a network takes to come
