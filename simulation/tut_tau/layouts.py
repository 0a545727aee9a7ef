"""What sets each of the layouts apart: a row of a table, and the names of its files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from simulation.tut_tau.classes import OFFICE, URBAN, EventClass
from util.errors import InputError

DB = 30  # of the ambient noise below the events, and in the names of the sets of 2018


@dataclass(frozen=True)
class SetLayout:
    """A layout.

    Attributes
    ----------
    key : as on the command line and in dataset.json
    title : of what set this is the layout
    formats : arrays that it has recordings of, names of `util.microphone_arrays`
    elevation_deg : lowest and highest elevation of the direction grid; azimuth goes all round from -180
    distance_m : nearest and farthest source; None: 1 m, or 2 m where |elevation| is at most 20 degrees
    anechoic : no walls
    motion : None (sources at rest), "rotation" (about an axis of any tilt) or "azimuth" (round the listener)
    splits, overlaps : numbers that it knows
    columns : of the label file
    """

    key: str
    title: str
    formats: tuple[str, ...]
    classes: tuple[EventClass, ...] = OFFICE
    rate_hz: int = 44100
    clip_s: float = 30.0
    elevation_deg: tuple[int, int] = (-60, 50)
    distance_m: tuple[float, float] | None = (1.0, 5.0)
    anechoic: bool = False
    motion: str | None = None
    splits: tuple[int, ...] = (1, 2, 3)
    overlaps: tuple[int, ...] = (1, 2, 3)
    columns: tuple[str, ...] = ("sound_event_recording", "start_time", "end_time", "ele", "azi", "dist")

    @property
    def folds(self) -> bool:
        """Whether a split is a fold as a whole (2019); else each split has recordings to train and to test (2018)."""
        return self.key == "tau2019"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of their indices."""
        return tuple(row.name for row in self.classes)

    def directions_deg(self, offset_deg: int = 0) -> np.ndarray:
        """The grid (directions, 2) of azimuth and elevation, shifted by an offset; what leaves its range is left out.

        Azimuth -180, -170 .. 170; elevation in steps of 10 degrees.
        """
        low, high = self.elevation_deg
        azimuth = np.arange(-180, 180, 10) + offset_deg
        elevation = np.arange(low, high + 1, 10) + offset_deg
        azimuth, elevation = azimuth[azimuth < 180], elevation[(elevation >= low) & (elevation <= high)]
        return np.stack(np.meshgrid(azimuth, elevation, indexing="ij"), axis=-1).reshape(-1, 2)


_STATIC = ("sound_event_recording", "start_time", "end_time", "ele", "azi", "dist")
_ROTATING = (*_STATIC[:-1], "ele_dir", "azi_dir", "ang_vel", "dist")
_TURNING = (*_STATIC[:-1], "ang_vel", "dist")
_URBAN: dict[str, Any] = {"classes": URBAN, "splits": (1, 8, 9)}
LAYOUTS = {
    row.key: row
    for row in (
        SetLayout("ansim", "TUT Sound Events 2018 ANSIM: anechoic, Ambisonics", ("foa",), anechoic=True),
        SetLayout("resim", "TUT Sound Events 2018 RESIM: rooms, Ambisonics", ("foa",)),
        SetLayout("cansim", "TUT Sound Events 2018 CANSIM: anechoic, circular array", ("circular8",), anechoic=True),
        SetLayout("cresim", "TUT Sound Events 2018 CRESIM: rooms, circular array", ("circular8",)),
        SetLayout("real", "TUT Sound Events 2018 REAL: rooms, street sounds, Ambisonics", ("foa",), **_URBAN),
        SetLayout("mansim", "TUT Sound Events 2018 MANSIM: anechoic, moving sources, Ambisonics", ("foa",),
                  anechoic=True, motion="rotation", columns=_ROTATING),
        SetLayout("mreal", "TUT Sound Events 2018 MREAL: rooms, moving street sounds, Ambisonics", ("foa",),
                  distance_m=(1.0, 2.0), motion="azimuth", columns=_TURNING, **_URBAN),
        SetLayout("tau2019", "TAU Spatial Sound Events 2019", ("foa", "mic"), rate_hz=48000, clip_s=60.0,
                  elevation_deg=(-40, 40), distance_m=None, splits=(1, 2, 3, 4), overlaps=(1, 2)),
    )
}  # fmt: skip


def layout_named(key: str) -> SetLayout:
    """The layout of that name.

    Raises
    ------
    InputError : there is none
    """
    if key not in LAYOUTS:
        raise InputError(f"--layout: unknown layout '{key}'; known are starss23, {', '.join(LAYOUTS)}")
    return LAYOUTS[key]
