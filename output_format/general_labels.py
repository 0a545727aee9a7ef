"""Labels of the general network (DCASE 2020): frames of features, classes of direction, resampling.

Reference: Nguyen et al., ICASSP 2021, arXiv 2011.07859, and its public repository.
"""

from __future__ import annotations

import numpy as np

from util.angles import direction_from_degrees
from util.events import EventTable

LABEL_FRAME_S = 0.1
FRAMES_PER_LABEL = 8  # feature frames of 12.5 ms in a label frame
STEP_DEG, LOWEST_DEG = 5, -45  # of the classes of direction; the lowest elevation
AZIMUTHS, ELEVATIONS = 72, 19


def azimuth_class(azimuth_deg: np.ndarray) -> np.ndarray:
    """Class 0 .. 71 of azimuths: the nearest multiple of 5 degrees, from -180 on."""
    return np.floor((np.asarray(azimuth_deg) + 180) / STEP_DEG + 0.5).astype(np.int64) % AZIMUTHS


def elevation_class(elevation_deg: np.ndarray) -> np.ndarray:
    """Class 0 .. 18 of elevations: the nearest multiple of 5 degrees, from -45 on; of steeper ones another number."""
    return np.floor((np.asarray(elevation_deg) - LOWEST_DEG) / STEP_DEG + 0.5).astype(np.int64)


def azimuths_deg() -> np.ndarray:
    """Azimuth of each class (72,)."""
    return np.arange(AZIMUTHS) * float(STEP_DEG) - 180


def elevations_deg() -> np.ndarray:
    """Elevation of each class (19,)."""
    return np.arange(ELEVATIONS) * float(STEP_DEG) + LOWEST_DEG


def in_track_order(events: EventTable) -> EventTable:
    """Events in the order in which later ones overwrite earlier ones: by track, those of a track as they come."""
    return events[np.argsort(events.source, kind="stable")]


def feature_labels(
    events: EventTable, classes: int, frames: int, *, per_label: int = FRAMES_PER_LABEL
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What every class does in every frame of a feature.

    Label frame k covers the feature frames max(0, 8 k - 4) to 8 (k + 1) - 5, as centred frames do; frame 0 the first
    eight, of which frame 1 covers the last four too (a quirk of the reference, kept). Events are taken by track; later
    ones of a class overwrite earlier ones.

    Returns
    -------
    active (frames, classes) bool; azimuth, elevation in degrees, 0 where inactive
    """
    events = in_track_order(events)
    start = np.maximum(per_label * events.frame - per_label // 2, 0)
    row = np.repeat(np.arange(len(events)), per_label)
    place = (start[:, None] + np.arange(per_label)).reshape(-1)
    keep = place < frames
    row, place = row[keep], place[keep]
    _, last = np.unique((place * classes + events.class_index[row])[::-1], return_index=True)
    row, place = row[len(row) - 1 - last], place[len(row) - 1 - last]  # of several writers of a place the last one
    index = events.class_index[row]
    active, angles = np.zeros((frames, classes), dtype=bool), np.zeros((2, frames, classes))
    active[place, index] = True
    angles[0, place, index], angles[1, place, index] = events.azimuth_deg[row], events.elevation_deg[row]
    return active, angles[0], angles[1]


def xyz_target(azimuth_deg: np.ndarray, elevation_deg: np.ndarray) -> np.ndarray:
    """Angles (frames, classes) -> [x | y | z] (frames, 3 classes); angles of 0, of inactive classes, give (1, 0, 0)."""
    vectors = direction_from_degrees(azimuth_deg, elevation_deg)
    return np.concatenate([vectors[..., axis] for axis in range(3)], axis=-1)


def resampled(labels: np.ndarray, ratio: float) -> np.ndarray:
    """Labels (frames, n) at `ratio` times as many frames (halves to even): frame k is frame floor(k / ratio)."""
    count = round(len(labels) * ratio)
    place = np.floor(np.arange(count) / ratio + 1e-9).astype(np.int64)
    return labels[np.minimum(place, len(labels) - 1)]
