"""Outputs of the modules of the general network: which sounds there are (SED), or from where sound comes (DOA).

Reference: Nguyen et al., ICASSP 2021, arXiv 2011.07859. Each is scored by itself; together they are what an alignment
hears.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from dcase2022_task3_seld_metrics.average_precision import average_precision
from dcase2022_task3_seld_metrics.segments import SegmentCounts
from output_format.activity import encoded
from output_format.candidates import Candidates
from output_format.contract import Clip, LabelGrid
from output_format.frame_labels import frame_labels
from output_format.general_labels import (
    AZIMUTHS,
    ELEVATIONS,
    LABEL_FRAME_S,
    azimuth_class,
    azimuths_deg,
    elevation_class,
    elevations_deg,
)
from util.events import EventTable
from util.intervals import IntervalTable, label_frame_of, to_events

THRESHOLD = 0.3
MOST_DIRECTIONS = 3  # at one time, in what is shown of a module of direction


def entropy(output: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Mean binary cross-entropy of probabilities (batch, ...); targets of mixed items may lie between 0 and 1.

    Parameters
    ----------
    reduction : "mean", or "window" for one value per item
    """
    if reduction not in ("mean", "window"):
        raise ValueError(f"reduction must be 'mean' or 'window', found '{reduction}'")
    with torch.autocast(output.device.type, enabled=False):
        made = binary_cross_entropy(output.float(), target.float(), reduction="none")
    return made.mean() if reduction == "mean" else made.flatten(1).mean(dim=1)


