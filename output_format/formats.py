"""The output formats by name, each as one object: what trainer, predictor and npy2csv need to know of an output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from output_format import multi_accdoa
from output_format.candidates import Candidates
from util.events import EventTable


class MultiAccdoa:
    """Three tracks of activity-coupled vectors per class, at 10 ms; see `output_format.multi_accdoa`.

    Parameters
    ----------
    classes : number of classes
    """

    name = multi_accdoa.NAME
    axes = ("track", "axis", "class", "frame")

    def __init__(self, classes: int):
        self.classes = classes

    def description(self) -> dict[str, Any]:
        """What is written beside a raw output, so that it can be decoded without the network."""
        return {
            "format": self.name,
            "axes": list(self.axes),
            "frame_s": multi_accdoa.FRAME_S,
            "label_frame_s": multi_accdoa.LABEL_FRAME_S,
        }

    def encode(self, events: Sequence[EventTable], grid: np.ndarray) -> dict[str, Tensor]:
        """Labels of a batch of windows, kept per label frame.

        Parameters
        ----------
        events : per window the labels whose frames it touches
        grid : (batch, steps) label frame of each output step, -1 where there is none

        Returns
        -------
        {"slots": (batch, label frames + 1, 6, 3, classes) with zeros in the last, "index": (batch, steps)}
        """
        inside = grid >= 0
        first = np.where(inside, grid, np.iinfo(np.int64).max).min(axis=1)
        first = np.where(inside.any(axis=1), first, 0)
        relative = np.where(inside, grid - first[:, None], -1)
        count = max(int(relative.max()) + 1, 1)
        slots = multi_accdoa.slots(events, first, count + 1, self.classes)
        slots[:, count] = 0
        index = np.where(inside, relative, count)
        return {"slots": torch.from_numpy(slots), "index": torch.from_numpy(index)}

    def target(self, labels: dict[str, Tensor], device: torch.device) -> Tensor:
        """Labels of `encode`, expanded on the device to (batch, 6, 3, classes, steps)."""
        slots, index = labels["slots"].to(device, non_blocking=True), labels["index"].to(device, non_blocking=True)
        batch, _, *rest = slots.shape
        packed = slots.flatten(2).transpose(1, 2)
        target = packed.gather(2, index[:, None].expand(-1, packed.shape[1], -1))
        return target.reshape(batch, *rest, index.shape[1])

    def loss(self, output: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
        """ADPIT loss; reduction "mean", or "window" for one value per window."""
        return multi_accdoa.adpit_loss(output, target, reduction=reduction)

    def kept(self, output: Tensor) -> Tensor:
        """Of the output of evaluation windows (batch, 3, 3, classes, 128) the 120 frames that no other window has."""
        first = multi_accdoa.LEADING_FRAMES
        return output[..., first : first + multi_accdoa.HOP_FRAMES]

    def candidates(self, raw: np.ndarray) -> Candidates:
        """Raw output of a clip (3, 3, classes, frames) -> candidates per label frame."""
        return multi_accdoa.decode(raw)


OUTPUT_FORMATS = {output_format.name: output_format for output_format in (MultiAccdoa,)}
