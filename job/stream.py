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

from job.inputs import Item, find_items, open_checkpoint
from job.picture import Placement, boxes_as_needed
from job.sound import channel_matrix, open_sound
from seld_predictor import Inference
from util.audio import audio_info, read_audio, resample_stretch, resampled_frames, resampling_margin, resampling_span
from util.dialects import dialect_named, format_events
from util.errors import InputError
from util.events import EventTable
from util.files import written_whole

DIALECT = "dcase2023"
_SAMPLE_TYPES = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}


class StreamPredictor:
    """Events of a recording that comes in block by block; memory holds one window, whatever the length.

    The rows are those of `Inference.__call__` on the whole recording: the same windows, the same samples where the
    recording has another rate than the model, the same zeros at both ends.

    Parameters
    ----------
    rate_hz : of what comes in; None: the model's
    matrix : (channels, channels) from what comes in to the channels of the model's array; None: they are that
    boxes : person boxes (6, 4) of the windows one after the other; None: empty boxes

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
        if not inference.model.system.streams:
            name = inference.model.system.name
            raise InputError(f"--stream: {name} needs the whole recording; run it without --stream")
        self.inference, self.framing = inference, inference.model.last.plans.framing
        self.plan = inference.model.evaluation_plan([1])  # its windows are those of every recording
        self.boxes, self.matrix = boxes, matrix
        self.rate_hz = rate_hz or inference.rate_hz
        self.windows, self.busy_s = 0, 0.0
        self.compute_s: deque[float] = deque(maxlen=10000)  # of the last windows
        self.heard = 0  # samples so far, at `rate_hz`
        self._held = np.zeros((inference.model.array.channels, 0), dtype=np.float32)  # the last ones of them
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
        """The rows that the next samples (channels, n) complete; often none.

        Raises
        ------
        InputError : another number of channels, samples that are NaN or infinite (with the second)
        """
        waveform = np.asarray(waveform, dtype=np.float32)
        if waveform.shape[0] != len(self._held):
            raise InputError(f"{waveform.shape[0]} channels come in, {len(self._held)} are needed")
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
        window = np.zeros((len(self._held), self.plan.window_samples), dtype=np.float32)
        first, last = max(start, 0), start + length
        if last > first:
            gone = self.heard - self._held.shape[1]
            window[:, first - start : length] = resample_stretch(
                lambda begin, count: self._held[:, begin - gone : begin - gone + count],
                self.heard,
                first,
                last,
                self.rate_hz,
                self.framing.rate_hz,
            )
        if self.matrix is not None and length > 0:
            window[:, :length] = self.matrix @ window[:, :length]
        return window

    def _forget(self) -> None:
        """Drop the samples that no window needs any more."""
        needed = self.heard - self._span()[0]
        self._held = self._held[:, max(self._held.shape[1] - needed, 0) :]

    def window(self, waveform: np.ndarray, valid_end: int) -> EventTable:
        """Rows of the next window: its samples (channels, n), and the frame of it with which the recording ends."""
        start = time.perf_counter()
        model, plan = self.inference.model, self.plan
        frame = np.arange(plan.frames)
        inside = (frame >= -plan.first_frame(self.windows)) & (frame < valid_end)
        window = {
            "waveform": torch.from_numpy(np.ascontiguousarray(waveform))[None],
            "labels": None,
            "keep": torch.tensor([[plan.lead, plan.lead + plan.hop]]),
        }
        if not inside.all():
            window["frames"] = torch.from_numpy(np.where(inside, frame, -1))[None]
        if model.visual:
            boxes = np.zeros((6, 4), dtype=np.float32) if self.boxes is None else next(self.boxes)
            window["visual"] = torch.from_numpy(boxes)[None, None]
        with self.inference.fabric.autocast():
            (raw,), _ = model.last.predict(window)
        table = self.inference.events(self.inference.candidates(raw))
        table = table.replace(frame=table.frame + self.windows * self._frames_per_window)
        self.windows += 1
        self.compute_s.append(time.perf_counter() - start)
        self.busy_s += self.compute_s[-1]
        return table


def stream(args: dict[str, Any], given: dict[str, Any]) -> int:
    """Print the rows of a recording (or of standard input) as they come; the exit status."""
    if args["overlay"] or args["player"] == "always":
        raise InputError("--stream prints rows only: run without it for a player or an overlay")
    inference, _ = open_checkpoint(args, given)
    if args["infer"] == ["-"]:
        name, predictor, blocks = "stream", *_of_standard_input(inference, args)
    else:
        items = find_items(args["infer"]).items
        if len(items) > 1:
            raise InputError(f"--stream takes one recording at a time, found {len(items)}")
        name, predictor, blocks = items[0].name, *_of_file(inference, items[0], args)
    dialect, start = dialect_named(DIALECT), time.perf_counter()
    with ExitStack() as stack:
        if inference.fabric.device.type == "cpu":
            stack.enter_context(one_thread())
        outputs: list[TextIO] = [sys.stdout]
        if args["out"] is not None:
            temporary = stack.enter_context(written_whole(Path(args["out"]) / f"{name}.csv"))
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


def _of_file(inference: Inference, item: Item, args: dict[str, Any]) -> tuple[StreamPredictor, Iterator[np.ndarray]]:
    """For a file; it is read block by block, and only the pictures that windows need are decoded."""
    if args["stream_format"] or args["channels"] or args["rate"]:
        raise InputError("--stream-format, --channels and --rate are for standard input: -infer - --stream")
    recording = open_sound(item.audio, inference.model.array)
    boxes = None
    if inference.model.visual and not args["no_video"]:
        if item.video is None:
            print(f"{item.audio}: no video: the system runs with empty boxes", file=sys.stderr)
        else:
            placement = Placement(args["video_yaw_deg"], args["video_offset_s"])
            plan = inference.model.evaluation_plan([1])
            hop_s = plan.hop * plan.framing.hop_s
            boxes = boxes_as_needed(item.video, inference.detector, placement, hop_s)
    predictor = _predictor(inference, args, recording.rate_hz, boxes)
    return predictor, _file_blocks(item.audio, recording.rate_hz)


def _of_standard_input(inference: Inference, args: dict[str, Any]) -> tuple[StreamPredictor, Iterator[np.ndarray]]:
    """For what comes in on standard input; whatever has come in is given on at once.

    Raises
    ------
    InputError : another number of channels than the checkpoint needs, nothing at all
    """
    due = inference.model.array.channels
    if (args["channels"] or due) != due:
        rule = f"--channels {args['channels']}: the checkpoint is for {inference.model.array.name}, {due} channels"
        raise InputError(rule)
    if inference.model.visual and not args["no_video"]:
        print("standard input has no video: the system runs with empty boxes", file=sys.stderr)
    blocks = _standard_input(_SAMPLE_TYPES[args["stream_format"] or "s16le"], due)
    return _predictor(inference, args, args["rate"], None), blocks


def _predictor(
    inference: Inference, args: dict[str, Any], rate_hz: int | None, boxes: Iterator[np.ndarray] | None
) -> StreamPredictor:
    matrix = channel_matrix(inference.model.array, args["channel_order"], args["norm"])
    return StreamPredictor(inference, rate_hz=rate_hz, matrix=matrix, boxes=boxes)


def _file_blocks(path: Path, rate_hz: int) -> Iterator[np.ndarray]:
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


def _standard_input(kind: np.dtype, channels: int) -> Iterator[np.ndarray]:
    """Blocks (channels, n) float32 of the bytes on standard input."""
    left, any_at_all = b"", False
    file, frame_bytes = sys.stdin.buffer.fileno(), kind.itemsize * channels
    while data := os.read(file, 1 << 16):
        data = left + data
        whole = len(data) // frame_bytes * frame_bytes
        left = data[whole:]
        if whole:
            any_at_all = True
            samples = np.frombuffer(data[:whole], dtype=kind).reshape(-1, channels).T.astype(np.float32)
            yield samples / np.float32(32768) if kind.kind == "i" else samples
    if not any_at_all:
        raise InputError("standard input: nothing came in")
    if left:
        print("standard input ended inside a sample; the rest was dropped", file=sys.stderr)