class _Module:
    """What both kinds share: raw (..., frames) of probabilities, labels of frames of 100 ms.

    Parameters
    ----------
    frame_s : length in seconds of the frames of the output, 0.1 or a multiple of it
    """

    name: str
    axes: tuple[str, ...]
    threshold: float | None = THRESHOLD
    label_frame_s = LABEL_FRAME_S

    def __init__(self, classes: int, *, frame_s: float = LABEL_FRAME_S):
        self.classes, self.frame_s = classes, float(frame_s)

    def description(self) -> dict[str, Any]:
        """What is written beside a raw output, so that it can be decoded without the network."""
        return {
            "format": self.name,
            "axes": list(self.axes),
            "frame_s": self.frame_s,
            "label_frame_s": self.label_frame_s,
        }

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the labels of a frame."""
        raise NotImplementedError

    def of_events(self, events: EventTable, first_frame: int, frames: int) -> np.ndarray:
        """Labels (..., frames) float32 of label frames from `first_frame` on."""
        raise NotImplementedError

    def encode(self, clips: Sequence[Clip], grid: LabelGrid) -> Tensor:
        """Labels of a batch: (batch, ..., steps) float32; nothing outside of the recordings."""

        def labels_of(clip: Clip, clip_frames: int, first: int, frames: int) -> np.ndarray:
            return self.of_events(clip.events(self.label_frame_s, first, first + frames), first, frames)

        return encoded(clips, grid, np.zeros(self.shape), labels_of)

    def encode_clip(self, table: IntervalTable, frames: int) -> np.ndarray:
        """Labels of a whole clip of so many frames of the output: (..., frames) float32."""
        step = round(self.frame_s / self.label_frame_s)
        made = self.of_events(to_events(table, self.label_frame_s, frames * step), 0, frames * step)
        return np.ascontiguousarray(made[..., ::step])

    def target(self, labels: Tensor, device: torch.device) -> Tensor:
        """Labels on the device."""
        return labels.to(device, non_blocking=True)

    def published_rows(self, raw: np.ndarray, thresholds: np.ndarray | float, *, frame_s: float) -> EventTable | None:
        """None: no publication writes rows of a module."""
        return None

    def makes(self, frame_s: float) -> bool:
        """Whether `candidates` makes label frames of a length in seconds: any of 1 ms and more."""
        return frame_s >= 0.001

    def _at(self, raw: np.ndarray, frame_s: float | None, first: int) -> tuple[np.ndarray, float]:
        """Raw output at label frames of a length: means of what lies in longer ones, shorter ones repeat it."""
        due_s = self.label_frame_s if frame_s is None else frame_s
        raw = np.asarray(raw, dtype=np.float64)
        if math.isclose(due_s, self.frame_s, rel_tol=1e-9) or not raw.shape[-1]:
            return raw, due_s
        if due_s > self.frame_s:
            place = label_frame_of(first + np.arange(raw.shape[-1]), self.frame_s, due_s)
            begin = np.flatnonzero(np.diff(place, prepend=place[0] - 1))
            return np.add.reduceat(raw, begin, axis=-1) / np.diff(np.append(begin, raw.shape[-1])), due_s
        low, high = (math.ceil(frame * self.frame_s / due_s - 1e-6) for frame in (first, first + raw.shape[-1]))
        place = label_frame_of(np.arange(low, high), due_s, self.frame_s) - first
        return raw[..., np.clip(place, 0, raw.shape[-1] - 1)], due_s


class Detection(_Module):
    """A probability of every class: raw (classes, frames). Its events stand in front: it knows no directions.

    Parameters
    ----------
    others : see `_Module`
    """

    name = "detection"
    scored_by = "detection alone: segments of 1 s, of which the last frame does not count (as published); mAP of frames"
    axes: tuple[str, ...] = ("class", "frame")

    @classmethod
    def from_description(cls, about: Mapping[str, Any], classes: int) -> Detection:
        """The format that a description was made of."""
        return cls(classes, frame_s=about["frame_s"])

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.classes,)

    def of_events(self, events: EventTable, first_frame: int, frames: int) -> np.ndarray:
        """Labels (classes, frames) float32.

        Raises
        ------
        ValueError : a class outside 0..classes - 1
        """
        return frame_labels(events, self.classes, first=first_frame, frames=frames)[0].astype(np.float32)

    def loss(self, output: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
        """Binary cross-entropy of (batch, classes, frames); the longer one is cut."""
        return entropy(*_cut(output, target), reduction=reduction)

    def candidates(self, raw: np.ndarray, *, frame_s: float | None = None, first: int = 0) -> Candidates:
        """Raw output of a clip -> candidates per label frame, all in front."""
        raw, due_s = self._at(raw, frame_s, first)
        activity = np.clip(raw.T, 0, 1)[..., None]
        return Candidates(activity, np.zeros_like(activity), np.zeros_like(activity), due_s)

    def scores(
        self, truth: Sequence[np.ndarray], found: Sequence[np.ndarray], thresholds: np.ndarray
    ) -> dict[str, float]:
        """Error rate and F score of segments of 1 s, their mean error, and average precision of frames of 100 ms."""
        counts, active, probability = SegmentCounts(), [], []
        for labels, raw in zip(truth, found):
            said, due_s = self._at(raw, None, 0)
            due, _ = self._at(labels, None, 0)
            active.append(due.T > 0)
            probability.append(said.T.astype(np.float32))
            counts += SegmentCounts.of(active[-1], said.T > thresholds, round(1 / due_s))
        precision = average_precision(np.concatenate(active), np.concatenate(probability))
        return {"ER": counts.error_rate, "F": counts.f_score, "SED_error": counts.error, "mAP": precision.macro}

    def reduced(self, events: EventTable) -> EventTable:
        """The events in front."""
        return events.replace(azimuth_deg=np.zeros(len(events)), elevation_deg=np.zeros(len(events)))

    def shown_classes(self, classes: Sequence[str]) -> tuple[str, ...]:
        """The classes as they are."""
        return tuple(classes)


class Directions(_Module):
    """Probabilities of 72 azimuths and 19 elevations, whatever sounds there: raw (72 + 19, frames).

    Stages that know one of both have its rows alone, (72, frames) or (19, frames).

    Parameters
    ----------
    classes : of the data set; the output knows none of them
    others : see `_Module`
    """

    name = "directions"
    scored_by = "directions alone, whatever sounds there: mAP over classes of 5 degrees that occur, frame by frame"
    axes: tuple[str, ...] = ("direction", "frame")

    @classmethod
    def from_description(cls, about: Mapping[str, Any], classes: int) -> Directions:
        """The format that a description was made of."""
        return cls(classes, frame_s=about["frame_s"])

    @property
    def shape(self) -> tuple[int, ...]:
        return (AZIMUTHS + ELEVATIONS,)

    def of_events(self, events: EventTable, first_frame: int, frames: int) -> np.ndarray:
        """Labels (91, frames) float32, several at a time; elevations beyond 45 degrees count as the outermost class."""
        made = np.zeros((AZIMUTHS + ELEVATIONS, frames), dtype=np.float32)
        frame = events.frame - first_frame
        inside = (frame >= 0) & (frame < frames)
        frame = frame[inside]
        made[azimuth_class(events.azimuth_deg[inside]), frame] = 1
        elevation = np.clip(elevation_class(events.elevation_deg[inside]), 0, ELEVATIONS - 1)
        made[AZIMUTHS + elevation, frame] = 1
        return made

    def loss(self, output: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
        """Binary cross-entropy of azimuths + that of elevations, as far as (batch, rows, frames) has them."""
        output, target = _cut(output, target)
        both = zip(_parts(output.movedim(1, 0)), _parts(target.movedim(1, 0)))
        made = [
            entropy(said.movedim(0, 1), due.movedim(0, 1), reduction=reduction)
            for said, due in both
            if said is not None and due is not None
        ]
        return made[0] if len(made) == 1 else made[0] + made[1]

    def candidates(self, raw: np.ndarray, *, frame_s: float | None = None, first: int = 0) -> Candidates:
        """Raw output of a clip -> up to three directions per label frame, as class 0.

        A direction is an azimuth that is more probable than its neighbours. Which elevation belongs to which azimuth is
        not said: the most probable azimuth takes the most probable elevation, the second the second, and so on.
        """
        raw, due_s = self._at(raw, frame_s, first)
        azimuth, elevation = _parts(raw)
        frames = raw.shape[-1]
        angles = np.zeros((2, frames, MOST_DIRECTIONS))
        activity = np.zeros((frames, MOST_DIRECTIONS))
        for part, (values, degrees) in enumerate(((azimuth, azimuths_deg()), (elevation, elevations_deg()))):
            if values is None:
                continue
            order, height = _peaks(values, circular=part == 0)
            angles[part] = degrees[order].T
            if part == 0 or azimuth is None:
                activity = height.T
            else:  # where there are fewer elevations than azimuths, the strongest is that of the others
                angles[1] = np.where(height.T > 0, angles[1], angles[1][:, :1])
        made = (np.clip(activity, 0, 1), angles[0], angles[1])
        whole = []
        for value in made:
            padded = np.zeros((frames, max(self.classes, 1), MOST_DIRECTIONS))
            padded[:, 0] = value
            whole.append(padded)
        return Candidates(whole[0], whole[1], whole[2], due_s)

    def scores(
        self, truth: Sequence[np.ndarray], found: Sequence[np.ndarray], thresholds: np.ndarray
    ) -> dict[str, float]:
        """Average precision of the classes of azimuth and of elevation that occur, and the mean of both."""
        made: dict[str, float] = {}
        said, due = np.concatenate(list(found), axis=-1), np.concatenate(list(truth), axis=-1)
        for name, part, labels in zip(("mAP_azimuth", "mAP_elevation"), _parts(said), _parts(due)):
            if part is not None and labels is not None:
                made[name] = average_precision(labels.T > 0, part.T).macro_present
        return {**made, "mAP": float(np.mean(list(made.values())))}

    def reduced(self, events: EventTable) -> EventTable:
        """The events as those of one class."""
        return events.replace(class_index=np.zeros(len(events), dtype=np.int64))

    def shown_classes(self, classes: Sequence[str]) -> tuple[str, ...]:
        """The first one stands for all; the others are never said."""
        return ("any sound", *classes[1:])


class Votes(Directions):
    """Votes of bins for directions, in frames of 12.5 ms: raw (72 + 19, frames), counts. Nothing learns them."""

    name = "votes"

    def loss(self, output: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
        """None: NaN."""
        return output.new_full(() if reduction == "mean" else (len(output),), math.nan)


def _parts(values: Any) -> tuple[Any, Any]:
    """Rows of azimuths, rows of elevations (rows, ...); None where there are none of a kind.

    Raises
    ------
    ValueError : another number of rows
    """
    rows = values.shape[0]
    if rows == AZIMUTHS + ELEVATIONS:
        return values[:AZIMUTHS], values[AZIMUTHS:]
    if rows == AZIMUTHS:
        return values, None
    if rows == ELEVATIONS:
        return None, values
    raise ValueError(f"directions have {AZIMUTHS} azimuths, {ELEVATIONS} elevations or both, found {rows} rows")


def _peaks(values: np.ndarray, *, circular: bool) -> tuple[np.ndarray, np.ndarray]:
    """The highest local maxima of each column (rows, frames): rows (3, frames) and heights (3, frames), 0 for none."""
    edge = np.full((1, values.shape[1]), -np.inf)
    before = np.concatenate([values[-1:] if circular else edge, values[:-1]])
    behind = np.concatenate([values[1:], values[:1] if circular else edge])
    height = np.where((values >= before) & (values > behind), values, 0.0)
    order = np.argsort(-height, axis=0, kind="stable")[:MOST_DIRECTIONS]
    return order, np.take_along_axis(height, order, axis=0)


def _cut(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    frames = min(output.shape[-1], target.shape[-1])
    return output[..., :frames], target[..., :frames]
