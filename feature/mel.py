"""Mel bands on the Slaney scale with areas of 1, and levels in them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from feature.stft import Scratch

_AMIN = 1e-10  # least power whose level is taken: -100 dB


def mel_weights(rate_hz: int, n_fft: int, bands: int, fmin_hz: float) -> Tensor:
    """Weights (1 + n_fft // 2, bands) float32 of the bins in bands up to half of the rate."""
    from librosa.filters import mel  # only here: importing librosa takes a second

    return torch.from_numpy(mel(sr=rate_hz, n_fft=n_fft, n_mels=bands, fmin=fmin_hz).T.copy())


def levels_db_(power: Tensor) -> Tensor:
    """Power -> level in dB, at least -100; written over the power."""
    return power.clamp_(min=_AMIN).log10_().mul_(10)


class MelBands(nn.Module):
    """Spectra -> powers in mel bands; on the CPU in single precision by compiled loops, elsewhere by operators.

    The bands are taken in three parts, each a product with the bins that count there: two thirds of the arithmetic
    would multiply by 0.

    Parameters
    ----------
    weights : (bins, bands)
    """

    weights: Tensor

    def __init__(self, weights: Tensor):
        super().__init__()
        self.register_buffer("weights", weights, persistent=False)
        bands = weights.shape[1]
        self._parts = []
        for begin, end in ((0, bands // 2), (bands // 2, bands * 3 // 4), (bands * 3 // 4, bands)):
            used = (weights[:, begin:end] != 0).any(dim=1).nonzero()
            if len(used):
                self._parts.append((slice(begin, end), slice(int(used[0]), int(used[-1]) + 1)))

    def power(self, spectrum: Tensor, scratch: Scratch, out: Tensor) -> None:
        """Spectrum (batch, channels, frames, bins), complex -> out (batch, channels, frames, bands)."""
        if (compiled := compiled_for(spectrum)) is not None:
            power = scratch("power", tuple(spectrum.shape), torch.float32)
            compiled.write_power(numbers(spectrum), power.numpy())
        else:
            real, imaginary = torch.view_as_real(spectrum).float().unbind(-1)
            power = torch.addcmul(real * real, imaginary, imaginary)
        self.sums(power, scratch, out)

    def power_intensity(
        self,
        spectrum: Tensor,
        scratch: Scratch,
        out: Tensor,
        *,
        axes: tuple[int, int, int],
        eps: float,
        energy: tuple[float, float] | None,
    ) -> None:
        """Spectrum of Ambisonics -> 4 planes of power, 3 of normalised intensity: out (batch, 7, frames, bands).

        Parameters
        ----------
        axes : channels of the intensities Re(conj(W) X)
        eps : added to what they are divided by
        energy : weights of |W|^2 and |X|^2 + |Y|^2 + |Z|^2 in the energy that this is; None: it is their own norm
        """
        batch, _, frames, bins = spectrum.shape
        planes = scratch("planes", (batch, 7, frames, bins), torch.float32)
        if (compiled := compiled_for(spectrum)) is not None:
            weights = map(np.float32, energy or (0, 0))
            compiled.write_power_intensity(
                numbers(spectrum), axes, np.float32(eps), energy is not None, *weights, planes.numpy()
            )
        else:
            real, imaginary = (part.contiguous() for part in torch.view_as_real(spectrum).float().unbind(-1))
            power, intensity = planes[:, :4], planes[:, 4:]
            power.copy_(torch.addcmul(real * real, imaginary, imaginary))
            intensity.copy_(real[:, :1] * real[:, axes] + imaginary[:, :1] * imaginary[:, axes])
            if energy is not None:
                norm = power[:, 1:].sum(dim=1, keepdim=True).mul_(energy[1]).add_(power[:, :1], alpha=energy[0])
            else:
                norm = intensity.square().sum(dim=1, keepdim=True).sqrt_()  # vector_norm takes ten times as long
            intensity.div_(norm.add_(eps))
        self.sums(planes, scratch, out)

    def sums(self, planes: Tensor, scratch: Scratch, out: Tensor) -> None:
        """Planes (batch, planes, frames, bins) -> their sums in the bands, out (batch, planes, frames, bands)."""
        rows = planes.flatten(0, 2)
        made = scratch("bands", (len(rows), self.weights.shape[1]), torch.float32).zero_()
        for bands, bins in self._parts:
            torch.mm(rows[:, bins], self.weights[bins, bands], out=made[:, bands])
        out.copy_(made.view(out.shape))


def compiled_for(spectrum: Tensor) -> Any:
    """The compiled loops, where they take a spectrum; None elsewhere, and where nothing can be installed: slower."""
    return compiled_on(spectrum.device) if spectrum.dtype == torch.complex64 else None


def compiled_on(device: torch.device) -> Any:
    """The compiled loops for spectra in single precision on a device; None: there are none."""
    if device.type != "cpu":
        return None
    try:
        from feature import mel_cpu  # elsewhere than on a CPU, numba is not needed
    except ImportError:
        return None
    return mel_cpu


def numbers(spectrum: Tensor) -> np.ndarray:
    """Complex values (..., bins) on the CPU as an array (..., bins, 2) of their real and imaginary parts."""
    return torch.view_as_real(spectrum).numpy()
