"""Videos -> people and things on a time grid, each detected once, in one sequential decode, kept in a box file."""

from __future__ import annotations

import functools
import logging
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from tqdm import tqdm

from detection.detector import Detector
from detection.yolox import NOTHING, Look, letterbox_into, look_of
from util import cache
from util.boxes import (
    MAX_BOXES,
    TIME_ROUNDING_S,
    BoxTrack,
    box_file,
    box_place,
    grid_ticks,
    last_tick,
    read_boxes,
    read_meta,
    write_boxes,
)
from util.cpus import cpu_count
from util.errors import InputError
from util.files import companion, sha256_of
from util.leftovers import sweep_leftovers
from util.parallel import Progress, Where, advance, each
from util.things import NO_THINGS, Things
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
    done: Callable[[int], object] | None = None,
    times_s: np.ndarray | None = None,
    known: BoxTrack | None = None,
) -> BoxTrack:
    """Boxes of one video: decoded here, detected by the workers of `pool`, a few inferences in flight.

    Parameters
    ----------
    info : of the video, where it is known already
    batch : pictures per inference, by default what suits the device; 1 where the model takes one only
    times_s : the times that matter; None: all of the grid
    known : boxes of the same grid that need not be detected again; without things they are

    Raises
    ------
    InputError : the video cannot be read to its end
    """
    info = info or video_info(video)
    if batch is None:
        batch = GPU_BATCH if detector.on_gpu else BATCH
    if not detector.free_batch:
        batch = 1

    def seen(inputs: np.ndarray, scales: list[float], sizes: list[tuple[int, int]]) -> list[Look]:
        found = detector.detect(inputs, scales, score_threshold=SCORE_THRESHOLD, nms_iou=NMS_IOU)
        return [look_of(one, detector.coco, *size, score_threshold=SCORE_THRESHOLD) for one, size in zip(found, sizes)]

    times: list[list[float]] = []  # grid times of each frame that was needed
    found: list[Look] = []  # in it, as soon as it is there
    flying: deque[tuple[Future, np.ndarray, list[int]]] = deque()
    free: list[np.ndarray] = []  # inputs that have been used: fresh memory costs more than filling it

    def land() -> None:
        future, used, rows = flying.popleft()
        for row, one in zip(rows, future.result()):
            found[row] = one
            if done is not None:
                done(len(times[row]))
        free.append(used)

    inputs = detector.empty_batch(batch)
    scales: list[float] = []
    sizes: list[tuple[int, int]] = []
    rows: list[int] = []

    def launch() -> None:
        nonlocal inputs, scales, sizes, rows
        flying.append((pool.submit(seen, inputs[: len(scales)], scales, sizes), inputs, rows))
        while len(flying) > 2 * workers:
            land()
        inputs, scales, sizes, rows = free.pop() if free else detector.empty_batch(batch), [], [], []

    converter = VideoReformatter()
    frame_s = float(1 / info.fps)
    end_s = info.start_s + info.duration_s
    asked = _asked(times_s, rate_hz)
    there: dict[float, Look] = {}
    if known is not None and known.things is not None:
        pairs = zip(known.boxes, known.score, known.things.looks())
        there = {time_s: Look(*look) for time_s, look in zip(known.time_s.tolist(), pairs)}

    def watched() -> Iterator[tuple[int, float, av.VideoFrame]]:
        nonlocal end_s
        for index, time_s, frame in decoded_frames(video, threads=1 if workers < 8 else 0):
            end_s = time_s + frame_s
            yield index, time_s, frame

    def take(frame: av.VideoFrame | None, grid_s: list[float]) -> None:
        times.append(grid_s)
        if frame is None:  # before the picture starts there is nobody
            found.append(NOTHING)
            return
        if grid_s[0] in there:
            found.append(there[grid_s[0]])
            return
        found.append(NOTHING)  # until it lands
        # Made small at once, while the frame is still in the processor's cache.
        picture = converter.reformat(frame, format="bgr24").to_ndarray()
        scales.append(letterbox_into(inputs, len(scales), picture))
        sizes.append((picture.shape[1], picture.shape[0]))
        rows.append(len(times) - 1)
        if len(scales) == batch:
            launch()

    left_out = 0
    last: tuple[av.VideoFrame | None, list[float]] | None = None  # not taken: it counts for all times behind it
    try:
        for frame, grid_s in frames_on_grid(watched(), rate_hz, frame_s):
            left_out += last is not None
            last = None
            if asked(grid_s) or grid_s[0] in there:
                take(frame, grid_s)
            else:
                last = (frame, grid_s)
        if last is not None and asked([math.inf]):
            take(*last)
        elif last is not None:
            left_out += 1
        if scales:
            launch()
        while flying:
            land()
    finally:
        for future, *_ in flying:
            future.cancel()
    meta = {
        **made_with(detector, rate_hz if not left_out else _in_part(rate_hz)),
        "width": info.width,
        "height": info.height,
        "fps": str(info.fps),
        "frame_count": info.frame_count,
        **identity(video),
        "video_sha256": sha256_of(video),
    }
    grid_hz = float(rate_hz) if left_out else None
    if not found:
        boxes, score = np.zeros((0, MAX_BOXES, 4), np.float32), np.zeros((0, MAX_BOXES), np.float32)
        return BoxTrack(np.zeros(0), boxes, score, end_s, meta, grid_hz, Things.of([]))
    looks_of_grid = [look for look, grid_s in zip(found, times) for _ in grid_s]
    boxes, score = (np.stack([look[part] for look in looks_of_grid]) for part in range(2))
    things = Things.of([look.things for look in looks_of_grid])
    return BoxTrack(np.concatenate(times), boxes, score, end_s, meta, grid_hz, things)


