"""Candidates: what every output format decodes to; thresholds and merging of candidates to events, shared by all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from util.angles import wrap_azimuth_deg
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
    """

    activity: np.ndarray
    azimuth_deg: np.ndarray
    elevation_deg: np.ndarray
    frame_s: float = 0.1
    distance_m: np.ndarray | None = None
    onscreen: np.ndarray | None = None

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
            None if parts[0].onscreen is None else column("onscreen"),
        )


def merge(
    candidates: Candidates, thresholds: np.ndarray, unification_deg: float = 15.0, *, reference_azimuth: bool = False
) -> EventTable:
    """Candidates above their threshold as events; tracks of a class closer than `unification_deg` become one event.

    One similar pair becomes one event and the third track, if active, stands before it; two or three similar pairs
    become one event (a chain whose ends are far apart too: a quirk of the reference that is kept). Directions of merged
    tracks are averaged in azimuth and elevation, weighted by activity; azimuths are first brought within 180 degrees of
    the most active track, so that sources near +-180 degrees stay there. An event's activity is the largest of its
    tracks.

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
    classes, tracks = candidates.activity.shape[1:]
    if not 1 <= tracks <= 3:
        raise ValueError(f"merging is defined for 1 to 3 tracks, found {tracks}")
    thresholds = np.broadcast_to(np.asarray(thresholds, dtype=np.float64), (classes,))
    above = candidates.activity > thresholds[None, :, None]
    # Only the cells (frame, class) with something active are worked on: few of them, usually.
    cell_frame, cell_class = np.nonzero(above.any(axis=2))

    def cells(values: np.ndarray) -> np.ndarray:
        """(frames, classes, tracks) -> (cells, 3), absent tracks 0."""
        picked = values[cell_frame, cell_class]
        return np.pad(picked, ((0, 0), (0, 3 - tracks))) if tracks < 3 else picked

    active, activity = cells(above), cells(candidates.activity)
    azimuth, elevation = cells(candidates.azimuth_deg), cells(candidates.elevation_deg)
    values = {"azimuth_deg": azimuth, "elevation_deg": elevation}
    for name, column in (("distance_m", candidates.distance_m), ("onscreen", candidates.onscreen)):
        if column is not None:
            values[name] = cells(column)

    following = [1, 2, 0]  # pair p joins the tracks p and following[p]: 01, 12, 20
    third = [2, 0, 1]  # the track that pair p leaves out
    similar = active & active[:, following]
    near = _great_circle_deg(azimuth, elevation, azimuth[:, following], elevation[:, following]) < unification_deg
    similar &= near
    pairs = similar.sum(axis=1)
    pair = np.argmax(similar, axis=1)
    rows = np.arange(len(pair))

    # Three places per cell for rows; `used` says which of them are written.
    alone, one_pair, chain = pairs == 0, pairs == 1, pairs >= 2
    left_out = np.asarray(third)[pair]
    used = active & alone[:, None]
    used[one_pair, 0] = active[rows, left_out][one_pair]
    used[one_pair, 1] = True
    used[chain, 0] = True
    members = np.zeros((len(pair), 3))
    members[chain] = activity[chain]
    members[rows, pair] += np.where(one_pair, activity[rows, pair], 0.0)
    second = np.asarray(following)[pair]
    members[rows, second] += np.where(one_pair, activity[rows, second], 0.0)
    strongest = np.argmax(np.where(members > 0, activity, -1.0), axis=1)

    columns = {}
    unified = one_pair | chain
    place = np.where(one_pair, 1, 0)
    weight = np.where(unified, members.sum(axis=1), 1.0)
    for name, value in values.items():
        summed = value
        if name == "azimuth_deg" and not reference_azimuth:
            anchor = value[rows, strongest][:, None]
            summed = anchor + _nearest_turn_deg(value - anchor)
        mean = np.where(members > 0, members * summed, 0.0).sum(axis=1) / weight
        merged = value.copy()
        merged[one_pair, 0] = value[rows, left_out][one_pair]
        merged[rows[unified], place[unified]] = mean[unified]
        columns[name] = merged[used]
    columns["azimuth_deg"] = wrap_azimuth_deg(columns["azimuth_deg"])
    peak = activity.copy()
    peak[one_pair, 0] = activity[rows, left_out][one_pair]
    peak[rows[unified], place[unified]] = np.where(members > 0, activity, 0.0).max(axis=1, initial=0.0)[unified]
    where = np.nonzero(used)[0]
    return EventTable.make(
        frame=cell_frame[where],
        class_index=cell_class[where],
        activity=peak[used],
        frame_s=candidates.frame_s,
        **columns,
    )


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
