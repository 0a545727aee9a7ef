"""Multi-ACCDOA: three tracks of activity-coupled vectors, trained with the class-wise ADPIT loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
HOP_FRAMES, LEADING_FRAMES = 120, 4  # evaluation: of each window of 128 frames the frames 4..123 are kept
_FIRST_SLOT = np.array([0, 0, 1, 3])  # by the number of simultaneous sources of a class: 1, 2, 3 or more


def slots(events: Sequence[EventTable], first: np.ndarray, count: int, classes: int) -> np.ndarray:
    """The ADPIT slots A0, B0, B1, C0, C1, C2 of windows, per label frame.

    A class with one source in a frame fills A0, with two B0 and B1, with three or more C0, C1, C2 in the order of the
    table (further ones are dropped: a quirk of the reference).

    Parameters
    ----------
    events : per window the labels; the source number is ignored (a source listed twice counts twice); rows outside the
        window are left out
    first : (windows,) label frame with which each window begins
    count : label frames per window

    Returns
    -------
    (windows, count, 6 slots, 3 axes, classes) float32, zero where there is nothing

    Raises
    ------
    ValueError : a class outside 0..classes - 1, a frame length that is not 0.1 s
    """
    made = np.zeros((len(events), count, SLOTS, AXES, classes), dtype=np.float32)
    for table in events:
        if len(table) and not math.isclose(table.frame_s, LABEL_FRAME_S):
            raise ValueError(f"labels have frames of {table.frame_s} s, the format needs {LABEL_FRAME_S} s")
    window = np.repeat(np.arange(len(events)), [len(table) for table in events])
    if not len(window):
        return made

    def joined(column: str) -> np.ndarray:
        return np.concatenate([getattr(table, column) for table in events])

    frame, class_index = joined("frame") - np.asarray(first)[window], joined("class_index")
    if class_index.min() < 0 or class_index.max() >= classes:
        raise ValueError(f"labels have classes outside 0..{classes - 1}")
    direction = direction_from_degrees(joined("azimuth_deg"), joined("elevation_deg"))
    inside = np.flatnonzero((frame >= 0) & (frame < count))
    cell = ((window * count + frame) * classes + class_index)[inside]
    order = np.argsort(cell, kind="stable")  # sources of a cell stay in the order of their rows
    cell, row = cell[order], inside[order]
    begin = np.searchsorted(cell, cell, side="left")
    sources = np.searchsorted(cell, cell, side="right") - begin
    rank = np.arange(len(cell)) - begin
    slot = _FIRST_SLOT[np.minimum(sources, 3)] + rank
    kept = rank < 3
    row, slot = row[kept], slot[kept]
    made[window[row], frame[row], slot, :, class_index[row]] = direction[row]
    return made


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
