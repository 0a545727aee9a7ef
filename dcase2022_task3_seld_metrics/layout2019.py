"""csv files of 2019: references as events with start and end, predictions as rows of whole frames and angles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from dcase2022_task3_seld_metrics.batch import Batch
from dcase2022_task3_seld_metrics.csvrows import Grammar, read_csv_rows
from dcase2022_task3_seld_metrics.notices import Notices
from dcase2022_task3_seld_metrics.parts import read_in_parts
from util.columns import choose, named
from util.errors import InputError
from util.intervals import frames_of
from util.parallel import HERE, Where
from util.text import parse_csv, read_text, shown

HEADER = "sound_event_recording,start_time,end_time,ele,azi,dist"
PREDICTION = "frame,class,azimuth,elevation"
FRAMES_PER_S = 50
_COLUMNS = tuple(named(name).name for name in HEADER.split(","))


def read_predictions(
    paths: Sequence[Path], notices: Notices, where: Where = HERE, *, header: str = "no"
) -> tuple[Batch, np.ndarray]:
    """Rows `frame,class,azimuth,elevation`, all whole numbers -> batch, line number of each row.

    Parameters
    ----------
    header : "no", or "names": the first line may be one (see `csvrows.Grammar`)
    """
    narrow, columns = f"a row has 4: {PREDICTION}", tuple(PREDICTION.split(","))
    grammar = Grammar({4: (0, 1, 2, 3)}, header, wider=True, narrow=narrow, columns=columns)
    rows = read_csv_rows(paths, grammar, notices, where)
    return _batch(rows.file, rows.frame, rows.class_index, rows.values[:, :2], len(paths)), rows.line


def read_references(
    paths: Sequence[Path], classes: Sequence[str], notices: Notices, where: Where = HERE, *, training: bool = False
) -> tuple[Batch, np.ndarray]:
    """Event descriptions -> one row per frame of each event, both ends included; line number of each row.

    Parameters
    ----------
    training : frames as the official training-time function counts them, int(start / 0.02) to int(end / 0.02), rather
        than floor(50 start) to ceil(50 end) (Q18)

    Raises
    ------
    InputError : an unknown class, an angle that is no whole number or off the grid (azimuth 180 crashes officially)
    """
    index_of = {name: index for index, name in enumerate(classes)}
    tables, numbers, before = [np.zeros((0, 6))], [np.zeros(0, dtype=np.int64)], 0
    for part in read_in_parts(partial(_events_of, index_of=index_of), paths, where):
        part.remarks.tell_to(notices)
        if part.error is not None:
            raise part.error
        if part.value is not None:
            tables.append(part.value[0] + np.array([before, 0, 0, 0, 0, 0]))
            numbers.append(part.value[1])
        before += len(part.paths)
    table, lines = np.concatenate(tables), np.concatenate(numbers)
    if training:
        first, last = (table[:, 2] / 0.02).astype(np.int64), (table[:, 3] / 0.02).astype(np.int64)
    else:
        first = np.floor(table[:, 2] * FRAMES_PER_S).astype(np.int64)
        last = np.ceil(table[:, 3] * FRAMES_PER_S).astype(np.int64)
    event, frame = frames_of(first, np.maximum(0, last - first + 1))
    batch = _batch(
        table[event, 0].astype(np.int64), frame, table[event, 1].astype(np.int64), table[event, 4:6], len(paths)
    )
    return batch, lines[event]


def _events_of(paths: Sequence[Path], notices: Notices, *, index_of: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Events of some files (n, 6): file, class, start, end, azimuth, elevation; the line (n,) of each."""
    events, lines = [], []
    for file, path in enumerate(paths):
        for number, fields in _rows(path, notices):
            events.append((file, *_event(fields, index_of, path, f"line {number}")))
            lines.append(number)
    return np.array(events, dtype=np.float64).reshape(-1, 6), np.array(lines, dtype=np.int64)


def _batch(file: np.ndarray, frame: np.ndarray, class_index: np.ndarray, polar: np.ndarray, files: int) -> Batch:
    last_frame = np.full(files, -1, dtype=np.int64)
    np.maximum.at(last_frame, file, frame)
    unknown = np.full(len(frame), np.nan)
    return Batch(file, frame, class_index, np.zeros(len(frame), dtype=np.int64), polar, unknown, unknown, last_frame)


def _rows(path: Path, notices: Notices) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each event: name, start, end, elevation, azimuth; a header says where they stand."""
    text = read_text(path)
    found, lines = parse_csv(text, path=path), text.split("\n")
    places: Sequence[int] = range(6)
    if found.header is not None:
        units = {"elevation": "deg", "azimuth": "deg", "distance": "m"}
        chosen = choose(found.header, _COLUMNS, optional=_COLUMNS[5:], units=units, path=path, line=found.header_line)
        places = [chosen.positions[name] for name in _COLUMNS if name in chosen.positions]
        if chosen.left_out:
            notices.tell(chosen.words(), path=path, place=f"line {found.header_line}")
    elif found.rows:
        rule = f"is no header ({HEADER}), yet the official reader skips it"
        notices.tell(rule, path=path, place=f"line {found.lines[0]}")
    rows = dict(zip(found.lines, found.rows))
    first, last = found.header_line or min(rows, default=1), max(rows, default=0)
    for number in range(first + 1, len(lines) + 1):
        if number > last:
            if number < len(lines) or lines[-1]:
                notices.tell("blank line at the end is skipped", path=path, place=f"line {number}")
            break
        row = rows.get(number, [""])
        yield number, [row[place] for place in places if place < len(row)]


def _event(
    fields: Sequence[str], index_of: dict[str, int], path: Path, place: str
) -> tuple[int, float, float, int, int]:
    """One row -> class, start and end in seconds, azimuth and elevation in degrees."""
    if len(fields) < 5:
        raise InputError(f"has {len(fields)} columns, an event has 6: {HEADER}", path=path, place=place)
    if fields[0].strip() not in index_of:
        known = ", ".join(index_of)
        raise InputError(f"unknown class '{shown(fields[0].strip())}'; known are {known}", path=path, place=place)
    try:
        start_s, end_s = float(fields[1]), float(fields[2])
        elevation, azimuth = int(fields[3]), int(fields[4])
    except ValueError:
        rule = "start and end must be numbers, elevation and azimuth whole numbers"
        raise InputError(rule, path=path, place=place) from None
    if not (0 <= start_s < 1e9 and 0 <= end_s < 1e9):
        raise InputError("start and end must be times in seconds from 0", path=path, place=place)
    return index_of[fields[0].strip()], start_s, end_s, azimuth, elevation
