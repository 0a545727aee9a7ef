"""Multi-ACCDOA: tracks of activity-coupled vectors, trained with the class-wise ADPIT loss; with distance, onscreen."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from output_format.candidates import Candidates
from output_format.contract import Clip, LabelGrid
from util.angles import degrees_from_direction, direction_from_degrees
from util.events import EventTable

TRACKS, AXES, SLOTS = 3, 3, 6
LABEL_FRAME_S = 0.1  # of the label csv and of the events
VECTOR = ("x", "y", "z")
ELEMENTS = (*VECTOR, "distance", "onscreen")  # in the order in which a track has them, those that it has
_COLUMNS = {"distance": "distance_m", "onscreen": "onscreen"}
_FIRST_SLOT = np.array([0, 0, 1, 3])  # by the number of simultaneous sources of a class: 1, 2, 3 or more


def slots(
    events: Sequence[EventTable],
    first: np.ndarray,
    count: int,
    classes: int,
    item: np.ndarray | None = None,
    items: int | None = None,
    *,
    elements: Sequence[str] = VECTOR,
    tracks: int = TRACKS,
) -> np.ndarray:
    """The ADPIT slots A0, B0, B1, C0, C1, C2 of windows, per label frame; of one track a single slot.

    A class with one source in a frame fills A0, with two B0 and B1, with three or more C0, C1, C2 in the order of the
    table (further ones are dropped: a quirk of the reference). With one track the last source of a class counts.

    Parameters
    ----------
    events : per window the labels; the source number is ignored (a source listed twice counts twice); rows outside the
        window are left out
    first : (tables,) label frame of each table that is the first one of its window
    count : label frames per window
    item, items : (tables,) window of each table, and how many windows there are; default: a window each
    elements : of `ELEMENTS`; distances in metres, x and y alone are those of the azimuth

    Returns
    -------
    (windows, count, 6 slots or 1, elements, classes) float32, zero where there is nothing

    Raises
    ------
    ValueError : a class outside 0..classes - 1, a frame length that is not 0.1 s
    """
    shape = (items or len(events), count, SLOTS if tracks > 1 else 1, len(elements), classes)
    made = np.zeros(shape, dtype=np.float32)
    for table in events:
        if len(table) and not math.isclose(table.frame_s, LABEL_FRAME_S):
            raise ValueError(f"labels have frames of {table.frame_s} s, the format needs {LABEL_FRAME_S} s")
    place = np.repeat(np.arange(len(events)), [len(table) for table in events])
    if not len(place):
        return made
    window = place if item is None else np.asarray(item)[place]

    def joined(column: str) -> np.ndarray:
        return np.concatenate([getattr(table, column) for table in events])

    frame, class_index = joined("frame") - np.asarray(first)[place], joined("class_index")
    if class_index.min() < 0 or class_index.max() >= classes:
        raise ValueError(f"labels have classes outside 0..{classes - 1}")
    azimuth_deg = joined("azimuth_deg")
    elevation_deg = joined("elevation_deg") if "z" in elements else np.zeros(len(azimuth_deg))
    elevation_deg = np.nan_to_num(elevation_deg)  # of stereo pairs nobody knows it: the horizon
    columns = [direction_from_degrees(azimuth_deg, elevation_deg)[:, : 3 if "z" in elements else 2]]
    columns += [joined(_COLUMNS[name])[:, None] for name in elements if name in _COLUMNS]
    values = np.concatenate(columns, axis=1)
    inside = np.flatnonzero((frame >= 0) & (frame < count))
    cell = ((window * count + frame) * classes + class_index)[inside]
    order = np.argsort(cell, kind="stable")  # sources of a cell stay in the order of their rows
    cell, row = cell[order], inside[order]
    begin = np.searchsorted(cell, cell, side="left")
    sources = np.searchsorted(cell, cell, side="right") - begin
    rank = np.arange(len(cell)) - begin
    if tracks > 1:
        slot, kept = _FIRST_SLOT[np.minimum(sources, 3)] + rank, rank < 3
    else:
        slot, kept = 0 * rank, rank == sources - 1
    row, slot = row[kept], slot[kept]
    made[window[row], frame[row], slot, :, class_index[row]] = values[row]
    return made


# Per candidate the slots of the tracks 0, 1, 2: first b_1..b_6 with c_1, then c_2..c_6 with b_1. The 13 candidates of
# the paper are these 11: its P_0, P_1 and P_7 are one.
_B = ((0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0))
_C = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
_CANDIDATES = tuple((b, _C[0]) for b in _B) + tuple((_B[0], c) for c in _C[1:])


def adpit_loss(output: Tensor, target: Tensor, *, reduction: str = "mean", onscreen: bool = False) -> Tensor:
    """Auxiliary duplicating permutation invariant training loss, class-wise (Shimada et al., ICASSP 2022).

    Per class and frame the mean squared error to the nearest of the 13 assignments of the label's sources to the three
    tracks; among equally near ones the first counts. The gradient flows through the assignment chosen. With `onscreen`
    the last element of a track is a probability, which has no part in the choice: the binary cross-entropy to that of
    the assignment is added (DCASE 2025; tracks without a source count as off the screen).

    Parameters
    ----------
    output : (batch, 3 tracks, elements, classes, frames); computed in float32 or better
    target : (batch, 6 slots, elements, classes, frames)
    reduction : "mean": scalar; "window": (batch,), the mean of each window (to leave filler windows out)
    """
    output = output.float() if output.dtype in (torch.bfloat16, torch.float16) else output
    regressed = output.shape[2] - onscreen
    with torch.no_grad():
        chosen = nearest_assignment(output.detach(), target.to(output.dtype), regressed)
    error = reduced((output[:, :, :regressed] - chosen[:, :, :regressed]).square(), reduction)
    return error + reduced(_cross_entropy(output, chosen), reduction) if onscreen else error


def single_loss(output: Tensor, target: Tensor, *, reduction: str = "mean", onscreen: bool = False) -> Tensor:
    """Mean squared error of one track, active or not; with `onscreen` the mean of it and of the cross-entropy.

    Parameters
    ----------
    output, target : (batch, 1, elements, classes, frames)
    others : as `adpit_loss`
    """
    output = output.float() if output.dtype in (torch.bfloat16, torch.float16) else output
    target, regressed = target.to(output.dtype), output.shape[2] - onscreen
    error = reduced((output[:, :, :regressed] - target[:, :, :regressed]).square(), reduction)
    return (error + reduced(_cross_entropy(output, target), reduction)) / 2 if onscreen else error


def _cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Of the last element of each track: (batch, tracks, classes, frames)."""
    with torch.autocast(output.device.type, enabled=False):
        return binary_cross_entropy(output[:, :, -1], target[:, :, -1], reduction="none")


