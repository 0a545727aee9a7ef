"""Person boxes made from the labels: what a detector would give that sees everybody who is heard, and nobody else."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from dataset.recordings import Labels, Recording
from dataset.source import Visual
from util.angles import direction_from_degrees
from util.boxes import MAX_BOXES
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

    def people(self, recording: Recording, time_s: np.ndarray) -> np.ndarray:
        """Where the people of a recording's labels stand at times (m,), silent ones too: (m, n, 4), n of all sources.

        Azimuth in degrees, distance, height of the feet above the camera and their own in metres; each at the place
        that is labelled nearest in time.
        """
        table = self._labels(recording)
        table = table[~np.isnan(self._share[table.class_index])]
        sources = np.unique(table.source)
        places = np.zeros((len(time_s), len(sources), 4))
        for number, source in enumerate(sources):
            mine = table[table.source == source]
            middle_s = (mine.frame + 0.5) * mine.frame_s
            later = np.clip(np.searchsorted(middle_s, time_s), 1, max(len(mine) - 1, 1))
            earlier = later - 1
            later = np.minimum(later, len(mine) - 1)
            near = np.where(time_s - middle_s[earlier] <= middle_s[later] - time_s, earlier, later)
            places[:, number] = np.stack(self._stand(mine[near]), axis=1)
        return places

    def _stand(self, people: EventTable) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Azimuth in degrees, distance, height of the feet and of the body in m (n,) of people at sounding points."""
        distance_m = np.where(np.isnan(people.distance_m), USUAL_M, people.distance_m)
        x, y, z = (distance_m[:, None] * direction_from_degrees(people.azimuth_deg, people.elevation_deg)).T
        away_m, height_m = np.maximum(np.hypot(x, y), NEAREST_M), np.full(len(people), HEIGHT_M)
        return people.azimuth_deg, away_m, z - self._share[people.class_index] * HEIGHT_M, height_m

    def _boxes(self, people: EventTable) -> np.ndarray:
        """(n, 4), those of the nearest people first."""
        return _cut_at_the_seam(_apart(_person_edges(*self._stand(people))))


class SupposedBoxes:
    """Boxes for training on recordings that have no video: as if a detector had seen the people of their labels.

    Unlike `TrueBoxes` they do not tell who sounds: who is labelled anywhere in the recording is there all the time, and
    up to three more people stand or walk about who never make a sound, drawn from the recording's name.

    Parameters
    ----------
    classes : names of the classes
    detected : boxes of recordings that have video
    """

    def __init__(self, classes: Sequence[str], detected: Visual):
        self._true, self._detected = TrueBoxes(classes), detected

    def __call__(self, recording: Recording, time_s: np.ndarray) -> np.ndarray:
        """Boxes (m, 6, 4) float32 at times (m,) in seconds; as `TrueBoxes`."""
        if recording.video is not None:
            return self._detected(recording, time_s)
        time_s = np.asarray(time_s, dtype=np.float64)
        places = np.concatenate([self._true.people(recording, time_s), self._silent(recording, time_s)], axis=1)
        boxes = np.zeros((len(time_s), MAX_BOXES, 4), dtype=np.float32)
        found = _packed(_person_edges(*np.moveaxis(places, 2, 0)))[:, :MAX_BOXES]
        boxes[:, : found.shape[1]] = found
        return boxes

    @staticmethod
    def _silent(recording: Recording, time_s: np.ndarray) -> np.ndarray:
        """Places (m, n, 4), as `TrueBoxes.people` gives them, of the people who make no sound."""
        random = np.random.default_rng(zlib.crc32(recording.name.encode()))
        count = int(random.integers(0, 4))
        azimuth, away_m = random.uniform(-180, 180, count), random.uniform(1, 4, count)
        turn_deg_s = np.where(random.random(count) < 0.5, 0.0, random.uniform(-15, 15, count))
        feet_m, height_m = np.full(count, -random.uniform(1.2, 1.6)), random.uniform(1.55, 1.9, count)
        standing = np.tile(np.stack([azimuth, away_m, feet_m, height_m], axis=1), (len(time_s), 1, 1))
        standing[..., 0] += turn_deg_s * time_s[:, None]
        return standing


def _person_edges(azimuth_deg: np.ndarray, away_m: np.ndarray, feet_m: np.ndarray, height_m: np.ndarray) -> np.ndarray:
    """Boxes (..., 4) of people in a panorama, nearest first along the last axis of the input, not cut at the seam.

    Parameters
    ----------
    azimuth_deg, away_m : (..., n) where they stand, horizontally; a NaN is nobody
    feet_m, height_m : (..., n) height of their feet above the camera, and their own
    """
    low_deg, high_deg = (np.rad2deg(np.arctan2(part, away_m)) for part in (feet_m, feet_m + height_m))
    centre = np.mod(180 - azimuth_deg, 360) / 360  # x of the equirectangular picture
    half = np.rad2deg(np.arctan2(WIDTH_M / 2, away_m)) / 360
    edges = np.stack([centre - half, (90 - high_deg) / 180, centre + half, (90 - low_deg) / 180], axis=-1)
    return np.take_along_axis(edges, np.argsort(away_m, axis=-1, kind="stable")[..., None], axis=-2)


def _packed(boxes: np.ndarray) -> np.ndarray:
    """Boxes (m, n, 4) cut at the seam, (m, 3 n, 4): those that are there first, then rows of zeros."""
    parts = np.stack([boxes + [turn, 0, turn, 0] for turn in (0, -1, 1)], axis=2)
    parts = np.clip(parts, 0, 1).reshape(len(boxes), -1, 4)
    there = parts[..., 2] - parts[..., 0] >= _MIN_WIDTH  # not of a NaN
    order = np.argsort(~there, axis=1, kind="stable")[..., None]
    return np.take_along_axis(np.where(there[..., None], parts, 0.0), order, axis=1)


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
