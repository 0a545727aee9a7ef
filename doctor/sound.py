"""What a sound file itself tells the doctor: levels, clipping, silent channels, and where its sound comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from localization.ambisonics import HOP, N_FFT, band_covariances, dominant_waves, spectra
from localization.steered import steering
from util.angles import degrees_from_direction, direction_from_degrees
from util.audio import RATE_HZ, audio_info, read_audio
from util.microphone_arrays import SPEED_OF_SOUND_M_S, Array

FRAME_S = 0.1
FRAME = round(FRAME_S * RATE_HZ)
_BLOCK_FRAMES = 100
_AMBISONIC_BAND_HZ = (200.0, 5000.0)  # below: wind and rumble, above: what microphone arrays encode wrongly
_CAPSULE_BAND_HZ = (300.0, 8000.0)
_CAPSULE_FFT = 512
_LOOKED_AT = (200, 1200)  # samples of a frame at which covariances begin
_LAG_STEP_S = 1 / (4 * RATE_HZ)
CLIPPED_RUN = 4  # so many samples at the peak are no wave any more
_FULL_SCALE = 0.9999
_LOUD_DB = -30.0  # frames this far below the loud ones are left out

CHANNEL_NAMES = {
    "foa": ("W", "Y", "Z", "X"),
    "mic": ("1", "2", "3", "4"),
    "binaural": ("left", "right"),
    "stereo": ("left", "right"),
}


@dataclass(frozen=True)
class Levels:
    """What a recording's samples say.

    Attributes
    ----------
    peak, rms, mean : of the samples of each channel
    clipped, first_clipped_s : clipped samples of each channel, the second of the first one
    products : (channels, channels) mean products of the samples of two channels
    level_dbfs : rms over all channels of the frames that are not far below the loud ones; -inf where all is silent
    """

    peak: np.ndarray
    rms: np.ndarray
    mean: np.ndarray
    clipped: np.ndarray
    first_clipped_s: np.ndarray
    products: np.ndarray
    level_dbfs: float

    def doubled(self) -> list[tuple[int, int]]:
        """Pairs of channels that hold the same samples, or the same upside down, 60 dB of noise apart."""
        power = np.square(self.rms)
        pairs = []
        for first, second in combinations(range(len(power)), 2):
            both = power[first] + power[second]
            if both > 0 and both - 2 * abs(self.products[first, second]) < 1e-6 * both:
                pairs.append((first, second))
        return pairs


class Directions:
    """Where the sound of each 100 ms frame comes from, as far as the channels tell."""

    @property
    def energy(self) -> np.ndarray:
        """(frames,) of all channels."""
        raise NotImplementedError

    def loud(self) -> np.ndarray:
        """Frames (n,) that are worth looking at, ascending."""
        limit = np.percentile(self.energy, 95) * 10 ** (_LOUD_DB / 10) if len(self.energy) else 0.0
        return np.flatnonzero(self.energy > max(limit, 1e-12))

    def azimuth_deg(self, frames: np.ndarray) -> np.ndarray:
        """Azimuths (n,) that the sound of frames (n,) comes from."""
        raise NotImplementedError

    def frames(self, frames: np.ndarray) -> Directions:
        """Those frames alone."""
        raise NotImplementedError

    @classmethod
    def joined(cls, parts: Sequence[Any]) -> Directions:
        """Frames of several recordings one after the other, all brought to the same energy."""
        raise NotImplementedError


@dataclass(frozen=True)
class Intensity(Directions):
    """First-order Ambisonics.

    Attributes
    ----------
    covariance : (frames, 4, 4) of W, Y, Z, X, real part, summed over a band: levels
    waves : (frames, 4, 4) of the plane waves that are heard in the bands (`localization.ambisonics`): directions
    """

    covariance: np.ndarray
    waves: np.ndarray

    @property
    def energy(self) -> np.ndarray:
        """Of all channels, per frame."""
        return np.trace(self.covariance, axis1=1, axis2=2)

    def azimuth_deg(self, frames: np.ndarray) -> np.ndarray:
        """By the plane waves of the bands."""
        return degrees_from_direction(self.waves[frames][:, 0, [3, 1, 2]])[0]

    def frames(self, frames: np.ndarray) -> Intensity:
        """Those frames alone."""
        return Intensity(self.covariance[frames], self.waves[frames])

    @classmethod
    def joined(cls, parts: Sequence[Intensity]) -> Intensity:
        """Frames of several recordings, of energy 1."""
        covariance = np.concatenate([part.covariance for part in parts])
        covariance = covariance / np.trace(covariance, axis1=1, axis2=2)[:, None, None]
        return Intensity(covariance, np.concatenate([part.waves for part in parts]))


@dataclass(frozen=True)
class Phases(Directions):
    """Capsules: what each pair of channels has in common, bin by bin, whatever its level; as directions are steered by.

    Attributes
    ----------
    cross : (frames, pairs, 2, bins) int8: 127 times the real and imaginary part of the second channel times the
        conjugate of the first, of amplitude 1
    loudness : (frames,)
    """

    array: Array
    cross: np.ndarray
    loudness: np.ndarray

    @property
    def energy(self) -> np.ndarray:
        """Of all channels, per frame."""
        return self.loudness

    def due(self, direction: np.ndarray) -> np.ndarray:
        """What plane waves from directions (..., 3) make of the pairs: (..., pairs, 2, bins) float32."""
        heard = steering(self.array, direction.reshape(-1, 3), _capsule_bins_hz()).astype(np.complex64)
        made = np.stack([heard[:, second] * heard[:, first].conj() for first, second in pairs_of(self.array)], axis=1)
        parts = np.stack([made.real, made.imag], axis=2)
        return parts.reshape(*direction.shape[:-1], *parts.shape[1:])

    def fit(
        self,
        frames: np.ndarray,
        due: np.ndarray,
        order: Sequence[int] | None = None,
        sign: Sequence[int] | None = None,
    ) -> np.ndarray:
        """How well frames (n,) fit what is due of m directions each (n, m, pairs, 2, bins): (n, m), 1 perfectly.

        Parameters
        ----------
        order, sign : capsule that each channel of the file has, and its sign; None: as in the array
        """
        pairs, channels = pairs_of(self.array), range(self.array.channels)
        order, sign = order or tuple(channels), sign or (1,) * self.array.channels
        cross, made = self.cross[frames].astype(np.float32) / 127, np.zeros(due.shape[:2], dtype=np.float32)
        for place, (first, second) in enumerate(pairs):
            one, other = order[first], order[second]
            part = due[:, :, pairs.index((min(one, other), max(one, other)))]
            real, imaginary = (np.einsum("nb,nmb->nm", cross[:, place, k], part[:, :, k]) for k in (0, 1))
            made += sign[first] * sign[second] * (real + imaginary * (1 if one < other else -1))
        return made / (len(pairs) * cross.shape[3])

    def most(self, frames: np.ndarray) -> np.ndarray:
        """How well frames (n,) fit delays of each pair by itself, whichever are best: (n,)."""
        cross, most = self.cross[frames].astype(np.float32) / 127, np.zeros(len(frames))
        turn = 2 * np.pi * np.outer(_capsule_bins_hz(), _delays_s(self.array)).astype(np.float32)
        for place in range(cross.shape[1]):
            fit = cross[:, place, 0] @ np.cos(turn) - cross[:, place, 1] @ np.sin(turn)
            most += np.abs(fit).max(axis=1)
        return most / (cross.shape[1] * cross.shape[3]) + 1e-12

    def azimuth_deg(self, frames: np.ndarray) -> np.ndarray:
        """Of the direction in the horizontal plane that fits best."""
        grid_deg = np.arange(-180.0, 180.0, 5.0)
        due = self.due(direction_from_degrees(grid_deg, np.zeros(len(grid_deg)))).reshape(len(grid_deg), -1)
        fit = self.cross[frames].reshape(len(frames), -1).astype(np.float32) @ due.T
        return grid_deg[np.argmax(fit, axis=1)]

    def frames(self, frames: np.ndarray) -> Phases:
        """Those frames alone."""
        return Phases(self.array, self.cross[frames], self.loudness[frames])

    @classmethod
    def joined(cls, parts: Sequence[Phases]) -> Phases:
        """Frames of several recordings, of energy 1."""
        cross = np.concatenate([part.cross for part in parts])
        return Phases(parts[0].array, cross, np.ones(len(cross)))


def channel_names(array: Array) -> tuple[str, ...]:
    """Names of the channels, numbers from 1 where they have none."""
    return CHANNEL_NAMES.get(array.name, tuple(str(index + 1) for index in range(array.channels)))


def pairs_of(array: Array) -> list[tuple[int, int]]:
    """Pairs of channels."""
    return list(combinations(range(array.channels), 2))


def _delays_s(array: Array) -> np.ndarray:
    """Delays between two capsules of an array, and a little more."""
    most_s = 2 * array.radius_m * 1.4 / SPEED_OF_SOUND_M_S
    return np.linspace(-most_s, most_s, 2 * int(np.ceil(most_s / _LAG_STEP_S)) + 1)


@lru_cache(maxsize=1)
def _capsule_bins_hz() -> np.ndarray:
    frequency_hz = np.fft.rfftfreq(_CAPSULE_FFT, 1 / RATE_HZ)
    return frequency_hz[_in_band(frequency_hz, _CAPSULE_BAND_HZ)]


def scan(
    path: Path, array: Array, *, matrix: np.ndarray | None = None, most_s: float | None = None
) -> tuple[Levels, Directions]:
    """Read a recording once, block by block.

    Parameters
    ----------
    matrix : from the channels of the file to those of the array; None: they are that
    most_s : of a longer recording only so many seconds, one at a time, evenly spread

    Raises
    ------
    InputError : as `util.audio.read_audio`
    """
    info = audio_info(path, channels=array.channels if matrix is None else matrix.shape[1])
    total = info.frames_at(RATE_HZ)
    gather = _Levels(array.channels)
    parts: list[tuple[np.ndarray, ...]] = []
    make = _covariances if array.kind == "ambisonics" else phases_of
    for start, waveform in _blocks(path, total, most_s):
        waveform = waveform if matrix is None else matrix @ waveform
        gather.add(waveform, start)
        whole = waveform.shape[1] // FRAME * FRAME
        if whole:
            parts.append(make(waveform[:, :whole].reshape(len(waveform), -1, FRAME), array))
    joined = [np.concatenate(values) for values in zip(*parts)] if parts else None
    if array.kind == "ambisonics":
        return gather.levels(), Intensity(*(joined or [np.zeros((0, 4, 4))] * 2))
    if joined is None:
        joined = [np.zeros((0, len(pairs_of(array)), 2, len(_capsule_bins_hz())), np.int8), np.zeros(0)]
    return gather.levels(), Phases(array, *joined)


def levels_of(path: Path, *, matrix: np.ndarray | None = None, most_s: float | None = None) -> Levels:
    """Levels of a recording alone; parameters and errors as of `scan`."""
    info = audio_info(path)
    gather = _Levels(info.channels if matrix is None else len(matrix))
    for start, waveform in _blocks(path, info.frames_at(RATE_HZ), most_s):
        gather.add(waveform if matrix is None else matrix @ waveform, start)
    return gather.levels()


def level_dbfs(path: Path, *, matrix: np.ndarray | None = None, most_s: float | None = None) -> float:
    """`Levels.level_dbfs` of a recording; parameters and errors as of `scan`."""
    return levels_of(path, matrix=matrix, most_s=most_s).level_dbfs


def _blocks(path: Path, total: int, most_s: float | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """(first sample, samples) of a recording at the rate that is looked at, or of some seconds of it."""
    step = _BLOCK_FRAMES * FRAME
    starts: Sequence[int] = range(0, total, step)
    if most_s is not None and total > most_s * RATE_HZ:
        count, step = max(1, round(most_s)), RATE_HZ
        starts = np.linspace(0, total - step, count).astype(np.int64).tolist()
    for start in starts:
        yield start, read_audio(path, start=start, frames=min(step, total - start))


class _Levels:
    """Sums over the blocks of a recording."""

    def __init__(self, channels: int):
        self.samples = 0
        self.peak, self.squares, self.sum = np.zeros(channels), np.zeros(channels), np.zeros(channels)
        self.clipped, self.first = np.zeros(channels, dtype=np.int64), np.full(channels, np.nan)
        self.products = np.zeros((channels, channels))
        self.energy: list[np.ndarray] = []  # of the frames, mean over the channels

    def add(self, waveform: np.ndarray, start: int) -> None:
        """Take the samples from `start` on."""
        whole = waveform.shape[1] // FRAME * FRAME
        framed = (waveform[:, :whole] if whole else waveform).reshape(
            len(waveform), -1, FRAME if whole else waveform.shape[1]
        )
        if framed.size:
            self.energy.append(np.einsum("cfs,cfs->f", framed, framed) / (len(framed) * framed.shape[2]))
        self.products += waveform @ waveform.T
        magnitude = np.abs(waveform)
        peak = magnitude.max(axis=1, initial=0.0)
        self.peak = np.maximum(self.peak, peak)
        self.squares += np.square(waveform, dtype=np.float64).sum(axis=1)
        self.sum += waveform.sum(axis=1, dtype=np.float64)
        # at full scale, or flat at a peak of its own (clipped, then turned down); quiet peaks are flat by rounding
        for channel in np.flatnonzero(peak > 0.1):
            at_peak = magnitude[channel] >= min(peak[channel] * (1 - 1e-6), _FULL_SCALE)
            edges = np.flatnonzero(np.diff(np.concatenate([[False], at_peak, [False]]).astype(np.int8)))
            starts, ends = edges[::2], edges[1::2]
            long = ends - starts >= CLIPPED_RUN
            if long.any():
                self.clipped[channel] += int((ends - starts)[long].sum())
                if np.isnan(self.first[channel]):
                    self.first[channel] = (start + starts[long][0]) / RATE_HZ
        self.samples += waveform.shape[1]

    def levels(self) -> Levels:
        count = max(self.samples, 1)
        energy = np.concatenate(self.energy) if self.energy else np.zeros(0)
        loud = energy[energy > np.percentile(energy, 95) * 10 ** (_LOUD_DB / 10)] if len(energy) else energy
        level_dbfs = float(10 * np.log10(loud.mean())) if len(loud) else -np.inf
        return Levels(
            self.peak,
            np.sqrt(self.squares / count),
            self.sum / count,
            self.clipped,
            self.first,
            self.products / count,
            level_dbfs,
        )


def _covariances(framed: np.ndarray, array: Array) -> tuple[np.ndarray, ...]:
    """Frames (4, n, samples) -> covariance (n, 4, 4), waves (n, 4, 4), float32."""
    del array
    spectrum = _spectra(framed, 512, _AMBISONIC_BAND_HZ)
    covariance = np.einsum("anfb,cnfb->nac", spectrum, spectrum.conj(), optimize=True).real
    # two places of each frame are enough, 41 ms long
    looked_at = [band_covariances(spectra(framed[:, :, start : start + 2 * HOP + N_FFT])) for start in _LOOKED_AT]
    waves = np.mean([dominant_waves(bands[:, 0]) for bands in looked_at], axis=0)
    return covariance.astype(np.float32), waves.astype(np.float32)


def phases_of(framed: np.ndarray, array: Array) -> tuple[np.ndarray, ...]:
    """Frames (channels, n, samples) -> `Phases.cross`, energy (n,)."""
    spectrum = _spectra(framed, _CAPSULE_FFT, _CAPSULE_BAND_HZ)
    parts = []
    for first, second in pairs_of(array):
        cross = (spectrum[second] * spectrum[first].conj()).sum(axis=1)
        cross /= np.maximum(np.abs(cross), 1e-20)
        parts.append(np.stack([cross.real, cross.imag], axis=1))
    energy = np.square(np.abs(spectrum)).sum(axis=(0, 2, 3))
    return np.rint(127 * np.stack(parts, axis=1)).astype(np.int8), energy.astype(np.float32)


def _in_band(frequency_hz: np.ndarray, band_hz: tuple[float, float]) -> np.ndarray:
    return (frequency_hz >= band_hz[0]) & (frequency_hz <= band_hz[1])


def _spectra(framed: np.ndarray, n_fft: int, band_hz: tuple[float, float]) -> np.ndarray:
    """Frames (channels, n, samples) -> spectra (channels, n, windows per frame, bins of the band), complex64."""
    windows = np.lib.stride_tricks.sliding_window_view(framed, n_fft, axis=-1)[:, :, :: n_fft // 2]
    spectrum = np.fft.rfft(windows * np.hanning(n_fft).astype(np.float32), axis=-1)
    return spectrum[..., _in_band(np.fft.rfftfreq(n_fft, 1 / RATE_HZ), band_hz)].astype(np.complex64)
