"""Boxes of a user's own video at the times that windows need."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dataset.recordings import Recording
from dataset.seen import BOXES, PackedObjects, Track
from dataset.source import Visual
from seld_predictor import Inference
from util.boxes import BoxTrack, box_file, box_path, read_boxes, write_boxes
from util.errors import InputError
from util.looks import look_file, look_path, read_looks, write_looks
from util.objects import MOST_OF_A_CLASS, THING_ROWS, object_rows
from util.placement import Placement
from util.things import Things

if TYPE_CHECKING:
    from detection.detector import Detector


@dataclass(frozen=True)
class Seen:
    """What is seen in a video.

    Attributes
    ----------
    visual : for the predictor
    boxes : to be shown, where there are some
    """

    visual: Visual
    boxes: BoxTrack | None = None


def seen_in_video(inference: Inference, video: Path, times_s: np.ndarray, placement: Placement, out: Path) -> Seen:
    """What the model's producer sees in a video, at least at the times that the model looks.

    Parameters
    ----------
    times_s : of the sound
    out : folder for the file that is written, where none lies beside the video

    Raises
    ------
    InputError : a video that cannot be read; no detector or weights; a picture that should be turned and cannot be
    """
    producer = inference.model.producer or BOXES
    return _SEEN[producer.name](inference, video, times_s, placement, out)


def _boxes_seen(inference: Inference, video: Path, times_s: np.ndarray, placement: Placement, out: Path) -> Seen:
    track = boxes_of_video(video, inference.open_detector(), times_s, placement, out)
    return Seen(PlacedBoxes(track, placement), track)


def _objects_seen(inference: Inference, video: Path, times_s: np.ndarray, placement: Placement, out: Path) -> Seen:
    track = boxes_of_video(video, inference.open_detector(), times_s, placement, out, things=True)
    return Seen(PlacedBoxes(PackedObjects(track), placement), track)


def _looks_seen(inference: Inference, video: Path, times_s: np.ndarray, placement: Placement, out: Path) -> Seen:
    from detection.resnet50 import Backbone, is_current, look_at  # PyAV, only where there is a video
    from detection.videos import source_video

    if placement.yaw_deg:
        raise InputError(f"--video-yaw-deg {placement.yaw_deg:g}: features of pictures cannot be turned")
    backbone, source = Backbone(inference.detector, device=inference.fabric.device), source_video(video)
    path = look_file(video, backbone.label)
    if not is_current(path, source, backbone):
        path = out / look_path(video, backbone.label).name
        if not is_current(path, source, backbone):
            write_looks(path, look_at(source, backbone))
    track = read_looks(path)

    def visual(recording: Recording, time_s: np.ndarray) -> np.ndarray:
        video_s = placement.video_times_s(time_s)
        return np.where((video_s < 0)[:, None, None], np.float32(0), track.at(np.maximum(video_s, 0)))

    return Seen(visual)


_SEEN = {"boxes": _boxes_seen, "objects": _objects_seen, "resnet50": _looks_seen}  # by producer


@dataclass(frozen=True)
class PlacedBoxes:
    """What is seen in a video, for the predictor: (recording, times of the sound (m,) in s) -> (m, 6, 4) or rows."""

    track: Track
    placement: Placement

    def __call__(self, recording: Recording, time_s: np.ndarray) -> np.ndarray:
        """Boxes at times of the sound; none before the video starts."""
        del recording
        video_s = self.placement.video_times_s(time_s)
        found = np.where((video_s < 0)[:, None, None], np.float32(0), self.track.at(np.maximum(video_s, 0)))
        return self.placement.turned(found).astype(np.float32)


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
    video: Path, detector: Detector, placement: Placement, step_s: float, *, things: bool = False
) -> Iterator[np.ndarray]:
    """Boxes (6, 4) at the times 0, step_s, 2 step_s ... of the sound, without end, decoded as they are asked for.

    Parameters
    ----------
    things : rows of objects (16, 6) in place of boxes

    Raises
    ------
    InputError : unknown detector, failed download, a video that cannot be read
    """
    from detection.at_times import video_boxes
    from detection.videos import source_video

    times = (float(placement.video_times_s(np.float64(index * step_s))) for index in itertools.count())
    for _, look in video_boxes(source_video(video), times, detector):
        if things:
            best = Things.of([look.things]).chosen(THING_ROWS, MOST_OF_A_CLASS)
            yield placement.turned(object_rows(look.boxes, best.rows))
        else:
            yield placement.turned(look.boxes)
