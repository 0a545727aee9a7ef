"""Framing and short-time Fourier transform that the SELDnet features share."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from feature.audio import AudioFeature

_CPU_BLOCK_SAMPLES = 2**17  # frames of a block times n_fft: blocks stay in the processor's cache


class SpectralFeature(AudioFeature):
    """Waveform -> feature computed from the short-time spectrum of each frame by itself; subclasses give `_block`.

    Parameters
    ----------
    channels : of the waveform
    n_fft, win_length, hop_length : samples; a shorter window stands in the middle of the n_fft samples, between zeros
    window : Hann window, "symmetric" (divides by N - 1) or "periodic" (by N)
    center : frame t of a clip is centred at sample hop t; else it begins there
    pad_mode : what `clip` puts around a clip whose frames are centred: "reflect" or "constant" (zeros)
    ortho : divide the spectrum by sqrt(n_fft)
    first_bin, bins : which bins of the transform are taken
    maps, out_bins : planes and bins of the feature
    precision : of the transform; what follows it is float32

    Attributes
    ----------
    left : samples of a clip's first frame that lie before the clip
    reflect : `clip` mirrors the clip into them; else they are zeros
    """

    hann: Tensor

    def __init__(
        self,
        channels: int,
        *,
        n_fft: int,
        win_length: int,
        hop_length: int,
        window: Literal["symmetric", "periodic"],
        center: bool,
        pad_mode: Literal["reflect", "constant"],
        ortho: bool,
        first_bin: int,
        bins: int,
        maps: int,
        out_bins: int,
        precision: torch.dtype,
    ):
        super().__init__()
        if not 0 < win_length <= n_fft:
            raise ValueError(f"window of {win_length} samples in a transform of {n_fft}")
        if not 0 <= first_bin < first_bin + bins <= n_fft // 2 + 1:
            raise ValueError(f"bins {first_bin} to {first_bin + bins - 1} of a transform of {n_fft} samples")
        if window not in ("symmetric", "periodic") or pad_mode not in ("reflect", "constant"):
            raise ValueError(f"window {window!r}, pad_mode {pad_mode!r}")
        self.channels, self.maps, self.bins = channels, maps, out_bins
        self.n_fft, self.win_length, self.hop_length = n_fft, win_length, hop_length
        self.left = n_fft // 2 if center else 0
        self.reflect = center and pad_mode == "reflect"
        self.precision = precision
        self._taken = slice(first_bin, first_bin + bins)
        self._norm = "ortho" if ortho else "backward"
        hann = torch.hann_window(win_length, periodic=window == "periodic", dtype=torch.float64)
        lead = (n_fft - win_length) // 2
        self.register_buffer("hann", functional.pad(hann, (lead, n_fft - win_length - lead)), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Feature of the frames that lie inside the samples given; nothing is padded.

        Parameters
        ----------
        waveform : (batch, channels, samples)

        Returns
        -------
        (batch, maps, (samples - n_fft) // hop_length + 1, bins) float32; frame j covers the samples
            [hop_length j, hop_length j + n_fft)
        """
        with torch.no_grad(), torch.autocast(waveform.device.type, enabled=False):
            return self._frames(waveform)

    def clip(self, waveform: Tensor, frames: int) -> Tensor:
        """Feature of the first `frames` frames of a whole clip, as the reference frames a clip of that length.

        Zeros follow a clip that is too short. Where frames are centred, the clip is taken to be frames x hop_length
        samples long, cut or filled up with zeros, and mirrored at both ends (or zeros, see `reflect`).

        Parameters
        ----------
        waveform : (batch, channels, samples)

        Returns
        -------
        (batch, maps, frames, bins) float32
        """
        due = (frames - 1) * self.hop_length + self.n_fft
        if not self.left:
            return self(functional.pad(waveform, (0, max(due - waveform.shape[-1], 0)))[..., :due])
        length = frames * self.hop_length
        waveform = functional.pad(waveform, (0, max(length - waveform.shape[-1], 0)))[..., :length]
        around = (self.left, max(due - self.left - length, 0))
        if self.reflect and length <= max(around):
            raise ValueError(f"{frames} frames of {self.hop_length} samples cannot mirror {max(around)} samples")
        waveform = functional.pad(waveform, around, mode="reflect" if self.reflect else "constant")
        return self(waveform[..., :due])

    def whole(self, waveform: Tensor) -> Tensor:
        """Feature of a whole recording whose frames are centred and whose ends, wherever they lie, are mirrored.

        Parameters
        ----------
        waveform : (batch, channels, samples), more than n_fft / 2 samples

        Returns
        -------
        (batch, maps, 1 + samples // hop_length, bins) float32
        """
        if not self.reflect:
            raise ValueError("only a feature whose frames are centred and mirrored has frames beyond both ends")
        if waveform.shape[-1] <= self.left:
            raise ValueError(f"{waveform.shape[-1]} samples cannot mirror {self.left}")
        return self(functional.pad(waveform, (self.left, self.left), mode="reflect"))

    def _frames(self, waveform: Tensor) -> Tensor:
        """Block by block on the processor, at once elsewhere."""
        framed = self._framed(waveform)
        batch, _, frames, _ = framed.shape
        out = torch.empty((batch, self.maps, frames, self.bins), device=waveform.device)
        if waveform.device.type != "cpu":
            self._compute(framed, out)
            return out
        step = max(_CPU_BLOCK_SAMPLES // self.n_fft, 1)
        for item in range(batch):
            for first in range(0, frames, step):
                part = slice(first, first + step)
                whole = slice(item, item + 1)
                self._compute(framed[whole, :, part], out[whole, :, part])
        return out

    def _framed(self, waveform: Tensor) -> Tensor:
        """Waveform (batch, channels, samples) -> a view of its frames (batch, channels, frames, n_fft)."""
        if waveform.ndim != 3 or waveform.shape[1] != self.channels:
            found = tuple(waveform.shape)
            raise ValueError(f"waveform {found}, the feature is made for (batch, {self.channels} channels, samples)")
        if waveform.shape[-1] < self.n_fft:
            raise ValueError(f"waveform of {waveform.shape[-1]} samples, a frame takes {self.n_fft}")
        return waveform.unfold(-1, self.n_fft, self.hop_length)

    def _compute(self, framed: Tensor, out: Tensor) -> None:
        """Frames (batch, channels, frames, n_fft) -> out (batch, maps, frames, bins)."""
        self._block(*self._spectrum(framed), out)

    def _spectrum(self, framed: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (batch, channels, frames, n_fft) -> real, imaginary part (batch, channels, frames, bins) float32."""
        spectrum = torch.fft.rfft(framed.to(self.precision) * self.hann.to(self.precision), norm=self._norm)
        parts = torch.view_as_real(spectrum)[..., self._taken, :].float()
        return parts[..., 0].contiguous(), parts[..., 1].contiguous()

    def _block(self, real: Tensor, imaginary: Tensor, out: Tensor) -> None:
        """Spectrum -> out (batch, maps, frames, bins)."""
        raise NotImplementedError
