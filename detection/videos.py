"""Videos -> person boxes on a time grid, each detected once, in one sequential decode, kept in a box file."""

from __future__ import annotations

import functools
import logging
import math
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from tqdm import tqdm

from detection.detector import Detector
from detection.yolox import letterbox_into, person_boxes
from util import cache
from util.boxes import MAX_BOXES, TIME_ROUNDING_S, BoxTrack, box_file, box_place, read_meta, write_boxes
from util.cpus import cpu_count
from util.errors import InputError
from util.files import companion, sha256_of
from util.leftovers import sweep_leftovers
from util.video import VideoInfo, decoded_frames, video_info

NMS_IOU = 0.65
SCORE_THRESHOLD = 0.10  # strictly above
BATCH = 2  # pictures per inference on a CPU, where the batch axis is free; more of them fall out of the cache
GPU_BATCH = 32

SMALL_FOLDERS = {"video_dev": "video_360x180_dev", "video_eval": "video_360x180_eval"}

SMALL_PRODUCT = "360x180.mp4"  # of a copy in the cache of products

LARGE_FOLDERS = {small: large for large, small in SMALL_FOLDERS.items()}

logger = logging.getLogger(__name__)

Rate = float | str  # boxes per second, or "native": every frame of the video


def source_video(video: str | os.PathLike[str]) -> Path:
    """The file that is decoded for a video: its resized copy where there is a current one, else itself.

    ".../video_dev/<split>/<clip>.mp4" -> ".../video_360x180_dev/<split>/<clip>.mp4". A copy that is older than the
    large video shows another one, perhaps: then, also where the copy is what is asked for, the large one is decoded.
    """
    video = Path(video)
    if not SMALL_FOLDERS.keys().isdisjoint(video.parts[:-1]):
        small, large = companion(video, SMALL_FOLDERS, video.suffix), video
    elif not LARGE_FOLDERS.keys().isdisjoint(video.parts[:-1]):
        small, large = video, companion(video, LARGE_FOLDERS, video.suffix)
    else:
        return video
    if not small.is_file() and large.is_file():
        small = cache.product(large, small, SMALL_PRODUCT)
        return small if small.is_file() else video  # named by the content of the large one: it is never an old copy
    if not small.is_file() or not large.is_file():
        return small if small.is_file() else video
    if small.stat().st_mtime_ns >= large.stat().st_mtime_ns:
        return small
    _say_once_that_a_copy_is_old(small, large)
    return large


@functools.cache
def _say_once_that_a_copy_is_old(small: Path, large: Path) -> None:
    logger.warning("%s: older than %s, which is decoded instead (python resize_video.py makes it anew)", small, large)


def frames_on_grid(
    frames: Iterator[tuple[int, float, av.VideoFrame]], rate_hz: Rate, frame_s: float
) -> Iterator[tuple[av.VideoFrame | None, list[float]]]:
    """The frames that are needed, each with the grid times (in s) at which it is the last frame not after them.

    Grid times before the first frame come with no frame; without a grid ("native") there is one of them, 0.

    Parameters
    ----------
    frames : of `util.video.decoded_frames`
    rate_hz : grid times per second; "native" has one per frame
    frame_s : duration of the last frame
    """
    tick = 0

    def due(until_s: float) -> list[float]:
        nonlocal tick
        times: list[float] = []
        while rate_hz != "native" and (grid_s := tick / float(rate_hz)) < until_s - TIME_ROUNDING_S:
            times.append(grid_s)
            tick += 1
        return times

    held, held_s, first = None, 0.0, True
    for _, time_s, frame in frames:
        if rate_hz == "native":
            if first and time_s > TIME_ROUNDING_S:
                yield None, [0.0]
            yield frame, [time_s]
        elif times := due(time_s):
            yield held, times
        first = False
        held, held_s = frame, time_s
    if held is not None and rate_hz != "native" and (times := due(held_s + frame_s)):
        yield held, times


