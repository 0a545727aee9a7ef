"""SED and DOA apart: a probability and a direction per class and frame, as SELDnet and the baseline of 2019 have it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from output_format.activity import ActivityFirst
from output_format.candidates import Candidates
from output_format.contract import Frames
from util.angles import degrees_from_direction, direction_from_degrees, wrap_azimuth_deg
from util.errors import InputError
from util.events import EventTable
from util.intervals import IntervalTable, frame_range, frames_of, frames_per_second, label_frame_of

AXES = {"xyz": 3, "xy": 2, "polar": 2}  # numbers per direction; polar: azimuth, stretched elevation
DEFAULT_AZIMUTH_DEG = 180.0
_STEP_S = 0.01  # grid on which the reference of the moving sets computes a motion
_CLIP = 1e-7  # Keras clips probabilities by it


@dataclass(frozen=True)
class Style:
    """How a published system turns events into labels of frames.

    Attributes
    ----------
    elevation_range_deg, azimuth_range_deg : events outside keep their activity and get no direction
    default_elevation_deg : of classes that are not active (their azimuth is 180)
    doa_shorter : directions end one frame before the activity; a quirk that is kept
    grid : azimuths, elevations of the classification grid of 10 degrees
    """

    name: str
    elevation_range_deg: tuple[float, float]
    azimuth_range_deg: tuple[float, float]
    default_elevation_deg: float
    doa_shorter: bool
    grid: tuple[int, int]


STYLES = {
    style.name: style
    for style in (
        # SELDnet (Adavanne et al., JSTSP 2018)
        Style("2018", (-60, 50), (-180, 180), 60.0, True, (36, 12)),
        # baseline of DCASE2019 task 3 (Adavanne et al., 2019)
        Style("2019", (-40, 40), (-180, 170), 50.0, False, (36, 9)),
    )
}


def style_named(name: str) -> Style:
    """The style of that name.

    Raises
    ------
    ValueError : there is none
    """
    if name not in STYLES:
        raise ValueError(f"unknown label style '{name}'; known are {', '.join(STYLES)}")
    return STYLES[name]


def label_matrix(
    table: IntervalTable,
    classes: int,
    style: Style,
    *,
    frame_s: float,
    clip_frames: int,
    first_frame: int = 0,
    frames: int | None = None,
) -> np.ndarray:
    """Activity and direction of every class in a stretch of a clip.

    An event is active from the frame of its start to that of its end, both included; ends are cut at the clip's end.
    Later rows of a class overwrite earlier ones. Frames outside of the clip are inactive.

    Parameters
    ----------
    clip_frames : frames of the clip
    first_frame, frames : the stretch; default: the whole clip

    Returns
    -------
    (frames, 3 classes) float64: activity 0 or 1, azimuth, elevation, in degrees; defaults where there is nothing

    Raises
    ------
    ValueError : a class outside 0..classes - 1
    """
    if len(table) and (table.class_index.min() < 0 or table.class_index.max() >= classes):
        raise ValueError(f"labels have classes outside 0..{classes - 1}")
    frames = clip_frames - first_frame if frames is None else frames
    active = np.zeros((frames, classes))
    azimuth = np.full((frames, classes), DEFAULT_AZIMUTH_DEG)
    elevation = np.full((frames, classes), style.default_elevation_deg)
    start, end = frame_range(table, frame_s, "floor_ceil")
    table = _whole_angles(table)
    end = np.minimum(end, clip_frames)
    last = min(first_frame + frames, clip_frames)  # of the stretch, not included
    for row in range(len(table)):
        index = table.class_index[row]
        active[_part(start[row], min(end[row] + 1, last), first_frame), index] = 1
        count = int(end[row] - start[row]) + (0 if style.doa_shorter else 1)
        begin, until = max(int(start[row]), first_frame), min(int(start[row]) + count, last)
        if begin >= until:
            continue
        azimuths, elevations = _directions(table, row, count, frame_s, style)
        if not _inside(elevations, style.elevation_range_deg) or not _inside(azimuths, style.azimuth_range_deg):
            continue
        mine = slice(begin - int(start[row]), until - int(start[row]))
        part = _part(begin, until, first_frame)
        azimuth[part, index] = azimuths[mine] if len(azimuths) > 1 else azimuths
        elevation[part, index] = elevations[mine] if len(elevations) > 1 else elevations
    return np.concatenate([active, azimuth, elevation], axis=1)


def _whole_angles(table: IntervalTable) -> IntervalTable:
    """Angles and velocities cut to whole degrees, as the reference reads them."""
    names = [name for name in table.COLUMNS if name.endswith(("_deg", "_deg_s"))]
    return table.replace(**{name: np.trunc(getattr(table, name)) for name in names})


def _part(start: int, end: int, first_frame: int) -> slice:
    return slice(max(int(start) - first_frame, 0), max(int(end) - first_frame, 0))


def _inside(angles: np.ndarray, limits: tuple[float, float]) -> bool:
    """Whether some angle keeps the lower limit and some the upper one: a moving event is left out only then."""
    return bool((angles >= limits[0]).any() and (angles <= limits[1]).any())


def _directions(
    table: IntervalTable, row: int, count: int, frame_s: float, style: Style
) -> tuple[np.ndarray, np.ndarray]:
    """Azimuth and elevation in degrees on the frames of an event: (count,), or (1,) where it is static."""
    azimuth, elevation = table.azimuth_deg[row : row + 1], table.elevation_deg[row : row + 1]
    if not table.moving[row]:
        return azimuth, elevation
    duration_s = count / frames_per_second(frame_s)
    if np.isnan(table.azimuth_direction_deg[row]):
        swept = np.floor(np.linspace(azimuth[0], azimuth[0] + table.angular_velocity_deg_s[row] * duration_s, count))
        return -wrap_azimuth_deg(-swept), elevation  # in (-180, 180]
    steps = math.ceil(duration_s / _STEP_S)
    azimuths, elevations = table.angles_at(row, np.arange(steps) * _STEP_S)
    place, steps_at = np.linspace(0, 1, count), np.linspace(0, 1, steps)
    # the reference interpolates azimuths as plain numbers, which sweeps the front where an event passes the back
    azimuths = wrap_azimuth_deg(np.interp(place, steps_at, np.unwrap(azimuths, period=360)))
    return azimuths, np.interp(place, steps_at, elevations)


def coordinates_of(matrix: np.ndarray, coordinates: str, style: Style, *, default_zero: bool = True) -> np.ndarray:
    """What the network is trained on, of a label matrix (frames, 3 classes) in degrees.

    Parameters
    ----------
    coordinates : "xyz": unit vectors; "xy": cosine and sine of the azimuth, whatever the elevation; "polar": azimuth in
        radians and elevation stretched so that the default elevation is pi
    default_zero : vectors of classes without a direction are 0, not those of the default angles

    Returns
    -------
    (1 + axes, classes, frames) float64: activity, then the coordinates
    """
    active, azimuth, elevation = np.split(matrix.T, 3)
    if coordinates == "polar":
        stretched = elevation * (np.pi / style.default_elevation_deg)
        return np.stack([active, np.deg2rad(azimuth), stretched])
    if coordinates == "xyz":
        axes = np.moveaxis(direction_from_degrees(azimuth, elevation), -1, 0)
    elif coordinates == "xy":
        axes = np.moveaxis(direction_from_degrees(azimuth, 0 * elevation), -1, 0)[:2]
    else:
        raise ValueError(f"coordinates must be one of {', '.join(AXES)}, found {coordinates}")
    if default_zero:
        axes = np.where(elevation == style.default_elevation_deg, 0.0, axes)
    return np.concatenate([active[None], axes])


def polar_of(coordinates: np.ndarray, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of the polar form: (2, ...) -> azimuth and elevation in degrees, of any size: they are regressed."""
    return np.rad2deg(coordinates[0]), coordinates[1] * (style.default_elevation_deg / np.pi)


