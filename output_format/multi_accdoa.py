"""Multi-ACCDOA: three tracks of activity-coupled vectors, trained with the class-wise ADPIT loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from output_format.candidates import Candidates
from util.angles import direction_from_degrees
from util.events import EventTable

NAME = "multi_accdoa"
TRACKS, AXES, SLOTS = 3, 3, 6
FRAME_S = 0.01  # of the output
LABEL_FRAME_S = 0.1  # of the label csv and of the events
RATIO = 10  # output frames per label frame
WINDOW_FRAMES, HOP_FRAMES, LEADING_FRAMES = 128, 120, 4  # evaluation: of each window the frames 4..123 are kept
SLOT_NAMES = ("A0", "B0", "B1", "C0", "C1", "C2")
_FIRST_SLOT = np.array([0, 0, 1, 3], dtype=np.int8)  # by the number of simultaneous sources of a class: 1, 2, 3 or more


def window_count(duration_s: float, *, hop_frames: int = HOP_FRAMES) -> int:
    """Evaluation windows of a clip of `duration_s` seconds, in integers of 10 ms (float ranges give one too many)."""
    return -(-round(100 * duration_s) // hop_frames)


def label_frames(frames: int = WINDOW_FRAMES) -> int:
    """Label frames (100 ms) that a window of so many output frames (10 ms) can touch: 14 for 128."""
    return (frames - 1 + RATIO - 1) // RATIO + 1


@dataclass(frozen=True)
class WindowLabel:
    """Labels of one window, per label frame; `expand` makes them frames of the output.

    Attributes
    ----------
    slots : (label frames, 6 slots, 3 axes, classes) float32; slots A0, B0, B1, C0, C1, C2
    shift : output frame j takes label frame (j + shift) // 10, shift in 0..9
    limit : output frames from this one on have no label
    """

    slots: np.ndarray
    shift: int
    limit: int


class RecordingLabel:
    """The ADPIT slots of one recording, sparse and sorted by frame, from which windows are cut.

    A class with one source in a frame fills A0, with two B0 and B1, with three or more C0, C1, C2 in the order of the
    table (further ones are dropped, as the reference does).

    Parameters
    ----------
    events : labels; the source number is ignored (a source listed twice counts twice)
    classes : number of classes

    Raises
    ------
    ValueError : a class outside 0..classes - 1 or a frame length that is not 0.1 s
    """

    def __init__(self, events: EventTable, classes: int):
        if len(events) and not (0 <= events.class_index.min() and events.class_index.max() < classes):
            raise ValueError(f"labels have classes outside 0..{classes - 1}")
        if not math.isclose(events.frame_s, LABEL_FRAME_S):
            raise ValueError(f"labels have frames of {events.frame_s} s, the format needs {LABEL_FRAME_S} s")
        self.classes = classes
        order = np.lexsort((events.class_index, events.frame))  # stable
        frame, class_index = events.frame[order], events.class_index[order]
        key = frame * classes + class_index
        first = np.searchsorted(key, key, side="left")
        count = np.searchsorted(key, key, side="right") - first
        rank = np.arange(len(key)) - first
        kept = rank < 3
        self.frame = frame[kept]
        self.class_index = class_index[kept].astype(np.int32)
        self.slot = (_FIRST_SLOT[np.minimum(count, 3)] + rank)[kept].astype(np.int8)
        direction = direction_from_degrees(events.azimuth_deg[order], events.elevation_deg[order])
        self.direction = direction[kept].astype(np.float32)

    def window(self, start_s: float, length_s: float) -> WindowLabel:
        """Training window: the label of the stretch of `length_s` seconds from `start_s` (start sample / rate).

        The expressions are the reference's, in float64: at some starts that are multiples of 10 ms the rounding below
        shifts labels by one output frame (0.29 s), and at some the last frame is empty (0.03 s). Kept for parity.
        """
        frames = round(100 * length_s) + 1
        tenths = 10 * start_s
        first = math.floor(tenths)
        shift = math.floor(10 * (tenths - first))
        end = math.ceil(10 * (start_s + length_s))
        return WindowLabel(self.frames(first, label_frames(frames), end), shift, frames)

    def clip_window(self, index: int, duration_s: float) -> WindowLabel:
        """Evaluation window `index` of a clip: 128 output frames from 120 index - 4 on, empty outside the clip.

        Parameters
        ----------
        duration_s : samples / rate of the clip, cut to a multiple of 10 ms
        """
        start = HOP_FRAMES * index - LEADING_FRAMES
        first, shift = divmod(start, RATIO)
        slots = self.frames(first, label_frames(WINDOW_FRAMES), math.ceil(10 * duration_s))
        # The reference's clip label has one frame more than the feature; behind it there is nothing.
        limit = min(max(round(100 * duration_s) + 1 - start, 0), WINDOW_FRAMES)
        return WindowLabel(slots, shift, limit)

    def frames(self, first: int, count: int, end: int | None = None) -> np.ndarray:
        """The label frames [first, first + count) as (count, 6 slots, 3 axes, classes) float32, empty from `end` on."""
        slots = np.zeros((count, SLOTS, AXES, self.classes), dtype=np.float32)
        stop = first + count if end is None else min(first + count, end)
        begin, stop = np.searchsorted(self.frame, (first, stop))
        if begin < stop:
            rows = slice(begin, stop)
            slots[self.frame[rows] - first, self.slot[rows], :, self.class_index[rows]] = self.direction[rows]
        return slots


def encode(events: EventTable, *, start_s: float, length_s: float, classes: int) -> WindowLabel:
    """The label of one training window; for many windows of a recording keep its `RecordingLabel`."""
    return RecordingLabel(events, classes).window(start_s, length_s)


def expand(slots: Tensor, shift: Tensor, limit: Tensor | None = None, *, frames: int = WINDOW_FRAMES) -> Tensor:
    """Window labels -> labels per output frame, on the device of `slots`.

    Parameters
    ----------
    slots : (batch, label frames, 6, 3, classes)
    shift : (batch,) integers, as `WindowLabel.shift`
    limit : (batch,) integers, as `WindowLabel.limit`; None: every frame has its label

    Returns
    -------
    (batch, 6, 3, classes, frames)
    """
    frame = torch.arange(frames, device=slots.device)
    index = torch.div(frame + shift.to(slots.device)[:, None], RATIO, rounding_mode="floor")
    index = index.clamp(max=slots.shape[1] - 1)
    batch, _, *rest = slots.shape
    packed = slots.flatten(2).transpose(1, 2)
    target = packed.gather(2, index[:, None].expand(-1, packed.shape[1], -1))
    if limit is not None:
        target = target * (frame < limit.to(slots.device)[:, None])[:, None]
    return target.reshape(batch, *rest, frames)


# Per candidate the slots of the tracks 0, 1, 2: first b_1..b_6 with c_1, then c_2..c_6 with b_1. The 13 candidates of
# the paper are these 11: its P_0, P_1 and P_7 are one.
_B = ((0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0))
_C = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
_CANDIDATES = tuple((b, _C[0]) for b in _B) + tuple((_B[0], c) for c in _C[1:])


def adpit_loss(output: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Auxiliary duplicating permutation invariant training loss, class-wise (Shimada et al., ICASSP 2022).

    Per class and frame the mean squared error to the nearest of the 13 assignments of the label's sources to the three
    tracks; among equally near ones the first counts. The gradient flows through the assignment chosen.

    Parameters
    ----------
    output : (batch, 3 tracks, 3 axes, classes, frames); computed in float32 or better
    target : (batch, 6 slots, 3 axes, classes, frames)
    reduction : "mean": scalar; "window": (batch,), the mean of each window (to leave filler windows out)
    """
    output = output.float() if output.dtype in (torch.bfloat16, torch.float16) else output
    with torch.no_grad():
        chosen = _nearest_assignment(output.detach(), target.to(output.dtype))
    error = (output - chosen).square()
    if reduction == "mean":
        return error.mean()
    if reduction == "window":
        return error.flatten(1).mean(dim=1)
    raise ValueError(f"reduction must be 'mean' or 'window', found '{reduction}'")


