"""Plans: which stretch of which recording each training item and each evaluation step takes, and what of it is kept.

A plan is made for a list of recordings, given by their lengths. Item n is a pure function of (seed, n): processes that
share the work and runs that are resumed take the same items. The loader carries plans out; it does not invent them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dataset import draws
from dataset.framing import Framing
from util.errors import InputError
from util.intervals import frames_per_second, label_frame_of

Lengths = Sequence[int] | np.ndarray  # samples of each recording

_RECORDING, _START, _GROUP = 0, 1, 2  # streams of random numbers
_SAME_S = 1e-6  # looks of windows that overlap differ by rounding


class Piece(NamedTuple):
    """Consecutive frames of one recording.

    Attributes
    ----------
    recording : its index
    start : first sample of the first frame; may lie before the recording
    frames : how many
    first : number of the first frame inside the recording (0 of windows that begin between frames)
    inside : frames of it [from, to) that count, the others are padding
    begin, end : samples outside of [begin, end) are not read, they are zeros (or a mirror image, see the framing)
    """

    recording: int
    start: int
    frames: int
    first: int
    inside: tuple[int, int]
    begin: int
    end: int


class Item(NamedTuple):
    """What one row of a batch is made of.

    Attributes
    ----------
    number : key of everything random about it
    pieces : frames behind each other; what is left of the plan's length behind them is padding
    keep : frames of the output [from, to) that an evaluation takes, from this item alone unless windows overlap
    """

    number: int
    pieces: tuple[Piece, ...]
    keep: tuple[int, int]


class Span(NamedTuple):
    """Steps [first, end) of an item that belong to one of its pieces; its recording has `clip_frames` label frames."""

    item: int
    piece: int
    first: int
    end: int
    clip_frames: int


@dataclass(frozen=True)
class Grid:
    """Which label frame each step of a batch's output is.

    Attributes
    ----------
    frame : (batch, steps) int64 label frame inside its recording, -1 where there is none
    spans : which steps belong to which piece, by item, then by step
    frame_s : length of a label frame
    """

    frame: np.ndarray
    spans: tuple[Span, ...]
    frame_s: float


class Plan:
    """What all plans share.

    Attributes
    ----------
    framing : how frames lie on samples
    lengths : (recordings,) samples of each recording at the framing's rate
    frames : T, frames of an item; None: each item has its own
    count : number of items; None: there is no end
    steps_per_pass : steps that see every recording once; None: items are drawn at random, there are no passes
    max_batch : most items that can be computed together; None: any number
    visual_hop : frames from one look at the picture to the next; None: one look an item, at its time
    addable : items are single windows that begin with a label frame, so that one may be added to another
    """

    addable: bool = False

    count: int | None = None
    steps_per_pass: int | None = None
    max_batch: int | None = None

    def __init__(self, framing: Framing, lengths: Lengths, frames: int | None, *, visual_hop: int | None = None):
        self.framing, self.frames, self.visual_hop = framing, frames, visual_hop
        self.lengths = np.asarray(lengths, dtype=np.int64)

    def items(self, numbers: np.ndarray) -> list[Item]:
        """The items of those numbers."""
        raise NotImplementedError

    def item_frames(self, item: Item) -> int:
        """Frames of one item, padding included."""
        return self.frames if self.frames is not None else sum(piece.frames for piece in item.pieces)

    def piece_time_s(self, piece: Piece) -> float:
        """Time in its recording at which a piece begins."""
        return piece.first * self.framing.hop / self.framing.rate_hz

    def time_s(self, item: Item) -> float:
        """Time in its recording at which an item looks at the picture, if it does so once."""
        return self.piece_time_s(item.pieces[0])

    def looks(self, item: Item) -> list[tuple[int, np.ndarray]]:
        """When an item looks at the picture: recordings, each with times (m,) in seconds."""
        if self.visual_hop is None:
            return [(item.pieces[0].recording, np.array([self.time_s(item)]))]
        looks, done, hop_s = [], 0, self.framing.hop / self.framing.rate_hz
        whole = max(self.item_frames(item) // self.visual_hop, 1) * self.visual_hop  # one look a frame of the output
        for piece in item.pieces:
            end = whole if piece is item.pieces[-1] else min(done + piece.frames, whole)
            frame = np.arange(-(-done // self.visual_hop) * self.visual_hop, end, self.visual_hop) - done
            looks.append((piece.recording, np.maximum(self.piece_time_s(piece) + frame * hop_s, 0.0)))
            done += piece.frames
        return looks

    def grid(self, items: Sequence[Item], frame_s: float) -> Grid:
        """The label frame of each step of the output of items, for labels of frames of a length."""
        ratio = self.framing.frames_per_output
        steps = max(self.item_frames(item) for item in items) // ratio
        frame = np.full((len(items), steps), -1, dtype=np.int64)
        spans = []
        for row, item in enumerate(items):
            done = 0
            for index, piece in enumerate(item.pieces):
                first, end = -(-done // ratio), min(-(-(done + piece.frames) // ratio), steps)
                if end > first:
                    at = self._label_frames(piece, np.arange(first, end) * ratio - done, frame_s)
                    frame[row, first:end] = at
                    spans.append(Span(row, index, first, end, self._clip_label_frames(piece, frame_s)))
                done += piece.frames
        return Grid(frame, tuple(spans), frame_s)

    def output_frames(self, recording: int) -> int:
        """Frames of the output of a whole recording."""
        frames = int(self.framing.clip_frames(self.lengths[recording]))
        return max(frames // self.framing.frames_per_output, 1)

    def _clip_label_frames(self, piece: Piece, frame_s: float) -> int:
        """Label frames of a piece's recording."""
        length, framing = int(self.lengths[piece.recording]), self.framing
        if math.isclose(frame_s, framing.hop_s, rel_tol=1e-9):
            return int(framing.clip_frames(length))
        return math.ceil(length / framing.rate_hz * frames_per_second(frame_s) - 1e-6)

    def _label_frames(self, piece: Piece, step: np.ndarray, frame_s: float) -> np.ndarray:
        """Label frames of frames of a piece (counted from its first), -1 outside of the recording."""
        place = piece.first + step
        frame = label_frame_of(place, self.framing.hop_s, frame_s)
        inside = (step >= piece.inside[0]) & (step < piece.inside[1])
        return np.where(inside & (frame < self._clip_label_frames(piece, frame_s)), frame, -1)


