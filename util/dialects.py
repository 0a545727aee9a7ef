"""csv dialects: the columns of a file of events and their units. The data set or metric edition picks one by name.

The number of columns is never used to guess what they mean.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

import numpy as np

from util.columns import Chosen, choose, named
from util.errors import InputError
from util.events import EventTable
from util.files import write_text
from util.text import CsvText, is_number, parse_csv, read_text, say_once, shown

_INTEGERS = ("frame", "class_index", "source")
_ROWS = 1 << 14  # that are written at a time


@dataclass(frozen=True)
class Dialect:
    """One way to write events as rows.

    Attributes
    ----------
    columns : names as in `EventTable`, except `distance` (in `distance_unit_m`)
    optional : so many trailing columns may be absent, from row to row too, as the official readers take them
    distance_unit_m : metres per unit of the distance column
    rounded : angles and distances are written as integers, the nearest ones
    unseen : a source of which nothing says whether it is on the screen is written as off it
    truncated : they are written as integers toward zero; angles of any size, as a network of 2019 regresses them
    header : first line of the files that are written, or None; files that are read may have one of their own, which
        says where the columns stand
    """

    name: str
    columns: tuple[str, ...]
    optional: int = 0
    distance_unit_m: float = 0.01
    rounded: bool = False
    truncated: bool = False
    unseen: bool = False
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
        Dialect("dcase2024_m", (*_LABEL, "distance"), distance_unit_m=1.0),  # as the official program reads predictions
        Dialect(
            "dcase2025",
            ("frame", "class_index", "source", "azimuth_deg", "distance", "onscreen"),
            rounded=True,
            unseen=True,
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
    InputError : no such file, no text, a header without a column that is needed or with another unit, wrong number of
        columns, text or NaN where a number is due, negative frame, class out of range, azimuth outside [-180, 180],
        elevation outside [-90, 90] (unless the dialect has angles of any size), negative distance; with file, line and
        rule; the first bad row is named
    """
    row = dialect_named(dialect)
    return parse_events(read_text(path), row, class_count=class_count, path=path)


def parse_events(
    text: str, dialect: Dialect, *, class_count: int | None = None, path: str | os.PathLike[str] | None = None
) -> EventTable:
    """As `read_events`, from the text of a file; `path` only names it in messages."""

    def check(by_name: dict[str, np.ndarray], lines: Sequence[int]) -> None:
        _refuse_first(by_name, lines, class_count, path, any_angle=dialect.truncated)

    by_name, lines = _by_name(parse_csv(text, path=path), dialect, path, check)
    if not lines:
        return EventTable.make(frame_s=dialect.frame_s)
    if "distance" in by_name:
        by_name["distance_m"] = by_name.pop("distance") * dialect.distance_unit_m
    return EventTable.make(frame_s=dialect.frame_s, **by_name)


def read_columns(path: str | os.PathLike[str], dialect: str) -> dict[str, np.ndarray]:
    """The numbers of a csv of events by column, whatever they are: no rule but their form is looked at.

    Raises
    ------
    InputError : as `read_events`, but for values that break the rule of a column
    """
    return _by_name(parse_csv(read_text(path), path=path), dialect_named(dialect), path)[0]


def _by_name(
    found: CsvText,
    dialect: Dialect,
    path: str | os.PathLike[str] | None,
    check: Callable[[dict[str, np.ndarray], Sequence[int]], None] | None = None,
) -> tuple[dict[str, np.ndarray], list[int]]:
    """Rows of text -> column name -> (rows,) numbers, and the line of each row.

    Parameters
    ----------
    check : raises for rows that break a rule; called for those above a malformed one, so that the first is named
    """
    rows, lines = found.rows, found.lines
    places = _places(found, dialect, path)
    if not rows:
        return {}, []
    if places is None:
        counts = range(len(dialect.columns) - dialect.optional, len(dialect.columns) + 1)
        due = " or ".join(str(count) for count in counts)
        if len(rows[0]) not in counts:
            raise _wrong_width(rows[0], dialect, due, path, lines[0])
        least, width = counts[0], min(max(map(len, rows)), counts[-1])
        places = {name: place for place, name in enumerate(dialect.columns[:width])}
    else:
        width, least = len(found.header or ()), max(places.values()) + 1
        due = f"{width} as in the header"
    names = tuple(places)

    def numbers_of(some: list[list[str]], absent: str) -> dict[str, np.ndarray]:
        if found.header is not None:
            if tuple(places.values()) != tuple(range(len(places))) or any(len(row) != len(places) for row in some):
                some = [[row[place] for place in places.values()] for row in some]
        else:
            some = [row if len(row) == width else row + [absent] * (width - len(row)) for row in some]
        fields = chain.from_iterable(some)  # ten times as fast as an array of text
        return dict(zip(names, np.fromiter(map(float, fields), np.float64).reshape(len(some), len(names)).T))

    widths = [len(row) for row in rows]
    mixed = found.header is None and min(widths) < width
    try:
        if not (least <= min(widths) and max(widths) <= width):
            raise ValueError
        by_name = numbers_of(rows, "0")
    except ValueError:
        at, error = next(_malformed(rows, lines, places, least, width, dialect, due, path))
        if check is not None and at:
            check(numbers_of(rows[:at], "0"), lines[:at])
        raise error from None
    if check is not None:
        check(by_name, lines)
    return (numbers_of(rows, "nan") if mixed else by_name), lines


