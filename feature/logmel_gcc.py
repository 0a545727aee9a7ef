"""Log-mel spectrograms and cross-correlations of all channel pairs (GCC-PHAT), the feature of two-stage SELD."""

from __future__ import annotations

from itertools import combinations
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from feature.mel import MelBands, levels_db_, mel_weights
from feature.stft import Scratch, SpectralFeature
from feature.traced import lags as traced_lags

_LEAST = {torch.float32: 1e-37, torch.float64: 1e-300}  # power of a spectral bin that may be divided by

# Settings of the published system, all its feature types; for `LogmelIntensity` with `TWO_STAGE_INTENSITY` besides.
TWO_STAGE: dict[str, Any] = {"rate_hz": 32000, "n_fft": 1024, "hop_length": 320, "bands": 96, "fmin_hz": 50.0}
TWO_STAGE_INTENSITY: dict[str, Any] = {"win_length": 1024, "axes": (1, 2, 3), "eps": 1e-8, "layout": "paper"}

# The same of the general network (DCASE 2020); `bands` is 128, or 64 as networks of audio tagging have it.
GENERAL: dict[str, Any] = {"rate_hz": 24000, "n_fft": 1024, "hop_length": 300, "fmin_hz": 50.0}
GENERAL_CORRELATION: dict[str, Any] = {"win_length": 1024}

# The DCASE baselines of 2022 to 2025 at 24 kHz, 20 ms from frame to frame: log-mel spectrograms of all of them, held to
# 80 dB below the loudest of their channel in the recording. The reference adds an `offset` of 1e-8 to every sample.
DCASE2022: dict[str, Any] = {
    "rate_hz": 24000,
    "n_fft": 1024,
    "win_length": 960,
    "hop_length": 480,
    "bands": 64,
    "pad_mode": "constant",  # librosa 0.9 and later; earlier ones mirror the recording
    "top_db": 80.0,
}
DCASE2022_INTENSITY: dict[str, Any] = {"axes": (1, 2, 3), "eps": 1e-8, "norm": "energy", "layout": "paper"}
# The stereo clips of 2025 are 5 s long, each of them one item; the loudest of both channels counts.
DCASE2025: dict[str, Any] = {**DCASE2022, "held_over": "item", "one_floor": True}


class Logmel(SpectralFeature):
    """Waveform of C channels -> log-mel maps of all or of the first of them in dB, at least -100.

    Power in mel bands on the Slaney scale with areas of 1, up to half of the rate. Frames are centred; the window is a
    periodic Hann window.

    Parameters
    ----------
    channels : C, of the waveform
    rate_hz, n_fft, hop_length, bands, fmin_hz : `TWO_STAGE` and `DCASE2022` have published settings
    levels : channels that have a log-mel map, the first ones; default C
    win_length : samples of the windows, which stand in the middle of the samples of a transform, between zeros; None:
        all of them
    frame_samples : samples that a frame takes, if more than n_fft: the levels are made of those in its middle
    pad_mode : what lies around a clip: "reflect" (`whole`: it has 1 + samples // hop_length frames), or "constant"
    more_maps : maps of subclasses, behind those of the levels
    precision : of the transforms; what follows them is float32
    others : see `SpectralFeature`
    """

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
        win_length: int | None = None,
        frame_samples: int | None = None,
        pad_mode: Literal["reflect", "constant"] = "reflect",
        more_maps: int = 0,
        precision: torch.dtype = torch.float32,
        **others: Any,
    ):
        frame_samples = n_fft if frame_samples is None else frame_samples
        self.levels = channels if levels is None else levels
        if not 0 <= self.levels <= channels or self.levels + more_maps < 1:
            raise ValueError(f"levels of {self.levels} of {channels} channels")
        super().__init__(
            channels,
            n_fft=frame_samples,
            win_length=frame_samples if win_length is None else win_length,
            hop_length=hop_length,
            window="periodic",
            center=True,
            pad_mode=pad_mode,
            ortho=False,
            first_bin=0,
            bins=frame_samples // 2 + 1,
            maps=self.levels + more_maps,
            out_bins=bands,
            precision=precision,
            level_maps=self.levels,
            **others,
        )
        win_length, lead = n_fft if win_length is None else win_length, (frame_samples - n_fft) // 2
        self._middle = slice(lead, lead + n_fft)
        self._bands = MelBands(mel_weights(rate_hz, n_fft, bands, fmin_hz))
        hann, lead = torch.hann_window(win_length, periodic=True, dtype=torch.float64), (n_fft - win_length) // 2
        hann = functional.pad(hann, (lead, n_fft - win_length - lead))
        self.register_buffer("mel_hann", hann, persistent=False)

    @property
    def mel_weights(self) -> Tensor:
        """Weights (1 + n_fft // 2, bands) of the bins in the bands."""
        return self._bands.weights

    def columns(self, features: Tensor) -> Tensor:
        """Features (batch, maps, T, bins) as rows (batch, T, maps bins), map by map."""
        return features.transpose(1, 2).flatten(2)

    def _compute(self, framed: Tensor, out: Tensor, scratch: Scratch) -> None:
        if self.levels:
            self._powers(framed, out, scratch)

    def _powers(self, framed: Tensor, out: Tensor, scratch: Scratch) -> Tensor:
        """Frames (batch, channels, frames, n_fft) -> powers in bands, into `out`; the spectra of these channels."""
        spectrum = self._transform(framed[:, : self.levels, :, self._middle], self.mel_hann, scratch)
        self._bands.power(spectrum, scratch, out[:, : self.levels])
        return spectrum

    def _finish(self, out: Tensor) -> None:
        levels_db_(out[:, : self.levels])

    def _traced(self, framed: Tensor) -> Tensor:
        real, imaginary = self._traced_spectrum(framed[:, : self.levels, :, self._middle], self.mel_hann)
        return levels_db_((real * real + imaginary * imaginary) @ self.mel_weights)