def classification_labels(
    table: IntervalTable, classes: int, style: Style, *, frame_s: float, clip_frames: int, outside: str = "refuse"
) -> np.ndarray:
    """Labels on the grid of 10 degrees: (frames, classes, cells) bool, cell = azimuth index * elevations + elevation's.

    Parameters
    ----------
    outside : events off the grid are refused ("refuse") or left out ("skip"); the reference puts them into a wrong cell
        or fails

    Raises
    ------
    InputError : an event off the grid, unless it is to be skipped
    """
    azimuths, elevations = style.grid
    least = style.elevation_range_deg[0]
    start, end = frame_range(table, frame_s, "floor_ceil")
    labels = np.zeros((clip_frames, classes, azimuths * elevations), dtype=bool)
    azimuth = np.floor_divide(table.azimuth_deg + 180, 10).astype(np.int64)
    elevation = np.floor_divide(table.elevation_deg - least, 10).astype(np.int64)
    fits = (azimuth >= 0) & (azimuth < azimuths) & (elevation >= 0) & (elevation < elevations)
    if outside != "skip" and not fits.all():
        row = int(np.argmin(fits))
        where = f"azimuth {table.azimuth_deg[row]:g}, elevation {table.elevation_deg[row]:g}"
        raise InputError(f"event {row + 1} ({where} degrees) lies off the grid of {style.name}")
    for row in np.flatnonzero(fits).tolist():
        cell = azimuth[row] * elevations + elevation[row]
        labels[start[row] : min(end[row], clip_frames) + 1, table.class_index[row], cell] = True
    return labels


