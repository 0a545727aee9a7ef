"""Sequences of feature frames: of one stream across recordings (training), or recording by recording (evaluation)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dataset.loader import Encode, Prefetching, Read, read_stretch
from dataset.recordings import Labels, Recording
from util.errors import InputError


@dataclass(frozen=True)
class SequenceFraming:
    """Lengths that sequences are made of.

    Frame f of a recording covers the samples [hop f - left, hop f - left + n_fft).

    Attributes
    ----------
    left : samples by which a frame begins before its time: n_fft / 2 where frames are centred, else 0
    reflect : samples before the recording are its mirror image (as librosa pads); else zeros, as always behind it
    frames : T, frames of a sequence
    clip_s : length in seconds to which recordings are cut or padded with zeros; None: they stay as long as they are
    """

    rate_hz: int
    hop: int
    n_fft: int
    left: int = 0
    reflect: bool = False
    frames: int = 512
    clip_s: float | None = None

    @property
    def frame_s(self) -> float:
        """Seconds from one frame to the next."""
        return self.hop / self.rate_hz

    def clip_samples(self, samples: int) -> int:
        """Samples of a recording that count."""
        return samples if self.clip_s is None else round(self.clip_s * self.rate_hz)

    def clip_frames(self, samples: int) -> int:
        """Frames of a recording: as many as have their middle in it (centred), or as are needed to cover it."""
        samples = self.clip_samples(samples)
        frames = samples // self.hop if self.left else -(-(samples - self.n_fft) // self.hop)
        return max(frames, 1)

    @property
    def gap_frames(self) -> int:
        """Frames of a joined waveform that belong to no stretch, between one stretch and the next."""
        return -(-self.n_fft // self.hop) - 1


@dataclass(frozen=True)
class Piece:
    """Consecutive frames of one recording, part of a sequence."""

    recording: int
    first: int
    count: int


class StreamPlan:
    """Training sequences: all frames of all recordings behind each other, cut into sequences and batches.

    The recordings are shuffled anew for every pass. Sequences cross from one recording to the next, and what is left of
    the stream behind the last whole batch is dropped, as in the SELDnet references (quirks, kept). Sequence n of a pass
    is a pure function of (seed, pass, n).

    Parameters
    ----------
    frames : frames of each recording
    length : T, frames of a sequence
    batch_size : sequences per step, over all processes
    shuffle : False: recordings in their order

    Raises
    ------
    InputError : the recordings do not fill one batch
    """

    def __init__(self, frames: Sequence[int], *, length: int, batch_size: int, seed: int = 0, shuffle: bool = True):
        self._frames = np.asarray(frames, dtype=np.int64)
        self.length, self.batch_size, self.seed, self.shuffle = length, batch_size, seed, shuffle
        self.steps_per_pass = int(self._frames.sum()) // (length * batch_size)
        if not self.steps_per_pass:
            rule = f"{len(self._frames)} recordings have {self._frames.sum()} frames, a batch takes {batch_size} "
            raise InputError(f"{rule}sequences of {length}: lower the batch size (-b) or --set sequence_frames=N")
        self._pass: tuple[int, np.ndarray, np.ndarray] | None = None

    def pieces(self, step: int, item: int) -> list[Piece]:
        """The pieces that sequence `item` of an optimisation step consists of."""
        number, inside = divmod(step, self.steps_per_pass)
        order, ends = self._order(number)
        begin = (inside * self.batch_size + item) * self.length
        end, pieces = begin + self.length, []
        place = int(np.searchsorted(ends, begin, side="right"))
        while begin < end:
            start = int(ends[place]) - int(self._frames[order[place]])
            count = min(end, int(ends[place])) - begin
            pieces.append(Piece(int(order[place]), begin - start, count))
            begin, place = begin + count, place + 1
        return pieces

    def _order(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Order of the recordings in a pass, and where each ends in the stream."""
        held = self._pass  # one assignment: several threads may come here
        if held is None or held[0] != number:
            order = np.arange(len(self._frames))
            if self.shuffle:
                order = np.random.default_rng((self.seed, number)).permutation(order)
            held = self._pass = number, order, np.cumsum(self._frames[order])
        return held[1], held[2]


