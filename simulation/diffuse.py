"""Diffuse fields: ambient noise and late tails, with each receiver's own covariance."""

from __future__ import annotations

import numpy as np
from scipy import fft

from simulation.receivers import Receiver
from simulation.room import late_power, rt60_per_frequency
from simulation.scene import Room

TAIL_HOP_S = 1 / 187.5  # 128 samples at 24 kHz: short against every reverberation time
TAIL_DEPTH = 1.0  # in reverberation times: the tail is followed down to 60 dB
NOISE_FFT, NOISE_OVERLAP = 2048, 256
NOISE_CORNER_HZ = 250.0  # ventilation and traffic: flat below, falling by 5 dB per octave above


def _random(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Complex random numbers of unit power, complex64.

    Uniform ones: the waveform sums hundreds of them and is normal all the same, at a third of the cost.
    """
    uniform = rng.random((*shape, 2), dtype=np.float32)
    uniform -= np.float32(0.5)
    uniform *= np.float32(np.sqrt(6.0))
    return uniform.view(np.complex64)[..., 0]


def _overlap_add(frames: np.ndarray, hop: int) -> np.ndarray:
    """Windowed frames (channels, n, length), length at most twice the hop -> (channels, (n - 1) * hop + length)."""
    channels, count, length = frames.shape
    waveform = np.zeros((channels, count + 1, hop), dtype=frames.dtype)
    waveform[:, :-1] = frames[..., :hop]
    waveform[:, 1:, : length - hop] += frames[..., hop:]
    return waveform.reshape(channels, -1)[:, : (count - 1) * hop + length]


def diffuse_tail(receiver: Receiver, room: Room, rng: np.random.Generator, max_order: int) -> np.ndarray:
    """The reverberation after the images up to `max_order`, as filters (channels, samples) that start at emission.

    Noise whose energy follows `room.late_power` in time and frequency and whose channels are correlated as they are in
    an isotropic field.
    """
    rate_hz = receiver.rate_hz
    hop = round(TAIL_HOP_S * rate_hz / 2) * 2
    n_fft = 2 * hop
    frequency_hz = fft.rfftfreq(n_fft, 1.0 / rate_hz)
    longest_s = TAIL_DEPTH * float(rt60_per_frequency(room, np.asarray(room.bands_hz)).max())
    count = int(np.ceil(longest_s * rate_hz / hop)) + 1
    power = late_power(room, max_order, np.arange(count) * hop / rate_hz, frequency_hz) / rate_hz
    noise = _random(rng, (len(frequency_hz), receiver.channels, count))
    mixed = np.matmul(receiver.diffuse_mixing(n_fft), noise.view(np.float32)).view(np.complex64)
    mixed *= np.sqrt(n_fft * power).astype(np.float32).T[:, None, :]
    # sine windows at half overlap: their squares add up to one, and so do the powers of independent frames
    window = np.sin(np.pi * (np.arange(n_fft) + 0.5) / n_fft).astype(np.float32)
    frames = fft.irfft(np.ascontiguousarray(mixed.transpose(1, 2, 0)), n_fft, axis=-1) * window
    return _overlap_add(frames, hop)[:, hop:]  # frame k is centred on k * hop after emission


def noise_spectrum(frequency_hz: np.ndarray, rate_hz: int) -> np.ndarray:
    """Amplitude of the ambient noise per bin, of unit mean square over the bins of an FFT."""
    power = (frequency_hz > 20.0) / (1.0 + (frequency_hz / NOISE_CORNER_HZ) ** (5.0 / 3.0))
    return np.sqrt(power / power.mean())


def diffuse_noise(receiver: Receiver, rng: np.random.Generator, samples: int) -> np.ndarray:
    """Ambient noise (channels, samples) float32 whose sound pressure in the middle has unit power."""
    hop = NOISE_FFT - NOISE_OVERLAP
    count = -(-samples // hop) + 1
    frequency_hz = fft.rfftfreq(NOISE_FFT, 1.0 / receiver.rate_hz)
    noise = _random(rng, (len(frequency_hz), receiver.channels, count))
    scale = noise_spectrum(frequency_hz, receiver.rate_hz) * np.sqrt(NOISE_FFT)
    mixing = receiver.diffuse_mixing(NOISE_FFT) * scale.astype(np.float32)[:, None, None]
    mixed = np.matmul(mixing, noise.view(np.float32)).view(np.complex64)
    frames = fft.irfft(np.ascontiguousarray(mixed.transpose(1, 2, 0)), NOISE_FFT, axis=-1)
    fade = np.sin(0.5 * np.pi * (np.arange(NOISE_OVERLAP) + 0.5) / NOISE_OVERLAP).astype(np.float32)
    frames[..., :NOISE_OVERLAP] *= fade
    frames[..., hop:] *= fade[::-1]
    return _overlap_add(frames, hop)[:, NOISE_OVERLAP : NOISE_OVERLAP + samples]
