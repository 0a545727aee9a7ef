"""What the sounds are built from: resonators, shaped noise, tones with harmonics, envelopes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import signal

RATE_HZ = 24000
_FFT, _WINDOW, _HOP = 1024, 512, 256
T60_PER_TIME_CONSTANT = np.log(1000.0)


def samples(duration_s: float) -> int:
    """Seconds -> samples."""
    return round(duration_s * RATE_HZ)


def resonate(
    excitation: np.ndarray, frequency_hz: np.ndarray, t60_s: np.ndarray, gain: np.ndarray | None = None
) -> np.ndarray:
    """Sum of damped resonators driven by an excitation (n,): a unit impulse makes decaying sines of amplitude `gain`.

    Parameters
    ----------
    frequency_hz, t60_s, gain : (modes,); modes above 0.47 of the rate are left out
    """
    frequency_hz, t60_s = np.atleast_1d(frequency_hz), np.atleast_1d(t60_s)
    gain = np.ones(len(frequency_hz)) if gain is None else np.atleast_1d(gain)
    output = np.zeros(len(excitation))
    for frequency, t60, amplitude in zip(frequency_hz, np.broadcast_to(t60_s, frequency_hz.shape), gain):
        if frequency < 0.47 * RATE_HZ:
            radius = np.exp(-T60_PER_TIME_CONSTANT / (t60 * RATE_HZ))
            angle = 2 * np.pi * frequency / RATE_HZ
            feedback = [1.0, -2 * radius * np.cos(angle), radius**2]
            output += signal.lfilter([amplitude * np.sin(angle)], feedback, excitation)
    return output


@lru_cache(maxsize=256)
def _band(low_hz: float, high_hz: float, order: int) -> np.ndarray:
    limit = 0.49 * RATE_HZ
    if low_hz <= 0:
        return signal.butter(order, min(high_hz, limit), "lowpass", fs=RATE_HZ, output="sos")
    if high_hz >= limit:
        return signal.butter(order, low_hz, "highpass", fs=RATE_HZ, output="sos")
    return signal.butter(order, (low_hz, high_hz), "bandpass", fs=RATE_HZ, output="sos")


def band(waveform: np.ndarray, low_hz: float, high_hz: float, order: int = 2) -> np.ndarray:
    """Butterworth band pass; low 0 makes a low pass, a high end at the Nyquist frequency a high pass."""
    return signal.sosfilt(_band(float(low_hz), float(high_hz), order), waveform)


def unit(waveform: np.ndarray) -> np.ndarray:
    """Scale to a root mean square of 1; silence stays silence."""
    level = np.sqrt(np.mean(waveform**2))
    return waveform / level if level > 0 else waveform


def noise(rng: np.random.Generator, count: int, low_hz: float, high_hz: float, order: int = 2) -> np.ndarray:
    """Band-limited Gaussian noise (count,) of unit root mean square."""
    return unit(band(rng.standard_normal(count), low_hz, high_hz, order))


def wander(rng: np.random.Generator, count: int, rate_hz: float, spread: float = 1.0) -> np.ndarray:
    """Slow random curve (count,): about `rate_hz` independent normal values per second, smoothly joined."""
    knots = max(3, int(np.ceil(count / RATE_HZ * rate_hz)) + 2)
    values = rng.standard_normal(knots) * spread
    return np.interp(np.arange(count), np.linspace(0, max(count - 1, 1), knots), values)


def fade(waveform: np.ndarray, in_s: float = 0.005, out_s: float = 0.02) -> np.ndarray:
    """Raised-cosine ends, in place of clicks."""
    waveform = np.array(waveform, dtype=np.float64)
    for seconds, end in ((in_s, False), (out_s, True)):
        count = min(samples(seconds), len(waveform) // 2)
        if count > 0:
            ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)
            if end:
                waveform[-count:] *= ramp[::-1]
            else:
                waveform[:count] *= ramp
    return waveform


def decay(count: int, t60_s: float, attack_s: float = 0.0) -> np.ndarray:
    """Envelope (count,) that falls by 60 dB in `t60_s`, after a linear attack."""
    time_s = np.arange(count) / RATE_HZ
    envelope = np.exp(-T60_PER_TIME_CONSTANT * time_s / t60_s)
    return envelope * np.minimum(time_s / attack_s, 1.0) if attack_s > 0 else envelope


def harmonics(phase: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Sum over k of gains[k - 1] * sin(k * phase); phase (n,) in radians; by recurrence from one sine and cosine."""
    twice, previous, current = 2 * np.cos(phase), np.zeros_like(phase), np.sin(phase)
    output = gains[0] * current
    for gain in gains[1:]:
        previous, current = current, twice * current - previous
        output += gain * current
    return output


def phase_of(frequency_hz: np.ndarray | float, count: int | None = None) -> np.ndarray:
    """Running phase in radians of a frequency curve (n,) in Hz, or of a constant one over `count` samples."""
    if count is not None:
        return 2 * np.pi * float(frequency_hz) / RATE_HZ * np.arange(count)
    return 2 * np.pi * np.cumsum(frequency_hz) / RATE_HZ


def pulses(frequency_hz: np.ndarray) -> np.ndarray:
    """Impulse train (n,) whose rate follows a frequency curve (n,); impulses between samples are split over two."""
    cycles = np.cumsum(frequency_hz) / RATE_HZ
    whole = np.floor(cycles)
    at = np.flatnonzero(np.diff(whole, prepend=0.0) > 0)
    late = (cycles[at] - whole[at]) / np.maximum(frequency_hz[at] / RATE_HZ, 1e-9)
    train = np.zeros(len(frequency_hz))
    np.add.at(train, at, 1 - late)
    np.add.at(train, np.maximum(at - 1, 0), late)
    return train


def add_at(target: np.ndarray, start: int, part: np.ndarray, gain: float = 1.0) -> None:
    """Add a part to a waveform from sample `start` on, cut off at the end."""
    stop = min(len(target), start + len(part))
    if start < stop:
        target[start:stop] += gain * part[: stop - start]


def frame_times_s(count: int) -> np.ndarray:
    """Times (frames,) in seconds at which `shape_spectrum` takes its gains for `count` samples."""
    return np.arange(count // _HOP + 2) * _HOP / RATE_HZ


def frame_frequencies_hz() -> np.ndarray:
    """Frequencies (bins,) of the gains of `shape_spectrum`."""
    return np.fft.rfftfreq(_FFT, 1 / RATE_HZ)


def shape_spectrum(waveform: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Filter (n,) with gains that change over time: (frames, bins) at `frame_times_s` and `frame_frequencies_hz`."""
    count, frames = len(waveform), len(gains)
    padded = np.zeros((frames + 1) * _HOP)
    padded[_HOP : _HOP + count] = waveform
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP][:frames]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    shaped = np.fft.irfft(np.fft.rfft(windows * hann, _FFT) * gains, _FFT)
    # the gains have no phase: the response spreads to both sides of the window, the left half wraps to the end
    shaped = np.roll(shaped, (_FFT - _WINDOW) // 2, axis=1)
    output = np.zeros((frames + _FFT // _HOP) * _HOP)
    for part in range(_FFT // _HOP):
        segment = shaped[:, part * _HOP : (part + 1) * _HOP]
        output[part * _HOP : (part + frames) * _HOP] += segment.reshape(-1)
    start = _HOP + (_FFT - _WINDOW) // 2
    return output[start : start + count]
