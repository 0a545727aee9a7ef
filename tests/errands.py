"""Functions for the tests of `util.parallel`: they must be found by name in other processes."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from util.cpus import cpu_count
from util.errors import CommonError, InputError
from util.files import write_text, written_whole
from util.parallel import Opens, advance


@dataclass(frozen=True)
class Write(Opens):
    """Writes a file whose bytes follow from the number of the item; some numbers are trouble.

    Attributes
    ----------
    deadly : items at which the process ends, the first time only; `always` at every time
    """

    folder: Path
    deadly: tuple[int, ...] = ()
    always: tuple[int, ...] = ()
    broken: tuple[int, ...] = ()
    defect: tuple[int, ...] = ()
    full: tuple[int, ...] = ()
    pause_s: float = 0.0

    @cached_property
    def opened(self) -> str:
        """Something that is opened once by each process."""
        with open(self.folder / "opened.txt", "a") as file:
            file.write(f"{os.getpid()}\n")
        return "opened"

    def __call__(self, number: int) -> int:
        died = self.folder / f"died_{number}"
        if number in self.always or (number in self.deadly and not died.exists()):
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if number in self.broken:
            raise InputError("is broken", place=f"item {number}")
        if number in self.defect:
            raise ZeroDivisionError("a defect")
        if number in self.full:
            raise CommonError("the disk is full", path="disk")
        assert self.opened
        time.sleep(self.pause_s)
        advance(1)
        text = str(np.random.default_rng(number).standard_normal(8).tolist())
        with written_whole(self.folder / f"{number}.txt") as temporary:
            temporary.write_text(text)
        return number * number


def slowly(path: Path) -> None:
    """Half writes a file, and goes on for ever."""
    with written_whole(path) as temporary:
        temporary.write_text("half")
        (path.parent / f"begun_{path.stem}").touch()
        time.sleep(60)


def write_pid(path: Path) -> None:
    """Says which process it is, and works for a while."""
    write_text(path.with_suffix(".pid"), str(os.getpid()))
    time.sleep(0.3)
    write_text(path, str(np.random.default_rng(int(path.stem)).standard_normal(8).tolist()))


def threads(number: int) -> dict[str, int]:
    """Threads that libraries use here; with a number also PyTorch, which takes long to import."""
    import cv2
    from threadpoolctl import threadpool_info

    torch = {}
    if number:
        import torch as library

        torch = {"torch": library.get_num_threads()}
    return {
        "cpus": cpu_count(),
        "cv2": cv2.getNumThreads(),
        **torch,
        **{pool["prefix"]: pool["num_threads"] for pool in threadpool_info()},
    }


def where_from(number: int) -> tuple[str, str, int]:
    """Working directory of the worker, file of the project's code, process."""
    import util.parallel

    return os.getcwd(), util.parallel.__file__, os.getpid()


def tiny(number: int) -> int:
    """Nothing."""
    return number
