"""SALSA-lite: log-power spectra of all channels, and phase differences as delays, of microphone arrays."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from feature.mel import compiled_for, levels_db_, numbers
from feature.stft import Scratch, SpectralFeature
from feature.traced import angle

SPEED_OF_SOUND = 343.0  # m/s


class SalsaLite(SpectralFeature):
    """Waveform of C channels -> C linear-frequency log-power maps in dB, then C - 1 maps of scaled phase differences.

    Reference: Nguyen et al., 'SALSA-Lite: a fast and effective feature for polyphonic SELD with microphone arrays',
    ICASSP 2022, as the DCASE baselines of 2022 and 2023 have it. A phase difference, of X_m conj(X_0), is divided by
    2 pi f / c, which gives metres of path; it is kept up to `alias_hz`, above that it is 0.

    The published code counts the limit of the phases from the first bin that is kept, not from 0: phases survive up to
    two bins more, 2 to 86 at the default settings, where 84 is meant (a quirk, kept).

    Parameters
    ----------
    channels : C, of the waveform; the first one is what phases refer to
    rate_hz, n_fft, win_length, hop_length : samples
    low_hz, high_hz : of the bins that are kept
    alias_hz : above it the phases of the array are ambiguous
    precision : of the transform; what follows it is float32
    others : see `SpectralFeature`
    """

    scale: Tensor

    def __init__(
        self,
        channels: int = 4,
        *,
        rate_hz: int = 24000,
        n_fft: int = 1024,
        win_length: int = 960,
        hop_length: int = 480,
        low_hz: float = 50.0,
        high_hz: float = 9000.0,
        alias_hz: float = 2000.0,
        pad_mode: Literal["reflect", "constant"] = "constant",
        precision: torch.dtype = torch.float32,
        **others: Any,
    ):
        if channels < 2:
            raise ValueError(f"phase differences need 2 channels or more, found {channels}")
        first = max(1, math.floor(low_hz * n_fft / rate_hz))
        last = math.floor(min(high_hz, rate_hz / 2) * n_fft / rate_hz)
        super().__init__(
            channels,
            n_fft=n_fft,
            win_length=win_length,
            hop_length=hop_length,
            window="periodic",
            center=True,
            pad_mode=pad_mode,
            ortho=False,
            first_bin=first,
            bins=last - first,
            maps=2 * channels - 1,
            out_bins=last - first,
            precision=precision,
            level_maps=channels,
            **others,
        )
        self.phase_bins = min(math.floor(min(alias_hz, rate_hz / 2) * n_fft / rate_hz), self.bins)
        delta = 2 * math.pi * rate_hz / (n_fft * SPEED_OF_SOUND)
        scale = 1 / (delta * torch.arange(first, first + self.phase_bins, dtype=torch.float64))
        self.register_buffer("scale", scale.to(torch.float32), persistent=False)

    def columns(self, features: Tensor) -> Tensor:
        """Features (batch, maps, T, bins) as rows (batch, T, maps bins), map by map."""
        return features.transpose(1, 2).flatten(2)

    def _compute(self, framed: Tensor, out: Tensor, scratch: Scratch) -> None:
        spectrum, channels, phases = self._transform(framed, self.hann, scratch), self.channels, self.phase_bins
        batch, _, frames, _ = spectrum.shape
        power = out[:, :channels]
        pairs = (batch, channels - 1, frames, phases)
        real, imaginary = scratch("real", pairs, torch.float32), scratch("imaginary", pairs, torch.float32)
        self._products(spectrum, power, real, imaginary)
        torch.atan2(imaginary, real, out=real)
        torch.mul(real, self.scale, out=out[:, channels:, :, :phases])
        out[:, channels:, :, phases:] = 0

    def _traced(self, framed: Tensor) -> Tensor:
        real, imaginary = (part[..., self._taken] for part in self._traced_spectrum(framed, self.hann))
        levels = levels_db_(real * real + imaginary * imaginary)
        real, imaginary = real[..., : self.phase_bins], imaginary[..., : self.phase_bins]
        along = real[:, 1:] * real[:, :1] + imaginary[:, 1:] * imaginary[:, :1]
        across = imaginary[:, 1:] * real[:, :1] - real[:, 1:] * imaginary[:, :1]
        path = angle(across, along) * self.scale
        path = functional.pad(path, (0, self.bins - self.phase_bins))
        return torch.cat((levels, path), dim=1)

    def _finish(self, out: Tensor) -> None:
        levels_db_(out[:, : self.channels])

    def _products(self, spectrum: Tensor, power: Tensor, real: Tensor, imaginary: Tensor) -> None:
        """Spectrum -> its power in the bins that are kept, X_m conj(X_0) in those that have phases."""
        if (compiled := compiled_for(spectrum)) is not None:
            made = (part.numpy() for part in (power, real, imaginary))
            compiled.write_power_products(numbers(spectrum), self._taken.start, *made)
            return
        parts = torch.view_as_real(spectrum)[..., self._taken, :]
        power.copy_(parts.float().square().sum(dim=-1))
        low = torch.view_as_complex(parts[..., : self.phase_bins, :].contiguous())
        product = torch.view_as_real(low[:, 1:] * low[:, :1].conj())
        real.copy_(product[..., 0])
        imaginary.copy_(product[..., 1])
