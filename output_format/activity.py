"""Raw outputs whose first part is the activity: (outputs, classes, frames)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from output_format.contract import Clip, LabelGrid
from util.intervals import IntervalTable


def encoded(
    clips: Sequence[Clip],
    grid: LabelGrid,
    nothing: np.ndarray,
    labels_of: Callable[[Clip, int, int, int], np.ndarray],
) -> Tensor:
    """Labels of a batch: (batch, ..., steps) float32.

    Parameters
    ----------
    clips : labels of each of the grid's spans
    nothing : labels (...) of a step outside of the recordings
    labels_of : (clip, its frames, first frame, frames) -> labels (..., frames) of a stretch of it
    """
    batch, steps = grid.frame.shape
    made = np.empty((batch, *nothing.shape, steps), dtype=np.float32)
    made[:] = nothing[..., None]
    for clip, span in zip(clips, grid.spans):
        frame = grid.frame[span.item, span.first : span.end]
        inside = np.flatnonzero(frame >= 0)
        if not len(inside):
            continue
        first, last = int(frame[inside].min()), int(frame[inside].max())
        maps = labels_of(clip, span.clip_frames, first, last - first + 1)
        made[span.item, ..., span.first + inside] = np.moveaxis(maps[..., frame[inside] - first], -1, 0)
    return torch.from_numpy(made)


class ActivityFirst:
    """What output formats share whose raw output is (outputs, classes, frames), the activity first.

    Their labels have the frames and the form of the output; a subclass says what the labels of a stretch are.
    """

    name: str
    axes: tuple[str, ...] = ("output", "class", "frame")
    frame_s: float

    @property
    def label_frame_s(self) -> float:
        """Length of the label frames that it is trained on, those of the output."""
        return self.frame_s

    def nothing(self) -> np.ndarray:
        """Labels (outputs, classes) of a frame outside of the recording."""
        raise NotImplementedError

    def stretch(self, table: IntervalTable, clip_frames: int, first_frame: int, frames: int) -> np.ndarray:
        """Labels (outputs, classes, frames) of a stretch of a recording of `clip_frames` frames."""
        raise NotImplementedError

    def common_description(self) -> dict[str, Any]:
        """What the description of each of them begins with."""
        return {
            "format": self.name,
            "axes": list(self.axes),
            "frame_s": self.frame_s,
            "label_frame_s": self.label_frame_s,
        }

    def encode(self, clips: Sequence[Clip], grid: LabelGrid) -> Tensor:
        """Labels of a batch: (batch, outputs, classes, steps) float32; nothing outside of the recordings.

        Parameters
        ----------
        clips : labels of each of the grid's spans
        grid : frame of each output step
        """
        return encoded(clips, grid, self.nothing(), self.span)

    def span(self, clip: Clip, clip_frames: int, first_frame: int, frames: int) -> np.ndarray:
        """Labels of a stretch of a clip, see `stretch`."""
        return self.stretch(clip.intervals, clip_frames, first_frame, frames)

    def target(self, labels: Tensor, device: torch.device) -> Tensor:
        """Labels (batch, outputs, classes, frames) on the device."""
        return labels.to(device, non_blocking=True)

    def probabilities(self, raw: np.ndarray) -> np.ndarray:
        """Activity of a raw output or of encoded labels: (frames, classes)."""
        return np.asarray(raw)[0].T

    def with_activity(self, raw: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The raw output with the activity of encoded labels in place of its own: directions by themselves.

        Parameters
        ----------
        raw, labels : (outputs, classes, frames); labels are cut or filled up with 0 to the output's length
        """
        raw, out = np.asarray(raw), np.array(raw)
        frames = min(raw.shape[-1], labels.shape[-1])
        out[0] = 0
        out[0, :, :frames] = labels[0, :, :frames]
        return out