class EvaluationPlan(Plan):
    """A plan with an end: an item is a window (or a sequence) of one recording, recording by recording.

    Attributes
    ----------
    count : windows of all recordings
    """

    count: int

    def _number(self, windows: np.ndarray) -> None:
        """Recording and window inside it of each item, from the number of windows of each recording."""
        self._windows = windows
        self._recording = np.repeat(np.arange(len(windows)), windows)
        self.count = len(self._recording)
        first = np.cumsum(windows) - windows
        self._window = np.arange(self.count) - np.repeat(first, windows)

    def look_times_s(self) -> np.ndarray:
        """Times in s at which the items look at the picture, in order, each once; of a plan of one recording."""
        items = self.items(np.arange(self.count))
        times_s = np.sort(np.concatenate([times_s for item in items for _, times_s in self.looks(item)]))
        return times_s[np.diff(times_s, prepend=-1.0) > _SAME_S]

    def windows_of(self, recording: int) -> int:
        """Number of windows of a recording."""
        return int(self._windows[recording])

    def numbers_in(self, recording: int) -> np.ndarray:
        """Numbers of the items of a recording."""
        return np.flatnonzero(self._recording == recording)


def numbers_of(step: int, batch_size: int, rank: int = 0, world: int = 1) -> np.ndarray:
    """Items of one process in one optimisation step: (batch_size,) int64.

    The processes together take the batch_size * world items of the step; process r of N those with n = r modulo N.
    """
    return step * batch_size * world + rank + world * np.arange(batch_size, dtype=np.int64)


