"""The editions: each a row of choices (unit of counting, distance, length, averaging, file layout)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dcase2022_task3_seld_metrics import scores
from util.errors import InputError


@dataclass(frozen=True)
class Edition:
    """How an official program scores.

    Attributes
    ----------
    name : as given to `--edition`
    title : one line for people
    unit : "segment", "binary segment", "frame" or "block" (1 s blocks for detection, frames for direction)
    rates : scores of components
    class_count : classes of the challenge
    coordinates : what may be compared: "polar", "cartesian", "folded"; the first is the default
    averages : the first is the default
    fixed_frames : number of frames scored; None: up to the last labelled one
    relative_distance : default limit of the relative distance error; None: the edition knows no distance
    distance_unit_m : metres per unit in which distance errors are given
    nan_means : scores whose macro average leaves out the classes without a value
    layout : csv layout of the official program
    jackknife : the official program has intervals (the formula is the same where it has none)
    best : the score that chooses a model; with `best_is_low`
    """

    name: str
    title: str
    unit: str
    rates: Callable[..., scores.Values]
    class_count: int
    layout: str
    coordinates: tuple[str, ...] = ("polar", "cartesian")
    averages: tuple[str, ...] = ("macro", "micro")
    fixed_frames: int | None = None
    frame_s: float = 0.1
    relative_distance: float | None = None
    distance_unit_m: float = 1.0
    nan_means: tuple[str, ...] = ()
    onscreen: bool = False
    jackknife: bool = True
    best: str = "SELD"
    best_is_low: bool = True


_MEANS_2024 = ("AngE", "DistE", "RelDistE")
EDITIONS = {
    edition.name: edition
    for edition in (
        Edition(
            "2019",
            "DCASE2019: detection on 1 s blocks, direction on frames, classes ignored for the direction",
            "block",
            scores.block_rates_2019,
            11,
            "m19",
            ("polar",),
            ("micro",),
            fixed_frames=3000,
            frame_s=0.02,
            jackknife=False,
        ),
        Edition(
            "2020",
            "DCASE2020: segment x class, present or not",
            "binary segment",
            scores.segment_rates_2020,
            14,
            "m20",
            averages=("micro",),
            fixed_frames=600,
            jackknife=False,
        ),
        Edition(
            "2021",
            "DCASE2021: segment x class x track",
            "segment",
            scores.segment_rates_2021,
            12,
            "m21",
            averages=("micro",),
            fixed_frames=600,
            jackknife=False,
        ),
        Edition("2022", "DCASE2022: segment x class x track", "segment", scores.segment_rates, 13, "m22"),
        Edition("2023", "DCASE2023: segment x class x track", "segment", scores.segment_rates, 13, "m23"),
        Edition(
            "2024",
            "DCASE2024: frame x class x track, with distance",
            "frame",
            scores.frame_rates_2024,
            13,
            "m24",
            ("cartesian",),
            relative_distance=1.0,
            nan_means=_MEANS_2024,
        ),
        Edition(
            "2024-segment",
            "DCASE2024, segment mode: segment x class x track",
            "segment",
            scores.segment_rates_2024,
            13,
            "m24",
            ("cartesian",),
        ),
        Edition(
            "2025",
            "DCASE2025 stereo: frame x class x track, folded azimuth, with distance",
            "frame",
            scores.frame_rates_2025,
            13,
            "m25",
            ("folded",),
            relative_distance=1.0,
            distance_unit_m=0.01,
            nan_means=(*_MEANS_2024, "OnscreenAcc"),
            onscreen=True,
            best="F",
            best_is_low=False,
        ),
    )
}


def edition_named(name: str) -> Edition:
    """The edition of that name.

    Raises
    ------
    InputError : there is none
    """
    if str(name) not in EDITIONS:
        known = ", ".join(EDITIONS)
        rule = f"unknown edition '{name}'; known are {known} (that of 2018 needs arrays: `arrays.seldnet2018`)"
        raise InputError(rule)
    return EDITIONS[str(name)]
