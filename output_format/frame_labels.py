"""Vectors of classes in label frames, one source a class: labels, and what formats that learn from them share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from output_format.candidates import Candidates
from output_format.contract import Clip, LabelGrid, VectorRows
from util.angles import degrees_from_direction, direction_from_degrees
from util.events import EventTable


def frame_labels(events: EventTable, classes: int, *, first: int = 0, frames: int) -> np.ndarray:
    """Activity and direction of every class in the label frames first <= frame < first + frames.

    Of several rows of a class in one frame the last one counts: the networks that are trained on this can say one (a
    quirk of the references, kept). Rows of other frames are left out.

    Returns
    -------
    (4, classes, frames) float64: 0 or 1, then x, y, z of the unit vector, 0 where nothing is active

    Raises
    ------
    ValueError : a class outside 0..classes - 1
    """
    made = np.zeros((4, classes, frames))
    if not len(events):
        return made
    if events.class_index.min() < 0 or events.class_index.max() >= classes:
        raise ValueError(f"labels have classes outside 0..{classes - 1}")
    place = events.frame - first
    inside = np.flatnonzero((place >= 0) & (place < frames))
    cell = events.class_index[inside] * frames + place[inside]
    _, last = np.unique(cell[::-1], return_index=True)  # NumPy leaves open which of several writers of a place wins
    row = inside[len(inside) - 1 - last]
    direction = direction_from_degrees(events.azimuth_deg[row], events.elevation_deg[row])
    made[0, events.class_index[row], place[row]] = 1
    made[1:, events.class_index[row], place[row]] = direction.T
    return made


class VectorFormat:
    """What output formats share that give a vector per class and label frame, and learn from `frame_labels`.

    Parameters
    ----------
    classes : number of classes
    frame_s : length of an output frame, which is a label frame, in seconds

    Attributes
    ----------
    outputs : numbers per class and frame

    Raises
    ------
    ValueError : frames that have no length
    """

    name: str
    axes: tuple[str, ...]
    outputs: int
    threshold: float | None = 0.5

    def __init__(self, classes: int, *, frame_s: float = 0.1):
        self.classes, self.frame_s = classes, float(frame_s)
        if not 0 < self.frame_s < math.inf:
            raise ValueError(f"frames of {frame_s} s")

    @property
    def label_frame_s(self) -> float:
        """Length of the label frames that it is trained on, those of the output."""
        return self.frame_s

    def description(self) -> dict[str, Any]:
        """What is written beside a raw output, so that it can be decoded without the network."""
        return {
            "format": self.name,
            "axes": list(self.axes),
            "frame_s": self.frame_s,
            "label_frame_s": self.label_frame_s,
        }

    def activity(self, raw: np.ndarray) -> np.ndarray:
        """Activity (classes, frames) of a raw output (outputs, classes, frames), in its own precision."""
        raise NotImplementedError

    def vectors(self, raw: np.ndarray) -> np.ndarray:
        """Vectors (3, classes, frames) of a raw output, as long as the network makes them."""
        raise NotImplementedError

    def vector_rows(self, raw: np.ndarray, thresholds: np.ndarray | float) -> VectorRows:
        """Active classes with their vectors, by frame, then class."""
        raw = self._checked(raw)
        active = self.activity(raw) > np.asarray(thresholds, dtype=np.float64)[..., None]
        frame, index = np.nonzero(active.T)
        return VectorRows(frame, index, self.vectors(raw)[:, index, frame].T)

    def published_rows(self, raw: np.ndarray, thresholds: np.ndarray | float, *, frame_s: float) -> EventTable | None:
        """None: it has no rows of whole degrees."""
        return None

    def makes(self, frame_s: float) -> bool:
        """Whether `candidates` makes label frames of a length in seconds."""
        return math.isclose(frame_s, self.frame_s)

    def candidates(self, raw: np.ndarray, *, frame_s: float | None = None, first: int = 0) -> Candidates:
        """Raw output of a clip (outputs, classes, frames) -> candidates with one track, per label frame.

        Raises
        ------
        ValueError : label frames of another length than the output's are asked for
        """
        if frame_s is not None and not self.makes(frame_s):
            raise ValueError(f"{self.name} has label frames of {self.frame_s} s, not of {frame_s} s")
        raw = self._checked(raw)
        azimuth, elevation = degrees_from_direction(self.vectors(raw).transpose(2, 1, 0))
        activity = np.clip(self.activity(raw).T.astype(np.float64), 0.0, 1.0)
        return Candidates(activity[..., None], azimuth[..., None], elevation[..., None], self.frame_s)

    def _checked(self, raw: np.ndarray) -> np.ndarray:
        raw = np.asarray(raw)
        if raw.ndim != 3 or raw.shape[0] != self.outputs or not np.issubdtype(raw.dtype, np.floating):
            shape = f"({self.outputs}, classes, frames)"
            raise ValueError(f"raw output must be {shape} of floating point numbers, found {raw.shape} {raw.dtype}")
        return raw

    def label_rows(self, events: EventTable, frames: int) -> np.ndarray:
        """Labels of a whole recording as the references store them: (frames, 4 classes), activity, x, y, z."""
        return frame_labels(events, self.classes, frames=frames).reshape(4 * self.classes, frames).T

    def encode(self, clips: Sequence[Clip], grid: LabelGrid) -> Tensor:
        """Labels of a batch: (batch, 4, classes, steps) float32, 0 outside of the recordings.

        Parameters
        ----------
        clips : labels of each of the grid's spans
        grid : label frame of each output step
        """
        batch, steps = grid.frame.shape
        made = np.zeros((batch, 4, self.classes, steps), dtype=np.float32)
        for clip, span in zip(clips, grid.spans):
            frame = grid.frame[span.item, span.first : span.end]
            inside = np.flatnonzero(frame >= 0)
            if not len(inside):
                continue
            first, last = int(frame[inside].min()), int(frame[inside].max())
            maps = frame_labels(
                clip.events(grid.frame_s, first, last + 1), self.classes, first=first, frames=last + 1 - first
            )
            made[span.item, :, :, span.first + inside] = maps[..., frame[inside] - first].transpose(2, 0, 1)
        return torch.from_numpy(made)
