"""The interval table: labels given as start and end times, kept as such and turned into frames at any length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from util.angles import degrees_from_direction, direction_from_degrees, wrap_azimuth_deg
from util.events import EventTable

ROUNDINGS = ("covered", "floor_ceil", "trunc")


def frames_per_second(frame_s: float) -> float:
    """Frame rate of a frame length, the short fraction that was meant: 0.02 s -> 50, 256 / 44100 s -> 172.265625.

    Raises
    ------
    ValueError : a frame length that is not above 0

    Examples
    --------
    >>> frames_per_second(0.02), frames_per_second(256 / 44100)
    (50.0, 172.265625)
    """
    if not 0 < frame_s < math.inf:
        raise ValueError(f"a frame must be longer than 0 s, found {frame_s}")
    rate, near = 1 / frame_s, Fraction(1 / frame_s).limit_denominator(1000)
    return float(near) if math.isclose(float(near), rate, rel_tol=1e-12) else rate


@dataclass(frozen=True, eq=False)
class IntervalTable:
    """Rows: an event of one class from a start to an end time, at rest or moving; arrays of one length n.

    Attributes
    ----------
    start_s, end_s : float64, seconds
    class_index : int64
    azimuth_deg, elevation_deg : float64, where the event is at its start, see `util.angles`
    distance_m : float64 in metres, NaN where unknown
    azimuth_direction_deg, elevation_direction_deg : float64, a direction that the event moves towards, on a great
        circle; NaN: it keeps its elevation
    angular_velocity_deg_s : float64, of the motion on the great circle, or of the azimuth; NaN: the event is static
    """

    start_s: np.ndarray
    end_s: np.ndarray
    class_index: np.ndarray
    azimuth_deg: np.ndarray
    elevation_deg: np.ndarray
    distance_m: np.ndarray
    azimuth_direction_deg: np.ndarray
    elevation_direction_deg: np.ndarray
    angular_velocity_deg_s: np.ndarray

    COLUMNS = (
        "start_s",
        "end_s",
        "class_index",
        "azimuth_deg",
        "elevation_deg",
        "distance_m",
        "azimuth_direction_deg",
        "elevation_direction_deg",
        "angular_velocity_deg_s",
    )

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in self.COLUMNS}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"columns of an interval table must have one length, found {lengths}")

    @classmethod
    def make(cls, **columns: np.ndarray | list) -> IntervalTable:
        """Table from the columns given; absent ones are NaN."""
        unknown = set(columns) - set(cls.COLUMNS)
        if unknown:
            raise ValueError(f"unknown interval columns {sorted(unknown)}; the columns are {list(cls.COLUMNS)}")
        count = len(columns["start_s"]) if "start_s" in columns else 0
        if count and "class_index" not in columns:
            raise ValueError("an interval table needs classes")
        filled = {}
        for name in cls.COLUMNS:
            integer = name == "class_index"
            value = columns.get(name, np.full(count, 0 if integer else np.nan))
            filled[name] = np.asarray(value, dtype=np.int64 if integer else np.float64).reshape(-1)
        return cls(**filled)

    def __len__(self) -> int:
        return len(self.start_s)

    def __getitem__(self, rows: np.ndarray | slice) -> IntervalTable:
        """The rows of a mask, an index array or a slice."""
        return IntervalTable(**{name: getattr(self, name)[rows] for name in self.COLUMNS})

    def replace(self, **columns: np.ndarray) -> IntervalTable:
        """The same table with some columns exchanged."""
        return IntervalTable(**{name: columns.get(name, getattr(self, name)) for name in self.COLUMNS})

    def static(self) -> IntervalTable:
        """The same events, each at rest where it starts."""
        unknown = np.full(len(self), np.nan)
        return self.replace(
            azimuth_direction_deg=unknown, elevation_direction_deg=unknown, angular_velocity_deg_s=unknown
        )

    @property
    def moving(self) -> np.ndarray:
        """(n,) bool: events that move."""
        return ~np.isnan(self.angular_velocity_deg_s) & (self.angular_velocity_deg_s != 0)

    def angles_at(self, row: int, elapsed_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Azimuth in [-180, 180) and elevation in degrees of an event, so many seconds after its start.

        An event that moves towards a direction equal or opposite to its own has no great circle, and stays where it is
        (the reference of the moving sets fails there).
        """
        elapsed_s = np.asarray(elapsed_s, dtype=np.float64)
        azimuth, elevation = self.azimuth_deg[row], self.elevation_deg[row]
        turned_deg = self.angular_velocity_deg_s[row] * elapsed_s
        if not self.moving[row]:
            return np.broadcast_to(wrap_azimuth_deg(azimuth), elapsed_s.shape), np.full(elapsed_s.shape, elevation)
        if np.isnan(self.azimuth_direction_deg[row]):
            return wrap_azimuth_deg(azimuth + turned_deg), np.full(elapsed_s.shape, elevation)
        start = direction_from_degrees(azimuth, elevation)
        toward = direction_from_degrees(self.azimuth_direction_deg[row], self.elevation_direction_deg[row])
        axis = np.cross(start, toward)
        length = np.linalg.norm(axis)
        if length < 1e-9:
            return np.broadcast_to(wrap_azimuth_deg(azimuth), elapsed_s.shape), np.full(elapsed_s.shape, elevation)
        ahead = np.cross(axis / length, start)  # the unit vector a quarter turn further
        turned = np.deg2rad(turned_deg)[..., None]
        return degrees_from_direction(np.cos(turned) * start + np.sin(turned) * ahead)


