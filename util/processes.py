"""Items in several processes of this machine. One that dies is replaced, and what it worked on is tried again."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, cast

from util.cpus import bound_threads, cpu_count, thread_settings, use_cpus
from util.errors import CommonError, InputError
from util.parallel import Event, Item, Result, Tell, carried_out, report_to, sendable

ATTEMPTS = 3  # processes that may die at one item
_PATIENCE_S = 10.0  # for a process that was asked to end
_TELL_S = 0.2


class _Worker:
    """A process, the way to it, and the item that it works on."""

    def __init__(self, payload: bytes, threads: int):
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, payload, threads), daemon=True)
        self.process.start()
        other.close()  # so that its end is heard when the process has gone
        self.index: int | None = None
        self.ready = False


class _Message(NamedTuple):
    """What a process says: it is ready, an amount is done, an item is done, or that it can do nothing at all."""

    kind: str
    event: Event


def in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], count: int, tell: Tell
) -> Generator[Event, None, None]:
    """The ends of the items, as they come; see `util.parallel.each`."""
    payload = pickle.dumps(function)
    threads = max(1, cpu_count() // count)
    waiting = deque(range(len(items)))
    deaths = [0] * len(items)
    early = 0
    workers: list[_Worker] = []
    with _few_threads(threads):
        try:
            workers = [_Worker(payload, threads) for _ in range(count)]
            left = len(items)
            while left:
                for worker in _heard(workers):
                    message = _received(worker)
                    if message is None:  # it has gone
                        workers.remove(worker)
                        worker.process.join()
                        if worker.index is None and not worker.ready:
                            early += 1
                        if early > ATTEMPTS:
                            rule = f"worker processes end at their start (exit code {worker.process.exitcode})"
                            raise CommonError(rule)
                        if worker.index is not None:
                            deaths[worker.index] += 1
                            if deaths[worker.index] < ATTEMPTS:
                                waiting.appendleft(worker.index)
                            else:
                                left -= 1
                                yield Event(worker.index, error=_killed(deaths[worker.index]))
                        if len(workers) < min(count, left):
                            workers.append(_Worker(payload, threads))
                    elif message.kind == "part":
                        tell(message.event.index, message.event.result)
                    elif message.kind == "unable":
                        raise message.event.error or AssertionError
                    elif message.kind == "ready":
                        worker.ready = True
                        _give(worker, waiting, items)
                    else:
                        left -= 1
                        worker.index = None
                        _give(worker, waiting, items)
                        yield message.event
                for worker in workers:  # what a dead one left, for those that have nothing to do
                    if waiting and worker.ready and worker.index is None:
                        _give(worker, waiting, items)
        finally:
            _end(workers)


def _killed(times: int) -> InputError:
    return InputError(f"the process that worked on it was ended from outside {times} times (out of memory?)")


def _heard(workers: Sequence[_Worker]) -> list[_Worker]:
    """Workers that have said something, or have gone."""
    by_connection = {worker.connection: worker for worker in workers}
    return [by_connection[cast(Connection, one)] for one in wait(list(by_connection))]


def _received(worker: _Worker) -> _Message | None:
    try:
        return worker.connection.recv()
    except (EOFError, OSError):
        return None


def _give(worker: _Worker, waiting: deque[int], items: Sequence[Any]) -> None:
    if not waiting:
        return
    worker.index = waiting.popleft()
    try:
        worker.connection.send((worker.index, items[worker.index]))
    except OSError:  # it has gone, which is heard next
        pass


def _end(workers: Sequence[_Worker]) -> None:
    """End the processes: those that work are asked to clean up, and given time for it."""
    for worker in workers:
        if worker.index is not None or not worker.ready:
            worker.process.terminate()
        worker.connection.close()
    until = time.monotonic() + _PATIENCE_S
    for worker in workers:
        worker.process.join(max(0.0, until - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


@contextmanager
def _few_threads(threads: int) -> Iterator[None]:
    """Processes that start inside load their libraries with so many threads."""
    settings = thread_settings(threads)
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _serve(connection: Connection, payload: bytes, threads: int) -> None:
    """A process's life: items come, what becomes of them goes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # interrupts are the parent's, which then ends us
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through every `finally`: nothing stays half written
    _stay_with_parent()
    use_cpus(threads)
    try:
        function = pickle.loads(payload)  # of our own parent
    except Exception as error:
        _say(connection, _Message("unable", Event(-1, error=sendable(error))))
        return
    bound_threads()
    listened = _say(connection, _Message("ready", Event(-1)))
    while listened:
        try:
            index, item = connection.recv()
        except (EOFError, OSError):
            return
        report_to(_Parts(connection, index))
        event = carried_out(function, index, item, away=True)
        report_to(None)
        bound_threads()  # of what was imported for the first item
        listened = _say(connection, _Message("end", event))


def _say(connection: Connection, message: _Message) -> bool:
    """Whether somebody listens."""
    try:
        connection.send(message)
    except OSError:
        return False
    return True


class _Parts:
    """Tells the parent what is done of an item, now and then."""

    def __init__(self, connection: Connection, index: int):
        self._connection, self._index = connection, index
        self._amount: float = 0
        self._told = time.monotonic()

    def __call__(self, amount: float) -> None:
        self._amount += amount
        if time.monotonic() - self._told > _TELL_S:
            _say(self._connection, _Message("part", Event(self._index, result=self._amount)))
            self._amount, self._told = 0, time.monotonic()


def _stay_with_parent() -> None:
    """End when the parent is gone (killed, say)."""

    def watch() -> None:
        if (parent := multiprocessing.parent_process()) is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
