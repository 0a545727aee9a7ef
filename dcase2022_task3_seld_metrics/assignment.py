"""Minimum-cost assignment of many small problems at once, with the choices of SciPy where several are optimal."""

from __future__ import annotations

from functools import cache
from itertools import permutations
from math import perm

import numpy as np

_MOST_CHOICES = 120  # all injections up to 5 x 5 are tried at once; beyond that SciPy is faster
_MOST_TOTALS = 4_000_000
_CLEAR_GAP = 1e-9  # an optimum that beats the second best by more than this needs no tie rule


@cache
def _injections(rows: int, columns: int) -> np.ndarray:
    """All ways to give `rows` <= `columns` rows different columns (choices, rows)."""
    return np.array(list(permutations(range(columns), rows)), dtype=np.int64)


def assign(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solve n assignment problems of one size.

    Parameters
    ----------
    cost : (n, R, P) float64, finite

    Returns
    -------
    Row and column of each of the K = min(R, P) pairs, both (n, K) int64, rows ascending: what
    `scipy.optimize.linear_sum_assignment` returns for each problem, ties included.

    Examples
    --------
    >>> rows, columns = assign(np.array([[[10.0, 2.0, 30.0], [5.0, 1.0, 40.0]]]))
    >>> rows.tolist(), columns.tolist()  # 2 + 5 is less than 10 + 1
    ([[0, 1]], [[1, 0]])
    """
    count, rows, columns = cost.shape
    if rows == 0 or columns == 0:
        nothing = np.zeros((count, 0), dtype=np.int64)
        return nothing, nothing
    if rows == 1:
        column = np.argmin(cost[:, 0], axis=1)[:, None]
        return np.zeros_like(column), column
    if columns == 1:
        row = np.argmin(cost[:, :, 0], axis=1)[:, None]
        return row, np.zeros_like(row)
    if rows == columns == 2:
        return _assign_2x2(cost)
    pairs = min(rows, columns)
    if perm(max(rows, columns), pairs) > _MOST_CHOICES:
        return _assign_scipy(cost)
    if count * perm(max(rows, columns), pairs) > _MOST_TOTALS:  # bound the memory of the table of totals
        halves = [assign(half) for half in np.array_split(cost, 2)]
        return np.concatenate([half[0] for half in halves]), np.concatenate([half[1] for half in halves])
    wide = cost if rows <= columns else np.swapaxes(cost, 1, 2)
    choices = _injections(pairs, max(rows, columns))
    totals = sum(wide[:, row, choices[:, row]] for row in range(pairs))
    best = np.argmin(totals, axis=1)
    lowest_two = np.partition(totals, 1, axis=1)
    short, long = np.broadcast_to(np.arange(pairs), (count, pairs)), choices[best]
    if rows <= columns:
        row, column = short.copy(), long.copy()
    else:
        order = np.argsort(long, axis=1)
        row, column = np.take_along_axis(long, order, axis=1), np.take_along_axis(short, order, axis=1)
    unclear = np.flatnonzero(~(lowest_two[:, 1] - lowest_two[:, 0] > _CLEAR_GAP))
    if len(unclear):
        row[unclear], column[unclear] = _assign_scipy(cost[unclear])
    return row, column


def _assign_2x2(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SciPy's choice in closed form: row 0 takes its first minimum unless giving way to row 1 is cheaper."""
    first = np.argmin(cost[:, 0], axis=1)
    other, n = 1 - first, np.arange(len(cost))
    give_way = (cost[n, 1, first] < cost[n, 1, other]) & (
        (cost[n, 1, first] + cost[n, 0, other]) - cost[n, 0, first] < cost[n, 1, other]
    )
    column = np.where(give_way, other, first)
    return np.broadcast_to(np.arange(2), (len(cost), 2)), np.stack([column, 1 - column], axis=1)


def _assign_scipy(cost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy.optimize import linear_sum_assignment  # takes longer to import than most folders to score

    solved = [linear_sum_assignment(one) for one in cost]
    return np.stack([rows for rows, _ in solved]), np.stack([columns for _, columns in solved])