def output_rows(table: IntervalTable, *, frame_s: float = 0.02) -> EventTable:
    """Labels in the form of a result, as DCASE2019 converts them: frames int(start / frame_s) to int(end / frame_s).

    Rows in the order of the reference's dictionary: frames by their first event, events of a frame as in the table.
    Azimuths are those of the table: 180 stays 180.
    """
    first, last = frame_range(table, frame_s, "trunc")
    length = np.maximum(last - first + 1, 0)
    row, frame = frames_of(first, length)
    _, begin, place = np.unique(frame, return_index=True, return_inverse=True)
    events = EventTable.make(
        frame=frame,
        class_index=table.class_index[row],
        azimuth_deg=table.azimuth_deg[row],
        elevation_deg=table.elevation_deg[row],
        distance_m=table.distance_m[row],
        frame_s=frame_s,
    )
    return events[np.argsort(begin[place], kind="stable")]


def result_rows(
    sed: np.ndarray,
    azimuth_deg: np.ndarray,
    elevation_deg: np.ndarray,
    *,
    frame_s: float,
    thresholds: np.ndarray | float = 0.5,
) -> EventTable:
    """Active classes as rows of a DCASE2019 result: angles cut to whole degrees towards 0, as the reference does.

    Angles that the network puts beyond 180 and 90 degrees stay there: the official program brings azimuths into -180 to
    170 and elevations into -40 to 40 by clipping, so that 207 counts as 170 and not as -153.

    Parameters
    ----------
    sed : (frames, classes), active above the threshold
    azimuth_deg, elevation_deg : (frames, classes)
    thresholds : (classes,) or one number

    Examples
    --------
    >>> sed = np.array([[0.9, 0.2], [0.1, 0.8]])  # two frames, two classes
    >>> azimuth_deg, elevation_deg = np.array([[207.9, 0], [0, -10.7]]), np.array([[66.2, 0], [0, 5.5]])
    >>> rows = result_rows(sed, azimuth_deg, elevation_deg, frame_s=0.02)
    >>> rows.frame.tolist(), rows.class_index.tolist(), rows.azimuth_deg.tolist(), rows.elevation_deg.tolist()
    ([0, 1], [0, 1], [207.0, -10.0], [66.0, 5.0])
    """
    sed = np.asarray(sed)
    frame, index = np.nonzero(sed > thresholds)
    return EventTable.make(
        frame=frame,
        class_index=index,
        azimuth_deg=np.trunc(azimuth_deg[frame, index]),
        elevation_deg=np.trunc(elevation_deg[frame, index]),
        activity=sed[frame, index],
        frame_s=frame_s,
    )


def sed_doa_loss(
    output: Tensor, target: Tensor, weights: tuple[float, float] = (1.0, 50.0), *, reduction: str = "mean"
) -> Tensor:
    """Weighted sum of binary cross-entropy of the activity and mean squared error of the coordinates.

    The error is taken over all frames and classes, active or not (no mask, as published); probabilities are clipped to
    [1e-7, 1 - 1e-7].

    Parameters
    ----------
    output, target : (batch, 1 + axes, classes, frames); computed in float32 or better
    weights : of the cross-entropy and of the error
    reduction : "mean": scalar; "window": (batch,), the mean of each window
    """
    if reduction not in ("mean", "window"):
        raise ValueError(f"reduction must be 'mean' or 'window', found '{reduction}'")
    output = output.float() if output.dtype in (torch.bfloat16, torch.float16) else output
    target = target.to(output.dtype)
    with torch.autocast(output.device.type, enabled=False):
        entropy = binary_cross_entropy(output[:, 0].clamp(_CLIP, 1 - _CLIP), target[:, 0], reduction="none")
    error = (output[:, 1:] - target[:, 1:]).square()
    if reduction == "mean":
        return weights[0] * entropy.mean() + weights[1] * error.mean()
    return weights[0] * entropy.flatten(1).mean(dim=1) + weights[1] * error.flatten(1).mean(dim=1)


