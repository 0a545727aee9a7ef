"""What the official programs pass over in silence: warnings here, errors when asked for."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from util.errors import InputError


class MetricWarning(UserWarning):
    """Input that is scored by the official rule, but probably not what was meant."""


@dataclass(frozen=True)
class Notices:
    """Where remarks on the input go: `warnings`, or an InputError in strict mode."""

    strict: bool = False

    def tell(self, rule: str, *, path: str | os.PathLike[str] | None = None, place: str | None = None) -> None:
        """Warn, or raise InputError, with file, place and rule."""
        error = InputError(rule, path=path, place=place)
        if self.strict:
            raise error
        warnings.warn(str(error), MetricWarning, stacklevel=3)

    def tell_rows(
        self, rows: np.ndarray, rule: str, names: list[str], file: np.ndarray, line: np.ndarray, unit: str = "line"
    ) -> None:
        """One remark per file that has such rows: its first line, their number.

        Parameters
        ----------
        rows : (n,) mask of the rows at fault
        names : name of each file
        file, line : (n,) file index and line number of each row
        """
        if not rows.any():
            return
        chosen = np.flatnonzero(rows)
        for index in np.unique(file[chosen]).tolist():
            here = chosen[file[chosen] == index]
            more = f" ({len(here)} rows of this file)" if len(here) > 1 else ""
            self.tell(rule + more, path=names[index], place=f"{unit} {line[here[0]]}")


@dataclass(frozen=True)
class Remarks(Notices):
    """Remarks that are kept, to be told later: a process that reads a part cannot know what comes before it."""

    kept: list[InputError] = field(default_factory=list)

    def tell(self, rule: str, *, path: str | os.PathLike[str] | None = None, place: str | None = None) -> None:
        """Keep a remark."""
        self.kept.append(InputError(rule, path=path, place=place))

    def tell_to(self, notices: Notices) -> None:
        """Pass all of them on; in strict mode the first one is an InputError."""
        for one in self.kept:
            notices.tell(one.rule, path=one.path, place=one.place)


def refuse_first(
    broken: Sequence[tuple[np.ndarray, str]],
    names: Sequence[str | os.PathLike[str]],
    file: np.ndarray,
    line: np.ndarray,
    unit: str = "line",
) -> None:
    """Raise InputError for the first row, of the first file, that breaks a rule; nothing where none does.

    Parameters
    ----------
    broken : (n,) mask of the rows that break a rule, and the rule; of one row the first rule is told
    names, file, line : as `Notices.tell_rows`
    """
    found = [(int(np.argmax(rows)), rule) for rows, rule in broken if rows.any()]
    if found:
        at, rule = min(found, key=lambda one: one[0])
        raise InputError(rule, path=names[file[at]], place=f"{unit} {line[at]}")
