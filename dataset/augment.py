"""Augmentations that act on waveform, events and what is seen together, drawn from (seed, number of the item)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dataset import draws
from dataset.recordings import Recording
from dataset.source import ClipLabels
from util.angles import wrap_azimuth_deg
from util.errors import InputError
from util.events import EventTable
from util.intervals import IntervalTable
from util.microphone_arrays import Array
from util.objects import NUMBERS, PEOPLE_ROWS

_SWAP_STREAM, _ADD_STREAM = 16, 17  # streams below are those of the window plans
OTHER_ITEMS = 1 << 40  # number of the item that is added to item 0: no step comes to it
_MIN_WIDTH = 1 / 360  # parts of a box that are narrower, one pixel of the small video, are dropped


@dataclass(frozen=True)
class Swap:
    """A symmetry of the sphere: azimuth -> sign * azimuth + rotation, elevation -> elevation sign * elevation."""

    azimuth_sign: int
    rotation_deg: int
    elevation_sign: int

    def matrix(self) -> np.ndarray:
        """(3, 3) integers: new direction = matrix @ direction."""
        cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), -90: (0, -1)}[self.rotation_deg]
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        return turn @ np.diag([1, self.azimuth_sign, self.elevation_sign])

    def channels(self, array: Array) -> tuple[np.ndarray, np.ndarray]:
        """(source channel of each channel, its sign): what the array would have heard.

        Ambisonics: the components X, Y, Z turn like the direction. Capsules: each hears what the one at the place
        that the swap brings to it heard before.

        Raises
        ------
        ValueError : the swap does not map the capsules onto each other
        """
        matrix = self.matrix()
        if array.kind == "ambisonics":
            order = [1, 2, 0]  # channels Y, Z, X as axes of the direction
            turned = matrix[np.ix_(order, order)]
            source = np.abs(turned).argmax(axis=1)
            sign = turned[np.arange(3), source]
            return np.append(0, source + 1), np.append(1, sign).astype(np.float32)
        capsules = array.directions()
        before = capsules @ matrix  # matrix transposed applied to each capsule
        near = before @ capsules.T
        source = near.argmax(axis=1)
        if (near.max(axis=1) < 1 - 1e-6).any() or len(set(source.tolist())) < len(source):
            raise ValueError(f"{self} does not map the capsules of {array.name} onto each other")
        return source, np.ones(len(source), dtype=np.float32)

    def events(self, table: EventTable) -> EventTable:
        """The events at their new directions."""
        return table.replace(
            azimuth_deg=wrap_azimuth_deg(self.azimuth_sign * table.azimuth_deg + self.rotation_deg),
            elevation_deg=self.elevation_sign * table.elevation_deg,
        )

    def intervals(self, table: IntervalTable) -> IntervalTable:
        """The events with start and end, at their new directions and moving in their new sense."""
        turned = {
            name: wrap_azimuth_deg(self.azimuth_sign * getattr(table, name) + self.rotation_deg)
            for name in ("azimuth_deg", "azimuth_direction_deg")
        }
        turned |= {
            name: self.elevation_sign * getattr(table, name) for name in ("elevation_deg", "elevation_direction_deg")
        }
        velocity, in_azimuth = table.angular_velocity_deg_s, np.isnan(table.azimuth_direction_deg)
        velocity = np.where(in_azimuth, self.azimuth_sign * velocity, velocity)
        return table.replace(**turned, angular_velocity_deg_s=velocity)

    def boxes(self, boxes: np.ndarray, *, oriented: bool = False) -> np.ndarray:
        """Boxes (n, 4 or more), fractions of an equirectangular picture, at their new places; rows of zeros stay.

        Further columns go with their boxes.

        A box that the roll brings across the seam is split there, as a detector would see it: its wider part keeps the
        row, the other one takes the first empty row, if there is one. Boxes that the old seam had split stay in two.

        Parameters
        ----------
        oriented : where the swap stands people on their heads, y0 is still the head's side, and larger than y1
        """
        return self.looks(boxes[None], oriented=oriented)[0]

    def looks(self, looks: np.ndarray, *, oriented: bool = False) -> np.ndarray:
        """Boxes (..., 6, 4) or rows of objects (..., 16, 6) of several looks, see `boxes`."""
        return _by_kind(lambda kind: self._looks(kind, oriented), looks)

    def _looks(self, looks: np.ndarray, oriented: bool) -> np.ndarray:
        flat = np.asarray(looks, dtype=np.float32).reshape(-1, *looks.shape[-2:])
        there = np.asarray(flat.any(axis=-1))
        rows, crosses = self._rolled(flat, oriented)
        crosses &= there
        if crosses.any():
            rows, parts = _parted(rows, crosses)
            rows = np.concatenate([np.where(there[..., None], rows, 0), parts], axis=1)
        else:
            rows = np.where(there[..., None], rows, 0)
        return _packed(rows.astype(np.float32))[:, : looks.shape[-2]].reshape(looks.shape)

    def _rolled(self, boxes: np.ndarray, oriented: bool) -> tuple[np.ndarray, np.ndarray]:
        """Rows (..., 4 or more) at their new places, float64, and which (...) go on beyond the right border."""
        x0, y0, x1, y1, *more = np.moveaxis(boxes.astype(np.float64), -1, 0)
        if self.elevation_sign < 0:
            y0, y1 = (1 - y0, 1 - y1) if oriented else (1 - y1, 1 - y0)
        if self.azimuth_sign < 0:
            x0, x1 = 1 - x1, 1 - x0
        crosses = np.zeros(x0.shape, dtype=bool)
        if self.rotation_deg:
            x0, x1 = (np.clip(x, 0, 1) - self.rotation_deg / 360 for x in (x0, x1))
            x0, x1 = x0 - np.floor(x0), x1 - np.floor(x0)
            crosses = x1 > 1 + 1e-9
            x1 = np.where(crosses, x1, np.minimum(x1, 1.0))
        return np.stack([x0, y0, x1, y1, *more], axis=-1), crosses


def _by_kind(work: Callable[..., np.ndarray], *looks: np.ndarray) -> np.ndarray:
    """Work on looks (..., rows, numbers), where things are among them (`util.objects`) on people and things apart."""
    if looks[0].shape[-1] != NUMBERS:
        return work(*looks)
    kinds = (slice(0, PEOPLE_ROWS), slice(PEOPLE_ROWS, None))
    return np.concatenate([work(*(one[..., kind, :] for one in looks)) for kind in kinds], axis=-2)


def _parted(rows: np.ndarray, crosses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows (looks, n, 4 or more), of which some (looks, n) go on beyond the right border -> with the wider parts of
    these in place; the narrower parts, zeros where there is none.
    """
    right, left = 1 - rows[..., 0], rows[..., 2] - 1  # widths at the right border and, beyond it, at the left one
    at_right = np.array(rows)
    at_right[..., 2] = np.where(crosses, 1.0, rows[..., 2])
    at_left = np.array(rows)
    at_left[..., 0], at_left[..., 2] = 0.0, left
    wider_left = crosses & (left > right)
    wide = np.where(wider_left[..., None], at_left, at_right)
    narrow = np.where(wider_left[..., None], at_right, at_left)
    wanted = crosses & (np.minimum(left, right) >= _MIN_WIDTH)
    return wide, np.where(wanted[..., None], narrow, 0)


