"""Association: which predicted row belongs to which reference row of the same recording, frame and class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dcase2022_task3_seld_metrics.assignment import assign
from dcase2022_task3_seld_metrics.batch import Batch, Cells, common
from dcase2022_task3_seld_metrics.distances import Distance


@dataclass(frozen=True, eq=False)
class Pairs:
    """Assigned pairs, in the order of the sorted reference rows (cell by cell, row by row).

    Attributes
    ----------
    cell : (k,) index of the reference cell
    position : (k,) position of the reference row among the rows of its cell: 0, 1, 2 ...
    reference, estimated : (k,) row indices
    angle_deg : (k,) angular distance
    """

    cell: np.ndarray
    position: np.ndarray
    reference: np.ndarray
    estimated: np.ndarray
    angle_deg: np.ndarray


def pair(
    reference: Batch, estimated: Batch, reference_cells: Cells, estimated_cells: Cells, distance: Distance
) -> Pairs:
    """Assign rows by least total angular distance in every cell that both sides have; min(R, P) pairs in each."""
    in_reference, in_estimated = common(reference_cells.key, estimated_cells.key)
    first, second = distance.prepare(reference.coordinates), distance.prepare(estimated.coordinates)
    partner = np.full(len(reference), -1, dtype=np.int64)  # by place in the sorted order of the references
    angle_deg = np.full(len(reference), np.nan)
    rows, columns = reference_cells.count[in_reference], estimated_cells.count[in_estimated]
    most = int(columns.max(initial=0)) + 1
    size = rows * most + columns
    countable = size.max(initial=0) < 1_000_000  # counting is faster than hashing
    sizes = np.flatnonzero(np.bincount(size)) if countable else np.unique(size)
    for code in sizes.tolist():
        shape = divmod(code, most)
        chosen = np.flatnonzero(size == code)
        place = reference_cells.start[in_reference[chosen], None] + np.arange(shape[0])
        other_place = estimated_cells.start[in_estimated[chosen], None] + np.arange(shape[1])
        row, other_row = reference_cells.order[place], estimated_cells.order[other_place]
        if shape[0] == shape[1] == 1:
            partner[place], angle_deg[place] = other_row, distance.between(first[row], second[other_row])
            continue
        cost = distance.between(first[row][:, :, None], second[other_row][:, None, :])
        assigned, assigned_other = assign(cost)
        n = np.arange(len(chosen))[:, None]
        partner[place[n, assigned]] = other_row[n, assigned_other]
        angle_deg[place[n, assigned]] = cost[n, assigned, assigned_other]
    paired = np.flatnonzero(partner >= 0)
    cell = np.repeat(np.arange(len(reference_cells.key)), reference_cells.count)[paired]
    return Pairs(
        cell, paired - reference_cells.start[cell], reference_cells.order[paired], partner[paired], angle_deg[paired]
    )
