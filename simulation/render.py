"""A scene's sound field at any arrays: images, tails and ambient noise, from one list of images for all receivers.

Levels: an event's dry waveform is the sound pressure at 1 m; all clips are scaled by the same `GAIN`, so that level
still tells distance. A clip that would clip nevertheless is turned down as a whole, all arrays alike, and says so.
"""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import fft
from threadpoolctl import ThreadpoolController

from simulation.diffuse import diffuse_noise, diffuse_tail
from simulation.moving import OVERSAMPLING, interpolation_table, read_at
from simulation.receivers import Receiver, anti_alias, receiver_for
from simulation.room import (
    Images,
    check_inside,
    check_room,
    image_sources,
    late_power,
    wall_absorption,
    wall_and_air_response,
)
from simulation.scene import Event, Room, Scene, Trajectory
from util.errors import InputError
from util.microphone_arrays import SPEED_OF_SOUND_M_S, Array

log = logging.getLogger(__name__)

MAX_ORDER = 3  # of the images that are exact
GAIN = 0.5  # of every clip
PEAK = 0.98  # no sample goes beyond
QUIET_RMS = 0.02  # what counts as the events' mean level in a clip without events
NEAREST_M = 0.25  # 1 / r stops growing here
LEAD = 128  # samples before the arrival that a filter may ring
CONTROL_S = 0.01  # how often a moving source's delays, gains and weights are computed; linear between
AIR_STEP_M = 4.0  # moving images share the air absorption of the nearest multiple of this distance
PIECE_S, BLOCK_S = 20.0, 2.0  # of a moving source filtered, and rendered, at a time, to bound memory
MODE_FILTER_S = 64 / 24000  # of a mode filter to either side; what lies beyond is 70 dB below its peak
CONVOLUTION_FFT = 65536

_threads = ThreadpoolController()


def direct_delay_s(position_m: np.ndarray) -> np.ndarray:
    """Time that sound takes from positions (..., 3) to the listener (...), in seconds."""
    return np.linalg.norm(np.asarray(position_m, dtype=np.float64), axis=-1) / SPEED_OF_SOUND_M_S


def render(
    scene: Scene,
    arrays: Sequence[Array],
    *,
    seed: int | None = None,
    max_order: int = MAX_ORDER,
    tail: bool = True,
    noise: bool = True,
) -> dict[str, np.ndarray]:
    """What the arrays record of a scene.

    Parameters
    ----------
    arrays : receivers, all at the listener's place
    seed : of the tails and the noise; the scene's own by default
    max_order : reflections of the images that are rendered one by one; 0 is the direct sound alone
    tail : whether the later reverberation is added
    noise : whether the ambient noise is added

    Returns
    -------
    name of array -> waveform (channels, samples) float32; the same bytes whatever else is rendered and in whichever
    process, unless the clip had to be turned down

    Raises
    ------
    InputError : the room cannot be, or a source leaves it
    """
    check_room(scene.room)
    for event in scene.events:
        check_inside(scene.room, event.trajectory.position_m, f"a source of '{event.class_name}'")
    if len({array.name for array in arrays}) < len(arrays):
        raise InputError("arrays that are rendered together need names of their own")
    seed = scene.seed if seed is None else seed
    samples = round(scene.duration_s * scene.rate_hz)
    receivers = [receiver_for(array, scene.rate_hz) for array in arrays]
    waveforms = [np.zeros((array.channels, samples), dtype=np.float32) for array in arrays]
    # threads of the linear algebra would fight over the cores with the processes of the other clips
    with _threads.limit(limits=1, user_api="blas"):
        field = _Field.of(scene.room, scene.rate_hz, max_order)
        for number, event in enumerate(scene.events):
            _add_event(waveforms, receivers, field, event, _streams(seed, receivers, 1 + number) if tail else None)
        if noise:
            level = noise_rms(scene)
            for waveform, receiver, rng in zip(waveforms, receivers, _streams(seed, receivers, 0)):
                waveform += np.float32(level) * diffuse_noise(receiver, rng, samples)
    peak = max((float(np.abs(waveform).max(initial=0.0)) for waveform in waveforms), default=0.0) * GAIN
    gain = GAIN * min(1.0, PEAK / max(peak, PEAK))
    if peak > PEAK:
        log.info("clip '%s' is turned down by %.1f dB to keep it from clipping", scene.name, 20 * np.log10(peak / PEAK))
    for waveform in waveforms:
        waveform *= np.float32(gain)
    return {array.name: waveform for array, waveform in zip(arrays, waveforms)}


