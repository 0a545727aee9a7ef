"""Average precision of sound event detection on frames, as Two-Stage (DCASE 2019) reports it beside the scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from util.errors import InputError


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """Average precision, 1 at best.

    Attributes
    ----------
    micro : of all classes and frames together
    macro : mean over all classes, 0 for a class that never occurs (as scikit-learn has it)
    macro_present : mean over the classes that occur; NaN if none does
    classwise : (classes,), NaN for a class that never occurs
    """

    micro: float
    macro: float
    macro_present: float
    classwise: np.ndarray


def average_precision(
    reference: np.ndarray, probability: np.ndarray, *, threshold: np.ndarray | float | None = None
) -> AveragePrecision:
    """Area under the steps of precision over recall: sum of (recall_n - recall_n-1) precision_n over all thresholds.

    Parameters
    ----------
    reference : (frames, classes), active where not 0
    probability : (frames, classes)
    threshold : None: of the probabilities themselves; a number, or (classes,): of 1 above it and 0 elsewhere, which
        knows one working point only and is what the reference prints (a quirk; it uses 0.3)

    Raises
    ------
    InputError : other shapes, probabilities that are NaN
    """
    truth, score = np.asarray(reference) != 0, np.asarray(probability)
    if truth.ndim != 2 or truth.shape != score.shape:
        rule = f"must be two arrays (frames, classes) of one shape, found {truth.shape} and {score.shape}"
        raise InputError(f"reference and probability {rule}")
    if np.isnan(score).any():
        raise InputError("probabilities must be numbers, found NaN")
    if threshold is not None:
        score = score > threshold
    classwise = np.array([_area(*pair) for pair in zip(truth.T, score.T)])
    present = ~np.isnan(classwise)
    micro = _area(truth.reshape(-1), score.reshape(-1))
    return AveragePrecision(
        micro=0.0 if np.isnan(micro) else micro,
        macro=float(np.nan_to_num(classwise).mean()) if len(classwise) else np.nan,
        macro_present=float(classwise[present].mean()) if present.any() else np.nan,
        classwise=classwise,
    )


def _area(truth: np.ndarray, score: np.ndarray) -> float:
    """Average precision of one class; NaN where nothing is true. Frames of one score come in together."""
    if not truth.any():
        return np.nan
    order = np.argsort(score, kind="stable")[::-1]
    truth, score = truth[order], score[order]
    last = np.append(np.flatnonzero(score[1:] != score[:-1]), len(score) - 1)  # of each distinct score
    found = np.cumsum(truth)[last]
    return float(np.sum(np.diff(found, prepend=0) / found[-1] * (found / (last + 1))))