def _nearest_assignment(output: Tensor, target: Tensor) -> Tensor:
    """The targets of the three tracks (batch, 3, 3, classes, frames) that are nearest to the output."""
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
    best = (heard[:, None] - assigned).square().sum(dim=(2, 3)).argmin(dim=1)
    first.permute(0, 3, 4, 1, 2)[cell] = assigned[torch.arange(len(best), device=best.device), best]
    return first


def join_windows(outputs: np.ndarray) -> np.ndarray:
    """Outputs of a clip's windows (windows, 3, 3, classes, 128) -> raw output (3, 3, classes, 120 windows)."""
    kept = np.asarray(outputs)[..., LEADING_FRAMES : LEADING_FRAMES + HOP_FRAMES]
    return np.moveaxis(kept, 0, 3).reshape(*kept.shape[1:4], -1)


def decode(raw: np.ndarray, *, reference_azimuth: bool = False) -> Candidates:
    """Raw output of a clip -> candidates per 100 ms: activity and direction averaged over the 10 frames, by activity.

    Parameters
    ----------
    raw : (3 tracks, 3 axes, classes, frames of 10 ms), frames a multiple of 10; computed in float64
    reference_azimuth : average azimuths as plain numbers, as the reference does (wrong around +-180 degrees); the
        default first brings them within 180 degrees of the frame with the largest activity
    """
    raw = np.asarray(raw)
    if raw.ndim != 4 or raw.shape[:2] != (TRACKS, AXES) or raw.shape[3] % RATIO:
        raise ValueError(f"raw output must be (3, 3, classes, a multiple of 10 frames), found {raw.shape}")
    x, y, z = raw.astype(np.float64).reshape(TRACKS, AXES, raw.shape[2], -1, RATIO).transpose(1, 3, 2, 0, 4)
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
        activity=total / RATIO,
        azimuth_deg=(r * azimuth).sum(axis=-1) / weight,
        elevation_deg=(r * elevation).sum(axis=-1) / weight,
        frame_s=LABEL_FRAME_S,
    )
