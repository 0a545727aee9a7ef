"""Person boxes made from the labels: what a detector would give that sees everybody who is heard, and nobody else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dataset.recordings import Labels, Recording
from util.angles import direction_from_degrees
from util.boxes import MAX_BOXES
from util.camera import Equirectangular
from util.errors import InputError
from util.events import EventTable

HEIGHT_M, WIDTH_M = 1.7, 0.5  # of a person
USUAL_M = 2.0  # distance of a source where the labels know none
NEAREST_M = 0.4  # whoever is nearer is drawn there: a box would grow without limit
PRESENT_S = 1.0  # people do not vanish between two words
SAME_PERSON_IOU = 0.5
_MIN_WIDTH = 1 / 360  # a narrower part across the seam, one pixel of the small video, is dropped
# Where on the body the sounds of a class come from, as a share of its height; the classes that people make.
SOUNDING_SHARE = {
    "female speech": 0.893,
    "male speech": 0.893,
    "speech": 0.893,
    "laughter": 0.893,
    "cough": 0.893,
    "clearthroat": 0.893,
    "clapping": 0.70,
    "footsteps": 0.02,
}
OBJECT_SHARE = 0.70  # of an object that is held


class TrueBoxes:
    """Boxes of the people who make the labelled events: what a detector would be worth that misses none of them.

    Every labelled source of a class that people make (`SOUNDING_SHARE`) is a person 1.7 m high and 0.5 m wide, upright
    at the labelled distance (2 m where the labels know none), whose sounding part lies at the labelled direction. Of
    data sets without any such class, where people play objects, every source is a person who holds it. People silent
    for up to 1 s stay where they are labelled next or last; boxes that overlap by an IoU above 0.5 are one person. As a
    detector's, boxes are cut at the seam and the borders of the panorama; the largest six are kept.

    No bound in the strict sense: they also tell who sounds, and a network that has learned from a detector's boxes has
    never seen a picture without the silent people.

    Parameters
    ----------
    classes : names of the classes
    """

    def __init__(self, classes: Sequence[str]):
        self._labels = Labels(len(classes))
        share = np.array([SOUNDING_SHARE.get(name.strip().lower(), np.nan) for name in classes])
        self._share = np.full(len(classes), OBJECT_SHARE) if np.isnan(share).all() else share

    def __call__(self, recording: Recording, time_s: np.ndarray) -> np.ndarray:
        """Boxes (m, 6, 4) float32 at times (m,) in seconds, fractions of the image; zero rows are no box.

        Raises
        ------
        InputError : no labels, or video of a perspective view (whose field of view nobody knows)
        """
        if recording.labels is None:
            raise InputError("has no labels: --boxes true makes the boxes from them", path=recording.audio)
        if recording.view != "equirectangular":
            raise InputError(f"is {recording.view} video; --boxes true needs 360-degree video", path=recording.video)
        table = self._labels(recording)
        table = table[~np.isnan(self._share[table.class_index])]
        boxes = np.zeros((len(time_s), MAX_BOXES, 4), dtype=np.float32)
        for row, time in zip(boxes, np.asarray(time_s, dtype=np.float64)):
            found = self._boxes(_present(table, float(time)))[:MAX_BOXES]
            row[: len(found)] = found
        return boxes

    def _boxes(self, people: EventTable) -> np.ndarray:
        """(n, 4), those of the nearest people first."""
        distance_m = np.where(np.isnan(people.distance_m), USUAL_M, people.distance_m)
        x, y, z = (distance_m[:, None] * direction_from_degrees(people.azimuth_deg, people.elevation_deg)).T
        away_m = np.maximum(np.hypot(x, y), NEAREST_M)
        feet_m = z - self._share[people.class_index] * HEIGHT_M
        low_deg, high_deg = (np.rad2deg(np.arctan2(part, away_m)) for part in (feet_m, feet_m + HEIGHT_M))
        camera = Equirectangular(1, 1)  # fractions of the image
        centre = camera.project(direction_from_degrees(people.azimuth_deg, 0.0 * low_deg))[0][:, 0]
        half = np.rad2deg(np.arctan2(WIDTH_M / 2, away_m)) / 360
        edges = [centre - half, (90 - high_deg) / 180, centre + half, (90 - low_deg) / 180]
        whole = np.stack(edges, axis=1)[np.argsort(away_m, kind="stable")]
        return _cut_at_the_seam(_apart(whole))


def _present(table: EventTable, time_s: float) -> EventTable:
    """Of each source and class the row that is nearest to a time, if it is near."""
    middle_s = (table.frame + 0.5) * table.frame_s
    away = np.abs(middle_s - time_s)
    near, away = table[away <= PRESENT_S], away[away <= PRESENT_S]
    order = np.lexsort((away, near.source, near.class_index))
    key = np.stack([near.class_index, near.source], axis=1)[order]
    nearest = np.ones(len(order), dtype=bool)
    nearest[1:] = (np.diff(key, axis=0) != 0).any(axis=1)
    return near[order[nearest]]


def _apart(boxes: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) without those that overlap an earlier one so much that they are the same person."""
    kept: list[np.ndarray] = []
    for box in boxes:
        if all(_iou(box + [turn, 0, turn, 0], other) <= SAME_PERSON_IOU for other in kept for turn in (-1, 0, 1)):
            kept.append(box)
    return np.array(kept).reshape(-1, 4)


def _iou(first: np.ndarray, second: np.ndarray) -> float:
    sides = np.maximum(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]), 0)
    both = float(np.prod(sides))
    return both / float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]) - both)


def _cut_at_the_seam(boxes: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) inside the picture, in two parts where they lie across its seam."""
    parts = [boxes + [turn, 0, turn, 0] for turn in (0, -1, 1)]
    parts = np.clip(np.concatenate(parts, axis=0), 0, 1)
    order = np.argsort(np.tile(np.arange(len(boxes)), 3), kind="stable")
    parts = parts[order]
    return parts[parts[:, 2] - parts[:, 0] >= _MIN_WIDTH]
