"""Many files, read in parts: here, in processes or on a cluster, with the remarks of one process in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from dcase2022_task3_seld_metrics.notices import Remarks
from util.errors import CommonError, InputError
from util.parallel import Progress, Where, each

Value = TypeVar("Value")

PART = 512  # files; the same wherever they are read, so that the outcome is


@dataclass(frozen=True, eq=False)
class Part(Generic[Value]):
    """What was read of some files, and what there is to say, in this order: remarks, then the error.

    Attributes
    ----------
    paths : the files
    value : None where there is an error
    """

    paths: Sequence[Path]
    value: Value | None
    remarks: Remarks
    error: InputError | None = None


@dataclass(frozen=True)
class _Reading(Generic[Value]):
    """Reads a part anywhere."""

    read: Callable[[Sequence[Path], Remarks], Value]

    def __call__(self, paths: Sequence[Path]) -> Part[Value]:
        remarks = Remarks()
        try:
            return Part(paths, self.read(paths, remarks), remarks)
        except CommonError:
            raise
        except InputError as error:
            return Part(paths, None, remarks, error)


def read_in_parts(
    read: Callable[[Sequence[Path], Remarks], Value], paths: Sequence[Path], where: Where
) -> list[Part[Value]]:
    """Read files in parts; the parts in the order of the files.

    Parameters
    ----------
    read : can be pickled; bad input is an InputError, which the part keeps

    Raises
    ------
    InputError : a part could not be read at all (its processes died)
    """
    parts = [paths[start : start + PART] for start in range(0, len(paths), PART)]
    amounts = [float(len(part)) for part in parts]
    progress = Progress("reading", "file", amounts, shown=len(parts) > 1, leave=False)
    outcome = each(_Reading(read), parts, where, progress, name=lambda part: f"{part[0]} and those behind it")
    return outcome.complete("parts could not be read")
