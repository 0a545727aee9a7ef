"""Angular distances and conversions of the official programs, in their order of operations (ties depend on it)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

EPS = np.finfo(np.float64).eps
"""Machine epsilon, which the official programs add to denominators."""


def _radians(angle_deg: np.ndarray) -> np.ndarray:
    return np.asarray(angle_deg, dtype=np.float64) * np.pi / 180.0  # multiply, then divide: not np.deg2rad


def _degrees(angle_rad: np.ndarray) -> np.ndarray:
    return angle_rad * 180.0 / np.pi


def polar_to_cartesian(polar_deg: np.ndarray) -> np.ndarray:
    """Azimuth and elevation (..., 2) in degrees -> unit vectors (..., 3)."""
    azimuth, elevation = _radians(polar_deg[..., 0]), _radians(polar_deg[..., 1])
    horizontal = np.cos(elevation)
    return np.stack([np.cos(azimuth) * horizontal, np.sin(azimuth) * horizontal, np.sin(elevation)], axis=-1)


def cartesian_to_polar(vector: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) of any length -> azimuth and elevation (..., 2) in degrees. The zero vector gives 0, 0."""
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    return np.stack([_degrees(np.arctan2(y, x)), _degrees(np.arctan2(z, np.sqrt(x**2 + y**2)))], axis=-1)


class Distance(Protocol):
    """An angular distance in two steps, so that what depends on one row alone is computed once for it."""

    @property
    def coordinates(self) -> str:
        """What a batch carries: "polar" or "cartesian"."""
        ...

    def prepare(self, coordinates: np.ndarray) -> np.ndarray:
        """Coordinates (n, d) as a batch carries them -> what `between` wants (n, k)."""
        ...

    def between(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Prepared coordinates (..., k), broadcast against each other -> degrees (...)."""
        ...


@dataclass(frozen=True)
class PolarDistance:
    """Great-circle angle of azimuth and elevation in degrees; equal points may give up to 1e-6 degrees."""

    coordinates: str = "polar"

    def prepare(self, coordinates: np.ndarray) -> np.ndarray:
        """(n, 2) degrees -> azimuth in radians, sine and cosine of elevation (n, 3)."""
        elevation = _radians(coordinates[:, 1])
        return np.stack([_radians(coordinates[:, 0]), np.sin(elevation), np.cos(elevation)], axis=-1)

    def between(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """acos(sin e1 sin e2 + cos e1 cos e2 cos|a1 - a2|), in degrees."""
        apart = np.cos(np.abs(first[..., 0] - second[..., 0]))
        cosine = first[..., 1] * second[..., 1] + first[..., 2] * second[..., 2] * apart
        return _degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))


@dataclass(frozen=True)
class CartesianDistance:
    """Angle of vectors, each divided by sqrt(x2 + y2 + z2 + 1e-10).

    Q1: equal unit vectors are 8.1e-4 degrees apart because of the 1e-10; a zero vector is 90 degrees from everything.
    """

    coordinates: str = "cartesian"

    def prepare(self, coordinates: np.ndarray) -> np.ndarray:
        """(n, 3) vectors -> the same, almost normalised."""
        return coordinates / np.sqrt(np.sum(coordinates**2, axis=-1, keepdims=True) + 1e-10)

    def between(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """acos of the dot product, in degrees."""
        cosine = first[..., 0] * second[..., 0] + first[..., 1] * second[..., 1] + first[..., 2] * second[..., 2]
        return _degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))


def fold_azimuth_deg(azimuth_deg: np.ndarray) -> np.ndarray:
    """Azimuth of any size -> the direction in the front half plane with the same left-right angle, in [-90, 90].

    Examples
    --------
    >>> fold_azimuth_deg([100, -170, 45, 180]).tolist()
    [80.0, -10.0, 45.0, 0.0]
    """
    wrapped = np.mod(np.asarray(azimuth_deg, dtype=np.float64) + 180.0, 360.0) - 180.0
    wrapped = np.where(wrapped < -90.0, -180.0 - wrapped, wrapped)
    return np.where(wrapped > 90.0, 180.0 - wrapped, wrapped)


@dataclass(frozen=True)
class FoldedDistance:
    """Difference of folded azimuths: front and back count as one (a stereo recording cannot tell them apart)."""

    coordinates: str = "polar"

    def prepare(self, coordinates: np.ndarray) -> np.ndarray:
        """(n, 2) degrees -> folded azimuth (n, 1)."""
        return fold_azimuth_deg(coordinates[:, :1])

    def between(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """|a1 - a2| in degrees, 0 to 180."""
        return np.abs(first[..., 0] - second[..., 0])


def polar_distance_deg(first_rad: np.ndarray, second_rad: np.ndarray) -> np.ndarray:
    """Great-circle angle in degrees between azimuth and elevation (..., 2) in *radians* (the array functions' form).

    Examples
    --------
    >>> polar_distance_deg([[0, 0]], [[np.pi / 2, 0]]).round(6).tolist()
    [90.0]
    """
    first_rad, second_rad = np.asarray(first_rad, dtype=np.float64), np.asarray(second_rad, dtype=np.float64)
    cosine = np.sin(first_rad[..., 1]) * np.sin(second_rad[..., 1]) + np.cos(first_rad[..., 1]) * np.cos(
        second_rad[..., 1]
    ) * np.cos(np.abs(first_rad[..., 0] - second_rad[..., 0]))
    return _degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))


def cartesian_distance_deg(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angle in degrees between vectors (..., 3), with the official 1e-10 in their lengths (Q1)."""
    distance = CartesianDistance()
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    return distance.between(distance.prepare(first), distance.prepare(second))


def chord_distance_deg(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angle in degrees between *unit* vectors (..., 3) from the chord: 2 asin(|a - b| / 2)."""
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return 2.0 * np.arcsin(np.linalg.norm(difference, axis=-1) / 2.0) * 180.0 / np.pi