def _asked(times_s: np.ndarray | None, rate_hz: Rate) -> Callable[[list[float]], bool]:
    """Whether one of some grid times matters; infinity stands for all behind the last one."""
    if times_s is None or rate_hz == "native":
        return lambda grid_s: True
    hz = float(rate_hz)
    ticks = set(grid_ticks(times_s, hz).tolist())
    last = max(ticks, default=-1)
    done = -1

    def asked(grid_s: list[float]) -> bool:
        nonlocal done
        if grid_s[-1] == math.inf:
            return last > done
        done = round(grid_s[-1] * hz)
        return any(round(time_s * hz) in ticks for time_s in grid_s)

    return asked


def _in_part(rate_hz: Rate) -> str:
    """In place of the rate, of a box file that lacks some times of its grid."""
    return f"{float(rate_hz):g}, in part"


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


def is_current(
    path: str | os.PathLike[str],
    source: str | os.PathLike[str],
    detector: Detector,
    rate_hz: Rate,
    times_s: np.ndarray | None = None,
    *,
    things: bool = False,
) -> bool:
    """Whether a box file holds what detection would give: same model, video, grid and thresholds.

    Parameters
    ----------
    times_s : the times that matter; None: all of the grid
    things : other things than people matter: files from before they were kept do not hold them, which is all the same
        if the detector finds people only
    """
    try:
        meta = read_meta(path)
    except InputError:
        return False
    if not _is_of_video(meta, source) or (things and not (meta.get("things") or detector.people_only)):
        return False
    if _is_made_with(meta, detector, rate_hz):
        return True
    if times_s is None or (part := _part_of(path, source, detector, rate_hz)) is None:
        return False
    return bool(part.knows(np.asarray(times_s)).all())


def _part_of(
    path: str | os.PathLike[str], source: str | os.PathLike[str], detector: Detector, rate_hz: Rate
) -> BoxTrack | None:
    """What a box file holds of a grid of which it has some times; None: it is of something else, or there is none."""
    try:
        track = read_boxes(path)
    except InputError:
        return None
    if track.things is None and detector.people_only:
        track = replace(track, things=Things.of([NO_THINGS] * len(track.time_s)))
    if rate_hz == "native" or not _is_made_with(track.meta, detector, _in_part(rate_hz)):
        return None
    return track if _is_of_video(track.meta, source) else None


def _is_made_with(meta: dict, detector: Detector, rate_hz: Rate) -> bool:
    return all(meta.get(key) == value for key, value in made_with(detector, rate_hz).items())


