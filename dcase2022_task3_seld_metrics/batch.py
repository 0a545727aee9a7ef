"""The rows of many recordings as plain arrays: what the counting rules work on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LARGEST_FRAME = 2**40
"""Frame numbers beyond this are refused (35,000 years of sound): keys of cells must fit 64 bits."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of one side (references or predictions) of some recordings, in the order of their files.

    Attributes
    ----------
    file : (n,) int64, index of the recording
    frame, class_index, source : (n,) int64
    coordinates : (n, 2) azimuth and elevation in degrees, or (n, 3) vectors
    distance : (n,) float64, NaN where unknown; one unit on both sides
    onscreen : (n,) float64, NaN where unknown
    last_frame : (recordings,) int64, largest frame number of the file, rows included that are not among these; -1: none
    """

    file: np.ndarray
    frame: np.ndarray
    class_index: np.ndarray
    source: np.ndarray
    coordinates: np.ndarray
    distance: np.ndarray
    onscreen: np.ndarray
    last_frame: np.ndarray

    ROW_FIELDS = ("file", "frame", "class_index", "source", "coordinates", "distance", "onscreen")

    def rows(self, chosen: np.ndarray) -> Batch:
        """The rows of a mask or an index array; the lengths of the files stay."""
        return Batch(**{name: getattr(self, name)[chosen] for name in self.ROW_FIELDS}, last_frame=self.last_frame)

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True, eq=False)
class Cells:
    """Rows sorted into cells (a cell: one recording, frame and class), keeping their order inside each.

    Attributes
    ----------
    key : (m,) int64 ascending, one per cell that has rows
    start, count : (m,) int64, where a cell's rows begin in `order`, and how many they are
    order : (n,) int64, row index; sorted by cell
    """

    key: np.ndarray
    start: np.ndarray
    count: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, key: np.ndarray) -> Cells:
        """Cells from the key (n,) of every row, int64 and not negative."""
        order, ordered = _stable_sort(key)
        start = np.flatnonzero(np.diff(ordered, prepend=-1)) if len(ordered) else np.zeros(0, dtype=np.int64)
        return cls(ordered[start], start, np.diff(start, append=len(ordered)), order)


def _stable_sort(key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stable order of non-negative integers, and the sorted integers."""
    bits = len(key).bit_length()
    if len(key) and int(key.max()) < 2 ** (62 - bits):
        packed = (key << bits) | np.arange(len(key))  # all different, so that the fast unstable sort is stable
        packed.sort()
        return packed & ((1 << bits) - 1), packed >> bits
    order = np.argsort(key, kind="stable")
    return order, key[order]


def common(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices into two ascending arrays without repetitions where they hold the same value."""
    if not len(first) or not len(second):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    place = np.searchsorted(second, first)
    place[place == len(second)] = 0
    found = np.flatnonzero(second[place] == first)
    return found, place[found]
