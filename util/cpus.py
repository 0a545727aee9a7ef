"""How many CPUs there are for us, and how their threads wait."""

from __future__ import annotations

import os
import sys

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
_share: int | None = None


def cpu_count() -> int:
    """Processors this process may use (fewer than the machine has, under a job scheduler or in a container).

    Of several that share the work (`util.parallel.each`), each may use its share.
    """
    if _share is not None:
        return _share
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_cpus(count: int) -> None:
    """Let this process use `count` processors, in all libraries that have threads, also those that come later."""
    global _share
    _share = count
    os.environ.update(thread_settings(count))
    if "numba" not in sys.modules:
        os.environ["NUMBA_NUM_THREADS"] = str(count)
    bound_threads()


def thread_settings(count: int) -> dict[str, str]:
    """Environment of a process whose libraries use `count` threads each."""
    return dict.fromkeys(_THREADS, str(count))


def bound_threads() -> None:
    """Bound the threads of the libraries that are loaded by now to this process's share, where it has one."""
    if _share is None:
        return
    from threadpoolctl import threadpool_limits  # only in processes that share

    threadpool_limits(_share)  # BLAS and OpenMP, whoever loaded them
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(_share)
    if (cv2 := sys.modules.get("cv2")) is not None:
        cv2.setNumThreads(_share)
    if (numba := sys.modules.get("numba")) is not None:
        numba.set_num_threads(min(_share, numba.config.NUMBA_NUM_THREADS))


def share_cpus() -> None:
    """Let threads of PyTorch that wait for one another sleep instead of spinning; to be called before it is imported.

    Where other programs compute too, spinning threads take the time of those that they wait for: the network was 25
    times as slow on two processors with a load of 5, and is not with this. A user's own settings stay.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "1000"  # some ten microseconds, which the next step of a network takes to come
