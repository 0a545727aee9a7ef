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
    table: np.ndarray,
    falling: np.ndarray,
    rising: np.ndarray,
) -> None:
    """Read waveforms at moving positions, with moving gains, faded out and in over every block.

    Parameters
    ----------
    variants : (variants, samples) float32, waveforms to read from; outside they are silent
    variant : (images,) which of them each image reads
    position : (blocks + 1, images) where to read at the beginning of every block, in samples of `variants`; linear
        between
    gain : (blocks + 1, images) likewise
    table : of `interpolation_table`
    falling, rising : (blocks, images, hop) float32, written: what is read times 1 - k / hop, and times k / hop
    """
    hop = falling.shape[2]
    last = variants.shape[1] - TAPS
    for block in range(falling.shape[0]):
        for image in range(falling.shape[1]):
            which = variant[image]
            start = position[block, image]
            step = (position[block + 1, image] - start) / hop
            level = np.float32(gain[block, image])
            rise = np.float32((gain[block + 1, image] - gain[block, image]) / hop)
            lowest, highest = min(start, start + hop * step), max(start, start + hop * step)
            inside = lowest >= TAPS and highest < last
            if not inside and (highest < 0 or lowest > last):
                falling[block, image] = 0.0
                rising[block, image] = 0.0
                continue
            for sample in range(hop):
                where = start + step * sample
                if not inside and (where < TAPS or where >= last):
                    falling[block, image, sample] = 0.0
                    rising[block, image, sample] = 0.0
                    continue
                whole = np.int64(where)
                first = whole - TAPS // 2 + 1
                phase = np.int64((where - whole) * PHASES + 0.5)
                total = np.float32(0.0)
                for tap in range(TAPS):  # a constant, so that the loop becomes one vector product
                    total += variants[which, first + tap] * table[phase, tap]
                total *= level + rise * np.float32(sample)
                share = total * np.float32(sample / hop)
                rising[block, image, sample] = share
                falling[block, image, sample] = total - share