def reduced(values: Tensor, reduction: str) -> Tensor:
    """The mean of all values, or with "window" of each item of the batch (batch,)."""
    if reduction == "mean":
        return values.mean()
    if reduction == "window":
        return values.flatten(1).mean(dim=1)
    raise ValueError(f"reduction must be 'mean' or 'window', found '{reduction}'")


def nearest_assignment(output: Tensor, target: Tensor, regressed: int) -> Tensor:
    """The targets of the three tracks (batch, 3, elements, classes, frames) that are nearest to the output.

    Only the first `regressed` elements have a part in the choice.
    """
    # All slots but A0 are empty in most cells (class, frame); there every assignment is the same.
    a, b, c = target[:, 0], target[:, 1:3], target[:, 3:6]
    first = torch.stack([a + b[:, _B[0][track]] + c[:, track] for track in range(TRACKS)], dim=1)
    several = (b != 0).any(dim=2).any(dim=1) | (c != 0).any(dim=2).any(dim=1)  # (batch, classes, frames)
    cell = several.nonzero(as_tuple=True)
    if not len(cell[0]):
        return first
    picked = target.permute(0, 3, 4, 1, 2)[cell]  # (cells, slots, axes)
    heard = output.permute(0, 3, 4, 1, 2)[cell]  # (cells, tracks, axes)
    slot_b = torch.tensor([candidate[0] for candidate in _CANDIDATES], device=output.device) + 1
    slot_c = torch.tensor([candidate[1] for candidate in _CANDIDATES], device=output.device) + 3
    assigned = picked[:, :1, None] + picked[:, slot_b] + picked[:, slot_c]  # (cells, candidates, tracks, axes)
    off = (heard[:, None] - assigned)[..., :regressed]
    best = off.square().sum(dim=(2, 3)).argmin(dim=1)
    first.permute(0, 3, 4, 1, 2)[cell] = assigned[torch.arange(len(best), device=best.device), best]
    return first


