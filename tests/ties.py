"""Optimal assignments that reach one total: which of them a program takes depends on the last bits of its processor."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
from scipy.optimize import linear_sum_assignment

TIE = 1e-9  # totals in degrees that are nearer than this are one total
Assignment = tuple[np.ndarray, np.ndarray]


def optima(cost: np.ndarray) -> list[Assignment]:
    """All assignments (rows ascending, columns) of a matrix (R, P) that reach the least total."""
    rows, columns = cost.shape
    pairs = min(rows, columns)
    if rows <= columns:
        tried = [(np.arange(rows), np.array(choice)) for choice in permutations(range(columns), pairs)]
    else:
        tried = [(np.sort(choice), np.argsort(choice)) for choice in map(np.array, permutations(range(rows), pairs))]
    totals = np.array([cost[row, column].sum() for row, column in tried])
    return [tried[index] for index in np.flatnonzero(totals <= totals.min() + TIE)]


def scipy_choice(cost: np.ndarray) -> Assignment:
    """What SciPy takes, for matrices (n, R, P)."""
    return _stacked([linear_sum_assignment(one) for one in cost], cost)


def choices(count: int = 12) -> list[Callable[[np.ndarray], Assignment]]:
    """Ways to choose among optima, each in the place of `assign`: extreme ones and `count` random ones."""

    def first(found: list[Assignment], one: np.ndarray) -> Assignment:
        return found[0]

    def last(found: list[Assignment], one: np.ndarray) -> Assignment:
        return found[-1]

    def ranked(sign: int) -> Callable[[list[Assignment], np.ndarray], Assignment]:
        """The first rows get their nearest, or their farthest."""
        return lambda found, one: min(found, key=lambda pair: [*pair[0].tolist(), *(sign * one[pair]).tolist()])

    def drawn(seed: int) -> Callable[[list[Assignment], np.ndarray], Assignment]:
        rng = np.random.default_rng(seed)
        return lambda found, one: found[rng.integers(len(found))]

    def whole(choose: Callable[[list[Assignment], np.ndarray], Assignment]) -> Callable[[np.ndarray], Assignment]:
        return lambda cost: _stacked([choose(optima(one), one) for one in cost], cost)

    return [whole(choose) for choose in (first, last, ranked(1), ranked(-1), *map(drawn, range(count)))]


def _stacked(chosen: list[Assignment], cost: np.ndarray) -> Assignment:
    if not chosen:
        nothing = np.zeros((0, min(cost.shape[1:])), dtype=np.int64)
        return nothing, nothing
    return np.stack([row for row, _ in chosen]), np.stack([column for _, column in chosen])