class ClipPlan:
    """Evaluation sequences: each recording by itself from its first frame on, the last sequence padded."""

    def __init__(self, frames: Sequence[int], *, length: int, batch_size: int):
        self._frames, self.length, self.batch_size = np.asarray(frames, dtype=np.int64), length, batch_size
        self._windows = -(-self._frames // length)
        self._recording = np.repeat(np.arange(len(self._frames)), self._windows)
        first = np.cumsum(self._windows) - self._windows
        self._window = np.arange(len(self._recording)) - np.repeat(first, self._windows)

    def windows_of(self, recording: int) -> int:
        """Number of sequences of a recording."""
        return int(self._windows[recording])

    def __len__(self) -> int:
        return -(-len(self._window) // self.batch_size)

    def batch(self, index: int) -> list[tuple[int, Piece]]:
        """(sequence inside its recording, its frames) of batch number `index`."""
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return [
            (window, Piece(recording, window * self.length, self._count(recording, window)))
            for recording, window in zip(self._recording[part].tolist(), self._window[part].tolist())
        ]

    def _count(self, recording: int, window: int) -> int:
        return min(self.length, int(self._frames[recording]) - window * self.length)


class _SequenceLoader(Prefetching):
    """What both loaders share: read the stretches of a batch, join them, say which frames are whose."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        framing: SequenceFraming,
        *,
        labels: Labels | None,
        encode: Encode | None,
        read: Read | None,
        workers: int,
        prefetch: int,
    ):
        super().__init__(workers, prefetch)
        self.recordings, self.framing = list(recordings), framing
        self.labels, self.encode, self.read = labels, encode, read or read_stretch

    def _sequences(self, items: list[list[Piece]]) -> dict[str, Any]:
        """The waveform of each sequence, the index of its frames there (-1: padding), its labels."""
        framing, gap = self.framing, self.framing.gap_frames
        held = max(sum(piece.count for piece in pieces) + gap * (len(pieces) - 1) for pieces in items)
        channels = self.recordings[items[0][0].recording].array.channels
        waveform = np.zeros((len(items), channels, (held - 1) * framing.hop + framing.n_fft), dtype=np.float32)
        index = np.full((len(items), framing.frames), -1, dtype=np.int64)
        labels = []
        for item, pieces in enumerate(items):
            place = done = 0
            parts = []
            for piece in pieces:
                samples = self._stretch(self.recordings[piece.recording], piece)
                waveform[item, :, place * framing.hop : place * framing.hop + samples.shape[1]] = samples
                index[item, done : done + piece.count] = place + np.arange(piece.count)
                place, done = place + piece.count + gap, done + piece.count
                if self.encode is not None and self.labels is not None:
                    parts.append(self._labels(piece, framing.frames - done if piece is pieces[-1] else 0))
            if parts:
                labels.append(np.concatenate(parts, axis=-1))
        made = {"waveform": torch.from_numpy(waveform), "frames": torch.from_numpy(index), "labels": None}
        if labels:
            made["labels"] = torch.from_numpy(np.stack(labels))
        return made

    def _labels(self, piece: Piece, padding: int) -> np.ndarray:
        """Labels of a piece and of `padding` frames behind it, which hold nothing."""
        recording = self.recordings[piece.recording]
        frames = self.framing.clip_frames(recording.samples)
        return self.encode(self.labels.intervals(recording), piece.first, piece.count + padding, frames)

    def _stretch(self, recording: Recording, piece: Piece) -> np.ndarray:
        """Samples (channels, (count - 1) hop + n_fft) that the frames of a piece cover."""
        framing = self.framing
        begin = piece.first * framing.hop - framing.left
        length = (piece.count - 1) * framing.hop + framing.n_fft
        end = min(begin + length, framing.clip_samples(recording.samples))
        out = np.zeros((recording.array.channels, length), dtype=np.float32)
        lead = max(-begin, 0)
        if end > max(begin, 0):
            out[:, lead : end - begin] = self.read(recording, max(begin, 0), end - max(begin, 0))
        if lead and framing.reflect:
            # sample -k is sample k; numpy mirrors again and again where the recording is shorter than the padding
            available = out[:, lead : lead + max(min(recording.samples, end), 1)]
            out[:, :lead] = np.pad(available[:, : lead + 1], ((0, 0), (lead, 0)), mode="reflect")[:, :lead]
        return out


class StreamLoader(_SequenceLoader):
    """Training sequences of one process from an optimisation step on, for ever or up to `stop_step`.

    Yields
    ------
    dictionaries: "waveform" (B, channels, samples) float32; "frames" (B, T) int64, which frame of that waveform each
    frame of the sequence is; "labels" (B, ..., T) as `encode` gives them

    Parameters
    ----------
    plan : its batch size is that of all processes together
    encode : (intervals of a recording, first frame, frames, frames of the recording) -> (..., frames)
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        framing: SequenceFraming,
        plan: StreamPlan,
        *,
        labels: Labels,
        encode: Encode,
        start_step: int = 0,
        stop_step: int | None = None,
        rank: int = 0,
        world: int = 1,
        workers: int = 1,
        prefetch: int = 4,
    ):
        super().__init__(
            recordings, framing, labels=labels, encode=encode, read=None, workers=workers, prefetch=prefetch
        )
        self.plan, self.rank, self.world = plan, rank, world
        self.start_step, self.stop_step = start_step, stop_step

    def _steps(self) -> Iterator[int]:
        stop = math.inf if self.stop_step is None else self.stop_step
        step = self.start_step
        while step < stop:
            yield step
            step += 1

    def _make(self, step: int) -> dict[str, Any]:
        mine = range(self.rank, self.plan.batch_size, self.world)
        return self._sequences([self.plan.pieces(step, item) for item in mine])


class ClipLoader(_SequenceLoader):
    """Every sequence of every recording, once, in order.

    Yields
    ------
    as `StreamLoader`, "frames" -1 in the padding behind a recording; "labels" None without labels; also "recording" and
    "window" (B,) int64, "labelled" (B,) bool
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        framing: SequenceFraming,
        *,
        batch_size: int,
        labels: Labels | None = None,
        encode: Encode | None = None,
        read: Read | None = None,
        workers: int = 1,
        prefetch: int = 4,
    ):
        super().__init__(
            recordings, framing, labels=labels, encode=encode, read=read, workers=workers, prefetch=prefetch
        )
        frames = [framing.clip_frames(recording.samples) for recording in self.recordings]
        self.plan = ClipPlan(frames, length=framing.frames, batch_size=batch_size)

    def __len__(self) -> int:
        return len(self.plan)

    def windows_of(self, recording: int) -> int:
        """Number of sequences of a recording."""
        return self.plan.windows_of(recording)

    def _steps(self) -> Iterator[int]:
        return iter(range(len(self.plan)))

    def _make(self, step: int) -> dict[str, Any]:
        windows, pieces = zip(*self.plan.batch(step))
        index = [piece.recording for piece in pieces]
        return {
            **self._sequences([[piece] for piece in pieces]),
            "recording": torch.tensor(index),
            "window": torch.tensor(windows),
            "labelled": torch.tensor([self.recordings[number].labels is not None for number in index]),
        }