def correlation_samples(n_fft: int) -> int:
    """Length of the frames whose transforms hold all lags of `n_fft` samples: a power of two."""
    return 2 ** (2 * n_fft - 2).bit_length()


class LogmelGCC(Logmel):
    """Waveform of C channels -> C log-mel maps in dB, then GCC-PHAT of the C (C - 1) / 2 pairs, as many lags as bands.

    Reference: Cao et al., 'Polyphonic Sound Event Detection and Localization using a Two-Stage Strategy', DCASE 2019
    workshop, arXiv 1905.00268, feature "logmelgcc"; the DCASE baselines since 2020 (`DCASE2022`, on one transform);
    Knapp and Carter 1976 for the correlation.

    Pairs (n, m) in the order (0, 1), (0, 2), ..., (2, 3); bin `bands` / 2 is lag 0, later bins say that m hears the
    sound later than n. In the two-stage system the correlations have a transform of their own, twice as long as the
    log-mel's (a quirk, kept: a window of 2048 samples; with `win_length` 1024 one of 1024 between zeros, as later
    systems of its authors have it); the baselines since 2020 have one for both. A spectral bin that is zero in either
    channel has phase 0, so that silence gives 1 at lag 0. (The two-stage reference takes the phase of a signed zero
    where one channel alone is silent. The baselines since 2022 add an offset of 1e-8 to every sample, so that a silent
    channel is correlated with rounding errors of the transform of a constant: nothing that can be reproduced, and not
    done by default.)

    The references transform 12 times per frame where each channel is transformed once here.

    Parameters
    ----------
    own_transform : the correlations have a transform of their own
    levels : 0: correlations alone
    precision : in double precision phases are right in bins that hold a millionth of the energy of others
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
        own_transform: bool = True,
        **others: Any,
    ):
        if channels < 2:
            raise ValueError(f"correlations of channel pairs need 2 channels or more, found {channels}")
        super().__init__(
            channels,
            rate_hz=rate_hz,
            n_fft=n_fft,
            hop_length=hop_length,
            bands=bands,
            frame_samples=correlation_samples(n_fft) if own_transform else None,
            more_maps=channels * (channels - 1) // 2,
            **others,
        )
        self.own_transform = own_transform
        self.jumps = others.get("precision", torch.float32) == torch.float32  # the phases of what is next to nothing
        if not 2 <= bands <= self.n_fft or bands % 2:
            raise ValueError(f"{bands} lags: an even number up to {self.n_fft}")

    def _compute(self, framed: Tensor, out: Tensor, scratch: Scratch) -> None:
        if self.levels:
            spectrum = self._powers(framed, out, scratch)
        if self.own_transform or self.levels < self.channels:
            spectrum = self._transform(framed, self.hann, scratch)
        lags, half = torch.fft.irfft(self._phase_products(spectrum), n=self.n_fft), self.bins // 2
        out[:, self.levels :, :, :half] = lags[..., -half:]
        out[:, self.levels :, :, half:] = lags[..., :half]

    def _traced(self, framed: Tensor) -> Tensor:
        real, imaginary = self._traced_spectrum(framed, self.hann)
        inverse = (real * real + imaginary * imaginary).clamp(min=_LEAST[torch.float32]).rsqrt()
        real, imaginary = real * inverse, imaginary * inverse
        pairs = list(combinations(range(self.channels), 2))
        (real_n, imaginary_n), (real_m, imaginary_m) = (
            [torch.cat([part[:, pair[side], None] for pair in pairs], dim=1) for part in (real, imaginary)]
            for side in (0, 1)
        )
        along = real_m * real_n + imaginary_m * imaginary_n
        across = imaginary_m * real_n - real_m * imaginary_n
        along = torch.where((along == 0) & (across == 0), 1.0, along)
        lags = traced_lags(along, across, self.n_fft, np.arange(-(self.bins // 2), self.bins // 2))
        return torch.cat((super()._traced(framed), lags), dim=1) if self.levels else lags

    def _phase_products(self, spectrum: Tensor) -> Tensor:
        """Spectra (batch, channels, frames, bins), overwritten -> those of all pairs, of size 1, single precision."""
        batch, channels, frames, bins = spectrum.shape
        cross = spectrum.new_empty((batch, self.maps - self.levels, frames, bins), dtype=torch.complex64)
        if spectrum.device.type == "cpu":
            try:
                from feature.logmel_gcc_cpu import write_phase_products  # elsewhere than on a CPU, numba is not needed
            except ImportError:  # a machine where nothing can be installed: slower
                pass
            else:
                write_phase_products(*(torch.view_as_real(part).flatten(-2).numpy() for part in (spectrum, cross)))
                return cross
        real, imaginary = torch.view_as_real(spectrum).unbind(-1)
        power = torch.addcmul(real * real, imaginary, imaginary)
        spectrum *= power.clamp_(min=_LEAST[power.dtype]).rsqrt_()  # a division of each channel, not of each pair
        for place, (first, second) in enumerate(combinations(range(channels), 2)):
            cross[:, place] = spectrum[:, second] * spectrum[:, first].conj()
        return cross.masked_fill_(cross == 0, 1)
