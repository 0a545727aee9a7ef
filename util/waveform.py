"""Samples in memory: those that a program hands over brought to float32 in [-1, 1], stretches of a recording."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from util.errors import InputError

_OVER = 1.001  # beyond full scale; resampling and mixing overshoot by as little


def as_waveform(waveform: Any, channels: int, name: str) -> np.ndarray:
    """Samples as (channels, samples) float32 in [-1, 1].

    Integers are divided by the full scale of their type (unsigned bytes are centred at 128, as in wav files). Floats
    beyond full scale are taken as they are, with a warning; (samples, channels) is turned, with a warning.

    Parameters
    ----------
    waveform : (channels, samples)
    channels : how many there must be
    name : of the array, for messages

    Raises
    ------
    InputError : another number of channels, values that are no real numbers, NaN or infinite
    """
    given = np.asarray(waveform)
    if given.dtype.kind not in "iuf":
        raise InputError(f"the waveform must hold integers or floats, found {given.dtype}")
    if given.ndim != 2 or channels not in given.shape:
        due = f"(channels, samples) with {channels} channels, as {name}"
        raise InputError(f"the waveform must be {due}, found {' x '.join(map(str, given.shape))}")
    if given.shape[0] != channels:
        found = f"{given.shape[0]} x {given.shape[1]}"
        warnings.warn(f"the waveform is (samples, channels), {found}: it is turned; give waveform.T", stacklevel=3)
        given = given.T
    if given.dtype.kind == "u":
        half = 2.0 ** (8 * given.dtype.itemsize - 1)
        return ((given.astype(np.float64) - half) / half).astype(np.float32)
    if given.dtype.kind == "i":
        return (given * 2.0 ** (1 - 8 * given.dtype.itemsize)).astype(np.float32)
    with np.errstate(over="ignore"):
        samples = given.astype(np.float32)
    if not np.isfinite(samples).all():
        raise InputError("the waveform has samples that are NaN or infinite")
    peak = float(np.abs(samples).max(initial=0.0))
    if peak > _OVER:
        rule = "integers in a float array are to be divided by their full scale, 16 bits by 32768"
        warnings.warn(f"the waveform reaches {peak:.4g}, full scale is 1: {rule}", stacklevel=3)
    return samples


def zero_padded(read: Callable[[int, int], np.ndarray], channels: int, total: int, start: int, stop: int) -> np.ndarray:
    """Samples [start, stop) of a recording that has `total` of them, zeros outside of it: (channels, stop - start).

    Parameters
    ----------
    read : (first, last) inside the recording -> (channels, last - first) float32
    """
    first, last = min(max(start, 0), total), min(max(stop, 0), total)
    if (first, last) == (start, stop) and last > first:
        return read(first, last)
    waveform = np.zeros((channels, stop - start), dtype=np.float32)
    if last > first:
        waveform[:, first - start : last - start] = read(first, last)
    return waveform