def _streams(seed: int, receivers: Sequence[Receiver], use: int) -> list[np.random.Generator]:
    """One random stream per receiver for one use: what else is rendered does not matter."""
    return [np.random.default_rng([seed, use, zlib.crc32(r.array.name.encode())]) for r in receivers]


@dataclass(frozen=True)
class _Field:
    """A room at a sampling rate: images and what walls and air do, on the bins of `n_fft`."""

    room: Room
    rate_hz: int
    max_order: int
    images: Images
    n_fft: int
    reflection: np.ndarray
    air: np.ndarray
    source_filter: np.ndarray

    @classmethod
    def of(cls, room: Room, rate_hz: int, max_order: int) -> _Field:
        images = image_sources(room, max_order)
        reach_m = float(np.linalg.norm((max_order + 1) * np.asarray(room.size_m)))
        # the longest path of at most max_order reflections stays within max_order + 1 diagonals in the worst corner
        n_fft = fft.next_fast_len(int(reach_m / SPEED_OF_SOUND_M_S * rate_hz) + 4 * LEAD, real=True)
        n_fft += n_fft % 2
        reflection, air = wall_and_air_response(room, rate_hz, n_fft)
        return cls(
            room,
            rate_hz,
            max_order,
            images,
            n_fft,
            reflection,
            air,
            anti_alias(fft.rfftfreq(n_fft, 1.0 / rate_hz), rate_hz),
        )


def _add_event(
    waveforms: list[np.ndarray],
    receivers: Sequence[Receiver],
    field: _Field,
    event: Event,
    streams: list[np.random.Generator] | None,
) -> None:
    sound = np.asarray(event.sound, dtype=np.float32)
    samples = waveforms[0].shape[1] if waveforms else 0
    first = int(np.floor(event.start_s * field.rate_hz))
    sound = sound[: max(samples - first, 0)]
    if not sound.size:
        return
    if event.trajectory.moving:
        piece = round(PIECE_S * field.rate_hz)
        for begin in range(0, len(sound), piece):
            start_s = event.start_s + begin / field.rate_hz
            _add_moving(waveforms, receivers, field, event.trajectory, start_s, sound[begin : begin + piece])
        early = [np.zeros((receiver.channels, 0), dtype=np.float32) for receiver in receivers]
    else:
        fraction = event.start_s * field.rate_hz - first
        early = _early_filters(receivers, field, event.trajectory.position_m[0], fraction)
    for index, receiver in enumerate(receivers):
        filters = early[index]
        if streams is not None:
            late = diffuse_tail(receiver, field.room, streams[index], field.max_order)
            # early filters start LEAD samples before the emission
            whole = np.zeros((receiver.channels, max(filters.shape[1], late.shape[1] + LEAD)), dtype=np.float32)
            whole[:, : filters.shape[1]] = filters
            whole[:, LEAD : LEAD + late.shape[1]] += late
            filters = whole
        if filters.shape[1]:
            _add_convolved(waveforms[index], first - LEAD, sound, filters)


