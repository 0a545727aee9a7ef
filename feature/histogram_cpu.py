"""Which time-frequency bins of first-order Ambisonics hold one source alone, and where it is; compiled by numba.

The principal eigenvector of a 4 x 4 covariance comes from its characteristic polynomial: the largest root s by Newton's
method from above (all roots are real, so it falls to s without turning), the coherence test by the signs that a cubic
whose roots all lie below a limit has there, the vector as a column of (R - s2)(R - s3)(R - s4), the projector on it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LEAD = 3  # frames before and behind a frame that its covariance takes in
SINGULAR_RATIO = 5.0  # the first singular value must be more than so many times the second
_ABOVE_FLOOR = 1.5
_LEAST_FLOOR = 1e-6
_PATIENCE = 3  # frames above the floor after which it rises slowly
_RISE, _SLOW_RISE, _FALL = 1.02, 1.002, 0.98
# s1 > 5 s2 needs s1 > 5/8 of the trace, and so at least this share of the sum of squares (all others 1/8)
_LEAST_SQUARES = 28.0 / 64.0 - 1e-9


@njit(nogil=True, cache=True)
def start_floor(real: np.ndarray, imaginary: np.ndarray, floor: np.ndarray) -> None:
    """Noise floor before the first frame: half the mean magnitude of the first five frames.

    Parameters
    ----------
    real, imaginary : (channels, frames, bins); W from two frames before the first on, seven frames (or fewer)
    floor : (bins,), written
    """
    frames = real.shape[1] - 2
    for k in range(len(floor)):
        total = 0.0
        for frame in range(frames):
            total += _magnitude(real, imaginary, frame + 2, k)
        floor[k] = 0.5 * total / frames


@njit(nogil=True, cache=True)
def _magnitude(real: np.ndarray, imaginary: np.ndarray, frame: int, k: int) -> float:
    """Root of the mean |W|^2 of a frame and the two before it."""
    squares = 0.0
    for back in range(3):
        p, q = np.float64(real[0, frame - back, k]), np.float64(imaginary[0, frame - back, k])
        squares += p * p + q * q
    return np.sqrt(squares / 3.0)


@njit(nogil=True, cache=True)
def find_single_sources(
    real: np.ndarray,
    imaginary: np.ndarray,
    floor: np.ndarray,
    count: np.ndarray,
    passed: np.ndarray,
    direction: np.ndarray,
) -> None:
    """Both tests and the direction of every bin.

    Parameters
    ----------
    real, imaginary : (4, LEAD + frames + LEAD, bins) float32, spectra of W, Y, Z, X
    floor, count : (bins,) float64, int64: noise floor and its counter, carried on from call to call
    passed : (frames, bins) uint8, written: 1 where the magnitude test passes, 2 where both do
    direction : (frames, bins, 3) float32, written where both pass: unit vectors x, y, z
    """
    frames, bins = passed.shape
    held = 2 * LEAD + 1
    products = np.empty((held, 16, bins))
    covariance = np.empty((16, bins))
    for frame in range(2 * LEAD):
        _write_products(real, imaginary, frame, products[frame])
    for frame in range(frames):
        _write_products(real, imaginary, frame + 2 * LEAD, products[(frame + 2 * LEAD) % held])
        covariance[:] = 0.0
        for slot in range(held):
            part = products[slot]
            for term in range(16):
                for k in range(bins):
                    covariance[term, k] += part[term, k]
        for k in range(bins):
            passed[frame, k] = 0
            magnitude = _magnitude(real, imaginary, frame + LEAD, k)
            if magnitude > floor[k]:
                count[k] -= 1
                floor[k] *= _RISE if count[k] >= 0 else _SLOW_RISE
            else:
                count[k] = _PATIENCE
                floor[k] *= _FALL
            floor[k] = max(floor[k], _LEAST_FLOOR)
            if magnitude > _ABOVE_FLOOR * floor[k]:
                passed[frame, k] = 2 if _direction(covariance, k, direction[frame, k]) else 1


@njit(nogil=True, cache=True)
def _write_products(real: np.ndarray, imaginary: np.ndarray, frame: int, out: np.ndarray) -> None:
    """x x^H of a frame: out (16, bins), the diagonal, then real and imaginary part of 01, 02, 03, 12, 13, 23."""
    bins = out.shape[1]
    place = 4
    for i in range(4):
        p, q = real[i, frame], imaginary[i, frame]
        for k in range(bins):
            out[i, k] = np.float64(p[k]) * p[k] + np.float64(q[k]) * q[k]
        for j in range(i + 1, 4):
            u, v = real[j, frame], imaginary[j, frame]
            for k in range(bins):
                out[place, k] = np.float64(p[k]) * u[k] + np.float64(q[k]) * v[k]
                out[place + 1, k] = np.float64(q[k]) * u[k] - np.float64(p[k]) * v[k]
            place += 2


@njit(nogil=True, cache=True)
def _direction(covariance: np.ndarray, k: int, out: np.ndarray) -> bool:
    """Whether one source alone is in a bin; where it is (x, y, z) is written to `out`."""
    w, y, z, x = covariance[0, k], covariance[1, k], covariance[2, k], covariance[3, k]
    trace = w + y + z + x
    if not trace > 0.0:
        return False
    scale = 1.0 / trace
    w, y, z, x = w * scale, y * scale, z * scale, x * scale
    a = complex(covariance[4, k], covariance[5, k]) * scale  # R01
    b = complex(covariance[6, k], covariance[7, k]) * scale  # R02
    c = complex(covariance[8, k], covariance[9, k]) * scale  # R03
    d = complex(covariance[10, k], covariance[11, k]) * scale  # R12
    e = complex(covariance[12, k], covariance[13, k]) * scale  # R13
    f = complex(covariance[14, k], covariance[15, k]) * scale  # R23
    aa, bb, cc, dd, ee, ff = _square(a), _square(b), _square(c), _square(d), _square(e), _square(f)
    p2 = w * w + y * y + z * z + x * x + 2.0 * (aa + bb + cc + dd + ee + ff)
    if p2 < _LEAST_SQUARES:
        return False
    # R^2
    m0, m1 = w * w + aa + bb + cc, aa + y * y + dd + ee
    m2, m3 = bb + dd + z * z + ff, cc + ee + ff + x * x
    ma = w * a + a * y + b * d.conjugate() + c * e.conjugate()
    mb = w * b + a * d + b * z + c * f.conjugate()
    mc = w * c + a * e + b * f + c * x
    md = a.conjugate() * b + y * d + d * z + e * f.conjugate()
    me = a.conjugate() * c + y * e + d * f + e * x
    mf = b.conjugate() * c + d.conjugate() * e + z * f + f * x
    # traces of the powers -> elementary symmetric polynomials of the eigenvalues (Newton's identities; the trace is 1)
    p3 = w * m0 + y * m1 + z * m2 + x * m3
    p3 += 2.0 * (_dot(a, ma) + _dot(b, mb) + _dot(c, mc) + _dot(d, md) + _dot(e, me) + _dot(f, mf))
    p4 = m0 * m0 + m1 * m1 + m2 * m2 + m3 * m3
    p4 += 2.0 * (_square(ma) + _square(mb) + _square(mc) + _square(md) + _square(me) + _square(mf))
    e2 = (1.0 - p2) / 2.0
    e3 = (e2 - p2 + p3) / 3.0
    e4 = (e3 - e2 * p2 + p3 - p4) / 4.0
    s = np.sqrt(p2)
    for _ in range(50):
        value = (((s - 1.0) * s + e2) * s - e3) * s + e4
        slope = ((4.0 * s - 3.0) * s + 2.0 * e2) * s - e3
        if not slope > 0.0:
            break
        step = value / slope
        s -= step
        if step < 1e-15:
            break
    c2 = s - 1.0
    c1 = c2 * s + e2
    c0 = c1 * s - e3
    limit = s / SINGULAR_RATIO  # all other roots lie below it: the cubic and its derivatives are positive there
    if not (3.0 * limit + c2 > 0.0 and (3.0 * limit + 2.0 * c2) * limit + c1 > 0.0):
        return False
    if not ((limit + c2) * limit + c1) * limit + c0 > 0.0:
        return False
    # first column of the cubic of R: real and positive for W, so the real parts of the others are the direction
    u1 = a.conjugate() * m0 + y * ma.conjugate() + d * mb.conjugate() + e * mc.conjugate()
    u2 = b.conjugate() * m0 + d.conjugate() * ma.conjugate() + z * mb.conjugate() + f * mc.conjugate()
    u3 = c.conjugate() * m0 + e.conjugate() * ma.conjugate() + f.conjugate() * mb.conjugate() + x * mc.conjugate()
    to_y = u1.real + c2 * ma.real + c1 * a.real
    to_z = u2.real + c2 * mb.real + c1 * b.real
    to_x = u3.real + c2 * mc.real + c1 * c.real
    norm = np.sqrt(to_x * to_x + to_y * to_y + to_z * to_z)
    if not norm > 0.0:
        return False
    out[0], out[1], out[2] = to_x / norm, to_y / norm, to_z / norm
    return True


@njit(nogil=True, cache=True)
def _square(value: complex) -> float:
    return value.real * value.real + value.imag * value.imag


@njit(nogil=True, cache=True)
def _dot(first: complex, second: complex) -> float:
    return first.real * second.real + first.imag * second.imag
