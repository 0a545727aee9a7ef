"""Samplers: how training items and evaluation steps are cut from recordings. A row of a system names its sampler.

Each knows its window plans and the loaders that carry them out; trainer and predictor need not know which it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dataset.loader import Augment, EvaluationLoader, Read, TrainingLoader
from dataset.recordings import Labels, Recording
from dataset.sequences import ClipLoader, SequenceFraming, StreamLoader, StreamPlan
from dataset.windows import EvaluationPlan, Framing, RandomWindows
from util.errors import InputError

BoxesAt = Callable[[Recording, np.ndarray], np.ndarray]  # recording and times (m,) in s -> boxes (m, 6, 4)


class Batches(Protocol):
    """Batches of training, for one process."""

    def __iter__(self) -> Iterator[dict[str, Any]]: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Drawing:
    """How the items of a training are drawn.

    Attributes
    ----------
    batch_size : items per step, over all processes
    groups : number of the group (data root) of each recording; with `shares`, the share of the items of each group
    augment : changes every item
    rank, world : this process, and how many there are

    Raises
    ------
    InputError : the batch size does not divide by the number of processes
    """

    batch_size: int
    seed: int = 0
    groups: Sequence[int] | None = None
    shares: Sequence[float] | None = None
    augment: Augment | None = None
    rank: int = 0
    world: int = 1
    workers: int = 1

    def __post_init__(self) -> None:
        if self.batch_size % self.world:
            raise InputError(f"the batch size {self.batch_size} must divide by the {self.world} processes")

    @property
    def per_process(self) -> int:
        """Items per step of one process."""
        return self.batch_size // self.world


class WindowSampler:
    """Random windows in training, windows on the evaluation grid in evaluation: see `dataset.windows`."""

    def __init__(self, framing: Framing):
        self.framing = framing

    @property
    def rate_hz(self) -> int:
        """Sampling rate of the waveforms."""
        return self.framing.rate_hz

    def steps_per_pass(self, recordings: Sequence[Recording], batch_size: int) -> int | None:
        """Steps that see every recording once; None: windows are drawn at random, there are no passes."""
        return None

    def windows(self, recordings: Sequence[Recording], drawing: Drawing) -> RandomWindows:
        """The plan of training windows."""
        return RandomWindows(
            recordings,
            length=self.framing.window_samples,
            seed=drawing.seed,
            groups=drawing.groups,
            shares=drawing.shares,
        )

    def training(
        self,
        recordings: Sequence[Recording],
        drawing: Drawing,
        *,
        labels: Labels,
        output_format: Any,
        boxes: BoxesAt | None = None,
        first_step: int = 0,
    ) -> TrainingLoader:
        """Batches from an optimisation step on."""
        return TrainingLoader(
            recordings,
            self.windows(recordings, drawing),
            batch_size=drawing.per_process,
            labels=labels,
            encode=output_format.encode,
            boxes=boxes,
            augment=drawing.augment,
            start_step=first_step,
            rank=drawing.rank,
            world=drawing.world,
            workers=drawing.workers,
        )

    def evaluation(
        self,
        recordings: Sequence[Recording],
        *,
        batch_size: int,
        output_format: Any,
        labels: Labels | None = None,
        boxes: BoxesAt | None = None,
        read: Read | None = None,
        workers: int = 1,
    ) -> EvaluationLoader:
        """Every window of every recording, in order."""
        plan = EvaluationPlan(recordings, batch_size=batch_size, framing=self.framing)
        encode = None if labels is None else output_format.encode
        return EvaluationLoader(recordings, plan, labels=labels, encode=encode, boxes=boxes, read=read, workers=workers)

    def output_frames(self, samples: int) -> int | None:
        """Output frames of a recording; None: all that its windows give, which may reach beyond its end."""
        return None

    def window_times_s(self, samples: int) -> np.ndarray:
        """Times (windows,) in s at which the evaluation windows of a recording look at the picture."""
        framing = self.framing
        count = max(-(-framing.clip_frames(samples) // framing.eval_hop_frames), 1)
        return np.arange(count) * framing.eval_hop_frames * framing.hop / framing.rate_hz


class SequenceSampler:
    """Sequences of feature frames, in training across recordings: see `dataset.sequences`."""

    def __init__(self, framing: SequenceFraming):
        self.framing = framing

    @property
    def rate_hz(self) -> int:
        """Sampling rate of the waveforms."""
        return self.framing.rate_hz

    def steps_per_pass(self, recordings: Sequence[Recording], batch_size: int) -> int | None:
        """Steps that see every recording once."""
        return self._plan(recordings, Drawing(batch_size)).steps_per_pass

    def _plan(self, recordings: Sequence[Recording], drawing: Drawing) -> StreamPlan:
        frames = [self.framing.clip_frames(recording.samples) for recording in recordings]
        return StreamPlan(frames, length=self.framing.frames, batch_size=drawing.batch_size, seed=drawing.seed)

    def training(
        self,
        recordings: Sequence[Recording],
        drawing: Drawing,
        *,
        labels: Labels,
        output_format: Any,
        boxes: BoxesAt | None = None,
        first_step: int = 0,
    ) -> StreamLoader:
        """Batches from an optimisation step on.

        Raises
        ------
        InputError : shares of data roots, or an augmentation: both are made for random windows
        """
        if drawing.shares is not None:
            raise InputError("--mix draws random windows; this system trains on one stream of all recordings")
        if drawing.augment is not None:
            raise InputError("--augment changes random windows; this system trains on one stream of all recordings")
        return StreamLoader(
            recordings,
            self.framing,
            self._plan(recordings, drawing),
            labels=labels,
            encode=output_format.encode_intervals,
            start_step=first_step,
            rank=drawing.rank,
            world=drawing.world,
            workers=drawing.workers,
        )

    def evaluation(
        self,
        recordings: Sequence[Recording],
        *,
        batch_size: int,
        output_format: Any,
        labels: Labels | None = None,
        boxes: BoxesAt | None = None,
        read: Read | None = None,
        workers: int = 1,
    ) -> ClipLoader:
        """Every sequence of every recording, in order."""
        encode = None if labels is None else output_format.encode_intervals
        return ClipLoader(
            recordings,
            self.framing,
            batch_size=batch_size,
            labels=labels,
            encode=encode,
            read=read,
            workers=workers,
        )

    def output_frames(self, samples: int) -> int | None:
        """Output frames of a recording."""
        return self.framing.clip_frames(samples)

    def window_times_s(self, samples: int) -> np.ndarray:
        """No picture is looked at."""
        return np.zeros(0)


Sampler = WindowSampler | SequenceSampler
