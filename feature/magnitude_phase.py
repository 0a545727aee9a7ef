"""Magnitude and phase spectrograms of every channel, the feature of SELDnet 2018 and of the DCASE 2019 baseline."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from feature.stft import SpectralFeature
from feature.traced import angle

SILENCE = 1e-12  # magnitude below which a phase is rounding error, and is set to 0

# Settings of the two published systems: 44.1 kHz and 30 s clips, 48 kHz and 60 s clips.
SELDNET2018: dict[str, Any] = {
    "n_fft": 512,
    "win_length": 512,
    "hop_length": 256,
    "window": "symmetric",
    "center": False,
    "ortho": True,
    "first_bin": 0,  # without the Nyquist bin
    "bins": 256,
}
SELDNET2019: dict[str, Any] = {
    "n_fft": 2048,
    "win_length": 1920,
    "hop_length": 960,
    "window": "periodic",
    "center": True,
    "pad_mode": "reflect",  # librosa < 0.9, which the baseline was made with; later versions pad with zeros
    "ortho": False,
    "first_bin": 1,  # without the DC bin
    "bins": 1024,
}

Layout = Literal["reference", "paper"]


class MagnitudePhase(SpectralFeature):
    """Waveform of C channels -> 2 C maps of linear magnitudes and of phases in (-pi, pi] rad.

    Reference: sharathadavanne/seld-net (arXiv 1807.00129) and sharathadavanne/seld-dcase2019 (arXiv 1905.08546).

    Layout "paper" has C planes of magnitudes, then C planes of phases. Layout "reference" is what the published systems
    were trained with, the outcome of a reshape across the blocks of a row [magnitudes | phases] (a quirk, kept as the
    default): the lower half of the frequency axis holds magnitudes, plane c those of channel c at even bins and plane
    C + c those at odd bins; the upper half holds the phases in the same way.

    Parameters
    ----------
    channels : C, of the waveform
    layout : "reference" or "paper"
    others : see `SpectralFeature`; `SELDNET2018` and `SELDNET2019` are the published settings
    """

    jumps = True

    def __init__(
        self,
        channels: int,
        *,
        n_fft: int,
        win_length: int,
        hop_length: int,
        window: Literal["symmetric", "periodic"],
        center: bool,
        pad_mode: Literal["reflect", "constant"] = "reflect",
        ortho: bool,
        first_bin: int,
        bins: int,
        layout: Layout = "reference",
        precision: torch.dtype = torch.float64,
    ):
        super().__init__(
            channels,
            n_fft=n_fft,
            win_length=win_length,
            hop_length=hop_length,
            window=window,
            center=center,
            pad_mode=pad_mode,
            ortho=ortho,
            first_bin=first_bin,
            bins=bins,
            maps=2 * channels,
            out_bins=bins,
            precision=precision,
        )
        self.layout = _checked(layout)

    def columns(self, features: Tensor) -> Tensor:
        """Features (batch, 2 C, T, bins) as rows (batch, T, 2 C bins) in the reference's order of columns.

        A row is [magnitudes | phases], each block with column bin x C + channel.
        """
        return rows_of_maps(features, self.layout)

    def _block(self, real: Tensor, imaginary: Tensor, out: Tensor) -> None:
        magnitude = torch.addcmul(real * real, imaginary, imaginary).sqrt_()
        phase = torch.atan2(imaginary, real).masked_fill_(magnitude < SILENCE, 0)
        phase.masked_fill_(phase == -math.pi, math.pi)  # a mirrored frame is real: only rounding tells them apart
        channels, bins = self.channels, self.bins
        if self.layout == "paper":
            out[:, :channels], out[:, channels:] = magnitude, phase
        elif bins % 2:
            rows = torch.stack((magnitude, phase), dim=1).permute(0, 3, 1, 4, 2).flatten(2)
            out.copy_(maps_of_rows(rows, channels, "reference"))
        else:
            half = bins // 2
            for place, values in ((slice(half), magnitude), (slice(half, bins), phase)):
                out[:, :channels, :, place] = values[..., 0::2]
                out[:, channels:, :, place] = values[..., 1::2]

    def _traced(self, framed: Tensor) -> Tensor:
        real, imaginary = self._spectrum(framed)
        magnitude = (real * real + imaginary * imaginary).sqrt()
        phase = torch.where(magnitude < SILENCE, 0.0, angle(imaginary, real))
        phase = torch.where(phase == -math.pi, math.pi, phase)
        if self.layout == "paper":
            return torch.cat((magnitude, phase), dim=1)
        if self.bins % 2:
            rows = torch.stack((magnitude, phase), dim=1).permute(0, 3, 1, 4, 2).flatten(2)
            return maps_of_rows(rows, self.channels, "reference")
        halves = (torch.cat((part[..., 0::2], part[..., 1::2]), dim=1) for part in (magnitude, phase))
        return torch.cat(tuple(halves), dim=3)


def maps_of_rows(rows: Tensor, channels: int, layout: Layout = "reference") -> Tensor:
    """Rows (batch, T, 2 C F) = [magnitudes | phases], columns bin x C + channel, as maps (batch, 2 C, T, F)."""
    batch, frames, width = rows.shape
    if _checked(layout) == "reference":
        return rows.reshape(batch, frames, -1, 2 * channels).permute(0, 3, 1, 2)
    bins = width // (2 * channels)
    return rows.reshape(batch, frames, 2, bins, channels).permute(0, 2, 4, 1, 3).reshape(batch, -1, frames, bins)


def rows_of_maps(maps: Tensor, layout: Layout = "reference") -> Tensor:
    """The inverse of `maps_of_rows`."""
    batch, planes, frames, bins = maps.shape
    if _checked(layout) == "reference":
        return maps.permute(0, 2, 3, 1).reshape(batch, frames, -1)
    return maps.reshape(batch, 2, planes // 2, frames, bins).permute(0, 3, 1, 4, 2).reshape(batch, frames, -1)


def _checked(layout: Layout) -> Layout:
    if layout not in ("reference", "paper"):
        raise ValueError(f'layout {layout!r}: "reference" or "paper"')
    return layout
