"""Log-mel level and mean direction of the energy in mel bands: what the system of this project hears.

First-order Ambisonics is taken as it is. A microphone array becomes first-order Ambisonics first, bin by bin, by the
least-squares encoder of its capsules (`feature.encoding`), so that both hear the same planes. Two channels have no
intensity vector: their planes are levels, the level difference and the phase difference.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from feature.mel import MelBands, compiled_on, mel_weights, numbers
from feature.stft import Scratch, SpectralFeature
from feature.traced import plus

FLOOR_DB = -100.0  # least level; the plane of levels is the level above it, so that silence and padding are 0
_AMIN = 10 ** (FLOOR_DB / 10)
_EPS = 1e-12


class MelPlanes(SpectralFeature):
    """Four planes of mel bands of frames that are not centred.

    Parameters
    ----------
    channels : of the waveform
    rate_hz, n_fft, hop_length : of the transform; frame t begins at sample hop_length t, Hann window
    bands, fmin_hz : of the mel filters, up to half the rate
    """

    def __init__(
        self,
        channels: int,
        *,
        rate_hz: int = 24000,
        n_fft: int = 1024,
        hop_length: int = 480,
        bands: int = 64,
        fmin_hz: float = 50.0,
    ):
        super().__init__(
            channels,
            n_fft=n_fft,
            win_length=n_fft,
            hop_length=hop_length,
            window="periodic",
            center=False,
            pad_mode="constant",
            ortho=True,
            first_bin=0,
            bins=n_fft // 2 + 1,
            maps=4,
            out_bins=bands,
            precision=torch.float32,
        )
        self.mel = MelBands(mel_weights(rate_hz, n_fft, bands, fmin_hz))

    def _planes(self, real: Tensor, imaginary: Tensor) -> tuple[Tensor, ...]:
        """Spectrum (batch, channels, frames, bins) -> planes (batch, 1 or more, frames, bands), 4 in all."""
        raise NotImplementedError

    def _compiled(self, compiled: Any, spectrum: Tensor, scratch: Scratch) -> tuple[Tensor, ...]:
        """The same of a complex spectrum, by the loops of `feature.mel_cpu`."""
        raise NotImplementedError

    def _sums(self, write: Any, planes: int, spectrum: Tensor, scratch: Scratch) -> Tensor:
        """Planes that a loop makes of a spectrum, summed in mel bands: (batch, planes, frames, bands)."""
        batch, _, frames, bins = spectrum.shape
        made = scratch("planes", (batch, planes, frames, bins), torch.float32)
        write(numbers(spectrum), made.numpy())
        sums = scratch("sums", (batch, planes, frames, self.bins), torch.float32)
        self.mel.sums(made, scratch, sums)
        return sums

    def _compute(self, framed: Tensor, out: Tensor, scratch: Scratch) -> None:
        """By compiled loops, one pass over each spectrum; by operators where there are none."""
        compiled = compiled_on(framed.device)
        if compiled is None:
            return super()._compute(framed, out, scratch)
        torch.cat(self._compiled(compiled, self._transform(framed, self.hann, scratch), scratch), dim=1, out=out)

    def _block(self, real: Tensor, imaginary: Tensor, out: Tensor) -> None:
        torch.cat(self._planes(real, imaginary), dim=1, out=out)

    def _traced(self, framed: Tensor) -> Tensor:
        return torch.cat(self._planes(*self._traced_spectrum(framed, self.hann)), dim=1)


class LogmelDirection(MelPlanes):
    """Waveform -> 1 plane of log-mel levels (dB above -100) and 3 planes of directions, of x, y, z.

    The direction of a band is the sum of the intensities Re(conj(W) (X, Y, Z)) of its bins, divided by the sum of their
    energies (|W|^2 + |X|^2 + |Y|^2 + |Z|^2) / 2: a unit vector for one plane wave, shorter the more diffuse the sound.
    Bins count by their energy; dividing each by its own norm, as the features of the baselines do, lets the many weak
    ones decide.

    Parameters
    ----------
    channels : of the waveform
    encoder : (bins, 4, channels) complex, from the channels to W, Y, Z, X; None: they are that
    analysis : see `MelPlanes`
    """

    encoder: Tensor

    def __init__(
        self,
        channels: int = 4,
        *,
        encoder: np.ndarray | None = None,
        **analysis: Any,
    ):
        if channels != 4 and encoder is None:
            raise ValueError(f"directions need 4 channels of first-order Ambisonics or an encoder, found {channels}")
        super().__init__(channels, **analysis)
        parts = np.zeros((0, 4, channels)) if encoder is None else np.concatenate([encoder.real, encoder.imag], axis=2)
        self.register_buffer("encoder", torch.from_numpy(parts.astype(np.float32)), persistent=False)

    def _compiled(self, compiled: Any, spectrum: Tensor, scratch: Scratch) -> tuple[Tensor, ...]:
        batch, _, frames, bins = spectrum.shape
        if len(self.encoder):
            heard, spectrum = spectrum, scratch("encoded", (batch, 4, frames, bins), torch.complex64)
            compiled.write_encoded(numbers(heard), self.encoder.numpy(), numbers(spectrum))
        made = self._sums(compiled.write_direction, 5, spectrum, scratch)
        return _level(made[:, :1]), made[:, 1:4].div_(made[:, 4:].add_(_EPS))

    def _planes(self, real: Tensor, imaginary: Tensor) -> tuple[Tensor, ...]:
        if len(self.encoder):
            own, turned = self.encoder.split(self.channels, dim=2)
            real, imaginary = (
                torch.einsum("bctf,fac->batf", real, own) - torch.einsum("bctf,fac->batf", imaginary, turned),
                torch.einsum("bctf,fac->batf", real, turned) + torch.einsum("bctf,fac->batf", imaginary, own),
            )
        power = real.square().addcmul_(imaginary, imaginary)  # of W, Y, Z, X
        level = _level(power[:, :1] @ self.mel.weights)
        axes = [3, 1, 2]
        intensity = (real[:, :1] * real[:, axes]).addcmul_(imaginary[:, :1], imaginary[:, axes]) @ self.mel.weights
        energy = 0.5 * (power.sum(dim=1, keepdim=True) @ self.mel.weights)
        return level, intensity / plus(energy, _EPS)


class LogmelPair(MelPlanes):
    """Two channels -> log-mel level of both (dB above -100), level difference, cosine and sine of the phase difference.

    The phase difference of a band is that of the mean cross-spectrum of its bins, times its coherence: the vector
    (cosine, sine) is the shorter the less the channels have in common. Level differences are bounded: (a - b) / (a + b)
    of the powers.

    Parameters
    ----------
    analysis : see `MelPlanes`
    """

    def __init__(self, **analysis: Any):
        super().__init__(2, **analysis)

    def _compiled(self, compiled: Any, spectrum: Tensor, scratch: Scratch) -> tuple[Tensor, ...]:
        return self._of_pair(*self._sums(compiled.write_pair, 4, spectrum, scratch).split(1, dim=1))

    def _planes(self, real: Tensor, imaginary: Tensor) -> tuple[Tensor, ...]:
        power = real.square().addcmul_(imaginary, imaginary) @ self.mel.weights
        (real_l, real_r), (imaginary_l, imaginary_r) = (part.split(1, dim=1) for part in (real, imaginary))
        cosine = (real_l * real_r).addcmul_(imaginary_l, imaginary_r) @ self.mel.weights
        sine = (imaginary_l * real_r).sub_(real_l * imaginary_r) @ self.mel.weights
        return self._of_pair(power[:, :1], power[:, 1:], cosine, sine)

    @staticmethod
    def _of_pair(left: Tensor, right: Tensor, cosine: Tensor, sine: Tensor) -> tuple[Tensor, ...]:
        """Powers of both channels and their cross-spectrum, in mel bands -> planes."""
        both = left + right
        length = plus((left * right).sqrt_(), _EPS)
        return _level(0.5 * both), (left - right) / plus(both, _EPS), cosine / length, sine / length


def _level(power: Tensor) -> Tensor:
    """Power -> level in dB above the least one; written over the power."""
    return power.clamp_(min=_AMIN).log10_().mul_(10).sub_(FLOOR_DB)


def level_above_mean(levels: Tensor, *, range_db: tuple[float, float] = (-60.0, 30.0)) -> Tensor:
    """Levels in dB (batch, 1, frames, bands) against the mean power of their window, divided by 20 dB.

    So a recording may be 20 dB lower and is heard alike. Frames of padding, at 0, hardly change the mean of powers.
    """
    power_db = levels.flatten(1).mul(math.log(10) / 10)
    mean_db = (torch.logsumexp(power_db, dim=1) - math.log(power_db.shape[1])) * (10 / math.log(10))
    return (levels - mean_db[:, None, None, None]).clamp_(*range_db).div_(20)
