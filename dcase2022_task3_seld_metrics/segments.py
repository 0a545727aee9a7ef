"""Sound event detection on segments, as the general network (DCASE 2020) scores its modules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dcase2022_task3_seld_metrics.arrays import block_activity
from util.errors import InputError

_EPS = 1e-8


@dataclass(frozen=True)
class SegmentCounts:
    """Counts over segments and classes; of several recordings they add up.

    Of a segment of n frames only the first n - 1 are looked at (a quirk of the published metric, kept); an incomplete
    last segment counts.

    Attributes
    ----------
    substituted, deleted, inserted : in each segment min(misses, false alarms), and what is left of either
    hits, reference, estimated : active in both, in the labels, in what was said

    Examples
    --------
    >>> truth, said = np.array([[1, 0], [1, 0], [0, 1], [0, 1]]), np.array([[1, 0], [1, 0], [1, 0], [1, 0]])
    >>> counts = SegmentCounts.of(truth, said, 2)  # the second segment has the wrong class
    >>> counts.error_rate, round(counts.f_score, 6)
    (0.5, 0.5)
    """

    substituted: int = 0
    deleted: int = 0
    inserted: int = 0
    hits: int = 0
    reference: int = 0
    estimated: int = 0

    @classmethod
    def of(cls, reference: np.ndarray, estimated: np.ndarray, frames: int) -> SegmentCounts:
        """Counts of one recording.

        Parameters
        ----------
        reference, estimated : (frames, classes), active where not 0; the published program gives 5 rows a second and
            calls 10 of them a second: give as many rows as the segments have
        frames : of a segment, 2 or more

        Raises
        ------
        InputError : arrays of different shapes, segments of one frame
        """
        truth, found = np.asarray(reference) != 0, np.asarray(estimated) != 0
        if truth.ndim != 2 or truth.shape != found.shape or frames < 2:
            rule = "must be two arrays (frames, classes) of one shape, and segments of 2 frames or more"
            raise InputError(f"reference and estimated {rule}; found {truth.shape}, {found.shape}, {frames}")
        count = -(-len(truth) // frames)
        truth, found = block_activity(truth, frames, count), block_activity(found, frames, count)
        missed, false = (truth & ~found).sum(axis=1), (found & ~truth).sum(axis=1)
        return cls(
            int(np.minimum(missed, false).sum()),
            int(np.maximum(missed - false, 0).sum()),
            int(np.maximum(false - missed, 0).sum()),
            int((truth & found).sum()),
            int(truth.sum()),
            int(found.sum()),
        )

    def __add__(self, other: SegmentCounts) -> SegmentCounts:
        return SegmentCounts(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def error_rate(self) -> float:
        """(S + D + I) / reference; without a reference their sum."""
        return (self.substituted + self.deleted + self.inserted) / max(self.reference, 1)

    @property
    def f_score(self) -> float:
        """Harmonic mean of precision and recall; 0 where there are none."""
        precision, recall = self.hits / (self.estimated + _EPS), self.hits / (self.reference + _EPS)
        return 2 * precision * recall / (precision + recall + _EPS)

    @property
    def error(self) -> float:
        """Mean of the error rate and 1 - F."""
        return (self.error_rate + 1 - self.f_score) / 2
