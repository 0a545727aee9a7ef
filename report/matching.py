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
    first = direction_from_degrees(reference.azimuth_deg, reference.elevation_deg).reshape(-1, 3)
    second = direction_from_degrees(estimated.azimuth_deg, estimated.elevation_deg).reshape(-1, 3)

    def assign(rows: np.ndarray, columns: np.ndarray, angle: np.ndarray) -> None:
        to_estimated[rows], to_reference[columns], angle_deg[columns] = columns, rows, angle

    (row_order, row_start, row_count), (column_order, column_start, column_count) = _common_groups(reference, estimated)
    alone = (row_count == 1) & (column_count == 1)  # nearly all: no choice there
    rows, columns = row_order[row_start[alone]], column_order[column_start[alone]]
    assign(rows, columns, angle_between_deg(first[rows], second[columns]))
    for group in np.flatnonzero(~alone):
        rows = row_order[row_start[group] : row_start[group] + row_count[group]]
        columns = column_order[column_start[group] : column_start[group] + column_count[group]]
        cost = angle_between_deg(first[rows][:, None], second[columns][None])
        row, column = linear_sum_assignment(cost)
        assign(rows[row], columns[column], cost[row, column])
    return Match(to_estimated, to_reference, angle_deg, within_deg)


_Groups = tuple[np.ndarray, np.ndarray, np.ndarray]  # row numbers by group, first place of each group, its size


def _common_groups(first: EventTable, second: EventTable) -> tuple[_Groups, _Groups]:
    """The rows of both tables grouped by (frame, class), those groups that both have, in one order."""
    tables = first, second
    classes = 2 + max(int(table.class_index.max(initial=0)) for table in tables)
    found = []
    for table in tables:
        key = table.frame * classes + table.class_index + 1  # class -1 means 'any'
        order = np.argsort(key, kind="stable")
        found.append((order, *np.unique(key[order], return_index=True, return_counts=True)))
    _, mine, yours = np.intersect1d(found[0][1], found[1][1], assume_unique=True, return_indices=True)
    groups = [(order, start[at], count[at]) for (order, _, start, count), at in zip(found, (mine, yours))]
    return groups[0], groups[1]
