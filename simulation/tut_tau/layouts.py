"""What sets each of the layouts apart: a row of a table, and the names of its files."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dataset.layout_kinds import FoldLayout, Layout
from dataset.layouts import LAYOUTS as FACTS
from simulation.tut_tau.classes import INTERFERENCE, NIGENS, NIGENS_2021, OFFICE, STARSS, URBAN, EventClass
from util.errors import InputError
from util.interval_csv import INTERVAL_DIALECTS

DB = 30  # of the ambient noise below the events, and in the names of the sets of 2018


@dataclass(frozen=True)
class SetLayout:
    """How a set of a layout is simulated; what the layout is stands in `dataset.layouts`.

    Attributes
    ----------
    key : as on the command line and in dataset.json
    classes : how its classes sound, in their order; "mono": those of STARSS23 unless --classes says others
    real : how large the data set is
    train, test : recordings that are made by default
    clip_s : length by default; None: that of the data set
    interference : classes of directional sounds that have no labels
    elevation_deg : lowest and highest elevation of the directions; azimuth goes all round from -180
    step_deg : of the grid of directions
    distance_m : nearest and farthest source; None: 1 m, or 2 m where |elevation| is at most 20 degrees
    anechoic : no walls
    motion : None (sources at rest), "rotation" (about an axis of any tilt) or "azimuth" (round the listener)
    motion_share : of the sources that move
    speeds_deg_s : angular velocities; (): any whole number from 10 to 60
    rooms_everywhere : the folds share the rooms
    """

    key: str
    classes: tuple[EventClass, ...]
    real: str
    train: int = 24
    test: int = 8
    clip_s: float | None = None
    interference: tuple[EventClass, ...] = ()
    elevation_deg: tuple[int, int] = (-60, 50)
    step_deg: int = 10
    distance_m: tuple[float, float] | None = (1.0, 5.0)
    anechoic: bool = False
    motion: str | None = None
    motion_share: float = 1.0
    speeds_deg_s: tuple[int, ...] = ()
    rooms_everywhere: bool = False

    @property
    def facts(self) -> Layout:
        """What readers know of it: formats, rate, folders, names, dialect."""
        return FACTS[self.key]

    @property
    def title(self) -> str:
        """Of what set this is the layout."""
        return self.facts.title

    @property
    def formats(self) -> tuple[str, ...]:
        """Arrays that it has recordings of, names of `util.microphone_arrays`."""
        return self.facts.formats

    @property
    def rate_hz(self) -> int:
        """Samples per second."""
        return self.facts.rate_hz

    @property
    def seconds(self) -> float:
        """Length of a recording by default."""
        return self.clip_s or self.facts.clip_s or 10.0

    @property
    def folds(self) -> bool:
        """Whether a split is a fold as a whole (2019 on); else each split has recordings to train and to test."""
        return isinstance(self.facts, FoldLayout)

    @property
    def splits(self) -> tuple[int, ...]:
        """Numbers of splits that it knows; () where it has none."""
        return tuple(sorted(self.facts.parts)) if isinstance(self.facts, FoldLayout) else self.facts.folds

    @property
    def overlaps(self) -> tuple[int, ...]:
        """Most events at one time that its recordings may have."""
        return self.facts.overlaps or (1, 2, 3)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of label files with start and end; () where labels are of frames."""
        dialect = INTERVAL_DIALECTS.get(self.facts.dialect)
        return () if dialect is None else dialect.columns

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in the order of their indices."""
        return tuple(row.name for row in self.classes)

    def directions_deg(self, offset_deg: int = 0) -> np.ndarray:
        """The grid (directions, 2) of azimuth and elevation, shifted by an offset; what leaves its range is left out.

        Azimuth -180, -170 .. 170; elevation in steps of 10 degrees (or of `step_deg`, both).
        """
        low, high = self.elevation_deg
        azimuth = np.arange(-180, 180, self.step_deg) + offset_deg
        elevation = np.arange(low, high + 1, self.step_deg) + offset_deg
        azimuth, elevation = azimuth[azimuth < 180], elevation[(elevation >= low) & (elevation <= high)]
        return np.stack(np.meshgrid(azimuth, elevation, indexing="ij"), axis=-1).reshape(-1, 2)


_ONE = "three splits of 240 + 60 recordings of 30 s for each of 1, 2, 3 events at one time"
_NIGENS_2020 = SetLayout(
    "nigens2020",
    NIGENS,
    "600 recordings of 60 s in 6 folds, 200 to evaluate",
    train=4,
    test=2,
    elevation_deg=(-45, 45),
    step_deg=1,
    distance_m=(1.0, 4.0),
    motion="azimuth",
    motion_share=0.5,
    speeds_deg_s=(10, 20, 40),
)
LAYOUTS = {
    row.key: row
    for row in (
        SetLayout("ansim", OFFICE, _ONE, anechoic=True),
        SetLayout("resim", OFFICE, _ONE),
        SetLayout("cansim", OFFICE, _ONE, anechoic=True),
        SetLayout("cresim", OFFICE, _ONE),
        SetLayout("real", URBAN, _ONE),
        SetLayout("mansim", OFFICE, _ONE, anechoic=True, motion="rotation"),
        SetLayout("mreal", URBAN, _ONE, distance_m=(1.0, 2.0), motion="azimuth"),
        SetLayout(
            "tau2019",
            OFFICE,
            "400 recordings of 60 s in 4 splits, 100 to evaluate",
            train=10,
            test=0,
            elevation_deg=(-40, 40),
            distance_m=None,
            rooms_everywhere=True,
        ),
        _NIGENS_2020,
        replace(_NIGENS_2020, key="nigens2021", classes=NIGENS_2021, interference=INTERFERENCE),
        SetLayout(
            "mono",
            STARSS,
            "FSD50K has 51,197 recordings, 108 hours",
            train=60,
            test=20,
            clip_s=10.0,
            distance_m=(1.0, 3.0),
        ),
    )
}


def layout_named(key: str) -> SetLayout:
    """The layout of that name.

    Raises
    ------
    InputError : there is none
    """
    if key not in LAYOUTS:
        known = ", ".join([*(name for name in FACTS if name not in LAYOUTS), *LAYOUTS])
        raise InputError(f"--layout: unknown layout '{key}'; known are {known}")
    return LAYOUTS[key]
