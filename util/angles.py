"""Angles and directions.

Azimuth grows counter-clockwise seen from above: 0 front, +90 left, in [-180, 180). Elevation grows upwards, in
[-90, 90]. A direction is the unit vector x = cos el cos az (front), y = cos el sin az (left), z = sin el (up).
"""

from __future__ import annotations

import numpy as np


def wrap_azimuth_deg(azimuth_deg: np.ndarray | float) -> np.ndarray:
    """Azimuth of any size, in degrees -> the same in [-180, 180).

    Examples
    --------
    >>> wrap_azimuth_deg([190, 180, -180, 720]).tolist()
    [-170.0, -180.0, -180.0, 0.0]
    """
    wrapped = np.mod(np.asarray(azimuth_deg, dtype=np.float64) + 180.0, 360.0) - 180.0
    return np.where(wrapped >= 180.0, wrapped - 360.0, wrapped)  # the modulo of a tiny negative number rounds up to 360


def fold_azimuth_deg(azimuth_deg: np.ndarray | float) -> np.ndarray:
    """Azimuth of any size, in degrees -> that of the same side in front, in [-90, 90]: a stereo pair hears no more.

    Examples
    --------
    >>> fold_azimuth_deg([100, -170, 45, 180]).tolist()
    [80.0, -10.0, 45.0, 0.0]
    """
    wrapped = wrap_azimuth_deg(azimuth_deg)
    return np.where(np.abs(wrapped) > 90.0, np.where(wrapped > 0, 180.0, -180.0) - wrapped, wrapped) + 0.0


def direction_from_degrees(azimuth_deg: np.ndarray | float, elevation_deg: np.ndarray | float) -> np.ndarray:
    """Azimuth and elevation in degrees, of one shape (...) -> unit vectors (..., 3), float64.

    Examples
    --------
    >>> direction_from_degrees(90, 0).round(6).tolist()  # left
    [0.0, 1.0, 0.0]
    >>> direction_from_degrees([0, -90], [90, 0]).round(6).tolist()  # up, right
    [[0.0, 0.0, 1.0], [0.0, -1.0, 0.0]]
    """
    azimuth, elevation = np.deg2rad(azimuth_deg), np.deg2rad(elevation_deg)
    horizontal = np.cos(elevation)
    return np.stack(
        np.broadcast_arrays(horizontal * np.cos(azimuth), horizontal * np.sin(azimuth), np.sin(elevation)), axis=-1
    )


def degrees_from_direction(direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (..., 3) of any length -> azimuth in [-180, 180) and elevation, in degrees; zero vectors: 0, 0.

    Examples
    --------
    >>> azimuth_deg, elevation_deg = degrees_from_direction([[1, 1, 0], [0, 0, -2], [0, 0, 0]])
    >>> azimuth_deg.round(6).tolist(), elevation_deg.round(6).tolist()
    ([45.0, 0.0, 0.0], [0.0, -90.0, 0.0])
    """
    direction = np.asarray(direction, dtype=np.float64)
    x, y, z = direction[..., 0], direction[..., 1], direction[..., 2]
    return wrap_azimuth_deg(np.rad2deg(np.arctan2(y, x))), np.rad2deg(np.arctan2(z, np.hypot(x, y)))


def angle_between_deg(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angle between vectors (..., 3) of any non-zero length, in degrees; accurate for tiny and for opposite angles too.

    The metrics have formulas of their own (they reproduce the official rounding); this one is for everything else.

    Examples
    --------
    >>> angle_between_deg([1, 0, 0], [[0, 2, 0], [-1, 0, 0]]).round(6).tolist()
    [90.0, 180.0]
    """
    first, second = np.broadcast_arrays(np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64))
    cross = np.linalg.norm(np.cross(first, second), axis=-1)
    return np.rad2deg(np.arctan2(cross, np.sum(first * second, axis=-1)))
