"""The doctor on labels in other units and orders: what was meant is named, and right labels are left in peace."""

from __future__ import annotations

import numpy as np
import pytest

from doctor.check import check_path
from doctor.labels import suspicions
from tests.small_data import make_root
from util.angles import direction_from_degrees
from util.dialects import read_columns
from util.errors import InputError

RNG = np.random.default_rng(4)
AZIMUTH, ELEVATION = RNG.integers(-180, 180, 300).astype(float), RNG.integers(-40, 50, 300).astype(float)
DISTANCE_CM = RNG.integers(80, 400, 300).astype(float)
FRONT = RNG.integers(-60, 61, 300).astype(float)


def columns(azimuth, elevation, distance=None) -> dict[str, np.ndarray]:
    found = {"azimuth_deg": np.asarray(azimuth), "elevation_deg": np.asarray(elevation)}
    return found if distance is None else {**found, "distance": np.asarray(distance)}


VECTOR = direction_from_degrees(AZIMUTH, ELEVATION)
WRONG = {
    "radians": (columns(np.radians(AZIMUTH), np.radians(ELEVATION), DISTANCE_CM), "angles are in radians"),
    "radians of the front": (columns(np.radians(FRONT), np.radians(ELEVATION)), "angles are in radians"),
    "metres": (columns(AZIMUTH, ELEVATION, DISTANCE_CM / 100), "distances are in metres"),
    "elevation first": (columns(ELEVATION, AZIMUTH, DISTANCE_CM), "elevation stands before azimuth"),
    "elevation first, of the front": (columns(ELEVATION / 3, FRONT * 1.4), "elevation stands before azimuth"),
    "unit vectors": (columns(*VECTOR.T), "x, y and z stand"),
    "positions": (columns(*(VECTOR * DISTANCE_CM[:, None] / 100).T), "x, y and z stand"),
    "0 to 360": (columns(AZIMUTH % 360, ELEVATION), "azimuth is counted from 0 to 360"),
    "from the zenith": (columns(AZIMUTH, 90 - ELEVATION), "elevation is counted from the zenith"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name):
    given, rule = WRONG[name]
    (found,) = suspicions(given)
    assert rule in found.rule and any(c.isdigit() for c in found.detail)


def test_two_things_at_once():
    found = suspicions(columns(np.radians(AZIMUTH), np.radians(ELEVATION), DISTANCE_CM / 100))
    assert [("radians" in one.rule, "metres" in one.rule) for one in found] == [(True, False), (False, True)]
    (found,) = suspicions(columns(AZIMUTH, ELEVATION, DISTANCE_CM), distance_unit_m=1.0)
    assert "centimetres? metres are due" in found.rule


@pytest.mark.parametrize(
    "given",
    [
        columns(AZIMUTH, ELEVATION, DISTANCE_CM),
        columns(AZIMUTH, ELEVATION),
        columns(FRONT, ELEVATION, DISTANCE_CM),
        columns(np.full(300, 2.0), np.full(300, 1.0), DISTANCE_CM),  # one source close to the front
        columns(RNG.integers(-3, 4, 300), RNG.integers(-1, 2, 300), np.zeros(300))
        | {"azimuth_deg": RNG.integers(-5, 6, 300).astype(float)},
        columns(AZIMUTH[:5] / 57, ELEVATION[:5] / 57),  # too few to say
        columns(AZIMUTH, np.zeros(300), np.zeros(300)),
        columns([], []),
    ],
)
def test_right_labels_are_left_in_peace(given):
    assert suspicions(given) == []


def exchanged(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {**given, "azimuth_deg": given["elevation_deg"], "elevation_deg": given["azimuth_deg"]}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda c: {**c, **{name: np.radians(c[name]) for name in ("azimuth_deg", "elevation_deg")}}, "radians"),
        (lambda c: {**c, "distance": c["distance"] / 100}, "metres"),
        (exchanged, "elevation stands before"),
        (lambda c: c, ""),
    ],
)
def test_the_doctor_says_it_of_a_root(tmp_path, change, rule):
    root = make_root(tmp_path / "data", train=2, test=1, seconds=3.0, videos=False)
    for path in (root / "metadata_dev").rglob("*.csv"):
        given = change(read_columns(path, "starss23"))
        names = ("frame", "class_index", "source", "azimuth_deg", "elevation_deg", "distance")
        rows = zip(*(given[name].tolist() for name in names))
        path.write_text("".join(",".join(f"{value:g}" for value in row) + "\n" for row in rows))
    found = [finding.rule for finding in check_path(root)[0] if finding.rule.startswith("labels: ")]
    assert len(found) == bool(rule) and (not rule or rule in found[0])


def test_columns_are_read_whatever_they_hold(tmp_path):
    (tmp_path / "a.csv").write_text("0,1,0,10,x\n")
    with pytest.raises(InputError, match="line 1: elevation_deg must be a number"):
        read_columns(tmp_path / "a.csv", "starss23")
