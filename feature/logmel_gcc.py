"""Log-mel spectrograms and cross-correlations of all channel pairs (GCC-PHAT), the feature of two-stage SELD."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from feature.mel import mel_levels_db, mel_weights
from feature.stft import SpectralFeature

_LEAST = 1e-37  # power of a spectral bin that may be divided by in single precision
_CPU_FRAMES = 32  # frames of a block on the processor: the spectra of all pairs stay in its cache

# Settings of the published system, all its feature types; for `LogmelIntensity` with `TWO_STAGE_INTENSITY` besides.
TWO_STAGE: dict[str, Any] = {"rate_hz": 32000, "n_fft": 1024, "hop_length": 320, "bands": 96, "fmin_hz": 50.0}
TWO_STAGE_INTENSITY: dict[str, Any] = {"win_length": 1024, "axes": (1, 2, 3), "eps": 1e-8, "layout": "paper"}
# The same of the general network (DCASE 2020); `bands` is 128, or 64 as networks of audio tagging have it.
GENERAL: dict[str, Any] = {"rate_hz": 24000, "n_fft": 1024, "hop_length": 300, "fmin_hz": 50.0}
GENERAL_CORRELATION: dict[str, Any] = {"win_length": 1024}


class Logmel(SpectralFeature):
    """Waveform of C channels -> log-mel maps of all or of the first of them in dB, at least -100.

    Power in mel bands on the Slaney scale with areas of 1, up to half of the rate. Frames are centred and mirrored; the
    window is a periodic Hann window. A recording has 1 + samples // hop_length frames (`whole`).

    Parameters
    ----------
    channels : C, of the waveform
    rate_hz, n_fft, hop_length, bands, fmin_hz : `TWO_STAGE` has the published settings
    levels : channels that have a log-mel map, the first ones; default C
    frame_samples : samples that a frame takes, if more than n_fft: the transform is made of those in its middle
    win_length : samples of `frame_samples` that the window of a subclass takes, in their middle; default all
    others : maps of subclasses, behind those of the levels
    precision : of the transforms; what follows them is float32
    """

    mel_weights: Tensor
    mel_hann: Tensor

    def __init__(
        self,
        channels: int,
        *,
        rate_hz: int,
        n_fft: int,
        hop_length: int,
        bands: int,
        fmin_hz: float = 0.0,
        levels: int | None = None,
        frame_samples: int | None = None,
        win_length: int | None = None,
        others: int = 0,
        precision: torch.dtype = torch.float32,
    ):
        frame_samples = n_fft if frame_samples is None else frame_samples
        self.levels = channels if levels is None else levels
        if not 0 <= self.levels <= channels or self.levels + others < 1:
            raise ValueError(f"levels of {self.levels} of {channels} channels")
        super().__init__(
            channels,
            n_fft=frame_samples,
            win_length=frame_samples if win_length is None else win_length,
            hop_length=hop_length,
            window="periodic",
            center=True,
            pad_mode="reflect",
            ortho=False,
            first_bin=0,
            bins=frame_samples // 2 + 1,
            maps=self.levels + others,
            out_bins=bands,
            precision=precision,
        )
        lead = (frame_samples - n_fft) // 2
        self._middle = slice(lead, lead + n_fft)
        self.register_buffer("mel_weights", mel_weights(rate_hz, n_fft, bands, fmin_hz), persistent=False)
        hann = torch.hann_window(n_fft, periodic=True, dtype=torch.float64)
        self.register_buffer("mel_hann", hann, persistent=False)

    def columns(self, features: Tensor) -> Tensor:
        """Features (batch, maps, T, bins) as rows (batch, T, maps bins), map by map."""
        return features.transpose(1, 2).flatten(2)

    def _compute(self, framed: Tensor, out: Tensor) -> None:
        if not self.levels:
            return
        heard = framed[:, : self.levels, :, self._middle]
        windowed = heard.to(self.precision) * self.mel_hann.to(self.precision)
        real, imaginary = torch.view_as_real(torch.fft.rfft(windowed)).float().unbind(-1)
        out[:, : self.levels] = mel_levels_db(real, imaginary, self.mel_weights)


def correlation_samples(n_fft: int) -> int:
    """Length of the frames whose transforms hold all lags of `n_fft` samples: a power of two."""
    return 2 ** (2 * n_fft - 2).bit_length()


class LogmelGCC(Logmel):
    """Waveform of C channels -> C log-mel maps in dB, then GCC-PHAT of the C (C - 1) / 2 pairs, as many lags as bands.

    Reference: Cao et al., 'Polyphonic Sound Event Detection and Localization using a Two-Stage Strategy', DCASE 2019
    workshop, arXiv 1905.00268, feature "logmelgcc"; Knapp and Carter 1976 for the correlation.

    Pairs (n, m) in the order (0, 1), (0, 2), ..., (2, 3); bin `bands` / 2 is lag 0, later bins say that m hears the
    sound later than n. The correlations have a transform of their own, twice as long as the log-mel's, as the reference
    makes it (a quirk, kept: a window of 2048 samples; with `win_length` 1024 one of 1024 between zeros, as later
    systems of its authors have it). A spectral bin that is zero in either channel has phase 0, so that silence gives 1
    at lag 0. (The reference takes the phase of a signed zero where one channel alone is silent.)

    The reference transforms 12 times per frame where each channel is transformed once here.

    Parameters
    ----------
    levels : 0: correlations alone
    others : see `Logmel`
    """

    def __init__(
        self,
        channels: int = 4,
        *,
        rate_hz: int,
        n_fft: int,
        hop_length: int,
        bands: int,
        fmin_hz: float = 0.0,
        levels: int | None = None,
        win_length: int | None = None,
        precision: torch.dtype = torch.float32,
    ):
        if channels < 2:
            raise ValueError(f"correlations of channel pairs need 2 channels or more, found {channels}")
        super().__init__(
            channels,
            rate_hz=rate_hz,
            n_fft=n_fft,
            hop_length=hop_length,
            bands=bands,
            fmin_hz=fmin_hz,
            levels=levels,
            frame_samples=correlation_samples(n_fft),
            win_length=win_length,
            others=channels * (channels - 1) // 2,
            precision=precision,
        )
        if not 2 <= bands <= self.n_fft or bands % 2:
            raise ValueError(f"{bands} lags: an even number up to {self.n_fft}")

    def _compute(self, framed: Tensor, out: Tensor) -> None:
        super()._compute(framed, out)
        step = _CPU_FRAMES if framed.device.type == "cpu" else framed.shape[2]
        for first in range(0, framed.shape[2], step):
            part = slice(first, first + step)
            self._correlate(framed[:, :, part], out[:, self.levels :, part])

    def _correlate(self, framed: Tensor, out: Tensor) -> None:
        """Frames (batch, channels, frames, n_fft) -> out (batch, pairs, frames, lags)."""
        half = out.shape[-1] // 2
        spectrum = torch.fft.rfft(framed.to(self.precision) * self.hann.to(self.precision))
        lags = torch.fft.irfft(self._phase_products(spectrum), n=self.n_fft)
        out[..., :half] = lags[..., -half:]
        out[..., half:] = lags[..., :half]

    def _phase_products(self, spectrum: Tensor) -> Tensor:
        """Spectra (batch, channels, frames, bins), which are overwritten -> those of all pairs, with sizes of 1."""
        batch, channels, frames, bins = spectrum.shape
        cross = spectrum.new_empty((batch, self.maps - self.levels, frames, bins))
        if spectrum.device.type == "cpu" and spectrum.dtype == torch.complex64:
            try:
                from feature.logmel_gcc_cpu import write_phase_products  # elsewhere than on a CPU, numba is not needed
            except ImportError:  # a machine where nothing can be installed: slower
                pass
            else:
                write_phase_products(*(torch.view_as_real(part).flatten(-2).numpy() for part in (spectrum, cross)))
                return cross
        real, imaginary = torch.view_as_real(spectrum).unbind(-1)
        power = torch.addcmul(real * real, imaginary, imaginary)
        spectrum *= power.clamp_(min=_LEAST).rsqrt_()  # a division of each channel, not of each pair
        for place, (first, second) in enumerate(combinations(range(channels), 2)):
            torch.mul(spectrum[:, second], spectrum[:, first].conj(), out=cross[:, place])
        return cross.masked_fill_(cross == 0, 1)
