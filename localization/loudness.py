"""Which bands are loud enough to be listened to: codecs and converters leave sound of their own far below the rest."""

from __future__ import annotations

import numpy as np

RANGE_DB = 50.0  # bands further below the loudest of late are left out
_FORGOTTEN_DB_S = 10.0  # how fast the loudest is forgotten


class LoudBands:
    """Bands within a range below the loudest one so far, which fades; frame by frame, whatever the blocks.

    Parameters
    ----------
    hop_s : from one frame to the next
    """

    def __init__(self, hop_s: float):
        self._fade = 10 ** (-_FORGOTTEN_DB_S * hop_s / 10)
        self._loudest = 0.0

    def __call__(self, power: np.ndarray) -> np.ndarray:
        """Power (frames, bands) -> which bands are loud enough (frames, bands) bool."""
        limit = np.empty(len(power))
        for frame, value in enumerate(power.max(axis=1, initial=0.0).tolist()):
            self._loudest = max(self._loudest * self._fade, value)
            limit[frame] = self._loudest
        return (power > 10 ** (-RANGE_DB / 10) * limit[:, None]) & (power > 0)
