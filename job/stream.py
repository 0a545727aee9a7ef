"""-infer --stream: a recording block by block, rows as soon as their window has been heard."""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import soxr
import torch

from job.infer import Item, find_items, open_checkpoint
from job.picture import Placement, boxes_as_needed
from job.sound import channel_matrix, file_reader, open_sound
from seld_predictor import Inference
from util.dialects import dialect_named, format_events
from util.errors import InputError
from util.events import EventTable
from util.files import written_whole

DIALECT = "dcase2023"
_SAMPLE_TYPES = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}


class StreamPredictor:
    """Events of a recording that comes in block by block; memory holds one window, whatever the length.

    The rows are those of `Inference.__call__` on the whole recording: the same windows, the same zeros at both ends.

    Parameters
    ----------
    boxes : person boxes (6, 4) of the windows one after the other; None: empty boxes

    Raises
    ------
    InputError : the system's feature needs the whole clip
    """

    def __init__(self, inference: Inference, *, boxes: Iterator[np.ndarray] | None = None):
        feature = inference.model.feature
        if getattr(feature, "needs", "clip") != "window":
            name = inference.model.system.name
            raise InputError(f"--stream: the features of {name} need the whole recording; run it without --stream")
        self.inference, self.framing, self.boxes = inference, inference.framing, boxes
        self.windows, self.busy_s = 0, 0.0
        self.compute_s: deque[float] = deque(maxlen=10000)  # of the last windows
        self.heard = 0  # samples so far
        self._first = self.framing.eval_start(0)  # sample that `_buffer` begins with: before the recording are zeros
        self._buffer = np.zeros((inference.model.array.channels, -self._first), dtype=np.float32)
        self._frames_per_window = round(self.framing.eval_hop_s / inference.label_frame_s)

    @property
    def look_ahead_s(self) -> float:
        """How much a window hears behind the frames that it gives rows for."""
        framing = self.framing
        after = framing.window_frames - framing.leading_frames - framing.eval_hop_frames
        return after * framing.hop / framing.rate_hz

    def feed(self, waveform: np.ndarray) -> EventTable:
        """The rows that the next samples (channels, n), at the model's rate, complete; often none.

        Raises
        ------
        InputError : another number of channels, samples that are NaN or infinite (with the second)
        """
        waveform = np.asarray(waveform, dtype=np.float32)
        if waveform.shape[0] != len(self._buffer):
            raise InputError(f"{waveform.shape[0]} channels come in, {len(self._buffer)} are needed")
        finite = np.isfinite(waveform).all(axis=0)
        if not finite.all():
            place = f"{(self.heard + int(np.argmin(finite))) / self.inference.rate_hz:.3f} s"
            raise InputError("samples are NaN or infinite", place=place)
        self.heard += waveform.shape[1]
        self._buffer = np.concatenate([self._buffer, waveform], axis=1)
        tables = []
        while self._buffer.shape[1] >= self.framing.eval_samples:
            tables.append(self.window(self._buffer[:, : self.framing.eval_samples], self.framing.window_frames))
        return EventTable.concatenate(tables)

    def finish(self) -> EventTable:
        """The rows of what is left when the recording ends."""
        framing, tables = self.framing, []
        frames = framing.clip_frames(self.heard)
        end = self.inference.label_frames(self.heard)
        while self.windows == 0 or self.windows * framing.eval_hop_frames < frames:
            first = framing.eval_first_frame(self.windows)
            held = max(min(self._buffer.shape[1], frames * framing.hop - self._first), 0)
            window = np.zeros((len(self._buffer), framing.eval_samples), dtype=np.float32)
            window[:, :held] = self._buffer[:, :held]
            tables.append(self.window(window, min(max(frames - first, 0), framing.window_frames)))
        table = EventTable.concatenate(tables)
        return table[table.frame < end]

    @torch.inference_mode()
    def window(self, waveform: np.ndarray, valid_end: int) -> EventTable:
        """Rows of the next window: its samples (channels, n), and the frame of it with which the recording ends."""
        start = time.perf_counter()
        model, fabric, framing = self.inference.model, self.inference.fabric, self.framing
        valid_first = max(-framing.eval_first_frame(self.windows), 0)
        boxes = np.zeros((6, 4), dtype=np.float32) if self.boxes is None else next(self.boxes)
        with fabric.autocast():
            output = model.evaluate(
                torch.from_numpy(np.ascontiguousarray(waveform))[None].to(fabric.device),
                torch.tensor([[valid_first, valid_end]], device=fabric.device),
                torch.from_numpy(boxes)[None].to(fabric.device),
            )
        raw = model.output_format.kept(output.float()).cpu().numpy()[0]
        table = self.inference.events(self.inference.candidates(raw))
        table = table.replace(frame=table.frame + self.windows * self._frames_per_window)
        self.windows += 1
        self._first += framing.eval_hop_frames * framing.hop
        self._buffer = self._buffer[:, framing.eval_hop_frames * framing.hop :]
        self.compute_s.append(time.perf_counter() - start)
        self.busy_s += self.compute_s[-1]
        return table


