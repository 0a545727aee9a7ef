"""Framing and short-time Fourier transform that the SELDnet features share."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from feature.audio import AudioFeature
from feature.traced import frames_of, plus, spectrum

_CPU_BLOCK_SAMPLES = 2**16  # frames of a block times n_fft: few calls, and what is made of a block stays in a cache


_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


class Scratch:
    """Tensors of one call that every block uses again: new ones would be new pages of memory each time."""

    def __init__(self, device: torch.device):
        self.device = device
        self._held: dict[str, Tensor] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A contiguous tensor that holds anything."""
        count, held = math.prod(shape), self._held.get(name)
        if held is None or held.numel() < count:
            held = self._held[name] = torch.empty(count, dtype=dtype, device=self.device)
        return held[:count].view(shape)


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
    offset : added to every sample of a recording, 1e-8 in the DCASE baselines since 2022: it decides what silence is
    top_db : levels, the first `level_maps` planes, are raised to that range below the loudest (`held`); None: unlimited
    held_over : "recording" or "item", see `AudioFeature`
    one_floor : the loudest of all planes counts, not that of each by itself

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
        offset: float = 0.0,
        top_db: float | None = None,
        held_over: Literal["recording", "item"] = "recording",
        one_floor: bool = False,
        level_maps: int = 0,
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
        self.offset, self.top_db, self.one_floor, self.level_maps = offset, top_db, one_floor, level_maps
        self.held_over = "" if top_db is None else held_over
        self._taken = slice(first_bin, first_bin + bins)
        self._norm = "ortho" if ortho else "backward"
        hann = torch.hann_window(win_length, periodic=window == "periodic", dtype=torch.float64)
        lead = (n_fft - win_length) // 2
        self.register_buffer("hann", functional.pad(hann, (lead, n_fft - win_length - lead)), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Feature of the frames that lie inside the samples given; nothing is padded, no level is `held`.

        Parameters
        ----------
        waveform : (batch, channels, samples)

        Returns
        -------
        (batch, maps, (samples - n_fft) // hop_length + 1, bins) float32; frame j covers the samples
            [hop_length j, hop_length j + n_fft)
        """
        with torch.no_grad(), torch.autocast(waveform.device.type, enabled=False):
            return self._frames(self._offset(waveform))

    def loudest(self, features: Tensor) -> Tensor:
        """As `AudioFeature.loudest`: (batch, level planes)."""
        found = features[:, : self.level_maps].amax(dim=(2, 3))
        return found.amax(dim=1, keepdim=True).expand_as(found) if self.one_floor else found

    def held(self, features: Tensor, loudest: Tensor) -> Tensor:
        """As `AudioFeature.held`; written over the features."""
        if self.top_db is not None:
            levels = features[:, : self.level_maps]
            if torch.compiler.is_exporting():
                levels = torch.maximum(levels, (loudest - self.top_db).transpose(1, 2)[..., None])
                return torch.cat((levels, features[:, self.level_maps :]), dim=1)
            torch.maximum(levels, (loudest - self.top_db).transpose(1, 2)[..., None], out=levels)
        return features

    def clip(self, waveform: Tensor, frames: int) -> Tensor:
        """Feature of the first `frames` frames of a whole clip, as the reference frames a clip of that length.

        Zeros follow a clip that is too short. Where frames are centred, the clip is taken to be frames x hop_length
        samples long, cut or filled up with zeros, and mirrored at both ends (or zeros, see `reflect`). With `top_db`
        levels are raised to that range below the loudest of these frames.

        Parameters
        ----------
        waveform : (batch, channels, samples)

        Returns
        -------
        (batch, maps, frames, bins) float32
        """
        with torch.no_grad(), torch.autocast(waveform.device.type, enabled=False):
            features = self._frames(self._clip_samples(self._offset(waveform), frames))
            return features if self.top_db is None else self.held(features, self.loudest(features)[:, None])

    def _clip_samples(self, waveform: Tensor, frames: int) -> Tensor:
        """The samples that the frames of a clip cover, with what lies beyond its ends."""
        due = (frames - 1) * self.hop_length + self.n_fft
        if not self.left:
            return functional.pad(waveform, (0, max(due - waveform.shape[-1], 0)))[..., :due]
        length = frames * self.hop_length
        if waveform.shape[-1] < length:
            waveform = functional.pad(waveform, (0, length - waveform.shape[-1]))
        waveform = waveform[..., :length]
        around = (self.left, max(due - self.left - length, 0))
        if self.reflect and length <= max(around):
            raise ValueError(f"{frames} frames of {self.hop_length} samples cannot mirror {max(around)} samples")
        waveform = functional.pad(waveform, around, mode="reflect" if self.reflect else "constant")
        return waveform[..., :due]

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

    def _offset(self, waveform: Tensor) -> Tensor:
        return waveform if not self.offset else plus(waveform.to(self.precision), self.offset)

    def _frames(self, waveform: Tensor) -> Tensor:
        """Block by block on the processor, at once elsewhere."""
        framed = self._framed(waveform)
        if torch.compiler.is_exporting():
            return self._traced(framed)
        batch, _, frames, _ = framed.shape
        out = torch.empty((batch, self.maps, frames, self.bins), device=waveform.device)
        scratch = Scratch(waveform.device)
        if waveform.device.type != "cpu":
            self._compute(framed, out, scratch)
            self._finish(out)
            return out
        step = max(_CPU_BLOCK_SAMPLES // self.n_fft, 1)
        for item in range(batch):
            for first in range(0, frames, step):
                part = slice(first, first + step)
                whole = slice(item, item + 1)
                self._compute(framed[whole, :, part], out[whole, :, part], scratch)
        self._finish(out)
        return out

    def _framed(self, waveform: Tensor) -> Tensor:
        """Waveform (batch, channels, samples) -> a view of its frames (batch, channels, frames, n_fft)."""
        if waveform.ndim != 3 or waveform.shape[1] != self.channels:
            found = tuple(waveform.shape)
            raise ValueError(f"waveform {found}, the feature is made for (batch, {self.channels} channels, samples)")
        if waveform.shape[-1] < self.n_fft:
            raise ValueError(f"waveform of {waveform.shape[-1]} samples, a frame takes {self.n_fft}")
        if torch.compiler.is_exporting():
            return frames_of(waveform, self.n_fft, self.hop_length)
        return waveform.unfold(-1, self.n_fft, self.hop_length)

    def _traced(self, framed: Tensor) -> Tensor:
        """Frames (batch, channels, frames, n_fft) -> (batch, maps, frames, bins), for graphs that leave PyTorch.

        By operators that every runtime has; `_compute` and `_finish` are for speed here.
        """
        raise ValueError(f"{type(self).__name__} cannot be part of a graph")

    def _traced_spectrum(self, framed: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary part (..., n_fft / 2 + 1) float32, for such graphs."""
        scale = framed.shape[-1] ** -0.5 if self._norm == "ortho" else 1.0
        real, imaginary = spectrum(framed, window.to(self.precision))
        return (real * scale).float(), (imaginary * scale).float()

    def _compute(self, framed: Tensor, out: Tensor, scratch: Scratch) -> None:
        """Frames (batch, channels, frames, n_fft) -> out (batch, maps, frames, bins)."""
        self._block(*self._spectrum(framed), out)

    def _finish(self, out: Tensor) -> None:
        """What is better done to all frames at once, written over them."""

    def _transform(self, framed: Tensor, window: Tensor, scratch: Scratch) -> Tensor:
        """Frames (batch, channels, frames, samples), window (samples,) -> spectra (..., 1 + samples // 2), complex."""
        shape, precision = tuple(framed.shape), self.precision
        windowed = scratch(f"windowed {shape[-1]}", shape, precision)
        torch.mul(framed, window.to(precision), out=windowed)
        spectrum = scratch(f"spectrum {shape[-1]}", (*shape[:-1], shape[-1] // 2 + 1), _COMPLEX[precision])
        return torch.fft.rfft(windowed, norm=self._norm, out=spectrum)

    def _spectrum(self, framed: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (batch, channels, frames, n_fft) -> real, imaginary part (batch, channels, frames, bins) float32."""
        spectrum = torch.fft.rfft(framed.to(self.precision) * self.hann.to(self.precision), norm=self._norm)
        parts = torch.view_as_real(spectrum)[..., self._taken, :].float()
        return parts[..., 0].contiguous(), parts[..., 1].contiguous()

    def _block(self, real: Tensor, imaginary: Tensor, out: Tensor) -> None:
        """Spectrum -> out (batch, maps, frames, bins)."""
        raise NotImplementedError
