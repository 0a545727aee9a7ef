"""Log-mel spectrograms and normalised intensity vectors of first-order Ambisonics."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from feature import traced
from feature.mel import MelBands, levels_db_, mel_weights
from feature.stft import Scratch, SpectralFeature

_EPS = 1.2325951644078309e-32  # numpy.spacing(1e-16): the norm of a silent bin is not 0

# weights of |W|^2 and |X|^2 + |Y|^2 + |Z|^2 in what intensities are divided by
NORMS = {"vector": None, "energy": (1.0, 1 / 3), "half_energy": (0.5, 0.5)}


class LogmelIntensity(SpectralFeature):
    """Waveform in ACN order W, Y, Z, X -> 4 log-mel maps in dB, then 3 mel-weighted intensity maps, of x, y, z.

    With `levels` False the intensity maps alone.

    Power mel bands on the Slaney scale with areas of 1, 10 log10(max(1e-10, power)); intensity Re(conj(W) X_k) of each
    bin divided by its norm, then summed with the mel weights.

    References: the public tuning notebook aru-2044922/aml_project_seld, whose settings are the defaults (frames of the
    DCASE 2019 baseline: 48 kHz, hop 960); the DCASE baselines since 2020, `feature.logmel_gcc.DCASE2022` and
    `DCASE2022_INTENSITY`. All of them raise levels to 80 dB below the loudest of their channel in the recording
    (`top_db`), which needs the whole recording: `clip` does so, `forward` never does, see `held`.

    Layout "paper" has the 7 planes one after the other. Layout "reference" interleaves them as the notebook's reshape
    of a row [band x 4 + channel | band x 3 + axis] to (64, 7) does (a quirk, kept as the default).

    Parameters
    ----------
    channels : 4
    rate_hz : sampling rate, for the mel scale up to its half
    bands, fmin_hz : mel bands, and the frequency that they begin at
    axes : channels of the intensity maps in their order; (3, 1, 2) is x, y, z
    norm : what the intensity of a bin is divided by: "vector", its own norm over the axes (2020), or "energy",
        |W|^2 + (|X|^2 + |Y|^2 + |Z|^2) / 3 (since 2022), or "half_energy", (|W|^2 + |X|^2 + |Y|^2 + |Z|^2) / 2 (2021)
    eps : added to that norm
    levels : with the log-mel maps
    others : see `SpectralFeature`
    """

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
        norm: Literal["vector", "energy", "half_energy"] = "vector",
        eps: float = _EPS,
        levels: bool = True,
        layout: Literal["reference", "paper"] = "reference",
        precision: torch.dtype = torch.float64,
        **others: Any,
    ):
        if channels != 4:
            raise ValueError(f"intensity vectors need the 4 channels of first-order Ambisonics, found {channels}")
        if layout not in ("reference", "paper") or norm not in NORMS:
            raise ValueError(f'layout {layout!r}: "reference" or "paper"; norm {norm!r}: one of {", ".join(NORMS)}')
        if not levels and (layout != "paper" or others.get("top_db") is not None):
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
            level_maps=4 if levels else 0,
            **others,
        )
        self.layout, self.levels, self.energy = layout, levels, NORMS[norm]
        self.axes, self.eps = axes, eps
        self._bands = MelBands(mel_weights(rate_hz, n_fft, bands, fmin_hz))

    def loudest(self, features: Tensor) -> Tensor:
        """As `SpectralFeature.loudest`."""
        return super().loudest(self._planes(features)[0])

    def held(self, features: Tensor, loudest: Tensor) -> Tensor:
        """As `SpectralFeature.held`."""
        if self.top_db is None or self.layout == "paper":
            return super().held(features, loudest)
        return self._arranged(super().held(torch.cat(self._planes(features), dim=1), loudest))

    @property
    def mel_weights(self) -> Tensor:
        """Weights (1 + n_fft // 2, bands) of the bins in the bands."""
        return self._bands.weights

    def columns(self, features: Tensor) -> Tensor:
        """Features (batch, 7, T, bands) as rows (batch, T, 7 bands): of layout "reference" in the notebook's order of
        columns, else map by map.
        """
        if self.layout == "paper":
            return features.transpose(1, 2).flatten(2)
        return torch.cat([part.permute(0, 2, 3, 1).flatten(2) for part in self._planes(features)], dim=2)

    def _compute(self, framed: Tensor, out: Tensor, scratch: Scratch) -> None:
        spectrum = self._transform(framed, self.hann, scratch)
        batch, _, frames, bands = out.shape
        made = scratch("made", (batch, 7, frames, bands), torch.float32)
        self._bands.power_intensity(spectrum, scratch, made, axes=self.axes, eps=self.eps, energy=self.energy)
        if not self.levels:
            out.copy_(made[:, 4:])
            return
        levels_db_(made[:, :4])
        out.copy_(self._arranged(made))

    def _traced(self, framed: Tensor) -> Tensor:
        real, imaginary = self._traced_spectrum(framed, self.hann)
        power = real * real + imaginary * imaginary
        along = [real[:, 0] * real[:, axis] + imaginary[:, 0] * imaginary[:, axis] for axis in self.axes]
        intensity = torch.stack(along, dim=1)
        if self.energy:
            norm = power[:, :1] * self.energy[0] + power[:, 1:].sum(dim=1, keepdim=True) * self.energy[1]
        else:
            norm = intensity.square().sum(dim=1, keepdim=True).sqrt()
        intensity = (intensity / traced.plus(norm, self.eps)) @ self.mel_weights
        if not self.levels:
            return intensity
        return self._arranged(torch.cat((levels_db_(power @ self.mel_weights), intensity), dim=1))

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
