"""Two-stage SELD: a probability, an azimuth and an elevation in radians per class and frame; labels, loss, rows.

Raw arrays are (3, classes, frames): activity, azimuth, elevation. Reference: Cao et al., 'Polyphonic Sound Event
Detection and Localization using a Two-Stage Strategy', DCASE 2019 workshop, arXiv 1905.00268.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from output_format.activity import ActivityFirst
from output_format.candidates import Candidates
from output_format.contract import Frames
from util.angles import direction_from_degrees, wrap_azimuth_deg
from util.events import EventTable
from util.intervals import IntervalTable, frames_per_second

FRAME_S, LABEL_FRAME_S = 0.01, 0.02  # of the network, and of what is handed in and scored
THRESHOLD = 0.3

Kind = Literal["MAE", "MSE"]


@dataclass(frozen=True)
class AngleGrid:
    """Directions that a data set has: multiples of a step, between limits, all in degrees."""

    step_deg: float
    azimuth_range_deg: tuple[float, float]
    elevation_range_deg: tuple[float, float]

    def nearest(self, azimuth_deg: np.ndarray, elevation_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Angles rounded to the step, halves to the even multiple, then cut at the limits.

        Azimuths are not wrapped (a quirk, kept): 180 and 190 become 170, as the scorer of 2019 has it.
        """
        angles = ((azimuth_deg, self.azimuth_range_deg), (elevation_deg, self.elevation_range_deg))
        azimuth, elevation = (np.clip(rounded(angle, self.step_deg), *limits) for angle, limits in angles)
        return azimuth, elevation


TAU2019 = AngleGrid(10.0, (-180.0, 170.0), (-40.0, 40.0))


def rounded(angle_deg: np.ndarray, step_deg: float = 10.0) -> np.ndarray:
    """The nearest multiple of the step, halves to the even one; no -0."""
    return np.rint(np.asarray(angle_deg, dtype=np.float64) / step_deg) * step_deg + 0.0


# labels -----------------------------------------------------------------------------------------------------------


def frame_bounds(table: IntervalTable, frame_s: float = FRAME_S) -> tuple[np.ndarray, np.ndarray]:
    """First frame of each event and the frame behind its last, (n,) int64.

    Both are floor(time / frame_s) of the time rounded to single precision, multiplied in double precision: with times
    of 0.01 s half of them land one frame early (a quirk of the reference that its labels depend on, kept).
    """
    rate = frames_per_second(frame_s)
    start, end = (
        np.floor(time.astype(np.float32).astype(np.float64) * rate).astype(np.int64)
        for time in (table.start_s, table.end_s)
    )
    return start, end


def label_maps(
    table: IntervalTable,
    classes: int,
    *,
    frame_s: float = FRAME_S,
    clip_frames: int,
    first_frame: int = 0,
    frames: int | None = None,
) -> np.ndarray:
    """Activity and direction of every class in a stretch of a recording.

    Later rows overwrite earlier ones of the same class; events are cut at the end of the recording. A moving event is
    where it is in the middle of the frame (the reference knows no motion).

    Parameters
    ----------
    clip_frames : frames of the recording; those beyond, and those before frame 0, hold nothing
    first_frame, frames : the stretch; default: the whole recording

    Returns
    -------
    (3, classes, frames) float32: 0 or 1, azimuth, elevation in radians (0 where inactive)

    Raises
    ------
    ValueError : a class outside 0..classes - 1
    """
    row = _rows_at(table, classes, frame_s, clip_frames, first_frame, frames)
    active = row >= 0
    maps = np.zeros((3, *row.shape), dtype=np.float32)
    maps[0] = active
    azimuth_deg, elevation_deg = table.azimuth_deg[row[active]], table.elevation_deg[row[active]]
    for index in np.flatnonzero(table.moving).tolist():
        mine = row[active] == index
        frame = np.nonzero(active)[1][mine] + first_frame
        last_s = table.end_s[index] - table.start_s[index]
        elapsed_s = np.clip((frame + 0.5) * frame_s - table.start_s[index], 0, last_s)
        azimuth_deg[mine], elevation_deg[mine] = table.angles_at(index, elapsed_s)
    maps[1, active], maps[2, active] = np.deg2rad(azimuth_deg), np.deg2rad(elevation_deg)
    return maps


