"""Producers of what is seen: a row each, whatever it is; systems name theirs, files beside the videos keep it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from dataset.stereo import camera_at
from util.boxes import MAX_BOXES, BoxTrack, box_file, read_boxes
from util.camera import boxes_on_sphere
from util.looks import look_file, read_looks
from util.objects import (
    MOST_OF_A_CLASS,
    NUMBERS,
    PEOPLE_ROWS,
    ROWS,
    SCORE,
    THING_ROWS,
    example_rows,
    rows_of_people,
    rows_of_things,
)
from util.text import say_once
from util.things import Things


class Track(Protocol):
    """What is seen in one video over time."""

    @property
    def end_s(self) -> float:
        """End of the video."""
        ...

    def at(self, time_s: np.ndarray) -> np.ndarray:
        """Times (m,) in s -> (m, ...) float32."""
        ...


class Held(Track, Protocol):
    """The same in memory."""

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        ...


@dataclass(frozen=True)
class Producer:
    """A row of the table.

    Attributes
    ----------
    name : that systems give it (`system.row.System.visual`)
    title : in words
    shape : of one look
    file : (video, name of what looks at it: `--detector`) -> its file
    read : file -> what is seen
    turns : whether it is known where in the picture things are, so that they turn with the sound
    on_sphere : what is seen in the view of a camera -> what would be in a picture of the whole sphere; None: the same
    example : numbers in [0, 1) of that shape -> one look, of anything that can be seen
    things : whether it needs to know of other things than people, see `detection.videos.is_current`
    """

    name: str
    title: str
    shape: tuple[int, ...]
    file: Callable[[str | os.PathLike[str], str], Path]
    read: Callable[[Path], Held]
    turns: bool
    on_sphere: Callable[[np.ndarray], np.ndarray] | None = None
    example: Callable[[np.ndarray], np.ndarray] = lambda shares: shares
    things: bool = False

    def nothing(self, recording: object, time_s: np.ndarray) -> np.ndarray:
        """What is seen where there is no picture: zeros (m, ...) float32."""
        return np.zeros((len(time_s), *self.shape), dtype=np.float32)

    def of_view(self, view: str, seen: np.ndarray) -> np.ndarray:
        """What is seen (..., *shape) in a picture of a view (`dataset.recordings.Recording.view`), see `on_sphere`."""
        return seen if view == "equirectangular" or self.on_sphere is None else self.on_sphere(seen)


class PackedBoxes:
    """A box track without the rows that hold no box, and without scores."""

    def __init__(self, track: BoxTrack):
        exists = track.boxes.any(axis=-1)
        self._first = np.concatenate([[0], np.cumsum(exists.sum(axis=1))]).astype(np.int32)
        self._boxes = track.boxes[exists]
        nobody = np.zeros(0, dtype=np.float32)
        self._grid = BoxTrack(track.time_s, nobody, nobody, track.end_s, {}, track.grid_hz)
        self.end_s = track.end_s

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self._first.nbytes + self._boxes.nbytes + self._grid.time_s.nbytes

    def at(self, time_s: np.ndarray) -> np.ndarray:
        """As `BoxTrack.at`."""
        return self.of(self.index_at(time_s))

    def index_at(self, time_s: np.ndarray) -> np.ndarray:
        """As `BoxTrack.index_at`."""
        return self._grid.index_at(time_s)

    def of(self, index: np.ndarray) -> np.ndarray:
        """Boxes (m, 6, 4) of numbers of grid times (m,), see `index_at`."""
        return _unpacked(self._boxes, self._first, index, MAX_BOXES)


class PackedObjects:
    """People and the best things of a box track, see `util.objects`."""

    def __init__(self, track: BoxTrack):
        self._people = PackedBoxes(track)
        things = (Things.of([]) if track.things is None else track.things).chosen(THING_ROWS, MOST_OF_A_CLASS)
        self._first, self._rows = things.first.astype(np.int32), rows_of_things(things.rows)
        self.end_s = track.end_s

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self._people.nbytes + self._first.nbytes + self._rows.nbytes

    def at(self, time_s: np.ndarray) -> np.ndarray:
        """Rows (m, 16, 6) at times (m,); as `BoxTrack.at`."""
        index = self._people.index_at(time_s)
        out = rows_of_people(self._people.of(index))
        if len(self._rows):
            out[:, PEOPLE_ROWS:] = _unpacked(self._rows, self._first, index, THING_ROWS)
        return out


def _unpacked(packed: np.ndarray, first: np.ndarray, index: np.ndarray, most: int) -> np.ndarray:
    """Rows of grid times (m,), -1 for none, in places of their own (m, most, ...); zeros behind them.

    Parameters
    ----------
    packed : rows of all grid times, one behind the other
    first : (times + 1,) which of them is the first of each time
    """
    out = np.zeros((len(index), most, *packed.shape[1:]), dtype=np.float32)
    for places, one in zip(out, index.tolist()):
        if one >= 0:
            rows = packed[first[one] : first[one + 1]]
            places[: len(rows)] = rows
    return out


def _read_objects(path: Path) -> PackedObjects:
    track = read_boxes(path)
    if track.things is None and len(track.time_s):
        say_once("holds people only: where other things are nobody knows (python object_detection.py looks)", path)
    return PackedObjects(track)


def _objects_on_sphere(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes_on_sphere(rows[..., :SCORE], camera_at()), rows[..., SCORE:]], axis=-1)


BOXES = Producer(
    "boxes",
    "person boxes",
    (MAX_BOXES, 4),
    box_file,
    lambda path: PackedBoxes(read_boxes(path)),
    turns=True,
    on_sphere=lambda boxes: boxes_on_sphere(boxes, camera_at()),
)
OBJECTS = Producer(
    "objects",
    "people and things",
    (ROWS, NUMBERS),
    box_file,
    _read_objects,
    turns=True,
    on_sphere=_objects_on_sphere,
    example=example_rows,
    things=True,
)
RESNET50 = Producer("resnet50", "ResNet-50 features", (7, 7), look_file, read_looks, turns=False)
PRODUCERS = {producer.name: producer for producer in (BOXES, OBJECTS, RESNET50)}
