"""Loaders: carry out window plans. They read only the stretch that a window needs, in threads, ahead of their user."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from dataset.recordings import MAX_BOXES, Boxes, Labels, Recording
from dataset.windows import EvaluationPlan, RandomWindows, clip_label_grid, label_grid
from util.audio import read_audio
from util.events import EventTable

Encode = Callable[[list[EventTable], np.ndarray], Any]
Read = Callable[[Recording, int, int], np.ndarray]
Augment = Callable[[np.ndarray, EventTable, np.ndarray, int], tuple[np.ndarray, EventTable, np.ndarray]]


class Prefetching:
    """Batches made in threads, a few ahead, in their order.

    Threads, not processes: reading, converting and transposing the samples happens outside of the interpreter's lock, a
    thread costs no memory of its own, and what is cached is cached once.
    """

    def __init__(self, workers: int, prefetch: int):
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="loader") if workers > 0 else None
        self._ahead = max(1, prefetch)
        self._pending: deque[Future] = deque()

    def _steps(self) -> Iterator[int]:
        raise NotImplementedError

    def _make(self, step: int) -> dict[str, Any]:
        raise NotImplementedError

    def __iter__(self) -> Iterator[dict[str, Any]]:
        steps = self._steps()
        if self._executor is None:
            yield from (self._make(step) for step in steps)
            return
        try:
            for step in itertools.islice(steps, self._ahead):
                self._pending.append(self._executor.submit(self._make, step))
            while self._pending:
                batch = self._pending.popleft().result()
                for step in itertools.islice(steps, 1):
                    self._pending.append(self._executor.submit(self._make, step))
                yield batch
        finally:
            self._cancel()

    def _cancel(self) -> None:
        while self._pending:
            self._pending.popleft().cancel()

    def close(self) -> None:
        """End the threads; batches under way are dropped."""
        self._cancel()
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Prefetching:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TrainingLoader(Prefetching):
    """Random training windows, for ever or up to `stop_step`.

    Yields
    ------
    dictionaries: "waveform" (B, channels, samples) float32; "labels" as `encode` gives them; "boxes" (B, 6, 4) float32,
    zeros without video; "window" (B,) numbers of the windows; "recording" (B,) indices; "start" (B,) first samples; the
    last three int64

    Parameters
    ----------
    batch_size : windows per step of this process
    encode : (events of each window, label frame of each 10 ms step (B, steps) or -1) -> labels of the batch
    augment : (waveform, events, boxes, number of the window) -> the first three, changed
    start_step : step of the first batch
    workers : threads; 0: none, batches are made when they are asked for
    prefetch : batches ahead
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        plan: RandomWindows,
        *,
        batch_size: int,
        labels: Labels,
        encode: Encode,
        boxes: Boxes | None = None,
        augment: Augment | None = None,
        start_step: int = 0,
        stop_step: int | None = None,
        rank: int = 0,
        world: int = 1,
        workers: int = 1,
        prefetch: int = 4,
    ):
        super().__init__(workers, prefetch)
        self.recordings, self.plan, self.batch_size = list(recordings), plan, batch_size
        self.labels, self.encode, self.boxes, self.augment = labels, encode, boxes, augment
        self.start_step, self.stop_step, self.rank, self.world = start_step, stop_step, rank, world

    def _steps(self) -> Iterator[int]:
        return (
            itertools.count(self.start_step) if self.stop_step is None else iter(range(self.start_step, self.stop_step))
        )

    def _make(self, step: int) -> dict[str, Any]:
        number = self.plan.numbers(step, self.batch_size, self.rank, self.world)
        index, start = self.plan.at(number)
        chosen = [self.recordings[i] for i in index.tolist()]
        rate_hz, length = chosen[0].rate_hz, self.plan.length
        start_s = start / rate_hz
        grid = label_grid(start_s, length / rate_hz, round(100 * length / rate_hz) + 1)
        waveform = torch.empty((len(chosen), chosen[0].array.channels, length))
        boxes = np.zeros((len(chosen), MAX_BOXES, 4), dtype=np.float32)
        events = []
        for item, recording in enumerate(chosen):
            samples = read_stretch(recording, int(start[item]), length)
            table = _events_of(self.labels(recording), grid[item])
            if self.boxes is not None:
                boxes[item] = self.boxes(recording, start_s[item : item + 1])[0]
            if self.augment is not None:
                samples, table, boxes[item] = self.augment(samples, table, boxes[item], int(number[item]))
            waveform[item] = torch.from_numpy(samples)
            events.append(table)
        return {
            "waveform": waveform,
            "labels": self.encode(events, grid),
            "boxes": torch.from_numpy(boxes),
            "window": torch.from_numpy(number),
            "recording": torch.from_numpy(index),
            "start": torch.from_numpy(start),
        }


