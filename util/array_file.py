"""Microphone arrays of one's own: capsule positions in a csv or json file."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from util.angles import degrees_from_direction
from util.errors import InputError
from util.microphone_arrays import Array
from util.text import read_text

LARGEST_M = 5.0
_CARTESIAN, _POLAR = ("x_m", "y_m", "z_m"), ("azimuth_deg", "elevation_deg", "radius_m")
_FORMS = "columns x_m,y_m,z_m (z_m may be left out) or azimuth_deg,elevation_deg,radius_m"


def read_array(path: Path) -> Array:
    """The array that a file describes, one capsule a row, in the order of the recording's channels.

    csv: a header, x_m,y_m,z_m in metres (x to the front, y to the left, z up) or azimuth_deg,elevation_deg,radius_m.
    json: {"capsules": [[x, y, z], ...] or [{"x_m": ..}, ...], "baffle": "open" or "rigid", "name": ...}; "rigid" is a
    sphere that carries all capsules.

    Raises
    ------
    InputError : the file cannot be read, or says something that is no array; with the row and the rule
    """
    path = Path(path)
    text = read_text(path)
    about: dict[str, Any] = {}
    rows: Sequence[Mapping[str, Any] | Sequence[Any]]
    if path.suffix.lower() == ".json":
        rows, about = _json_rows(text, path)
    else:
        rows = _csv_rows(text, path)
    positions = np.array([_position(row, path, f"capsule {number}") for number, row in enumerate(rows, 1)])
    if len(positions) < 2:
        raise InputError(f"describes {len(positions)} capsules, a direction takes two or more", path=path)
    baffle = about.get("baffle", "open")
    if baffle not in ("open", "rigid"):
        raise InputError(f'baffle must be "open" or "rigid", found {baffle!r}', path=path)
    for number in range(1, len(positions)):
        near = np.linalg.norm(positions[:number] - positions[number], axis=1)
        if near.min() < 1e-4:
            rule = f"lies where capsule {int(np.argmin(near)) + 1} is"
            raise InputError(rule, path=path, place=f"capsule {number + 1}")
    return _array(str(about.get("name", path.stem)), positions, baffle, path)


def _array(name: str, positions: np.ndarray, baffle: str, path: Path) -> Array:
    radii = np.linalg.norm(positions, axis=1)
    if baffle == "rigid" and np.ptp(radii) > 0.02 * radii.max():
        rule = f"a rigid sphere carries all capsules, but they lie {radii.min():g} to {radii.max():g} m from its middle"
        raise InputError(rule, path=path)
    azimuth_deg, elevation_deg = degrees_from_direction(positions)
    capsules = tuple((float(azimuth), float(elevation)) for azimuth, elevation in zip(azimuth_deg, elevation_deg))
    if np.ptp(radii) <= 1e-3 * radii.max():
        return Array(name, "capsules", capsules, float(radii.mean()), baffle)
    return Array(name, "capsules", capsules, float(radii.max()), baffle, tuple(float(radius) for radius in radii))


def _json_rows(text: str, path: Path) -> tuple[list[Mapping[str, Any] | Sequence[Any]], dict[str, Any]]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise InputError(f"is no json ({error})", path=path) from None
    if not isinstance(content, dict) or not isinstance(content.get("capsules"), list):
        raise InputError('must be {"capsules": [[x, y, z], ...]}, metres', path=path)
    if unknown := set(content) - {"capsules", "baffle", "name"}:
        raise InputError(f"unknown: {', '.join(sorted(unknown))}; known are capsules, baffle, name", path=path)
    return content["capsules"], content


def _csv_rows(text: str, path: Path) -> list[Mapping[str, Any]]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    reader = csv.reader(io.StringIO("\n".join(lines)), skipinitialspace=True)
    table = [[value.strip() for value in row] for row in reader]
    if not table:
        raise InputError(f"is empty; {_FORMS}", path=path)
    names = tuple(table[0])
    if not {"x_m", "y_m"} <= set(names) <= set(_CARTESIAN) and set(names) != set(_POLAR):
        raise InputError(f"has the columns {', '.join(names) or 'none'}; {_FORMS}", path=path, place="header")
    for number, row in enumerate(table[1:], 1):
        if len(row) != len(names):
            raise InputError(f"{len(row)} values, {len(names)} expected", path=path, place=f"capsule {number}")
    return [dict(zip(names, row)) for row in table[1:]]


def _position(row: Mapping[str, Any] | Sequence[Any], path: Path, place: str) -> list[float]:
    """One capsule in metres."""
    if isinstance(row, Mapping):
        polar = "radius_m" in row
        values = [row.get(name, 0.0) for name in (_POLAR if polar else _CARTESIAN)]
        known = set(row) <= set(_POLAR if polar else _CARTESIAN) and (polar or {"x_m", "y_m"} <= set(row))
    else:
        polar, values, known = False, list(row) if isinstance(row, Sequence) else [], not isinstance(row, str)
    if not known or len(values) not in (2, 3):
        raise InputError(f"{row!r} is no position: x, y and z in metres", path=path, place=place)
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        raise InputError(f"{row!r}: not a number", path=path, place=place) from None
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"{row!r}: not a finite number", path=path, place=place)
    if polar:
        azimuth, elevation, radius = math.radians(numbers[0]), math.radians(numbers[1]), numbers[2]
        level = radius * math.cos(elevation)
        numbers = [level * math.cos(azimuth), level * math.sin(azimuth), radius * math.sin(elevation)]
    if max(map(abs, numbers)) > LARGEST_M:
        far = max(map(abs, numbers))
        raise InputError(f"lies {far:g} m away: positions are in metres, {LARGEST_M:g} at most", path=path, place=place)
    return (numbers + [0.0])[:3]