def decode(
    raw: np.ndarray, coordinates: str, style: Style, *, frame_s: float, label_frame_s: float, first: int = 0
) -> Candidates:
    """Raw output of a clip -> candidates with one track, per label frame.

    Where label frames are longer, the frames whose centres lie in one are pooled: activities are averaged, and
    directions as vectors weighted by activity.

    Parameters
    ----------
    raw : (1 + axes, classes, frames); computed in float64
    first : number of its first frame inside the clip
    """
    raw = np.asarray(raw)
    if raw.ndim != 3 or raw.shape[0] != 1 + AXES[coordinates] or not np.issubdtype(raw.dtype, np.floating):
        shape = f"(1 + {AXES[coordinates]}, classes, frames)"
        raise ValueError(f"raw output must be {shape} of floating point numbers, found {raw.shape} {raw.dtype}")
    raw = raw.astype(np.float64)
    activity = np.clip(raw[0], 0, 1).T
    if coordinates == "polar":
        azimuth, elevation = polar_of(raw[1:], style)
        vectors = direction_from_degrees(azimuth.T, np.clip(elevation, -90, 90).T)
    else:
        vectors = raw[1:].transpose(2, 1, 0)
        if coordinates == "xy":
            vectors = np.concatenate([vectors, np.zeros_like(vectors[..., :1])], axis=-1)
    if not math.isclose(label_frame_s, frame_s, rel_tol=1e-9) and len(activity):
        place = label_frame_of(first + np.arange(len(activity)), frame_s, label_frame_s)
        begin = np.flatnonzero(np.diff(place, prepend=place[0] - 1))
        weighted = np.add.reduceat(activity[..., None] * vectors, begin)
        plain = np.add.reduceat(vectors, begin)
        total = np.add.reduceat(activity, begin)
        vectors = np.where(total[..., None] > 0, weighted, plain)
        activity = total / np.diff(np.append(begin, len(activity)))[:, None]
    azimuth, elevation = degrees_from_direction(vectors)
    return Candidates(
        activity=activity[..., None],
        azimuth_deg=azimuth[..., None],
        elevation_deg=elevation[..., None],
        frame_s=label_frame_s,
    )


