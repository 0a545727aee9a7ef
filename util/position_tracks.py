"""Position tracks of sources -> events."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from util.errors import InputError
from util.events import EventTable

_DIGITS = str.maketrans("", "", "12345")


def read_track(path: str | os.PathLike[str]) -> np.ndarray:
    """Read a position track: npy array (n, 3 or 4) of x, y, z in metres (and time in seconds) -> (n, 3) float64.

    Raises
    ------
    InputError : no such file, no npy file (pickled objects are refused), another shape, positions that are NaN
    """
    try:
        track = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError("no such file", path=path) from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"is no npy file of numbers ({error})", path=path) from None
    if (
        not isinstance(track, np.ndarray)
        or track.ndim != 2
        or track.shape[1] not in (3, 4)
        or track.dtype.kind not in "fiu"
    ):
        found = f"{getattr(track, 'shape', 'an archive')} {getattr(track, 'dtype', '')}"
        raise InputError(f"must be an array (n, 4) of x, y, z in metres and time, found {found}", path=path)
    position_m = track[:, :3].astype(np.float64)
    finite = np.isfinite(position_m).all(axis=1)
    if not finite.all():
        raise InputError("has positions that are NaN", path=path, place=f"row {int(np.argmin(finite))}")
    return position_m


def track_events(
    position_m: np.ndarray, class_index: int, *, source: int = 1, first_frame: int = 0, rows_per_frame: int = 2
) -> EventTable:
    """Position track at 20 Hz -> one event row per 100 ms frame, angles in whole degrees and distance in whole cm.

    Consecutive rows are averaged in pairs (an odd last row stands alone), which is safe across azimuth +-180; angles
    and distance are truncated toward zero, as the MRSAudio fork does (quirk, kept so that labels agree). The fork
    counts frames from 1, 100 ms late: `first_frame=1` gives that.

    Parameters
    ----------
    position_m : (n, 3) positions x front, y left, z up in metres
    """
    position_m = np.asarray(position_m, dtype=np.float64)[:, :3]
    starts = np.arange(0, len(position_m), rows_per_frame)
    if len(starts) == 0:
        return EventTable.make()
    counts = np.diff(np.append(starts, len(position_m)))[:, None]
    x, y, z = (np.add.reduceat(position_m, starts, axis=0) / counts).T
    count = len(starts)
    return EventTable.make(
        frame=first_frame + np.arange(count),
        class_index=np.full(count, class_index),
        source=np.full(count, source),
        azimuth_deg=np.trunc(np.arctan2(y, x) * 180 / np.pi),
        elevation_deg=np.trunc(np.arctan2(z, np.hypot(x, y)) * 180 / np.pi),
        distance_m=np.trunc(np.sqrt(x**2 + y**2 + z**2) * 100) / 100,
    )


def class_name_of_item(item_name: str) -> str:
    """Class name inside the name of an MRSAudio item: its middle fields joined by "_", digits 1 to 5 deleted.

    "sound003_toy_car2_01_02_03" -> "toy_car": all fields but the first and the last three.
    """
    return "_".join(item_name.split("_")[1:-3]).translate(_DIGITS)


def class_of_item(item_name: str, class_index: Mapping[str, int]) -> int:
    """Class index of an item by its name.

    Raises
    ------
    InputError : the name holds no known class
    """
    name = class_name_of_item(item_name)
    if name not in class_index:
        raise InputError(f"item '{item_name}' is of the unknown class '{name}'")
    return class_index[name]
