"""One function for every job that works item by item: here, in several processes, or on a cluster through Dask.

`each(function, items, where)` gives the same results wherever it runs. A function must take everything random from
its item (the number of an item is the key of all randomness) and write its files whole (`util.files.written_whole`).
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import pickle
import sys
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypeVar

from util.cpus import cpu_count
from util.errors import CommonError, InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST_DEFECTS = 20  # items that fail for another reason than bad input, before the others are not tried any more


@dataclass(frozen=True)
class Where:
    """Where items are worked on.

    Attributes
    ----------
    workers : processes of this machine; 1: this one
    cluster : scheduler of Dask, as --cluster names it; None: none
    """

    workers: int = 1
    cluster: str | None = None

    @property
    def here(self) -> bool:
        """Whether this process does the work itself."""
        return self.cluster is None and self.workers <= 1

    @property
    def words(self) -> str:
        """Where, in words."""
        if self.cluster is not None:
            return f"on {self.cluster}"
        return f"with {self.workers} process{'es' * (self.workers != 1)}"


HERE = Where()


@dataclass(frozen=True)
class Progress:
    """The bar of a job: rate and time left.

    Attributes
    ----------
    amounts : of each item, where they are not equally long (frames, seconds); None: each counts 1
    shown : False: no bar
    """

    description: str
    unit: str = "clip"
    amounts: Sequence[float] | None = None
    shown: bool = True
    leave: bool = True


@dataclass(frozen=True)
class Event:
    """The end of an item: its result, or what went wrong."""

    index: int
    result: Any = None
    error: Exception | None = None


Tell = Callable[[int, float], None]  # (number of the item, amount of it that is done)


@dataclass
class Outcome(Generic[Result]):
    """What became of the items.

    Attributes
    ----------
    results : in the order of the items; None of those that are broken
    broken : (number of the item, what is wrong with it), by number
    """

    results: list[Result | None]
    broken: list[tuple[int, InputError]] = field(default_factory=list)

    @property
    def made(self) -> int:
        """Items that have a result."""
        return len(self.results) - len(self.broken)

    def complete(self, what: str) -> list[Result]:
        """All results.

        Parameters
        ----------
        what : the items in words: "clips could not be made"

        Raises
        ------
        InputError : some items are broken: the first one's message, and how many others
        """
        if self.broken:
            for _, error in self.broken[1:]:
                print(f"error: {error}", file=sys.stderr)
            first = self.broken[0][1]
            if len(self.broken) == 1:
                raise first
            rule = f"{first.rule} ({len(self.broken)} of {len(self.results)} {what}, see above)"
            raise InputError(rule, path=first.path, place=first.place)
        return self.results  # type: ignore[return-value]  # no item is broken


def each(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    where: Where = HERE,
    progress: Progress | None = None,
    *,
    name: Callable[[Item], str] = str,
    done: Callable[[Item, Result], None] | None = None,
) -> Outcome[Result]:
    """Carry out a function on every item.

    An item that is bad input is remembered and stops nothing; so is one whose worker died again and again. What every
    item would meet (`CommonError`: a full disk) ends the job. Processes and workers use one share of the processors
    each, in all libraries. After Ctrl-C no file is half written.

    Parameters
    ----------
    function : can be pickled, where it is not carried out in this process; kept by each worker for all of its items,
        so that what it opens (`functools.cached_property`) is opened once
    name : of an item, in messages
    done : called in this process with each result, in the order in which they come

    Raises
    ------
    CommonError : nothing can go on
    Exception : the first defect (what is no InputError), after all other items
    """
    outcome: Outcome[Result] = Outcome([None] * len(items))
    defects: list[Exception] = []
    if not items:
        return outcome
    amounts = None if progress is None else progress.amounts
    counted: list[float] = [0] * len(items)
    with _bar(progress, len(items)) as bar:

        def tell(index: int, amount: float) -> None:
            if amounts is not None:
                amount = min(amount, amounts[index] - counted[index])
                counted[index] += amount
                bar.update(amount)

        with contextlib.closing(_events(function, items, where, tell)) as events:
            for event in events:
                index, error = event.index, event.error
                if isinstance(error, CommonError):
                    raise error
                if isinstance(error, InputError):
                    outcome.broken.append((index, _named(error, name(items[index]))))
                elif error is not None:
                    defects.append(error)
                    if len(defects) >= _MOST_DEFECTS:
                        break
                else:
                    outcome.results[index] = event.result
                    if done is not None:
                        done(items[index], event.result)
                bar.update((1 if amounts is None else amounts[index]) - counted[index])
    if defects:
        if len(defects) > 1:
            defects[0].add_note(f"{len(defects)} items ended in such a way")
        raise defects[0]
    outcome.broken.sort(key=lambda one: one[0])
    return outcome


class Opens:
    """Base of the functions (dataclasses) that open something once (`functools.cached_property`): that is not sent."""

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}  # type: ignore[arg-type]  # of a dataclass


def advance(amount: float) -> None:
    """Say from inside a function of `each` that a part of its item is done, in the unit of `Progress.amounts`."""
    if _reporter is not None:
        _reporter(amount)


_reporter: Callable[[float], None] | None = None


def report_to(reporter: Callable[[float], None] | None) -> None:
    """Where `advance` goes."""
    global _reporter
    _reporter = reporter


def add_where(
    parser: Any, *, workers: int | None = None, also: Sequence[str] = (), what: str = "clips", flag: str = "--workers"
) -> None:
    """Give a command line the flags that say where its items are worked on.

    Parameters
    ----------
    parser : or a group of one
    workers : default; None: the number of cores
    also : other names that the flag of the processes has
    """
    default = "the number of cores" if workers is None else workers
    parser.add_argument(
        flag,
        *also,
        type=int,
        dest="workers",
        default=argparse.SUPPRESS if workers is None else workers,
        metavar="N",
        help=f"{what} worked on at the same time, in processes of this machine; does not change the result [{default}]",
    )
    parser.add_argument("--cluster", default=None, metavar="ADDRESS", help=CLUSTER_HELP.replace("%", "%%"))


CLUSTER_HELP = (
    "work on a cluster: a scheduler of Dask (tcp://host:8786, or its json file), slurm:FILE, pbs:FILE ... (settings "
    "of dask-jobqueue as yaml) or ssh:HOST,HOST,...; docs/scale.md"
)


def where_of(arguments: argparse.Namespace) -> Where:
    """What the flags of `add_where` say.

    Raises
    ------
    InputError : fewer than one process, processes here and a cluster
    """
    given = getattr(arguments, "workers", None)
    if given is not None and given < 1:
        raise InputError(f"--workers must be at least 1, got {given}")
    return Where(cpu_count() if given is None else given, arguments.cluster)


class _NoBar:
    """In place of a bar that is not shown."""

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, amount: float) -> None:
        """Nothing."""


def _bar(progress: Progress | None, count: int) -> Any:
    if progress is None or not progress.shown:
        return _NoBar()
    from tqdm import tqdm  # not where a command with little to do shows none

    total = count if progress.amounts is None else sum(progress.amounts)
    return tqdm(
        total=total,
        unit=progress.unit,
        desc=progress.description,
        leave=progress.leave,
        mininterval=0.2,
    )


def _events(
    function: Callable[[Item], Result], items: Sequence[Item], where: Where, tell: Tell
) -> Generator[Event, None, None]:
    if where.cluster is not None:
        from util.cluster import on_cluster  # Dask, only where it is asked for

        return on_cluster(function, items, where.cluster)
    if min(where.workers, len(items)) <= 1:
        return _here(function, items, tell)
    from util.processes import in_processes

    return in_processes(function, items, min(where.workers, len(items)), tell)


def _here(function: Callable[[Item], Result], items: Sequence[Item], tell: Tell) -> Generator[Event, None, None]:
    """One after the other in this process."""
    for index, item in enumerate(items):
        report_to(functools.partial(tell, index))
        try:
            event = carried_out(function, index, item)
        finally:
            report_to(None)
        yield event


def carried_out(function: Callable[[Item], Result], index: int, item: Item, *, away: bool = False) -> Event:
    """The function on one item: its result, or what went wrong.

    Parameters
    ----------
    away : in another process than the one that asked: what is given must be fit to be sent
    """
    try:
        event = Event(index, result=function(item))
        if away:
            pickle.dumps(event)
        return event
    except Exception as error:  # whatever it is, the other items go on
        return Event(index, error=sendable(error) if away else error)


def sendable(error: Exception) -> Exception:
    """An error that another process can receive, with the traceback in its notes unless it is bad input."""
    if not isinstance(error, InputError):
        error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # its class stands in a function, or is made of other arguments
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


def _named(error: InputError, name: str) -> InputError:
    return error if error.path else InputError(error.rule, path=name, place=error.place)
