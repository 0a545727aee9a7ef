"""Small copies of 360-degree videos: `python resize_video.py` makes video_360x180_dev from video_dev."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from av.video.reformatter import Interpolation, VideoReformatter

from util import cache
from util.cli import run_main
from util.cpus import cpu_count
from util.errors import InputError
from util.find import files_under, video_remarks
from util.leftovers import sweep_leftovers
from util.parallel import HERE, Progress, Where, add_where, advance, each, where_of
from util.video import VideoInfo, VideoWriter, decoded_frames, fitted_size, holds_pictures_as_seen, video_info

DEFAULT_DATA_ROOT = "data_dcase2023_task3"
WIDTH, HEIGHT = 360, 180
CRF = 18  # boxes and eyes judge the small picture; it is small anyway
PRESET = "veryfast"


def resize_video(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    width: int | None = WIDTH,
    height: int | None = HEIGHT,
    threads: int = 0,
    frame_done: Callable[[], object] | None = None,
) -> None:
    """Write a copy of another size: same times and number of frames, upright, H.264, no sound; whole or not at all.

    Parameters
    ----------
    width, height : pixels; the aspect ratio is kept when only one is given (rounded to even, as the format needs)
    threads : of the decoder, 0 = as FFmpeg sees fit; the encoder has one, on whose number its bytes depend
    frame_done : called after each frame

    Raises
    ------
    InputError : the source cannot be read to its end, odd size, folder that cannot be written
    """
    info = video_info(source)
    width, height = fitted_size(info.width, info.height, width, height, multiple=2)
    scaler = VideoReformatter()
    with VideoWriter(target, width, height, info.fps, crf=CRF, preset=PRESET, threads=1, timed=True) as writer:
        for _, time_s, frame in decoded_frames(source, threads=threads):
            # Straight between planes of luma and colour: a way through BGR would cost more than the scaling.
            small = scaler.reformat(frame, width, height, "yuv420p", interpolation=Interpolation.AREA)
            writer.write(small, max(time_s, 0.0))  # what lies before the sound is not kept apart
            if frame_done is not None:
                frame_done()


def resize_folder(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    width: int | None = WIDTH,
    height: int | None = HEIGHT,
    where: Where = HERE,
    progress: bool = True,
) -> tuple[int, int, list[InputError]]:
    """Resize every mp4 below a folder, several at a time.

    Parameters
    ----------
    where : videos are decoded and written; the bytes do not depend on it

    Returns
    -------
    made, skipped : numbers of videos; one is skipped where its copy is there, not older than it, and has the size asked
        for, its frame count and its times
    broken : one error per video that cannot be read; the others are done all the same

    Raises
    ------
    InputError : no such folder, no mp4 in it
    """
    source, target = Path(source), Path(target)
    names = _videos(source)
    targets = {name: _place(source / name, target / name, width, height) for name in names}
    sweep_leftovers(targets.values())
    broken: list[InputError] = []
    todo: list[_Copy] = []
    coming: set[Path] = set()
    frames: list[int] = []
    skipped = 0
    for name in names:
        try:
            info = video_info(source / name)
        except InputError as error:
            broken.append(error)
            continue
        size = fitted_size(info.width, info.height, width, height, multiple=2)
        # in the cache, videos of equal content have one copy
        if _finished(targets[name], info, size) or targets[name] in coming:
            skipped += 1
        else:
            todo.append(_Copy((source / name).absolute(), targets[name].absolute(), width, height))
            coming.add(targets[name])
            frames.append(info.frame_count)
    bar = Progress(f"resizing {len(todo)} videos", "frame", frames, shown=progress)
    outcome = each(_copied, todo, where, bar, name=lambda copy: str(copy.source))
    return outcome.made, skipped, broken + [error for _, error in outcome.broken]


@dataclass(frozen=True)
class _Copy:
    """A video and its small copy that is to be made."""

    source: Path
    target: Path
    width: int | None
    height: int | None


def _copied(copy: _Copy) -> None:
    resize_video(
        copy.source,
        copy.target,
        width=copy.width,
        height=copy.height,
        threads=0 if cpu_count() > 1 else 1,
        frame_done=lambda: advance(1),
    )


def _place(source: Path, target: Path, width: int | None, height: int | None) -> Path:
    """Where the copy of a video goes: the folder that is meant, else the cache of products."""
    return cache.place(source, target.with_suffix(".mp4"), f"{width or 'any'}x{height or 'any'}.mp4")


def _videos(source: Path) -> list[Path]:
    if not source.is_dir():
        raise InputError("no such folder", path=source)
    names = [path.relative_to(source) for path in files_under(source, [".mp4"])]
    if not names:
        raise InputError("has no mp4", path=source)
    return names


def _size_of_folder(source: Path, width: int | None, height: int | None) -> tuple[int, int]:
    """The one size that the copies of a folder's videos get; the default folder is named after it."""
    if width is not None and height is not None:
        return width, height
    sizes: set[tuple[int, int]] = set()
    for name in _videos(source):
        with contextlib.suppress(InputError):  # told when it is resized
            info = video_info(source / name)
            sizes.add(fitted_size(info.width, info.height, width, height, multiple=2))
    if len(sizes) > 1:
        found = ", ".join(f"{one}x{other}" for one, other in sorted(sizes))
        raise InputError(f"the copies have several sizes ({found}): give --target, or both --width and --height")
    return sizes.pop() if sizes else fitted_size(2, 1, width, height, multiple=2)


