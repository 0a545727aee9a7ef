"""Where each band of an array of capsules points to: steered response with phase transform (SRP-PHAT), every 20 ms.

For every direction of a grid the phases that a plane wave from there has between the capsules are taken off the
measured ones; what is left adds up where the direction is right. Sixteen bands are steered by themselves, so that two
sources at a time are heard in different bands. Capsules on a rigid sphere get the phases that the sphere gives them.

After DiBiase 2000, A high-accuracy, low-latency technique for talker localization in reverberant environments.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

import numpy as np
from scipy.spatial import cKDTree

from localization.loudness import LoudBands
from localization.mixture import POINTS, sphere_grid
from util.errors import InputError
from util.microphone_arrays import SPEED_OF_SOUND_M_S, Array
from util.sphere_waves import sphere_response

RATE_HZ = 24000
N_FFT, HOP = 512, 480
_BAND_HZ = (500.0, 8000.0)
_BANDS, _OVERLAP = 16, 2
_POINTS = 2000
_LINE_STEP_DEG = 2.0
_MOST_PAIRS = 28
_NEIGHBOURS = 6
_SILENT = 1e-7  # amplitude of a bin: nothing but rounding
_CHANCE = 1.5  # standard deviations of the steered power of noise that no weight is given for
_FLAT = 0.05  # an array whose least extent is less than that share of its largest is flat, or a line
_LEAST_APART_M = 0.002
_SPHERE_STEPS = 360  # of the angle between a wave and a capsule


class SteeredBands:
    """Directions and weights of the bands of an array of capsules.

    Attributes
    ----------
    grid : directions that the array can tell apart
    sources : fewer of them, for mixtures of what the bands say
    cannot_tell : what it cannot, for people; "" where it can tell everything

    Raises
    ------
    InputError : fewer than two capsules, or all in one place
    """

    rate_hz = RATE_HZ
    hop = HOP
    before, behind = HOP, N_FFT

    def __init__(self, array: Array):
        self.array = array
        self.grid, self.cannot_tell = grid_of(array)
        self.sources, _ = grid_of(array, POINTS)
        frequency_hz = np.fft.rfftfreq(N_FFT, 1 / RATE_HZ)
        self._bins = slice(*np.searchsorted(frequency_hz, _BAND_HZ))
        self._pairs, self._loud = _pairs(array.positions_m()), LoudBands(HOP / RATE_HZ)
        phases = steering(array, self.grid, frequency_hz[self._bins])
        between = np.stack([phases[:, i] * phases[:, j].conj() for i, j in self._pairs])  # (pairs, grid, bins)
        bins = between.shape[2]
        width = _OVERLAP * bins // (_BANDS + _OVERLAP - 1)
        self._bands = [slice(start, start + width) for start in np.linspace(0, bins - width, _BANDS).astype(int)]
        self._near, self._fit, self._axes, self._reach = _paraboloids(self.grid)
        self._steering = []
        # frames overlap by half, so three of them are about two that are independent
        self._chance = _CHANCE / (2 * 2 * width * len(self._pairs)) ** 0.5
        for band in self._bands:
            part = np.moveaxis(between[:, :, band], 1, 0).reshape(len(self.grid), -1)
            self._steering.append(np.concatenate([part.real, part.imag], axis=1).T.astype(np.float32).copy())

    def __call__(self, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Waveform (channels, HOP + frames HOP + N_FFT) -> unit vectors (frames, bands, 3), weights (frames, bands)."""
        framed = np.lib.stride_tricks.sliding_window_view(waveform, N_FFT, axis=-1)[:, ::HOP]
        window = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
        spectrum = np.fft.rfft(framed * window, axis=-1)[..., self._bins].astype(np.complex64)
        size = np.abs(spectrum)
        white = np.where(size > _SILENT * N_FFT / 4, spectrum / np.maximum(size, 1e-20), 0)
        frames = (waveform.shape[1] - self.before - self.behind) // HOP
        loud = self._loud(
            np.stack([np.square(size[:, 1 : 1 + frames, band]).sum(axis=(0, 2)) for band in self._bands], axis=1)
        )
        cross = np.empty((frames, len(self._pairs), white.shape[2]), dtype=np.complex64)
        for place, (i, j) in enumerate(self._pairs):
            product = white[i] * white[j].conj()
            cross[:, place] = ((product[:-2] + product[1:-1] + product[2:]) / 3)[:frames]
        direction = np.empty((frames, _BANDS, 3))
        weight = np.empty((frames, _BANDS))
        for place, (band, steered) in enumerate(zip(self._bands, self._steering)):
            part = cross[:, :, band].reshape(frames, -1)
            power = np.concatenate([part.real, part.imag], axis=1) @ steered / part.shape[1]
            best = np.argmax(power, axis=1)
            direction[:, place] = self._between(power, best)
            weight[:, place] = np.clip((power[np.arange(frames), best] - self._chance) / (1 - self._chance), 0, 1)
        return direction, weight * loud

    def _between(self, power: np.ndarray, best: np.ndarray) -> np.ndarray:
        """Top of a paraboloid through the steered power (frames, grid) around its largest values: (frames, 3)."""
        around = np.take_along_axis(power, self._near[best], axis=1) - power[np.arange(len(best)), best][:, None]
        fit = np.einsum("fkn,fn->fk", self._fit[best], around)  # slope along two axes, curvature
        step = np.clip(-fit[:, :2] / np.minimum(2 * fit[:, 2:], -1e-9), -self._reach, self._reach)
        moved = self.grid[best] + np.einsum("fk,fkx->fx", step, self._axes[best])
        return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def _paraboloids(grid: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """What fits a round paraboloid to the neighbours of every point.

    Returns
    -------
    neighbours (points, n), fit (points, 3, n), the axes that it is given in (points, 2, 3), how far it holds in radians
    """
    distance, near = cKDTree(grid).query(grid, min(_NEIGHBOURS + 1, len(grid)))
    reach = float(np.median(distance[:, 1]))
    aside = np.where(np.abs(grid[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    across = np.cross(aside, grid)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    axes = np.stack([across, np.cross(grid, across)], axis=1)
    offset = np.einsum("pkx,pnx->pnk", axes, grid[near[:, 1:]] - grid[:, None])
    terms = np.concatenate([offset, np.square(offset).sum(axis=2, keepdims=True)], axis=2)
    return near[:, 1:], np.linalg.pinv(terms, rcond=1e-6), axes, reach


def steering(array: Array, direction: np.ndarray, frequency_hz: np.ndarray) -> np.ndarray:
    """Phases of a plane wave from directions (n, 3) at the capsules: (n, channels, bins) complex, of amplitude 1."""
    if array.baffle == "rigid":
        angle = np.arccos(np.clip(direction @ array.directions().T, -1, 1))
        phases = _sphere_phases(array.radius_m, tuple(frequency_hz.tolist()))
        return phases[np.rint(angle / np.pi * _SPHERE_STEPS).astype(int)]
    early_s = direction @ array.positions_m().T / SPEED_OF_SOUND_M_S
    return np.exp(2j * np.pi * early_s[..., None] * frequency_hz)


@lru_cache(maxsize=4)
def _sphere_phases(radius_m: float, frequency_hz: tuple[float, ...]) -> np.ndarray:
    """Phases on a rigid sphere by the angle to the wave, from 0 to pi: (steps + 1, bins)."""
    response = sphere_response(np.array(frequency_hz), np.linspace(0, np.pi, _SPHERE_STEPS + 1), radius_m)
    return response / np.abs(response)


def grid_of(array: Array, points: int = _POINTS) -> tuple[np.ndarray, str]:
    """Directions (n, 3) that an array can tell apart, and what it cannot tell.

    Parameters
    ----------
    points : of the whole sphere

    Raises
    ------
    InputError : fewer than two capsules, or all in one place
    """
    positions = array.positions_m()
    if len(positions) < 2:
        raise InputError(f"array '{array.name}' has {len(positions)} capsule: a direction takes two or more")
    _, extent, axes = np.linalg.svd(positions - positions.mean(axis=0), full_matrices=True)
    extent = np.pad(extent, (0, 3 - len(extent)))
    if extent[0] < _LEAST_APART_M:
        raise InputError(f"array '{array.name}': its capsules are all in one place")
    if extent[1] < _FLAT * extent[0]:
        return _half_circle(axes[0])
    if extent[2] < _FLAT * extent[0]:
        normal = _upwards_or_front(axes[2])
        grid = sphere_grid(points)
        sides = "below from above" if normal[2] > 0.7 else "one side of its plane from the other"
        taken = "above" if normal[2] > 0.7 else "the side that looks to the front or the left"
        return grid[grid @ normal >= -1e-9], f"a flat array cannot tell {sides}: {taken} is assumed"
    return sphere_grid(points), ""


def _half_circle(axis: np.ndarray) -> tuple[np.ndarray, str]:
    """Directions by their angle to a line, in the plane that is horizontal, on one side."""
    axis = axis / np.linalg.norm(axis)
    angle = np.deg2rad(np.arange(0, 180 + _LINE_STEP_DEG, _LINE_STEP_DEG))[:, None]
    if abs(axis[2]) > 0.7:
        across = np.array([1.0, 0.0, 0.0]) - axis[0] * axis
        told = "a vertical line of capsules tells elevation alone: azimuth 0 is assumed"
    else:
        across = _upwards_or_front(np.array([-axis[1], axis[0], 0.0]))
        told = (
            "a line of capsules tells the angle to its axis alone (a cone): elevation 0 and the side that looks to "
            "the front or the left are assumed; a source behind shows mirrored, a raised one nearer to the middle"
        )
    across = across / np.linalg.norm(across)
    return np.cos(angle) * axis + np.sin(angle) * across, told


def _upwards_or_front(normal: np.ndarray) -> np.ndarray:
    """The vector or its opposite: upwards if it is steep, else to the front, else to the left."""
    x, y, z = normal / np.linalg.norm(normal)
    side = z if abs(z) > 0.7 else x if abs(x) > 1e-6 else y
    return np.array([x, y, z]) * (1 if side >= 0 else -1)


def _pairs(positions_m: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of capsules; of very many those furthest apart."""
    pairs = list(combinations(range(len(positions_m)), 2))
    if len(pairs) > _MOST_PAIRS:
        apart = [float(np.linalg.norm(positions_m[i] - positions_m[j])) for i, j in pairs]
        pairs = sorted(pairs[place] for place in np.argsort(apart, kind="stable")[-_MOST_PAIRS:])
    return pairs
