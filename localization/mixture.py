"""Many directions, most of them a little wrong: of which sources they are a mixture.

Around each source the directions of bands scatter by 5 to 15 degrees, as the room and the noise have it, and some much
further; sources that are not much further apart make one hill. A mixture of Gaussians on the sphere, each with wide
skirts, still tells them apart: components start on the points of a grid, their shares are found by expectation
maximisation (which sharpens the hill as Richardson and Lucy sharpen pictures), neighbours are joined, and what is left
moves to where it fits best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

POINTS = 1000  # of the grid: 6.4 degrees apart
SPREADS_DEG = (5.0, 9.0, 14.0)
_JOINED = {5.0: 11.0, 9.0: 14.0, 14.0: 20.0}  # degrees within which two components are one
_SKIRT, _SKIRT_WIDTH = 0.2, 4.0  # height and width of the skirts, of those of the middle
_SPREAD_OF_WEIGHT = 2.7  # degrees: scatter where the mean weight is 1, as measured in rooms of 0 to 0.6 s
_BACKGROUND = 0.1  # share of the evidence that belongs to no source
_SHARPENING, _MOVES = 30, 8
_CLUSTER_DEG = 8.0
_MOST = 8
_HALF = 0.03  # mean weight at which the confidence of a source that is alone is a half


@dataclass(frozen=True)
class Peaks:
    """Where sound seems to come from in one frame, the strongest first.

    Attributes
    ----------
    direction : (n, 3) unit vectors
    confidence : (n,) in [0, 1)
    """

    direction: np.ndarray
    confidence: np.ndarray

    def __len__(self) -> int:
        return len(self.confidence)


NO_PEAKS = Peaks(np.zeros((0, 3)), np.zeros(0))


def sphere_grid(points: int) -> np.ndarray:
    """Evenly spread unit vectors (points, 3): a Fibonacci lattice."""
    index = np.arange(points) + 0.5
    z = 1 - 2 * index / points
    angle = np.pi * (3 - 5**0.5) * index
    across = np.sqrt(1 - z * z)
    return np.stack([across * np.cos(angle), across * np.sin(angle), z], axis=1)


class DirectionMixture:
    """Sources of weighted directions.

    Parameters
    ----------
    grid : (points, 3) directions that sources may have; None: all
    """

    def __init__(self, grid: np.ndarray | None = None):
        self.grid = sphere_grid(POINTS) if grid is None else grid
        self._cosine = self.grid @ self.grid.T
        self._sharpness = {spread: 1 / np.deg2rad(spread) ** 2 for spread in SPREADS_DEG}
        self._kernels = {
            spread: np.add(*_bell(self._cosine, sharpness)).astype(np.float32)
            for spread, sharpness in self._sharpness.items()
        }
        self._tree = cKDTree(self.grid)

    def evidence(self, direction: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Directions (frames, n, 3) with weights (frames, n), 1 at most in the mean -> (frames, points, 4) float32.

        Of each point of the grid the share of the directions that are nearest to it, and x, y, z of their sum, so that
        nothing is rounded to the grid. Shares add up to the mean weight of the frame.
        """
        frames, count = weight.shape
        _, cell = self._tree.query(direction.reshape(-1, 3))
        place = np.repeat(np.arange(frames), count) * len(self.grid) + cell
        columns = np.concatenate([weight[..., None], weight[..., None] * direction], axis=-1).reshape(-1, 4)
        sums = [np.bincount(place, weights=column, minlength=frames * len(self.grid)) for column in columns.T]
        return (np.stack(sums, axis=-1).reshape(frames, -1, 4) / max(count, 1)).astype(np.float32)

    def peaks(self, evidence: np.ndarray, *, most: int, least: float) -> Peaks:
        """Sources of the evidence (points, 4) of a frame, or of the mean over some frames.

        Parameters
        ----------
        most : of them
        least : confidence
        """
        evidence, moments = evidence[:, 0], evidence[:, 1:]
        total = float(evidence.sum())
        if total < 1e-4:
            return NO_PEAKS
        wished = _SPREAD_OF_WEIGHT / total**0.5
        spread = min(SPREADS_DEG, key=lambda one: abs(np.log(one / wished)))
        support = np.flatnonzero(evidence)
        place, share = self._started(evidence, support, spread)
        points = moments[support] / np.maximum(np.linalg.norm(moments[support], axis=1, keepdims=True), 1e-12)
        place, share = self._moved(evidence[support], points.astype(np.float64), place, share, spread)
        confidence = share / max(float(share.sum()), 1e-12) * total / (total + _HALF)
        order = np.argsort(-confidence, kind="stable")
        order = order[confidence[order] >= least][:most]
        return Peaks(place[order], confidence[order])

    def _uniform(self, evidence: np.ndarray, spread: float) -> float:
        """What the background expects at each point, in the units of the kernel."""
        return float(_BACKGROUND * evidence.sum() / (2 * self._sharpness[spread]))

    def _started(self, evidence: np.ndarray, support: np.ndarray, spread: float) -> tuple[np.ndarray, np.ndarray]:
        """Shares of components on the grid, sharpened, in clusters: directions (k, 3), shares (k,)."""
        kernel = self._kernels[spread]
        smooth = evidence[support] @ kernel[support]
        points = np.flatnonzero(smooth > 0.15 * smooth.max())
        part, given = kernel[np.ix_(support, points)], evidence[support]
        share, background = smooth[points] * (evidence.sum() / smooth[points].sum()), self._uniform(evidence, spread)
        for _ in range(_SHARPENING):
            share = share * (part.T @ (given / (part @ share + background)))
        near = self._cosine[np.ix_(points, points)] > np.cos(np.deg2rad(_CLUSTER_DEG))
        left = share.copy()
        directions: list[np.ndarray] = []
        shares: list[float] = []
        while len(shares) < _MOST:
            mass = near @ left
            top = int(np.argmax(mass))
            if mass[top] < 0.02 * share.sum():
                break
            cluster = near[top]
            mean = left[cluster] @ self.grid[points[cluster]]
            directions.append(mean / np.linalg.norm(mean))
            shares.append(float(mass[top]))
            left[cluster] = 0
        return np.array(directions).reshape(-1, 3), np.array(shares)

    def _moved(
        self, given: np.ndarray, points: np.ndarray, place: np.ndarray, share: np.ndarray, spread: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Components off the grid, where they fit best; those that meet are joined."""
        given = given.astype(np.float64)
        background = self._uniform(given, spread)
        for _ in range(_MOVES):
            place, share = _joined(place, share, _JOINED[spread])
            middle, skirt = _bell(points @ place.T, self._sharpness[spread])
            expected = ((middle + skirt) * share).sum(axis=1) + background
            part = (given / expected)[:, None] * share
            share = (part * (middle + skirt)).sum(axis=0)
            moved = (part * middle).T @ points  # what lies in the skirts says little of where the source is
            place = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
        return place, share


def _bell(cosine: np.ndarray, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """How much a source expects at directions of these cosines to it: the middle, and the skirts."""
    return np.exp(sharpness * (cosine - 1)), _SKIRT * np.exp(sharpness / _SKIRT_WIDTH**2 * (cosine - 1))


def _joined(place: np.ndarray, share: np.ndarray, within_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """The two nearest components as one, as long as they are so near."""
    while len(place) > 1:
        cosine = place @ place.T - 2 * np.eye(len(place))
        i, j = np.unravel_index(np.argmax(cosine), cosine.shape)
        if cosine[i, j] < np.cos(np.deg2rad(within_deg)):
            break
        mean = share[i] * place[i] + share[j] * place[j]
        place, share = place.copy(), share.copy()
        place[i], share[i] = mean / max(float(np.linalg.norm(mean)), 1e-12), share[i] + share[j]
        place, share = np.delete(place, j, axis=0), np.delete(share, j)
    return place, share