class RandomWindows(Plan):
    """Training windows: recording uniform with replacement, start uniform inside it.

    As in the reference the start is uniform in 0 .. samples - length - 1 (the last possible start is never drawn); a
    recording no longer than a window starts at 0 and is padded with zeros behind. Frames are centred, with zeros around
    the window even where the recording goes on.

    Parameters
    ----------
    frames : of a window
    members : indices of the recordings to draw from; None: all
    label_frame_s : windows begin where label frames of this length do, so that labels of windows can be added; None:
        anywhere
    """

    frames: int

    def __init__(
        self,
        framing: Framing,
        lengths: Lengths,
        *,
        frames: int,
        seed: int = 0,
        members: np.ndarray | None = None,
        visual_hop: int | None = None,
        label_frame_s: float | None = None,
    ):
        super().__init__(framing, lengths, frames, visual_hop=visual_hop)
        self.members = np.arange(len(self.lengths)) if members is None else np.asarray(members)
        if not len(self.members):
            raise ValueError("there are no recordings to draw windows from")
        self.seed, self.samples = seed, (frames - 1) * framing.hop
        self.addable = label_frame_s is not None
        self._step = 1 if label_frame_s is None else round(label_frame_s * framing.rate_hz)

    def at(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers (m,) -> index of the recording (m,), first sample (m,), both int64."""
        numbers = np.asarray(numbers, dtype=np.int64)
        recording = self.members[draws.integers(self.seed, _RECORDING, numbers, len(self.members))]
        room = np.maximum(self.lengths[recording] - self.samples, 1)
        start = draws.integers(self.seed, _START, numbers, room)
        return recording, start - start % self._step

    def items(self, numbers: np.ndarray) -> list[Item]:
        recording, start = self.at(numbers)
        lead, keep = self.framing.n_fft // 2, (0, self.frames // self.framing.frames_per_output)
        return [
            Item(number, (Piece(r, s - lead, self.frames, 0, (0, self.frames), s, s + self.samples),), keep)
            for number, r, s in zip(np.asarray(numbers).tolist(), recording.tolist(), start.tolist())
        ]

    def piece_time_s(self, piece: Piece) -> float:
        return piece.begin / self.framing.rate_hz

    def grid(self, items: Sequence[Item], frame_s: float) -> Grid:
        framing = self.framing
        start_s = np.array([item.pieces[0].begin for item in items]) / framing.rate_hz
        ratio = framing.frames_per_output
        frame = label_grid(start_s, self.samples / framing.rate_hz, self.frames, frame_s, framing.hop_s)[:, ::ratio]
        frame = frame[:, : self.frames // ratio]
        spans = tuple(
            Span(row, 0, 0, frame.shape[1], self._clip_label_frames(item.pieces[0], frame_s))
            for row, item in enumerate(items)
        )
        return Grid(frame, spans, frame_s)


class WindowGrid(EvaluationPlan):
    """Evaluation windows, `hop` frames apart; of each the middle is kept, or what is `lead` frames behind its begin.

    With `reach` as much of that kept as so many windows before and after keep, too: 2 reach + 1 windows say something
    of every frame (fewer near the ends of a recording).


    The last samples of a recording that make no whole hop are dropped. Recording r has ceil(frames / hop) windows, one
    at least. Its output ends with the label frame (`label_frame_s`) in which the recording ends; with `whole_windows`
    it ends with the last window, as the reference's does.
    """

    frames: int

    def __init__(
        self,
        framing: Framing,
        lengths: Lengths,
        *,
        frames: int,
        hop: int,
        lead: int | None = None,
        reach: int = 0,
        label_frame_s: float = 0.1,
        whole_windows: bool = False,
        visual_hop: int | None = None,
    ):
        super().__init__(framing, lengths, frames, visual_hop=visual_hop)
        self.hop, self.lead, self.reach = hop, (frames - hop) // 2 if lead is None else lead, reach
        self.label_frame_s, self.whole_windows = label_frame_s, whole_windows
        self._frames = self.lengths // framing.hop
        self._number(np.maximum(-(-self._frames // hop), 1))

    def within(self, latency_s: float) -> WindowGrid:
        """The same windows closer together, of each what lies nearer to its end: no frame waits longer than a time.

        Half of the time is the way from one window to the next, half of it is heard behind the frames that are kept.

        Raises
        ------
        InputError : a time that is shorter than two label frames, or so long that no window is that late
        """
        step = self._step
        most = math.floor(latency_s / self.framing.hop_s + 1e-6)
        hop = most // 2 // step * step
        if not 0 < hop or most > self.frames:
            low_s, high_s = 2 * step * self.framing.hop_s, self.frames * self.framing.hop_s
            raise InputError(f"--latency {latency_s:g}: must be {low_s:g} to {high_s:g} s for windows of {high_s:g} s")
        return self._changed(hop, self.frames - hop - (most - hop) // step * step)

    def overlapping(self, count: int) -> WindowGrid:
        """The same windows so close together that `count` of them say something of every frame.

        Raises
        ------
        InputError : an even number, or more than the windows have steps
        """
        hop = self.frames // count // self._step * self._step
        if count % 2 == 0 or not hop:
            most = (self.frames // self._step - 1) // 2 * 2 + 1
            raise InputError(f"--overlap {count}: must be an odd number, for these windows {most} at most")
        lead = (self.frames - hop) // 2
        return self._changed(hop, lead - lead % self.framing.frames_per_output, (count - 1) // 2)

    @property
    def _step(self) -> int:
        """Frames by which windows can be moved so that label frames and looks stay where they are."""
        step = math.lcm(round(self.label_frame_s / self.framing.hop_s), self.framing.frames_per_output)
        return step if self.visual_hop is None else math.lcm(step, self.visual_hop)

    def _changed(self, hop: int, lead: int, reach: int = 0) -> WindowGrid:
        return WindowGrid(
            self.framing,
            self.lengths,
            frames=self.frames,
            hop=hop,
            lead=lead,
            reach=reach,
            label_frame_s=self.label_frame_s,
            whole_windows=self.whole_windows,
            visual_hop=self.visual_hop,
        )

    def window_start(self, window: int) -> int:
        """First sample that a window needs; negative at the recording's start."""
        return self.framing.hop * self.first_frame(window) - self.framing.left

    def first_frame(self, window: int) -> int:
        """Frame of the recording with which a window begins."""
        return window * self.hop - self.lead

    @property
    def window_samples(self) -> int:
        """Samples that a window needs."""
        return self.framing.samples_of(self.frames)

    def output_frames(self, recording: int) -> int:
        ratio = self.framing.frames_per_output
        if self.whole_windows:
            return self.windows_of(recording) * self.hop // ratio
        labels = max(1, math.ceil(int(self.lengths[recording]) / (self.label_frame_s * self.framing.rate_hz) - 1e-9))
        return labels * round(self.label_frame_s / self.framing.output_frame_s)

    def items(self, numbers: np.ndarray) -> list[Item]:
        ratio, made = self.framing.frames_per_output, []
        for number in np.asarray(numbers).tolist():
            recording, window = int(self._recording[number]), int(self._window[number])
            first, frames = self.first_frame(window), int(self._frames[recording])
            inside = min(max(-first, 0), self.frames), min(max(frames - first, 0), self.frames)
            start, whole = self.window_start(window), frames * self.framing.hop
            piece = Piece(recording, start, self.frames, first, inside, 0, whole)
            begin = max(window - self.reach, 0) * self.hop // ratio
            last = min(window + self.reach + 1, self.windows_of(recording))
            end = max(min(last * self.hop // ratio, self.output_frames(recording)), begin)
            shift = self.lead // ratio - window * self.hop // ratio
            made.append(Item(number, (piece,), (begin + shift, end + shift)))
        return made

    def time_s(self, item: Item) -> float:
        return (item.pieces[0].first + self.lead) * self.framing.hop / self.framing.rate_hz  # of what is kept

    def _label_frames(self, piece: Piece, step: np.ndarray, frame_s: float) -> np.ndarray:
        place, frames = piece.first + step, int(self._frames[piece.recording])
        frame = label_frame_of(place, self.framing.hop_s, frame_s)
        # the reference's label of a clip has one step more than its feature, and label frames up to ceil(10 duration)
        count = -(-frames // max(round(frame_s / self.framing.hop_s), 1))
        return np.where((place >= 0) & (place <= frames) & (frame < count), frame, -1)


class Passes(Plan):
    """A plan whose items come in passes over the recordings, in batches: subclasses say what is where in a pass.

    Attributes
    ----------
    batch_size : items per step, over all processes
    """

    frames: int
    steps_per_pass: int
    batch_size: int

    def items(self, numbers: np.ndarray) -> list[Item]:
        keep, per_pass = (0, self.frames // self.framing.frames_per_output), self.steps_per_pass * self.batch_size
        return [Item(number, self._pieces(*divmod(number, per_pass)), keep) for number in np.asarray(numbers).tolist()]

    def _pieces(self, passed: int, place: int) -> tuple[Piece, ...]:
        """The pieces of the item at a place of a pass."""
        raise NotImplementedError


class Stream(Passes):
    """Training sequences: all frames of all recordings behind each other, cut into sequences and batches.

    The recordings are shuffled anew for every pass. Sequences cross from one recording to the next, and what is left of
    the stream behind the last whole batch is dropped, as in the SELDnet references (quirks, kept).

    Parameters
    ----------
    frames : of a sequence
    batch_size : sequences per step, over all processes
    members : indices of the recordings of the stream; None: all
    shuffle : False: recordings in their order

    Raises
    ------
    InputError : the recordings do not fill one batch
    """

    def __init__(
        self,
        framing: Framing,
        lengths: Lengths,
        *,
        frames: int,
        batch_size: int,
        seed: int = 0,
        members: np.ndarray | None = None,
        shuffle: bool = True,
        visual_hop: int | None = None,
    ):
        super().__init__(framing, lengths, frames, visual_hop=visual_hop)
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self.members = np.arange(len(self.lengths)) if members is None else np.asarray(members)
        self._frames = framing.clip_frames(self.lengths)
        total = int(self._frames[self.members].sum())
        self.steps_per_pass = total // (frames * batch_size)
        if not self.steps_per_pass:
            rule = f"{len(self.members)} recordings have {total} frames, a batch takes {batch_size} "
            raise InputError(f"{rule}sequences of {frames}: lower the batch size (-b) or --set sequence_frames=N")
        self._pass: tuple[int, np.ndarray, np.ndarray] | None = None

    def _pieces(self, passed: int, place: int) -> tuple[Piece, ...]:
        order, ends = self._order(passed)
        begin = place * self.frames
        end, pieces = begin + self.frames, []
        place = int(np.searchsorted(ends, begin, side="right"))
        while begin < end:
            start = int(ends[place]) - int(self._frames[order[place]])
            count = min(end, int(ends[place])) - begin
            pieces.append(whole_frames(self, int(order[place]), begin - start, count))
            begin, place = begin + count, place + 1
        return tuple(pieces)

    def _order(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Order of the recordings in a pass, and where each ends in the stream."""
        held = self._pass  # one assignment: several threads may come here
        if held is None or held[0] != number:
            order = self.members
            if self.shuffle:
                order = np.random.default_rng((self.seed, number)).permutation(order)
            held = self._pass = number, order, np.cumsum(self._frames[order])
        return held[1], held[2]


class Sequences(Passes):
    """Training sequences that each lie in one recording, as the DCASE baselines since 2022 have them.

    The recordings are shuffled anew for every pass, their sequences follow each other. What is left of a recording
    behind its last whole sequence is dropped, and so is what is left of a pass behind its last whole batch, as
    published. A recording that is shorter than a sequence is one nevertheless, padded; a pass of fewer sequences than a
    batch fills it with the first ones again.

    Parameters
    ----------
    frames : of a sequence
    hop : from one sequence to the next; None: they do not overlap
    batch_size : sequences per step, over all processes
    members : indices of the recordings to take; None: all
    silence : frames behind the end of a recording are those of silence, not padding

    Raises
    ------
    InputError : no recordings
    """

    def __init__(
        self,
        framing: Framing,
        lengths: Lengths,
        *,
        frames: int,
        hop: int | None = None,
        batch_size: int,
        seed: int = 0,
        members: np.ndarray | None = None,
        silence: bool = False,
        visual_hop: int | None = None,
    ):
        super().__init__(framing, lengths, frames, visual_hop=visual_hop)
        self.hop, self.batch_size, self.seed, self.silence = hop or frames, batch_size, seed, silence
        self.members = np.arange(len(self.lengths)) if members is None else np.asarray(members)
        if not len(self.members):
            raise InputError("no recordings to cut sequences from")
        self._frames = framing.clip_frames(self.lengths)
        self._sequences = np.maximum((self._frames - (frames - self.hop)) // self.hop, 1)
        self.steps_per_pass = max(int(self._sequences[self.members].sum()) // batch_size, 1)
        self._pass: tuple[int, np.ndarray, np.ndarray] | None = None

    def _pieces(self, passed: int, place: int) -> tuple[Piece, ...]:
        order, ends = self._order(passed)
        sequence = place % int(ends[-1])
        place = int(np.searchsorted(ends, sequence, side="right"))
        recording = int(order[place])
        first = (sequence - int(ends[place]) + int(self._sequences[recording])) * self.hop
        count = self.frames if self.silence else min(self.frames, int(self._frames[recording]) - first)
        return (whole_frames(self, recording, first, count),)

    def _order(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Order of the recordings in a pass, and where the sequences of each end."""
        held = self._pass  # one assignment: several threads may come here
        if held is None or held[0] != number:
            order = np.random.default_rng((self.seed, number)).permutation(self.members)
            held = self._pass = number, order, np.cumsum(self._sequences[order])
        return held[1], held[2]


class Clips(EvaluationPlan):
    """Evaluation sequences: each recording by itself from its first frame on, the last sequence padded.

    Parameters
    ----------
    frames : of a sequence; None: a recording is one sequence, and those longer than `limit` frames are as few parts of
        one length as keep the limit
    hop : from one sequence to the next, of whose output so much is kept; None: they do not overlap
    multiple : the length of such parts is one of it, that of frames which a network makes one step of: what it leaves
        over at the end of a part would be missing in the middle of the recording
    padded : the last part is filled up to one, too, so that nothing is missing at the end of the recording
    surplus : frames at the end of a recording that are worth no frame of the output by themselves
    silence : frames behind the end of a recording are those of silence, not padding
    """

    def __init__(
        self,
        framing: Framing,
        lengths: Lengths,
        *,
        frames: int | None,
        hop: int | None = None,
        limit: int = 12000,
        multiple: int = 1,
        padded: bool = False,
        surplus: int = 0,
        silence: bool = False,
        visual_hop: int | None = None,
    ):
        super().__init__(framing, lengths, frames, visual_hop=visual_hop)
        self.silence = silence
        self._frames = framing.clip_frames(self.lengths)
        self._padding = multiple if padded else 1
        self._kept = -(-np.maximum(self._frames - surplus, 1) // framing.frames_per_output)
        part = -(-self._frames // -(-self._frames // limit))
        part = -(-part // multiple) * multiple
        self._length = part if frames is None else np.full(len(self._frames), frames)
        self._hop = self._length if hop is None else np.full(len(self._frames), hop)
        self._number(np.maximum(-(-(self._frames - (self._length - self._hop)) // self._hop), 1))
        self.max_batch = 1 if frames is None else None

    def items(self, numbers: np.ndarray) -> list[Item]:
        made = []
        for number in np.asarray(numbers).tolist():
            recording = int(self._recording[number])
            length, hop = int(self._length[recording]), int(self._hop[recording])
            first = int(self._window[number]) * hop
            count = min(length, int(self._frames[recording]) - first)
            ratio = self.framing.frames_per_output
            kept = min(-(-min(count, hop) // ratio), int(self._kept[recording]) - first // ratio)
            piece = whole_frames(self, recording, first, length if self.silence else count)
            piece = piece._replace(frames=-(-piece.frames // self._padding) * self._padding)
            made.append(Item(number, (piece,), (0, max(kept, 0))))
        return made

    def output_frames(self, recording: int) -> int:
        return int(self._kept[recording])


class Mixed(Plan):
    """Items of several plans of one kind, each of its own recordings, in given shares.

    Item n is item n of one of them, drawn by its share.

    Parameters
    ----------
    make : (indices of a group's recordings) -> the plan of these, among all recordings
    groups : (recordings,) number of the group of each recording
    shares : of the items of each group

    Raises
    ------
    ValueError : shares that fit no groups
    """

    def __init__(
        self, make: Callable[[np.ndarray], Plan], *, groups: Sequence[int], shares: Sequence[float], seed: int = 0
    ):
        group = np.asarray(groups)
        members = [np.flatnonzero(group == index) for index in range(len(shares))]
        weight = np.array([share if len(member) else 0.0 for share, member in zip(shares, members)])
        if not len(weight) or weight.min() < 0 or weight.sum() <= 0:
            raise ValueError(f"shares {shares} fit no groups of {len(group)} recordings")
        self.seed, self._cumulated = seed, np.cumsum(weight) / weight.sum()
        self._plans = {index: make(members[index]) for index in np.flatnonzero(weight).tolist()}
        self._first = next(iter(self._plans.values()))
        super().__init__(
            self._first.framing, self._first.lengths, self._first.frames, visual_hop=self._first.visual_hop
        )
        self.addable = self._first.addable
        passes = [plan.steps_per_pass for plan in self._plans.values()]
        known = [steps for steps in passes if steps is not None]
        self.steps_per_pass = sum(known) if len(known) == len(passes) else None

    def items(self, numbers: np.ndarray) -> list[Item]:
        numbers = np.asarray(numbers, dtype=np.int64)
        drawn = draws.uniform(self.seed, _GROUP, numbers)
        group = np.minimum(np.searchsorted(self._cumulated, drawn, side="right"), len(self._cumulated) - 1)
        made: dict[int, Item] = {}
        for index, plan in self._plans.items():
            rows = np.flatnonzero(group == index)
            made |= zip(rows.tolist(), plan.items(numbers[rows]))
        return [made[row] for row in range(len(numbers))]

    def piece_time_s(self, piece: Piece) -> float:
        return self._first.piece_time_s(piece)

    def grid(self, items: Sequence[Item], frame_s: float) -> Grid:
        return self._first.grid(items, frame_s)


def label_grid(
    start_s: np.ndarray | float, length_s: float = 1.27, steps: int = 128, frame_s: float = 0.1, step_s: float = 0.01
) -> np.ndarray:
    """Label frame of each step of a training window, -1 where there is none: (..., steps) int64.

    The expressions are evaluated in float64 exactly as in the reference: the fraction of 10 s falls just below the
    integer for some multiples of 10 ms (0.29 s), which shifts labels by one step there, and the last step is empty
    where 10 (s + length) is an integer. Quirks, kept.

    Parameters
    ----------
    start_s : start sample / rate
    frame_s, step_s : length of a label frame and of a step of the output
    """
    start_s = np.asarray(start_s, dtype=np.float64)[..., None]
    per_second, ratio = frames_per_second(frame_s), round(frame_s / step_s)
    begun = per_second * start_s
    if math.isclose(ratio * step_s, frame_s, rel_tol=1e-9):
        whole = np.floor(begun)
        shift = np.floor(ratio * (begun - whole)).astype(np.int64)
        frame = whole.astype(np.int64) + (np.arange(steps) + shift) // ratio
    else:
        frame = np.floor((start_s + np.arange(steps) * step_s) * per_second + 1e-9).astype(np.int64)
    return np.where(frame < np.ceil(per_second * (start_s + length_s)), frame, -1)


def whole_frames(plan: Plan, recording: int, first: int, count: int) -> Piece:
    """A piece of whole frames of a recording."""
    framing = plan.framing
    start = first * framing.hop - framing.left
    return Piece(recording, start, count, first, (0, count), 0, int(plan.lengths[recording]))