def detect_video(
    video: str | os.PathLike[str],
    detector: Detector,
    rate_hz: Rate,
    *,
    pool: ThreadPoolExecutor,
    workers: int,
    info: VideoInfo | None = None,
    batch: int | None = None,
    progress: tqdm | None = None,
) -> BoxTrack:
    """Boxes of one video: decoded here, detected by the workers of `pool`, a few inferences in flight.

    Parameters
    ----------
    info : of the video, where it is known already
    batch : pictures per inference, by default what suits the device; 1 where the model takes one only

    Raises
    ------
    InputError : the video cannot be read to its end
    """
    info = info or video_info(video)
    if batch is None:
        batch = GPU_BATCH if detector.on_gpu else BATCH
    if not detector.free_batch:
        batch = 1

    def people(
        inputs: np.ndarray, scales: list[float], sizes: list[tuple[int, int]]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        found = detector.detect(inputs, scales, score_threshold=SCORE_THRESHOLD, nms_iou=NMS_IOU)
        return [
            person_boxes(one, *size, score_threshold=SCORE_THRESHOLD, limit=MAX_BOXES)
            for one, size in zip(found, sizes)
        ]

    times_s: list[float] = []
    repeats: list[int] = []
    boxes: list[np.ndarray] = []
    scores: list[np.ndarray] = []
    flying: deque[tuple[Future, np.ndarray]] = deque()
    free: list[np.ndarray] = []  # inputs that have been used: fresh memory costs more than filling it

    def land() -> None:
        future, used = flying.popleft()
        for one_boxes, one_score in future.result():
            boxes.append(one_boxes)
            scores.append(one_score)
            if progress is not None:
                progress.update(repeats[len(boxes) - 1])
        free.append(used)

    inputs = detector.empty_batch(batch)
    scales: list[float] = []
    sizes: list[tuple[int, int]] = []

    def launch() -> None:
        nonlocal inputs, scales, sizes
        flying.append((pool.submit(people, inputs[: len(scales)], scales, sizes), inputs))
        while len(flying) > 2 * workers:
            land()
        inputs, scales, sizes = free.pop() if free else detector.empty_batch(batch), [], []

    converter = VideoReformatter()
    frame_s = float(1 / info.fps)
    end_s = info.start_s + info.duration_s

    def watched() -> Iterator[tuple[int, float, av.VideoFrame]]:
        nonlocal end_s
        for index, time_s, frame in decoded_frames(video, threads=1 if workers < 8 else 0):
            end_s = time_s + frame_s
            yield index, time_s, frame

    try:
        for frame, grid_s in frames_on_grid(watched(), rate_hz, frame_s):
            times_s.extend(grid_s)
            if frame is None:  # before the picture starts there is nobody
                boxes.append(np.zeros((MAX_BOXES, 4), np.float32))
                scores.append(np.zeros(MAX_BOXES, np.float32))
                repeats.append(len(grid_s))
                continue
            repeats.append(len(grid_s))
            # Made small at once, while the frame is still in the processor's cache.
            picture = converter.reformat(frame, format="bgr24").to_ndarray()
            scales.append(letterbox_into(inputs, len(scales), picture))
            sizes.append((picture.shape[1], picture.shape[0]))
            if len(scales) == batch:
                launch()
        if scales:
            launch()
        while flying:
            land()
    finally:
        for future, _ in flying:
            future.cancel()
    meta = {
        **made_with(detector, rate_hz),
        "width": info.width,
        "height": info.height,
        "fps": str(info.fps),
        "frame_count": info.frame_count,
        **identity(video),
        "video_sha256": sha256_of(video),
    }
    if not boxes:
        return BoxTrack(np.zeros(0), np.zeros((0, 6, 4), np.float32), np.zeros((0, 6), np.float32), end_s, meta)
    return BoxTrack(
        np.array(times_s), np.repeat(np.stack(boxes), repeats, 0), np.repeat(np.stack(scores), repeats, 0), end_s, meta
    )


def made_with(detector: Detector, rate_hz: Rate) -> dict:
    """What boxes depend on besides the video."""
    return {
        "detector": detector.label,
        "model_sha256": detector.sha256,
        "rate_hz": rate_hz,
        "score_threshold": SCORE_THRESHOLD,
        "nms_iou": NMS_IOU,
        **detector.settings,
    }


def identity(video: str | os.PathLike[str]) -> dict:
    """Cheap marks of a video file: when they are unchanged its hash is not computed again."""
    facts = Path(video).stat()
    return {
        "video": "/".join(Path(video).parts[-3:]),
        "video_bytes": facts.st_size,
        "video_mtime_ns": facts.st_mtime_ns,
        "as_seen": True,
    }


def is_current(path: str | os.PathLike[str], source: str | os.PathLike[str], detector: Detector, rate_hz: Rate) -> bool:
    """Whether a box file holds what detection would give: same model, video, grid and thresholds."""
    try:
        meta = read_meta(path)
    except InputError:
        return False
    if any(meta.get(key) != value for key, value in made_with(detector, rate_hz).items()):
        return False
    if not meta.get("as_seen") and not _plain(source):  # from before pictures were turned and placed
        return False
    marks = identity(source)
    if meta.get("video_bytes") != marks["video_bytes"]:
        return False
    return meta.get("video_mtime_ns") == marks["video_mtime_ns"] or meta.get("video_sha256") == sha256_of(source)


def _plain(video: str | os.PathLike[str]) -> bool:
    """Whether a video is stored as it is to be seen and starts with its sound."""
    try:
        info = video_info(video)
    except InputError:
        return True
    return info.upright and not info.start_s


def detect_videos(
    videos: Sequence[str | os.PathLike[str]],
    detector: Detector,
    *,
    rate_hz: Rate = 10.0,
    progress: bool = True,
    again: bool = False,
    workers: int | None = None,
) -> tuple[list[Path], list[InputError]]:
    """Make the box files of videos that lack a current one.

    Parameters
    ----------
    videos : HD or resized; the resized copy of a video is what is decoded, the box file lies beside the video given
    again : detect even where a current box file lies
    workers : inferences at the same time, by default one per processor

    Returns
    -------
    paths : box files in the order of `videos`, of the broken ones too (where no file is)
    broken : one error per video that could not be read; the others are done all the same
    """
    if rate_hz != "native" and not (isinstance(rate_hz, int | float) and 0 < rate_hz <= 1000):
        raise InputError(f'box rate {rate_hz!r}: give boxes per second (10), or "native" for every frame')
    paths = [box_file(video, detector.label) for video in videos]
    sweep_leftovers(paths)
    broken: list[InputError] = []
    todo: list[tuple[Path, Path, int, VideoInfo]] = []
    coming: set[Path] = set()
    for index, video in enumerate(videos):
        path, source = paths[index], source_video(video)
        try:
            info = video_info(source)
            if again or not is_current(path, source, detector, rate_hz):
                count = info.frame_count if rate_hz == "native" else math.ceil(info.duration_s * float(rate_hz))
                paths[index] = box_place(video, detector.label)
                if paths[index] not in coming:  # in the cache, videos of equal content have one file
                    todo.append((source, paths[index], count, info))
                coming.add(paths[index])
        except InputError as error:
            broken.append(error)
    if not todo:
        return paths, broken
    workers = workers or (2 if detector.on_gpu else cpu_count())
    total = sum(count for _, _, count, _ in todo)
    if progress:
        _estimate(detector, len(todo), total, workers)
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=total, unit="frame", desc=f"boxes {detector.label}", disable=not progress) as bar,
    ):
        for source, path, _, info in todo:
            try:
                track = detect_video(source, detector, rate_hz, pool=pool, workers=workers, info=info, progress=bar)
            except InputError as error:
                broken.append(error)
                continue
            write_boxes(path, track)
    return paths, broken


def _estimate(detector: Detector, videos: int, frames: int, workers: int) -> None:
    """Say how long it will take, from a few inferences timed beforehand."""
    batch = (GPU_BATCH if detector.on_gpu else BATCH) if detector.free_batch else 1
    blank = np.full((batch, 3, detector.height, detector.width), 114, np.float32)
    detector.infer(blank)
    start = time.perf_counter()
    for _ in range(3):
        detector.infer(blank)
    seconds = (time.perf_counter() - start) / 3 / batch * frames / (1 if detector.on_gpu else workers)
    asked = f"{videos} video{'s' * (videos != 1)}, {frames} frames, {detector.label}"
    tqdm.write(f"detecting people: {asked}: about {seconds:.0f} s and the decoding", file=sys.stderr)
