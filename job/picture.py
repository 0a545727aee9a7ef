"""Boxes of a user's own video at the times that windows need."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dataset.recordings import Recording
from dataset.seen import BOXES, Producer, Track
from util.boxes import BoxTrack, box_file, box_path, read_boxes, write_boxes
from util.objects import MOST_OF_A_CLASS, THING_ROWS, object_rows
from util.placement import Placement
from util.things import Things

if TYPE_CHECKING:
    from detection.detector import Detector


@dataclass(frozen=True)
class PlacedSight:
    """What is seen in a video, for the predictor: (recording, times of the sound (m,) in s) -> (m, ...)."""

    track: Track
    placement: Placement
    producer: Producer = BOXES

    def __call__(self, recording: Recording, time_s: np.ndarray) -> np.ndarray:
        """What is seen at times of the sound; nothing before the video starts."""
        video_s = self.placement.video_times_s(time_s)
        found = np.where((video_s < 0)[:, None, None], np.float32(0), self.track.at(np.maximum(video_s, 0)))
        return self.placement.turned(self.producer.of_view(recording.view, found)).astype(np.float32)


def boxes_of_video(
    video: Path,
    detector: Detector | str,
    times_s: np.ndarray,
    placement: Placement,
    out: Path,
    *,
    things: bool = False,
) -> BoxTrack:
    """Boxes at the times of windows: of a box file beside the video, else of an earlier run in `out`, else detected.

    Parameters
    ----------
    times_s : of the sound
    out : folder for the box file that is written
    things : other things than people matter too

    Raises
    ------
    InputError : unknown detector, failed download, a video that cannot be read
    """
    from detection.at_times import detect_at  # onnxruntime and PyAV, only where there is a video
    from detection.detector import Detector
    from detection.videos import is_current, source_video

    opened, source = Detector(detector) if isinstance(detector, str) else detector, source_video(video)
    for rate_hz in (10.0, "native"):
        path = box_file(video, opened.label)
        if path.is_file() and is_current(path, source, opened, rate_hz, things=things):
            return read_boxes(path)
    key = f"{len(times_s)} windows, offset {placement.offset_s:g} s"
    path = out / box_path(video, opened.label).name
    if path.is_file() and is_current(path, source, opened, key, things=things):
        return read_boxes(path)
    video_s = placement.video_times_s(times_s)
    track = detect_at(source, opened, video_s[video_s >= 0], key=key)
    write_boxes(path, track)
    return track


def boxes_as_needed(
    video: Path,
    detector: Detector,
    placement: Placement,
    step_s: float,
    *,
    producer: Producer = BOXES,
    view: str = "equirectangular",
) -> Iterator[np.ndarray]:
    """Boxes (6, 4) at the times 0, step_s, 2 step_s ... of the sound, without end, decoded as they are asked for.

    Parameters
    ----------
    producer : one that looks at things as well has rows of objects (16, 6) in place of boxes
    view : what the camera sees, see `dataset.recordings.Recording`

    Raises
    ------
    InputError : unknown detector, failed download, a video that cannot be read
    """
    from detection.at_times import video_boxes
    from detection.videos import source_video

    times = (float(placement.video_times_s(np.float64(index * step_s))) for index in itertools.count())
    for _, look in video_boxes(source_video(video), times, detector):
        seen = look.boxes
        if producer.things:
            best = Things.of([look.things]).chosen(THING_ROWS, MOST_OF_A_CLASS)
            seen = object_rows(look.boxes, best.rows)
        yield placement.turned(producer.of_view(view, seen))
