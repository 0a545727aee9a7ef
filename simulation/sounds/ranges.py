"""Parameter ranges that train and test share without sharing a value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SPLITS = ("train", "test")
BINS = 8


@dataclass(frozen=True)
class Range:
    """A range cut into equal bins: even ones belong to "train", odd ones to "test".

    The bins alternate, so that a model that has heard train finds test between what it knows, not beyond it. The edges
    of every bin stay free (a tenth of its width on each side): values of the two splits keep a fifth of a bin apart.

    Attributes
    ----------
    low, high : ends of the range, in the unit of the parameter
    log : bins of equal ratio instead of equal width; both ends must be positive
    """

    low: float
    high: float
    log: bool = False

    def _at(self, share: float) -> float:
        if self.log:
            return self.low * (self.high / self.low) ** share
        return self.low + (self.high - self.low) * share

    def draw(self, rng: np.random.Generator, split: str) -> float:
        """A value of the split."""
        return self.draw_part(rng, SPLITS.index(split), len(SPLITS))

    def draw_part(self, rng: np.random.Generator, part: int, parts: int) -> float:
        """A value of one of several parts, each of which has `BINS // 2` bins; two parts are train and test."""
        index = parts * int(rng.integers(BINS // 2)) + part
        return float(self._at((index + rng.uniform(0.1, 0.9)) / (parts * (BINS // 2))))

    def intervals(self, split: str) -> list[tuple[float, float]]:
        """The closed intervals that values of the split lie in, ascending."""
        return self.intervals_of_part(SPLITS.index(split), len(SPLITS))

    def intervals_of_part(self, part: int, parts: int) -> list[tuple[float, float]]:
        """The closed intervals that values of one of several parts lie in, ascending."""
        bins = parts * (BINS // 2)
        return [(self._at((i + 0.1) / bins), self._at((i + 0.9) / bins)) for i in range(part, bins, parts)]