def _malformed(
    rows: list[list[str]],
    lines: Sequence[int],
    places: Mapping[str, int],
    least: int,
    width: int,
    dialect: Dialect,
    due: str,
    path: str | os.PathLike[str] | None,
) -> Iterator[tuple[int, InputError]]:
    """Rows of another width, or with text where a number is due, and what is wrong with them."""
    for at, (number, row) in enumerate(zip(lines, rows)):
        if not least <= len(row) <= width:
            yield at, _wrong_width(row, dialect, due, path, number)
            continue
        for name, place in places.items():
            if place < len(row) and not is_number(row[place]):  # rows may lack the optional last column
                field = row[place].strip()
                rule = f"{name} must be a number, found '{shown(field)}'" if field else f"{name} is empty"
                yield at, InputError(rule, path=path, place=f"line {number}")


def _places(found: CsvText, dialect: Dialect, path: str | os.PathLike[str] | None) -> dict[str, int] | None:
    """Where a header says that the columns stand; None without a header."""
    if found.header is None:
        return None
    try:
        chosen, places = _chosen(found.header, dialect)
    except InputError as error:
        raise InputError(error.rule, path=path, place=f"line {found.header_line}") from None
    if chosen.left_out:
        say_once(f"of dialect {dialect.name}: {chosen.words()}", path)
    return places


@lru_cache(maxsize=256)  # the headers of a set are alike
def _chosen(header: tuple[str, ...], dialect: Dialect) -> tuple[Chosen, dict[str, int]]:
    """The columns of a header that a dialect has, and where each stands."""
    called = {named(name).name: name for name in dialect.columns}
    chosen = choose(
        header,
        tuple(called),
        optional=[named(name).name for name in dialect.columns[len(dialect.columns) - dialect.optional :]],
        units={"azimuth": "deg", "elevation": "deg", "distance": "m" if dialect.distance_unit_m == 1.0 else "cm"},
    )
    return chosen, {called[name]: place for name, place in chosen.positions.items()}


def _wrong_width(
    row: Sequence[str], dialect: Dialect, due: str, path: str | os.PathLike[str] | None, number: int
) -> InputError:
    found = f", found '{shown(row[0])}'" if len(row) == 1 else ""
    rule = f"has {len(row)} columns, a row of dialect {dialect.name} has {due}{found}"
    return InputError(rule, path=path, place=f"line {number}")


def _refuse_first(
    by_name: dict[str, np.ndarray],
    lines: Sequence[int],
    class_count: int | None,
    path: str | os.PathLike[str] | None,
    *,
    any_angle: bool,
) -> None:
    """Raise InputError for the first row, if any, that breaks the rule of a column; of its columns for the first."""
    broken = []
    for name, column in by_name.items():
        bad, rule = _rule_broken(name, column, class_count, any_angle=any_angle)
        while bad.any():  # a column has several rules, of which the first one is told: is there an earlier row?
            at = int(np.argmax(bad))
            found = (at, f"{rule}, found {column[at]:g}")
            bad, rule = _rule_broken(name, column[:at], class_count, any_angle=any_angle)
            if not bad.any():
                broken.append(found)
    if broken:
        at, rule = min(broken, key=lambda one: one[0])
        raise InputError(rule, path=path, place=f"line {lines[at]}")


def write_events(path: str | os.PathLike[str], table: EventTable, dialect: str = "starss23") -> None:
    """Write events as csv, whole or not at all; rows in the order of the table, no events: an empty file."""
    write_text(path, format_events(table, dialect_named(dialect)))


def as_written(table: EventTable, dialect: Dialect) -> EventTable:
    """The events as a reader of the file would get them: rounded, or toward zero, where the dialect does so."""
    if dialect.truncated:
        return table.replace(azimuth_deg=np.trunc(table.azimuth_deg), elevation_deg=np.trunc(table.elevation_deg))
    columns = {}
    if dialect.rounded:
        columns = {"azimuth_deg": np.rint(table.azimuth_deg), "elevation_deg": np.rint(table.elevation_deg)}
        columns["distance_m"] = np.rint(table.distance_m / dialect.distance_unit_m) * dialect.distance_unit_m
    if "onscreen" in dialect.columns:
        columns["onscreen"] = _as_flags(table.onscreen, dialect)
    return table.replace(**columns)


def _as_flags(onscreen: np.ndarray, dialect: Dialect) -> np.ndarray:
    """Probabilities as 0 and 1; NaN stays unless the dialect knows better."""
    unknown = np.isnan(onscreen) & (not dialect.unseen)
    return np.where(unknown, np.nan, onscreen > 0.5)


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
        if name == "onscreen":
            values = _as_flags(values, dialect)
        if name in _INTEGERS or name == "onscreen" or dialect.rounded or dialect.truncated:
            if np.isnan(values.astype(np.float64)).any():
                raise ValueError(f"column {name} has unknown values, dialect {dialect.name} needs them")
            values = (np.trunc if dialect.truncated else np.rint)(values).astype(np.int64)
            fields.append([str(value) for value in values.tolist()])
        else:
            fields.append([repr(value) for value in values.tolist()])
    return "".join(",".join(row) + "\n" for row in zip(*fields))


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
