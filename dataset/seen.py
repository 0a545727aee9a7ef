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
    """

    name: str
    title: str
    shape: tuple[int, ...]
    file: Callable[[str | os.PathLike[str], str], Path]
    read: Callable[[Path], Held]
    turns: bool
    on_sphere: Callable[[np.ndarray], np.ndarray] | None = None

    def nothing(self, recording: object, time_s: np.ndarray) -> np.ndarray:
        """What is seen where there is no picture: zeros (m, ...) float32."""
        return np.zeros((len(time_s), *self.shape), dtype=np.float32)


class PackedBoxes:
    """A box track without the rows that hold no box, and without scores."""

    def __init__(self, track: BoxTrack):
        exists = track.boxes.any(axis=-1)
        self._first = np.concatenate([[0], np.cumsum(exists.sum(axis=1))]).astype(np.int32)
        self._boxes = track.boxes[exists]
        # a track of its own whose "boxes" are numbers of grid times from 1: 0 where there are none at that time
        numbers = np.arange(1, len(track.time_s) + 1, dtype=np.int32)[:, None, None]
        self._numbers = BoxTrack(track.time_s, numbers, np.zeros(0, dtype=np.float32), track.end_s, {}, track.grid_hz)
        self.end_s = track.end_s

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        numbers = self._numbers
        return self._first.nbytes + self._boxes.nbytes + numbers.time_s.nbytes + numbers.boxes.nbytes

    def at(self, time_s: np.ndarray) -> np.ndarray:
        """As `BoxTrack.at`."""
        out = np.zeros((len(time_s), MAX_BOXES, 4), dtype=np.float32)
        if len(self._numbers.time_s):
            for row, number in zip(out, self._numbers.at(time_s).astype(np.int64).reshape(-1)):
                if number:
                    boxes = self._boxes[self._first[number - 1] : self._first[number]]
                    row[: len(boxes)] = boxes
        return out


BOXES = Producer(
    "boxes",
    "person boxes",
    (MAX_BOXES, 4),
    box_file,
    lambda path: PackedBoxes(read_boxes(path)),
    turns=True,
    on_sphere=lambda boxes: boxes_on_sphere(boxes, camera_at()),
)
RESNET50 = Producer("resnet50", "ResNet-50 features", (7, 7), look_file, read_looks, turns=False)
PRODUCERS = {producer.name: producer for producer in (BOXES, RESNET50)}
