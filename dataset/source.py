"""Source: what a loader reads: recordings, and where their samples, labels and visual input come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from dataset.recordings import Labels, Recording
from util.audio import read_audio
from util.events import EventTable
from util.intervals import IntervalTable

Read = Callable[[Recording, int, int, int], np.ndarray]
Visual = Callable[[Recording, np.ndarray], np.ndarray]
_BLOCK = 2**20  # samples


def read_file(recording: Recording, start: int, length: int, rate_hz: int) -> np.ndarray:
    """(channels, length) of a recording's file from sample `start` on, at `rate_hz`; zeros outside of it."""
    return read_audio(recording.audio, start=start, frames=length, rate_hz=rate_hz, channels=recording.array.channels)


@dataclass(frozen=True)
class Source:
    """What a loader reads.

    Attributes
    ----------
    recordings : in the order of their indices
    labels : reader of the events; None: there are none
    visual : (recording, times (m,) in s) -> (m, ...) float32, what is seen; None: nothing is looked at
    read : (recording, first sample, samples, rate in Hz) -> (channels, samples), zeros outside of the recording
    channels : of what `read` gives; None: those of the recordings' array
    length_of : (recording, rate in Hz) -> samples; None: those of its file
    clip_s : length in seconds to which recordings are cut or filled up with zeros; None: they stay as they are
    """

    recordings: Sequence[Recording]
    labels: Labels | None = None
    visual: Visual | None = None
    read: Read = read_file
    channels: int | None = None
    length_of: Callable[[Recording, int], int] | None = None
    clip_s: float | None = None

    def lengths(self, rate_hz: int) -> np.ndarray:
        """Samples (recordings,) int64 of each recording at a rate."""
        if self.clip_s is not None:
            return np.full(len(self.recordings), round(self.clip_s * rate_hz), dtype=np.int64)
        return np.array([self.samples_of(recording, rate_hz) for recording in self.recordings], dtype=np.int64)

    def samples_of(self, recording: Recording, rate_hz: int) -> int:
        """Samples that there are of a recording, whatever `clip_s` says."""
        return recording.samples_at(rate_hz) if self.length_of is None else self.length_of(recording, rate_hz)

    def levelled(self, deviation: float | None) -> Source:
        """Recordings as a whole brought to a standard deviation, over all samples and channels; silence stays so.

        Parameters
        ----------
        deviation : of samples in [-1, 1]; None: recordings stay as they are
        """
        if deviation is None:
            return self
        gains: dict[tuple[str, int], float] = {}

        def read(recording: Recording, start: int, length: int, rate_hz: int) -> np.ndarray:
            key = (recording.name, rate_hz)
            if key not in gains:
                found = _deviation(self.read, recording, self.samples_of(recording, rate_hz), rate_hz)
                gains[key] = deviation / found if found > 0 else 1.0
            return self.read(recording, start, length, rate_hz) * np.float32(gains[key])

        return replace(self, read=read)

    @property
    def channel_count(self) -> int:
        """Channels of the waveforms."""
        return self.recordings[0].array.channels if self.channels is None else self.channels


def _deviation(read: Read, recording: Recording, samples: int, rate_hz: int) -> float:
    """Standard deviation of all samples of all channels of a recording, read in blocks."""
    count, total, squares = 0, 0.0, 0.0
    for start in range(0, samples, _BLOCK):
        block = read(recording, start, min(_BLOCK, samples - start), rate_hz).astype(np.float64)
        count, total, squares = count + block.size, total + block.sum(), squares + np.square(block).sum()
    return float(max(squares / count - (total / count) ** 2, 0.0) ** 0.5) if count else 0.0


class Turn(Protocol):
    """A change of the labels that goes with one of the sound."""

    def events(self, table: EventTable) -> EventTable: ...

    def intervals(self, table: IntervalTable) -> IntervalTable: ...


@dataclass(frozen=True)
class ClipLabels:
    """The labels of one recording, for the encoders of the output formats.

    Attributes
    ----------
    turns : changes of the events made by augmentation, one after the other
    """

    labels: Labels
    recording: Recording
    turns: tuple[Turn, ...] = ()

    def events(self, frame_s: float, first: int = 0, end: int | None = None) -> EventTable:
        """The events of label frames first <= frame < end, of frames of a length, sorted by frame."""
        table = self.labels.of_frames(self.recording, frame_s)
        if first > 0 or end is not None:
            table = table[slice(*np.searchsorted(table.frame, (first, np.iinfo(np.int64).max if end is None else end)))]
        for turn in self.turns:
            table = turn.events(table)
        return table

    @property
    def intervals(self) -> IntervalTable:
        """The events with start and end."""
        table = self.labels.intervals(self.recording)
        for turn in self.turns:
            table = turn.intervals(table)
        return table

    def turned(self, turn: Turn) -> ClipLabels:
        """The labels with one more change."""
        return ClipLabels(self.labels, self.recording, (*self.turns, turn))
