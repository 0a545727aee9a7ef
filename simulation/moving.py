"""Time-varying delays: a waveform as it arrives from a source whose distance changes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

TAPS = 8
PHASES = 1024
OVERSAMPLING = 2  # of the waveform that is read: half its band is empty, which is what makes eight taps enough


@lru_cache(maxsize=1)
def interpolation_table() -> np.ndarray:
    """Kaiser-windowed sinc for every fraction of a sample (PHASES + 1, TAPS) float32."""
    fraction = np.arange(PHASES + 1)[:, None] / PHASES
    position = np.arange(TAPS)[None, :] - (TAPS // 2 - 1) - fraction
    window = np.i0(6.0 * np.sqrt(np.maximum(1.0 - (position / (TAPS / 2)) ** 2, 0.0))) / np.i0(6.0)
    table = np.sinc(position) * window
    return (table / table.sum(axis=1, keepdims=True)).astype(np.float32)


@njit(cache=True, fastmath=True, nogil=True)
def read_at(
    variants: np.ndarray,
    variant: np.ndarray,
    position: np.ndarray,
    gain: np.ndarray,
    hop: int,
    table: np.ndarray,
    out: np.ndarray,
) -> None:
    """Read waveforms at moving positions, with moving gains.

    Parameters
    ----------
    variants : (variants, samples) float32, waveforms to read from, zero-padded by more than TAPS at both ends
    variant : (images,) which of them each image reads
    position : (points, images) where to read at every `hop`-th output sample, in samples of `variants`; linear between
    gain : (points, images) likewise
    out : ((points - 1), images, hop) float32, written
    """
    phases = table.shape[0] - 1
    last = variants.shape[1] - TAPS - 1
    for block in range(out.shape[0]):
        for image in range(out.shape[1]):
            which = variant[image]
            start = position[block, image]
            step = (position[block + 1, image] - start) / hop
            level = gain[block, image]
            rise = (gain[block + 1, image] - level) / hop
            for sample in range(hop):
                where = start + step * sample
                whole = int(np.floor(where))
                first = whole - TAPS // 2 + 1
                if first < 0 or first > last:
                    out[block, image, sample] = 0.0
                    continue
                phase = int((where - whole) * phases + 0.5)
                total = np.float32(0.0)
                for tap in range(TAPS):  # a constant, so that the loop becomes one vector product
                    total += variants[which, first + tap] * table[phase, tap]
                out[block, image, sample] = total * np.float32(level + rise * sample)
