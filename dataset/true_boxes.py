"""Boxes made from the labels: what a detector would give that sees everybody who is heard, and what may sound."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from dataset.recordings import Labels, Recording
from dataset.source import Visual
from util.angles import direction_from_degrees
from util.boxes import MAX_BOXES
from util.coco import COCO_CLASSES, COCO_PERSON, USUAL_SIZES_M, coco_number
from util.errors import InputError
from util.events import EventTable
from util.objects import PEOPLE_ROWS, PERSON, THING_ROWS, rows_of_people

WIDTH_M, HEIGHT_M = USUAL_SIZES_M[COCO_CLASSES[COCO_PERSON]]
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
# Which things of COCO make the sounds of a class, by its name in small letters. Classes that are not here come from
# nothing that COCO knows: bells, knocks, doors, musical instruments.
SOUNDING_THINGS = {
    "telephone": ("cell phone",),
    "phone": ("cell phone",),
    "music": ("tv", "laptop", "cell phone"),
    "domestic sounds": ("microwave", "oven", "refrigerator", "toaster", "hair drier", "sink"),
    "water tap": ("sink",),
    "alarm": ("clock", "cell phone"),
    "keyboard": ("keyboard", "laptop"),
    "computer keyboard": ("keyboard", "laptop"),
    "barking dog": ("dog",),
    "dog": ("dog",),
    "dog bark": ("dog",),
    "engine": ("car", "motorcycle"),
    "running engine": ("car", "motorcycle"),
    "car horn": ("car",),
    "engine idling": ("car", "motorcycle"),
}
# What stands about in rooms, most of it silent; what may sound is among it, or else it would be known by being seen.
FURNITURE = (
    "chair", "chair", "chair", "couch", "dining table", "potted plant", "bottle", "cup", "book", "vase", "backpack",
    "clock", "tv", "laptop", "keyboard", "mouse", "remote", "cell phone", "sink", "refrigerator", "microwave", "oven",
)  # fmt: skip
_LEAST_LIKELY, _SEEN_SHARE = 0.2, 0.6  # score of a thing at least; share of the sounding ones that are detected


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
    things : rows of objects in place of boxes (`util.objects`), with the things that make labelled sounds
        (`SOUNDING_THINGS`, the first of a class) where they are labelled
    """

    def __init__(self, classes: Sequence[str], *, things: bool = False):
        self._labels = Labels(len(classes))
        self._things = _Things(classes) if things else None
        share = np.array([SOUNDING_SHARE.get(name.strip().lower(), np.nan) for name in classes])
        self._share = np.full(len(classes), OBJECT_SHARE) if np.isnan(share).all() else share

    def __call__(self, recording: Recording, time_s: np.ndarray) -> np.ndarray:
        """Boxes (m, 6, 4) float32 at times (m,) in seconds, fractions of the image; zero rows are no box. Or rows of
        objects (m, 16, 6).

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
        if self._things is None:
            return boxes
        rows = rows_of_people(boxes)
        rows[:, PEOPLE_ROWS:] = self._things.that_sound(self._labels(recording), np.asarray(time_s, dtype=np.float64))
        return rows

    def events(self, recording: Recording) -> EventTable:
        """The labelled events of a recording."""
        return self._labels(recording)

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
            places[:, number] = np.stack(self._stand(mine[_nearest(mine, time_s)]), axis=1)
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
    up to three more people stand or walk about who never make a sound, drawn from the recording's name. The same with
    things: three in five of those that make labelled sounds are seen, among up to eight that stand about (`FURNITURE`).

    Parameters
    ----------
    classes : names of the classes
    detected : boxes of recordings that have video
    things : rows of objects (`util.objects`) in place of boxes, here and there; people are the same
    """

    def __init__(self, classes: Sequence[str], detected: Visual, *, things: bool = False):
        self._true, self._detected = TrueBoxes(classes), detected
        self._things = _Things(classes) if things else None

    def __call__(self, recording: Recording, time_s: np.ndarray) -> np.ndarray:
        """Boxes (m, 6, 4) or rows (m, 16, 6) float32 at times (m,) in seconds; as `TrueBoxes`."""
        if recording.video is not None:
            return self._detected(recording, time_s)
        time_s = np.asarray(time_s, dtype=np.float64)
        places = np.concatenate([self._true.people(recording, time_s), self._silent(recording, time_s)], axis=1)
        boxes = np.zeros((len(time_s), MAX_BOXES, 4), dtype=np.float32)
        found = _packed(_person_edges(*np.moveaxis(places, 2, 0)))[:, :MAX_BOXES]
        boxes[:, : found.shape[1]] = found
        if self._things is None:
            return boxes
        rows = rows_of_people(boxes)
        rows[:, PEOPLE_ROWS:] = self._things.that_stand_about(recording, self._true.events(recording), time_s)
        return rows

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


