"""The output formats by name, each as one object: what trainer, predictor and npy2csv need to know of an output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from output_format import multi_accdoa, sed_doa
from output_format.candidates import Candidates
from util.angles import direction_from_degrees
from util.events import EventTable
from util.intervals import IntervalTable


class MultiAccdoa:
    """Three tracks of activity-coupled vectors per class, at 10 ms; see `output_format.multi_accdoa`.

    Parameters
    ----------
    classes : number of classes
    """

    name = multi_accdoa.NAME
    axes = ("track", "axis", "class", "frame")
    threshold: float | None = None  # default activity threshold; None: that of util/threshold.json

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

    @classmethod
    def from_description(cls, about: Mapping[str, Any], classes: int) -> MultiAccdoa:
        """The format that a description was made of."""
        return cls(classes)

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


class SedDoa:
    """A probability and a direction per class and frame; see `output_format.sed_doa`.

    Parameters
    ----------
    classes : number of classes
    coordinates : "xyz", "xy" or "polar"
    frame_s : length of an output frame in seconds
    label_frame_s : length of the frames of the events; None: the output's
    weights : of the loss, cross-entropy of the activity and squared error of the direction
    style : "2018" or "2019", how labels are made
    default_zero : vectors of inactive classes are zero ("xyz", "xy")

    Raises
    ------
    ValueError : unknown coordinates or style, label frames that are shorter than output frames
    """

    name = sed_doa.NAME
    axes = ("output", "class", "frame")
    threshold: float | None = 0.5

    def __init__(
        self,
        classes: int,
        *,
        coordinates: str = "xyz",
        frame_s: float,
        label_frame_s: float | None = None,
        weights: tuple[float, float] = (1.0, 50.0),
        style: str = "2018",
        default_zero: bool = True,
    ):
        if coordinates not in sed_doa.AXES:
            raise ValueError(f"coordinates must be one of {', '.join(sed_doa.AXES)}, found {coordinates}")
        self.classes, self.coordinates, self.default_zero = classes, coordinates, default_zero
        self.style = sed_doa.style_named(style)
        self.frame_s, self.weights = float(frame_s), (float(weights[0]), float(weights[1]))
        self.label_frame_s = self.frame_s if label_frame_s is None else float(label_frame_s)
        if not 0 < self.frame_s <= self.label_frame_s * (1 + 1e-9) < math.inf:
            raise ValueError(f"label frames of {label_frame_s} s cannot be made of frames of {frame_s} s")

    @property
    def outputs(self) -> int:
        """Numbers per class and frame."""
        return 1 + sed_doa.AXES[self.coordinates]

    def description(self) -> dict[str, Any]:
        """What is written beside a raw output, so that it can be decoded without the network."""
        return {
            "format": self.name,
            "axes": list(self.axes),
            "frame_s": self.frame_s,
            "label_frame_s": self.label_frame_s,
            "coordinates": self.coordinates,
            "style": self.style.name,
            "default_zero": self.default_zero,
            "weights": list(self.weights),
        }

    @classmethod
    def from_description(cls, about: Mapping[str, Any], classes: int) -> SedDoa:
        """The format that a description was made of."""
        return cls(
            classes,
            coordinates=about["coordinates"],
            frame_s=about["frame_s"],
            label_frame_s=about["label_frame_s"],
            weights=tuple(about["weights"]),
            style=about["style"],
            default_zero=bool(about["default_zero"]),
        )

    def label_matrix(
        self, table: IntervalTable, clip_frames: int, first_frame: int = 0, frames: int | None = None
    ) -> np.ndarray:
        """(frames, 3 classes) float64: activity, azimuth, elevation in degrees; see `output_format.sed_doa`."""
        return sed_doa.label_matrix(
            table,
            self.classes,
            self.style,
            frame_s=self.frame_s,
            clip_frames=clip_frames,
            first_frame=first_frame,
            frames=frames,
        )

    def convert(self, matrix: np.ndarray) -> np.ndarray:
        """A label matrix (frames, 3 classes) in the network's coordinates: (1 + axes, classes, frames) float64."""
        return sed_doa.coordinates_of(matrix, self.coordinates, self.style, default_zero=self.default_zero)

    def encode_intervals(self, table: IntervalTable, first_frame: int, frames: int, clip_frames: int) -> np.ndarray:
        """Labels of a stretch of a clip: (1 + axes, classes, frames) float32; nothing outside of the clip."""
        return self.convert(self.label_matrix(table, clip_frames, first_frame, frames)).astype(np.float32)

    def target(self, labels: Tensor, device: torch.device) -> Tensor:
        """Labels (batch, 1 + axes, classes, frames) on the device."""
        return labels.to(device, non_blocking=True)

    def loss(self, output: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
        """Weighted loss; reduction "mean", or "window" for one value per window."""
        return sed_doa.sed_doa_loss(output, target, self.weights, reduction=reduction)

    def kept(self, output: Tensor) -> Tensor:
        """All of the output: sequences do not overlap."""
        return output

    def candidates(self, raw: np.ndarray) -> Candidates:
        """Raw output of a clip (1 + axes, classes, frames) -> candidates per label frame."""
        return sed_doa.decode(raw, self.coordinates, self.style, frame_s=self.frame_s, label_frame_s=self.label_frame_s)

    def published_rows(self, raw: np.ndarray, thresholds: np.ndarray | float) -> EventTable | None:
        """Raw output as rows of a DCASE2019 result, see `sed_doa.result_rows`.

        None where the output is not that of the baseline, which regresses one pair of angles per class and label frame.
        """
        if self.coordinates != "polar" or not math.isclose(self.frame_s, self.label_frame_s):
            return None
        raw = np.asarray(raw, dtype=np.float64)
        azimuth, elevation = sed_doa.polar_of(raw[1:], self.style)
        activity = np.clip(raw[0], 0, 1).T
        return sed_doa.result_rows(activity, azimuth.T, elevation.T, frame_s=self.frame_s, thresholds=thresholds)

    def detections(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Raw output or encoded labels frame by frame: activity (frames, classes) bool, vectors (frames, axes classes).

        Vectors as SELDnet 2018 scores them: all x, then all y (then all z) of the classes.
        """
        raw = np.asarray(raw, dtype=np.float64)
        vectors = raw[1:]
        if self.coordinates == "polar":
            found = sed_doa.decode(raw, self.coordinates, self.style, frame_s=self.frame_s, label_frame_s=self.frame_s)
            vectors = direction_from_degrees(found.azimuth_deg[..., 0].T, found.elevation_deg[..., 0].T)
            vectors = np.moveaxis(vectors, -1, 0)
        return raw[0].T > self.threshold, vectors.transpose(2, 0, 1).reshape(raw.shape[-1], -1)


OUTPUT_FORMATS = {output_format.name: output_format for output_format in (MultiAccdoa, SedDoa)}
