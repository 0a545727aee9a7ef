"""Shoebox rooms: absorption from a reverberation time, air absorption, image sources and their late energy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft

from simulation.scene import Room
from util.errors import InputError
from util.microphone_arrays import SPEED_OF_SOUND_M_S

BANDS_HZ = (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)
# Reverberation time against that at mid frequencies: furnished rooms reverberate longest in the bass
RT60_PROFILE = (1.15, 1.08, 1.0, 1.0, 0.95, 0.88, 0.75)
MAX_ABSORPTION = 0.95
DECAY_60_DB = 6.0 * np.log(10.0)  # energy falls by exp(-DECAY_60_DB) in one reverberation time
LISTENER_MARGIN_M = 0.1  # a head and its images do not overlap


def air_attenuation_per_m(
    frequency_hz: np.ndarray, temperature_c: float = 20.0, humidity_percent: float = 50.0
) -> np.ndarray:
    """Energy attenuation of air at 1 atm, ISO 9613-1: energy falls as exp(-m distance).

    Parameters
    ----------
    frequency_hz : (...)

    Returns
    -------
    m : (...) in 1/m
    """
    frequency_hz = np.asarray(frequency_hz, dtype=np.float64)
    kelvin = temperature_c + 273.15
    relative = kelvin / 293.15
    saturation = 10.0 ** (-6.8346 * (273.16 / kelvin) ** 1.261 + 4.6151)
    vapour = humidity_percent * saturation  # molar concentration of water vapour, per cent
    oxygen_hz = 24.0 + 4.04e4 * vapour * (0.02 + vapour) / (0.391 + vapour)
    nitrogen_hz = relative**-0.5 * (9.0 + 280.0 * vapour * np.exp(-4.170 * (relative ** (-1.0 / 3.0) - 1.0)))
    squared = frequency_hz**2
    db_per_m = (
        8.686
        * squared
        * (
            1.84e-11 * relative**0.5
            + relative**-2.5
            * (
                0.01275 * np.exp(-2239.1 / kelvin) * oxygen_hz / (oxygen_hz**2 + squared)
                + 0.1068 * np.exp(-3352.0 / kelvin) * nitrogen_hz / (nitrogen_hz**2 + squared)
            )
        )
    )
    return db_per_m * np.log(10.0) / 10.0


def volume_and_surface(size_m: tuple[float, float, float]) -> tuple[float, float]:
    """Volume (m^3) and wall surface (m^2) of a shoebox."""
    length, width, height = size_m
    return length * width * height, 2.0 * (length * width + length * height + width * height)


def absorption_for_rt60(
    size_m: tuple[float, float, float], rt60_s: float, bands_hz: tuple[float, ...] = BANDS_HZ
) -> tuple[float, ...]:
    """Energy absorption of the walls per band that gives this reverberation time, after Eyring, air included.

    At mid frequencies (500 Hz and 1 kHz) the reverberation time is `rt60_s`; other bands follow `RT60_PROFILE`.

    Raises
    ------
    InputError : the room's size makes no sense, or no wall is dead (or live) enough for this reverberation time
    """
    if len(size_m) != 3 or min(size_m) < 1.0 or max(size_m) > 100.0:
        raise InputError(f"a room measures 1 to 100 m each way; got {' x '.join(f'{s:g}' for s in size_m)} m")
    if not np.isfinite(rt60_s) or rt60_s <= 0.0:
        raise InputError(f"a reverberation time is positive; got {rt60_s:g} s")
    volume, surface = volume_and_surface(size_m)
    bands = np.asarray(bands_hz, dtype=np.float64)
    asked_s = rt60_s * np.interp(np.log2(bands), np.log2(BANDS_HZ), RT60_PROFILE)
    exponent = DECAY_60_DB * 4.0 * volume / (SPEED_OF_SOUND_M_S * surface * asked_s)
    exponent -= 4.0 * air_attenuation_per_m(bands) * volume / surface
    absorption = 1.0 - np.exp(-exponent)
    mid = np.interp(np.log2(1000.0), np.log2(bands), absorption)
    name = f"a reverberation time of {rt60_s:g} s in a room of {' x '.join(f'{s:g}' for s in size_m)} m"
    if mid > MAX_ABSORPTION:
        raise InputError(f"{name} needs walls that absorb {100 * mid:.0f} %; ask for a longer one or a smaller room")
    if mid < 0.005:
        raise InputError(f"{name} is more than the air in it allows; ask for a shorter one or a larger room")
    return tuple(float(value) for value in np.clip(absorption, 0.005, MAX_ABSORPTION))


def wall_absorption(room: Room) -> np.ndarray:
    """The room's absorption per band (bands,), found from its reverberation time where it is not given."""
    absorption = room.absorption or absorption_for_rt60(room.size_m, room.rt60_s, room.bands_hz)
    if len(absorption) != len(room.bands_hz):
        raise InputError(f"room '{room.name}' has {len(absorption)} absorptions for {len(room.bands_hz)} bands")
    if min(absorption) <= 0.0 or max(absorption) >= 1.0:
        raise InputError(f"room '{room.name}': absorption lies between 0 and 1 (both excluded)")
    return np.asarray(absorption, dtype=np.float64)