def distance_maps(
    table: IntervalTable,
    classes: int,
    *,
    frame_s: float = FRAME_S,
    clip_frames: int,
    first_frame: int = 0,
    frames: int | None = None,
) -> np.ndarray:
    """Distances in metres (classes, frames) float32, 0 where inactive; as `label_maps`. Nothing is trained on them."""
    row = _rows_at(table, classes, frame_s, clip_frames, first_frame, frames)
    return np.where(row >= 0, table.distance_m[row] if len(table) else 0.0, 0.0).astype(np.float32)


def _rows_at(
    table: IntervalTable, classes: int, frame_s: float, clip_frames: int, first_frame: int, frames: int | None
) -> np.ndarray:
    """(classes, frames) int64: which row of the table each class follows, -1 where it is not active."""
    if len(table) and (table.class_index.min() < 0 or table.class_index.max() >= classes):
        raise ValueError(f"labels have classes outside 0..{classes - 1}")
    frames = clip_frames - first_frame if frames is None else frames
    row = np.full((classes, frames), -1, dtype=np.int64)
    start, end = frame_bounds(table, frame_s)
    end = np.minimum(end, clip_frames)
    for index in range(len(table)):
        part = slice(max(start[index] - first_frame, 0), max(end[index] - first_frame, 0))
        row[table.class_index[index], part] = index
    return row


# loss -------------------------------------------------------------------------------------------------------------


def loss_parts(output: Tensor, target: Tensor, *, kind: Kind = "MAE", reduction: str = "mean") -> tuple[Tensor, Tensor]:
    """Loss of detection and loss of localisation.

    Detection: binary cross-entropy over all classes and frames. Localisation: the error where the *reference* is
    active, azimuth and elevation added, in radians and without regard to the turn (a quirk, kept: 179 and -179 degrees
    are 358 apart). Nothing active: 0 (the reference gives NaN, for detection too).

    Parameters
    ----------
    output, target : (batch, 3, classes, frames); the longer one is cut; computed in float32 or better
    kind : "MAE": mean absolute error; "MSE": root of the mean squared error
    reduction : "mean": scalars over the batch; "window": (batch,), each item by itself

    Returns
    -------
    sed, doa
    """
    if kind not in ("MAE", "MSE") or reduction not in ("mean", "window"):
        raise ValueError(f"kind {kind!r}, reduction {reduction!r}: 'MAE' or 'MSE', 'mean' or 'window'")
    frames = min(output.shape[-1], target.shape[-1])
    output = output[..., :frames]
    output = output.float() if output.dtype in (torch.bfloat16, torch.float16) else output
    target = target[..., :frames].to(output.dtype)
    active = target[:, :1]
    over = (0, 2, 3) if reduction == "mean" else (2, 3)
    with torch.autocast(output.device.type, enabled=False):
        entropy = binary_cross_entropy(output[:, :1], active, reduction="none").mean(dim=over)
    difference = (output[:, 1:] - target[:, 1:]) * active
    size = difference.abs() if kind == "MAE" else difference.square()
    error = size.sum(dim=over) / active.sum(dim=over).clamp(min=1)
    if kind == "MSE":
        error = torch.where(error > 0, error, 1).sqrt() * (error > 0)  # the root has no slope at 0
    return entropy.squeeze(-1), error.sum(dim=-1)


def two_stage_loss(
    output: Tensor, target: Tensor, beta: float, *, kind: Kind = "MAE", reduction: str = "mean"
) -> Tensor:
    """(1 - beta) x loss of detection + beta x loss of localisation; see `loss_parts`."""
    sed, doa = loss_parts(output, target, kind=kind, reduction=reduction)
    return (1 - beta) * sed + beta * doa


# outputs ----------------------------------------------------------------------------------------------------------


