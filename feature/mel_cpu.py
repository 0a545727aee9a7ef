"""Powers and intensities of spectra on the CPU, compiled by numba: one pass over each spectrum.

PyTorch's operators would first copy real and imaginary parts apart, then read and write every plane several times.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def write_power(spectrum: np.ndarray, out: np.ndarray) -> None:
    """Power of every bin.

    Parameters
    ----------
    spectrum : (batch, channels, frames, bins, 2) float32, real and imaginary parts
    out : (batch, channels, frames, bins) float32, written
    """
    batch, channels, frames, bins = out.shape
    for item in range(batch):
        for channel in range(channels):
            for frame in range(frames):
                one, power = spectrum[item, channel, frame], out[item, channel, frame]
                for k in range(bins):
                    power[k] = one[k, 0] * one[k, 0] + one[k, 1] * one[k, 1]


@njit(nogil=True, cache=True)
def write_power_intensity(
    spectrum: np.ndarray,
    axes: tuple[int, int, int],
    eps: np.float32,
    energy: bool,
    of_w: np.float32,
    of_axes: np.float32,
    out: np.ndarray,
) -> None:
    """Power of the four channels of Ambisonics and normalised intensity of three axes.

    Parameters
    ----------
    spectrum : (batch, 4, frames, bins, 2) float32, real and imaginary parts
    axes : channels of the intensities Re(conj(W) X)
    eps : added to what they are divided by
    energy : they are divided by the energy |W|^2 of_w + (|X|^2 + |Y|^2 + |Z|^2) of_axes, else by their own norm
    out : (batch, 7, frames, bins) float32, written
    """
    batch, _, frames, bins = out.shape
    one = np.float32(1)
    for item in range(batch):
        for frame in range(frames):
            p, q, r, s = out[item, 0, frame], out[item, 1, frame], out[item, 2, frame], out[item, 3, frame]
            a, b, c = out[item, 4, frame], out[item, 5, frame], out[item, 6, frame]
            for channel in range(4):
                heard, power = spectrum[item, channel, frame], out[item, channel, frame]
                for k in range(bins):
                    power[k] = heard[k, 0] * heard[k, 0] + heard[k, 1] * heard[k, 1]
            w = spectrum[item, 0, frame]
            for place in range(3):
                heard, made = spectrum[item, axes[place], frame], out[item, 4 + place, frame]
                for k in range(bins):
                    made[k] = w[k, 0] * heard[k, 0] + w[k, 1] * heard[k, 1]
            if energy:
                for k in range(bins):
                    inverse = one / (eps + p[k] * of_w + (q[k] + r[k] + s[k]) * of_axes)
                    a[k] *= inverse
                    b[k] *= inverse
                    c[k] *= inverse
            else:
                for k in range(bins):
                    inverse = one / (np.sqrt(a[k] * a[k] + b[k] * b[k] + c[k] * c[k]) + eps)
                    a[k] *= inverse
                    b[k] *= inverse
                    c[k] *= inverse


@njit(nogil=True, cache=True)
def write_direction(spectrum: np.ndarray, out: np.ndarray) -> None:
    """Power of W, intensities of x, y, z, and half of the power of all four channels of Ambisonics.

    Parameters
    ----------
    spectrum : (batch, 4, frames, bins, 2) float32 of W, Y, Z, X, real and imaginary parts
    out : (batch, 5, frames, bins) float32, written
    """
    batch, _, frames, bins = out.shape
    half = np.float32(0.5)
    for item in range(batch):
        for frame in range(frames):
            w, y, z, x = (
                spectrum[item, 0, frame], spectrum[item, 1, frame], spectrum[item, 2, frame], spectrum[item, 3, frame]
            )  # fmt: skip
            power, energy = out[item, 0, frame], out[item, 4, frame]
            a, b, c = out[item, 1, frame], out[item, 2, frame], out[item, 3, frame]
            for k in range(bins):
                w0, w1, y0, y1 = w[k, 0], w[k, 1], y[k, 0], y[k, 1]
                z0, z1, x0, x1 = z[k, 0], z[k, 1], x[k, 0], x[k, 1]
                omni = w0 * w0 + w1 * w1
                power[k] = omni
                a[k] = w0 * x0 + w1 * x1
                b[k] = w0 * y0 + w1 * y1
                c[k] = w0 * z0 + w1 * z1
                energy[k] = half * (omni + (y0 * y0 + y1 * y1) + (z0 * z0 + z1 * z1) + (x0 * x0 + x1 * x1))


@njit(nogil=True, cache=True)
def write_pair(spectrum: np.ndarray, out: np.ndarray) -> None:
    """Powers of two channels, real and imaginary part of L conj(R).

    Parameters
    ----------
    spectrum : (batch, 2, frames, bins, 2) float32, real and imaginary parts
    out : (batch, 4, frames, bins) float32, written
    """
    batch, _, frames, bins = out.shape
    for item in range(batch):
        for frame in range(frames):
            left, right = spectrum[item, 0, frame], spectrum[item, 1, frame]
            a, b, c, d = out[item, 0, frame], out[item, 1, frame], out[item, 2, frame], out[item, 3, frame]
            for k in range(bins):
                p, q, r, s = left[k, 0], left[k, 1], right[k, 0], right[k, 1]
                a[k] = p * p + q * q
                b[k] = r * r + s * s
                c[k] = p * r + q * s
                d[k] = q * r - p * s


@njit(nogil=True, cache=True)
def write_encoded(spectrum: np.ndarray, encoder: np.ndarray, out: np.ndarray) -> None:
    """Spectra of channels through an encoder of each bin.

    Parameters
    ----------
    spectrum : (batch, channels, frames, bins, 2) float32, real and imaginary parts
    encoder : (bins, made, 2 channels) float32, real parts of the factors of all channels, then imaginary parts
    out : (batch, made, frames, bins, 2) float32, written
    """
    batch, channels, frames, bins, _ = spectrum.shape
    for item in range(batch):
        for made in range(out.shape[1]):
            for frame in range(frames):
                sums = out[item, made, frame]
                sums[:] = 0
                for channel in range(channels):
                    heard = spectrum[item, channel, frame]
                    for k in range(bins):
                        p, q = encoder[k, made, channel], encoder[k, made, channels + channel]
                        sums[k, 0] += p * heard[k, 0] - q * heard[k, 1]
                        sums[k, 1] += q * heard[k, 0] + p * heard[k, 1]


@njit(nogil=True, cache=True)
def write_power_products(
    spectrum: np.ndarray, first: int, power: np.ndarray, real: np.ndarray, imaginary: np.ndarray
) -> None:
    """Powers of the bins from `first` on, and X_m conj(X_0) of the lowest of them.

    Parameters
    ----------
    spectrum : (batch, channels, frames, bins, 2) float32, real and imaginary parts
    power : (batch, channels, frames, kept bins) float32, written
    real, imaginary : (batch, channels - 1, frames, lowest bins) float32, written
    """
    batch, channels, frames, bins = power.shape
    lowest = real.shape[-1]
    for item in range(batch):
        for frame in range(frames):
            base = spectrum[item, 0, frame, first:]
            for channel in range(channels):
                one, made = spectrum[item, channel, frame, first:], power[item, channel, frame]
                for k in range(bins):
                    made[k] = one[k, 0] * one[k, 0] + one[k, 1] * one[k, 1]
                if channel:
                    p, q = real[item, channel - 1, frame], imaginary[item, channel - 1, frame]
                    for k in range(lowest):
                        p[k] = one[k, 0] * base[k, 0] + one[k, 1] * base[k, 1]
                        q[k] = one[k, 1] * base[k, 0] - one[k, 0] * base[k, 1]
