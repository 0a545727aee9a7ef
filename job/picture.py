"""A user's own video: turned and shifted against the sound, and its boxes at the times that windows need."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.video.reformatter import Interpolation

from dataset.recordings import Recording
from util.boxes import BoxTrack, box_file, box_path, read_boxes, write_boxes
from util.video import VideoWriter, decoded_frames, fitted_size, video_info

if TYPE_CHECKING:
    from detection.detector import Detector

SHOWN_WIDTH = 1024  # pixels of a copy that is made to be looked at


@dataclass(frozen=True)
class Placement:
    """How a video lies to its sound.

    Attributes
    ----------
    yaw_deg : azimuth that the middle of the picture shows
    offset_s : how much later than the sound the video starts
    """

    yaw_deg: float = 0.0
    offset_s: float = 0.0

    def video_times_s(self, time_s: np.ndarray | float) -> np.ndarray:
        """Times of the sound -> times of the video, negative before its start."""
        return np.asarray(time_s, dtype=np.float64) - self.offset_s

    def turned(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (..., 6, 4) of the picture -> as if its middle showed azimuth 0; a box keeps its width at the seam."""
        if self.yaw_deg == 0:
            return boxes
        turned = np.array(boxes, dtype=np.float32)
        middle = (turned[..., 0] + turned[..., 2]) / 2
        moved = np.mod(middle - self.yaw_deg / 360.0, 1.0) - middle
        present = turned.any(axis=-1)
        turned[..., 0] += np.where(present, moved, 0)
        turned[..., 2] += np.where(present, moved, 0)
        return turned


@dataclass(frozen=True)
class PlacedBoxes:
    """Boxes of a video for the predictor: (recording, times of the sound (m,) in s) -> (m, 6, 4)."""

    track: BoxTrack
    placement: Placement

    def __call__(self, recording: Recording, time_s: np.ndarray) -> np.ndarray:
        """Boxes at times of the sound; none before the video starts."""
        del recording
        video_s = self.placement.video_times_s(time_s)
        found = np.where((video_s < 0)[:, None, None], np.float32(0), self.track.at(np.maximum(video_s, 0)))
        return self.placement.turned(found).astype(np.float32)


def boxes_of_video(
    video: Path, detector: Detector | str, times_s: np.ndarray, placement: Placement, out: Path
) -> BoxTrack:
    """Boxes at the times of windows: of a box file beside the video, else of an earlier run in `out`, else detected.

    Parameters
    ----------
    times_s : of the sound
    out : folder for the box file that is written

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
        if path.is_file() and is_current(path, source, opened, rate_hz):
            return read_boxes(path)
    key = f"{len(times_s)} windows, offset {placement.offset_s:g} s"
    path = out / box_path(video, opened.label).name
    if path.is_file() and is_current(path, source, opened, key):
        return read_boxes(path)
    video_s = placement.video_times_s(times_s)
    track = detect_at(source, opened, video_s[video_s >= 0], key=key)
    write_boxes(path, track)
    return track


def placed_video(video: Path, placement: Placement, duration_s: float, path: Path) -> Path:
    """Write a small copy of a video that lies to its sound as a page expects: turned, and starting with the sound.

    Before the video starts the picture is black.

    Raises
    ------
    InputError : the video cannot be read, the disk is full
    """
    info = video_info(video)
    width, height = fitted_size(info.width, info.height, min(info.width, SHOWN_WIDTH) // 2 * 2, None, multiple=2)
    shift = -round(placement.yaw_deg / 360.0 * width)
    black, early, frame_s = np.zeros((height, width, 3), dtype=np.uint8), None, float(1 / info.fps)
    with VideoWriter(path, width, height, info.fps, timed=True) as writer:
        written = False
        for _, video_s, frame in decoded_frames(video):
            time_s = video_s + placement.offset_s
            if time_s >= duration_s:
                break
            if time_s < -frame_s / 2:
                early = frame
                continue
            if not written:  # until the picture starts: the last one from before the sound, or black
                first = black if early is None else _shown(early, width, height, shift)
                for index in range(math.floor(max(time_s, 0.0) / frame_s + 0.5)):
                    writer.write(first, index * frame_s)
            writer.write(_shown(frame, width, height, shift), max(time_s, 0.0))
            written = True
        if not written:
            writer.write(black if early is None else _shown(early, width, height, shift), 0.0)
    return path


def _shown(frame: av.VideoFrame, width: int, height: int, shift: int) -> np.ndarray:
    small = frame.to_ndarray(format="bgr24", width=width, height=height, interpolation=Interpolation.AREA)
    return np.roll(small, shift, axis=1)


def placed_track(track: BoxTrack, placement: Placement) -> BoxTrack:
    """Boxes in the picture and at the times of `placed_video`."""
    time_s = track.time_s + placement.offset_s
    return replace(track, time_s=time_s, boxes=placement.turned(track.boxes), end_s=track.end_s + placement.offset_s)


def boxes_as_needed(video: Path, detector: Detector, placement: Placement, step_s: float) -> Iterator[np.ndarray]:
    """Boxes (6, 4) at the times 0, step_s, 2 step_s ... of the sound, without end, decoded as they are asked for.

    Raises
    ------
    InputError : unknown detector, failed download, a video that cannot be read
    """
    from detection.at_times import video_boxes
    from detection.videos import source_video

    times = (float(placement.video_times_s(np.float64(index * step_s))) for index in itertools.count())
    for _, boxes, _ in video_boxes(source_video(video), times, detector):
        yield placement.turned(boxes)
