"""Label files of any dialect, as events of frames or as events with start and end."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np

from util.dialects import read_events
from util.errors import InputError
from util.events import EventTable
from util.interval_csv import INTERVAL_DIALECTS, read_intervals
from util.intervals import IntervalTable, frames_of, from_events, to_events
from util.label_sheet import SHEET, Clip, sheet_intervals


def read_label_events(
    path: str | os.PathLike[str],
    dialect: str,
    classes: Sequence[str] | int | None,
    *,
    frame_s: float = 0.1,
    frame_count: int | None = None,
    clip: Clip | None = None,
) -> EventTable:
    """Events of frames of a length, sorted by frame, rows of one frame in the order of the file.

    Labels with start and end take the frames that their data set counts where the frames have its length, else all that
    an event reaches into. Labels of frames hold for all shorter frames whose middle lies in theirs.

    Parameters
    ----------
    classes : names, or for dialects of frames only their number (None: any class)
    frame_count : of labels with start and end, frames from this one on are left out
    clip : which recording is meant, where a file has the labels of many

    Raises
    ------
    InputError : as `read_events`, `read_intervals` and `sheet_intervals`; longer frames than those of the labels
    """
    if names_classes(dialect):
        intervals = read_label_intervals(path, dialect, classes, clip=clip)
        timed = INTERVAL_DIALECTS.get(dialect)
        counted = timed is not None and timed.frame_s is not None and math.isclose(timed.frame_s, frame_s, rel_tol=1e-9)
        return to_events(intervals, frame_s, frame_count, "floor_ceil" if counted else "covered")
    table = read_events(path, dialect, class_count=_count(classes))
    table = table[np.argsort(table.frame, kind="stable")]
    if math.isclose(table.frame_s, frame_s, rel_tol=1e-9):
        return table
    if frame_s > table.frame_s:
        rule = f"has frames of {1000 * table.frame_s:g} ms, they make no frames of {1000 * frame_s:g} ms"
        raise InputError(rule, path=path)
    ratio = table.frame_s / frame_s
    first, end = (np.ceil((table.frame + step) * ratio - 0.5 - 1e-6).astype(np.int64) for step in (0, 1))
    row, frame = frames_of(first, end - first)
    shorter = EventTable(**{name: getattr(table, name)[row] for name in table.COLUMNS}, frame_s=frame_s)
    return shorter.replace(frame=frame)[np.argsort(frame, kind="stable")]


def names_classes(dialect: str) -> bool:
    """Whether labels have a start and an end, and call their classes by names."""
    return dialect in INTERVAL_DIALECTS or dialect == SHEET


def read_label_intervals(
    path: str | os.PathLike[str],
    dialect: str,
    classes: Sequence[str] | int | None,
    *,
    clip: Clip | None = None,
) -> IntervalTable:
    """Events with start and end; of labels of frames the runs of frames that agree.

    Parameters
    ----------
    clip : which recording is meant, where a file has the labels of many

    Raises
    ------
    InputError : as `read_events`, `read_intervals` and `sheet_intervals`
    """
    if dialect == SHEET:
        if clip is None:
            raise ValueError(f"{path} has the labels of many recordings: which one?")
        return sheet_intervals(path, _names(classes, dialect), clip)
    if dialect in INTERVAL_DIALECTS:
        return read_intervals(path, dialect, _names(classes, dialect))
    return from_events(read_events(path, dialect, class_count=_count(classes)))


def _count(classes: Sequence[str] | int | None) -> int | None:
    return classes if classes is None or isinstance(classes, int) else len(classes)


def _names(classes: Sequence[str] | int | None, dialect: str) -> Sequence[str]:
    if classes is None or isinstance(classes, int):
        raise ValueError(f"labels of dialect {dialect} need the names of the classes")
    return classes
