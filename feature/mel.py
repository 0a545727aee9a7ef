"""Mel bands on the Slaney scale with areas of 1, and levels in them."""

from __future__ import annotations

import torch
from torch import Tensor

_AMIN = 1e-10  # least power whose level is taken: -100 dB


def mel_weights(rate_hz: int, n_fft: int, bands: int, fmin_hz: float) -> Tensor:
    """Weights (1 + n_fft // 2, bands) float32 of the bins in bands up to half of the rate."""
    from librosa.filters import mel  # only here: importing librosa takes a second

    return torch.from_numpy(mel(sr=rate_hz, n_fft=n_fft, n_mels=bands, fmin=fmin_hz).T.copy())


def mel_levels_db(real: Tensor, imaginary: Tensor, weights: Tensor) -> Tensor:
    """Spectrum (..., bins) -> levels of its power in mel bands (..., bands) in dB, at least -100."""
    power = torch.addcmul(real * real, imaginary, imaginary)
    return (power @ weights).clamp_(min=_AMIN).log10_().mul_(10)
