"""Chunks of a fixed length that overlap, in the order of the two-stage reference (DCASE 2019), as pure functions.

A chunk is a recording and its first frame. Order and draws come from NumPy's legacy generator, as published: the same
seed gives the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from util.errors import InputError

QUIET = 1e-4  # sum of |samples| per channel below which a recording is skipped


@dataclass(frozen=True)
class Chunk:
    """Frames first .. first + count - 1 of a recording; those behind its end are padding."""

    recording: int
    first: int
    count: int


def chunk_starts(frames: Sequence[int], *, length: int, hop: int) -> tuple[np.ndarray, np.ndarray]:
    """All chunks of a list of recordings, in its order.

    A recording longer than a chunk gives chunks every `hop` frames, and one more that ends with it, if none does.
    Shorter ones give one chunk, padded. (In the reference, a shorter one would shift all chunks of the recordings
    behind it, and be padded with -100.)

    Parameters
    ----------
    frames : frames of each recording, 1 or more
    length, hop : of the chunks, in frames

    Returns
    -------
    recording, first frame : (n,) int64 each

    Raises
    ------
    ValueError : a length or hop below 1, a recording without frames
    """
    counts = np.asarray(frames, dtype=np.int64)
    if length < 1 or hop < 1 or (counts < 1).any():
        raise ValueError(f"chunks of {length} frames every {hop} of recordings of {counts.min(initial=1)} and more")
    last = np.maximum(counts - length, 0)
    firsts = [np.append(np.arange(0, end, hop), end) for end in last.tolist()]
    recording = np.repeat(np.arange(len(counts)), [len(first) for first in firsts])
    return recording, np.concatenate(firsts) if firsts else np.zeros(0, dtype=np.int64)


class ChunkPlan:
    """Which chunks each optimisation step takes.

    The chunks are shuffled before the first pass and again, from the order that they are in, before every other. The
    last batch of a pass is topped up with the first chunks of the same order (a quirk, kept). The chunks of a step are
    a pure function of (seed, step).

    Parameters
    ----------
    frames : frames of each recording
    length, hop : of the chunks, in frames; 200 and 50, 2 s and 0.5 s, as published
    batch_size : chunks per step, over all processes
    seed : of the order

    Attributes
    ----------
    steps_per_pass : steps that every chunk occurs in

    Raises
    ------
    InputError : no recordings
    """

    def __init__(
        self, frames: Sequence[int], *, length: int = 200, hop: int = 50, batch_size: int = 32, seed: int = 10
    ):
        self.recording, self.first = chunk_starts(frames, length=length, hop=hop)
        if not len(self.first):
            raise InputError("no recordings to cut chunks from")
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.steps_per_pass = -(-len(self.first) // batch_size)
        self._held: tuple[int, np.ndarray, np.random.RandomState] | None = None

    def __len__(self) -> int:
        """Number of chunks."""
        return len(self.first)

    def items(self, step: int, rank: int = 0, world: int = 1) -> list[Chunk]:
        """The chunks of an optimisation step that fall to process `rank` of `world`."""
        number, inside = divmod(step, self.steps_per_pass)
        order = self._order(number)
        place = np.arange(inside * self.batch_size + rank, (inside + 1) * self.batch_size, world)
        chosen = order[place % len(order)]
        pairs = zip(self.recording[chosen].tolist(), self.first[chosen].tolist())
        return [Chunk(recording, first, self.length) for recording, first in pairs]

    def _order(self, number: int) -> np.ndarray:
        """Order of the chunks in a pass, from the last one that was asked for or from the beginning."""
        held = self._held  # one assignment: several threads may come here
        if held is not None and held[0] == number:
            return held[1]
        if held is not None and held[0] < number:
            done, order, state = held[0], held[1].copy(), held[2].get_state()
            generator = np.random.RandomState()
            generator.set_state(state)
        else:
            done, order, generator = -1, np.arange(len(self.first)), np.random.RandomState(self.seed)
        for _ in range(number - done):
            generator.shuffle(order)
        self._held = number, order, generator
        return order


def monitoring_draw(counts: Sequence[int], call: int, *, size: int = 30, seed: int = 10) -> np.ndarray:
    """Recordings on which a model is looked at while it trains: each call draws others.

    Parameters
    ----------
    counts : recordings of the lists that take turns, (training, validation) in the reference; one list: (count,)
    call : number of the call, from 0 on: lists and calls share one generator
    size : recordings to draw, all where a list has fewer

    Returns
    -------
    numbers of recordings in list `call % len(counts)`, (size,) int64, in the order drawn
    """
    generator = np.random.RandomState(seed)
    order = np.zeros(0, dtype=np.int64)
    for number in range(call + 1):
        order = np.arange(counts[number % len(counts)])
        generator.shuffle(order)
    return order[:size]


def mirrored_stretch(read: Callable[[int, int], np.ndarray], samples: int, begin: int, count: int) -> np.ndarray:
    """Samples [begin, begin + count) of a recording that is continued at both ends by its mirror image.

    What centred frames need: those of a chunk from frame f on begin at sample hop f - n_fft / 2. The feature of the
    stretch then is that of the whole recording (`feature.stft.SpectralFeature.whole`).

    Parameters
    ----------
    read : (first sample, count) inside the recording -> (channels, count)
    samples : of the recording
    """
    if begin >= 0 and begin + count <= samples:
        return read(begin, count)
    period = max(2 * (samples - 1), 1)
    place = np.arange(begin, begin + count) % period
    place = np.minimum(place, period - place) if samples > 1 else place
    first = int(place.min())
    return read(first, int(place.max()) + 1 - first)[:, place - first]


def is_silent(waveform: np.ndarray) -> bool:
    """Whether the reference leaves a recording (channels, samples) out: all samples together are next to nothing."""
    waveform = np.asarray(waveform)
    return bool(np.abs(waveform).sum(dtype=np.float64) < QUIET * len(waveform))