def _finished(path: Path, source: VideoInfo, size: tuple[int, int]) -> bool:
    """Whether a copy is there that is not older than its source and has its size, pictures and times."""
    if not path.is_file() or path.stat().st_mtime_ns < source.path.stat().st_mtime_ns:
        return False
    try:
        info = video_info(path)
    except InputError:
        return False
    if (info.width, info.height) != size or info.frame_count != source.frame_count:
        return False
    off_s = abs(info.duration_s - source.duration_s) + abs(info.start_s - max(source.start_s, 0.0))
    # a copy from before pictures were turned does not say that they are
    return off_s < max(2 / float(source.fps), 0.1) and (source.upright or holds_pictures_as_seen(path))


def main(argv: list[str] | None = None) -> int:
    """Command line; the exit status is 0, or 2 when a video could not be read."""
    parser = argparse.ArgumentParser(prog="resize_video.py", description=__doc__.split(": ")[0])
    parser.add_argument("--data-root", default=DEFAULT_DATA_ROOT, help="root that holds video_dev (%(default)s)")
    parser.add_argument("--source", help="folder of videos (DATA_ROOT/video_dev)")
    parser.add_argument(
        "--target",
        help="folder of the copies (DATA_ROOT/video_WIDTHxHEIGHT_dev, of the size made; other commands look into "
        "video_360x180_dev only); needed with --source, and where one side is given and the sizes then differ",
    )
    parser.add_argument("--width", type=int, help=f"pixels ({WIDTH}; from the aspect when only --height is given)")
    parser.add_argument("--height", type=int, help=f"pixels ({HEIGHT}; from the aspect when only --width is given)")
    add_where(parser, also=["--jobs"], what="videos")
    parser.add_argument("--cache", metavar="DIR", help="folder for the copies where --target cannot be written")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    arguments = parser.parse_args(argv)
    cache.use(arguments.cache)
    width, height = arguments.width, arguments.height
    if width is None and height is None:
        width, height = WIDTH, HEIGHT
    for flag, value in (("--width", width), ("--height", height)):
        if value is not None and (value < 2 or value % 2):
            raise InputError(f"{flag} {value}: must be even and at least 2")
    where = where_of(arguments)
    source = Path(arguments.source or Path(arguments.data_root) / "video_dev")
    target = arguments.target
    if target is None:
        if arguments.source:
            raise InputError("--source needs --target")
        size = _size_of_folder(source, width, height)
        target = Path(arguments.data_root) / f"video_{size[0]}x{size[1]}_dev"
    made, skipped, broken = resize_folder(
        source, target, width=width, height=height, where=where, progress=not arguments.quiet
    )
    for error in broken:
        print(f"error: {error}", file=sys.stderr)
    for line in video_remarks(source):
        print(f"{source}: {line}", file=sys.stderr)
    place = target if not arguments.cache and cache.writable(target) else cache.products_folder()
    print(f"{made} videos resized into {place}, {skipped} were there, {len(broken)} failed")
    return 2 if broken else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