def stream(args: dict[str, Any]) -> int:
    """Print the rows of a recording (or of standard input) as they come; the exit status."""
    if args["overlay"] or args["player"] == "always":
        raise InputError("--stream prints rows only: run without it for a player or an overlay")
    inference, _ = open_checkpoint(args)
    predictor = StreamPredictor(inference)
    if args["infer"] == ["-"]:
        name, tables = "stream", _of_standard_input(predictor, args)
    else:
        items = find_items(args["infer"])
        if len(items) > 1:
            raise InputError(f"--stream takes one recording at a time, found {len(items)}")
        name, tables = items[0].name, _of_file(predictor, items[0], args)
    dialect, start = dialect_named(DIALECT), time.perf_counter()
    with ExitStack() as stack:
        if inference.fabric.device.type == "cpu":
            stack.enter_context(one_thread())
        outputs: list[TextIO] = [sys.stdout]
        if args["out"] is not None:
            temporary = stack.enter_context(written_whole(Path(args["out"]) / f"{name}.csv"))
            outputs.append(stack.enter_context(open(temporary, "w", encoding="utf-8", newline="")))
        for table in tables:
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


def _of_file(predictor: StreamPredictor, item: Item, args: dict[str, Any]) -> Iterator[EventTable]:
    """Rows of a file, window by window; only the window is read and only the pictures that it needs are decoded."""
    inference = predictor.inference
    if args["stream_format"] or args["channels"] or args["rate"]:
        raise InputError("--stream-format, --channels and --rate are for standard input: -infer - --stream")
    matrix = channel_matrix(inference.model.array, args["channel_order"], args["norm"])
    recording = open_sound(item.audio, inference.model.array, inference.rate_hz)
    if inference.model.visual and not args["no_video"]:
        if item.video is None:
            print(f"{item.audio}: no video: the system runs with empty boxes", file=sys.stderr)
        else:
            placement = Placement(args["video_yaw_deg"], args["video_offset_s"])
            predictor.boxes = boxes_as_needed(item.video, inference.detector, placement, predictor.framing.eval_hop_s)
    # The samples of a window are read as the offline run reads them, so that also a resampled file gives its very
    # values: phase differences jump where they pass 0, and a resampler that starts elsewhere rounds otherwise.
    read = file_reader(matrix) or file_reader(np.eye(recording.array.channels, dtype=np.float32))
    framing = predictor.framing
    clip_frames = framing.clip_frames(recording.samples)
    end = inference.label_frames(recording.samples)
    for index in range(len(inference.window_times_s(recording.samples))):
        start, first = int(framing.eval_start(index)), int(framing.eval_first_frame(index))
        length = max(min(framing.eval_samples, clip_frames * framing.hop - start), 0)
        window = np.zeros((recording.array.channels, framing.eval_samples), dtype=np.float32)
        window[:, :length] = read(recording, start, length)
        table = predictor.window(window, min(max(clip_frames - first, 0), framing.window_frames))
        predictor.heard = min(start + framing.eval_samples, recording.samples)
        yield table[table.frame < end]


