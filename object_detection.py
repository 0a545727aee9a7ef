"""People and things in videos: `python object_detection.py` detects once and keeps a small file beside each video."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detection.detector import Detector
from detection.videos import Rate, detect_videos
from util import cache
from util.arguments import add_flags
from util.cli import run_main
from util.errors import InputError
from util.files import read_json
from util.find import files_under, same_name, video_remarks
from util.parallel import CLUSTER_HELP

DEFAULT_DATA_ROOT = "data_dcase2023_task3"
DEFAULT_DETECTOR = "yolox_tiny"
VIDEO_FOLDERS = (("video_360x180_dev", "video_dev"), ("video_360x180_eval", "video_eval"))  # the preferred one first


def ensure_boxes(
    videos: Sequence[str | os.PathLike[str]],
    detector: str,
    *,
    rate_hz: Rate = 10.0,
    device: str = "auto",
    progress: bool = True,
    person_class: int | None = None,
    size: tuple[int, int] | None = None,
    times_s: Sequence[np.ndarray | None] | None = None,
    things: bool = False,
) -> list[Path]:
    """Box files of videos, made where they are missing or were made otherwise; `util.boxes.read_boxes` reads them.

    Parameters
    ----------
    videos : a resized copy beside one ("video_360x180_dev" for "video_dev") is what is decoded; boxes are fractions of
        the image either way. The box file lies beside the video given, or in the cache (`util.cache`)
    detector : "yolox_nano", "yolox_tiny", "yolox_s", "builtin" or the path of an onnx file
    rate_hz : boxes per second, or "native" for every frame
    person_class, size : as `detection.detector.Detector` takes them
    times_s : of each video the times that matter; None: all. The rest of a box file is filled when it is asked for
    things : other things than people matter too: files from before they were kept are made anew

    Raises
    ------
    InputError : unknown detector, failed download, a video that cannot be read (after all others have been done)
    """
    if not videos:
        return []
    opened = Detector(detector, device=device, progress=progress, person_class=person_class, size=size)
    paths, broken = detect_videos(videos, opened, rate_hz=rate_hz, progress=progress, times_s=times_s, things=things)
    if broken:
        raise _first_of(broken)
    return paths


def _first_of(broken: list[InputError]) -> InputError:
    more = f" (and {len(broken) - 1} more videos that cannot be read)" if len(broken) > 1 else ""
    return InputError(broken[0].rule + more, path=broken[0].path, place=broken[0].place)


def videos_of_root(root: str | os.PathLike[str]) -> list[Path]:
    """Every clip's video under a data root, sorted: the resized one where there is one, else the large one.

    Raises
    ------
    InputError : no such folder, or no video in it
    """
    root = Path(root)
    if not root.is_dir():
        raise InputError("no such data root (flag --data-root)", path=root)
    found: dict[tuple[str, str], Path] = {}
    for folders in VIDEO_FOLDERS:
        for folder in folders:
            for video in files_under(root / folder, [".mp4"]):
                found.setdefault((folders[0], same_name(str(video.relative_to(root / folder)))), video)
    if not found:
        raise InputError(f"has no mp4 in {', '.join(name for pair in VIDEO_FOLDERS for name in pair)}", path=root)
    return sorted(found.values())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="object_detection.py", description=__doc__.split(": ")[0])
    parser.add_argument("videos", nargs="*", metavar="VIDEO", help="videos; without any, those of the data root")
    parser.add_argument(
        "--data-root", default=DEFAULT_DATA_ROOT, help="root of video_dev, video_360x180_dev (%(default)s)"
    )
    parser.add_argument(
        "--detector",
        help="yolox_nano, yolox_tiny, yolox_s (downloaded at first use), builtin, or an .onnx file; "
        f"by default what the data root's dataset.json says, else {DEFAULT_DETECTOR}",
    )
    parser.add_argument("--box-rate", default="10", help='boxes per second, or "native": every frame (%(default)s)')
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="where YOLOX runs (%(default)s)"
    )
    add_flags(parser, "person_class", "detector_size")
    parser.add_argument("--workers", type=int, help="inferences at the same time (one per processor)")
    parser.add_argument("--cluster", metavar="ADDRESS", help=CLUSTER_HELP)
    parser.add_argument("--again", action="store_true", help="detect even where current boxes lie")
    parser.add_argument(
        "--cache", metavar="DIR", help="folder for the boxes [beside the videos, where that can be written]"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    return parser


def box_rate(text: str) -> Rate:
    """ "10" -> 10.0, "native" -> "native".

    Raises
    ------
    InputError : anything else
    """
    try:
        if text == "native":
            return "native"
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1000:
        raise InputError(f'--box-rate {text}: give boxes per second (10), or "native" for every frame')
    return rate


def _detector_of(settings: Path) -> str | None:
    """The detector that a data root's dataset.json names, if it does."""
    content = read_json(settings)
    if not isinstance(content, dict):
        raise InputError('must hold an object ({"detector": "yolox_tiny"}), and holds none', path=settings)
    name = content.get("detector")
    if name is not None and (not isinstance(name, str) or not name):
        raise InputError(f'"detector" must be a name or an onnx file in quotes, not {json.dumps(name)}', path=settings)
    return name


def main(argv: list[str] | None = None) -> int:
    """Command line; the exit status is 0, or 2 when a video could not be read."""
    arguments = _parser().parse_args(argv)
    cache.use(arguments.cache)
    rate_hz = box_rate(arguments.box_rate)
    if arguments.workers is not None and arguments.workers < 1:
        raise InputError("--workers must be at least 1")
    videos = [Path(video) for video in arguments.videos] or videos_of_root(arguments.data_root)
    name = arguments.detector
    settings = Path(arguments.data_root) / "dataset.json"
    if name is None and not arguments.videos and settings.is_file():
        name = _detector_of(settings)
    detector = Detector(
        name or DEFAULT_DETECTOR,
        device=arguments.device,
        progress=not arguments.quiet,
        person_class=arguments.person_class,
        size=arguments.detector_size,
    )
    paths, broken = detect_videos(
        videos,
        detector,
        rate_hz=rate_hz,
        progress=not arguments.quiet,
        again=arguments.again,
        workers=arguments.workers,
        cluster=arguments.cluster,
        things=True,
    )
    for error in broken:
        print(f"error: {error}", file=sys.stderr)
    folders = [Path(arguments.data_root) / name for pair in VIDEO_FOLDERS for name in pair]
    for folder in () if arguments.videos else folders:
        for line in video_remarks(folder):
            print(f"{folder}: {line}", file=sys.stderr)
    print(f"{len(paths) - len(broken)} of {len(paths)} videos have boxes of {detector.label}")
    return 2 if broken else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
