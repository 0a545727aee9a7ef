"""Raw outputs whose first part is the activity: (outputs, classes, frames)."""

from __future__ import annotations

import numpy as np


def with_activity(raw: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Directions of a raw output with the activity of encoded labels.

    Parameters
    ----------
    raw, labels : (outputs, classes, frames); labels are cut or filled up with 0 to the output's length
    """
    raw, out = np.asarray(raw), np.array(raw)
    frames = min(raw.shape[-1], labels.shape[-1])
    out[0] = 0
    out[0, :, :frames] = labels[0, :, :frames]
    return out
