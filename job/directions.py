"""-infer --directions: the strongest sources of a recording, without a model: csv, json, Audacity labels and a page."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import soxr
from tqdm import tqdm

from dataset.layouts import layout_of_file
from dataset.recordings import Recording, recording_of_file
from job.health import health, listen
from job.inputs import SoundAndFilm, find_items
from job.outcome import Outcome, make_folder, out_dir, write_outcome
from job.people import People
from job.sound import wanted
from job.stream import DIALECT, file_blocks, one_thread, piped
from localization.localizer import FRAME_S, RATE_HZ, Localizer
from localization.tracking import Point, TrackingSettings
from output_format.candidates import Candidates
from report.tracks import LinkedEvent
from util.angles import degrees_from_direction
from util.array_file import read_array
from util.audio import AudioInfo, audio_info, read_audio, say_of_file
from util.boxes import BoxTrack
from util.channels import Channels, channels_of, with_gain
from util.dialects import dialect_named, format_events
from util.errors import InputError
from util.events import EventTable
from util.files import written_whole
from util.flags import FLAGS
from util.job_arguments import Arguments
from util.microphone_arrays import ARRAYS, Array, array_of_flag
from util.placement import Placement

SOURCES = 3
_BLOCK_S = 10
_OWN_FLAGS = ("sources", "array")
# what has no meaning without a model
_OF_MODELS = ("eval_model", "threshold_config", "gain_db", "latency_s", "views", "overlap")
_SHOWN_FROM = 0.02  # threshold of the player: everything, until the user moves it


def check_directions_flags(given: Mapping[str, Any]) -> None:
    """Refuse flags that have a meaning with --directions alone.

    Raises
    ------
    InputError : one is given
    """
    if name := next((name for name in _OWN_FLAGS if name in given), None):
        raise InputError(f"{FLAGS[name].option} is for -infer --directions; with a model the checkpoint knows")


def directions(args: Arguments, given: Mapping[str, Any], command: str) -> int:
    """Localize the recordings given; the exit status is 2 when one of them could not be read, after all others."""
    if name := next((name for name in _OF_MODELS if name in given), None):
        raise InputError(f"--directions takes no model, so {FLAGS[name].option} has no meaning")
    if args.array is not None and args.format is not None:
        raise InputError("--array and --format both say what the channels are: give one of them")
    if args.stream:
        return _stream(args)
    inputs = find_items(args.infer)
    if args.overlay and len(inputs.items) > 1:
        raise InputError("--overlay renders one recording; give them one after the other")
    broken = 0
    for item in inputs.items:
        try:
            _localize(item, args, given, command, out_dir(args, item, len(inputs.items)))
        except InputError as error:
            if len(inputs.items) == 1:
                raise
            broken += 1
            tqdm.write(f"error: {error}", file=sys.stderr)
    if len(inputs.items) > 1:
        print(f"{len(inputs.items) - broken} of {len(inputs.items)} recordings done", flush=True)
    for line in inputs.left_out:
        print(line, file=sys.stderr)
    return 2 if broken else 0


def array_of(path: Path, info: AudioInfo, args: Arguments) -> tuple[Array, str]:
    """What a recording's channels are, and what the user should know of that ("").

    Of the flags, else of its folder (foa_dev), else of its header; four channels that say nothing are Ambisonics.

    Raises
    ------
    InputError : nothing says it; or it is known and has no directions
    """
    if args.array is not None:
        array, told = read_array(Path(args.array)), ""
    elif (named := array_of_flag(args.format)) is not None:
        array, told = named, ""
    elif (place := layout_of_file(path.resolve()).folder_of(path.resolve())) is not None and place[0] in ARRAYS:
        array, told = ARRAYS[place[0]], ""
    else:
        array, told = _guessed(path, info, args)
    if array.channels < 2:
        raise InputError("is mono: a direction takes two or more channels", path=path)
    if array.kind == "cardioids":
        rule = "is stereo of two cardioids, which has levels and no delays: --directions has no method for it"
        raise InputError(rule, path=path)
    if array.kind == "capsules" and args.channels_used is None and info.channels != array.channels:
        rule = f"has {info.channels} channels, the array {array.name} has {array.channels} capsules"
        raise InputError(f"{rule} (--channels-used takes some, as 1-{array.channels})", path=path)
    return array, told


def _guessed(path: Path, info: AudioInfo, args: Arguments) -> tuple[Array, str]:
    """The array of a file of which nothing but its header and channels is known."""
    said = info.ambisonics or args.a_format or args.channel_order or args.norm
    count = len(args.channels_used or ()) or info.channels
    degree = round(count**0.5) - 1
    if said or (degree >= 1 and (degree + 1) ** 2 == count):
        told = "" if said else f"{count} channels taken for Ambisonics, ACN order and SN3D"
        return ARRAYS["foa"], told and f"{told} (--channel-order, --norm, --format mic or --array FILE say otherwise)"
    if count == 1:
        raise InputError("is mono: a direction takes two or more channels", path=path)
    if count == 2:
        rule = (
            "has two channels and does not say of what: --format bin for a binaural head, --array FILE for two "
            "microphones (either gives the side, not front from back); stereo made for loudspeakers has no directions"
        )
    else:
        rule = f"has {count} channels and nothing says where its capsules are: --array FILE (csv: x_m,y_m,z_m)"
    raise InputError(rule, path=path)


def _localize(item: SoundAndFilm, args: Arguments, given: Mapping[str, Any], command: str, out: Path) -> None:
    """Localize one recording and write all that is made of it.

    Raises
    ------
    InputError : it cannot be read; or its video cannot be shown, after everything else is written
    """
    info = audio_info(item.audio)
    array, told = array_of(item.audio, info, args)
    channels = channels_of(info, array, wanted(args))
    recording = recording_of_file(item.audio, array=array, as_it_is=True)
    localizer = Localizer(array, args.sources or SOURCES)
    for line in (told, *channels.said, localizer.cannot_tell):
        if line:
            say_of_file(item.audio, line)
    heard = listen(item.audio, array, channels)
    make_folder(out)
    with tqdm(total=round(recording.duration_s), desc=recording.name, unit="s", leave=False) as progress:
        rows: list[list[Point]] = []
        for block in _blocks(recording, channels):
            rows += localizer.feed(block)
            progress.update(round(block.shape[1] / RATE_HZ))
        rows += localizer.finish()
    lanes = Lanes(localizer.most)
    table = EventTable.concatenate([lanes.table(frame, points) for frame, points in enumerate(rows)])
    video = None if args.no_video else item.video
    placement = Placement(args.video_yaw_deg, args.video_offset_s)
    boxes, people = None, None
    if video is not None:
        boxes, remark = _boxes(video, recording, placement, args, given, out)
        people = None if boxes is None else People.of(boxes, placement, len(rows), FRAME_S)
        if remark:
            say_of_file(video, remark)
    linked = linked_by_track(table)
    named = [None if people is None else people.nearest(table[event.rows]) for event in linked]
    classes = [f"source {number + 1}" for number in range(localizer.most)]
    method = "band covariances" if array.kind == "ambisonics" else "SRP-PHAT"
    description = {
        "method": f"{method}, mixture of directions, Kalman tracks; no model",
        "sources": localizer.most,
        "tracking": asdict(TrackingSettings()),
        "latency_s": round(localizer.latency_s, 3),
        "label_frame_s": FRAME_S,
        "classes": classes,
        "array": array.to_dict(),
        "cannot_tell": localizer.cannot_tell or None,
        "detector": None if boxes is None else args.detector,
        "command": command,
        "recording": str(recording.audio.resolve()),
        "video": None if video is None else str(video.resolve()),
        "duration_s": recording.duration_s,
        "channel_order": channels.order,
        "norm": channels.norm,
        "channel_matrix": None if channels.matrix is None else channels.matrix.tolist(),
        "video_yaw_deg": placement.yaw_deg,
        "video_offset_s": placement.offset_s,
    }
    remarks = [("health", health(recording, video, heard, None, 0.0)), ("tracks", _summary(linked))]
    outcome = Outcome(
        recording=recording,
        events=table,
        candidates=candidates_of(table, len(rows), localizer.most),
        thresholds=_SHOWN_FROM,
        unification_deg=0.0,
        classes=classes,
        dialect=DIALECT,
        subtitle=f"directions without a model, {array.name} audio",
        array=array,
        matrix=channels.matrix,
        description=description,
        about={"method": description["method"], "duration_s": round(recording.duration_s, 4)},
        details={"recording": recording.audio, "method": description["method"], "command": command},
        remarks=remarks,
        linked=linked,
        extra=[{"person": one} for one in named] if people is not None else [],
        names=[
            classes[event.class_index] + ("" if person is None else f" = {person['name']}")
            for event, person in zip(linked, named)
        ],
    )
    ended = write_outcome(outcome, args, placement, video, boxes, out)
    for line in ended.lines:
        tqdm.write(line)
    if ended.trouble is not None:
        raise ended.trouble


def _blocks(recording: Recording, channels: Channels) -> Iterator[np.ndarray]:
    """Channels of the array at 24 kHz, ten seconds at a time."""
    total = audio_info(recording.audio).frames_at(RATE_HZ)
    for start in range(0, total, _BLOCK_S * RATE_HZ):
        block = read_audio(
            recording.audio, start=start, frames=min(_BLOCK_S * RATE_HZ, total - start), rate_hz=RATE_HZ
        )  # fmt: skip
        yield block if channels.matrix is None else channels.matrix @ block


def _boxes(
    video: Path, recording: Recording, placement: Placement, args: Arguments, given: Mapping[str, Any], out: Path
) -> tuple[BoxTrack | None, str]:
    """Boxes of people in the video; where the detector cannot be had, none and why: the directions stand all the same.

    Raises
    ------
    InputError : the user named the detector, and it cannot be used
    """
    from detection.detector import Detector  # onnxruntime, only where there are pictures
    from job.picture import boxes_of_video

    try:
        opened = Detector(args.detector, person_class=args.person_class, size=args.detector_size)
        times_s = np.arange(0, recording.duration_s, 2 * FRAME_S)
        return boxes_of_video(video, opened, times_s, placement, out), ""
    except InputError as error:
        if "detector" in given:
            raise
        return None, f"people are not named: {error.rule} (--detector builtin needs no download)"


class Lanes:
    """Which of the N sources at a time a track is: the lowest that is free when it begins, until it ends."""

    def __init__(self, count: int):
        self.count = count
        self._of: dict[int, int] = {}

    def table(self, frame: int, points: list[Point]) -> EventTable:
        """Rows of a frame: class is the lane, source the track."""
        there = {point.track for point in points}
        self._of = {track: lane for track, lane in self._of.items() if track in there}
        for point in points:
            if point.track not in self._of:
                free = set(range(self.count)) - set(self._of.values())
                self._of[point.track] = min(free)
        points = sorted(points, key=lambda point: self._of[point.track])
        direction = np.array([point.direction for point in points]).reshape(-1, 3)
        azimuth_deg, elevation_deg = degrees_from_direction(direction)
        return EventTable.make(
            frame=np.full(len(points), frame),
            class_index=[self._of[point.track] for point in points],
            source=[point.track for point in points],
            azimuth_deg=azimuth_deg,
            elevation_deg=elevation_deg,
            activity=[point.confidence for point in points],
            frame_s=FRAME_S,
        )


def linked_by_track(table: EventTable) -> list[LinkedEvent]:
    """Rows of one track, on one lane, in frames behind each other, as events, ordered by start."""
    if not len(table):
        return []
    order = np.lexsort((table.frame, table.class_index, table.source))
    source, lane, frame = table.source[order], table.class_index[order], table.frame[order]
    new = np.flatnonzero((np.diff(source) != 0) | (np.diff(lane) != 0) | (np.diff(frame) != 1)) + 1
    events = []
    for rows in np.split(order, new):
        start_s = round(float(table.frame[rows[0]]) * table.frame_s, 6)
        end_s = round(float(table.frame[rows[-1]] + 1) * table.frame_s, 6)
        events.append(LinkedEvent(int(table.class_index[rows[0]]), start_s, end_s, int(table.source[rows[0]]), rows))
    return sorted(events, key=lambda event: (event.start_s, event.track))


def candidates_of(table: EventTable, frames: int, lanes: int) -> Candidates:
    """The table as the player takes it: one class a lane, one track."""
    values = {
        name: np.zeros((max(frames, 1), lanes, 1)) for name in ("activity", "azimuth_deg", "elevation_deg")
    }  # fmt: skip
    for name, column in values.items():
        column[table.frame, table.class_index, 0] = getattr(table, name)
    return Candidates(**values, frame_s=table.frame_s)


def _summary(linked: list[LinkedEvent]) -> str:
    """How many tracks there are, and how long."""
    if not linked:
        return "none: no direction stands out (silence, or sound from everywhere)"
    lengths = [event.end_s - event.start_s for event in linked]
    return f"{len({event.track for event in linked})}, {sum(lengths):.1f} s in all, the longest {max(lengths):.1f} s"


def _stream(args: Arguments) -> int:
    """Print the rows of a recording (or of standard input) as they come; the exit status."""
    if args.overlay or args.player == "always":
        raise InputError("--stream prints rows only: run without it for a player or an overlay")
    if args.infer == ["-"]:
        array = read_array(Path(args.array)) if args.array else array_of_flag(args.format) or ARRAYS["foa"]
        name, path = "stream", Path("standard input")
        rate_hz, channels, blocks = piped(args, array, RATE_HZ)
    else:
        if args.stream_format or args.channels or args.rate:
            raise InputError("--stream-format, --channels and --rate are for standard input: -infer - --stream")
        items = find_items(args.infer).items
        if len(items) > 1:
            raise InputError(f"--stream takes one recording at a time, found {len(items)}")
        name, path = items[0].name, items[0].audio
        info = audio_info(path)
        array, told = array_of(path, info, args)
        channels = channels_of(info, array, wanted(args))
        for line in filter(None, (told, *channels.said)):
            say_of_file(path, line)
        rate_hz, blocks = info.rate_hz, file_blocks(path, info.rate_hz)
    channels = with_gain(channels, array, 0.0)
    localizer, lanes = Localizer(array, args.sources or SOURCES), Lanes(args.sources or SOURCES)
    if localizer.cannot_tell:
        say_of_file(path, localizer.cannot_tell)
    dialect, frame, heard_s, busy_s, start = dialect_named(DIALECT), 0, 0.0, 0.0, time.perf_counter()
    with ExitStack() as stack:
        stack.enter_context(one_thread())
        outputs: list[TextIO] = [sys.stdout]
        if args.out is not None:
            temporary = stack.enter_context(written_whole(Path(args.out) / f"{name}.csv"))
            outputs.append(stack.enter_context(open(temporary, "w", encoding="utf-8", newline="")))
        for samples, rows in _rows_of(localizer, blocks, channels.matrix, rate_hz):
            heard_s += samples / rate_hz
            for points in rows:
                if points:
                    text = format_events(lanes.table(frame, points), dialect)
                    for output in outputs:
                        output.write(text)
                        output.flush()
                frame += 1
        busy_s = time.perf_counter() - start
    print(
        f"{heard_s:.1f} s heard in {busy_s:.1f} s\n"
        f"latency: a row comes at most {localizer.latency_s:.2f} s after the end of its frame, plus the computing",
        file=sys.stderr,
    )
    return 0


def _rows_of(
    localizer: Localizer, blocks: Iterable[np.ndarray], matrix: np.ndarray | None, rate_hz: int
) -> Iterator[tuple[int, list[list[Point]]]]:
    """(samples that came in, rows that they complete), block by block."""
    count = localizer.array.channels
    resampler = None if rate_hz == RATE_HZ else soxr.ResampleStream(rate_hz, RATE_HZ, count, dtype="float32")
    for block in blocks:
        if not np.isfinite(block).all():
            raise InputError("samples are NaN or infinite")
        ours = block if matrix is None else matrix @ block
        if resampler is not None:
            ours = resampler.resample_chunk(np.ascontiguousarray(ours.T, dtype=np.float32)).T
        yield block.shape[1], localizer.feed(ours)
    rest = (
        []
        if resampler is None
        else localizer.feed(resampler.resample_chunk(np.zeros((0, count), np.float32), last=True).T)
    )
    yield 0, rest + localizer.finish()
