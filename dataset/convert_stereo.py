"""`python -m dataset convert stereo ROOT --out DIR`: clips of the DCASE2025 form out of STARSS23 and its kin.

A clip is five seconds of a recording, seen to one side: audio W + Y', W - Y' of first-order Ambisonics, labels folded
to the front with a flag for what is on the screen, and a camera's picture cut out of the 360-degree video
(`dataset.stereo`). Which five seconds and which side is drawn from the seed: uniform over all of the recordings' time.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from dataset.layouts import LAYOUTS, DataRoot
from dataset.lists import MadeList, write_lists
from dataset.recordings import Labels, Recording, recordings_from_list
from dataset.stereo import CLIP_S, FOV_DEG, HEIGHT, WIDTH, camera_at, stereo_labels, stereo_sound, view_map
from util.audio import RATE_HZ, read_audio, write_audio
from util.camera import Equirectangular
from util.dialects import write_events
from util.download import megabytes
from util.errors import CommonError, InputError
from util.files import read_json, write_json, write_text
from util.parallel import Progress, add_where, advance, each, where_of

if TYPE_CHECKING:
    from util.video import VideoWriter

FRAME_S = 0.1
SETTINGS = "convert.json"
SYNTHETIC_MARKER = "SYNTHETIC.txt"  # the simulator's: in the source, it goes with the clips
LAYOUT = LAYOUTS["stereo2025"]
_CLIP_FRAMES = round(CLIP_S / FRAME_S)
_CLIP_BYTES = {"sound": round(CLIP_S * RATE_HZ) * 4 + 10_000, "video": 600_000}  # about
_PROVENANCE = ("clip", "recording", "start_s", "yaw_deg", "clipped_samples")


@dataclass(frozen=True)
class StereoClip:
    """Five seconds of a recording, looked at from one side.

    Attributes
    ----------
    start : frame of 100 ms
    yaw_deg : azimuth that the camera looks to, 0 to 359, counter-clockwise
    """

    start: int
    yaw_deg: int

    def name(self, recording: str) -> str:
        """Stem of its files."""
        return f"{recording}_deg{self.yaw_deg:03d}_start{self.start:04d}"


@dataclass(frozen=True)
class Job:
    """A recording with the clips that are made of it."""

    recording: Recording
    clips: tuple[StereoClip, ...]


@dataclass(frozen=True)
class Making:
    """What all clips are made with.

    Attributes
    ----------
    out : root of the clips
    video : whether pictures are made
    class_count : of the labels
    """

    out: Path
    video: bool
    class_count: int

    def files(self, job: Job, clip: StereoClip) -> dict[str, Path]:
        """The files of a clip, that of the labels last: where it is, the clip is whole."""
        inner, name = job.recording.folder, clip.name(job.recording.name)
        files = {"stereo": self.out / "stereo_dev" / inner / f"{name}.wav"}
        if self.video and job.recording.video is not None:
            files["video"] = self.out / "video_dev" / inner / f"{name}.mp4"
        return {**files, "metadata": self.out / "metadata_dev" / inner / f"{name}.csv"}

    def __call__(self, job: Job) -> dict[str, int]:
        """Make the clips of a recording that are not there: name -> samples that reach full scale."""
        todo = [clip for clip in job.clips if not all(path.is_file() for path in self.files(job, clip).values())]
        clipped = {}
        advance(len(job.clips) - len(todo))
        table = Labels(self.class_count)(job.recording)
        if len(table) and np.isnan(table.distance_m).any():
            raise InputError("has no distances, which labels of 2025 need", path=job.recording.labels)
        if self.video and job.recording.video is not None:
            self._pictures(job, [clip for clip in todo if not self.files(job, clip)["video"].is_file()])
        for clip in todo:
            files = self.files(job, clip)
            foa = read_audio(
                job.recording.audio,
                start=round(clip.start * FRAME_S * RATE_HZ),
                frames=round(CLIP_S * RATE_HZ),
                rate_hz=RATE_HZ,
                channels=4,
            )
            sound = stereo_sound(foa, clip.yaw_deg)
            clipped[clip.name(job.recording.name)] = int((np.abs(sound) >= 1.0).sum())
            write_audio(files["stereo"], sound, RATE_HZ)
            mine = table[slice(*np.searchsorted(table.frame, (clip.start, clip.start + _CLIP_FRAMES)))]
            mine = mine.replace(frame=mine.frame - clip.start)
            write_events(files["metadata"], stereo_labels(mine, camera_at(clip.yaw_deg)), LAYOUT.dialect)
            advance(1)
        return clipped

    def _pictures(self, job: Job, clips: Sequence[StereoClip]) -> None:
        """Cut the views out of one decode of the video; clips that overlap are written side by side."""
        import cv2  # PyAV and OpenCV, only where there are pictures

        from util.video import VideoWriter, decoded_frames, video_info

        if not clips:
            return
        path = job.recording.video
        assert path is not None
        info = video_info(path)
        sphere = Equirectangular(info.width, info.height)
        if abs(info.width / info.height - 2) > 0.02:
            rule = (
                f"is {info.width}x{info.height}: a picture of all directions is twice as wide as high (or --no-video)"
            )
            raise InputError(rule, path=path)
        waiting = sorted(clips, key=lambda clip: clip.start)
        last_s = max(clip.start for clip in clips) * FRAME_S + CLIP_S
        at_work: list[_View] = []
        with contextlib.ExitStack() as stack:
            for _, time_s, frame in decoded_frames(path):
                for view in at_work:
                    if time_s >= view.clip.start * FRAME_S + CLIP_S - 1e-6:
                        view.close()
                at_work = [view for view in at_work if not view.closed]
                if time_s >= last_s:
                    break
                while waiting and waiting[0].start * FRAME_S <= time_s + 1e-6:
                    clip = waiting.pop(0)
                    film = VideoWriter(self.files(job, clip)["video"], WIDTH, HEIGHT, info.fps, timed=True)
                    at_work.append(_View(clip, film, view_map(sphere, camera_at(clip.yaw_deg))))
                    stack.push(at_work[-1].leave)
                if at_work:
                    picture = frame.to_ndarray(format="bgr24")
                    for view in at_work:
                        seen = cv2.remap(picture, *view.lookup, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
                        view.film.write(seen, max(0.0, time_s - view.clip.start * FRAME_S))
            for view in at_work:
                view.close()
        if waiting:
            rule = f"is shorter than its sound: no picture at {waiting[0].start * FRAME_S:.1f} s"
            raise InputError(rule, path=path)


class _View:
    """The video of a clip while it is written; it gets its name when it is closed, not when something breaks before.

    Parameters
    ----------
    film : writer of the video, not begun yet
    lookup : of `view_map`
    """

    def __init__(self, clip: StereoClip, film: VideoWriter, lookup: tuple[np.ndarray, np.ndarray]):
        self.clip, self.lookup, self.closed = clip, lookup, False
        self.film = film.__enter__()

    def close(self) -> None:
        """End it well."""
        self.closed = True
        self.film.__exit__(None, None, None)

    def leave(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End it in the way that the block around it ends, unless it has ended."""
        if not self.closed:
            self.film.__exit__(kind, error, trace)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `python -m dataset convert stereo`."""
    parser.add_argument(
        "root", metavar="ROOT", help="data root with foa_dev and metadata_dev, and video_dev for pictures"
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="data root of the clips: new, empty, or begun before"
    )
    parser.add_argument(
        "--clips",
        type=int,
        metavar="N",
        help="how many; the challenge has 30,000 [as many as cover the recordings' time once]",
    )
    parser.add_argument("--seed", type=int, default=0, help="draws where clips begin and look to [0]")
    parser.add_argument("--no-video", action="store_true", help="sound and labels only (many times as fast)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_where(parser, what="recordings")


def run(args: argparse.Namespace) -> int:
    """Make the clips, or what an interrupted call left to do.

    Raises
    ------
    InputError : no data root, no Ambisonics with labels, an --out that holds something else, too little disk; clips
        that cannot be made, after all others are
    """
    where = where_of(args)
    root, out = DataRoot(Path(args.root).absolute()), Path(args.out).absolute()  # for workers on other machines
    if "foa" not in root.layout.formats or root.layout.view != "equirectangular":
        raise InputError(f"is of layout {root.layout.name}; clips are made of STARSS23 and its kin", path=root.path)
    if args.clips is not None and args.clips < 1:
        raise InputError(f"--clips must be at least 1, got {args.clips}")
    if out.resolve() == root.path.resolve():
        raise InputError("is the source; --out needs a folder of its own", path=out)
    recordings = _recordings(root)
    jobs = plan(recordings, args.clips, args.seed)
    making = Making(out, not args.no_video, len(root.classes))
    _claim(out, root, args)
    count = sum(len(job.clips) for job in jobs)
    todo = sum(not all(p.is_file() for p in making.files(job, clip).values()) for job in jobs for clip in job.clips)
    films = making.video and any(job.recording.video is not None for job in jobs)
    need = todo * (_CLIP_BYTES["sound"] + (_CLIP_BYTES["video"] if films else 0))
    print(f"{count} clips of {len(jobs)} recordings, {count - todo} are there; about {megabytes(need)} of disk to go")
    if making.video:
        blind = [job.recording.name for job in jobs if job.recording.video is None]
        if blind:
            print(f"{len(blind)} of {len(jobs)} recordings have no video ({blind[0]} first): their clips have none")
    if need > (free := shutil.disk_usage(out).free):
        raise CommonError(f"needs about {megabytes(need)} of disk, {megabytes(free)} are free", path=out)
    _describe(out, root, args)
    amounts = [len(job.clips) for job in jobs]
    progress = Progress("clips", amounts=amounts, shown=not args.quiet)
    outcome = each(making, jobs, where, progress, name=lambda job: job.recording.name)
    clipped = {name: samples for made in outcome.results if made for name, samples in made.items()}
    _provenance(out, making, jobs, clipped)
    loud = [name for name, samples in clipped.items() if samples]
    if loud:
        print(f"{len(loud)} clips reach full scale and are clipped there ({loud[0]} first; provenance.csv counts them)")
    outcome.complete("recordings could not be converted")
    for path in write_lists(DataRoot(out), overwrite=True):
        print(path)
    return 0


def _recordings(root: DataRoot) -> list[Recording]:
    """The labelled Ambisonics of a root that are long enough, with the largest video each.

    Raises
    ------
    InputError : there is none
    """
    found = []
    for audio in root.audio_files("foa"):
        labels = root.layout.labels_of(audio)
        if labels is not None and labels.is_file():
            found.append(audio)
    if not found:
        raise InputError("has no recordings with labels in foa_dev and metadata_dev", path=root.path)
    recordings = recordings_from_list(MadeList(root.path / "list_dataset" / "all.txt", tuple(found)), [root])
    largest = []
    for one in recordings:
        videos = [path for path in reversed(root.layout.videos_of(one.audio)) if path.is_file()]
        largest.append(replace(one, video=videos[0] if videos else None))
    fitting = [one for one in largest if one.duration_s >= CLIP_S]
    if not fitting:
        raise InputError(f"has no recording of {CLIP_S:g} s or more", path=root.path)
    return fitting


def plan(recordings: Sequence[Recording], count: int | None, seed: int) -> list[Job]:
    """Which clips are made of which recording. More clips of one seed are the same and more.

    Parameters
    ----------
    count : None: as many as cover the time of the recordings once
    """
    starts = np.array([int(one.duration_s / FRAME_S + 1e-6) - _CLIP_FRAMES + 1 for one in recordings])
    edges = np.cumsum(starts)
    wanted = count if count is not None else max(1, round(sum(one.duration_s for one in recordings) / CLIP_S))
    if wanted > 360 * int(edges[-1]):
        raise InputError(f"--clips {wanted}: there are only {360 * int(edges[-1])} different ones")
    rng = np.random.default_rng(seed)
    chosen: dict[tuple[int, int, int], None] = {}
    while len(chosen) < wanted:
        at, yaw = int(rng.integers(edges[-1])), int(rng.integers(360))
        number = int(np.searchsorted(edges, at, side="right"))
        chosen[number, at - int(edges[number] - starts[number]), yaw] = None
    by_recording: dict[int, list[StereoClip]] = {}
    for number, start, yaw in chosen:
        by_recording.setdefault(number, []).append(StereoClip(start, yaw))
    return [Job(recordings[number], tuple(clips)) for number, clips in sorted(by_recording.items())]


def _claim(out: Path, root: DataRoot, args: argparse.Namespace) -> None:
    """Make the folder ours, or find that it is."""
    if out.exists() and not out.is_dir():
        raise InputError("is a file; --out needs a folder", path=out)
    asked = {"made_by": "python -m dataset convert stereo", "source": root.name, "seed": args.seed}
    asked["video"] = not args.no_video
    path = out / SETTINGS
    if path.is_file():
        found = read_json(path)
        different = [key for key, value in asked.items() if not isinstance(found, dict) or found.get(key) != value]
        if different:
            rule = f"holds clips made with another {', '.join(different)}; choose another --out, or delete it first"
            raise InputError(rule, path=out)
        return
    if out.is_dir() and (others := sorted(one.name for one in out.iterdir() if not one.name.startswith("."))):
        raise InputError(f"holds something else ({', '.join(others[:3])}); --out must be new or empty", path=out)
    write_json(path, asked)


def _describe(out: Path, root: DataRoot, args: argparse.Namespace) -> None:
    """dataset.json, README.md, classes.txt, and the marker of synthetic data where the source has one."""
    about: dict[str, Any] = {
        "name": f"stereo clips of {root.name}",
        "layout": LAYOUT.name,
        "clip_s": CLIP_S,
        "view": "perspective",
        "synthetic": root.synthetic,
    }
    if not (out / "dataset.json").exists():  # what a user changed in it stays
        write_json(out / "dataset.json", about)
    if not (out / "classes.txt").exists():
        write_text(out / "classes.txt", "".join(f"{name}\n" for name in root.classes))
    if (root.path / SYNTHETIC_MARKER).is_file():
        shutil.copyfile(root.path / SYNTHETIC_MARKER, out / SYNTHETIC_MARKER)
    lines = [
        f"# Stereo clips of {root.name}",
        "",
        f"Made by `python -m dataset convert stereo` with seed {args.seed} out of {root.path.resolve()}.",
        "",
        f"- clips of {CLIP_S:g} s: left W + Y', right W - Y' of Ambisonics turned to the view, 24 kHz, 16 bit",
        f"- video {WIDTH}x{HEIGHT}, horizontal field of view {FOV_DEG:g} degrees"
        if not args.no_video
        else "- no video",
        "- labels: frame (100 ms), class, source, azimuth (degrees from the view, folded to the front), distance (cm), "
        "on screen (1) or not (0)",
        "- names: `RECORDING_degAAA_startFFFF`: AAA is the azimuth of the view, counter-clockwise from 0 to 359, FFFF "
        "the frame of 100 ms of the recording that the clip begins with",
        "- `provenance.csv`: recording, start and view of every clip, and how many samples reach full scale",
        "",
    ]
    write_text(out / "README.md", "\n".join(lines))


def _provenance(out: Path, making: Making, jobs: Sequence[Job], clipped: dict[str, int]) -> None:
    """Write provenance.csv of the clips that are there; what an earlier call counted stays."""
    path, before = out / "provenance.csv", {}
    if path.is_file():
        with open(path, newline="", encoding="utf-8") as file:
            before = {row["clip"]: row.get("clipped_samples", "") for row in csv.DictReader(file)}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_PROVENANCE)
    for job in jobs:
        for clip in job.clips:
            name = clip.name(job.recording.name)
            if making.files(job, clip)["metadata"].is_file():
                samples = clipped.get(name, before.get(name, ""))
                writer.writerow([name, job.recording.audio.name, f"{clip.start * FRAME_S:.1f}", clip.yaw_deg, samples])
    write_text(path, text.getvalue())