class SedDoa(ActivityFirst):
    """A probability and a direction per class and frame.

    Parameters
    ----------
    classes : number of classes
    coordinates : "xyz", "xy" or "polar"
    frame_s : length of an output frame in seconds
    weights : of the loss, cross-entropy of the activity and squared error of the direction
    style : "2018" or "2019", how labels are made
    default_zero : vectors of inactive classes are zero ("xyz", "xy")

    Raises
    ------
    ValueError : unknown coordinates or style, frames that have no length
    """

    name = "sed_doa"
    threshold: float | None = 0.5

    def __init__(
        self,
        classes: int,
        *,
        coordinates: str = "xyz",
        frame_s: float,
        weights: tuple[float, float] = (1.0, 50.0),
        style: str = "2018",
        default_zero: bool = True,
    ):
        if coordinates not in AXES:
            raise ValueError(f"coordinates must be one of {', '.join(AXES)}, found {coordinates}")
        self.classes, self.coordinates, self.default_zero = classes, coordinates, default_zero
        self.style = style_named(style)
        self.frame_s, self.weights = float(frame_s), (float(weights[0]), float(weights[1]))
        if not 0 < self.frame_s < math.inf:
            raise ValueError(f"frames of {frame_s} s")

    @property
    def outputs(self) -> int:
        """Numbers per class and frame."""
        return 1 + AXES[self.coordinates]

    def description(self) -> dict[str, Any]:
        """What is written beside a raw output, so that it can be decoded without the network."""
        return {
            **self.common_description(),
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
            weights=tuple(about["weights"]),
            style=about["style"],
            default_zero=bool(about["default_zero"]),
        )

    def label_matrix(
        self, table: IntervalTable, clip_frames: int, first_frame: int = 0, frames: int | None = None
    ) -> np.ndarray:
        """(frames, 3 classes) float64: activity, azimuth, elevation in degrees; see `label_matrix`."""
        return label_matrix(
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
        return coordinates_of(matrix, self.coordinates, self.style, default_zero=self.default_zero)

    def nothing(self) -> np.ndarray:
        """Labels (1 + axes, classes) of a frame outside of the recording."""
        return self.convert(self.label_matrix(IntervalTable.make(), 1))[..., 0]

    def stretch(self, table: IntervalTable, clip_frames: int, first_frame: int, frames: int) -> np.ndarray:
        """Labels (1 + axes, classes, frames) of a stretch of a recording of `clip_frames` frames."""
        return self.convert(self.label_matrix(table, clip_frames, first_frame, frames))

    def encode_clip(self, table: IntervalTable, frames: int) -> np.ndarray:
        """Labels of a whole clip: (1 + axes, classes, frames) float32."""
        return self.convert(self.label_matrix(table, frames)).astype(np.float32)

    def loss(self, output: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
        """Weighted loss; reduction "mean", or "window" for one value per window."""
        return sed_doa_loss(output, target, self.weights, reduction=reduction)

    def makes(self, frame_s: float) -> bool:
        """Whether `candidates` makes label frames of a length in seconds."""
        return frame_s >= self.frame_s * (1 - 1e-9)

    def candidates(self, raw: np.ndarray, *, frame_s: float | None = None, first: int = 0) -> Candidates:
        """Raw output of a clip (1 + axes, classes, frames) -> candidates per label frame.

        Parameters
        ----------
        frame_s : length of the label frames; None: that of the output's
        first : number of the first frame of `raw` inside its clip

        Raises
        ------
        ValueError : it is shorter than an output frame
        """
        label_frame_s = self.frame_s if frame_s is None else frame_s
        if not self.makes(label_frame_s):
            raise ValueError(f"label frames of {label_frame_s} s cannot be made of frames of {self.frame_s} s")
        return decode(raw, self.coordinates, self.style, frame_s=self.frame_s, label_frame_s=label_frame_s, first=first)

    def published_rows(self, raw: np.ndarray, thresholds: np.ndarray | float, *, frame_s: float) -> EventTable | None:
        """Raw output as rows of a DCASE2019 result, see `result_rows`.

        None where the output is not that of the baseline, which regresses one pair of angles per class and label frame.
        """
        if self.coordinates != "polar" or not math.isclose(self.frame_s, frame_s):
            return None
        raw = np.asarray(raw, dtype=np.float64)
        azimuth, elevation = polar_of(raw[1:], self.style)
        activity = np.clip(raw[0], 0, 1).T
        return result_rows(activity, azimuth.T, elevation.T, frame_s=self.frame_s, thresholds=thresholds)

    @property
    def figure_style(self) -> str:
        """How its publication draws it: that of its labels."""
        return self.style.name

    def frames_of(self, raw: np.ndarray) -> Frames:
        """A raw output (1 + axes, classes, frames) frame by frame."""
        found = decode(raw, self.coordinates, self.style, frame_s=self.frame_s, label_frame_s=self.frame_s)
        azimuth, elevation = found.azimuth_deg[..., 0].T, found.elevation_deg[..., 0].T
        vectors = raw[1:].astype(np.float64)
        if self.coordinates == "polar":
            vectors = np.moveaxis(direction_from_degrees(azimuth, elevation), -1, 0)
        return Frames(raw[0], azimuth, elevation, vectors)

    def taught(self, table: IntervalTable, frames: int) -> Frames:
        """Labels as the network is taught them: events that its style skips are active without a direction."""
        active, azimuth, elevation = np.split(self.label_matrix(table, frames).T, 3)
        known = elevation != self.style.default_elevation_deg
        azimuth, elevation = np.where(known, azimuth, np.nan), np.where(known, elevation, np.nan)
        flat = self.coordinates == "xy"
        vectors = np.moveaxis(direction_from_degrees(azimuth, 0 * elevation if flat else elevation), -1, 0)
        return Frames(active, azimuth, elevation, vectors[:2] if flat else vectors)

    def detections(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Raw output or encoded labels frame by frame: activity (frames, classes) bool, vectors (frames, axes classes).

        Vectors as SELDnet 2018 scores them: all x, then all y (then all z) of the classes.
        """
        raw = np.asarray(raw, dtype=np.float64)
        vectors = raw[1:]
        if self.coordinates == "polar":
            found = decode(raw, self.coordinates, self.style, frame_s=self.frame_s, label_frame_s=self.frame_s)
            vectors = direction_from_degrees(found.azimuth_deg[..., 0].T, found.elevation_deg[..., 0].T)
            vectors = np.moveaxis(vectors, -1, 0)
        return raw[0].T > self.threshold, vectors.transpose(2, 0, 1).reshape(raw.shape[-1], -1)
