"""Where sources can be in a room, and the ways they walk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulation.scene import Room, Trajectory
from simulation.settings import WALL_MARGIN_M
from util.angles import wrap_azimuth_deg
from util.errors import InputError

STEP_S = 0.1
FASTEST_TURN_DEG_S = 35.0  # around the listener: nobody runs in small circles


@dataclass(frozen=True)
class Spot:
    """A place beside the listener, seen from above: azimuth in degrees, horizontal distance in metres."""

    azimuth_deg: float
    radius_m: float

    def position(self, height_m: float) -> np.ndarray:
        """World coordinates (3,), `height_m` above the listener."""
        azimuth = np.deg2rad(self.azimuth_deg)
        return np.array([self.radius_m * np.cos(azimuth), self.radius_m * np.sin(azimuth), height_m])


def wall_distance_m(room: Room, azimuth_deg: np.ndarray | float, margin_m: float = WALL_MARGIN_M) -> np.ndarray:
    """Horizontal way from the listener to `margin_m` before the wall, at azimuths (...)."""
    azimuth = np.deg2rad(np.asarray(azimuth_deg, dtype=np.float64))
    distance = np.full(azimuth.shape, np.inf)
    for axis, component in enumerate((np.cos(azimuth), np.sin(azimuth))):
        ahead = np.where(component >= 0, room.size_m[axis] - room.listener_m[axis], room.listener_m[axis]) - margin_m
        distance = np.minimum(distance, ahead / np.maximum(np.abs(component), 1e-9))
    return distance


def radii_m(distance_m: tuple[float, float], height_m: float) -> tuple[float, float]:
    """Horizontal distances at which a point `height_m` above or below the listener is within a range of distances.

    The nearest is 0.8 of the range's at least: nothing lies at the listener's feet.
    """
    near, far = distance_m
    return float(np.sqrt(max(near**2 - height_m**2, (0.8 * near) ** 2))), float(np.sqrt(max(far**2 - height_m**2, 0.0)))


def slots_deg(rng: np.random.Generator, count: int) -> np.ndarray:
    """Azimuths (count,) that keep apart: one in each of `count` equal sectors, in random order."""
    width = 360.0 / max(count, 1)
    azimuth = rng.uniform(0, 360) + width * (np.arange(count) + rng.uniform(-0.4, 0.4, count))
    return wrap_azimuth_deg(rng.permutation(azimuth))


def free_spot(rng: np.random.Generator, room: Room, azimuth_deg: float, near_m: float, far_m: float) -> Spot:
    """A spot at this azimuth, its distance uniform over what range and walls leave."""
    wall = float(wall_distance_m(room, azimuth_deg))
    far = min(far_m, wall)
    near = min(near_m, far)
    return Spot(float(azimuth_deg), float(rng.uniform(near, far)))


def on_grid(value_deg: np.ndarray | float, grid_deg: float, offset_deg: float) -> np.ndarray:
    """The nearest angle of the grid offset + k * grid."""
    return offset_deg + grid_deg * np.rint((np.asarray(value_deg, dtype=np.float64) - offset_deg) / grid_deg)


def grid_angles(low_deg: float, high_deg: float, grid_deg: float, offset_deg: float) -> np.ndarray:
    """The angles of the grid within [low, high], ascending."""
    first = int(np.ceil((low_deg - offset_deg) / grid_deg - 1e-9))
    last = int(np.floor((high_deg - offset_deg) / grid_deg + 1e-9))
    return offset_deg + grid_deg * np.arange(first, last + 1)


def grid_spot(
    rng: np.random.Generator,
    room: Room,
    azimuth_deg: float,
    heights_m: tuple[float, float],
    distance_m: tuple[float, float],
    grid_deg: float,
    offset_deg: float,
) -> tuple[Spot, float]:
    """A spot and a height relative to the listener whose azimuth and elevation both lie on the grid.

    Parameters
    ----------
    heights_m : lowest and highest height above the listener that the sounding point may have
    distance_m : range of distances from the listener

    Raises
    ------
    InputError : no direction of the grid fits
    """
    azimuth = float(wrap_azimuth_deg(on_grid(azimuth_deg, grid_deg, offset_deg)))
    wall = float(wall_distance_m(room, azimuth))
    low, high = heights_m
    near, far = distance_m
    options = []
    for elevation in grid_angles(-80.0, 80.0, grid_deg, offset_deg):
        sine, cosine = np.sin(np.deg2rad(elevation)), np.cos(np.deg2rad(elevation))
        first, last = near, min(far, wall / cosine)
        if abs(sine) > 1e-6:
            ends = sorted((low / sine, high / sine))
            first, last = max(first, ends[0]), min(last, ends[1])
        elif not low <= 0.0 <= high:
            continue
        if first <= last:
            options.append((first, last, sine, cosine))
    if not options:
        raise InputError(
            f"--doa-grid {grid_deg:g} --doa-offset {offset_deg:g}: no direction of this grid fits a source {low:+.2f} "
            f"to {high:+.2f} m above the listener, {near:g} to {far:g} m away"
        )
    first, last, sine, cosine = options[int(rng.integers(len(options)))]
    distance = rng.uniform(first, last)
    return Spot(azimuth, float(distance * cosine)), float(distance * sine)


class Walk:
    """A way through the room, put together from standing and walking; heights are added at the end.

    Parameters
    ----------
    spot : where it begins
    near_m, far_m : horizontal distances that are kept
    """

    def __init__(self, room: Room, spot: Spot, near_m: float, far_m: float):
        self._room, self._near, self._far = room, near_m, far_m
        self._times, self._spots = [0.0], [spot]

    @property
    def now_s(self) -> float:
        """Time of the last point."""
        return self._times[-1]

    def stand(self, until_s: float) -> None:
        """Stay."""
        if until_s > self.now_s:
            self._times.append(until_s)
            self._spots.append(self._spots[-1])

    def go(self, rng: np.random.Generator, until_s: float, speed_m_s: float) -> None:
        """Walk around the listener, nearer or farther on the way, along the walls where they are in the way."""
        duration = until_s - self.now_s
        if duration <= 0:
            return
        start = self._spots[-1]
        steps = max(1, round(duration / STEP_S))
        share = np.arange(1, steps + 1) / steps
        reach = 0.5 * speed_m_s * duration
        aim = np.clip(start.radius_m + rng.uniform(-reach, reach), self._near, self._far)
        radius = start.radius_m + (aim - start.radius_m) * share
        radial = abs(aim - start.radius_m) / duration
        around = np.sqrt(max(speed_m_s**2 - radial**2, (0.3 * speed_m_s) ** 2))
        turn_deg_s = np.minimum(np.rad2deg(around / radius), FASTEST_TURN_DEG_S)
        turn = rng.choice((-1.0, 1.0)) * np.cumsum(turn_deg_s * duration / steps)
        azimuth = start.azimuth_deg + turn
        radius = np.minimum(radius, wall_distance_m(self._room, azimuth))
        begin = self.now_s
        self._times.extend((begin + duration * share).tolist())
        self._spots.extend(Spot(float(a), float(r)) for a, r in zip(azimuth, radius))

    def trajectory(self, height_m: float) -> Trajectory:
        """The way at a height relative to the listener."""
        position = np.stack([spot.position(height_m) for spot in self._spots])
        return simplified(Trajectory(np.array(self._times), position))


def simplified(path: Trajectory) -> Trajectory:
    """The same path without points in the middle of a rest; one point where nothing moves."""
    if not path.moving:
        return Trajectory(path.time_s[:1], path.position_m[:1])
    rest = np.abs(np.diff(path.position_m, axis=0)).max(axis=1) < 1e-9
    keep = np.ones(len(path.time_s), dtype=bool)
    keep[1:-1] = ~(rest[:-1] & rest[1:])
    return Trajectory(path.time_s[keep], path.position_m[keep])


def during(path: Trajectory, start_s: float, end_s: float, lift_m: float = 0.0) -> Trajectory:
    """The part of a path from start to end, raised by `lift_m`; one point where it does not move meanwhile."""
    inside = (path.time_s > start_s) & (path.time_s < end_s)
    times = np.concatenate([[start_s], path.time_s[inside], [end_s]])
    return simplified(Trajectory(times, path.at(times) + np.array([0.0, 0.0, lift_m])))