def _is_of_video(meta: dict, source: str | os.PathLike[str]) -> bool:
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
    times_s: Sequence[np.ndarray | None] | None = None,
    cluster: str | None = None,
    things: bool = False,
) -> tuple[list[Path], list[InputError]]:
    """Make the box files of videos that lack a current one.

    Parameters
    ----------
    videos : HD or resized; the resized copy of a video is what is decoded, the box file lies beside the video given
    again : detect even where a current box file lies
    workers : inferences at the same time, by default one per processor
    times_s : the times that matter, of each video; None: all of the grid. What a box file has already stays in it
    cluster : where videos are worked on, see `util.parallel.Where`; here one after the other, frames side by side
    things : box files that hold people only, since nobody looked for other things, are made anew

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
    todo: dict[Path, _Due] = {}
    people_only = 0
    for index, video in enumerate(videos):
        path, source = paths[index], source_video(video)
        try:
            info = video_info(source)
            wanted = None if times_s is None else times_s[index]
            if again or not is_current(path, source, detector, rate_hz, wanted, things=things):
                known = None if again else _part_of(path, source, detector, rate_hz)
                if known is not None and known.things is None:
                    wanted, known = _both(wanted, known.time_s), None
                elif things and not again and is_current(path, source, detector, rate_hz):
                    wanted = None  # it has people of the whole grid, and shall have them
                    people_only += 1
                paths[index] = box_place(video, detector.label)
                if paths[index] in todo:  # in the cache, videos of equal content have one file
                    wanted = _both(todo[paths[index]].times_s, wanted)
                todo[paths[index]] = _Due(source, info, wanted, known)
        except InputError as error:
            broken.append(error)
    if not todo:
        return paths, broken
    frames = [_frames_to_detect(due, rate_hz) for due in todo.values()]
    if progress and people_only:
        rule = "of an earlier version hold people only and are made anew, with other things"
        tqdm.write(f"{people_only} box files {rule}", file=sys.stderr)
    if progress and cluster is None:
        _estimate(detector, len(todo), sum(frames), _inferences(detector, workers))
    outcome = each(
        BoxesOf(detector, rate_hz, workers),
        [(path.absolute(), due._replace(source=due.source.absolute())) for path, due in todo.items()],
        Where(cluster=cluster),
        Progress(f"boxes {detector.label}", "frame", frames, shown=progress),
        name=lambda item: str(item[1].source),
    )
    return paths, broken + [error for _, error in outcome.broken]


@dataclass(frozen=True)
class BoxesOf:
    """Makes the box file of a video, anywhere.

    Attributes
    ----------
    workers : inferences at the same time; None: one per processor
    """

    detector: Detector
    rate_hz: Rate
    workers: int | None

    def __call__(self, item: tuple[Path, _Due]) -> None:
        """Detect and write: (box file, what is to be looked at)."""
        path, due = item
        workers = _inferences(self.detector, self.workers)
        with ThreadPoolExecutor(workers) as pool:
            track = detect_video(
                due.source,
                self.detector,
                self.rate_hz,
                pool=pool,
                workers=workers,
                info=due.info,
                done=advance,
                times_s=due.times_s,
                known=due.known,
            )
        write_boxes(path, track)


def _inferences(detector: Detector, asked: int | None) -> int:
    return asked or (2 if detector.on_gpu else cpu_count())


class _Due(NamedTuple):
    """A video that is to be looked at, at which times (None: all of the grid), and what is known of it already."""

    source: Path
    info: VideoInfo
    times_s: np.ndarray | None
    known: BoxTrack | None


def _both(times_s: np.ndarray | None, others_s: np.ndarray | None) -> np.ndarray | None:
    return None if times_s is None or others_s is None else np.union1d(times_s, others_s)


def _frames_to_detect(due: _Due, rate_hz: Rate) -> int:
    """How many frames will be looked at, about."""
    if rate_hz == "native":
        return due.info.frame_count
    hz = float(rate_hz)
    ticks = np.arange(math.ceil(due.info.duration_s * hz))
    if due.times_s is not None:
        end_s = due.info.start_s + due.info.duration_s
        ticks = np.unique(np.minimum(grid_ticks(due.times_s, hz), last_tick(end_s, hz)))
    return len(ticks if due.known is None else np.setdiff1d(ticks, grid_ticks(due.known.time_s, hz)))


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
