"""What a sphere makes of plane waves: mode strengths, Legendre polynomials, the response of a capsule on it."""

from __future__ import annotations

import numpy as np
from scipy.special import spherical_jn, spherical_yn

from util.errors import InputError
from util.microphone_arrays import SPEED_OF_SOUND_M_S


def mode_strengths(order: int, kr: np.ndarray, baffle: str) -> np.ndarray:
    """Mode strengths b_n of a capsule on a sphere: response = sum over n of b_n P_n(cos angle to the wave's source).

    Reference point is the middle of the sphere, time goes as exp(+i w t): an earlier arrival has a positive phase.

    Parameters
    ----------
    order : highest n
    kr : (bins,) wave number times radius
    baffle : "rigid": b_n = (2 n + 1) i^(n - 1) / (kr^2 h_n'^(2)(kr)), the response of STARSS23's description;
        "open": b_n = (2 n + 1) i^n j_n(kr)

    Returns
    -------
    (order + 1, bins) complex
    """
    n = np.arange(order + 1)[:, None]
    x = np.maximum(np.asarray(kr, dtype=np.float64), 1e-9)[None, :]
    if baffle == "open":
        strengths = (2 * n + 1) * 1j**n * spherical_jn(n, x)
    elif baffle == "rigid":
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            slope = spherical_jn(n, x, derivative=True) - 1j * spherical_yn(n, x, derivative=True)
            strengths = (2 * n + 1) * 1j ** (n - 1) / (x**2 * slope)
    else:
        raise InputError(f"unknown baffle '{baffle}'; known are open, rigid")
    at_rest = np.asarray(kr)[None, :] < 1e-6  # a sphere is nothing to a wave that long; h_n' overflows there
    return np.where(at_rest, n == 0, np.where(np.isfinite(strengths), strengths, 0.0))


def legendre(order: int, x: np.ndarray) -> np.ndarray:
    """Legendre polynomials P_0 .. P_order of x (...) -> (order + 1, ...), in the precision of x."""
    values = np.empty((order + 1, *x.shape), dtype=x.dtype)
    values[0] = 1.0
    if order:
        values[1] = x
    for n in range(1, order):
        np.multiply(x, values[n], out=values[n + 1])
        values[n + 1] *= (2 * n + 1) / (n + 1)
        values[n + 1] -= n / (n + 1) * values[n - 1]
    return values


def sphere_response(
    frequency_hz: np.ndarray, angle_rad: np.ndarray, radius_m: float, baffle: str = "rigid", order: int = 60
) -> np.ndarray:
    """Response of a capsule to a plane wave from `angle_rad` (angles,) beside it -> (angles, bins) complex."""
    kr = 2.0 * np.pi * np.asarray(frequency_hz, dtype=np.float64) * radius_m / SPEED_OF_SOUND_M_S
    cosine = np.cos(np.asarray(angle_rad, dtype=np.float64))
    return legendre(order, cosine).T @ mode_strengths(order, kr, baffle)
