"""-infer: events of recordings that need no labels, as csv, raw output, json, Audacity labels and a page to look at."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dataset.layouts import AUDIO_SUFFIXES, LAYOUTS
from dataset.recordings import Recording
from job.data import FRAMING_FLAGS, check_framing
from job.picture import PlacedBoxes, Placement, boxes_of_video, placed_track, placed_video
from job.sound import channel_matrix, file_reader, open_sound
from output_format.candidates import Candidates
from report.overlay import write_overlay
from report.player import write_player
from report.shown import Shown
from report.tracks import write_audacity_labels, write_events_json
from seld_predictor import Inference, load
from util.arguments import DEFAULTS
from util.arrays import array_named
from util.boxes import BoxTrack
from util.checkpoint import load_checkpoint
from util.dialects import write_events
from util.errors import InputError
from util.events import EventTable
from util.files import write_json, written_whole
from util.runs import newest_run, result_checkpoint

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
ARRAY_OF_FORMAT = {"foa": "foa", "mic": "mic", "bin": "binaural"}
PLAYER_LIMIT_S = 1800.0  # a page with sound and picture of more is too heavy for a browser


@dataclass(frozen=True)
class Item:
    """One recording that the command line names, with the video that belongs to it."""

    audio: Path
    video: Path | None

    @property
    def name(self) -> str:
        """What its files are called."""
        return self.audio.stem


def infer(given: dict[str, Any], command: str) -> int:
    """Predict the recordings given; the exit status is 2 when one of them could not be read, after all others."""
    args = {**DEFAULTS, **given}
    if args["stream"]:
        from job.stream import stream

        return stream(args)
    items = find_items(args["infer"])
    if args["overlay"] and len(items) > 1:
        raise InputError("--overlay renders one recording; python -m report --overlay RAW.npy... renders several")
    inference, checkpoint = open_checkpoint(args)
    job = _Job(inference, args, checkpoint, command)
    broken = 0
    for item in items:
        out = job.out_dir(item, len(items))
        try:
            job.run(item, out)
        except InputError as error:
            if len(items) == 1:
                raise
            broken += 1
            tqdm.write(f"error: {error}", file=sys.stderr)
    if len(items) > 1:
        print(f"{len(items) - broken} of {len(items)} recordings done", flush=True)
    return 2 if broken else 0


def open_checkpoint(args: dict[str, Any]) -> tuple[Inference, Path]:
    """The checkpoint named by -em, ready for recordings; without -em that of the newest run."""
    if args["eval_model"]:
        named = Path(args["eval_model"])
    else:
        roots = args["data_root"] if args["data_root"] != DEFAULTS["data_root"] else sorted(Path().glob("data_*"))
        monitors = [args["monitor_path"]] if args["monitor_path"] else [Path(root) / "model_monitor" for root in roots]
        named = newest_run(map(Path, monitors))
    checkpoint = result_checkpoint(named) if named.is_dir() else named
    array = array_named(ARRAY_OF_FORMAT[args["format"]]) if args["format"] else None
    if array is None and load_checkpoint(checkpoint).get("foreign"):
        print(
            f"{checkpoint}: of another project, which does not say what its channels are; "
            "--format foa, mic or bin says it",
            file=sys.stderr,
        )
    inference = load(
        checkpoint,
        device=args["device"],
        precision="32" if args["precision"] == "auto" else args["precision"],
        array=array,
        threshold_config=args["threshold_config"],
        detector=args["detector"] if args["detector"] != DEFAULTS["detector"] else None,
        batch_size=args["batch_size"],
        workers=args["workers"],
    )
    changed = {name: args[name] for name in FRAMING_FLAGS if args[name] != DEFAULTS[name]}
    check_framing(changed, inference.framing, checkpoint)
    return inference, checkpoint


def find_items(files: Sequence[str]) -> list[Item]:
    """Recordings among files and folders, each with its video.

    One sound and one video file belong together whatever their names; else a video belongs to the sound file of the
    same stem, in the same folder or among the files named; else what the layout of a data root says.

    Raises
    ------
    InputError : no such file, a file of an unknown kind, a video without a sound file, two recordings of one name
    """
    sounds: list[Path] = []
    videos: list[Path] = []
    for path in map(Path, files):
        if path.is_dir():
            inside = sorted(entry for entry in path.rglob("*") if not entry.name.startswith("."))
            found = [entry for entry in inside if entry.suffix.lower() in AUDIO_SUFFIXES]
            if not found:
                raise InputError(f"holds no recording ({', '.join(AUDIO_SUFFIXES)})", path=path)
            sounds += found
        elif not path.exists():
            raise InputError("no such file", path=path)
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            videos.append(path)
        else:
            sounds.append(path)
    if not sounds:
        raise InputError("is a video: give the multichannel sound file too", path=videos[0])
    if len(sounds) == len(videos) == 1:
        return [Item(sounds[0], videos[0])]
    by_stem = {video.stem: video for video in videos}
    seen: dict[str, Path] = {}
    for sound in sounds:
        if sound.stem in seen:
            raise InputError(f"has the name of {seen[sound.stem]}: predict them one after the other", path=sound)
        seen[sound.stem] = sound
    if left := by_stem.keys() - seen.keys():
        raise InputError("belongs to none of the sound files: none has its name", path=by_stem[min(left)])
    return [Item(sound, by_stem.get(sound.stem) or _video_beside(sound)) for sound in sounds]


def _video_beside(sound: Path) -> Path | None:
    beside = [sound.with_suffix(suffix) for suffix in VIDEO_SUFFIXES]
    return next((path for path in [*beside, *LAYOUTS["starss23"].videos_of(sound)] if path.is_file()), None)


@dataclass(frozen=True)
class Result:
    """What was predicted of a recording; the raw output is in its file."""

    recording: Recording
    candidates: Candidates
    events: EventTable
    raw: Path


class _Job:
    """Recordings one after the other, each into a folder of its own."""

    def __init__(self, inference: Inference, args: dict[str, Any], checkpoint: Path, command: str):
        self.inference, self.args, self.checkpoint, self.command = inference, args, checkpoint, command
        self.matrix = channel_matrix(inference.model.array, args["channel_order"], args["norm"])
        self.placement = Placement(args["video_yaw_deg"], args["video_offset_s"])
        self._said = False

    def out_dir(self, item: Item, count: int) -> Path:
        """Folder of a recording's files: --out (below it where there are several), else NAME_seld here."""
        if self.args["out"] is None:
            return Path(f"{item.name}_seld")
        return Path(self.args["out"]) / item.name if count > 1 else Path(self.args["out"])

    def run(self, item: Item, out: Path) -> None:
        """Predict one recording and write all that is made of it.

        Raises
        ------
        InputError : it cannot be predicted; or its video cannot be shown, after everything else is written
        """
        recording = open_sound(item.audio, self.inference.model.array, self.inference.rate_hz)
        video = self._video(item)
        _make_folder(out)
        track = None
        if video is not None and self.inference.model.visual:
            times_s = self.inference.window_times_s(recording.samples)
            track = boxes_of_video(video, self.inference.detector, times_s, self.placement, out)
        result = self.predict(recording, track, out / f"{item.name}.npy")
        if trouble := self._write(result, video, track, out):
            raise trouble

    def _video(self, item: Item) -> Path | None:
        """The video to use; an audio-visual system that has none says once that its boxes are empty."""
        if self.args["no_video"]:
            return None
        if item.video is None and self.inference.model.visual and not self._said:
            self._said = True
            print(
                f"{item.audio}: no video: the audio-visual system runs with empty boxes (--no-video: on purpose)",
                file=sys.stderr,
            )
        return item.video

    def predict(self, recording: Recording, track: BoxTrack | None, raw: Path) -> Result:
        """Predict a recording; the raw output goes to its file block by block."""
        inference = self.inference
        boxes = None if track is None else PlacedBoxes(track, self.placement)
        parts: list[Candidates] = []
        blocks = inference.blocks(recording, boxes=boxes, read=file_reader(self.matrix))
        frames = inference.frame_count(recording.samples)
        with (
            _raw_file(raw, frames) as write,
            tqdm(total=round(recording.duration_s), desc=recording.name, unit="s", leave=False) as progress,
        ):
            for first, block in blocks:
                write(first, block)
                parts.append(inference.candidates(block))
                progress.update(round(min(first + block.shape[-1], frames) * progress.total / frames) - progress.n)
        candidates = _joined(parts)
        return Result(recording, candidates, inference.events(candidates), raw)

    def description(self, recording: Recording, video: Path | None, track: BoxTrack | None) -> dict[str, Any]:
        """What is written beside the raw output, as evaluation does."""
        model = self.inference.model
        return {
            "system": model.system.name,
            **model.output_format.description(),
            "classes": list(model.classes),
            "thresholds": list(self.inference.thresholds.presence),
            "unification_deg": self.inference.thresholds.unification_deg,
            "array": model.array.to_dict(),
            "detector": self.inference.detector if track is not None else None,
            "boxes": ("empty" if track is None else "own") if model.visual else None,
            "checkpoint": str(self.checkpoint),
            "command": self.command,
            "recording": str(recording.audio.resolve()),
            "video": None if video is None else str(video.resolve()),
            "labels": None,
            "duration_s": recording.duration_s,
            "channel_order": self.args["channel_order"],
            "norm": self.args["norm"],
            "video_yaw_deg": self.placement.yaw_deg,
            "video_offset_s": self.placement.offset_s,
        }

    def _write(self, result: Result, video: Path | None, track: BoxTrack | None, out: Path) -> InputError | None:
        """Write everything about a result; what could not be shown is left out, and why is returned."""
        recording, classes, name = result.recording, self.inference.model.classes, result.recording.name
        write_json(out / f"{name}.json", self.description(recording, video, track))
        write_events(out / f"{name}.csv", result.events, "dcase2023")
        about = {"checkpoint": str(self.checkpoint), "duration_s": round(recording.duration_s, 4)}
        write_events_json(out / "events.json", result.events, classes, recording=str(recording.audio), **about)
        write_audacity_labels(out / "audacity_labels.txt", result.events, classes)
        lines = [
            ("csv", f"{name}.csv"),
            ("events", "events.json"),
            ("Audacity", "audacity_labels.txt"),
            ("raw", f"{name}.npy"),
        ]
        with tempfile.TemporaryDirectory() as folder:
            shown, trouble = Shown(recording.audio, video, track, self.matrix), None
            if video is not None and self.placement != Placement() and self._shows(recording):
                try:
                    video = placed_video(video, self.placement, recording.duration_s, Path(folder) / "placed.mp4")
                    track = None if track is None else placed_track(track, self.placement)
                    shown = replace(shown, video=video, boxes=track)
                except InputError as error:
                    shown, trouble = replace(shown, video=None, boxes=None), error
            if self.args["overlay"]:
                shown, problem = _without_what_breaks(
                    shown, lambda one: self._write_overlay(result, one, Path(self.args["overlay"]))
                )
                trouble = trouble or problem
                lines.append(("overlay", self.args["overlay"]))
            (out / "player.html").unlink(missing_ok=True)
            if self._has_player(recording):
                _, problem = _without_what_breaks(
                    shown, lambda one: self._write_player(result, one, out / "player.html")
                )
                trouble = trouble or problem
                lines.append(("player", "player.html"))
            elif self.args["player"] != "never":
                why = f"longer than {PLAYER_LIMIT_S / 60:.0f} min (--player always makes it all the same)"
                lines.append(("no player", why))
        frames = len(np.unique(result.events.frame))
        tqdm.write(f"{recording.audio}: {len(result.events)} rows in {frames} frames of {recording.duration_s:.1f} s")
        for what, file in lines:
            tqdm.write(f"  {what:10s}{file if what in ('overlay', 'no player') else out / file}")
        return trouble

    def _has_player(self, recording: Recording) -> bool:
        wanted = self.args["player"]
        return wanted != "never" and (wanted != "auto" or recording.duration_s <= PLAYER_LIMIT_S)

    def _shows(self, recording: Recording) -> bool:
        return bool(self.args["overlay"]) or self._has_player(recording)

    def _write_player(self, result: Result, shown: Shown, path: Path) -> None:
        recording, model = result.recording, self.inference.model
        write_player(
            path,
            candidates=result.candidates,
            thresholds=self.inference.thresholds.presence,
            unification_deg=self.inference.thresholds.unification_deg,
            classes=model.classes,
            title=recording.name,
            subtitle=f"{model.system.title}, {model.array.name} audio",
            audio=shown.audio,
            video=shown.video,
            boxes=shown.boxes,
            array=model.array,
            matrix=shown.matrix,
            duration_s=recording.duration_s,
            details={"recording": recording.audio, "checkpoint": self.checkpoint, "command": self.command},
        )

    def _write_overlay(self, result: Result, shown: Shown, path: Path) -> None:
        write_overlay(
            path,
            estimated=result.events,
            classes=self.inference.model.classes,
            audio=shown.audio,
            video=shown.video,
            boxes=shown.boxes,
            array=self.inference.model.array,
            matrix=shown.matrix,
            duration_s=result.recording.duration_s,
            title=result.recording.name,
        )


