"""Receivers: what every channel of an array makes of a plane wave and of a diffuse field.

A channel's response to a plane wave from the direction d is a short sum of products: a weight that depends on the
direction alone times a filter that depends on frequency alone. First-order Ambisonics is four weights and no filter, a
cardioid is one; a capsule on a sphere is the sum over n of the Legendre polynomials P_n(d . capsule) times the mode
strengths of the sphere. The sums of images therefore happen in weights, and filters are applied once, however many
images there are.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import fft

from util.errors import InputError
from util.microphone_arrays import SPEED_OF_SOUND_M_S, Array
from util.sphere_waves import legendre, mode_strengths

MAX_MODES = 80
MODE_TOLERANCE = 0.02  # what the modes left out may add up to at the band's upper edge, 11.3 kHz at a rate of 24 kHz
BAND_EDGE = 0.88  # of the Nyquist frequency: above it the recorder's anti-alias filter closes


def anti_alias(frequency_hz: np.ndarray, rate_hz: int) -> np.ndarray:
    """Square root of the amplitude of the recorder's anti-alias filter, 1 up to 88 % of the Nyquist frequency.

    The root, because it is applied in two places: to the source and to the receiver.
    """
    position = (np.asarray(frequency_hz) / (0.5 * rate_hz) - BAND_EDGE) / (1.0 - BAND_EDGE)
    return np.cos(0.5 * np.pi * np.clip(position, 0.0, 1.0)) ** 2


class Receiver:
    """An array at a sampling rate, as weights of direction and filters of frequency.

    Attributes
    ----------
    array : what it is
    modes : filters per channel
    rows : weights in all, channels * modes, channel by channel
    """

    def __init__(self, array: Array, rate_hz: int):
        self.array, self.rate_hz, self.channels = array, rate_hz, array.channels
        if array.kind in ("ambisonics", "cardioids"):
            self.modes = 1
        elif array.kind == "capsules" and array.channels and array.radius_m >= 0.0 and not array.radii_m:
            edge = np.array([np.pi * rate_hz * (0.5 + 0.5 * BAND_EDGE) * array.radius_m / SPEED_OF_SOUND_M_S])
            size = np.abs(mode_strengths(MAX_MODES, edge, array.baffle))[:, 0]
            left_out = np.append(np.cumsum(size[::-1])[::-1][1:], 0.0)
            self.modes = int(np.argmax(left_out < MODE_TOLERANCE)) + 1
            if self.modes >= MAX_MODES:
                raise InputError(f"array '{array.name}': a radius of {array.radius_m:g} m is too large at {rate_hz} Hz")
        else:
            raise InputError(f"array '{array.name}' is neither ambisonics nor cardioids nor capsules on one sphere")
        self.rows = self.channels * self.modes
        self._filters: dict[int, np.ndarray] = {}

    def weights(self, direction: np.ndarray) -> np.ndarray:
        """Unit vectors (..., n, 3) from the listener towards the source -> (..., rows, n) float32."""
        direction = np.asarray(direction, dtype=np.float32)
        if self.array.kind == "ambisonics":  # ACN order W, Y, Z, X; SN3D
            return np.stack([np.ones_like(direction[..., 0]), *np.moveaxis(direction[..., [1, 2, 0]], -1, 0)], axis=-2)
        capsules = self.array.directions().astype(np.float32)
        if self.array.kind == "cardioids":
            return 1 + capsules @ direction.swapaxes(-1, -2)
        values = legendre(self.modes - 1, np.clip(capsules @ direction.swapaxes(-1, -2), -1.0, 1.0))
        values = np.moveaxis(values, 0, -2)  # (..., channels, modes, n)
        return values.reshape(*values.shape[:-3], self.rows, values.shape[-1])

    def mode_spectra(self, n_fft: int) -> np.ndarray:
        """Filters of the weights on the bins of an FFT, (modes, n_fft // 2 + 1) complex64, the same for all channels.

        They hold the receiver's half of the anti-alias filter.
        """
        if n_fft not in self._filters:
            frequency_hz = fft.rfftfreq(n_fft, 1.0 / self.rate_hz)
            spectra = self._strengths(frequency_hz) * anti_alias(frequency_hz, self.rate_hz)
            self._filters[n_fft] = spectra.astype(np.complex64)
        return self._filters[n_fft]

    def _strengths(self, frequency_hz: np.ndarray) -> np.ndarray:
        if self.array.kind in ("ambisonics", "cardioids"):
            return np.ones((1, len(frequency_hz)), dtype=np.complex128)
        kr = 2.0 * np.pi * frequency_hz * self.array.radius_m / SPEED_OF_SOUND_M_S
        return mode_strengths(self.modes - 1, kr, self.array.baffle)

    def response(self, direction: np.ndarray, frequency_hz: np.ndarray) -> np.ndarray:
        """Plane waves from directions (n, 3) -> (n, channels, bins) complex, without the anti-alias filter."""
        weights = self.weights(direction).T.reshape(-1, self.channels, self.modes)
        return weights @ self._strengths(frequency_hz)

    def diffuse_covariance(self, frequency_hz: np.ndarray) -> np.ndarray:
        """Covariance (bins, channels, channels), real, of an isotropic field of unit power at the array's middle.

        Plane waves from everywhere with independent phases: Legendre polynomials about two capsules are orthogonal
        over the sphere, which leaves sum over n of |b_n|^2 P_n(cos angle between the capsules) / (2 n + 1).
        """
        if self.array.kind == "ambisonics":
            return np.broadcast_to(np.diag([1.0, 1 / 3, 1 / 3, 1 / 3]), (len(frequency_hz), 4, 4))
        directions = self.array.directions()
        if self.array.kind == "cardioids":
            covariance = 1 + directions @ directions.T / 3
            return np.broadcast_to(covariance, (len(frequency_hz), *covariance.shape))
        between = legendre(self.modes - 1, np.clip(directions @ directions.T, -1.0, 1.0))
        power = np.abs(self._strengths(frequency_hz)) ** 2 / (2 * np.arange(self.modes) + 1)[:, None]
        return np.einsum("ncd,nf->fcd", between, power)

    @lru_cache(maxsize=8)  # noqa: B019 -- receivers are few and live as long as the process
    def diffuse_mixing(self, n_fft: int) -> np.ndarray:
        """Symmetric square root of the diffuse covariance times the anti-alias filter, (bins, channels, channels)."""
        frequency_hz = fft.rfftfreq(n_fft, 1.0 / self.rate_hz)
        values, vectors = np.linalg.eigh(self.diffuse_covariance(frequency_hz))
        root = (vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]) @ vectors.transpose(0, 2, 1)
        return (root * (anti_alias(frequency_hz, self.rate_hz) ** 2)[:, None, None]).astype(np.float32)


@lru_cache(maxsize=32)
def receiver_for(array: Array, rate_hz: int) -> Receiver:
    """The receiver of an array; kept, because its filters take some milliseconds."""
    return Receiver(array, rate_hz)
