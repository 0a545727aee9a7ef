"""csv files of 2019: references as events with start and end, predictions as rows of whole frames and angles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcase2022_task3_seld_metrics.batch import Batch
from dcase2022_task3_seld_metrics.csvrows import Grammar, read_csv_rows
from dcase2022_task3_seld_metrics.notices import Notices
from util.errors import InputError

HEADER = "sound_event_recording,start_time,end_time,ele,azi,dist"
PREDICTION = "frame,class,azimuth,elevation"
FRAMES_PER_S = 50


def read_predictions(paths: Sequence[Path], notices: Notices) -> tuple[Batch, np.ndarray]:
    """Rows `frame,class,azimuth,elevation`, all whole numbers -> batch, line number of each row."""
    rows = read_csv_rows(paths, Grammar({4: (0, 1, 2, 3)}, wider=True, narrow=f"a row has 4: {PREDICTION}"), notices)
    return _batch(rows.file, rows.frame, rows.class_index, rows.values[:, :2], len(paths)), rows.line


def read_references(
    paths: Sequence[Path], classes: Sequence[str], notices: Notices, *, training: bool = False
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
    events, lines = [], []
    for file, path in enumerate(paths):
        text = _text(path).splitlines()
        if text and not _is_header(text[0]):
            notices.tell(f"is no header ({HEADER}), yet the official reader skips it", path=path, place="line 1")
        for number, line in enumerate(text[1:], start=2):
            if not line.strip() and not any(rest.strip() for rest in text[number:]):
                notices.tell("blank line at the end is skipped", path=path, place=f"line {number}")
                break
            events.append((file, *_event(line, index_of, path, f"line {number}")))
            lines.append(number)
    table = np.array(events, dtype=np.float64).reshape(-1, 6)
    if training:
        first, last = (table[:, 2] / 0.02).astype(np.int64), (table[:, 3] / 0.02).astype(np.int64)
    else:
        first = np.floor(table[:, 2] * FRAMES_PER_S).astype(np.int64)
        last = np.ceil(table[:, 3] * FRAMES_PER_S).astype(np.int64)
    length = np.maximum(0, last - first + 1)
    event = np.repeat(np.arange(len(table)), length)
    frame = np.arange(len(event)) - np.repeat(np.cumsum(length) - length, length) + first[event]
    batch = _batch(
        table[event, 0].astype(np.int64), frame, table[event, 1].astype(np.int64), table[event, 4:6], len(paths)
    )
    return batch, np.array(lines, dtype=np.int64)[event] if lines else np.zeros(0, dtype=np.int64)


def _batch(file: np.ndarray, frame: np.ndarray, class_index: np.ndarray, polar: np.ndarray, files: int) -> Batch:
    last_frame = np.full(files, -1, dtype=np.int64)
    np.maximum.at(last_frame, file, frame)
    unknown = np.full(len(frame), np.nan)
    return Batch(file, frame, class_index, np.zeros(len(frame), dtype=np.int64), polar, unknown, unknown, last_frame)


def _text(path: Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except UnicodeDecodeError:
        raise InputError("is no csv: not a text file", path=path) from None


def _is_header(line: str) -> bool:
    fields = line.split(",")
    try:
        float(fields[1])
    except (IndexError, ValueError):
        return True
    return False


def _event(line: str, index_of: dict[str, int], path: Path, place: str) -> tuple[int, float, float, int, int]:
    """One line -> class, start and end in seconds, azimuth and elevation in degrees."""
    fields = line.strip().split(",")
    if len(fields) < 5:
        raise InputError(f"has {len(fields)} columns, an event has 6: {HEADER}", path=path, place=place)
    if fields[0].strip() not in index_of:
        known = ", ".join(index_of)
        raise InputError(f"unknown class '{fields[0].strip()[:40]}'; known are {known}", path=path, place=place)
    try:
        start_s, end_s = float(fields[1]), float(fields[2])
        elevation, azimuth = int(fields[3]), int(fields[4])
    except ValueError:
        rule = "start and end must be numbers, elevation and azimuth whole numbers"
        raise InputError(rule, path=path, place=place) from None
    if not (0 <= start_s < 1e9 and 0 <= end_s < 1e9):
        raise InputError("start and end must be times in seconds from 0", path=path, place=place)
    return index_of[fields[0].strip()], start_s, end_s, azimuth, elevation