def _packed(rows: np.ndarray) -> np.ndarray:
    """Rows (looks, n, ...) of which those of zeros come last."""
    empty = ~np.asarray(rows.any(axis=-1))
    if not (empty[:, :-1] & ~empty[:, 1:]).any():
        return rows
    return np.take_along_axis(rows, np.argsort(empty, axis=1, kind="stable")[..., None], axis=1)


# The eight swaps that keep both FOA and the tetrahedral array of STARSS23 (audio channel swap and video pixel swap of
# Wang et al., 2023), numbered from 1 as there; the third is the identity.
SWAPS = (
    Swap(1, -90, -1),
    Swap(-1, -90, 1),
    Swap(1, 0, 1),
    Swap(-1, 0, -1),
    Swap(1, 90, -1),
    Swap(-1, 90, 1),
    Swap(1, 180, 1),
    Swap(-1, 180, -1),
)
MIRROR = (Swap(1, 0, 1), Swap(-1, 0, 1))  # left-right, for a head
# All symmetries of first-order Ambisonics that bring axes onto axes and leave up and down in their places or exchange
# them: twice those that a tetrahedron allows.
ALL_SWAPS = tuple(Swap(sign, turn, up) for up in (1, -1) for sign in (1, -1) for turn in (0, 90, 180, -90))


