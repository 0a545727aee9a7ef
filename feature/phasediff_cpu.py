"""Amplitudes and phase differences of spectra on the CPU: everything after the FFT in one pass, compiled by numba.

PyTorch's operators each read and write the whole spectrum, and first have to bring real and imaginary parts apart; one
loop over the bins takes a quarter of their time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

# atan(z) / z in powers of z^2 for z in [0, 1], minimax in the error of atan: 6e-9 rad, below what float32 resolves.
_A0, _A1, _A2 = np.float32(0.99999988), np.float32(-0.33332598), np.float32(0.19985907)
_A3, _A4, _A5 = np.float32(-0.14161229), np.float32(0.10498945), np.float32(-0.07234856)
_A6, _A7, _A8 = np.float32(0.03978121), np.float32(-0.014401349), np.float32(0.0024567225)
_HALF_PI, _PI, _TWO_PI = np.float32(np.pi / 2), np.float32(np.pi), np.float32(2 * np.pi)
_ZERO, _ONE = np.float32(0), np.float32(1)


@njit(nogil=True, cache=True)
def write_maps(spectrum: np.ndarray, base: int, out: np.ndarray, first_item: int, first_frame: int) -> None:
    """Amplitude maps of all channels, then the phases of X_m conj(X_base) in [0, 2 pi] of the others.

    No fused products (numba's default): the phase of silence and of equal channels is exactly 0.

    Parameters
    ----------
    spectrum : (batch, channels, frames, 2 bins) float32, real and imaginary parts in turn
    base : channel that phase differences refer to
    out : (batch, 2 channels - 1, frames, bins) float32, contiguous; written from item `first_item` and frame
        `first_frame` on
    """
    batch, channels, frames, _ = spectrum.shape
    for item in range(batch):
        for frame in range(frames):
            reference = spectrum[item, base, frame]
            place = channels
            for channel in range(channels):
                one = spectrum[item, channel, frame]
                amplitude = out[first_item + item, channel, first_frame + frame]
                if channel == base:
                    for k in range(len(amplitude)):
                        amplitude[k] = np.sqrt(one[2 * k] * one[2 * k] + one[2 * k + 1] * one[2 * k + 1])
                    continue
                phase = out[first_item + item, place, first_frame + frame]
                place += 1
                for k in range(len(amplitude)):
                    real, imaginary = one[2 * k], one[2 * k + 1]
                    real_0, imaginary_0 = reference[2 * k], reference[2 * k + 1]
                    amplitude[k] = np.sqrt(real * real + imaginary * imaginary)
                    p = real * real_0 + imaginary * imaginary_0
                    q = imaginary * real_0 - real * imaginary_0
                    across, along = abs(q), abs(p)
                    longer = max(across, along)
                    z = min(across, along) / (longer if longer > _ZERO else _ONE)
                    s = z * z
                    angle = _A5 + s * (_A6 + s * (_A7 + s * _A8))
                    angle = z * (_A0 + s * (_A1 + s * (_A2 + s * (_A3 + s * (_A4 + s * angle)))))
                    angle = _HALF_PI - angle if across > along else angle
                    angle = _PI - angle if p < _ZERO else angle
                    phase[k] = _TWO_PI - angle if q < _ZERO else angle
