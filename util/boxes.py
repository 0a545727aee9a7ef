"""Person boxes over time, other things that are seen, and the small file beside a video that keeps them."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from util import cache
from util.coco import COCO_CLASSES
from util.errors import InputError
from util.files import written_whole
from util.things import KEPT_THINGS, Things

MAX_BOXES = 6
_OF_THINGS = ("thing_count", "thing_boxes", "thing_score", "thing_class")  # arrays of a box file
HOLD_S = 1.0  # how long the last boxes stay after the end of the video
FORMAT = 1
TIME_ROUNDING_S = 1e-6  # a time that misses a grid time by float rounding only is at that grid time


@dataclass(frozen=True)
class BoxTrack:
    """The boxes of one video on a time grid.

    Attributes
    ----------
    time_s : (n,) ascending, float64
    boxes : (n, 6, 4) float32: x0, y0, x1, y1 as fractions of the image (not clipped to it), by descending score; zero
        rows are no box
    score : (n, 6) float32, 0 where there is no box
    end_s : end of the video's last frame
    meta : what they were made with: detector, hashes, thresholds
    grid_hz : of a track that holds only some times of a grid (k / grid_hz), the others were not looked at; None: it
        holds all that there are
    things : what else is seen; None: nobody has looked (files from before they were kept)
    """

    time_s: np.ndarray
    boxes: np.ndarray
    score: np.ndarray
    end_s: float
    meta: dict = field(default_factory=dict)
    grid_hz: float | None = None
    things: Things | None = None

    def at(self, time_s: np.ndarray | float) -> np.ndarray:
        """Times (m,) in s -> boxes (m, 6, 4): those of the last grid time not after t.

        Before the first grid time the first boxes hold; after the end of the video the last ones for 1 s, then there
        are none.

        Raises
        ------
        InputError : a grid time that was not looked at
        """
        index = self.index_at(time_s)
        if not len(self.time_s):
            return np.zeros((*index.shape, MAX_BOXES, 4), np.float32)
        return np.where((index >= 0)[..., None, None], self.boxes[np.maximum(index, 0)], np.float32(0))

    def index_at(self, time_s: np.ndarray | float) -> np.ndarray:
        """Times (m,) in s -> which of the grid times counts (m,), -1 where nothing is there; see `at`.

        Raises
        ------
        InputError : a grid time that was not looked at
        """
        time_s = np.atleast_1d(np.asarray(time_s, dtype=np.float64))
        if self.grid_hz is not None and not (known := self.knows(time_s)).all():
            rule = "has boxes at the times of an evaluation only; python object_detection.py finds the rest"
            raise InputError(rule, place=f"{time_s[~known][0]:g} s")
        if not len(self.time_s):
            return np.full(time_s.shape, -1, dtype=np.int64)
        index = np.searchsorted(self.time_s, time_s + TIME_ROUNDING_S, side="right") - 1
        return np.where(time_s < self.end_s + HOLD_S, np.maximum(index, 0), -1)

    def knows(self, time_s: np.ndarray) -> np.ndarray:
        """Whether the grid times that count at times (m,) were looked at: (m,) bool."""
        if self.grid_hz is None:
            return np.ones(len(time_s), dtype=bool)
        seen = grid_ticks(self.time_s, self.grid_hz)
        ticks = np.minimum(grid_ticks(time_s, self.grid_hz), last_tick(self.end_s, self.grid_hz))
        return np.isin(ticks, seen) | (time_s >= self.end_s + HOLD_S)

    def held(self) -> BoxTrack:
        """For the eye: where nothing was looked at the boxes before it stay."""
        return replace(self, grid_hz=None)


def grid_ticks(time_s: np.ndarray, grid_hz: float) -> np.ndarray:
    """Times (m,) in s -> numbers (m,) int64 of the grid times k / grid_hz that count then: the last not after them."""
    return np.maximum(np.floor((np.asarray(time_s) + TIME_ROUNDING_S) * grid_hz), 0).astype(np.int64)


def last_tick(end_s: float, grid_hz: float) -> int:
    """Number of the last grid time of a video that ends at `end_s`."""
    return max(int(np.ceil((end_s - TIME_ROUNDING_S) * grid_hz)) - 1, 0)


def box_path(video: str | os.PathLike[str], detector_name: str) -> Path:
    """Where the boxes of a video lie: beside it, "clip.mp4" -> "clip.boxes-yolox_tiny.npz".

    Of a detector given as a path ("models/mine.onnx") the stem is used.
    """
    video = Path(video)
    stem = Path(detector_name).stem if detector_name.endswith(".onnx") else detector_name
    return video.with_name(f"{video.stem}.boxes-{re.sub(r'[^A-Za-z0-9_.-]', '_', stem)}.npz")


def box_file(video: str | os.PathLike[str], detector_name: str) -> Path:
    """The box file of a video: beside it, or in the cache of products (`util.cache`); there may be none yet."""
    beside = box_path(video, detector_name)
    return cache.product(video, beside, _product(video, beside))


def box_place(video: str | os.PathLike[str], detector_name: str) -> Path:
    """Where the box file of a video is to be written."""
    beside = box_path(video, detector_name)
    return cache.place(video, beside, _product(video, beside))


def _product(video: str | os.PathLike[str], beside: Path) -> str:
    return beside.name[len(Path(video).stem) + 1 :]


def write_boxes(path: str | os.PathLike[str], track: BoxTrack) -> None:
    """Write a box file, whole or not at all. Only what exists is stored: 20 bytes for a person, 11 for another thing.

    Raises
    ------
    InputError : the folder cannot be written
    ValueError : rows with gaps, more things at a time than are kept
    """
    count = np.count_nonzero(track.boxes.any(axis=-1), axis=-1).astype(np.uint8)
    kept = np.arange(MAX_BOXES) < count[:, None]
    if track.boxes[~kept].any():
        raise ValueError("rows of boxes must be packed: no box after an empty row")
    grid = {} if track.grid_hz is None else {"grid_hz": track.grid_hz}
    things: dict[str, Any] = {}
    if track.things is not None:
        rows = track.things.rows
        if track.things.count.max(initial=0) > KEPT_THINGS:
            raise ValueError(f"more things at a time than {KEPT_THINGS}")
        things = {
            "thing_count": track.things.count.astype(np.uint8),
            "thing_boxes": rows[:, :4].astype(np.float16),
            "thing_score": rows[:, 4].astype(np.float16),
            "thing_class": rows[:, 5].astype(np.uint8),
        }
    with written_whole(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            time_s=track.time_s.astype(np.float64),
            count=count,
            boxes=track.boxes[kept].astype(np.float32),
            score=track.score[kept].astype(np.float32),
            end_s=np.float64(track.end_s),
            meta=np.frombuffer(
                json.dumps({"format": FORMAT, **grid, **track.meta, "things": bool(things)}).encode(), np.uint8
            ),
            **things,
        )


def read_meta(path: str | os.PathLike[str]) -> dict:
    """What a box file was made with, without reading its boxes.

    Raises
    ------
    InputError : missing, or no box file
    """
    return _read(path, ("meta",))["meta"]


def read_boxes(path: str | os.PathLike[str], *, detector: str | None = None) -> BoxTrack:
    """Read a box file; files from before things were kept have none (`BoxTrack.things`).

    Parameters
    ----------
    detector : the detector it must come from, if that matters

    Raises
    ------
    InputError : missing, damaged, no box file, or written by another detector
    """
    arrays = _read(path, ("meta", "time_s", "count", "boxes", "score", "end_s"), things=True)
    meta, count = arrays["meta"], arrays["count"]
    if detector is not None and meta.get("detector") != (
        Path(detector).stem if detector.endswith(".onnx") else detector
    ):
        raise InputError(
            f"holds boxes of the detector {meta.get('detector')!r}, not of {detector!r}; "
            f"python object_detection.py --detector {detector} makes them anew",
            path=path,
        )
    kept = np.arange(MAX_BOXES) < count[:, None]
    boxes = np.zeros((len(count), MAX_BOXES, 4), np.float32)
    score = np.zeros((len(count), MAX_BOXES), np.float32)
    if len(arrays["time_s"]) != len(count) or len(arrays["boxes"]) != kept.sum() or len(arrays["score"]) != kept.sum():
        raise InputError("is a damaged box file: its arrays do not belong together", path=path)
    boxes[kept], score[kept] = arrays["boxes"], arrays["score"]
    things = _things(path, arrays) if meta.get("things") else None
    return BoxTrack(arrays["time_s"], boxes, score, float(arrays["end_s"]), meta, meta.get("grid_hz"), things)


def _things(path: str | os.PathLike[str], arrays: Mapping[str, Any]) -> Things:
    count, label = arrays["thing_count"].astype(np.int64), arrays["thing_class"]
    shapes = [arrays[name].shape for name in _OF_THINGS]
    total = int(count.sum())
    if shapes != [(len(arrays["count"]),), (total, 4), (total,), (total,)] or (
        total and label.max() >= len(COCO_CLASSES)
    ):
        raise InputError("is a damaged box file: its arrays do not belong together", path=path)
    rows = np.column_stack([arrays["thing_boxes"], arrays["thing_score"], label]).astype(np.float32)
    return Things(count, rows)


def _read(path: str | os.PathLike[str], names: tuple[str, ...], *, things: bool = False) -> dict:
    """Arrays of these names, and of things where there are some and they are asked for."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in names}
            meta = arrays["meta"] = json.loads(arrays["meta"].tobytes())
            if things and meta.get("format") == FORMAT and meta.get("things"):
                arrays |= {name: file[name] for name in _OF_THINGS}
    except FileNotFoundError:
        raise InputError("no such file (python object_detection.py makes it)", path=path) from None
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise InputError("is no box file, or a damaged one; delete it and detect anew", path=path) from error
    if arrays["meta"].get("format") != FORMAT:
        raise InputError(
            f"is a box file of format {arrays['meta'].get('format')}, this version reads {FORMAT}", path=path
        )
    return arrays
