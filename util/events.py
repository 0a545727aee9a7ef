"""The event table: one form for labels, predictions, metrics and report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

ANY_CLASS = -1
_INTEGER_COLUMNS = ("frame", "class_index", "source")


@dataclass(frozen=True, eq=False)
class EventTable:
    """Rows (frame, class) -> direction; arrays of one length n.

    Attributes
    ----------
    frame : int64, index of a label frame from 0; frame f covers [f frame_s, (f + 1) frame_s) seconds
    class_index : int64, -1 means 'any class'
    source : int64, number of the source (0 where the file has none)
    azimuth_deg, elevation_deg : float64, see `util.angles`
    distance_m : float64 in metres, NaN where unknown
    onscreen : float64, 1 on the screen, 0 off it, NaN where unknown
    activity : float64 in [0, 1] for predictions, NaN for labels
    frame_s : length of a frame in seconds
    """

    frame: np.ndarray
    class_index: np.ndarray
    source: np.ndarray
    azimuth_deg: np.ndarray
    elevation_deg: np.ndarray
    distance_m: np.ndarray
    onscreen: np.ndarray
    activity: np.ndarray
    frame_s: float = 0.1

    COLUMNS = ("frame", "class_index", "source", "azimuth_deg", "elevation_deg", "distance_m", "onscreen", "activity")

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in self.COLUMNS}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"columns of an event table must have one length, found {lengths}")

    @classmethod
    def make(cls, *, frame_s: float = 0.1, **columns: np.ndarray | list) -> EventTable:
        """Table from the columns given; source defaults to 0, the other absent columns to NaN.

        Examples
        --------
        >>> table = EventTable.make(frame=[3, 3, 1], class_index=[1, 0, 0], azimuth_deg=[90, 0, -45])
        >>> len(table), table.source.tolist(), table.frame_s
        (3, [0, 0, 0], 0.1)
        """
        unknown = set(columns) - set(cls.COLUMNS)
        if unknown:
            raise ValueError(f"unknown event columns {sorted(unknown)}; the columns are {list(cls.COLUMNS)}")
        count = len(columns["frame"]) if "frame" in columns else 0
        filled = {}
        for name in cls.COLUMNS:
            integer = name in _INTEGER_COLUMNS
            dtype = np.int64 if integer else np.float64
            if name in columns:
                filled[name] = np.asarray(columns[name], dtype=dtype).reshape(-1)
            else:
                filled[name] = np.full(count, 0 if integer else np.nan, dtype=dtype)
        return cls(frame_s=frame_s, **filled)

    @classmethod
    def concatenate(cls, tables: Iterable[EventTable]) -> EventTable:
        """All rows of the tables in their order; they must have one frame length.

        Examples
        --------
        >>> first = EventTable.make(frame=[0], class_index=[2])
        >>> EventTable.concatenate([first, first.replace(frame=first.frame + 5)]).frame.tolist()
        [0, 5]
        """
        tables = list(tables)
        if not tables:
            return cls.make()
        frame_s = {table.frame_s for table in tables}
        if len(frame_s) != 1:
            raise ValueError(f"tables of different frame lengths cannot be joined: {sorted(frame_s)} s")
        columns = {name: np.concatenate([getattr(table, name) for table in tables]) for name in cls.COLUMNS}
        return cls(frame_s=frame_s.pop(), **columns)

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, rows: np.ndarray | slice) -> EventTable:
        """The rows of a mask, an index array or a slice."""
        return EventTable(frame_s=self.frame_s, **{name: getattr(self, name)[rows] for name in self.COLUMNS})

    def replace(self, **columns: np.ndarray) -> EventTable:
        """The same table with some columns exchanged."""
        return EventTable(**{field.name: columns.get(field.name, getattr(self, field.name)) for field in fields(self)})

    def in_plane(self) -> EventTable:
        """The same with elevation 0 where only the azimuth is known, as in stereo sets: for what draws and matches."""
        alone = np.isnan(self.elevation_deg) & ~np.isnan(self.azimuth_deg)
        return self.replace(elevation_deg=np.where(alone, 0.0, self.elevation_deg)) if alone.any() else self

    def sorted(self) -> EventTable:
        """Rows by frame, then class, then source; rows that agree in all three keep their order.

        Examples
        --------
        >>> table = EventTable.make(frame=[3, 3, 1], class_index=[1, 0, 0], azimuth_deg=[90, 0, -45])
        >>> table.sorted().azimuth_deg.tolist()
        [-45.0, 0.0, 90.0]
        """
        return self[np.lexsort((self.source, self.class_index, self.frame))]

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays by name, as `pandas.DataFrame` and others take them."""
        return {name: getattr(self, name) for name in self.COLUMNS}