def all_swaps_of(array: Array) -> tuple[Swap, ...]:
    """Every swap that an array allows: 16 of Ambisonics, those of `swaps_of` else."""
    return ALL_SWAPS if array.kind == "ambisonics" else swaps_of(array)


def swaps_of(array: Array) -> tuple[Swap, ...]:
    """The swaps that an array allows: the eight of the table, or left-right.

    Raises
    ------
    ValueError : neither maps the array's channels onto each other
    """
    for swaps in (SWAPS, MIRROR):
        try:
            for swap in swaps:
                swap.channels(array)
        except ValueError:
            continue
        return swaps
    raise ValueError(f"the channels of {array.name} allow no swap")


def check_swappable(recordings: Sequence[Recording], swaps: Sequence[Swap]) -> None:
    """Refuse what a channel swap would make wrong: a perspective view has no back to roll to the front.

    Raises
    ------
    InputError : a recording with such a video
    """
    if all(swap in MIRROR for swap in swaps):
        return
    for recording in recordings:
        if recording.video is not None and recording.view != "equirectangular":
            raise InputError(f"is {recording.view} video; --augment acs needs 360-degree video", path=recording.video)


class ChannelSwap:
    """Swap channels, directions and picture of an item by one symmetry of its array, drawn with equal chances.

    Parameters
    ----------
    swaps : None: those of `swaps_of`
    oriented : see `Swap.boxes`
    """

    def __init__(self, array: Array, seed: int, swaps: Sequence[Swap] | None = None, *, oriented: bool = False):
        self.oriented = oriented
        self.seed, self.swaps = seed, tuple(swaps_of(array) if swaps is None else swaps)
        self._channels = [swap.channels(array) for swap in self.swaps]

    def __call__(
        self, waveform: np.ndarray, labels: list[ClipLabels], seen: np.ndarray | None, number: int
    ) -> tuple[np.ndarray, list[ClipLabels], np.ndarray | None]:
        """Waveform (channels, samples), labels of the pieces and what is seen of item `number`, swapped."""
        drawn = self._drawn(number)
        swap, (source, sign) = self.swaps[drawn], self._channels[drawn]
        if swap == SWAPS[2]:
            return waveform, labels, seen
        turned = None if seen is None else swap.looks(seen, oriented=self.oriented)
        swapped = waveform[source]
        for channel in np.flatnonzero(sign < 0):
            np.negative(swapped[channel], out=swapped[channel])
        return swapped, [clip.turned(swap) for clip in labels], turned

    def of_whole(self, numbers: np.ndarray, number: int) -> np.ndarray:
        """What was found in whole recordings (frames, channels): of the channels as they are swapped for an item."""
        source, _ = self._channels[self._drawn(number)]
        return numbers[:, source]

    def _drawn(self, number: int) -> int:
        """Which swap item `number` gets."""
        return int(draws.integers(self.seed, _SWAP_STREAM, number, len(self.swaps))[0])


