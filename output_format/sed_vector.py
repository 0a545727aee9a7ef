"""SED and DOA apart, as the DCASE baseline of 2020 has them: a probability and a vector per class and frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from output_format.frame_labels import VectorFormat

OBJECTIVES = ("masked", "mse")
MASKS = ("reference", "classwise")
_CLIP = 1e-7  # Keras clips probabilities by it


def vector_error(output: Tensor, target: Tensor, mask: str, *, reduction: str = "mean") -> Tensor:
    """Root of the sum of squared errors of the vectors of active classes, divided by how many numbers count.

    Called a masked mean squared error, but it falls like 1 / root of the count: hence its weight of 1000. 0 where
    nothing is active, or nothing is wrong (the reference has NaN and an infinite gradient there).

    Parameters
    ----------
    output, target : (batch, 4, classes, frames), activity, then x, y, z
    mask : "classwise": a number counts if its own class is active; "reference": number j of [x of all classes | y | z]
        counts if class j div 3 is, as published (a quirk: a lone event teaches its direction by one number or by none)
    reduction : "mean": over the batch as a whole; "window": (batch,), each window by itself
    """
    active = (target[:, 0] >= 0.5).to(output.dtype)
    axes = output.shape[1] - 1
    counts = active.repeat_interleave(axes, dim=1) if mask == "reference" else active.repeat(1, axes, 1)
    squares = (output[:, 1:] - target[:, 1:]).square().flatten(1, 2) * counts
    if reduction == "mean":
        total, count = squares.sum(), counts.sum()
    else:
        total, count = squares.flatten(1).sum(dim=1), counts.flatten(1).sum(dim=1)
    some = total > 0  # twice, so that no gradient comes from what is not taken
    return torch.where(some, torch.where(some, total, 1).sqrt() / count.clamp(min=1), 0)


class SedVector(VectorFormat):
    """A probability and a vector per class and frame.

    Parameters
    ----------
    classes, frame_s : see `VectorFormat`
    weights : of the loss: cross-entropy of the activity, error of the vectors
    objective : "masked": `vector_error`; "mse": mean squared error of all vectors, of silent classes too
    mask : of the masked objective, see `vector_error`

    Raises
    ------
    ValueError : an unknown objective or mask
    """

    name = "sed_vector"
    axes: tuple[str, ...] = ("output", "class", "frame")
    outputs = 4

    def __init__(
        self,
        classes: int,
        *,
        frame_s: float = 0.1,
        weights: tuple[float, float] = (1.0, 1000.0),
        objective: str = "masked",
        mask: str = "reference",
    ):
        super().__init__(classes, frame_s=frame_s)
        if objective not in OBJECTIVES or mask not in MASKS:
            raise ValueError(f"objective {objective} and mask {mask}: of {OBJECTIVES} and {MASKS}")
        self.weights = float(weights[0]), float(weights[1])
        self.objective, self.mask = objective, mask

    def description(self) -> dict[str, Any]:
        """What is written beside a raw output, so that it can be decoded without the network."""
        return {
            **super().description(),
            "weights": list(self.weights),
            "objective": self.objective,
            "mask": self.mask,
        }

    @classmethod
    def from_description(cls, about: Mapping[str, Any], classes: int) -> SedVector:
        """The format that a description was made of."""
        return cls(
            classes,
            frame_s=about["frame_s"],
            weights=tuple(about["weights"]),
            objective=about["objective"],
            mask=about["mask"],
        )

    def target(self, labels: Tensor, device: torch.device) -> Tensor:
        """Labels of `encode` (batch, 4, classes, frames) on the device."""
        return labels.to(device, non_blocking=True)

    def loss(self, output: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
        """Weighted sum of the binary cross-entropy of the activity and the error of the vectors.

        Parameters
        ----------
        output, target : (batch, 4, classes, frames); computed in float32 or better
        reduction : "mean": scalar; "window": (batch,), of each window by itself
        """
        if reduction not in ("mean", "window"):
            raise ValueError(f"reduction must be 'mean' or 'window', found '{reduction}'")
        output = output.float() if output.dtype in (torch.bfloat16, torch.float16) else output
        target = target.to(output.dtype)
        with torch.autocast(output.device.type, enabled=False):
            entropy = binary_cross_entropy(output[:, 0].clamp(_CLIP, 1 - _CLIP), target[:, 0], reduction="none")
        if self.objective == "masked":
            error = vector_error(output, target, self.mask, reduction=reduction)
        else:
            squares = (output[:, 1:] - target[:, 1:]).square()
            error = squares.mean() if reduction == "mean" else squares.flatten(1).mean(dim=1)
        mean = entropy.mean() if reduction == "mean" else entropy.flatten(1).mean(dim=1)
        return self.weights[0] * mean + self.weights[1] * error

    def activity(self, raw: np.ndarray) -> np.ndarray:
        """Probabilities (classes, frames)."""
        return np.asarray(raw[0])

    def vectors(self, raw: np.ndarray) -> np.ndarray:
        """The vectors (3, classes, frames)."""
        return raw[1:]
