"""What the numbers of labels say of themselves: radians, metres, exchanged or Cartesian columns. Numbers in, words out.

Labels of STARSS23 and its kin have azimuth in [-180, 180) degrees, elevation in [-90, 90] degrees and the distance in
centimetres. Material from elsewhere is often converted by a script of one's own, and a wrong unit trains all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

LEAST_ROWS = 20
LEAST_PLACES = 4  # different directions; one source that stands still says nothing
_SHARE = 0.95  # of the rows that must agree
_NEAREST_CM, _FARTHEST_M = 20.0, 20.0  # medians beyond which a unit is not believed
_NARROW_DEG, _STEEP_DEG = 45.0, 60.0


@dataclass(frozen=True)
class Suspicion:
    """What labels may be, and the numbers that say so."""

    rule: str
    detail: str


def suspicions(columns: Mapping[str, np.ndarray], *, distance_unit_m: float = 0.01) -> list[Suspicion]:
    """What looks wrong about label rows.

    Parameters
    ----------
    columns : numbers as they stand in the files, (rows,) each: azimuth_deg, elevation_deg, and distance where there is
        one (`util.dialects.read_columns`)
    distance_unit_m : metres per unit in which the distance is due
    """
    azimuth, elevation = columns.get("azimuth_deg"), columns.get("elevation_deg")
    if azimuth is None or elevation is None or len(azimuth) < LEAST_ROWS:
        return []
    distance = columns.get("distance")
    if len(np.unique(np.stack([azimuth, elevation]), axis=1).T) >= LEAST_PLACES:
        if distance is not None and (found := _cartesian(azimuth, elevation, distance)) is not None:
            return [found]
        angles = _radians(azimuth, elevation) or _exchanged(azimuth, elevation) or _conventions(azimuth, elevation)
    else:
        angles = None
    unit = None if distance is None else _unit(distance, distance_unit_m)
    return [found for found in (angles, unit) if found is not None]


def _range(name: str, values: np.ndarray) -> str:
    return f"{name} {values.min():.4g} to {values.max():.4g}"


def _fractional(values: np.ndarray) -> bool:
    return bool(np.mean(values != np.rint(values)) > 0.5)


def _cartesian(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> Suspicion | None:
    """Unit vectors, or positions in metres of which some lie below the microphone."""
    rule = "x, y and z stand where azimuth, elevation and distance are due?"
    length = np.sqrt(x**2 + y**2 + z**2)
    if np.mean(np.abs(length - 1) < 0.02) > _SHARE and (_fractional(x) or _fractional(y)):
        return Suspicion(rule, f"the three numbers have length {np.median(length):.3f} in nearly all rows")
    small = max(np.abs(x).max(), np.abs(y).max(), np.abs(z).max()) <= _FARTHEST_M
    if small and z.min() < 0 and (_fractional(x) or _fractional(y)):
        return Suspicion(rule, f"the third is {z.min():.4g} at the lowest, and a distance is not negative")
    return None


def _radians(azimuth: np.ndarray, elevation: np.ndarray) -> Suspicion | None:
    within = np.abs(azimuth).max() <= np.pi + 0.01 and np.abs(elevation).max() <= np.pi / 2 + 0.01
    wide = azimuth.max() - azimuth.min() > (0.3 if _fractional(azimuth) else 3.5)
    if within and wide:
        detail = f"{_range('azimuth', azimuth)}, {_range('elevation', elevation)}"
        return Suspicion("angles are in radians? degrees are due", detail)
    return None


def _exchanged(azimuth: np.ndarray, elevation: np.ndarray) -> Suspicion | None:
    """Elevation where azimuth is due: it never leaves [-90, 90], and the other column does, or is as wide as that."""
    rule = "elevation stands before azimuth? azimuth is due first"
    if np.abs(azimuth).max() > 90:
        return None
    detail = f"{_range('the first', azimuth)}, {_range('the second', elevation)}"
    if np.abs(elevation).max() > 90 and (elevation.min() < 0 or elevation.max() > 180 or np.ptp(azimuth) < 90):
        return Suspicion(rule, detail)
    spread = [np.quantile(np.abs(values), _SHARE) for values in (azimuth, elevation)]
    if spread[0] <= _NARROW_DEG and spread[1] > _STEEP_DEG:
        return Suspicion(rule, f"{detail} degrees: sources above and below, and none at the sides or behind")
    return None


def _conventions(azimuth: np.ndarray, elevation: np.ndarray) -> Suspicion | None:
    """Angles that are counted otherwise."""
    if azimuth.max() > 180 and azimuth.min() >= 0:
        return Suspicion("azimuth is counted from 0 to 360? it is due in [-180, 180)", _range("azimuth", azimuth))
    if elevation.max() > 90 and elevation.min() >= 0:
        rule = "elevation is counted from the zenith? it is due from the horizon upwards, 90 minus that"
        return Suspicion(rule, _range("elevation", elevation))
    return None


def _unit(distance: np.ndarray, unit_m: float) -> Suspicion | None:
    known = distance[distance > 0]
    if len(known) < LEAST_ROWS:
        return None
    middle = float(np.median(known))
    if unit_m == 0.01 and middle < _NEAREST_CM:
        rule = "distances are in metres? centimetres are due"
        return Suspicion(rule, f"median {middle:.4g}: sources {middle:.2g} cm away as it stands")
    if unit_m == 1.0 and middle > _FARTHEST_M:
        rule = "distances are in centimetres? metres are due"
        return Suspicion(rule, f"median {middle:.4g}: sources {middle:.0f} m away as it stands")
    return None
