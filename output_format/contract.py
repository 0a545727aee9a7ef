"""What output formats take and give: the contract that every one of them keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from output_format.candidates import Candidates
from util.events import EventTable
from util.intervals import IntervalTable


class Clip(Protocol):
    """Labels of one recording."""

    def events(self, frame_s: float, first: int = 0, end: int | None = None) -> EventTable:
        """Events of the label frames first <= frame < end, sorted by frame."""
        ...

    @property
    def intervals(self) -> IntervalTable:
        """Events with start and end."""
        ...


class LabelSpan(Protocol):
    """Steps [first, end) of an item that lie in one recording, which has `clip_frames` label frames."""

    @property
    def item(self) -> int: ...

    @property
    def first(self) -> int: ...

    @property
    def end(self) -> int: ...

    @property
    def clip_frames(self) -> int: ...


class LabelGrid(Protocol):
    """Which label frame each output step of a batch is: `frame` (batch, steps), -1 where there is none."""

    @property
    def frame(self) -> np.ndarray: ...

    @property
    def spans(self) -> Sequence[LabelSpan]: ...

    @property
    def frame_s(self) -> float: ...


class OutputFormat(Protocol):
    """What a network's output means.

    Attributes
    ----------
    name, axes : of the raw output of a clip; the last axis is frames
    frame_s : length of an output frame in seconds
    label_frame_s : length of the label frames that it is trained on
    threshold : default activity threshold; None: that of util/threshold.json
    """

    name: str
    axes: tuple[str, ...]
    frame_s: float
    threshold: float | None

    @property
    def label_frame_s(self) -> float: ...

    def description(self) -> dict[str, Any]:
        """Plain values beside a raw output, so that it can be decoded without the network."""
        ...

    def encode(self, clips: Sequence[Clip], grid: LabelGrid) -> Any:
        """Labels of a batch, as small as they can be carried to the device."""
        ...

    def target(self, labels: Any, device: torch.device) -> Tensor:
        """Labels of `encode`, expanded on the device."""
        ...

    def loss(self, output: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
        """Loss of a batch: "mean", or "window" for one value per item."""
        ...

    def published_rows(self, raw: np.ndarray, thresholds: np.ndarray | float, *, frame_s: float) -> EventTable | None:
        """Raw output as rows of whole degrees, as the system's publication writes them; None: it has no such rows."""
        ...

    def makes(self, frame_s: float) -> bool:
        """Whether `candidates` makes label frames of a length in seconds."""
        ...

    def candidates(self, raw: np.ndarray, *, frame_s: float | None = None, first: int = 0) -> Candidates:
        """Raw output of a clip, or of a stretch that begins with frame `first`, -> candidates per label frame."""
        ...


@runtime_checkable
class Turnable(Protocol):
    """A format whose outputs of one sound, heard by an array turned in several ways, can be brought together.

    Attributes
    ----------
    turns : whether its directions are whole ones
    """

    @property
    def turns(self) -> bool: ...

    def joined_views(self, outputs: Sequence[Tensor], matrices: Sequence[np.ndarray]) -> Tensor:
        """The mean of outputs (batch, ...) whose directions were turned by matrices (3, 3) before."""
        ...


@runtime_checkable
class Matchable(Protocol):
    """A format whose outputs of the same frames, by different windows, can be averaged."""

    def in_order_of(self, first: Tensor, other: Tensor) -> Tensor:
        """`other` (batch, ..., frames) with its tracks in the order of those of `first`, frame by frame."""
        ...


def needed(output_format: OutputFormat) -> tuple[str, ...]:
    """Columns of the labels, besides directions, that a format learns and its events have: "distance_m", "onscreen"."""
    columns: tuple[str, ...] = getattr(output_format, "needs", ())
    return columns


def dialect_for(output_format: OutputFormat) -> str:
    """The csv dialect that says everything of the events of a format, where nobody asks for another."""
    dialect: str = getattr(output_format, "dialect", "dcase2023")
    return dialect


@dataclass(frozen=True)
class VectorRows:
    """Rows of a result whose directions are vectors of any length.

    Attributes
    ----------
    frame, class_index : (rows,)
    vector : (rows, 3), x, y, z as the network makes them
    """

    frame: np.ndarray
    class_index: np.ndarray
    vector: np.ndarray


@runtime_checkable
class SaysVectors(Protocol):
    """An output format whose publication writes vectors."""

    def vector_rows(self, raw: np.ndarray, thresholds: np.ndarray | float) -> VectorRows:
        """Raw output of a clip -> the rows that are written, in their order."""
        ...


@dataclass(frozen=True)
class Frames:
    """What an output, or its labels, say of every class in every frame of the network.

    Attributes
    ----------
    activity : (classes, frames), in [0, 1]
    azimuth_deg, elevation_deg : (classes, frames), NaN where no direction is said
    vectors : (2 or 3, classes, frames), x, y (and z) of the direction, as long as the network makes them
    """

    activity: np.ndarray
    azimuth_deg: np.ndarray
    elevation_deg: np.ndarray
    vectors: np.ndarray


@runtime_checkable
class ActivityApart(OutputFormat, Protocol):
    """An output format whose activity stands apart from its directions, so that each can be looked at by itself.

    Attributes
    ----------
    figure_style : how its publication draws it, one of `report.seldnet_figures.STYLES`
    """

    @property
    def figure_style(self) -> str: ...

    def encode_clip(self, table: IntervalTable, frames: int) -> np.ndarray:
        """Labels of a whole clip in the form of a raw output."""
        ...

    def label_matrix(self, table: IntervalTable, clip_frames: int) -> np.ndarray:
        """Labels of a whole clip: (frames, 3 classes), activity, azimuth, elevation in degrees."""
        ...

    def probabilities(self, raw: np.ndarray) -> np.ndarray:
        """Activity of a raw output or of encoded labels: (frames, classes)."""
        ...

    def with_activity(self, raw: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The raw output with the activity of encoded labels in place of its own."""
        ...

    def frames_of(self, raw: np.ndarray) -> Frames:
        """A raw output frame by frame, nothing pooled."""
        ...

    def taught(self, table: IntervalTable, frames: int) -> Frames:
        """Labels of a whole clip as the network is taught them."""
        ...

    def detections(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Raw output or encoded labels as 2018 scores them: active (frames, classes), vectors (frames, numbers)."""
        ...


@runtime_checkable
class OneTask(OutputFormat, Protocol):
    """An output that says only which sounds there are, or only from where: no edition of the metrics scores it.

    Attributes
    ----------
    scored_by : in words, for results
    """

    scored_by: str

    def encode_clip(self, table: IntervalTable, frames: int) -> np.ndarray:
        """Labels of a whole clip in the form of a raw output."""
        ...

    def scores(
        self, truth: Sequence[np.ndarray], found: Sequence[np.ndarray], thresholds: np.ndarray
    ) -> dict[str, float]:
        """Scores of clips, encoded labels and raw outputs: by names of `dcase2022_task3_seld_metrics.score_table`."""
        ...

    def reduced(self, events: EventTable) -> EventTable:
        """Events as this output can say them: all in front, or all of one class."""
        ...

    def shown_classes(self, classes: Sequence[str]) -> tuple[str, ...]:
        """What its events are called, where it knows no classes."""
        ...


def shown_classes(output_format: OutputFormat, classes: Sequence[str]) -> tuple[str, ...]:
    """What the events of an output are called."""
    return output_format.shown_classes(classes) if isinstance(output_format, OneTask) else tuple(classes)
