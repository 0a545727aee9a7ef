"""Window plans: which stretch of which recording each training item and each evaluation step takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dataset import draws
from dataset.recordings import Recording

LABEL_STEPS = 10  # steps of the label grid per label frame: 10 ms in 100 ms
_RECORDING, _START, _GROUP = 0, 1, 2  # streams of random numbers


@dataclass(frozen=True)
class Framing:
    """Lengths that windows are made of, all in samples or STFT frames.

    Attributes
    ----------
    window_s : length of a training window in seconds
    eval_hop_s : hop of evaluation windows in seconds
    """

    rate_hz: int = 24000
    n_fft: int = 512
    hop: int = 240
    window_s: float = 1.27
    eval_hop_s: float = 1.2

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Framing:
        """The framing of resolved arguments, or of those stored in a checkpoint; 24 kHz where they do not say.

        Window and hop of the windows are not among them: networks and output format are made for one length.
        """
        return cls(
            rate_hz=settings.get("sampling_frequency", cls.rate_hz),
            n_fft=settings.get("fft_size", cls.n_fft),
            hop=settings.get("stft_hop_size", cls.hop),
        )

    @property
    def window_samples(self) -> int:
        """Samples of a training window."""
        return round(self.window_s * self.rate_hz)

    @property
    def window_frames(self) -> int:
        """STFT frames of a window, in training (centred) and in evaluation."""
        return round(self.window_samples / self.hop) + 1

    @property
    def eval_hop_frames(self) -> int:
        """STFT frames from one evaluation window to the next."""
        return round(self.eval_hop_s * self.rate_hz / self.hop)

    @property
    def leading_frames(self) -> int:
        """STFT frames by which an evaluation window begins before the stretch that is kept of it."""
        return (self.window_frames - self.eval_hop_frames) // 2

    @property
    def eval_samples(self) -> int:
        """Samples that the frames of an evaluation window need; not centred."""
        return (self.window_frames - 1) * self.hop + self.n_fft

    def eval_first_frame(self, window: np.ndarray | int) -> np.ndarray | int:
        """STFT frame of the clip with which evaluation window i begins; negative at the clip's start."""
        return window * self.eval_hop_frames - self.leading_frames

    def eval_start(self, window: np.ndarray | int) -> np.ndarray | int:
        """First sample that evaluation window i needs: frame k covers [hop (k + 1) - n_fft, hop (k + 1))."""
        return (self.eval_first_frame(window) + 1) * self.hop - self.n_fft

    def clip_frames(self, samples: int) -> int:
        """STFT frames of a clip in evaluation; what is left of it behind them is dropped."""
        return samples // self.hop


class RandomWindows:
    """Training windows: recording uniform with replacement, start uniform inside it.

    Window n is a pure function of (seed, n). As in the reference the start is uniform in 0 .. samples - length - 1 (the
    last possible start is never drawn); a clip no longer than a window starts at 0 and is padded with zeros behind.

    Parameters
    ----------
    length : samples of a window
    groups : number of the group (data root) of each recording
    shares : share of the windows that each group gets; None: in proportion to its recordings
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        *,
        length: int = 30480,
        seed: int = 0,
        groups: Sequence[int] | None = None,
        shares: Sequence[float] | None = None,
    ):
        if not recordings:
            raise ValueError("there are no recordings to draw windows from")
        self.length, self.seed = length, seed
        self._samples = np.array([recording.samples for recording in recordings], dtype=np.int64)
        self._members, self._cumulated = [np.arange(len(recordings))], np.ones(1)
        if groups is not None and shares is not None:
            group = np.asarray(groups)
            self._members = [np.flatnonzero(group == index) for index in range(len(shares))]
            weight = np.array([share if len(member) else 0.0 for share, member in zip(shares, self._members)])
            if len(group) != len(recordings) or weight.min() < 0 or weight.sum() <= 0:
                raise ValueError(f"shares {shares} fit no groups of {len(recordings)} recordings")
            self._cumulated = np.cumsum(weight) / weight.sum()

    def at(self, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Window numbers (m,) -> index of the recording (m,), first sample (m,), both int64."""
        number = np.asarray(number, dtype=np.int64)
        place = draws.uniform(self.seed, _RECORDING, number)
        if len(self._members) == 1:
            recording = _pick(self._members[0], place)
        else:
            drawn = draws.uniform(self.seed, _GROUP, number)
            group = np.minimum(np.searchsorted(self._cumulated, drawn, side="right"), len(self._members) - 1)
            recording = np.empty(len(number), dtype=np.int64)
            for index, members in enumerate(self._members):
                chosen = group == index
                recording[chosen] = _pick(members, place[chosen])
        room = np.maximum(self._samples[recording] - self.length, 1)
        return recording, draws.integers(self.seed, _START, number, room)

    @staticmethod
    def numbers(step: int, batch_size: int, rank: int = 0, world: int = 1) -> np.ndarray:
        """Windows of one process in one optimisation step: (batch_size,) int64.

        The processes together take the batch_size * world windows of the step; process r of N those with
        n = r modulo N.
        """
        return step * batch_size * world + rank + world * np.arange(batch_size, dtype=np.int64)


