"""Boxes of a video at given times only: what inference needs, a picture every 1.2 s instead of ten a second."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from tqdm import tqdm

from detection.detector import Detector
from detection.videos import NMS_IOU, SCORE_THRESHOLD, identity, made_with
from detection.yolox import NOTHING, Look, look_of
from util.boxes import HOLD_S, TIME_ROUNDING_S, BoxTrack
from util.cpus import cpu_count
from util.things import Things
from util.video import decoded_frames, video_info

Picture = TypeVar("Picture")
Found = tuple[float, Look]  # time in s, what is seen


def held_at(
    pictures: Iterable[tuple[float, Picture]], times_s: Iterable[float], frame_s: float
) -> Iterator[tuple[float, Picture | None]]:
    """For each time the last picture not after it; none before the first and from 1 s after the end of the last on.

    Both inputs ascend and are read only as far as needed.

    Parameters
    ----------
    frame_s : how long the last picture lasts
    """
    source = iter(pictures)
    held, coming = None, next(source, None)
    for time_s in times_s:
        while coming is not None and coming[0] <= time_s + TIME_ROUNDING_S:
            held, coming = coming, next(source, None)
        if held is None or (coming is None and time_s >= held[0] + frame_s + HOLD_S):
            yield time_s, None
        else:
            yield time_s, held[1]


def detected(
    pictures: Iterable[tuple[float, av.VideoFrame | np.ndarray | None]],
    detector: Detector,
    *,
    workers: int | None = None,
) -> Iterator[Found]:
    """What is seen in pictures (frames of PyAV, or BGR uint8) in their order, a few detected at the same time.

    A picture that comes again behind itself is detected once; two threads that convert one frame of PyAV wait for each
    other for ever.
    """
    workers = workers or cpu_count()
    flying: deque[tuple[float, Future]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            before: tuple[av.VideoFrame | np.ndarray | None, Future] | None = None
            for time_s, picture in pictures:
                if before is None or picture is not before[0]:
                    before = picture, pool.submit(_look, picture, detector)
                flying.append((time_s, before[1]))
                if len(flying) > workers:
                    yield _landed(flying)
            while flying:
                yield _landed(flying)
        finally:
            for _, future in flying:
                future.cancel()


def video_boxes(video: str | os.PathLike[str], times_s: Iterable[float], detector: Detector) -> Iterator[Found]:
    """Boxes of a video at ascending times, decoded as they are asked for.

    Raises
    ------
    InputError : the video cannot be read
    """
    frames = ((time_s, frame) for _, time_s, frame in decoded_frames(video))
    return detected(held_at(frames, times_s, float(1 / video_info(video).fps)), detector)


def detect_at(
    pictures: str | os.PathLike[str] | Iterable[tuple[float, np.ndarray]],
    detector: str | Detector,
    times_s: np.ndarray,
    *,
    progress: bool = True,
    key: str = "",
) -> BoxTrack:
    """Boxes at ascending times; `BoxTrack.at` gives exactly them at these times.

    Parameters
    ----------
    pictures : a video file, or pairs (time in s, BGR picture); of a picture's end nothing is known then, it stays
    key : written into the track as its rate, so that `detection.videos.is_current` knows it again

    Raises
    ------
    InputError : unknown detector, a video that cannot be read
    """
    detector = Detector(detector, progress=progress) if isinstance(detector, str) else detector
    meta = made_with(detector, key)
    if isinstance(pictures, str | os.PathLike):
        info = video_info(pictures)
        end_s = info.start_s + info.duration_s
        meta |= {"width": info.width, "height": info.height, "fps": str(info.fps), **identity(pictures)}
        found = video_boxes(Path(pictures), times_s, detector)
    else:
        end_s = float(times_s[-1]) if len(times_s) else 0.0
        found = detected(held_at(pictures, times_s, np.inf), detector)
    with tqdm(
        found,
        total=len(times_s),
        desc=f"boxes {detector.label}",
        unit="frame",
        leave=False,
        disable=not progress,
        file=sys.stderr,
    ) as bar:
        looks = [look for _, look in bar]
    boxes, score = (np.stack([one, *(look[part] for look in looks)])[1:] for part, one in enumerate(NOTHING[:2]))
    things = Things.of([look.things for look in looks])
    return BoxTrack(np.asarray(times_s, dtype=np.float64), boxes, score, end_s, meta, things=things)


def _look(picture: av.VideoFrame | np.ndarray | None, detector: Detector) -> Look:
    if picture is None:
        return NOTHING
    bgr = picture if isinstance(picture, np.ndarray) else picture.to_ndarray(format="bgr24")
    (found,) = detector([bgr], score_threshold=SCORE_THRESHOLD, nms_iou=NMS_IOU)
    return look_of(found, detector.coco, bgr.shape[1], bgr.shape[0], score_threshold=SCORE_THRESHOLD)


def _landed(flying: deque[tuple[float, Future]]) -> Found:
    time_s, future = flying.popleft()
    return time_s, future.result()
