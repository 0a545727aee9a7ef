"""First-order Ambisonics out of the capsules of a microphone array: a least-squares encoder per frequency."""

from __future__ import annotations

import numpy as np

from util.angles import direction_from_degrees

LARGEST_GAIN = 10.0  # of an encoding filter: what differs between capsules at low frequencies is noise
DIRECTIONS = 400


def even_directions(count: int = DIRECTIONS) -> np.ndarray:
    """Unit vectors (count, 3) spread evenly on the sphere, on a Fibonacci lattice."""
    number = np.arange(count) + 0.5
    elevation = np.rad2deg(np.arcsin(1 - 2 * number / count))
    return direction_from_degrees(np.mod(number * 180 * (3 - np.sqrt(5)), 360) - 180, elevation)


def ambisonic_encoder(
    response: np.ndarray, directions: np.ndarray, *, largest_gain: float = LARGEST_GAIN
) -> np.ndarray:
    """Filters that make W, Y, Z, X (SN3D) of the capsules.

    For every frequency the regularised least-squares solution over the directions: what the filters make of a plane
    wave is as near to (1, y, z, x) of its direction as bounded gains allow. Above the frequency at which half a wave
    fits between capsules directions alias, as they do in every array of its size.

    Parameters
    ----------
    response : (n, capsules, bins) complex, of the capsules to plane waves from the directions
    directions : (n, 3) unit vectors, evenly on the sphere

    Returns
    -------
    (bins, 4, capsules) complex
    """
    waves = np.moveaxis(response, 2, 0).swapaxes(1, 2)  # (bins, capsules, n)
    wanted = np.stack([np.ones(len(directions)), directions[:, 1], directions[:, 2], directions[:, 0]])
    gram = waves @ waves.conj().transpose(0, 2, 1) / len(directions)
    cross = wanted @ waves.conj().transpose(0, 2, 1) / len(directions)
    eye = np.eye(gram.shape[1]) / (2 * largest_gain) ** 2  # a gain of 2 g costs as much as an error of 1
    return np.linalg.solve((gram + eye).transpose(0, 2, 1), cross.transpose(0, 2, 1)).transpose(0, 2, 1)
