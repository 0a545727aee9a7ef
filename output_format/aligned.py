"""What an alignment network says: activity and direction of every class, or of tracks that name their class.

Reference: Nguyen et al., 'A General Network Architecture for Sound Event Localization and Detection Using Transfer
Learning and Recurrent Neural Network', ICASSP 2021, arXiv 2011.07859.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from output_format.activity import encoded
from output_format.candidates import Candidates
from output_format.contract import Clip, LabelGrid
from output_format.frame_labels import frame_labels
from output_format.general_labels import LABEL_FRAME_S, in_track_order
from output_format.general_modules import THRESHOLD
from output_format.sed_doa import SedDoa
from util.angles import degrees_from_direction, direction_from_degrees
from util.events import EventTable
from util.intervals import IntervalTable, label_frame_of, to_events

WEIGHTS = (0.7, 0.3)  # of the detection, of the direction


def alignment_losses(output: Tensor, target: Tensor, *, reduction: str = "mean") -> tuple[Tensor, Tensor, Tensor]:
    """Losses of an alignment that gives each class a direction: total, of the detection, of the direction.

    Detection: binary cross-entropy. Direction: of x, y and z the mean squared error where the reference is active,
    added; 0 where it never is. Total: 0.7 and 0.3 of them.

    Parameters
    ----------
    output, target : (batch, 4, classes, frames): activity, x, y, z; the longer one is cut
    reduction : "mean": scalars over the batch; "window": (batch,), each item by itself
    """
    if reduction not in ("mean", "window"):
        raise ValueError(f"reduction must be 'mean' or 'window', found '{reduction}'")
    frames = min(output.shape[-1], target.shape[-1])
    output, target = output[..., :frames].float(), target[..., :frames].float()
    over = (0, 1, 2) if reduction == "mean" else (1, 2)
    active = target[:, 0]
    with torch.autocast(output.device.type, enabled=False):
        sed = binary_cross_entropy(output[:, 0], active, reduction="none").mean(dim=over)
    square = ((output[:, 1:] - target[:, 1:]).square() * active[:, None]).sum(dim=1)
    doa = square.sum(dim=over) / active.sum(dim=over).clamp(min=1)
    return WEIGHTS[0] * sed + WEIGHTS[1] * doa, sed, doa


def track_losses(output: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Loss of tracks: of each frame with the order of the reference events that makes it smallest.

    Parameters
    ----------
    output, target : (batch, tracks, classes + 3, frames): of every track the classes, of which the target has one or
        none, then x, y, z; the longer one is cut
    reduction : "mean", or "window" for one value per item
    """
    if reduction not in ("mean", "window"):
        raise ValueError(f"reduction must be 'mean' or 'window', found '{reduction}'")
    frames = min(output.shape[-1], target.shape[-1])
    output, target = output[..., :frames].float(), target[..., :frames].float()
    said, due = output[:, :, None, :-3], target[:, None, :, :-3]
    shape = torch.broadcast_shapes(said.shape, due.shape)
    with torch.autocast(output.device.type, enabled=False):  # (batch, track, event, frames)
        sed = binary_cross_entropy(said.expand(shape), due.expand(shape), reduction="none").mean(dim=3)
    active = due.amax(dim=3)
    square = (output[:, :, None, -3:] - target[:, None, :, -3:]).square().sum(dim=3) * active
    with torch.no_grad():
        cost = WEIGHTS[0] * sed + WEIGHTS[1] * square
        tracks = range(output.shape[1])
        orders = list(permutations(tracks))
        total = torch.stack(
            [torch.stack([cost[:, track, order[track]] for track in tracks]).sum(dim=0) for order in orders]
        )
        best = torch.tensor(orders, device=output.device)[total.argmin(dim=0)].movedim(-1, 1)[:, :, None]
    sed = sed.gather(2, best)[:, :, 0]
    square = square.gather(2, best)[:, :, 0]
    over = (0, 1, 2) if reduction == "mean" else (1, 2)
    count = target[:, :, :-3].amax(dim=2).sum(dim=over).clamp(min=1)
    return WEIGHTS[0] * sed.mean(dim=over) + WEIGHTS[1] * square.sum(dim=over) / count