class EvaluationPlan:
    """Windows of every recording on the evaluation grid, in batches that run across recordings.

    Recording r has ceil(frames / 120) windows, frames of 10 ms counted as integers (one window at least); the last
    batch is short. Iterating gives (recording index (B,), window index inside the clip (B,)), int64.
    """

    def __init__(self, recordings: Sequence[Recording], *, batch_size: int = 16, framing: Framing | None = None):
        self.framing = framing or Framing()
        self.batch_size = batch_size
        frames = np.array([self.framing.clip_frames(recording.samples) for recording in recordings], dtype=np.int64)
        self._windows = np.maximum(-(-frames // self.framing.eval_hop_frames), 1)
        self._recording = np.repeat(np.arange(len(recordings)), self._windows)
        first = np.cumsum(self._windows) - self._windows
        self._window = np.arange(len(self._recording)) - np.repeat(first, self._windows)

    def windows_of(self, recording: int) -> int:
        """Number of windows of a recording."""
        return int(self._windows[recording])

    @property
    def window_count(self) -> int:
        """Number of windows of all recordings."""
        return len(self._window)

    def __len__(self) -> int:
        return -(-len(self._window) // self.batch_size)

    def batch(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Batch number `index`."""
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return self._recording[part], self._window[part]

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (self.batch(index) for index in range(len(self)))


def label_grid(start_s: np.ndarray | float, length_s: float = 1.27, steps: int = 128) -> np.ndarray:
    """Label frame (100 ms) of each 10 ms step of a training window, -1 where there is none: (..., steps) int64.

    The expressions are evaluated in float64 exactly as in the reference: the fraction of 10 s falls just below the
    integer for some multiples of 10 ms (0.29 s), which shifts labels by one step there, and the last step is empty
    where 10 (s + length) is an integer. Quirks, kept.

    Parameters
    ----------
    start_s : start sample / rate
    """
    start_s = np.asarray(start_s, dtype=np.float64)[..., None]
    tenths = 10 * start_s
    whole = np.floor(tenths)
    shift = np.floor(10 * (tenths - whole)).astype(np.int64)
    frame = whole.astype(np.int64) + (np.arange(steps) + shift) // LABEL_STEPS
    return np.where(frame < np.ceil(10 * (start_s + length_s)), frame, -1)


def clip_label_grid(window: np.ndarray, clip_frames: np.ndarray, framing: Framing) -> np.ndarray:
    """Label frame of each 10 ms step of evaluation windows, -1 where there is none: (B, steps) int64.

    Parameters
    ----------
    window : (B,) index of the window inside its clip
    clip_frames : (B,) length of the clips in steps of 10 ms
    """
    first = np.asarray(framing.eval_first_frame(np.asarray(window, dtype=np.int64)))[:, None]
    step = first + np.arange(framing.window_frames)
    frames = np.asarray(clip_frames, dtype=np.int64)[:, None]
    # the reference's label of a clip has one step more than its feature, and label frames up to ceil(10 duration)
    inside = (step >= 0) & (step <= frames) & (step // LABEL_STEPS < -(-frames // LABEL_STEPS))
    return np.where(inside, step // LABEL_STEPS, -1)


def _pick(members: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Members at places in [0, 1)."""
    return members[np.minimum((place * len(members)).astype(np.int64), len(members) - 1)]