def decode(raw: np.ndarray, ratio: int = 10, *, reference_azimuth: bool = False) -> Candidates:
    """Raw output of a clip -> candidates per 100 ms: activity and direction averaged over its frames, by activity.

    Parameters
    ----------
    raw : (3 tracks, 3 axes, classes, frames), frames a multiple of `ratio`; computed in float64
    ratio : frames of the output in 100 ms
    reference_azimuth : average azimuths as plain numbers, as the reference does (wrong around +-180 degrees); the
        default first brings them within 180 degrees of the frame with the largest activity
    """
    raw = np.asarray(raw)
    if raw.ndim != 4 or raw.shape[:2] != (TRACKS, AXES) or raw.shape[3] % ratio:
        raise ValueError(f"raw output must be (3, 3, classes, a multiple of {ratio} frames), found {raw.shape}")
    x, y, z = raw.astype(np.float64).reshape(TRACKS, AXES, raw.shape[2], -1, ratio).transpose(1, 3, 2, 0, 4)
    horizontal = np.hypot(x, y)
    r = np.minimum(np.hypot(horizontal, z), 1.0)
    azimuth, elevation = np.rad2deg(np.arctan2(y, x)), np.rad2deg(np.arctan2(z, horizontal))
    if not reference_azimuth:
        loudest = np.take_along_axis(azimuth, r.argmax(axis=-1)[..., None], axis=-1)
        difference = azimuth - loudest
        azimuth = loudest + (difference - 360.0 * np.rint(difference / 360.0))
    total = r.sum(axis=-1)
    weight = np.where(total > 0, total, 1.0)
    return Candidates(
        activity=total / ratio,
        azimuth_deg=(r * azimuth).sum(axis=-1) / weight,
        elevation_deg=(r * elevation).sum(axis=-1) / weight,
        frame_s=LABEL_FRAME_S,
    )


def decode_vectors(raw: np.ndarray, elements: Sequence[str], frame_s: float = LABEL_FRAME_S) -> Candidates:
    """Raw output whose frames are label frames -> candidates with the vectors themselves, as the baselines merge them.

    Parameters
    ----------
    raw : (tracks, elements, classes, frames); lengths are computed in its precision, which decides at the threshold
    elements : see `ELEMENTS`; distances below 0 are 0
    """
    of_element = dict(zip(elements, np.asarray(raw).transpose(1, 3, 2, 0)))
    axes = [of_element[name] for name in VECTOR if name in of_element]
    length = np.sqrt(sum(axis**2 for axis in axes))
    whole = np.stack([*axes, *[np.zeros_like(length)] * (3 - len(axes))], axis=-1)
    azimuth, elevation = degrees_from_direction(whole.astype(np.float64))
    return Candidates(
        activity=np.clip(length.astype(np.float64), 0.0, 1.0),
        azimuth_deg=azimuth,
        elevation_deg=elevation,
        frame_s=frame_s,
        distance_m=np.maximum(of_element["distance"], 0) if "distance" in of_element else None,
        onscreen=of_element.get("onscreen"),
        vector=np.stack(axes, axis=-1),
    )