def _of_standard_input(predictor: StreamPredictor, args: dict[str, Any]) -> Iterator[EventTable]:
    """Rows of what comes in on standard input."""
    inference = predictor.inference
    matrix = channel_matrix(inference.model.array, args["channel_order"], args["norm"])
    if inference.model.visual and not args["no_video"]:
        print("standard input has no video: the system runs with empty boxes", file=sys.stderr)
    for block in _standard_input(inference, args):
        yield predictor.feed(block if matrix is None else matrix @ block)
    yield predictor.finish()


def _closing_words(predictor: StreamPredictor, total_s: float) -> str:
    """What was heard, how fast it was computed, and how late rows come."""
    heard_s, busy_s = predictor.heard / predictor.inference.rate_hz, predictor.busy_s
    first_ms, *others = [1000 * seconds for seconds in predictor.compute_s]
    usual_ms = np.array(others or [first_ms])
    latest_s = predictor.framing.eval_hop_s - predictor.inference.label_frame_s + predictor.look_ahead_s
    return (
        f"{heard_s:.1f} s heard in {total_s:.1f} s, {predictor.windows} windows; "
        f"computed in {busy_s:.2f} s: real-time factor {heard_s / max(busy_s, 1e-9):.0f}\n"
        f"latency: a row comes {predictor.look_ahead_s:.2f} to {latest_s:.2f} s after the end of its frame, "
        f"plus {np.median(usual_ms):.0f} ms of computing (at most {usual_ms.max():.0f}, first window {first_ms:.0f})"
    )


def _standard_input(inference: Inference, args: dict[str, Any]) -> Iterator[np.ndarray]:
    """Blocks (channels, n) at the model's rate of what comes in; whatever has come in is given on at once.

    Raises
    ------
    InputError : another number of channels than the checkpoint needs, nothing at all
    """
    kind = _SAMPLE_TYPES[args["stream_format"] or "s16le"]
    due = inference.model.array.channels
    channels, rate_hz = args["channels"] or due, args["rate"] or inference.rate_hz
    if channels != due:
        raise InputError(f"--channels {channels}: the checkpoint is for {inference.model.array.name}, {due} channels")
    return _resampled(_samples(kind, channels), rate_hz, inference.rate_hz, channels)


def _samples(kind: np.dtype, channels: int) -> Iterator[np.ndarray]:
    """(n, channels) float32 of the bytes on standard input."""
    left, any_at_all = b"", False
    file, frame_bytes = sys.stdin.buffer.fileno(), kind.itemsize * channels
    while data := os.read(file, 1 << 16):
        data = left + data
        whole = len(data) // frame_bytes * frame_bytes
        left = data[whole:]
        if whole:
            any_at_all = True
            samples = np.frombuffer(data[:whole], dtype=kind).reshape(-1, channels).astype(np.float32)
            yield samples / np.float32(32768) if kind.kind == "i" else samples
    if not any_at_all:
        raise InputError("standard input: nothing came in")
    if left:
        print("standard input ended inside a sample; the rest was dropped", file=sys.stderr)


def _resampled(blocks: Iterator[np.ndarray], from_hz: int, to_hz: int, channels: int) -> Iterator[np.ndarray]:
    """(n, channels) at one rate -> (channels, m) at another."""
    if from_hz == to_hz:
        yield from (np.ascontiguousarray(block.T) for block in blocks)
        return
    resampler = soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32", quality="HQ")
    for block in blocks:
        yield np.ascontiguousarray(resampler.resample_chunk(block).T)
    last = resampler.resample_chunk(np.zeros((0, channels), dtype=np.float32), last=True)
    yield np.ascontiguousarray(last.T)
