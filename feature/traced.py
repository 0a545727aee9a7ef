"""Short-time spectra and phases for graphs that leave PyTorch (ONNX): matrix products in place of a Fourier transform.

Runtimes of exported graphs have no transform that is fast and exact everywhere, and no arctangent of two numbers; every
one has products of matrices. A feature that is traced (`torch.compiler.is_exporting()`) takes these functions.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_SCALE = 2.0**40  # exact: a power of two


def plus(x: Tensor, small: float) -> Tensor:
    """x + small; in a graph, too: the exporter takes additions of numbers up to 1e-8 for such of nothing.

    There |x| must be below 1e26, and what is too small for that too (1e-32, which only keeps 0 from being divided by 0)
    is the least of the result.
    """
    if not torch.compiler.is_exporting():
        return x + small
    return (x * _SCALE + small * _SCALE) * (1 / _SCALE) if small * _SCALE > 1 else x.clamp(min=small)


def frames_of(waveform: Tensor, n_fft: int, hop: int) -> Tensor:
    """Frames (batch, channels, frames, n_fft) that lie inside the samples (batch, channels, samples)."""
    frames = (waveform.shape[-1] - n_fft) // hop + 1
    block = math.gcd(n_fft, hop)  # copied as a whole
    blocks = waveform[..., : (frames - 1) * hop + n_fft].unflatten(
        2, ((frames - 1) * (hop // block) + n_fft // block, block)
    )
    first = torch.arange(frames, device=waveform.device) * (hop // block)
    place = first[:, None] + torch.arange(n_fft // block, device=waveform.device)
    return blocks.index_select(2, place.flatten()).flatten(2).unflatten(2, (frames, n_fft))


def spectrum(framed: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
    """Real and imaginary part (..., n_fft / 2 + 1) of the transform of windowed frames (..., n_fft).

    Sample n = columns i + j, bin k = a + rows b: a transform over i, turns, a transform over j. Two products with small
    matrices in place of one with a large one: a tenth of the multiplications for 2048 samples, and rounding errors as
    those of a fast transform.

    Parameters
    ----------
    window : (n_fft,), in the precision that is computed in
    """
    n_fft, dtype = len(window), window.dtype
    place, *tables = _tables(n_fft)
    first, turn, turn_back, second = (torch.from_numpy(table).to(window) for table in tables)
    columns, rows = turn.shape[0], turn.shape[1] // 2
    windowed = (framed.to(dtype) * window).index_select(-1, torch.from_numpy(place).to(framed.device))
    x = windowed.unflatten(-1, (columns, rows)) @ first  # (..., j, re and im a)
    turned = x * turn + torch.cat((x[..., rows:], x[..., :rows]), dim=-1) * turn_back
    turned = turned.unflatten(-1, (2, rows)).flatten(-3, -2)  # (..., j re and im, a)
    real, imaginary = ((half @ turned).flatten(-2)[..., : n_fft // 2 + 1] for half in second)  # (..., b, a)
    return real, imaginary


def _tables(n_fft: int) -> tuple[np.ndarray, ...]:
    """Places of the samples by j and i; a matrix (i, re and im a), turns (j, re and im a), matrices (b, j re im)."""
    most = 2 ** math.ceil(math.log2(n_fft) / 2)
    rows = next(n for n in range(most, 0, -1) if n_fft // 2 % n == 0)  # columns are even: the last bin is real
    columns, kept = n_fft // rows, n_fft // 2 // rows + 1
    i, j, a, b = (np.arange(count) for count in (rows, columns, rows, kept))
    cosine, sine = _turns(i[:, None] * a, rows)
    turn_cosine, turn_sine = _turns(j[:, None] * a, n_fft)
    last_cosine, last_sine = _turns(b[:, None] * j, columns)
    return (
        (columns * i + j[:, None]).ravel(),
        np.hstack([cosine, sine]),
        np.hstack([turn_cosine, turn_cosine]),
        np.hstack([-turn_sine, turn_sine]),
        np.stack(
            [
                np.stack([last_cosine, -last_sine], axis=-1).reshape(kept, -1),
                np.stack([last_sine, last_cosine], axis=-1).reshape(kept, -1),
            ]
        ),
    )


def _turns(number: np.ndarray, whole: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of -2 pi number / whole; exactly 0 where they should be, or the phase of a real bin is noise."""
    turn = -2 * np.pi * (number % whole) / whole
    cosine = np.where((4 * number % whole == 0) & (2 * number % whole != 0), 0.0, np.cos(turn))
    return cosine, np.where(2 * number % whole == 0, 0.0, np.sin(turn))


def lags(real: Tensor, imaginary: Tensor, n_fft: int, lag: np.ndarray) -> Tensor:
    """Inverse transform (..., lags) at samples `lag` (modulo n_fft) of half a spectrum (..., n_fft / 2 + 1)."""
    k = np.arange(n_fft // 2 + 1)
    weight = np.where((k == 0) | (2 * k == n_fft), 1.0, 2.0)[:, None] / n_fft  # the other half is its mirror image
    cosine, sine = (torch.from_numpy(weight * part).to(real) for part in _turns(k[:, None] * lag, n_fft))
    return real @ cosine + imaginary @ sine


def angle(imaginary: Tensor, real: Tensor) -> Tensor:
    """Phase in [-pi, pi] rad, as `torch.atan2`; 0 where both are 0."""
    across, along = imaginary.abs(), real.abs()
    longer = torch.maximum(across, along)
    small = torch.atan(torch.minimum(across, along) / torch.where(longer > 0, longer, torch.ones_like(longer)))
    turned = torch.where(across > along, math.pi / 2 - small, small)
    turned = torch.where(real < 0, math.pi - turned, turned)
    return torch.where(imaginary < 0, -turned, turned)
