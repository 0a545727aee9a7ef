"""How a user's own video lies to its sound: turned and shifted, and copies of picture and boxes that are not."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation

from util.boxes import BoxTrack
from util.video import VideoWriter, decoded_frames, fitted_size, video_info

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
    """People in the picture and at the times of `placed_video`; other things are left out."""
    time_s = track.time_s + placement.offset_s
    return replace(
        track, time_s=time_s, boxes=placement.turned(track.boxes), end_s=track.end_s + placement.offset_s, things=None
    )
