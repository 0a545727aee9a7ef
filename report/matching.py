"""Which prediction belongs to which reference: optimal assignment per frame and class, for everything that is drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from util.angles import angle_between_deg, direction_from_degrees
from util.events import EventTable

CORRECT_WITHIN_DEG = 20.0


@dataclass(frozen=True, eq=False)
class Match:
    """The assignment of one clip.

    Attributes
    ----------
    reference : (n,) row of the prediction assigned to each reference row, -1: missed
    estimated : (m,) row of the reference assigned to each prediction row, -1: false
    angle_deg : (m,) angle between each prediction and its reference, NaN without one
    within_deg : up to this angle (inclusive) a pair is correct, beyond it misplaced
    """

    reference: np.ndarray
    estimated: np.ndarray
    angle_deg: np.ndarray
    within_deg: float

    def estimated_status(self) -> np.ndarray:
        """(m,) "correct", "misplaced" or "false" per prediction row."""
        near = np.nan_to_num(self.angle_deg, nan=np.inf) <= self.within_deg
        return np.where(self.estimated < 0, "false", np.where(near, "correct", "misplaced"))

    def reference_status(self) -> np.ndarray:
        """(n,) "correct", "misplaced" or "missed" per reference row."""
        status = np.full(len(self.reference), "missed", dtype="<U9")
        found = self.reference >= 0
        status[found] = self.estimated_status()[self.reference[found]]
        return status


def match(reference: EventTable, estimated: EventTable, *, within_deg: float = CORRECT_WITHIN_DEG) -> Match:
    """Assign predictions to references of the same frame and class so that the sum of angles is smallest."""
    to_estimated = np.full(len(reference), -1)
    to_reference = np.full(len(estimated), -1)
    angle_deg = np.full(len(estimated), np.nan)
    first = direction_from_degrees(reference.azimuth_deg, reference.elevation_deg)
    second = direction_from_degrees(estimated.azimuth_deg, estimated.elevation_deg)
    groups = _groups(estimated)
    for key, rows in _groups(reference).items():
        columns = groups.get(key)
        if columns is None:
            continue
        cost = angle_between_deg(first[rows][:, None], second[columns][None])
        for row, column in zip(*linear_sum_assignment(cost)) if cost.size > 1 else ((0, 0),):
            to_estimated[rows[row]], to_reference[columns[column]] = columns[column], rows[row]
            angle_deg[columns[column]] = cost[row, column]
    return Match(to_estimated, to_reference, angle_deg, within_deg)


def _groups(table: EventTable) -> dict[tuple[int, int], np.ndarray]:
    """(frame, class) -> row numbers in the order of the table."""
    if not len(table):
        return {}
    order = np.lexsort((table.class_index, table.frame))
    keys = np.stack([table.frame[order], table.class_index[order]], axis=1)
    starts = np.flatnonzero(np.any(np.diff(keys, axis=0, prepend=keys[:1] - 1), axis=1))
    parts = np.split(order, starts[1:])
    return {(int(frame), int(index)): rows for (frame, index), rows in zip(keys[starts], parts)}
