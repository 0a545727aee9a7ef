"""Jackknife confidence intervals from scores with one recording left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, eq=False)
class Interval:
    """A score, its leave-one-out values and what follows from them; arrays of one shape (...), scalars included.

    Attributes
    ----------
    value : on all n recordings
    leave_one_out : (n, ...) without recording i
    bias, estimate, standard_error : (n - 1) (mean - value), value - bias, sqrt((n - 1) variance)
    low, high : the interval, not clipped; NaN for a single recording
    """

    value: np.ndarray
    leave_one_out: np.ndarray
    bias: np.ndarray
    estimate: np.ndarray
    standard_error: np.ndarray
    low: np.ndarray
    high: np.ndarray


def jackknife(value: ArrayLike, leave_one_out: ArrayLike, significance: float = 0.05) -> Interval:
    """Interval of Student's t around the bias-corrected score.

    Parameters
    ----------
    value : (...) on all n recordings
    leave_one_out : (n, ...) without recording i
    significance : probability that the interval misses

    Examples
    --------
    >>> scores = np.array([0.5, 0.7, 0.6])  # of three recordings; the mean of all, and of all but one
    >>> interval = jackknife(scores.mean(), (scores.sum() - scores) / 2)
    >>> round(float(interval.estimate), 6), round(float(interval.standard_error), 6)
    (0.6, 0.057735)
    """
    whole, left_out = np.asarray(value, dtype=np.float64), np.asarray(leave_one_out, dtype=np.float64)
    n = len(left_out)
    if n > 1:
        from scipy.special import stdtrit  # takes longer to import than most folders to score

        quantile = stdtrit(n - 1, 1 - significance / 2)
    else:
        quantile = np.nan
    mean = left_out.mean(axis=0)
    bias = (n - 1) * (mean - whole)
    estimate = whole - bias
    standard_error = np.sqrt((n - 1) * np.mean((left_out - mean) ** 2, axis=0))
    reach = standard_error * quantile
    return Interval(whole, left_out, bias, estimate, standard_error, estimate - reach, estimate + reach)


def leave_one_out_sums(component: np.ndarray) -> np.ndarray:
    """Sums over all recordings but one: (n, ...) -> (n, ...).

    Forward plus backward sums, not the total minus one: next to a huge term (a relative error at true distance 0) the
    others would cancel.
    """
    before = np.zeros_like(component)
    after = np.zeros_like(component)
    before[1:] = np.cumsum(component[:-1], axis=0)
    after[:-1] = np.cumsum(component[:0:-1], axis=0)[::-1]
    return before + after
