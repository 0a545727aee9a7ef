"""Candidates: what every output format decodes to; thresholds and merging of candidates to events, shared by all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from util.angles import degrees_from_direction, wrap_azimuth_deg
from util.events import EventTable


@dataclass(frozen=True)
class Candidates:
    """What a network says before thresholds: arrays (frames, classes, tracks), float64.

    Attributes
    ----------
    activity : in [0, 1]
    azimuth_deg, elevation_deg : see `util.angles`; any value where the activity is 0
    frame_s : length of a frame in seconds
    distance_m, onscreen : None where the format has none; onscreen in [0, 1]
    vector : (frames, classes, tracks, 2 or 3), x, y (and z) as long as the network makes them: tracks that are merged
        are averaged as vectors; None: in azimuth and elevation, weighted by activity
    """

    activity: np.ndarray
    azimuth_deg: np.ndarray
    elevation_deg: np.ndarray
    frame_s: float = 0.1
    distance_m: np.ndarray | None = None
    onscreen: np.ndarray | None = None
    vector: np.ndarray | None = None

    @classmethod
    def joined(cls, parts: Sequence[Candidates]) -> Candidates:
        """Candidates of successive stretches behind each other."""

        def column(name: str) -> np.ndarray:
            return np.concatenate([getattr(part, name) for part in parts])

        return cls(
            column("activity"),
            column("azimuth_deg"),
            column("elevation_deg"),
            parts[0].frame_s,
            None if parts[0].distance_m is None else column("distance_m"),
            *(None if getattr(parts[0], name) is None else column(name) for name in ("onscreen", "vector")),
        )


def merge(
    candidates: Candidates, thresholds: np.ndarray, unification_deg: float = 15.0, *, reference_azimuth: bool = False
) -> EventTable:
    """Candidates above their threshold as events; tracks of a class closer than `unification_deg` become one event.

    One similar pair becomes one event and the third track, if active, stands before it; two or three similar pairs
    become one event (a chain whose ends are far apart too: a quirk of the reference that is kept). Directions of merged
    tracks are averaged in azimuth and elevation, weighted by activity; azimuths are first brought within 180 degrees of
    the most active track, so that sources near +-180 degrees stay there. An event's activity is the largest of its
    tracks. Candidates with vectors are averaged as these, and their distances evenly; whether the event is on the
    screen is what the first track of the pair says (of all three, track 0), as in the baselines.

    Parameters
    ----------
    candidates : with 1 to 3 tracks
    thresholds : (classes,) or one number; a candidate is active if its activity is above it (strict)
    unification_deg : great-circle distance in degrees below which two tracks are one source
    reference_azimuth : average azimuths as plain numbers, as the reference does (wrong around +-180 degrees)

    Returns
    -------
    Events by frame, then class, then in the order above; azimuth in [-180, 180)

    Examples
    --------
    Two tracks of one class 10 degrees apart are one source; the direction is weighted by activity.

    >>> activity = np.array([[[0.9, 0.6, 0.1]]])  # one frame, one class, three tracks
    >>> azimuth_deg = np.array([[[170.0, -180.0, 40.0]]])
    >>> found = Candidates(activity, azimuth_deg, np.zeros((1, 1, 3)))
    >>> table = merge(found, 0.5)
    >>> len(table), table.azimuth_deg.round(6).tolist(), table.activity.tolist()
    (1, [174.0], [0.9])
    """
    cell = _cells(candidates, thresholds, unification_deg)
    activity, members, rows = cell.activity, cell.members, np.arange(len(cell.frame))
    strongest = np.argmax(np.where(members, activity, -1.0), axis=1)
    columns = {}
    if candidates.vector is not None:
        vector = cell.merged(cell.of(candidates.vector), cell.even)[cell.used]
        columns["azimuth_deg"], columns["elevation_deg"] = angles_of(vector)
        for name, value in (("distance_m", candidates.distance_m), ("onscreen", candidates.onscreen)):
            if value is not None:
                weight = cell.even if name == "distance_m" else cell.first
                columns[name] = cell.merged(cell.of(value), weight)[cell.used]
    else:
        weight = np.where(members, activity, 0.0)
        for name in ("azimuth_deg", "elevation_deg", "distance_m", "onscreen"):
            if getattr(candidates, name) is None:
                continue
            value = summed = cell.of(getattr(candidates, name))
            if name == "azimuth_deg" and not reference_azimuth:
                anchor = value[rows, strongest][:, None]
                summed = anchor + _nearest_turn_deg(value - anchor)
            columns[name] = cell.merged(value, weight, summed)[cell.used]
    columns["azimuth_deg"] = wrap_azimuth_deg(columns["azimuth_deg"])
    peak = np.where(members, activity, 0.0).max(axis=1, initial=0.0)
    where = np.nonzero(cell.used)[0]
    return EventTable.make(
        frame=cell.frame[where],
        class_index=cell.class_index[where],
        activity=cell.placed(activity, peak)[cell.used],
        frame_s=candidates.frame_s,
        **columns,
    )


def merged_vectors(
    candidates: Candidates, thresholds: np.ndarray | float, unification_deg: float = 15.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames, classes and vectors (rows, 2 or 3), as long as the network makes them, of what `merge` makes events of.

    Raises
    ------
    ValueError : candidates without vectors
    """
    if candidates.vector is None:
        raise ValueError("these candidates have no vectors")
    cell = _cells(candidates, thresholds, unification_deg)
    where = np.nonzero(cell.used)[0]
    vector = cell.merged(cell.of(candidates.vector), cell.even)[cell.used]
    return cell.frame[where], cell.class_index[where], vector


