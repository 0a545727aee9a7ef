"""What the processes of a training do together: share out work, gather what each made, fail as one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
from torch import nn

from util.errors import InputError
from util.one_process import Processes

Value = TypeVar("Value")
Item = TypeVar("Item")


def share(processes: Processes, items: Sequence[Item]) -> list[Item]:
    """This process's part of items that can be worked on apart: every n-th."""
    return list(items[processes.global_rank :: processes.world_size])


def gathered(processes: Processes, work: Callable[[], Value], *, to_first: bool = False) -> list[Value]:
    """What each process made, by rank; where one failed, all do, and none waits for ever.

    Parameters
    ----------
    to_first : what was made goes to the first process only; the others are given nothing

    Raises
    ------
    InputError : some process found bad input
    Exception : this process's own defect
    """
    if processes.world_size == 1:
        return [work()]
    made, failure = None, None
    try:
        made = work()
    except Exception as error:  # told to the others first
        failure = error
    told = failure if failure is None or type(failure) is InputError else RuntimeError(f"{failure!r}")
    errors: list[Any] = [None] * processes.world_size
    torch.distributed.all_gather_object(errors, told)
    if failure is not None:
        raise failure
    for other in errors:
        if other is not None:
            raise other
    heard: list[Any] = [None] * processes.world_size
    if not to_first:
        torch.distributed.all_gather_object(heard, made)
        return heard
    torch.distributed.gather_object(made, heard if processes.is_global_zero else None)
    return heard if processes.is_global_zero else []


def same_buffers(processes: Processes, module: nn.Module) -> None:
    """Give every process the buffers of the first (running means of batch norm); their weights are the same.

    Of truth values, which remember what training has shown, those are true that are in any process.
    """
    if processes.world_size > 1:
        for buffer in module.buffers():
            if buffer.dtype == torch.bool:
                anywhere = buffer.byte()
                torch.distributed.all_reduce(anywhere, torch.distributed.ReduceOp.MAX)
                buffer.copy_(anywhere.bool())
            else:
                torch.distributed.broadcast(buffer, 0)


class OthersEnded(Exception):
    """Another process of the training has ended, or this one was told to end because of one that has."""


@contextmanager
def ended_by_others(processes: Processes) -> Iterator[None]:
    """What a process meets when another one dies, as one error.

    A connection that closes is an error of the next exchange; a launcher that has seen it ends the others by a signal.

    Raises
    ------
    OthersEnded : the others cannot go on
    """
    if processes.world_size == 1:
        yield
        return

    def told(*_: object) -> None:
        raise OthersEnded("told to end by its launcher")

    before = signal.signal(signal.SIGTERM, told)
    try:
        yield
    except RuntimeError as error:  # of gloo and of NCCL, which have no class in common
        if not _of_a_connection(error):
            raise
        raise OthersEnded("the connection to it closed") from error
    finally:
        signal.signal(signal.SIGTERM, before)


def _of_a_connection(error: RuntimeError) -> bool:
    kinds = (torch.distributed.DistError,) if hasattr(torch.distributed, "DistError") else ()
    words = str(error).lower()
    return isinstance(error, kinds) or any(one in words for one in ("connection", "gloo", "nccl", "timed out"))


def first_to_say(folder: Path, iteration: int) -> bool:
    """Whether none of the processes that a dead one leaves has said so yet: one message, not one of each."""
    mark = folder / f".ended-at-{iteration}"
    try:
        mark.touch(exist_ok=False)
    except OSError:
        return False
    return True


def end_at_once(status: int) -> NoReturn:
    """End the process without the farewells of its process group, which would wait for those that are gone."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
