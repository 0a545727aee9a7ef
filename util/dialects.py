"""csv dialects: the columns of a file of events and their units. The data set or metric edition picks one by name.

The number of columns is never used to guess what they mean.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from util.errors import InputError
from util.events import EventTable
from util.files import write_text

_INTEGERS = ("frame", "class_index", "source")
_ROWS = 1 << 14  # that are written at a time


@dataclass(frozen=True)
class Dialect:
    """One way to write events as rows.

    Attributes
    ----------
    columns : names as in `EventTable`, except `distance` (in `distance_unit_m`)
    optional : so many trailing columns may be absent, the same number in every row of a file
    distance_unit_m : metres per unit of the distance column
    rounded : angles and distances are written as integers, the nearest ones
    truncated : they are written as integers toward zero; angles of any size, as a network of 2019 regresses them
    header : first line of the file, or None
    """

    name: str
    columns: tuple[str, ...]
    optional: int = 0
    distance_unit_m: float = 0.01
    rounded: bool = False
    truncated: bool = False
    header: str | None = None
    frame_s: float = 0.1


_LABEL = ("frame", "class_index", "source", "azimuth_deg", "elevation_deg")
DIALECTS = {
    dialect.name: dialect
    for dialect in (
        Dialect("starss23", (*_LABEL, "distance"), optional=1, rounded=True),
        Dialect("starss22", _LABEL, rounded=True),
        Dialect("dcase2018", ("frame", "class_index", "azimuth_deg", "elevation_deg"), frame_s=256 / 44100),
        Dialect("dcase2019", ("frame", "class_index", "azimuth_deg", "elevation_deg"), truncated=True, frame_s=0.02),
        Dialect("dcase2023", ("frame", "class_index", "azimuth_deg", "elevation_deg")),
        Dialect("dcase2024", (*_LABEL, "distance"), rounded=True),
        Dialect(
            "dcase2025",
            ("frame", "class_index", "source", "azimuth_deg", "distance", "onscreen"),
            header="frame,class,source,azimuth,distance,onscreen",
        ),
    )
}


def dialect_named(name: str) -> Dialect:
    """The dialect of that name.

    Raises
    ------
    InputError : there is none
    """
    if name not in DIALECTS:
        raise InputError(f"unknown csv dialect '{name}'; known are {', '.join(sorted(DIALECTS))}")
    return DIALECTS[name]


def read_events(
    path: str | os.PathLike[str], dialect: str = "starss23", *, class_count: int | None = None
) -> EventTable:
    """Read a csv of events; an empty file has no events.

    Parameters
    ----------
    class_count : classes must be below it; None: any class from 0

    Raises
    ------
    InputError : no such file, wrong number of columns, text or NaN where a number is due, negative frame, class out of
        range, azimuth outside [-180, 180], elevation outside [-90, 90] (unless the dialect has angles of any size),
        negative distance; with file, line and rule
    """
    row = dialect_named(dialect)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except UnicodeDecodeError:
        raise InputError("is no csv: not a text file", path=path) from None
    return parse_events(text, row, class_count=class_count, path=path)


def parse_events(
    text: str, dialect: Dialect, *, class_count: int | None = None, path: str | os.PathLike[str] | None = None
) -> EventTable:
    """As `read_events`, from the text of a file; `path` only names it in messages."""
    lines = text.split("\n")
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if dialect.header is not None and numbered and not _is_number(numbered[0][1].split(",")[0]):
        numbered = numbered[1:]
    if not numbered:
        return EventTable.make(frame_s=dialect.frame_s)
    widths = range(len(dialect.columns) - dialect.optional, len(dialect.columns) + 1)
    width = numbered[0][1].count(",") + 1
    for number, line in numbered:
        found = line.count(",") + 1
        if found not in widths or found != width:
            due = " or ".join(str(n) for n in widths) if number == numbered[0][0] else f"{width} as in the rows above"
            rule = f"has {found} columns, a row of dialect {dialect.name} has {due}"
            raise InputError(rule, path=path, place=f"line {number}")
    columns = dialect.columns[:width]
    try:
        values = np.array([line.split(",") for _, line in numbered], dtype=np.float64)
    except ValueError:
        for number, line in numbered:
            for name, field in zip(columns, line.split(",")):
                if not _is_number(field):
                    rule = f"{name} must be a number, found '{field.strip()[:40]}'"
                    raise InputError(rule, path=path, place=f"line {number}") from None
        raise
    by_name = {name: values[:, index] for index, name in enumerate(columns)}
    for name, column in by_name.items():
        bad, rule = _rule_broken(name, column, class_count, any_angle=dialect.truncated)
        if bad.any():
            at = int(np.argmax(bad))
            found = f"{rule}, found {column[at]:g}"
            raise InputError(found, path=path, place=f"line {numbered[at][0]}")
    if "distance" in by_name:
        by_name["distance_m"] = by_name.pop("distance") * dialect.distance_unit_m
    return EventTable.make(frame_s=dialect.frame_s, **by_name)


def write_events(path: str | os.PathLike[str], table: EventTable, dialect: str = "starss23") -> None:
    """Write events as csv, whole or not at all; rows in the order of the table, no events: an empty file."""
    write_text(path, format_events(table, dialect_named(dialect)))


def as_written(table: EventTable, dialect: Dialect) -> EventTable:
    """The events as a reader of the file would get them: angles toward zero where the dialect truncates them."""
    if not dialect.truncated:
        return table
    return table.replace(azimuth_deg=np.trunc(table.azimuth_deg), elevation_deg=np.trunc(table.elevation_deg))


def format_events(table: EventTable, dialect: Dialect) -> str:
    """The text of the csv file. A distance that is unknown everywhere is left out where the dialect allows it."""
    columns = list(dialect.columns)
    if dialect.optional and columns[-1] == "distance" and np.isnan(table.distance_m).all():
        columns.pop()
    parts = [] if dialect.header is None else [dialect.header + "\n"]
    for first in range(0, len(table), _ROWS):  # the texts of single numbers take ten times the memory of the lines
        parts.append(_format_rows(table[first : first + _ROWS], columns, dialect))
    return "".join(parts)


def _format_rows(table: EventTable, columns: Sequence[str], dialect: Dialect) -> str:
    fields = []
    for name in columns:
        values = table.distance_m / dialect.distance_unit_m if name == "distance" else getattr(table, name)
        if name in _INTEGERS or name == "onscreen" or dialect.rounded or dialect.truncated:
            if np.isnan(values.astype(np.float64)).any():
                raise ValueError(f"column {name} has unknown values, dialect {dialect.name} needs them")
            values = (np.trunc if dialect.truncated else np.rint)(values).astype(np.int64)
            fields.append([str(value) for value in values.tolist()])
        else:
            fields.append([repr(value) for value in values.tolist()])
    return "".join(",".join(row) + "\n" for row in zip(*fields))


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _rule_broken(
    name: str, column: np.ndarray, class_count: int | None, *, any_angle: bool = False
) -> tuple[np.ndarray, str]:
    """Mask of the rows that break the rule of a column, and the rule."""
    if name in _INTEGERS:
        whole = np.isfinite(column) & (column == np.rint(column)) & (np.abs(column) < 2**53)
        if not whole.all():
            return ~whole, f"{name} must be an integer"
        if name == "class_index":
            last = np.inf if class_count is None else class_count - 1
            rule = "class must be 0 or more" if class_count is None else f"class must be between 0 and {last}"
            return (column < 0) | (column > last), rule
        return (column < 0, "frame must be 0 or more") if name == "frame" else (~whole, "")
    if not np.isfinite(column).all():
        return ~np.isfinite(column), f"{name} must be a finite number"
    if any_angle and name in ("azimuth_deg", "elevation_deg"):
        return np.zeros(len(column), dtype=bool), ""
    if name == "azimuth_deg":
        return np.abs(column) > 180, "azimuth must be between -180 and 180 degrees"
    if name == "elevation_deg":
        return np.abs(column) > 90, "elevation must be between -90 and 90 degrees"
    if name == "distance":
        return column < 0, "distance must be 0 or more"
    return ~np.isin(column, (0, 1)), f"{name} must be 0 or 1"