class EvaluationLoader(Prefetching):
    """Every evaluation window of every recording, once, in order.

    Yields
    ------
    dictionaries: "waveform" (B, channels, 30992) float32, the samples that the window's 128 frames need, zero outside
    of the clip (which ends at a multiple of the hop); "valid" (B, 2) int64, the frames [first, end) of the window that
    lie inside of the clip; "labels" as `encode` gives them, None without it; "boxes" (B, 6, 4) at the window's nominal
    time 1.2 i; "recording" and "window" (B,) int64; "labelled" (B,) bool

    Parameters
    ----------
    read : (recording, first sample, length) -> (channels, length), zero outside of the recording; None: from its file
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        plan: EvaluationPlan,
        *,
        labels: Labels | None = None,
        encode: Encode | None = None,
        boxes: Boxes | None = None,
        read: Read | None = None,
        workers: int = 1,
        prefetch: int = 4,
    ):
        super().__init__(workers, prefetch)
        self.recordings, self.plan, self.read = list(recordings), plan, read or read_stretch
        self.labels, self.encode, self.boxes = labels, encode, boxes

    def __len__(self) -> int:
        return len(self.plan)

    def windows_of(self, recording: int) -> int:
        """Number of windows of a recording."""
        return self.plan.windows_of(recording)

    def _steps(self) -> Iterator[int]:
        return iter(range(len(self.plan)))

    def _make(self, step: int) -> dict[str, Any]:
        framing = self.plan.framing
        index, window = self.plan.batch(step)
        chosen = [self.recordings[i] for i in index.tolist()]
        frames = np.array([framing.clip_frames(recording.samples) for recording in chosen], dtype=np.int64)
        first = framing.eval_first_frame(window)
        start = framing.eval_start(window)
        waveform = torch.zeros((len(chosen), chosen[0].array.channels, framing.eval_samples))
        boxes = np.zeros((len(chosen), MAX_BOXES, 4), dtype=np.float32)
        time_s = window * framing.eval_hop_frames * framing.hop / framing.rate_hz
        for item, recording in enumerate(chosen):
            length = min(framing.eval_samples, int(frames[item]) * framing.hop - int(start[item]))
            if length > 0:
                waveform[item, :, :length] = torch.from_numpy(self.read(recording, int(start[item]), length))
            if self.boxes is not None:
                boxes[item] = self.boxes(recording, time_s[item : item + 1])[0]
        labels = None
        if self.encode is not None and self.labels is not None:
            grid = clip_label_grid(window, frames, framing)
            events = [_events_of(self.labels(recording), row) for recording, row in zip(chosen, grid)]
            labels = self.encode(events, grid)
        valid = np.stack(
            [np.clip(-first, 0, framing.window_frames), np.clip(frames - first, 0, framing.window_frames)], 1
        )
        return {
            "waveform": waveform,
            "valid": torch.from_numpy(valid),
            "labels": labels,
            "boxes": torch.from_numpy(boxes),
            "recording": torch.from_numpy(index),
            "window": torch.from_numpy(window),
            "labelled": torch.tensor([recording.labels is not None for recording in chosen]),
        }


def read_stretch(recording: Recording, start: int, length: int) -> np.ndarray:
    """(channels, length) of a recording at its rate."""
    return read_audio(
        recording.audio, start=start, frames=length, rate_hz=recording.rate_hz, channels=recording.array.channels
    )


def _events_of(table: EventTable, grid: np.ndarray) -> EventTable:
    """The rows of the label frames that a window touches; the table is sorted by frame."""
    inside = grid[grid >= 0]
    if not len(table) or not len(inside):
        return table[:0]
    first, end = np.searchsorted(table.frame, (inside[0], inside[-1] + 1))
    return table[first:end]
