"""The choices of one scoring run: edition, average, limits; checked once, then passed down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dcase2022_task3_seld_metrics import scores
from dcase2022_task3_seld_metrics.batch import Batch
from dcase2022_task3_seld_metrics.counting import (
    SEGMENT,
    Components,
    Limits,
    count_binary_segments,
    count_frames,
    count_segments,
    labelled_frames,
    labelled_segments,
)
from dcase2022_task3_seld_metrics.distances import CartesianDistance, Distance, FoldedDistance, PolarDistance
from dcase2022_task3_seld_metrics.editions import DEFAULT, Edition, edition_named
from dcase2022_task3_seld_metrics.grid import count_grid
from util.errors import InputError

_DISTANCES: dict[str, Distance] = {
    "polar": PolarDistance(),
    "cartesian": CartesianDistance(),
    "folded": FoldedDistance(),
}


@dataclass(frozen=True)
class ScoringSettings:
    """One way to score.

    Attributes
    ----------
    classes : their names, in the order of their numbers
    coordinates : "polar", "cartesian" or "folded"
    distance : distances are compared (2024, 2025)
    two_stage : 2019 only: blocks of the error rate as Two-Stage counts them (Q23), an error where nothing is predicted
    """

    edition: Edition
    average: str
    classes: tuple[str, ...]
    coordinates: str
    limits: Limits
    distance: bool
    two_stage: bool = False

    @property
    def rates(self) -> Callable[..., scores.Values]:
        """The formulas of the scores."""
        if self.edition.rates is scores.frame_rates_2024 and not self.distance:
            return scores.frame_rates_2024_without_distance
        if self.two_stage:
            return scores.block_rates_two_stage
        if self.edition.rates is None:
            raise ValueError(f"edition {self.edition.name} scores arrays, not components")
        return self.edition.rates

    def count(self, reference: Batch, estimated: Batch) -> Components:
        """Components of every recording of two batches (the same recordings in both)."""
        edition, classes, angle = self.edition, len(self.classes), _DISTANCES[self.coordinates]
        files = len(reference.last_frame)
        if edition.unit == "block" and edition.fixed_frames is not None:
            return count_grid(reference, estimated, classes, edition.fixed_frames, two_stage=self.two_stage)
        if edition.unit == "frame":
            frames = labelled_frames(reference)
            return count_frames(reference, estimated, classes, frames, angle, self.limits, with_distance=self.distance)
        if edition.fixed_frames:
            segments = np.full(files, edition.fixed_frames // SEGMENT, dtype=np.int64)
        else:
            segments = labelled_segments(reference)
        rule = count_binary_segments if edition.unit == "binary segment" else count_segments
        return rule(reference, estimated, classes, segments, angle, self.limits)

    def describe(self) -> dict[str, Any]:
        """Plain values, to stand beside a score."""
        described: dict[str, Any] = {"edition": self.edition.name, "average": self.average}
        if self.edition.unit == "block":
            return described | {"variant": "two-stage" if self.two_stage else "2019"}
        described |= {"coordinates": self.coordinates, "angle_threshold_deg": self.limits.angle_deg}
        if self.distance:
            described["distance_threshold"] = self.limits.distance
            described["relative_distance_threshold"] = self.limits.relative_distance
        if self.edition.onscreen:
            described["onscreen_required"] = self.limits.onscreen
        return described


def make_settings(
    edition: str = DEFAULT,
    *,
    average: str | None = None,
    class_count: int | None = None,
    classes: Sequence[str] | None = None,
    coordinates: str | None = None,
    angle_threshold_deg: float = 20.0,
    distance: bool | None = None,
    distance_threshold: float = np.inf,
    relative_distance_threshold: float | None = None,
    onscreen_required: bool = False,
    modality: str = "audio_visual",
    variant: str | None = None,
) -> ScoringSettings:
    """Settings from what a user says; see `score` for the arguments.

    Raises
    ------
    InputError : a choice that the edition does not know
    """
    row = edition_named(edition)
    average = average or row.averages[0]
    if average not in row.averages:
        raise InputError(f"edition {row.name} has no {average} average; it has {' and '.join(row.averages)}")
    coordinates = coordinates or row.coordinates[0]
    if coordinates not in row.coordinates:
        raise InputError(f"edition {row.name} compares {' or '.join(row.coordinates)} coordinates, not {coordinates}")
    if variant not in (None, "2019", "two-stage") or (variant == "two-stage" and row.name != "2019"):
        raise InputError(f"unknown variant '{variant}' of edition {row.name}; 'two-stage' belongs to 2019")
    if distance and not row.distance:
        raise InputError(f"edition {row.name} knows no distance; 2024 and 2025 do")
    if distance is False and row.onscreen:
        raise InputError(f"edition {row.name} always compares distances")
    if onscreen_required and not row.onscreen:
        raise InputError(f"edition {row.name} knows no onscreen flag; 2025 does")
    if not angle_threshold_deg >= 0 or not distance_threshold >= 0:
        raise InputError("a threshold must be 0 or more")
    names = _class_names(row, class_count, classes)
    with_distance = row.distance if distance is None else distance
    relative = row.relative_distance if relative_distance_threshold is None else relative_distance_threshold
    limits = Limits(angle_threshold_deg)
    if with_distance and relative is not None:
        limits = replace(limits, distance=distance_threshold, relative_distance=relative)
    limits = replace(limits, onscreen=onscreen_required and modality != "audio")
    return ScoringSettings(row, average, names, coordinates, limits, with_distance, variant == "two-stage")


def _class_names(edition: Edition, class_count: int | None, classes: Sequence[str] | None) -> tuple[str, ...]:
    if classes is not None:
        if class_count not in (None, len(classes)):
            raise InputError(f"class_count is {class_count}, but {len(classes)} class names are given")
        return tuple(classes)
    known = edition.classes
    count = len(known) if class_count is None else int(class_count)
    if count < 1:
        raise InputError(f"class_count must be 1 or more, found {count}")
    return known if len(known) == count else tuple(f"class {index}" for index in range(count))