def _early_filters(
    receivers: Sequence[Receiver], field: _Field, position_m: np.ndarray, fraction: float
) -> list[np.ndarray]:
    """Filters (channels, n_fft) of the images of a source at rest; they start LEAD samples before the emission.

    `fraction` of a sample is added to all delays.
    """
    image_m = field.images.positions(position_m)
    distance_m = np.linalg.norm(image_m, axis=-1)
    frequency = np.arange(field.n_fft // 2 + 1) / field.n_fft  # in cycles per sample
    delay = distance_m * (field.rate_hz / SPEED_OF_SOUND_M_S) + LEAD + fraction
    cycles = delay[:, None] * frequency
    cycles -= np.rint(cycles)  # so that single precision is enough
    by_order = np.exp(np.arange(field.max_order + 1)[:, None] * field.reflection) * field.source_filter
    angle = cycles.astype(np.float32) * np.float32(-2.0 * np.pi)
    angle += (distance_m[:, None] * field.air.imag).astype(np.float32)
    level = np.exp((distance_m[:, None] * field.air.real).astype(np.float32))
    level /= np.maximum(distance_m, NEAREST_M)[:, None].astype(np.float32)
    spectra = np.empty(angle.shape, dtype=np.complex64)
    spectra.real = level * np.cos(angle)
    spectra.imag = level * np.sin(angle)
    spectra *= by_order.astype(np.complex64)[field.images.order]
    direction = image_m / distance_m[:, None]
    filters = []
    for receiver in receivers:
        rows = receiver.weights(direction) @ spectra.view(np.float32)
        rows = rows.view(np.complex64).reshape(receiver.channels, receiver.modes, -1)
        filters.append(fft.irfft((rows * receiver.mode_spectra(field.n_fft)).sum(axis=1), field.n_fft))
    return filters


def _add_convolved(waveform: np.ndarray, start: int, sound: np.ndarray, filters: np.ndarray) -> None:
    """Add sound (samples,) through filters (channels, taps) to waveform from sample `start` (which may be negative)."""
    whole = len(sound) + filters.shape[1] - 1
    n_fft = fft.next_fast_len(min(whole, max(CONVOLUTION_FFT, 2 * filters.shape[1])), real=True)
    hop = min(n_fft - filters.shape[1] + 1, len(sound))
    spectra = fft.rfft(filters, n_fft)
    for begin in range(0, len(sound), hop):
        piece = sound[begin : begin + hop]
        _add_at(waveform, start + begin, fft.irfft(fft.rfft(piece, n_fft) * spectra, n_fft)[:, : whole - begin])


def _add_at(waveform: np.ndarray, start: int, piece: np.ndarray) -> None:
    """Add piece (channels, n) at sample `start`, cut at both ends of the waveform."""
    begin, end = max(start, 0), min(start + piece.shape[1], waveform.shape[1])
    if end > begin:
        waveform[:, begin:end] += piece[:, begin - start : end - start]


def _add_moving(
    waveforms: list[np.ndarray],
    receivers: Sequence[Receiver],
    field: _Field,
    path: Trajectory,
    start_s: float,
    sound: np.ndarray,
) -> None:
    """Images of a moving source: each reads the sound at its retarded time; Doppler shift and all."""
    rate_hz = field.rate_hz
    hop = round(CONTROL_S * rate_hz)
    reach_m = float(np.linalg.norm((field.max_order + 1) * np.asarray(field.room.size_m)))
    first = int(np.floor(start_s * rate_hz))
    count = -(-(len(sound) + int(reach_m / SPEED_OF_SOUND_M_S * rate_hz) + 2 * LEAD) // hop)
    count = min(count, -(-(waveforms[0].shape[1] - first + LEAD) // hop))
    time_s = (first + np.arange(count + 1) * hop) / rate_hz  # of arrival
    emitted_s, image_m, distance_m = _retarded(field.images, path, time_s)
    variants, variant, pad = _source_variants(field, sound, distance_m)
    position = (emitted_s - start_s) * (rate_hz * OVERSAMPLING) + pad
    gain = 1.0 / np.maximum(distance_m, NEAREST_M)
    direction = (image_m / distance_m[..., None]).astype(np.float32)
    blocks = max(1, int(BLOCK_S * rate_hz / hop))
    falling, rising = np.empty((2, min(blocks, count), len(field.images.order), hop), dtype=np.float32)
    for begin in range(0, count, blocks):
        size = min(blocks, count - begin)
        part = slice(begin, begin + size + 1)
        read_at(variants, variant, position[part], gain[part], interpolation_table(), falling[:size], rising[:size])
        for waveform, receiver in zip(waveforms, receivers):
            weights = receiver.weights(direction[part])
            rows = np.empty((receiver.rows, size, hop), dtype=np.float32)
            np.matmul(weights[:-1], falling[:size], out=rows.transpose(1, 0, 2))
            rows += np.matmul(weights[1:], rising[:size]).transpose(1, 0, 2)
            _add_through_modes(waveform, first + begin * hop, rows.reshape(receiver.rows, -1), receiver)


def _retarded(images: Images, path: Trajectory, time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For arrivals at time_s (n,): when each image emitted them (n, images), where it was then, and how far that is."""
    emitted_s = np.repeat(time_s[:, None], len(images.order), axis=1)
    for _ in range(3):  # each round shrinks the error by speed / speed of sound
        image_m = path.at(emitted_s) * images.sign + images.offset_m
        distance_m = np.linalg.norm(image_m, axis=-1)
        emitted_s = time_s[:, None] - distance_m / SPEED_OF_SOUND_M_S
    return emitted_s, image_m, distance_m


def _source_variants(field: _Field, sound: np.ndarray, distance_m: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The sound as it is after k reflections and so many metres of air, oversampled and padded.

    Returns
    -------
    variants (variants, samples), which of them each image takes (images,), and at which sample the sound begins
    """
    step = np.rint(distance_m.mean(axis=0) / AIR_STEP_M).astype(np.int64)
    kinds, variant = np.unique(np.stack([field.images.order, step], axis=1), axis=0, return_inverse=True)
    ring = field.n_fft // 2  # of the wall filters
    n_fft = fft.next_fast_len(len(sound) + ring + 2 * LEAD, real=True)
    n_fft += n_fft % 2
    spectrum = fft.rfft(np.concatenate([np.zeros(LEAD, dtype=np.float32), sound]), n_fft)
    reflection, air = wall_and_air_response(field.room, field.rate_hz, n_fft)
    spectrum = spectrum * anti_alias(fft.rfftfreq(n_fft, 1.0 / field.rate_hz), field.rate_hz) * OVERSAMPLING
    reflected = np.exp(np.arange(field.max_order + 1)[:, None] * reflection) * spectrum
    through_air = np.exp(np.arange(step.min(), step.max() + 1)[:, None] * AIR_STEP_M * air)
    spectra = reflected.astype(np.complex64)[kinds[:, 0]]
    spectra *= through_air.astype(np.complex64)[kinds[:, 1] - step.min()]
    variants = fft.irfft(spectra, n_fft * OVERSAMPLING)
    return variants, variant.reshape(-1), LEAD * OVERSAMPLING


def _add_through_modes(waveform: np.ndarray, start: int, rows: np.ndarray, receiver: Receiver) -> None:
    """Filter weighted signals (rows, samples) by their modes, sum per channel and add at sample `start`."""
    half, n_fft, spectra = _mode_filters(receiver)
    hop = n_fft - 2 * half
    count = -(-rows.shape[1] // hop)
    padded = np.zeros((receiver.rows, count, n_fft), dtype=np.float32)
    full = rows.shape[1] // hop
    padded[:, :full, :hop] = rows[:, : full * hop].reshape(receiver.rows, full, hop)
    padded[:, full:, : rows.shape[1] - full * hop] = rows[:, None, full * hop :]
    blocks = fft.rfft(padded, overwrite_x=True).reshape(receiver.channels, receiver.modes, count, -1)
    pieces = fft.irfft(np.einsum("cmbf,mf->cbf", blocks, spectra), n_fft)
    for block in range(count):
        _add_at(waveform, start + block * hop - half, pieces[:, block])


@lru_cache(maxsize=32)
def _mode_filters(receiver: Receiver) -> tuple[int, int, np.ndarray]:
    """Length of the mode filters to either side, FFT size, and their spectra (modes, bins), delayed by that length."""
    half = math.ceil(MODE_FILTER_S * receiver.rate_hz)
    n_fft = fft.next_fast_len(16 * half, real=True)
    filters = np.roll(fft.irfft(receiver.mode_spectra(8 * n_fft), 8 * n_fft), half, axis=-1)[:, : 2 * half]
    return half, n_fft, fft.rfft(filters, n_fft)


def noise_rms(scene: Scene) -> float:
    """Root mean square of the ambient noise's pressure at the listener, before the common gain.

    `scene.noise_db` below the mean, in decibels, over the events: of each the power of its sounding parts times the
    energy of the response from source to listener at mid frequencies.
    """
    levels_db = [_event_level_db(scene, event) for event in scene.events if np.any(event.sound)]
    mean_db = float(np.mean(levels_db)) if levels_db else 20.0 * np.log10(QUIET_RMS)
    return float(10.0 ** ((mean_db - scene.noise_db) / 20.0))


def _event_level_db(scene: Scene, event: Event) -> float:
    """Level of an event at the listener while it sounds, reverberation included."""
    length = max(1, int(0.02 * scene.rate_hz))
    sound = np.asarray(event.sound, dtype=np.float64)
    power = np.add.reduceat(sound**2, np.arange(0, len(sound), length)) / length
    power = power[power > 1e-4 * power.max()].mean()
    room, mid_hz = scene.room, np.array([1000.0])
    place = event.trajectory.at(event.start_s + 0.5 * len(sound) / scene.rate_hz)
    step_s = 0.005
    late = late_power(room, MAX_ORDER, np.arange(int(2.0 * room.rt60_s / step_s) + 2) * step_s, mid_hz).sum() * step_s
    images = image_sources(room, MAX_ORDER)
    reflection = 1.0 - np.interp(1000.0, room.bands_hz, wall_absorption(room))
    early = (reflection**images.order / np.sum(images.positions(place) ** 2, axis=-1)).sum()
    return float(10.0 * np.log10(power * (early + late)))