def angles_of(vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Azimuth and elevation in degrees of vectors (..., 2 or 3); those of two coordinates lie in the plane."""
    whole = np.zeros((*vector.shape[:-1], 3))
    whole[..., : vector.shape[-1]] = vector
    return degrees_from_direction(whole)


@dataclass(frozen=True)
class _Cells:
    """Cells (frame, class) with something active: which of their tracks become one event, and which are written.

    Attributes
    ----------
    frame, class_index : (cells,)
    tracks : of the candidates
    activity : (cells, 3), 0 of absent tracks
    members : (cells, 3) tracks that become one event
    used : (cells, 3) places of the rows that are written
    even, first : (cells, 3) weights of the members: each the same, or only the first track of the pair
    unified, one_pair : (cells,) whether any tracks become one, and whether two of them do
    left_out : (cells,) the track that the pair leaves out
    """

    frame: np.ndarray
    class_index: np.ndarray
    tracks: int
    activity: np.ndarray
    members: np.ndarray
    used: np.ndarray
    first: np.ndarray
    unified: np.ndarray
    one_pair: np.ndarray
    left_out: np.ndarray

    @property
    def even(self) -> np.ndarray:
        return self.members

    def of(self, values: np.ndarray) -> np.ndarray:
        """(frames, classes, tracks, ...) -> (cells, 3, ...), absent tracks 0."""
        picked = values[self.frame, self.class_index]
        return _three(picked, self.tracks)

    def merged(self, value: np.ndarray, weight: np.ndarray, summed: np.ndarray | None = None) -> np.ndarray:
        """Values (cells, 3, ...) at the places of the rows: the weighted mean of the members at one of them.

        Parameters
        ----------
        summed : what is averaged; default the values
        """
        summed = value if summed is None else summed
        shape = (*weight.shape, *[1] * (value.ndim - 2))
        weight = np.where(self.members, weight, 0).reshape(shape).astype(value.dtype)
        total = np.where(self.unified.reshape(-1, *shape[2:]), weight.sum(axis=1), 1).astype(value.dtype)
        return self.placed(value, np.where(weight > 0, weight * summed, 0).sum(axis=1) / total)

    def placed(self, value: np.ndarray, of_members: np.ndarray) -> np.ndarray:
        """Values (cells, 3, ...) at the places of the rows, what the members have become at one of them."""
        made, rows = value.copy(), np.arange(len(value))
        made[self.one_pair, 0] = value[rows, self.left_out][self.one_pair]
        place = np.where(self.one_pair, 1, 0)
        made[rows[self.unified], place[self.unified]] = of_members[self.unified]
        return made


def _three(values: np.ndarray, tracks: int) -> np.ndarray:
    """(cells, tracks, ...) -> (cells, 3, ...), absent tracks 0."""
    if tracks == 3:
        return values
    return np.pad(values, ((0, 0), (0, 3 - tracks), *[(0, 0)] * (values.ndim - 2)))


def _cells(candidates: Candidates, thresholds: np.ndarray | float, unification_deg: float) -> _Cells:
    """What becomes of the candidates above their threshold."""
    classes, tracks = candidates.activity.shape[1:]
    if not 1 <= tracks <= 3:
        raise ValueError(f"merging is defined for 1 to 3 tracks, found {tracks}")
    thresholds = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), (classes,))
    above = candidates.activity > thresholds[None, :, None]
    # Only the cells (frame, class) with something active are worked on: few of them, usually.
    frame, class_index = np.nonzero(above.any(axis=2))

    def cells(values: np.ndarray) -> np.ndarray:
        return _three(values[frame, class_index], tracks)

    active, activity = cells(above), cells(candidates.activity)
    following = [1, 2, 0]  # pair p joins the tracks p and following[p]: 01, 12, 20
    third = [2, 0, 1]  # the track that pair p leaves out
    if candidates.vector is not None:
        vector = cells(candidates.vector)
        apart_deg = _vectors_apart_deg(vector, vector[:, following])
    else:
        azimuth, elevation = cells(candidates.azimuth_deg), cells(candidates.elevation_deg)
        apart_deg = _great_circle_deg(azimuth, elevation, azimuth[:, following], elevation[:, following])
    similar = active & active[:, following] & (apart_deg < unification_deg)
    pairs, pair = similar.sum(axis=1), np.argmax(similar, axis=1)
    rows = np.arange(len(pair))

    # Three places per cell for rows; `used` says which of them are written.
    alone, one_pair, chain = pairs == 0, pairs == 1, pairs >= 2
    left_out, second = np.asarray(third)[pair], np.asarray(following)[pair]
    used = active & alone[:, None]
    used[one_pair, 0] = active[rows, left_out][one_pair]
    used[one_pair, 1] = True
    used[chain, 0] = True
    members = np.zeros((len(pair), 3), dtype=bool)
    members[chain] = True
    members[rows, pair] |= one_pair
    members[rows, second] |= one_pair
    first = np.zeros_like(members)
    first[rows, np.where(chain, 0, pair)] = one_pair | chain
    return _Cells(frame, class_index, tracks, activity, members, used, first, one_pair | chain, one_pair, left_out)


def _vectors_apart_deg(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Angle between vectors (..., 2 or 3) in degrees, by the baselines' formula: it decides what is one source."""

    def normalised(vector: np.ndarray) -> np.ndarray:
        return vector / np.sqrt((vector**2).sum(axis=-1, keepdims=True) + 1e-10)

    cosine = np.clip((normalised(one) * normalised(other)).sum(axis=-1), -1, 1)
    return np.arccos(cosine) * 180 / np.pi


def _nearest_turn_deg(difference_deg: np.ndarray) -> np.ndarray:
    """Differences of azimuths in degrees, brought to [-180, 180] by whole turns; small ones stay bit for bit."""
    return difference_deg - 360.0 * np.rint(difference_deg / 360.0)


def _great_circle_deg(
    azimuth: np.ndarray, elevation: np.ndarray, azimuth2: np.ndarray, elevation2: np.ndarray
) -> np.ndarray:
    """Great-circle distance in degrees, by the reference's formula (it decides at the unification angle)."""
    azimuth, elevation, azimuth2, elevation2 = map(np.deg2rad, (azimuth, elevation, azimuth2, elevation2))
    cosine = np.sin(elevation) * np.sin(elevation2)
    cosine += np.cos(elevation) * np.cos(elevation2) * np.cos(np.abs(azimuth - azimuth2))
    return np.rad2deg(np.arccos(np.clip(cosine, -1.0, 1.0)))