@dataclass(frozen=True)
class View:
    """A batch heard and seen as by an array that is turned or mirrored.

    Attributes
    ----------
    swap : the symmetry
    source, sign : (channels,) see `Swap.channels`
    oriented : see `Swap.boxes`
    """

    swap: Swap
    source: np.ndarray
    sign: np.ndarray
    oriented: bool = False

    def of(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The batch so: waveform (batch, channels, samples) and boxes (batch, looks, n, 4 or 6) are turned."""
        made = dict(batch)
        made["waveform"] = batch["waveform"][:, self.source] * torch.from_numpy(self.sign)[:, None]
        if "loudest" in batch:  # numbers of each channel
            made["loudest"] = batch["loudest"][..., self.source]
        if batch.get("visual") is not None:
            made["visual"] = torch.from_numpy(self.swap.looks(batch["visual"].numpy(), oriented=self.oriented))
        return made


def views_of(array: Array, count: int, *, oriented: bool = False) -> tuple[View, ...]:
    """So many symmetries of an array, as different as they can be, without the identity, which counts too.

    Raises
    ------
    InputError : it has fewer
    """
    try:
        swaps = all_swaps_of(array)
    except ValueError as error:
        raise InputError(f"--views: {error}") from None
    if not 1 <= count <= len(swaps):
        raise InputError(f"--views {count}: {array.name} has 1 to {len(swaps)}, turned and mirrored")
    first = swaps.index(SWAPS[2])
    step = len(swaps) // 3 | 1  # no divisor of 16, 8 or 2: every symmetry is met once
    chosen = [swaps[(first + index * step) % len(swaps)] for index in range(1, count)]
    made = ((swap, *swap.channels(array)) for swap in chosen)
    return tuple(View(swap, source, sign.astype(np.float32), oriented) for swap, source, sign in made)


@dataclass(frozen=True)
class Addition:
    """Which windows another one is added to: its sound, its events and what is seen with it.

    Added windows hold more than the scenes of the set do. They come by degrees: a network that hears them from the
    first step on takes long to leave the answer "nothing".

    Attributes
    ----------
    most : share of the items that get one, in the end
    after : item from which on that share holds; before, it grows evenly
    range_db : the other window's level is drawn from this range
    """

    seed: int
    most: float = 0.5
    after: int = 1
    range_db: tuple[float, float] = (-9.0, 3.0)

    def __call__(self, number: int) -> tuple[int, float] | None:
        """Number of the item to add to item `number`, and its gain; None: none."""
        share = self.most * min(1.0, number / max(self.after, 1))
        if draws.uniform(self.seed, _ADD_STREAM, number)[0] >= share:
            return None
        low, high = self.range_db
        level_db = low + (high - low) * draws.uniform(self.seed, _ADD_STREAM + 1, number)[0]
        return number + OTHER_ITEMS, float(10 ** (level_db / 20))


@dataclass(frozen=True)
class AddedLabels:
    """Labels of a window with another one added.

    Attributes
    ----------
    shift : label frames by which the other's recording is to be shifted
    """

    labels: ClipLabels
    other: ClipLabels
    shift: int

    def events(self, frame_s: float, first: int = 0, end: int | None = None) -> EventTable:
        """The events of both."""
        table = self.other.events(
            frame_s, max(first - self.shift, 0), None if end is None else max(end - self.shift, 0)
        )
        both = EventTable.concatenate(
            [self.labels.events(frame_s, first, end), table.replace(frame=table.frame + self.shift)]
        )
        return both[np.argsort(both.frame, kind="stable")]

    @property
    def intervals(self) -> IntervalTable:
        """Nothing that windows can be added of.

        Raises
        ------
        ValueError : always
        """
        raise ValueError("windows are added frame by frame, their labels have no start and end")


def added_looks(looks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """What is seen in two pictures (looks, rows, ...), as far as the rows go; those of zeros are empty.

    People and things (`util.objects`) keep to their own rows.
    """
    return _by_kind(_added, looks, others)


def _added(looks: np.ndarray, others: np.ndarray) -> np.ndarray:
    there = np.asarray(looks.any(axis=-1))
    free = np.cumsum(~there, axis=1) - 1  # number of a free row among those of its look
    more = np.take_along_axis(_packed(others), np.maximum(free, 0)[..., None], axis=1)
    return np.where(there[..., None], looks, more)
