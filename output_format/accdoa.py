"""ACCDOA: a vector per class and frame, whose length says how active the class is (Shimada et al., ICASSP 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from output_format.frame_labels import VectorFormat


class Accdoa(VectorFormat):
    """One activity-coupled vector per class, as the DCASE baselines of 2021 and 2022 have it.

    Parameters
    ----------
    classes, frame_s : see `VectorFormat`
    """

    name = "accdoa"
    axes: tuple[str, ...] = ("axis", "class", "frame")
    outputs = 3

    @classmethod
    def from_description(cls, about: Mapping[str, Any], classes: int) -> Accdoa:
        """The format that a description was made of."""
        return cls(classes, frame_s=about["frame_s"])

    def target(self, labels: Tensor, device: torch.device) -> Tensor:
        """Labels of `encode` -> activity-coupled vectors (batch, 3, classes, frames) on the device."""
        labels = labels.to(device, non_blocking=True)
        return labels[:, :1] * labels[:, 1:]

    def loss(self, output: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
        """Mean squared error over all axes, classes and frames, active or not.

        Parameters
        ----------
        output, target : (batch, 3, classes, frames); computed in float32 or better
        reduction : "mean": scalar; "window": (batch,), the mean of each window
        """
        if reduction not in ("mean", "window"):
            raise ValueError(f"reduction must be 'mean' or 'window', found '{reduction}'")
        output = output.float() if output.dtype in (torch.bfloat16, torch.float16) else output
        error = (output - target.to(output.dtype)).square()
        return error.mean() if reduction == "mean" else error.flatten(1).mean(dim=1)

    def activity(self, raw: np.ndarray) -> np.ndarray:
        """Lengths (classes, frames), in the output's precision as in the references: it decides at the threshold."""
        x, y, z = raw
        return np.asarray(np.sqrt(x**2 + y**2 + z**2))

    def vectors(self, raw: np.ndarray) -> np.ndarray:
        """The raw output (3, classes, frames) itself."""
        return raw
