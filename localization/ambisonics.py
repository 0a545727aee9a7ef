"""Where each band of first-order Ambisonics points to, every 10 ms.

The covariance of W, Y, Z, X over 15 neighbouring bins and three frames: neighbouring bins hear a reflection with other
phases, so that it does not add up to a direction between it and the source, as it does in one bin over time; the
principal eigenvector is the direction, and how far the first eigenvalue stands above the second its weight. Bins up to
9 kHz count alike (rooms swallow high frequencies, so sources stand out there), whatever energy they have.

After Nadiri and Rafaely 2014, Localization of multiple speakers under high reverberation using a spherical microphone
array and the direct-path dominance test; with weights in place of the test.
"""

from __future__ import annotations

import numpy as np

from localization.loudness import LoudBands

RATE_HZ = 24000
N_FFT, HOP = 512, 240
_BINS, _BIN_STEP = 15, 5
_BAND_HZ = (500.0, 9000.0)
_DIRECT_POWER, _RATIO_POWER = 3, 2  # of the weights: tried out in rooms of 0 to 0.6 s, 10 to 30 dB
# of a covariance: nothing but rounding below, 140 dB under a full scale sine in every bin
_LEAST_POWER = 1e-14 * _BINS * 3 * (N_FFT / 4) ** 2
_ORDER = [3, 1, 2]  # X, Y, Z
_METRIC = np.array([1.0, -1.0, -1.0, -1.0])
_TOGETHER_POWER = 4


def band_covariances(spectrum: np.ndarray) -> np.ndarray:
    """Spectra (4, ..., frames + 2, bins) -> real covariances (..., frames, bands, 4, 4), float32.

    A covariance of frame t takes in the spectra t, t + 1 and t + 2.
    """
    *rest, frames, bins = spectrum.shape[1:]
    starts = np.arange(0, bins - _BINS + 1, _BIN_STEP)
    out = np.empty((*rest, frames - 2, len(starts), 4, 4), dtype=np.float32)
    for i in range(4):
        for j in range(i + 1):
            products = spectrum[i].real * spectrum[j].real + spectrum[i].imag * spectrum[j].imag
            total = np.zeros((*products.shape[:-1], bins + 1))
            np.cumsum(products, axis=-1, out=total[..., 1:])
            bands = total[..., starts + _BINS] - total[..., starts]
            out[..., i, j] = out[..., j, i] = bands[..., :-2, :] + bands[..., 1:-1, :] + bands[..., 2:, :]
    return out


def spectra(waveform: np.ndarray) -> np.ndarray:
    """Waveform (4, ..., samples) -> spectra (4, ..., frames, bins) of the bins that are looked at, complex64."""
    framed = np.lib.stride_tricks.sliding_window_view(waveform, N_FFT, axis=-1)[..., ::HOP, :]
    window = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
    frequency_hz = np.fft.rfftfreq(N_FFT, 1 / RATE_HZ)
    band = slice(*np.searchsorted(frequency_hz, _BAND_HZ))
    return np.fft.rfft(framed * window, axis=-1)[..., band].astype(np.complex64)


class AmbisonicBands:
    """Directions and weights of the bands of W, Y, Z, X (SN3D).

    Attributes
    ----------
    hop : samples from one frame to the next
    before, behind : samples that must be known around the frames asked for
    """

    rate_hz = RATE_HZ
    hop = HOP
    before, behind = HOP, N_FFT

    def __init__(self) -> None:
        self._loud = LoudBands(HOP / RATE_HZ)

    def __call__(self, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Waveform (4, HOP + frames HOP + N_FFT) -> as `dominant_directions`."""
        covariance = band_covariances(spectra(waveform))[: (waveform.shape[1] - self.before - self.behind) // HOP]
        direction, weight = dominant_directions(covariance)
        loud = self._loud(np.trace(covariance, axis1=2, axis2=3))
        return direction, weight * np.tile(loud, 3)


def dominant_directions(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Covariances (frames, bands, 4, 4) -> unit vectors x, y, z (frames, 3 bands, 3), weights (frames, 3 bands).

    Of each band the direction of one source, and those of two: the plane waves (1, d) in the space of the two principal
    eigenvectors are where its length by the metric (1, -1, -1, -1) is zero, which are two. The two count as far as the
    second eigenvalue stands above the third, the one as far as it does not. The mean weight is 1 at most.
    """
    values, vectors = np.linalg.eigh(covariance)
    first, second = vectors[..., 3], vectors[..., 2]
    dipoles, length = _dipoles(first)
    # a plane wave has as much in its dipoles as in W, of a diffuse field little is left in one direction
    direct = np.minimum(2 * np.abs(first[..., 0]) * length, 1.0)
    heard = values[..., 3] > _LEAST_POWER
    alone = direct**_DIRECT_POWER * _above(values[..., 3], values[..., 2]) ** _RATIO_POWER
    # first + t second: a + 2 b t + c t^2 = 0
    a, b, c = (
        np.sum(_METRIC * one * other, axis=-1) for one, other in ((first, first), (first, second), (second,) * 2)
    )
    root = b * b - a * c
    c = np.where(np.abs(c) < 1e-9, 1e-9, c)
    t = np.clip((np.stack([1.0, -1.0])[:, None, None] * np.sqrt(np.maximum(root, 0)) - b) / c, -1e3, 1e3)
    apart = np.where(np.abs(t[0] - t[1]) < 1e-6, 1e-6, t[0] - t[1])
    energy = (values[..., 3] - values[..., 1]) / apart * np.stack([-t[1] * (1 + t[0] ** 2), t[0] * (1 + t[1] ** 2)])
    energy = np.maximum(energy, 0)
    together = _above(values[..., 2], values[..., 1]) ** _TOGETHER_POWER * (root > 0)
    share = together * energy / np.maximum(energy.sum(axis=0), 1e-30)
    both, _ = _dipoles(first + t[..., None] * second)
    weight = 3 * heard * np.stack([alone * (1 - together), *share])
    return np.concatenate([dipoles, *both], axis=1), np.concatenate(list(weight), axis=1)


def dominant_waves(covariance: np.ndarray) -> np.ndarray:
    """Covariances (n, bands, 4, 4) -> (n, 4, 4): outer products of the principal eigenvectors, by their weight.

    Whatever the order and the signs of the channels: those of the result go with theirs. All bands count
    alike, as far as their first eigenvalue stands above the second.
    """
    values, vectors = np.linalg.eigh(covariance)
    weight = _above(values[..., 3], values[..., 2]) ** _RATIO_POWER * (values[..., 3] > _LEAST_POWER)
    first = vectors[..., 3]
    return np.einsum("fb,fbi,fbj->fij", weight, first, first, optimize=True) / covariance.shape[1]


def _dipoles(wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors W, Y, Z, X (..., 4) -> unit vectors x, y, z (..., 3) as W is positive, and their length (...)."""
    dipoles = wave[..., _ORDER] * np.sign(wave[..., :1])
    length = np.linalg.norm(dipoles, axis=-1)
    return dipoles / np.maximum(length, 1e-12)[..., None], length


def _above(value: np.ndarray, next_value: np.ndarray) -> np.ndarray:
    """How far an eigenvalue stands above the next: 0 not at all, 1 alone."""
    return np.clip(1 - next_value / np.maximum(value, 1e-30), 0, 1)
