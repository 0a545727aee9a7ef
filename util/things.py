"""What else than people is seen in a video: boxes with scores and classes of COCO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

KEPT_THINGS = 32  # of a picture, in files
NO_THINGS = np.zeros((0, 6), np.float32)


@dataclass(frozen=True)
class Things:
    """The things at each time of a grid, one behind the other.

    Attributes
    ----------
    count : (n,) how many there are at each time
    rows : (all, 6) float32: x0, y0, x1, y1 as fractions of the image (not clipped to it), score, class of COCO; those
        of a time by descending score. Numbers are rounded to half precision, as files keep them
    """

    count: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, looks: Sequence[np.ndarray]) -> Things:
        """Things (k, 6) of one time after the other."""
        rows = np.concatenate(looks) if len(looks) else NO_THINGS
        return cls(np.array([len(look) for look in looks], dtype=np.int64), rows.reshape(-1, 6).astype(np.float32))

    @property
    def first(self) -> np.ndarray:
        """(n + 1,) which of the rows is the first of each time; the last one is their number."""
        return np.concatenate([[0], np.cumsum(self.count)]).astype(np.int64)

    def look(self, index: int) -> np.ndarray:
        """The things (k, 6) at a time; below 0, where no time counts (`util.boxes.BoxTrack.index_at`), none."""
        if index < 0:
            return self.rows[:0]
        first = self.first
        return self.rows[first[index] : first[index + 1]]

    def looks(self) -> list[np.ndarray]:
        """The things (k, 6) at each time."""
        return np.split(self.rows, self.first[1:-1]) if len(self.count) else []

    def chosen(self, most: int, of_class: int) -> Things:
        """Of each time those with the highest scores, so many at most, and so many of one class."""
        time = np.repeat(np.arange(len(self.count)), self.count)
        score, label = self.rows[:, 4], self.rows[:, 5]
        order = np.lexsort((-score, label, time))
        order = order[_rank(np.stack([time, label])[:, order]) < of_class]
        order = order[np.lexsort((-score[order], time[order]))]
        order = order[_rank(time[None, order]) < most]
        return Things(np.bincount(time[order], minlength=len(self.count)), self.rows[order])


def _rank(keys: np.ndarray) -> np.ndarray:
    """Keys (k, m), equal ones side by side -> place (m,) of each among its equals."""
    place = np.arange(keys.shape[1])
    begins = np.ones(keys.shape[1], dtype=bool)
    begins[1:] = (np.diff(keys, axis=1) != 0).any(axis=0)
    return place - np.maximum.accumulate(np.where(begins, place, 0))
