"""Random numbers that are pure functions of (seed, stream, number): every process and resumed run draws the same."""

from __future__ import annotations

from typing import Any

import numpy as np

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def uniform(seed: int, stream: int, number: np.ndarray | int) -> np.ndarray:
    """Uniform numbers in [0, 1), float64, one for each of `number` (n,).

    Counter-based: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) applied to seed, stream and number
    in turn. A window draws its recording, its start and its augmentations from streams of their own, so that one more
    augmentation does not move the windows.
    """
    with np.errstate(over="ignore"):  # wrapping is what the method wants
        key = _mix(np.uint64(seed % 2**64) + _STEP)
        key = _mix(key + np.uint64(stream % 2**64 + 1) * _STEP)
        bits = _mix(key + (np.atleast_1d(np.asarray(number, dtype=np.int64)).astype(np.uint64) + np.uint64(1)) * _STEP)
    return np.asarray((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def integers(seed: int, stream: int, number: np.ndarray | int, count: np.ndarray | int) -> np.ndarray:
    """Integers in 0 .. count - 1, int64, one for each of `number`; count may differ from one to the next."""
    count = np.asarray(count, dtype=np.int64)
    drawn = np.floor(uniform(seed, stream, number) * count).astype(np.int64)
    return np.minimum(drawn, count - 1)  # the product may round up to count


def _mix(value: Any) -> Any:
    """Of one number or of an array of them, uint64."""
    value = (value ^ (value >> np.uint64(30))) * _FIRST
    value = (value ^ (value >> np.uint64(27))) * _SECOND
    return value ^ (value >> np.uint64(31))