def joined(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Raw outputs of the stages "sed" and "doa" -> one: activity of the first, angles of the second.

    Both are (..., 3, classes, frames) of one shape; what each says of the other's business is left out.
    """
    sed, doa = np.asarray(outputs["sed"]), np.asarray(outputs["doa"])
    if sed.shape != doa.shape:
        raise ValueError(f"outputs of two stages must have one shape, found {sed.shape} and {doa.shape}")
    return np.concatenate((sed[..., :1, :, :], doa[..., 1:, :, :]), axis=-3)


def decimated(raw: np.ndarray, *, frame_s: float = FRAME_S, label_frame_s: float = LABEL_FRAME_S) -> np.ndarray:
    """Of every longer frame one network frame: (..., frames) -> (..., round(frames / k)), halves to the even number.

    The frame is the one in the middle, the earlier of two: frame 2 n of 20 ms, as published.

    Raises
    ------
    ValueError : label frames that are no multiple of the network's
    """
    step = _frames_per_label(frame_s, label_frame_s)
    if not step:
        raise ValueError(f"frames of {label_frame_s} s cannot be made of frames of {frame_s} s")
    count = round(raw.shape[-1] / step)
    return raw[..., (step - 1) // 2 :: step][..., :count]


def _frames_per_label(frame_s: float, label_frame_s: float) -> int:
    """Frames of the network in a label frame; 0 where that is no whole number."""
    ratio = label_frame_s / frame_s
    step = round(ratio)
    return step if math.isclose(ratio, step, rel_tol=1e-6) else 0


def decode(
    raw: np.ndarray,
    *,
    frame_s: float = FRAME_S,
    label_frame_s: float = LABEL_FRAME_S,
    grid: AngleGrid | None = TAU2019,
) -> Candidates:
    """Raw output of a recording -> candidates with one track, per label frame.

    Parameters
    ----------
    raw : (3, classes, frames)
    grid : of the data set; None: angles as they are, azimuths wrapped to [-180, 180), elevations cut at +-90
    """
    raw = _checked(raw)
    values = decimated(raw, frame_s=frame_s, label_frame_s=label_frame_s).astype(np.float64).transpose(0, 2, 1)
    azimuth, elevation = np.rad2deg(values[1:])
    if grid is None:
        azimuth, elevation = wrap_azimuth_deg(azimuth), np.clip(elevation, -90, 90)
    else:
        azimuth, elevation = grid.nearest(azimuth, elevation)
    return Candidates(
        activity=np.clip(values[0], 0, 1)[..., None],
        azimuth_deg=azimuth[..., None],
        elevation_deg=elevation[..., None],
        frame_s=label_frame_s,
    )


def submission_rows(
    raw: np.ndarray,
    threshold: np.ndarray | float = THRESHOLD,
    *,
    frame_s: float = FRAME_S,
    label_frame_s: float = LABEL_FRAME_S,
    wrap: bool = False,
) -> EventTable:
    """Active classes as rows of a DCASE2019 submission, to the letter of the reference: multiples of 10 degrees.

    Parameters
    ----------
    raw : (3, classes, frames)
    threshold : a class is active above it; one number, or (classes,)
    wrap : bring azimuths to [-180, 180); by default they are left beyond, where the scorer cuts them (a quirk, kept)

    Returns
    -------
    Events by frame, then class
    """
    raw = decimated(_checked(raw), frame_s=frame_s, label_frame_s=label_frame_s)
    frame, index = np.nonzero(raw[0].T > threshold)
    azimuth, elevation = rounded(np.rad2deg(raw[1:, index, frame].astype(np.float64)))
    return EventTable.make(
        frame=frame,
        class_index=index,
        azimuth_deg=wrap_azimuth_deg(azimuth) if wrap else azimuth,
        elevation_deg=elevation,
        activity=raw[0, index, frame],
        frame_s=label_frame_s,
    )


def _checked(raw: np.ndarray) -> np.ndarray:
    raw = np.asarray(raw)
    if raw.ndim != 3 or raw.shape[0] != 3 or not np.issubdtype(raw.dtype, np.floating):
        rule = "raw output must be (3, classes, frames) of floating point numbers"
        raise ValueError(f"{rule}, found {raw.shape} {raw.dtype}")
    return raw


class TwoStage(ActivityFirst):
    """The output format of one stage: what trainer and predictor need to know of it.

    Parameters
    ----------
    classes : number of classes
    beta : weight of the localisation loss; that of the detection loss is 1 - beta
    kind : of the localisation loss, "MAE" or "MSE"
    frame_s : length in seconds of the frames of the output
    on_grid : round and cut angles to the grid of TAU 2019, as published; else they stay as they are

    Raises
    ------
    ValueError : a weight outside [0, 1], another kind of loss
    """

    name = "two_stage"
    threshold: float | None = THRESHOLD

    def __init__(
        self,
        classes: int,
        *,
        beta: float,
        kind: Kind = "MAE",
        frame_s: float = FRAME_S,
        on_grid: bool = True,
    ):
        if not 0 <= beta <= 1 or kind not in ("MAE", "MSE"):
            raise ValueError(f"beta {beta}, kind {kind!r}: a weight from 0 to 1, 'MAE' or 'MSE'")
        self.classes, self.beta, self.kind, self.on_grid = classes, float(beta), kind, on_grid
        self.frame_s = float(frame_s)

    def description(self) -> dict[str, Any]:
        """What is written beside a raw output, so that it can be decoded without the network."""
        return {
            **self.common_description(),
            "on_grid": self.on_grid,
            "beta": self.beta,
            "kind": self.kind,
        }

    @classmethod
    def from_description(cls, about: Mapping[str, Any], classes: int) -> TwoStage:
        """The format that a description was made of."""
        return cls(
            classes,
            beta=about["beta"],
            kind=about["kind"],
            frame_s=about["frame_s"],
            on_grid=bool(about["on_grid"]),
        )

    def nothing(self) -> np.ndarray:
        """Labels (3, classes) of a frame outside of the recording."""
        return np.zeros((3, self.classes))

    def stretch(self, table: IntervalTable, clip_frames: int, first_frame: int, frames: int) -> np.ndarray:
        """Labels (3, classes, frames) of a stretch of a recording of `clip_frames` frames."""
        return label_maps(
            table,
            self.classes,
            frame_s=self.frame_s,
            clip_frames=clip_frames,
            first_frame=first_frame,
            frames=frames,
        )

    def loss(self, output: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
        """Loss of the stage; reduction "mean", or "window" for one value per window."""
        return two_stage_loss(output, target, self.beta, kind=self.kind, reduction=reduction)

    def published_rows(self, raw: np.ndarray, thresholds: np.ndarray | float, *, frame_s: float) -> EventTable | None:
        """Raw output as rows of a DCASE2019 submission, see `submission_rows`; None for frames of another length."""
        if not self.on_grid or not math.isclose(frame_s, LABEL_FRAME_S):
            return None
        return submission_rows(raw, thresholds, frame_s=self.frame_s, label_frame_s=frame_s)

    def makes(self, frame_s: float) -> bool:
        """Whether `candidates` makes label frames of a length in seconds: multiples of the output's."""
        return _frames_per_label(self.frame_s, frame_s) > 0

    def candidates(self, raw: np.ndarray, *, frame_s: float | None = None, first: int = 0) -> Candidates:
        """Raw output of a clip (3, classes, frames) -> candidates per label frame.

        Parameters
        ----------
        frame_s : length of the label frames; None: 20 ms
        first : number of the first frame of `raw` inside its clip, a multiple of the frames of a label frame
        """
        grid = TAU2019 if self.on_grid else None
        return decode(raw, frame_s=self.frame_s, label_frame_s=LABEL_FRAME_S if frame_s is None else frame_s, grid=grid)

    def encode_clip(self, table: IntervalTable, frames: int) -> np.ndarray:
        """Labels of a whole clip: (3, classes, frames) float32."""
        return label_maps(table, self.classes, frame_s=self.frame_s, clip_frames=frames)

    def label_matrix(self, table: IntervalTable, clip_frames: int) -> np.ndarray:
        """(frames, 3 classes) float64: activity, azimuth, elevation in degrees, 0 where inactive."""
        active, azimuth, elevation = self.encode_clip(table, clip_frames).astype(np.float64)
        return np.concatenate((active, np.rad2deg(azimuth), np.rad2deg(elevation))).T

    @property
    def figure_style(self) -> str:
        """How its publication draws it."""
        return self.name

    def frames_of(self, raw: np.ndarray) -> Frames:
        """A raw output (3, classes, frames) frame by frame: angles as they are, not rounded and not wrapped."""
        raw = _checked(raw)
        azimuth, elevation = np.rad2deg(raw[1:].astype(np.float64))
        return Frames(raw[0], azimuth, elevation, np.moveaxis(direction_from_degrees(azimuth, elevation), -1, 0))

    def taught(self, table: IntervalTable, frames: int) -> Frames:
        """Labels as the network is taught them."""
        made = self.frames_of(self.encode_clip(table, frames))
        active = made.activity > 0
        azimuth, elevation = (np.where(active, angle, np.nan) for angle in (made.azimuth_deg, made.elevation_deg))
        return Frames(made.activity, azimuth, elevation, made.vectors)

    def detections(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Raw output or encoded labels frame by frame: activity (frames, classes) bool, vectors (frames, 3 classes).

        Vectors as SELDnet 2018 scores them: all x, then all y, then all z of the classes.
        """
        found = self.frames_of(raw)
        frames = found.activity.shape[-1]
        return found.activity.T > THRESHOLD, found.vectors.transpose(2, 0, 1).reshape(frames, -1)
