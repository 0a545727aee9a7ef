"""Chunks of a fixed length that overlap, in the order of the two-stage reference (DCASE 2019), as pure functions.

A chunk is a recording and its first frame. Order and draws come from NumPy's legacy generator, as published: the same
seed gives the same batches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dataset.framing import Framing
from dataset.plans import Lengths, Passes, Piece, whole_frames
from util.errors import InputError


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


class Chunks(Passes):
    """Chunks of recordings in the order of the reference.

    The chunks are shuffled before the first pass and again, from the order that they are in, before every other. The
    last batch of a pass is topped up with the first chunks of the same order (a quirk, kept).

    Parameters
    ----------
    frames, hop : of the chunks; 200 and 50 frames of 10 ms, 2 s and 0.5 s, as published
    batch_size : chunks per step, over all processes
    seed : of the order
    members : indices of the recordings to cut; None: all
    label_lead : frames by which labels are ahead, of the chunks that do not begin with a label frame

    Attributes
    ----------
    steps_per_pass : steps that every chunk occurs in

    Raises
    ------
    InputError : no recordings
    """

    def __init__(
        self,
        framing: Framing,
        lengths: Lengths,
        *,
        frames: int = 200,
        hop: int = 50,
        batch_size: int = 32,
        seed: int = 10,
        members: np.ndarray | None = None,
        label_lead: int = 0,
        visual_hop: int | None = None,
    ):
        super().__init__(framing, lengths, frames, visual_hop=visual_hop)
        taken = np.arange(len(self.lengths)) if members is None else np.asarray(members)
        if not len(taken):
            raise InputError("no recordings to cut chunks from")
        self._frames = framing.clip_frames(self.lengths)
        recording, self.first = chunk_starts(self._frames[taken].tolist(), length=frames, hop=hop)
        self.recording = taken[recording]
        self.batch_size, self.seed, self.label_lead = batch_size, seed, label_lead
        self.steps_per_pass = -(-len(self.first) // batch_size)
        self._held: tuple[int, np.ndarray, np.random.RandomState] | None = None

    def __len__(self) -> int:
        """Number of chunks."""
        return len(self.first)

    def _pieces(self, passed: int, place: int) -> tuple[Piece, ...]:
        order = self._order(passed)
        chosen = order[place % len(order)]
        recording, first = int(self.recording[chosen]), int(self.first[chosen])
        return (whole_frames(self, recording, first, min(self.frames, int(self._frames[recording]) - first)),)

    def _label_frames(self, piece: Piece, step: np.ndarray, frame_s: float) -> np.ndarray:
        return super()._label_frames(piece._replace(first=piece.first + self.label_lead), step, frame_s)

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