def frame_range(table: IntervalTable, frame_s: float, rounding: str = "covered") -> tuple[np.ndarray, np.ndarray]:
    """First and last frame (n,), int64, both included, of each event.

    Parameters
    ----------
    rounding : "covered": every frame that the event reaches into; "floor_ceil": floor(start) to ceil(end), one frame
        more than that (labels of DCASE2019); "trunc": whole part of both (its output format)
    """
    if rounding == "trunc":
        return (table.start_s / frame_s).astype(np.int64), (table.end_s / frame_s).astype(np.int64)
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding must be one of {', '.join(ROUNDINGS)}, found {rounding}")
    rate = frames_per_second(frame_s)
    start, end = table.start_s * rate, table.end_s * rate
    if rounding == "covered":
        start, end = (np.where(np.abs(t - np.rint(t)) < 1e-9 * (1 + np.abs(t)), np.rint(t), t) for t in (start, end))
        first = np.floor(start).astype(np.int64)
        return first, np.maximum(np.ceil(end).astype(np.int64) - 1, first)
    return np.floor(start).astype(np.int64), np.ceil(end).astype(np.int64)


def label_frame_of(frame: np.ndarray, frame_s: float, label_frame_s: float) -> np.ndarray:
    """Label frame (int64) in which the middle of each frame of an output lies."""
    return np.floor((np.asarray(frame) + 0.5) * frame_s / label_frame_s + 1e-9).astype(np.int64)


def frames_of(first: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every frame of events that begin at frame `first` and last `length` >= 0 frames, event by event.

    Returns
    -------
    index of the event, frame: both (sum of length,) int64

    Examples
    --------
    >>> [found.tolist() for found in frames_of(np.array([5, 0]), np.array([2, 3]))]
    [[0, 0, 1, 1, 1], [5, 6, 0, 1, 2]]
    """
    row = np.repeat(np.arange(len(length)), length)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length) + first[row]


def to_events(
    table: IntervalTable, frame_s: float, frame_count: int | None = None, rounding: str = "covered"
) -> EventTable:
    """Events of every frame, sorted by frame, rows of a frame in the order of the table.

    A moving event is where it is in the middle of the frame (at its start or end, where that lies outside).

    Parameters
    ----------
    frame_count : frames from this one on are left out; None: none are
    rounding : as in `frame_range`

    Examples
    --------
    >>> table = IntervalTable.make(start_s=[0.15], end_s=[0.4], class_index=[7], azimuth_deg=[30], elevation_deg=[0])
    >>> to_events(table, frame_s=0.1).frame.tolist()
    [1, 2, 3]
    >>> to_events(table, frame_s=0.1, rounding="floor_ceil").frame.tolist()  # labels of DCASE2019
    [1, 2, 3, 4]
    """
    first, last = frame_range(table, frame_s, rounding)
    first = np.maximum(first, 0)
    if frame_count is not None:
        last = np.minimum(last, frame_count - 1)
    length = np.maximum(last - first + 1, 0)
    row, frame = frames_of(first, length)
    azimuth, elevation = wrap_azimuth_deg(table.azimuth_deg[row]), table.elevation_deg[row]
    for index in np.flatnonzero(table.moving & (length > 0)).tolist():
        mine = row == index
        elapsed_s = (frame[mine] + 0.5) * frame_s - table.start_s[index]
        azimuth[mine], elevation[mine] = table.angles_at(
            index, np.clip(elapsed_s, 0, table.end_s[index] - table.start_s[index])
        )
    events = EventTable.make(
        frame=frame,
        class_index=table.class_index[row],
        azimuth_deg=azimuth,
        elevation_deg=elevation,
        distance_m=table.distance_m[row],
        frame_s=frame_s,
    )
    return events[np.argsort(frame, kind="stable")]


def from_events(events: EventTable) -> IntervalTable:
    """Events of frames as intervals: rows of successive frames that agree in all else become one; sorted by start."""
    if not len(events):
        return IntervalTable.make()
    keys = ("class_index", "source", "azimuth_deg", "elevation_deg", "distance_m")
    columns = np.stack([getattr(events, name).astype(np.float64) for name in keys], axis=1)
    _, kind = np.unique(np.nan_to_num(columns, nan=-1.0), axis=0, return_inverse=True)
    order = np.lexsort((events.frame, kind.reshape(-1)))
    frame, kind = events.frame[order], kind.reshape(-1)[order]
    again = (np.diff(kind) == 0) & (np.diff(frame) <= 1)  # the next frame, or the same row twice
    begin = np.flatnonzero(np.append(True, ~again))
    end = np.append(begin[1:], len(frame)) - 1
    rate = frames_per_second(events.frame_s)
    row = order[begin]
    table = IntervalTable.make(
        start_s=frame[begin] / rate,
        end_s=(frame[end] + 1) / rate,
        class_index=events.class_index[row],
        azimuth_deg=events.azimuth_deg[row],
        elevation_deg=events.elevation_deg[row],
        distance_m=events.distance_m[row],
    )
    return table[np.lexsort((row, table.start_s))]
