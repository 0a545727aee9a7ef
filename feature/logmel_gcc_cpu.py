"""Phase products of channel pairs on the CPU: all that lies between the two transforms, compiled by numba.

PyTorch's operators each read and write all spectra; one loop over the bins takes a third of their time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_ZERO, _ONE = np.float32(0), np.float32(1)


@njit(nogil=True, cache=True)
def write_phase_products(spectrum: np.ndarray, out: np.ndarray) -> None:
    """X_m conj(X_n) / |X_m X_n| of all pairs n < m, in the order (0, 1), (0, 2), ..., 1 where either is zero.

    Parameters
    ----------
    spectrum : (batch, channels, frames, 2 bins), real and imaginary parts in turn; its sizes become 1
    out : (batch, pairs, frames, 2 bins) float32, written
    """
    batch, channels, frames, values = spectrum.shape
    for item in range(batch):
        for frame in range(frames):
            for channel in range(channels):
                one = spectrum[item, channel, frame]
                for k in range(values // 2):
                    power = one[2 * k] * one[2 * k] + one[2 * k + 1] * one[2 * k + 1]
                    inverse = _ONE / np.sqrt(power) if power > _ZERO else _ZERO
                    one[2 * k] *= inverse
                    one[2 * k + 1] *= inverse
            place = 0
            for first in range(channels):
                one = spectrum[item, first, frame]
                for second in range(first + 1, channels):
                    other, product = spectrum[item, second, frame], out[item, place, frame]
                    place += 1
                    for k in range(values // 2):
                        real = other[2 * k] * one[2 * k] + other[2 * k + 1] * one[2 * k + 1]
                        imaginary = other[2 * k + 1] * one[2 * k] - other[2 * k] * one[2 * k + 1]
                        product[2 * k] = _ONE if real == _ZERO and imaginary == _ZERO else real
                        product[2 * k + 1] = imaginary