def rt60_per_frequency(room: Room, frequency_hz: np.ndarray) -> np.ndarray:
    """Reverberation time after Eyring, air included, at frequencies (...), in seconds."""
    volume, surface = volume_and_surface(room.size_m)
    exponent = -np.log1p(-_interpolate(room, wall_absorption(room), frequency_hz))
    attenuation = exponent * surface / (4.0 * volume) + air_attenuation_per_m(frequency_hz)
    return DECAY_60_DB / (SPEED_OF_SOUND_M_S * attenuation)


def _interpolate(room: Room, per_band: np.ndarray, frequency_hz: np.ndarray) -> np.ndarray:
    """Values per octave band -> at any frequency, linear over the logarithm of frequency, constant outside."""
    bands = np.log2(np.asarray(room.bands_hz, dtype=np.float64))
    return np.interp(np.log2(np.maximum(np.asarray(frequency_hz, dtype=np.float64), 1.0)), bands, per_band)


def check_room(room: Room) -> None:
    """Refuse a room that cannot be.

    Raises
    ------
    InputError : size, absorption or reverberation time impossible, listener outside
    """
    absorption_for_rt60(room.size_m, room.rt60_s, room.bands_hz)
    wall_absorption(room)
    _check_inside(room, np.zeros((1, 3)), "the listener", LISTENER_MARGIN_M)


def check_inside(room: Room, position_m: np.ndarray, who: str) -> None:
    """Refuse positions (n, 3), in world axes, that lie outside the room; on its walls and floor they may be.

    Raises
    ------
    InputError : one does
    """
    _check_inside(room, np.asarray(position_m, dtype=np.float64).reshape(-1, 3), who, -1e-6)


def _check_inside(room: Room, position_m: np.ndarray, who: str, margin_m: float) -> None:
    corner = position_m + np.asarray(room.listener_m)
    outside = np.any(~((corner >= margin_m) & (corner <= np.asarray(room.size_m) - margin_m)), axis=-1)
    if outside.any():
        place = ", ".join(f"{value:.2f}" for value in position_m[np.argmax(outside)])
        raise InputError(f"{who} at ({place}) m from the listener is outside room '{room.name}'")


@dataclass(frozen=True)
class Images:
    """Image sources of a shoebox: image = sign * source + offset in world axes.

    Attributes
    ----------
    sign : (images, 3), +1 or -1
    offset_m : (images, 3)
    order : (images,) number of wall reflections, ascending; the first is the source itself
    """

    sign: np.ndarray
    offset_m: np.ndarray
    order: np.ndarray

    def positions(self, source_m: np.ndarray) -> np.ndarray:
        """Sources (..., 3) -> images (..., images, 3)."""
        return np.asarray(source_m)[..., None, :] * self.sign + self.offset_m


