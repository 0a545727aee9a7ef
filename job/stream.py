"""-infer --stream: a recording block by block, rows as soon as their window has been heard."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch

from dataset.plans import WindowGrid
from dataset.seen import BOXES
from doctor.levels import gain_to_level_db
from doctor.sound import level_dbfs
from job.health import LOOKED_AT_S
from job.inputs import SoundAndFilm, find_items, open_checkpoint
from job.picture import boxes_as_needed
from job.sound import open_sound, wanted
from seld_predictor import Inference
from util.audio import (
    AudioInfo,
    audio_info,
    read_audio,
    resample_stretch,
    resampled_frames,
    resampling_margin,
    resampling_span,
    samples_of_bytes,
    say_of_file,
)
from util.channels import Channels, channels_of, with_gain
from util.dialects import dialect_named, format_events
from util.errors import InputError
from util.events import EventTable
from util.files import written_whole
from util.job_arguments import Arguments
from util.microphone_arrays import Array
from util.placement import Placement
from util.sound_header import piped_wav, sample_bytes
from util.waveform import as_waveform, zero_padded

DIALECT = "dcase2023"
_CODINGS = {"s16le": "<i2", "f32le": "<f4"}
_STANDARD_INPUT = Path("standard input")
_OTHER_FILES = {
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b"FORM": "AIFF",
    b".snd": "AU",
    b"caff": "CAF",
    b"riff": "W64",
    b"ID3\x03": "MP3",
    b"ID3\x04": "MP3",
    b"\x1aE\xdf\xa3": "Matroska",
}


class StreamPredictor:
    """Events of a recording that comes in block by block; memory holds one window, whatever the length.

    The rows are those of `Inference.__call__` on the whole recording: the same windows, the same samples where the
    recording has another rate than the model, the same zeros at both ends.

    Parameters
    ----------
    rate_hz : of what comes in; None: the model's
    matrix : (channels, those that come in) to the channels of the model's array; None: they are that
    boxes : what the system's producer gives at one look after the other (`look_interval_s`); None: nothing

    Raises
    ------
    InputError : the system's feature needs the whole clip
    """

    def __init__(
        self,
        inference: Inference,
        *,
        rate_hz: int | None = None,
        matrix: np.ndarray | None = None,
        boxes: Iterator[np.ndarray] | None = None,
    ):
        self.inference, self.framing = inference, inference.model.last.plans.framing
        self.plan = _windows_of(inference)
        self.boxes, self.matrix = boxes, matrix
        self.rate_hz = rate_hz or inference.rate_hz
        self.windows, self.busy_s = 0, 0.0
        self.compute_s: deque[float] = deque(maxlen=10000)  # of the last windows
        self.heard = 0  # samples so far, at `rate_hz`
        due = inference.model.array.channels if matrix is None else matrix.shape[1]
        self._held = np.zeros((due, 0), dtype=np.float32)  # the last ones of them
        self._seen: deque[np.ndarray] = deque()  # boxes that windows to come look at, from look `_seen_from` on
        self._seen_from = 0
        self._frames_per_window = round(self.hop_s / inference.label_frame_s)

    @property
    def hop_s(self) -> float:
        """Seconds from one window to the next."""
        return self.plan.hop * self.framing.hop_s

    @property
    def heard_s(self) -> float:
        """Seconds heard so far."""
        return self.heard / self.rate_hz

    @property
    def look_ahead_s(self) -> float:
        """How much a window hears behind the frames that it gives rows for."""
        framing = self.framing
        after = self.plan.frames - self.plan.lead - self.plan.hop
        margin_s = resampling_margin(self.rate_hz, framing.rate_hz) / self.rate_hz
        return after * framing.hop / framing.rate_hz + margin_s

    def feed(self, waveform: np.ndarray) -> EventTable:
        """The rows that the next samples (channels, n), floats in [-1, 1] or integers, complete; often none.

        Raises
        ------
        InputError : another number of channels, samples that are NaN or infinite (with the second)
        """
        waveform = np.asarray(waveform)
        if waveform.shape[0] != len(self._held):
            raise InputError(f"{waveform.shape[0]} channels come in, {len(self._held)} are needed")
        if waveform.dtype.kind in "iu":
            waveform = as_waveform(waveform, len(self._held), self.inference.model.array.name)
        waveform = waveform.astype(np.float32, copy=False)
        finite = np.isfinite(waveform).all(axis=0)
        if not finite.all():
            place = f"{(self.heard + int(np.argmin(finite))) / self.rate_hz:.3f} s"
            raise InputError("samples are NaN or infinite", place=place)
        self.heard += waveform.shape[1]
        self._held = np.concatenate([self._held, waveform], axis=1)
        tables = []
        while self._span()[1] <= self.heard:
            tables.append(self.window(self._samples(self.plan.window_samples), self.plan.frames))
            self._forget()
        return EventTable.concatenate(tables)

    def finish(self) -> EventTable:
        """The rows of what is left when the recording ends."""
        framing, plan, tables = self.framing, self.plan, []
        samples = max(1, resampled_frames(self.heard, self.rate_hz, framing.rate_hz))
        frames = samples // framing.hop
        while self.windows == 0 or self.windows * plan.hop < frames:
            first = plan.first_frame(self.windows)
            length = min(plan.window_samples, frames * framing.hop - plan.window_start(self.windows))
            tables.append(self.window(self._samples(length), min(max(frames - first, 0), plan.frames)))
        table = EventTable.concatenate(tables)
        output_s = self.inference.model.evaluation_plan([samples]).output_frames(0) * framing.output_frame_s
        return table[table.frame < round(output_s / self.inference.label_frame_s)]

    def _span(self) -> tuple[int, int]:
        """Samples [begin, end) of what comes in that the next window needs."""
        start = self.plan.window_start(self.windows)
        last = start + self.plan.window_samples
        return resampling_span(max(start, 0), last, self.rate_hz, self.framing.rate_hz)

    def _samples(self, length: int) -> np.ndarray:
        """The next window (channels, samples of a window) at the model's rate: its first `length` samples, then zeros.

        A resampled recording is computed stretch by stretch as `util.audio.read_audio` does it: a resampler
        that works through the stream rounds otherwise, and phase differences jump where they pass 0.
        """
        start = self.plan.window_start(self.windows)
        gone = self.heard - self._held.shape[1]
        held = zero_padded(
            lambda first, last: resample_stretch(
                lambda begin, count: self._held[:, begin - gone : begin - gone + count],
                self.heard,
                first,
                last,
                self.rate_hz,
                self.framing.rate_hz,
            ),
            len(self._held),
            start + length,
            start,
            start + self.plan.window_samples,
        )
        if self.matrix is None or length <= 0:
            return held if self.matrix is None else np.zeros((len(self.matrix), held.shape[1]), dtype=np.float32)
        window = np.zeros((len(self.matrix), held.shape[1]), dtype=np.float32)
        window[:, :length] = self.matrix @ held[:, :length]
        return window

    def _forget(self) -> None:
        """Drop the samples that no window needs any more."""
        needed = self.heard - self._span()[0]
        self._held = self._held[:, max(self._held.shape[1] - needed, 0) :]

    def window(self, waveform: np.ndarray, valid_end: int) -> EventTable:
        """Rows of the next window: its samples (channels, n), and the frame of it with which the recording ends."""
        start = time.perf_counter()
        model, plan = self.inference.model, self.plan
        frame, ratio = np.arange(plan.frames), self.framing.frames_per_output
        inside = (frame >= -plan.first_frame(self.windows)) & (frame < valid_end)
        window = {
            "waveform": torch.from_numpy(np.ascontiguousarray(waveform))[None],
            "labels": None,
            "keep": torch.tensor([[plan.lead // ratio, (plan.lead + plan.hop) // ratio]]),
        }
        if not inside.all():
            window["frames"] = torch.from_numpy(np.where(inside, frame, -1))[None]
        if model.visual:
            window["visual"] = torch.from_numpy(self._look())[None]
        with self.inference.fabric.autocast():
            (raw,), _ = model.last.predict(window)
        table = self.inference.events(self.inference.candidates(raw))
        table = table.replace(frame=table.frame + self.windows * self._frames_per_window)
        self.windows += 1
        self.compute_s.append(time.perf_counter() - start)
        self.busy_s += self.compute_s[-1]
        return table

    def _look(self) -> np.ndarray:
        """What is seen at the looks of the next window (looks, ...); windows that overlap see what they share once."""
        plan = self.plan
        if plan.visual_hop is None:
            times = np.array([self.windows])
        else:
            frame = plan.first_frame(self.windows) + np.arange(0, plan.frames, plan.visual_hop)
            times = np.maximum(frame // plan.visual_hop, 0)
        if self.boxes is None:
            return np.zeros((len(times), *(self.inference.model.producer or BOXES).shape), dtype=np.float32)
        while self._seen_from + len(self._seen) <= times[-1]:
            self._seen.append(next(self.boxes))
        while self._seen_from < times[0]:
            self._seen.popleft()
            self._seen_from += 1
        return np.stack([self._seen[time - self._seen_from] for time in times])


def look_interval_s(plan: WindowGrid) -> float:
    """Seconds from one look at the picture to the next."""
    return (plan.visual_hop or plan.hop) * plan.framing.hop_s


def _windows_of(inference: Inference) -> WindowGrid:
    """The windows that come one after the other, those of every recording.

    Raises
    ------
    InputError : the system's feature needs the whole clip
    """
    plan = inference.model.evaluation_plan([1])
    if not inference.model.system.streams or not isinstance(plan, WindowGrid):
        name = inference.model.system.name
        raise InputError(f"--stream: {name} needs the whole recording; run it without --stream")
    return plan


def stream(args: Arguments, given: dict[str, Any]) -> int:
    """Print the rows of a recording (or of standard input) as they come; the exit status."""
    if args.overlay or args.player == "always":
        raise InputError("--stream prints rows only: run without it for a player or an overlay")
    if args.overlap > 1:
        raise InputError("--stream says of a frame what one window says: run it without --overlap")
    inference, _ = open_checkpoint(args, given)
    if args.infer == ["-"]:
        name, predictor, blocks = "stream", *_of_standard_input(inference, args)
    else:
        items = find_items(args.infer).items
        if len(items) > 1:
            raise InputError(f"--stream takes one recording at a time, found {len(items)}")
        name, predictor, blocks = items[0].name, *_of_file(inference, items[0], args)
    dialect, start = dialect_named(DIALECT), time.perf_counter()
    with ExitStack() as stack:
        if inference.fabric.device.type == "cpu":
            stack.enter_context(one_thread())
        outputs: list[TextIO] = [sys.stdout]
        if args.out is not None:
            temporary = stack.enter_context(written_whole(Path(args.out) / f"{name}.csv"))
            outputs.append(stack.enter_context(open(temporary, "w", encoding="utf-8", newline="")))
        for table in _tables(predictor, blocks):
            for output in outputs if len(table) else ():
                output.write(format_events(table, dialect))
                output.flush()
    print(_closing_words(predictor, time.perf_counter() - start), file=sys.stderr)
    return 0


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute windows with one thread of the processor.

    One window is too small a job to share: on a quiet machine two threads gain a third, on a busy one each of the many
    small steps waits for the thread that is not running (measured: 7 ms against 530 ms a window).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _tables(predictor: StreamPredictor, blocks: Iterable[np.ndarray]) -> Iterator[EventTable]:
    for block in blocks:
        yield predictor.feed(block)
    yield predictor.finish()


def _of_file(inference: Inference, item: SoundAndFilm, args: Arguments) -> tuple[StreamPredictor, Iterator[np.ndarray]]:
    """For a file; it is read block by block, and only the pictures that windows need are decoded."""
    if args.stream_format or args.channels or args.rate:
        raise InputError("--stream-format, --channels and --rate are for standard input: -infer - --stream")
    recording = open_sound(item.audio, inference.model.array)
    boxes = None
    if inference.model.visual and not args.no_video:
        if item.video is None:
            print(f"{item.audio}: no video: the system runs with empty boxes", file=sys.stderr)
        else:
            placement = Placement(args.video_yaw_deg, args.video_offset_s)
            plan = _windows_of(inference)
            detector, step_s = inference.open_detector(), look_interval_s(plan)
            producer, view = inference.model.producer or BOXES, recording.view
            boxes = boxes_as_needed(item.video, detector, placement, step_s, producer=producer, view=view)
    channels = channels_of(audio_info(item.audio), inference.model.array, wanted(args))
    for line in channels.said:
        say_of_file(item.audio, line)
    level = level_dbfs(item.audio, matrix=channels.matrix, most_s=LOOKED_AT_S) if args.gain_db == "auto" else 0.0
    gain_db = gain_to_level_db(level, inference.level_dbfs, args.gain_db)
    channels = with_gain(channels, inference.model.array, gain_db)
    predictor = StreamPredictor(inference, rate_hz=recording.rate_hz, matrix=channels.matrix, boxes=boxes)
    return predictor, file_blocks(item.audio, recording.rate_hz)


def _of_standard_input(inference: Inference, args: Arguments) -> tuple[StreamPredictor, Iterator[np.ndarray]]:
    """For what comes in on standard input; errors as of `piped`, and where the gain needs the whole recording."""
    array = inference.model.array
    if args.gain_db == "auto":
        raise InputError("--gain-db auto needs the whole recording, standard input has none: give a number of dB")
    if inference.model.visual and not args.no_video:
        print("standard input has no video: the system runs with empty boxes", file=sys.stderr)
    rate_hz, channels, blocks = piped(args, array, inference.rate_hz)
    channels = with_gain(channels, array, gain_to_level_db(0.0, inference.level_dbfs, args.gain_db))
    return StreamPredictor(inference, rate_hz=rate_hz, matrix=channels.matrix), blocks


def piped(args: Arguments, array: Array, rate_hz: int) -> tuple[int, Channels, Iterator[np.ndarray]]:
    """What comes in on standard input, raw samples or a WAV file: rate, channels, blocks (channels that come in, n).

    Whatever has come in is given on at once.

    Parameters
    ----------
    rate_hz : of raw samples where --rate does not say it

    Raises
    ------
    InputError : another number of channels than the checkpoint needs, a file of another kind, nothing at all; a WAV
        header that contradicts the flags
    """
    raw = AudioInfo(_STANDARD_INPUT, args.channels or array.channels, args.rate or rate_hz, 1, "")
    channels = channels_of(raw, array, wanted(args)) if args.channels else None  # refused before anything comes in
    read = _Pipe(sys.stdin.buffer.fileno())
    head = read.peek(12)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:] == b"WAVE":
        try:
            wav = piped_wav(read(12), read)
        except InputError as error:
            raise InputError(error.rule, path=_STANDARD_INPUT) from None
        if not wav.coding:
            rule = "is a WAV file of coded samples: ffmpeg -i - -f wav -c:a pcm_s16le - in the pipe decodes them"
            raise InputError(rule, path=_STANDARD_INPUT)
        found = {"channels": wav.channels, "rate": wav.rate_hz, "stream_format": _format_named(wav.coding)}
        for name, value in found.items():
            if (asked := getattr(args, name)) is not None and asked != value:
                flag = f"--{name.replace('_', '-')} {asked}"
                raise InputError(f"{flag}: standard input is a WAV file, which says {value}", path=_STANDARD_INPUT)
        info = AudioInfo(
            _STANDARD_INPUT, wav.channels, wav.rate_hz, 1, "", ambisonics=wav.ambisonics, mask=wav.mask
        )  # fmt: skip
        coding, length = wav.coding, wav.length
    else:
        kind = "MP4" if head[4:8] == b"ftyp" else _OTHER_FILES.get(head[:4])
        if kind is not None:
            rule = (
                f"is a file ({kind}), no raw samples: ffmpeg -i - -f wav -c:a pcm_s16le - in the pipe makes WAV of it"
            )
            raise InputError(rule, path=_STANDARD_INPUT)
        info, coding, length = raw, _CODINGS[args.stream_format or "s16le"], None
    channels = channels_of(info, array, wanted(args))
    for line in channels.said:
        say_of_file(_STANDARD_INPUT, line)
    return info.rate_hz, channels, _piped_blocks(read, coding, info.channels, length)


def _format_named(coding: str) -> str:
    """The value of --stream-format that stands for a coding, else what the coding is called here."""
    return next((name for name, value in _CODINGS.items() if value == coding), coding)


def file_blocks(path: Path, rate_hz: int) -> Iterator[np.ndarray]:
    """A file (channels, n) at its own rate, half a second at a time."""
    step = max(1, rate_hz // 2)
    for start in range(0, audio_info(path).frames, step):
        yield read_audio(path, start=start, frames=min(step, audio_info(path).frames - start), rate_hz=rate_hz)


def _closing_words(predictor: StreamPredictor, total_s: float) -> str:
    """What was heard, how fast it was computed, and how late rows come."""
    heard_s, busy_s = predictor.heard_s, predictor.busy_s
    first_ms, *others = [1000 * seconds for seconds in predictor.compute_s]
    usual_ms = np.array(others or [first_ms])
    latest_s = predictor.hop_s - predictor.inference.label_frame_s + predictor.look_ahead_s
    return (
        f"{heard_s:.1f} s heard in {total_s:.1f} s, {predictor.windows} windows; "
        f"computed in {busy_s:.2f} s: real-time factor {heard_s / max(busy_s, 1e-9):.0f}\n"
        f"latency: a row comes {predictor.look_ahead_s:.2f} to {latest_s:.2f} s after the end of its frame, "
        f"plus {np.median(usual_ms):.0f} ms of computing (at most {usual_ms.max():.0f}, first window {first_ms:.0f})"
    )


class _Pipe:
    """The bytes of a pipe: so many of the next ones, or whatever has come in."""

    def __init__(self, file: int):
        self._file, self._held = file, b""

    def peek(self, count: int) -> bytes:
        """The next bytes, which stay; fewer at the end."""
        while len(self._held) < count and (data := os.read(self._file, 1 << 16)):
            self._held += data
        return self._held[:count]

    def __call__(self, count: int) -> bytes:
        """So many of the next bytes; fewer at the end."""
        data = self.peek(count)
        self._held = self._held[len(data) :]
        return data

    def blocks(self) -> Iterator[bytes]:
        """The rest as it comes in."""
        if self._held:
            data, self._held = self._held, b""
            yield data
        while data := os.read(self._file, 1 << 16):
            yield data


def _piped_blocks(pipe: _Pipe, coding: str, channels: int, length: int | None) -> Iterator[np.ndarray]:
    """Blocks (channels, n) float32 of the samples that come in.

    Parameters
    ----------
    length : bytes of samples; what comes behind them belongs to the file, not to the sound. None: all is samples
    """
    left, any_at_all = b"", False
    frame_bytes = sample_bytes(coding) * channels
    for data in pipe.blocks():
        if length is not None:
            data, length = data[:length], max(length - len(data), 0)
        data = left + data
        whole = len(data) // frame_bytes * frame_bytes
        left = data[whole:]
        if whole:
            any_at_all = True
            yield samples_of_bytes(data[:whole], coding, channels)
    if not any_at_all:
        raise InputError("standard input: nothing came in")
    if length:
        print(f"standard input ended {length} bytes before its header says", file=sys.stderr)
    if left:
        print("standard input ended inside a sample; the rest was dropped", file=sys.stderr)