def _without_what_breaks(shown: Shown, write: Callable[[Shown], None]) -> tuple[Shown, InputError | None]:
    """Write something: with everything, else without the picture, else without the sound too; what was used, and why.

    Raises
    ------
    InputError : nothing can be written
    """
    try:
        write(shown)
        return shown, None
    except InputError as error:
        trouble = error
    silent = replace(shown, audio=None, video=None, boxes=None)
    for less in [replace(silent, audio=shown.audio), silent] if shown.video is not None else [silent]:
        try:
            write(less)
            return less, trouble
        except InputError:
            continue
    raise trouble


@contextmanager
def _raw_file(path: Path, frames: int) -> Iterator[Any]:
    """Give write(first frame, raw block) for a raw output of `frames` frames; renamed to `path` when all is written."""
    made = False
    with written_whole(path) as temporary:

        def write(first: int, block: np.ndarray) -> None:
            nonlocal made
            if not made:
                shape = (*block.shape[:-1], frames)
                np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape).flush()
                if hasattr(os, "posix_fallocate"):  # a full disk is an error now, not a signal when a page is written
                    with open(temporary, "r+b") as file:
                        os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
                made = True
            # mapped anew for every block, so that what has been written does not count as our memory
            mapped = np.lib.format.open_memmap(temporary, mode="r+")
            mapped[..., first : first + block.shape[-1]] = block
            mapped.flush()

        yield write


def _joined(parts: Sequence[Candidates]) -> Candidates:
    """Candidates of successive blocks as one."""

    def joined(name: str) -> np.ndarray | None:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else np.concatenate(arrays)

    names = ("activity", "azimuth_deg", "elevation_deg", "distance_m", "onscreen")
    return Candidates(**{name: joined(name) for name in names}, frame_s=parts[0].frame_s)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made ({error.strerror})", path=path) from error