@lru_cache(maxsize=64)
def _image_indices(max_order: int) -> np.ndarray:
    span = np.arange(-max_order, max_order + 1)
    index = np.stack(np.meshgrid(span, span, span, indexing="ij"), axis=-1).reshape(-1, 3)
    order = np.abs(index).sum(axis=1)
    index, order = index[order <= max_order], order[order <= max_order]
    return index[np.argsort(order, kind="stable")]


def image_sources(room: Room, max_order: int) -> Images:
    """All images with at most `max_order` reflections (63 for order 3), after Allen and Berkley (1979)."""
    index = _image_indices(max_order)
    size, listener = np.asarray(room.size_m, dtype=np.float64), np.asarray(room.listener_m, dtype=np.float64)
    sign = np.where(index % 2 == 0, 1.0, -1.0)
    offset = index * size + np.where(index % 2 == 0, 0.0, size) + (sign - 1.0) * listener
    return Images(sign, offset, np.abs(index).sum(axis=1))


def _minimum_phase(log_magnitude: np.ndarray) -> np.ndarray:
    """Log magnitude on the bins of an even real FFT (bins,) -> complex log response of the minimum-phase filter."""
    cepstrum = fft.irfft(log_magnitude)
    half = len(cepstrum) // 2
    cepstrum[1:half] *= 2.0
    cepstrum[half + 1 :] = 0.0
    return fft.rfft(cepstrum)


def wall_and_air_response(room: Room, rate_hz: int, n_fft: int) -> tuple[np.ndarray, np.ndarray]:
    """Complex log responses, minimum phase, of one reflection and of one metre of air, each (n_fft // 2 + 1,).

    An image of order k at distance r has the response exp(k * reflection + r * air) / r, apart from its delay.
    """
    frequency_hz = fft.rfftfreq(n_fft, 1.0 / rate_hz)
    reflection = 0.5 * np.log1p(-_interpolate(room, wall_absorption(room), frequency_hz))
    return _minimum_phase(reflection), _minimum_phase(-0.5 * air_attenuation_per_m(frequency_hz))


@lru_cache(maxsize=256)
def late_share(size_m: tuple[float, float, float], max_order: int, step_s: float, steps: int) -> np.ndarray:
    """Which share of the images arriving at times k * step_s (steps,) has more than `max_order` reflections.

    The mean over directions and over positions of source and listener: along a path of length ct with direction
    cosines u, wall crossings on one axis number |u| ct / L, spread by less than one either way.
    """
    golden = (np.arange(2000) + 0.5) / 2000
    cosine_z = 1.0 - golden  # one octant is enough
    azimuth = (np.arange(2000) * 0.6180339887498949 % 1.0) * np.pi / 2.0
    across = np.sqrt(1.0 - cosine_z**2)
    per_m = across * np.cos(azimuth) / size_m[0] + across * np.sin(azimuth) / size_m[1] + cosine_z / size_m[2]
    path_m = SPEED_OF_SOUND_M_S * step_s * np.arange(steps)
    crossings = path_m[:, None] * per_m
    return np.clip(crossings - max_order + 0.5, 0.0, 1.0).mean(axis=1)


def late_power(room: Room, max_order: int, time_s: np.ndarray, frequency_hz: np.ndarray) -> np.ndarray:
    """Energy per second of everything that arrives later than the images up to `max_order`.

    A source of unit pressure at 1 m puts 4 pi c / V per second into the room's diffuse field (the density of images
    4 pi c^3 t^2 / V times the energy 1 / (ct)^2 of each), which decays with the reverberation time of each frequency.

    Parameters
    ----------
    time_s : (n,) after emission, equally spaced, from 0
    frequency_hz : (bins,)

    Returns
    -------
    (n, bins) in 1/s
    """
    volume, _ = volume_and_surface(room.size_m)
    share = late_share(tuple(room.size_m), max_order, float(time_s[1] - time_s[0]), len(time_s))
    decay = np.exp(-DECAY_60_DB * time_s[:, None] / rt60_per_frequency(room, frequency_hz))
    return 4.0 * np.pi * SPEED_OF_SOUND_M_S / volume * share[:, None] * decay
