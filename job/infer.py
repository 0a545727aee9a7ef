"""-infer: events of recordings that need no labels, as csv, raw output, json, Audacity labels and a page to look at."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dataset.recordings import Recording
from doctor.levels import gain_to_level_db
from job.directions import check_directions_flags, directions
from job.health import health, listen
from job.inputs import Opened, SoundAndFilm, find_items, inference_arguments
from job.outcome import Ended, Outcome, make_folder, out_dir, write_outcome
from job.seen import Seen, seen_in_video
from job.sound import file_reader, open_sound, wanted
from job.stream import stream
from output_format.candidates import Candidates
from output_format.contract import dialect_for
from seld_predictor import Inference
from util.audio import audio_info, say_of_file
from util.channels import Channels, channels_of, with_gain
from util.errors import InputError
from util.events import EventTable
from util.files import written_whole
from util.find import VIDEO_SUFFIXES
from util.job_arguments import Arguments
from util.parallel import Opens, Progress, each
from util.placement import Placement


def infer(given: dict[str, Any], command: str) -> int:
    """Predict the recordings given; the exit status is 2 when one of them could not be read, after all others."""
    args = inference_arguments(given)
    if args.directions:
        return directions(args, given, command)
    check_directions_flags(given)
    if args.stream:
        return stream(args, given)
    if args.cluster is not None:  # its workers have other working directories
        args = args.changed(infer=[os.path.abspath(one) for one in args.infer])
    inputs = find_items(args.infer)
    items = inputs.items
    if args.overlay and len(items) > 1:
        raise InputError("--overlay renders one recording; python -m report --overlay RAW.npy... renders several")
    opened = Opened.of(args, given)
    where = opened.where
    job = InferOne(opened, command, len(items) > 1 and not where.here)
    broken: list[InputError] = []

    def done(item: tuple[SoundAndFilm, Path], ended: Ended) -> None:
        for line in ended.lines:
            tqdm.write(line)
        broken.extend([ended.trouble] if ended.trouble else [])

    progress = Progress("predicting", shown=job.quiet)
    folders = [out_dir(args, item, len(items)) for item in items]
    sent = [(item, folder.absolute() if args.cluster else folder) for item, folder in zip(items, folders)]
    outcome = each(job, sent, where, progress, name=lambda one: str(one[0].audio), done=done)
    broken += [error for _, error in outcome.broken]
    if len(items) == 1 and broken:
        raise broken[0]
    for error in broken:
        tqdm.write(f"error: {error}", file=sys.stderr)
    if len(items) > 1:
        print(f"{len(items) - len(broken)} of {len(items)} recordings done", flush=True)
    for line in inputs.left_out:
        print(line, file=sys.stderr)
    return 2 if broken else 0


@dataclass(frozen=True)
class InferOne(Opens):
    """Predicts one recording, anywhere.

    Attributes
    ----------
    quiet : no bar for each recording
    """

    opened: Opened
    command: str
    quiet: bool

    @cached_property
    def _job(self) -> _Job:
        opened = self.opened
        return _Job(opened.inference, opened.args, opened.checkpoint, self.command, self.quiet)

    def __call__(self, item: tuple[SoundAndFilm, Path]) -> Ended:
        """Predict and write: (recording, folder of its files)."""
        return self._job.run(*item)


@dataclass(frozen=True)
class Inferred:
    """What was predicted of a recording, and whether a picture was looked at; the raw output is in its file."""

    recording: Recording
    channels: Channels
    candidates: Candidates
    events: EventTable
    raw: Path
    looked: bool = False


class _Job:
    """Recordings one after the other, each into a folder of its own."""

    def __init__(self, inference: Inference, args: Arguments, checkpoint: Path, command: str, quiet: bool):
        self.inference, self.args, self.checkpoint, self.command = inference, args, checkpoint, command
        self.quiet = quiet
        self.wanted = wanted(args)
        self.placement = Placement(args.video_yaw_deg, args.video_offset_s)
        self._said = False

    def run(self, item: SoundAndFilm, out: Path) -> Ended:
        """Predict one recording and write all that is made of it.

        Raises
        ------
        InputError : it cannot be predicted
        """
        recording = open_sound(item.audio, self.inference.model.array)
        channels = channels_of(audio_info(item.audio), self.inference.model.array, self.wanted)
        for line in channels.said:
            say_of_file(item.audio, line)
        heard = listen(item.audio, self.inference.model.array, channels)
        gain_db = gain_to_level_db(heard[0].level_dbfs, self.inference.level_dbfs, self.args.gain_db)
        channels = with_gain(channels, self.inference.model.array, gain_db)
        video = self._video(item)
        make_folder(out)
        seen = None
        if video is not None and self.inference.model.visual:
            times_s = self.inference.look_times_s(recording)
            seen = self._seen(video, times_s, out)
        track = None if seen is None else seen.boxes
        result = self.predict(recording, channels, seen, out / f"{item.name}.npy")
        line = health(recording, video, heard, self.inference.level_dbfs, gain_db)
        return write_outcome(self.outcome(result, video, line), self.args, self.placement, video, track, out)

    def _video(self, item: SoundAndFilm) -> Path | None:
        """The video to use; an audio-visual system that has none says once that its boxes are empty."""
        if self.args.no_video:
            return None
        if item.video is None and self.inference.model.visual and not self._said:
            self._said = True
            print(
                f"{item.audio}: no video: the audio-visual system runs with empty boxes (--no-video: on purpose)",
                file=sys.stderr,
            )
        return item.video

    def _seen(self, video: Path, times_s: np.ndarray, out: Path) -> Seen:
        """What is seen in the video that the user gave; nothing in place of a broken video would be another system."""
        try:
            return seen_in_video(self.inference, video, times_s, self.placement, out)
        except InputError as error:
            if error.path is None or Path(error.path).suffix.lower() not in VIDEO_SUFFIXES:
                raise
            rule = f"{error.rule}; its recording was not predicted (--no-video predicts it from the sound alone)"
            raise InputError(rule, path=error.path, place=error.place) from None

    def predict(self, recording: Recording, channels: Channels, seen: Seen | None, raw: Path) -> Inferred:
        """Predict a recording; the raw output goes to its file block by block."""
        inference = self.inference
        collected = _Collected(inference.label_frames(recording))
        visual = None if seen is None else seen.visual
        blocks = inference.blocks(recording, visual=visual, read=file_reader(channels.matrix))
        frames = inference.frame_count(recording)
        with (
            _raw_file(raw, frames) as write,
            tqdm(
                total=round(recording.duration_s), desc=recording.name, unit="s", leave=False, disable=self.quiet
            ) as progress,
        ):
            for first, block in blocks:
                write(first, block)
                collected.add(inference.candidates(block, first))
                progress.update(round(min(first + block.shape[-1], frames) * progress.total / frames) - progress.n)
        candidates = collected.candidates()
        return Inferred(recording, channels, candidates, inference.events(candidates), raw, looked=seen is not None)

    def description(self, result: Inferred, video: Path | None) -> dict[str, Any]:
        """What is written beside the raw output, as evaluation does."""
        model, recording, channels = self.inference.model, result.recording, result.channels
        return {
            "system": model.system.name,
            **model.output_format.description(),
            "label_frame_s": self.inference.label_frame_s,
            "classes": list(model.classes),
            "thresholds": list(self.inference.thresholds.presence),
            "unification_deg": self.inference.thresholds.unification_deg,
            "array": model.array.to_dict(),
            "detector": self.inference.detector if result.looked else None,
            "boxes": ("own" if result.looked else "empty") if model.visual else None,
            "points_at": list(model.points_at),
            "checkpoint": str(self.checkpoint),
            "command": self.command,
            "recording": str(recording.audio.resolve()),
            "video": None if video is None else str(video.resolve()),
            "labels": None,
            "duration_s": recording.duration_s,
            "channel_order": channels.order,
            "norm": channels.norm,
            "channel_matrix": None if channels.matrix is None else channels.matrix.tolist(),
            "video_yaw_deg": self.placement.yaw_deg,
            "video_offset_s": self.placement.offset_s,
        }

    def outcome(self, result: Inferred, video: Path | None, health_line: str) -> Outcome:
        """What is written of a result."""
        inference, model, recording = self.inference, self.inference.model, result.recording
        return Outcome(
            recording=recording,
            events=result.events,
            candidates=result.candidates,
            thresholds=inference.thresholds.presence,
            unification_deg=inference.thresholds.unification_deg,
            classes=inference.shown_classes,
            dialect=dialect_for(model.output_format),
            subtitle=f"{model.system.title}, {model.array.name} audio",
            array=model.array,
            matrix=result.channels.matrix,
            description=self.description(result, video),
            about={"checkpoint": str(self.checkpoint), "duration_s": round(recording.duration_s, 4)},
            details={"recording": recording.audio, "checkpoint": self.checkpoint, "command": self.command},
            remarks=[("health", health_line)],
            raw=result.raw,
        )


@contextmanager
def _raw_file(path: Path, frames: int) -> Iterator[Any]:
    """Give write(first frame, raw block) for a raw output of at most `frames` frames; renamed when all is written."""
    made, written = False, 0
    with written_whole(path) as temporary:

        def write(first: int, block: np.ndarray) -> None:
            nonlocal made, written
            if not made:
                shape = (*block.shape[:-1], frames)
                np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape).flush()
                if hasattr(os, "posix_fallocate"):  # a full disk is an error now, not a signal when a page is written
                    with open(temporary, "r+b") as file:
                        os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
                made = True
            # mapped anew for every block, so that what has been written does not count as our memory
            mapped = np.lib.format.open_memmap(temporary, mode="r+")
            written = first + block.shape[-1]
            mapped[..., first:written] = block
            mapped.flush()

        yield write
        if written < frames:  # a network that gives whole blocks of frames leaves the last ones out
            whole = np.load(temporary)[..., :written]
            with open(temporary, "wb") as file:
                np.save(file, whole)


class _Collected:
    """Candidates of successive blocks, in arrays of the whole recording.

    Small arrays that stay, between large ones that come and go, leave holes in memory: 500 MB an hour (measured).
    """

    NAMES = ("activity", "azimuth_deg", "elevation_deg", "distance_m", "onscreen", "vector")

    def __init__(self, frames: int):
        self._frames, self._filled, self._frame_s = frames, 0, 0.1
        self._arrays: dict[str, np.ndarray] = {}

    def add(self, part: Candidates) -> None:
        """Take the candidates of the next block."""
        end = self._filled + len(part.activity)
        for name in self.NAMES:
            if (values := getattr(part, name)) is None:
                continue
            whole = self._arrays.get(name)
            if whole is None or end > len(whole):
                grown = np.zeros((max(self._frames, end), *values.shape[1:]), dtype=values.dtype)
                grown[: self._filled] = 0 if whole is None else whole[: self._filled]
                whole = self._arrays[name] = grown
            whole[self._filled : end] = values
        self._filled, self._frame_s = end, part.frame_s

    def candidates(self) -> Candidates:
        """All that was taken."""
        return Candidates(
            **{name: whole[: self._filled] for name, whole in self._arrays.items()}, frame_s=self._frame_s
        )