class _Things:
    """What else than people is to be seen, rows (m, 10, 6) of `util.objects`.

    Parameters
    ----------
    classes : names of the classes
    """

    def __init__(self, classes: Sequence[str]):
        names = [SOUNDING_THINGS.get(name.strip().lower().replace("_", " "), ()) for name in classes]
        self._kinds = [np.array([coco_number(name) for name in of_class], dtype=np.int64) for of_class in names]

    def that_sound(self, table: EventTable, time_s: np.ndarray) -> np.ndarray:
        """Those that make a labelled sound at times (m,), or do within 1 s."""
        sources = self._sources(table)
        kind = np.array([self._kinds[mine.class_index[0]][0] for mine in sources], dtype=np.int64)
        places = self._places(sources, time_s)
        for number, mine in enumerate(sources):
            middle_s = (mine.frame + 0.5) * mine.frame_s
            away_s = np.abs(middle_s[_nearest(mine, time_s)] - time_s)
            places[away_s > PRESENT_S, number] = np.nan
        return _thing_rows(places, kind, np.ones(len(kind)))

    def that_stand_about(self, recording: Recording, table: EventTable, time_s: np.ndarray) -> np.ndarray:
        """Those that make labelled sounds, if they are seen, and silent ones, at times (m,)."""
        random = np.random.default_rng([zlib.crc32(recording.name.encode()), 1])  # people have draws of their own
        sources = [mine for mine in self._sources(table) if random.random() < _SEEN_SHARE]
        kind = [int(random.choice(self._kinds[mine.class_index[0]])) for mine in sources]
        count = int(random.integers(0, 9))
        kind += [coco_number(FURNITURE[index]) or 0 for index in random.integers(0, len(FURNITURE), count)]
        away_m, up_m = random.uniform(1, 4, count), random.uniform(-1.0, 0.2, count)
        still = np.stack([random.uniform(-180, 180, count), np.rad2deg(np.arctan2(up_m, away_m)), away_m], axis=1)
        places = np.concatenate([self._places(sources, time_s), np.tile(still, (len(time_s), 1, 1))], axis=1)
        score = random.uniform(_LEAST_LIKELY, 1, len(kind))
        best = np.argsort(-score, kind="stable")
        return _thing_rows(places[:, best], np.array(kind, dtype=np.int64)[best], score[best])

    def _sources(self, table: EventTable) -> list[EventTable]:
        """The rows of each source that a thing may be, by class and source."""
        table = table[np.array([len(one) > 0 for one in self._kinds], dtype=bool)[table.class_index]]
        keys = np.unique(np.stack([table.class_index, table.source], axis=1), axis=0)
        return [table[(table.class_index == number) & (table.source == source)] for number, source in keys]

    @staticmethod
    def _places(sources: Sequence[EventTable], time_s: np.ndarray) -> np.ndarray:
        """Azimuth, elevation in degrees and distance in m (m, n, 3) of sources, at the label nearest in time."""
        places = np.zeros((len(time_s), len(sources), 3))
        for number, mine in enumerate(sources):
            near = mine[_nearest(mine, time_s)]
            away_m = np.where(np.isnan(near.distance_m), USUAL_M, near.distance_m)
            places[:, number] = np.stack([near.azimuth_deg, near.elevation_deg, away_m], axis=1)
        return places


def _nearest(table: EventTable, time_s: np.ndarray) -> np.ndarray:
    """Which row of one source, by ascending frame, is nearest to times (m,): (m,)."""
    middle_s = (table.frame + 0.5) * table.frame_s
    later = np.clip(np.searchsorted(middle_s, time_s), 1, max(len(table) - 1, 1))
    earlier = later - 1
    later = np.minimum(later, len(table) - 1)
    return np.where(time_s - middle_s[earlier] <= middle_s[later] - time_s, earlier, later)


def _thing_rows(places: np.ndarray, kind: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Rows (m, 10, 6) of things in a panorama, cut at the seam.

    Parameters
    ----------
    places : (m, n, 3) azimuth and elevation of the middle in degrees, distance in m; NaN is nowhere
    kind, score : (n,) class of COCO, and how sure a detector is
    """
    azimuth_deg, elevation_deg, away_m = np.moveaxis(places, 2, 0)
    size_m = np.array([USUAL_SIZES_M[COCO_CLASSES[one]] for one in kind]).reshape(-1, 2)
    wide, high = (np.arctan2(size_m[:, axis] / 2, np.maximum(away_m, NEAREST_M)) for axis in range(2))
    x, y = np.mod(180 - azimuth_deg, 360) / 360, (90 - elevation_deg) / 180
    half_x, half_y = wide / (2 * np.pi), high / np.pi
    more = (np.broadcast_to(score, x.shape), np.broadcast_to(kind + PERSON, x.shape))
    found = _packed(np.stack([x - half_x, y - half_y, x + half_x, y + half_y, *more], axis=-1))[:, :THING_ROWS]
    rows = np.zeros((len(places), THING_ROWS, 6), dtype=np.float32)
    rows[:, : found.shape[1]] = found
    return rows


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
    """Boxes (m, n, 4 or more) cut at the seam, (m, 3 n, as many): those that are there first, then rows of zeros."""
    edges, more = boxes[..., :4], np.repeat(boxes[..., 4:], 3, axis=1)
    parts = np.stack([edges + [turn, 0, turn, 0] for turn in (0, -1, 1)], axis=2)
    parts = np.concatenate([np.clip(parts, 0, 1).reshape(len(boxes), -1, 4), more], axis=-1)
    there = (parts[..., 2] - parts[..., 0] >= _MIN_WIDTH) & ~np.isnan(parts).any(axis=-1)
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