class MultiAccdoa:
    """Tracks of activity-coupled vectors per class.

    Three tracks are trained by `adpit_loss`, one track is ACCDOA. Where the frames of the output are shorter than label
    frames, activity and angles are averaged over them, weighted by activity (the audio-visual baseline of 2023).
    Otherwise tracks are merged as vectors, none of them normalised (the baselines since 2022, with distances in metres
    since 2024 and, for stereo, x and y alone and the probability that a source is on the screen in 2025).

    Parameters
    ----------
    classes : number of classes
    frame_s : length of an output frame in seconds; label frames of 100 ms are a whole number of them
    tracks : 3 or 1
    elements : of a track, see `ELEMENTS`

    Attributes
    ----------
    threshold : default activity threshold; None: that of util/threshold.json
    needs : columns of the labels without which there is nothing to learn

    Raises
    ------
    ValueError : they are not; another number of tracks, elements without x and y or in another order
    """

    name = "multi_accdoa"
    axes: tuple[str, ...] = ("track", "axis", "class", "frame")
    label_frame_s = LABEL_FRAME_S

    def __init__(self, classes: int, *, frame_s: float = 0.01, tracks: int = TRACKS, elements: Sequence[str] = VECTOR):
        self.classes, self.frame_s = classes, float(frame_s)
        self.tracks, self.elements = tracks, tuple(elements)
        self.ratio = round(LABEL_FRAME_S / frame_s)
        if not math.isclose(self.ratio * frame_s, LABEL_FRAME_S, rel_tol=1e-9):
            raise ValueError(f"label frames of {LABEL_FRAME_S} s are no whole number of frames of {frame_s} s")
        ordered = tuple(name for name in ELEMENTS if name in self.elements)
        if tracks not in (1, TRACKS) or self.elements != ordered or self.elements[:2] != VECTOR[:2]:
            raise ValueError(f"{tracks} tracks of {self.elements}: 1 or {TRACKS} of {ELEMENTS}, x and y at least")
        if self.ratio > 1 and (tracks != TRACKS or self.elements != VECTOR):
            raise ValueError(f"only {TRACKS} tracks of {VECTOR} have frames shorter than label frames")
        self.threshold = None if self.ratio > 1 else 0.5
        self.needs = tuple(_COLUMNS[name] for name in self.elements if name in _COLUMNS)

    @property
    def onscreen(self) -> bool:
        """Whether a track says if its source is on the screen."""
        return "onscreen" in self.elements

    @property
    def turns(self) -> bool:
        """Whether it knows elevations, without which directions cannot be turned."""
        return "z" in self.elements

    @property
    def dialect(self) -> str:
        """The csv dialect that says everything of its events."""
        if "z" not in self.elements:
            return "dcase2025"
        return "dcase2024_m" if "distance" in self.elements else "dcase2023"

    def description(self) -> dict[str, Any]:
        """What is written beside a raw output, so that it can be decoded without the network."""
        return {
            "format": self.name,
            "axes": list(self.axes),
            "frame_s": self.frame_s,
            "label_frame_s": self.label_frame_s,
            "tracks": self.tracks,
            "elements": list(self.elements),
        }

    @classmethod
    def from_description(cls, about: Mapping[str, Any], classes: int) -> MultiAccdoa:
        """The format that a description was made of."""
        how = {"tracks": about.get("tracks", TRACKS), "elements": about.get("elements", VECTOR)}
        return cls(classes, frame_s=about["frame_s"], **how)

    def joined_views(self, outputs: Sequence[Tensor], matrices: Sequence[np.ndarray]) -> Tensor:
        """The mean of outputs (batch, tracks, elements, classes, frames) of one sound turned in several ways.

        Which track says what is free: those of each output are brought into the order, class by class and frame by
        frame, in which they are nearest to those of the first.

        Parameters
        ----------
        matrices : (3, 3) by which the directions that each output says were turned
        """
        backs = [torch.from_numpy(np.ascontiguousarray(matrix.T)).to(outputs[0]) for matrix in matrices]
        first, *others = [
            torch.cat((torch.einsum("ij,btjcf->bticf", back, output[:, :, :AXES]), output[:, :, AXES:]), dim=2)
            for back, output in zip(backs, outputs)
        ]
        total = first
        for other in others:
            total = total + self.in_order_of(first, other)
        return total / len(outputs)

    def in_order_of(self, first: Tensor, other: Tensor) -> Tensor:
        """Outputs (batch, tracks, elements, classes, frames) with their tracks in another order.

        It is the one, class by class and frame by frame, in which vectors are nearest to those of `first`.
        """
        ordered = [other[:, order] for order in itertools.permutations(range(self.tracks))]
        vectors = sum(name in VECTOR for name in self.elements)
        off = torch.stack([(one - first)[:, :, :vectors].square().sum(dim=(1, 2)) for one in ordered])
        best = off.argmin(dim=0)  # (batch, classes, frames)
        made = torch.zeros_like(other)
        for number, one in enumerate(ordered):
            made = torch.where((best == number)[:, None, None], one, made)
        return made

    def encode(self, clips: Sequence[Clip], grid: LabelGrid) -> dict[str, Tensor]:
        """Labels of a batch, kept per label frame.

        Parameters
        ----------
        clips : labels of each of the grid's spans
        grid : label frame of each output step

        Returns
        -------
        {"slots": (batch, label frames + 1, 6 or 1, elements, classes) with zeros in the last, "index": (batch, steps)}
        """
        items, spans = len(grid.frame), grid.spans
        index = np.full(grid.frame.shape, -1, dtype=np.int64)
        first, end, offset = (np.zeros(len(spans), dtype=np.int64) for _ in range(3))
        used = [0] * items  # label frames of an item so far
        for number, span in enumerate(spans):
            frame = grid.frame[span.item, span.first : span.end]
            inside = frame >= 0
            if not inside.any():
                continue
            first[number], end[number] = frame[inside].min(), frame[inside].max() + 1
            offset[number] = used[span.item]
            index[span.item, span.first : span.end] = np.where(inside, frame - first[number] + offset[number], -1)
            used[span.item] += int(end[number] - first[number])
        count = max(1, *used)
        tables = [clip.events(grid.frame_s, int(a), int(b)) for clip, a, b in zip(clips, first, end)]
        item = np.array([span.item for span in spans], dtype=np.int64)
        how: dict[str, Any] = {"elements": self.elements, "tracks": self.tracks}
        made = slots(tables, first - offset, count + 1, self.classes, item, items, **how)
        return {"slots": torch.from_numpy(made), "index": torch.from_numpy(np.where(index >= 0, index, count))}

    def target(self, labels: dict[str, Tensor], device: torch.device) -> Tensor:
        """Labels of `encode`, expanded on the device to (batch, 6 or 1, elements, classes, steps)."""
        slots, index = labels["slots"].to(device, non_blocking=True), labels["index"].to(device, non_blocking=True)
        batch, _, *rest = slots.shape
        packed = slots.flatten(2).transpose(1, 2)
        target = packed.gather(2, index[:, None].expand(-1, packed.shape[1], -1))
        return target.reshape(batch, *rest, index.shape[1])

    def loss(self, output: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
        """ADPIT loss, or that of one track; reduction "mean", or "window" for one value per item."""
        loss = adpit_loss if self.tracks > 1 else single_loss
        return loss(output, target, reduction=reduction, onscreen=self.onscreen)

    def published_rows(self, raw: np.ndarray, thresholds: np.ndarray | float, *, frame_s: float) -> EventTable | None:
        """None: its rows are those of its candidates."""
        return None

    def makes(self, frame_s: float) -> bool:
        """Whether `candidates` makes label frames of a length in seconds."""
        return math.isclose(frame_s, LABEL_FRAME_S)

    def candidates(self, raw: np.ndarray, *, frame_s: float | None = None, first: int = 0) -> Candidates:
        """Raw output of a clip (tracks, elements, classes, frames) -> candidates per label frame.

        Raises
        ------
        ValueError : label frames of another length than 100 ms are asked for, output of another form
        """
        if frame_s is not None and not self.makes(frame_s):
            raise ValueError(f"{self.name} has label frames of {LABEL_FRAME_S} s, not of {frame_s} s")
        if self.ratio > 1:
            return decode(raw, self.ratio)
        raw = np.asarray(raw)
        if raw.ndim != 4 or raw.shape[:2] != (self.tracks, len(self.elements)):
            due = f"({self.tracks}, {len(self.elements)}, classes, frames)"
            raise ValueError(f"raw output must be {due}, found {raw.shape}")
        return decode_vectors(raw, self.elements, self.frame_s)
