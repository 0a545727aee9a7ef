"""Log-mel spectrograms and normalised intensity vectors of first-order Ambisonics, for tuned SELDnets."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from feature.mel import mel_levels_db, mel_weights
from feature.stft import SpectralFeature

_EPS = 1.2325951644078309e-32  # numpy.spacing(1e-16): the norm of a silent bin is not 0


class LogmelIntensity(SpectralFeature):
    """Waveform in ACN order W, Y, Z, X -> 4 log-mel maps in dB, then 3 mel-weighted intensity maps, of x, y, z.

    With `levels` False the intensity maps alone.

    Reference: the public tuning notebook aru-2044922/aml_project_seld. Frames of the DCASE 2019 baseline (48 kHz, hop
    960), all bins; power mel bands on the Slaney scale with areas of 1, 10 log10(max(1e-10, power)); intensity
    Re(conj(W) X_k) of each bin divided by its own norm over the axes, then summed with the mel weights.

    The notebook also raises every level to 80 dB below the loudest of its channel in the recording, which needs the
    whole recording: `clip` does so where `top_db` is given; `forward`, for windows and streams, never does.

    Layout "paper" has the 7 planes one after the other. Layout "reference" interleaves them as the notebook's reshape
    of a row [band x 4 + channel | band x 3 + axis] to (64, 7) does (a quirk, kept as the default).

    Parameters
    ----------
    channels : 4
    rate_hz : sampling rate, for the mel scale up to its half
    bands, fmin_hz : mel bands, and the frequency that they begin at
    axes : channels of the intensity maps in their order; (3, 1, 2) is x, y, z
    eps : added to the norm that an intensity is divided by
    levels : with the log-mel maps
    top_db : dynamic range of `clip` in dB; None: unlimited
    others : see `SpectralFeature`
    """

    mel_weights: Tensor

    def __init__(
        self,
        channels: int = 4,
        *,
        rate_hz: int = 48000,
        n_fft: int = 2048,
        win_length: int = 1920,
        hop_length: int = 960,
        window: Literal["symmetric", "periodic"] = "periodic",
        center: bool = True,
        pad_mode: Literal["reflect", "constant"] = "reflect",
        bands: int = 64,
        fmin_hz: float = 0.0,
        axes: tuple[int, int, int] = (3, 1, 2),
        eps: float = _EPS,
        levels: bool = True,
        top_db: float | None = None,
        layout: Literal["reference", "paper"] = "reference",
        precision: torch.dtype = torch.float64,
    ):
        if channels != 4:
            raise ValueError(f"intensity vectors need the 4 channels of first-order Ambisonics, found {channels}")
        if layout not in ("reference", "paper"):
            raise ValueError(f'layout {layout!r}: "reference" or "paper"')
        if not levels and (layout != "paper" or top_db is not None):
            raise ValueError("intensity maps alone have no other layout than that of the paper, and no dynamic range")
        super().__init__(
            channels,
            n_fft=n_fft,
            win_length=win_length,
            hop_length=hop_length,
            window=window,
            center=center,
            pad_mode=pad_mode,
            ortho=False,
            first_bin=0,
            bins=n_fft // 2 + 1,
            maps=7 if levels else 3,
            out_bins=bands,
            precision=precision,
        )
        self.layout, self.top_db, self.levels = layout, top_db, levels
        self.axes, self.eps = list(axes), eps
        self.register_buffer("mel_weights", mel_weights(rate_hz, n_fft, bands, fmin_hz), persistent=False)

    def clip(self, waveform: Tensor, frames: int) -> Tensor:
        """As `SpectralFeature.clip`; with `top_db`, levels are raised to that range below the channel's loudest."""
        features = super().clip(waveform, frames)
        if self.top_db is None:
            return features
        levels, intensity = self._planes(features)
        floor = levels.amax(dim=(2, 3), keepdim=True) - self.top_db
        return self._arranged(torch.cat((torch.maximum(levels, floor), intensity), dim=1))

    def columns(self, features: Tensor) -> Tensor:
        """Features (batch, 7, T, bands) as rows (batch, T, 7 bands) in the notebook's order of columns."""
        return torch.cat([part.permute(0, 2, 3, 1).flatten(2) for part in self._planes(features)], dim=2)

    def _block(self, real: Tensor, imaginary: Tensor, out: Tensor) -> None:
        axes = self.axes
        intensity = real[:, :1] * real[:, axes] + imaginary[:, :1] * imaginary[:, axes]
        norm = intensity.square().sum(dim=1, keepdim=True).sqrt_().add_(self.eps)  # vector_norm takes ten times as long
        intensity = intensity.div_(norm) @ self.mel_weights
        if not self.levels:
            out.copy_(intensity)
            return
        levels = mel_levels_db(real, imaginary, self.mel_weights)
        out.copy_(self._arranged(torch.cat((levels, intensity), dim=1)))

    def _arranged(self, planes: Tensor) -> Tensor:
        """Planes one after the other (batch, 7, T, bands) -> the layout."""
        if self.layout == "paper":
            return planes
        rows = torch.cat([part.permute(0, 2, 3, 1).flatten(2) for part in planes.split((4, 3), dim=1)], dim=2)
        return rows.unflatten(2, (self.bins, 7)).permute(0, 3, 1, 2)

    def _planes(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The layout -> levels (batch, 4, T, bands), intensity (batch, 3, T, bands)."""
        if self.layout == "paper":
            return features[:, :4], features[:, 4:]
        rows = features.permute(0, 2, 3, 1).flatten(2)
        levels, intensity = rows.split((4 * self.bins, 3 * self.bins), dim=2)
        return (
            levels.unflatten(2, (self.bins, 4)).permute(0, 3, 1, 2),
            intensity.unflatten(2, (self.bins, 3)).permute(0, 3, 1, 2),
        )
