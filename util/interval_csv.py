"""csv files of events with start and end times (2018, 2019): dialects, reader, writer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from util.columns import choose, named
from util.errors import InputError
from util.files import write_text
from util.intervals import IntervalTable
from util.text import CsvText, parse_csv, read_text, say_once, shown

_NAME = "sound_event_recording"
_COLUMN_OF = {
    "start_time": "start_s",
    "end_time": "end_s",
    "azi": "azimuth_deg",
    "ele": "elevation_deg",
    "dist": "distance_m",
    "azi_dir": "azimuth_direction_deg",
    "ele_dir": "elevation_direction_deg",
    "ang_vel": "angular_velocity_deg_s",
}
_STATIC = (_NAME, "start_time", "end_time", "ele", "azi", "dist")  # elevation first
# Of UrbanSound8K, whose class numbers are part of its file names, the classes that REAL and MREAL use.
URBANSOUND8K = {
    "1": "car_horn",
    "3": "dog_bark",
    "4": "drilling",
    "5": "engine_idling",
    "6": "gun_shot",
    "7": "jackhammer",
    "8": "siren",
    "9": "street_music",
}


@dataclass(frozen=True)
class IntervalDialect:
    """One way to write events with start and end: a header line, then one event per line.

    Attributes
    ----------
    columns : names in the header; times in seconds, angles in degrees, distance in metres, velocity in degrees a second
    naming : what the first column holds: "class" (its name), "example" (name, three characters that number an example,
        suffix: "knock233.wav"), "urbansound8k" (the class is the second field, "12102-6-2-1.wav")
    aliases : what the files call a class -> its name
    whole_angles : angles must be whole numbers
    frame_s : length in seconds of the frames that the data set is scored in, None where it says nothing of them
    """

    name: str
    columns: tuple[str, ...] = _STATIC
    naming: str = "example"
    aliases: Mapping[str, str] = field(default_factory=dict)
    whole_angles: bool = False
    frame_s: float | None = None

    @property
    def header(self) -> str:
        """First line of the file."""
        return ",".join(self.columns)

    def class_in(self, recording: str) -> str | None:
        """What the first column says of the class; None where it does not fit the naming."""
        if self.naming == "class":
            return recording
        stem = recording.split(".")[0]
        if self.naming == "example":
            return stem[:-3] or None
        fields = stem.split("-")
        return fields[1] if len(fields) > 1 else None

    def recording_of(self, class_name: str) -> str:
        """A first column for an event of a class whose recording is not known."""
        known = {name: alias for alias, name in self.aliases.items()}
        called = known.get(class_name, class_name)
        return {"class": called, "example": f"{called}001.wav", "urbansound8k": f"0-{called}-0-0.wav"}[self.naming]


INTERVAL_DIALECTS = {
    dialect.name: dialect
    for dialect in (
        IntervalDialect("tut2018"),
        IntervalDialect("tut2018_real", naming="urbansound8k", aliases=URBANSOUND8K),
        IntervalDialect("mansim", columns=(*_STATIC[:5], "ele_dir", "azi_dir", "ang_vel", "dist")),
        IntervalDialect(
            "mreal", columns=(*_STATIC[:5], "ang_vel", "dist"), naming="urbansound8k", aliases=URBANSOUND8K
        ),
        IntervalDialect("tau2019", naming="class", whole_angles=True, frame_s=0.02),
    )
}


def interval_dialect_named(name: str) -> IntervalDialect:
    """The dialect of that name.

    Raises
    ------
    InputError : there is none
    """
    if name not in INTERVAL_DIALECTS:
        raise InputError(f"unknown csv dialect '{name}'; known are {', '.join(INTERVAL_DIALECTS)}")
    return INTERVAL_DIALECTS[name]


def read_intervals(path: str | os.PathLike[str], dialect: str, classes: Sequence[str]) -> IntervalTable:
    """Read a csv of events with start and end; rows in the order of the file, an empty file has none.

    Raises
    ------
    InputError : no such file, no text file, a header without a column of the dialect, wrong number of columns, unknown
        class, text or NaN where a number is due, a time below 0, an end before its start, azimuth outside [-180, 180],
        elevation outside [-90, 90], negative distance, angles that are no whole numbers where the dialect wants them;
        with file, line and rule
    """
    row = interval_dialect_named(dialect)
    return parse_intervals(read_text(path), row, classes, path=path)


def parse_intervals(
    text: str, dialect: IntervalDialect, classes: Sequence[str], *, path: str | os.PathLike[str] | None = None
) -> IntervalTable:
    """As `read_intervals`, from the text of a file; `path` only names it in messages."""
    found = parse_csv(text, path=path)
    if found.header is None and not found.rows:
        return IntervalTable.make()
    places = _places(found, dialect, path)
    index_of = {name: index for index, name in enumerate(classes)}
    rows = [_row(row, places, found, dialect, index_of, path, line) for line, row in zip(found.lines, found.rows)]
    columns = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
    return IntervalTable.make(**columns)


def write_intervals(
    path: str | os.PathLike[str],
    table: IntervalTable,
    dialect: str,
    classes: Sequence[str],
    recordings: Sequence[str] | None = None,
) -> None:
    """Write events as csv, whole or not at all, rows in the order of the table.

    Parameters
    ----------
    recordings : first column of each row; None: one that says the class
    """
    write_text(path, format_intervals(table, interval_dialect_named(dialect), classes, recordings))


def format_intervals(
    table: IntervalTable,
    dialect: IntervalDialect,
    classes: Sequence[str],
    recordings: Sequence[str] | None = None,
) -> str:
    """The text of the csv file.

    Raises
    ------
    ValueError : a value that the dialect has a column for is unknown, or it has none for a motion; a class whose name
        would not be read back
    """
    if recordings is None:
        recordings = [dialect.recording_of(classes[index]) for index in table.class_index.tolist()]
    for recording, index in zip(recordings, table.class_index.tolist()):
        called = dialect.class_in(recording) or ""
        if "," in recording or dialect.aliases.get(called, called) != classes[index]:
            raise ValueError(f"'{recording}' does not name class '{classes[index]}' in dialect {dialect.name}")
    if table.moving.any() and "ang_vel" not in dialect.columns:
        raise ValueError(f"dialect {dialect.name} has no moving events")
    fields = [list(recordings)]
    for name in dialect.columns[1:]:
        values = getattr(table, _COLUMN_OF[name])
        if np.isnan(values).any():
            raise ValueError(f"column {name} has unknown values, dialect {dialect.name} needs them")
        if name in ("azi", "ele") and dialect.whole_angles and (values != np.rint(values)).any():
            raise ValueError(f"dialect {dialect.name} needs whole angles")
        fields.append([repr(int(value)) if value == int(value) else repr(value) for value in values.tolist()])
    return "".join(line + "\n" for line in [dialect.header, *(",".join(row) for row in zip(*fields))])


def _places(found: CsvText, dialect: IntervalDialect, path: str | os.PathLike[str] | None) -> list[int]:
    """Where the header says that the columns of the dialect stand."""
    rule = f"the first line must be the header of dialect {dialect.name}: {dialect.header}"
    if found.header is None:
        raise InputError(rule, path=path, place=f"line {found.lines[0]}")
    wanted = {named(name).name: name for name in dialect.columns}
    units = {name: "deg" for name in ("azimuth", "elevation")} | {"distance": "m"}
    try:
        chosen = choose(found.header, tuple(wanted), units=units, path=path, line=found.header_line)
    except InputError as error:
        why = f"; {error.rule}" if error.rule.startswith("the header") else ""
        raise InputError(rule + why, path=path, place=error.place) from None
    if chosen.left_out:
        say_once(f"of dialect {dialect.name}: {chosen.words()}", path)
    return [chosen.positions[name] for name in wanted]


def _row(
    row: Sequence[str],
    places: Sequence[int],
    found: CsvText,
    dialect: IntervalDialect,
    index_of: Mapping[str, int],
    path: str | os.PathLike[str] | None,
    line: int,
) -> dict[str, float | int]:
    """The fields of one line -> a value per column of the table."""
    place = f"line {line}"
    if not max(places) < len(row) <= len(found.header or ()):
        rule = f"has {len(row)} columns, a row of dialect {dialect.name} has {len(dialect.columns)}"
        raise InputError(f"{rule}: {dialect.header}", path=path, place=place)
    fields = [row[at].strip() for at in places]
    called = dialect.class_in(fields[0]) or ""
    class_name = dialect.aliases.get(called, called)
    if class_name not in index_of:
        rule = f"'{shown(fields[0])}' names no known class; known are {', '.join(index_of)}"
        raise InputError(rule, path=path, place=place)
    values: dict[str, float | int] = {"class_index": index_of[class_name]}
    for name, text in zip(dialect.columns[1:], fields[1:]):
        try:
            value = float(text)
        except ValueError:
            raise InputError(f"{name} must be a number, found '{shown(text)}'", path=path, place=place) from None
        rule = _rule_broken(name, value, dialect)
        if rule:
            raise InputError(f"{rule}, found {value:g}", path=path, place=place)
        values[_COLUMN_OF[name]] = value
    if values["end_s"] < values["start_s"]:
        rule = f"the event ends ({values['end_s']:g} s) before it starts ({values['start_s']:g} s)"
        raise InputError(rule, path=path, place=place)
    return values


def _rule_broken(name: str, value: float, dialect: IntervalDialect) -> str:
    """The rule of a column that a value breaks, or ""."""
    if not np.isfinite(value):
        return f"{name} must be a finite number"
    if name in ("start_time", "end_time") and not 0 <= value < 1e6:
        return f"{name} must be a time in seconds from 0"
    if name in ("azi", "azi_dir") and abs(value) > 180:
        return f"{name} must be between -180 and 180 degrees"
    if name in ("ele", "ele_dir") and abs(value) > 90:
        return f"{name} must be between -90 and 90 degrees"
    if name in ("azi", "ele") and dialect.whole_angles and value != np.rint(value):
        return f"{name} must be a whole number"
    if name == "dist" and value < 0:
        return "dist must be 0 or more"
    return ""