class Aligned(SedDoa):
    """A probability and a vector (x, y, z) for every class, raw (4, classes, frames), of frames of 100 ms.

    Labels, loss and threshold are those of the general network, everything else is as SELDnet has it.

    Parameters
    ----------
    classes : number of classes
    frame_s : length of a frame in seconds
    """

    name = "aligned"
    threshold: float | None = THRESHOLD

    def __init__(self, classes: int, *, frame_s: float = LABEL_FRAME_S):
        super().__init__(classes, coordinates="xyz", frame_s=frame_s)

    def description(self) -> dict[str, Any]:
        """What is written beside a raw output, so that it can be decoded without the network."""
        return self.common_description()

    @classmethod
    def from_description(cls, about: Mapping[str, Any], classes: int) -> Aligned:
        """The format that a description was made of."""
        return cls(classes, frame_s=about["frame_s"])

    def of_events(self, events: EventTable, first_frame: int, frames: int) -> np.ndarray:
        """Labels (4, classes, frames) float32; of several events of a class at a time the last one by track."""
        made = frame_labels(in_track_order(events), self.classes, first=first_frame, frames=frames)
        return made.astype(np.float32)

    def span(self, clip: Clip, clip_frames: int, first_frame: int, frames: int) -> np.ndarray:
        """Labels of a stretch of a clip."""
        return self.of_events(clip.events(self.frame_s, first_frame, first_frame + frames), first_frame, frames)

    def nothing(self) -> np.ndarray:
        """Labels (4, classes) of a frame outside of the recording."""
        return np.zeros((4, self.classes))

    def stretch(self, table: IntervalTable, clip_frames: int, first_frame: int, frames: int) -> np.ndarray:
        """Labels (4, classes, frames) of a stretch of a recording of `clip_frames` frames."""
        return self.of_events(to_events(table, self.frame_s, clip_frames), first_frame, frames)

    def encode_clip(self, table: IntervalTable, frames: int) -> np.ndarray:
        """Labels of a whole clip: (4, classes, frames) float32."""
        return self.stretch(table, frames, 0, frames)

    def label_matrix(
        self, table: IntervalTable, clip_frames: int, first_frame: int = 0, frames: int | None = None
    ) -> np.ndarray:
        """(frames, 3 classes) float64: activity, azimuth, elevation in degrees, 0 where inactive."""
        count = clip_frames - first_frame if frames is None else frames
        made = self.stretch(table, clip_frames, first_frame, count).astype(np.float64)
        azimuth, elevation = degrees_from_direction(np.moveaxis(made[1:], 0, -1))
        return np.concatenate((made[0], azimuth * made[0], elevation * made[0])).T

    def loss(self, output: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
        """0.7 x loss of the detection + 0.3 x loss of the direction."""
        return alignment_losses(output, target, reduction=reduction)[0]


class AlignedTracks:
    """Tracks with a probability of every class and a vector each: raw (tracks, classes + 3, frames) of 100 ms.

    Each track says its most probable class.

    Parameters
    ----------
    classes : number of classes
    tracks : events that can sound at a time
    """

    name = "aligned_tracks"
    axes: tuple[str, ...] = ("track", "class and x, y, z", "frame")
    threshold: float | None = THRESHOLD
    label_frame_s = LABEL_FRAME_S

    def __init__(self, classes: int, *, tracks: int = 2, frame_s: float = LABEL_FRAME_S):
        if not 1 <= tracks <= 3:
            raise ValueError(f"{tracks} tracks: 1 to 3")
        self.classes, self.tracks, self.frame_s = classes, tracks, float(frame_s)

    def description(self) -> dict[str, Any]:
        """What is written beside a raw output, so that it can be decoded without the network."""
        return {
            "format": self.name,
            "axes": list(self.axes),
            "frame_s": self.frame_s,
            "label_frame_s": self.label_frame_s,
            "tracks": self.tracks,
        }

    @classmethod
    def from_description(cls, about: Mapping[str, Any], classes: int) -> AlignedTracks:
        """The format that a description was made of."""
        return cls(classes, tracks=about["tracks"], frame_s=about["frame_s"])

    def of_events(self, events: EventTable, first_frame: int, frames: int) -> np.ndarray:
        """Labels (tracks, classes + 3, frames) float32: the first events of each frame, one a track."""
        events = in_track_order(events)
        events = events[np.argsort(events.frame, kind="stable")]
        frame = events.frame - first_frame
        begin = np.searchsorted(frame, frame)
        track = np.arange(len(frame)) - begin
        keep = (frame >= 0) & (frame < frames) & (track < self.tracks)
        made = np.zeros((self.tracks, self.classes + 3, frames), dtype=np.float32)
        index, frame, track = events.class_index[keep], frame[keep], track[keep]
        if len(index) and (index.min() < 0 or index.max() >= self.classes):
            raise ValueError(f"labels have classes outside 0..{self.classes - 1}")
        made[track, index, frame] = 1
        vectors = direction_from_degrees(events.azimuth_deg[keep], events.elevation_deg[keep])
        for axis in range(3):
            made[track, self.classes + axis, frame] = vectors[:, axis]
        return made

    def encode(self, clips: Sequence[Clip], grid: LabelGrid) -> Tensor:
        """Labels of a batch: (batch, tracks, classes + 3, steps) float32."""

        def labels_of(clip: Clip, clip_frames: int, first: int, frames: int) -> np.ndarray:
            return self.of_events(clip.events(self.frame_s, first, first + frames), first, frames)

        return encoded(clips, grid, np.zeros((self.tracks, self.classes + 3)), labels_of)

    def target(self, labels: Tensor, device: torch.device) -> Tensor:
        """Labels on the device."""
        return labels.to(device, non_blocking=True)

    def loss(self, output: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
        """Loss with the best order of the events in every frame."""
        return track_losses(output, target, reduction=reduction)

    def published_rows(self, raw: np.ndarray, thresholds: np.ndarray | float, *, frame_s: float) -> EventTable | None:
        """None: there are none."""
        return None

    def makes(self, frame_s: float) -> bool:
        """Whether `candidates` makes label frames of a length in seconds."""
        return frame_s >= self.frame_s * (1 - 1e-9)

    def candidates(self, raw: np.ndarray, *, frame_s: float | None = None, first: int = 0) -> Candidates:
        """Raw output of a clip -> candidates per label frame: of each track its most probable class.

        Of longer label frames the network frame in their middle is taken.

        Raises
        ------
        ValueError : label frames shorter than those of the output, an array of another shape
        """
        raw, due_s = np.asarray(raw, dtype=np.float64), self.frame_s if frame_s is None else frame_s
        if raw.shape[:-1] != (self.tracks, self.classes + 3):
            rule = f"raw output must be ({self.tracks} tracks, {self.classes} classes + 3, frames)"
            raise ValueError(f"{rule}, found {raw.shape}")
        if not self.makes(due_s):
            raise ValueError(f"label frames of {due_s} s cannot be made of frames of {self.frame_s} s")
        place = label_frame_of(first + np.arange(raw.shape[-1]), self.frame_s, due_s)
        begin = np.flatnonzero(np.diff(place, prepend=-1 if not len(place) else place[0] - 1))
        end = np.append(begin[1:], len(place))
        raw = raw[..., (begin + end - 1) // 2]
        chosen = raw[:, : self.classes].argmax(axis=1)  # (tracks, frames)
        track, frame = np.indices(chosen.shape)
        activity = np.zeros((raw.shape[-1], self.classes, self.tracks))
        activity[frame, chosen, track] = np.clip(raw[track, chosen, frame], 0, 1)
        azimuth, elevation = degrees_from_direction(np.moveaxis(raw[:, self.classes :], 1, -1))  # (tracks, frames)
        shape = activity.shape
        return Candidates(
            activity,
            np.broadcast_to(azimuth.T[:, None], shape).copy(),
            np.broadcast_to(elevation.T[:, None], shape).copy(),
            due_s,
        )
