"""How many processors there are for us."""

from __future__ import annotations

import os


def cpu_count() -> int:
    """Processors this process may use (fewer than the machine has, under a job scheduler or in a container)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
