"""What a page or video shows of a recording: its sound, and its picture and boxes as they lie to the sound."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from report.analysis import ClipResult
from util.audio import audio_info
from util.boxes import BoxTrack, box_file, box_path, read_boxes
from util.channels import channel_matrix
from util.errors import InputError
from util.placement import Placement, placed_track, placed_video
from util.video import video_info

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Shown:
    """Files of a recording, None where there are none.

    Attributes
    ----------
    video : turned and shifted to the sound
    boxes : in the picture and at the times of `video`
    matrix : (channels, channels of `audio`) from those to the channels of the array; None: they are that
    """

    audio: Path | None
    video: Path | None
    boxes: BoxTrack | None
    matrix: np.ndarray | None

    @property
    def files(self) -> dict[str, Any]:
        """They as arguments of `report.player.write_player` and `report.overlay.write_overlay`."""
        return {name: getattr(self, name) for name in ("audio", "video", "boxes", "matrix")}


@contextmanager
def shown_of(clip: ClipResult) -> Iterator[Shown]:
    """Files of a raw output, by what its json says of channel order, weights, yaw and offset of the video.

    A video that is turned or shifted is a temporary copy: it is gone when the context ends.

    Raises
    ------
    InputError : a file cannot be read
    """
    about = clip.description
    audio, video, boxes = clip.path("recording"), clip.path("video"), clip_boxes(clip)
    matrix = None
    if about.get("channel_matrix") is not None:
        matrix = np.array(about["channel_matrix"], dtype=np.float32)
    elif clip.array is not None:
        matrix = channel_matrix(clip.array, about.get("channel_order") or "acn", about.get("norm"))
    duration_s = about.get("duration_s")
    with tempfile.TemporaryDirectory() as folder:
        placement = Placement(float(about.get("video_yaw_deg") or 0), float(about.get("video_offset_s") or 0))
        if video is not None and placement != Placement():
            if duration_s is None:
                duration_s = (video_info(video) if audio is None else audio_info(audio)).duration_s
            video = placed_video(video, placement, float(duration_s), Path(folder) / "placed.mp4")
            boxes = None if boxes is None else placed_track(boxes, placement)
        yield Shown(audio, video, boxes, matrix)


def clip_boxes(clip: ClipResult) -> BoxTrack | None:
    """The person boxes beside the clip's video, else beside its raw output; None where there are none."""
    video, detector = clip.path("video"), clip.description.get("detector")
    if video is None or not detector:
        return None
    beside_raw = clip.raw.with_name(box_path(video, detector).name)
    found = [one for one in (box_file(video, detector), beside_raw) if one.is_file()]
    if not found:
        return None
    track = read_boxes(found[0])
    return track if track.grid_hz is None else _filled(track, video, detector)


def _filled(track: BoxTrack, video: Path, detector: str) -> BoxTrack:
    """Boxes of the whole grid of a track that has some times of it, kept beside the video."""
    from detection.detector import Detector  # onnxruntime and PyAV, only where there is something to detect
    from detection.videos import detect_videos

    try:
        size = track.meta.get("input_size")
        opened = Detector(
            detector,
            person_class=track.meta.get("person_class"),
            size=None if size is None else (size[0], size[1]),
        )
        (path,), broken = detect_videos([video], opened, rate_hz=track.grid_hz or 10.0)
    except InputError as error:  # the page does not depend on it
        broken = [error]
    if broken:
        logger.warning("%s: boxes are shown at the times of the evaluation only: %s", video, broken[0].rule)
        return track.held()
    return read_boxes(path)
