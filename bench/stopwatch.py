"""Wall-clock and processor time of one call, and how the benchmarks write them: `12 ms (11)`, processor in brackets."""

from __future__ import annotations

import time
from collections.abc import Callable


def least_seconds(run: Callable[[], object], repeats: int, device: str = "cpu") -> tuple[float, float]:
    """Least wall-clock and processor seconds of `repeats` calls, after one that does not count (it warms up).

    On a device the call ends when the device has finished.
    """
    import torch

    found = []
    for _ in range(repeats + 1):
        begin = time.perf_counter(), time.process_time()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    wall, cpu = zip(*found[1:])
    return min(wall), min(cpu)


def said(figures: tuple[float, float]) -> str:
    """Both figures in milliseconds."""
    return f"{1e3 * figures[0]:.0f} ms ({1e3 * figures[1]:.0f})"


def ratio(theirs: tuple[float, float], ours: tuple[float, float]) -> str:
    """How many times as long the other takes, by both clocks."""
    return f"{theirs[0] / ours[0]:.2f} ({theirs[1] / ours[1]:.2f}) times as long"
