"""Sounds that call for attention: alarms, a crying baby, screams, crashes, fire; and a piano."""

from __future__ import annotations

import numpy as np

from simulation.sounds.primitives import (
    RATE_HZ,
    add_at,
    decay,
    fade,
    frame_times_s,
    harmonics,
    noise,
    phase_of,
    pulses,
    resonate,
    samples,
    shape_spectrum,
    unit,
    wander,
)
from simulation.sounds.tonal import melody
from simulation.sounds.voice import VOWELS, formant_gains


def alarm(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A piezo alarm: groups of three or four beeps.

    Parameters: tone_hz, beep_s, gap_s (between beeps), odd (level of the odd harmonics).
    """
    output, now = np.zeros(samples(duration_s)), 0.0
    beeps = int(rng.integers(3, 5))
    gains = np.array([1.0, 0.0, p["odd"], 0.0, 0.5 * p["odd"]])
    number = 0
    while now < duration_s - 0.05:
        length = samples(min(p["beep_s"], duration_s - now))
        add_at(output, samples(now), fade(harmonics(phase_of(p["tone_hz"], length), gains), 0.003, 0.004))
        number += 1
        now += p["beep_s"] + p["gap_s"] * (3.0 if number % beeps == 0 else 1.0)
    return output


def _cried(
    rng: np.random.Generator, pitch_hz: np.ndarray, vowel_hz: np.ndarray, rough: float, breath: float
) -> np.ndarray:
    """A loud voice: glottal pulses with roughness (jitter and halved periods) through an open vowel."""
    count = len(pitch_hz)
    train = pulses(pitch_hz * (1 + 0.012 * wander(rng, count, 30.0) + 0.06 * rough * wander(rng, count, 90.0)))
    train *= 1 + rough * np.sin(phase_of(0.5 * pitch_hz))  # every second period weaker: the voice breaks
    source = unit(train - train.mean()) + breath * noise(rng, count, 800, 9000, 1)
    return unit(shape_spectrum(source, formant_gains(np.broadcast_to(vowel_hz, (len(frame_times_s(count)), 3)))))


def baby_cry(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """Cries of a baby: long wails that rise and fall, breaths drawn in between.

    Parameters: f0_hz (at the top of a wail), tract, cry_s (length of one), rough.
    """
    output, now = np.zeros(samples(duration_s)), 0.0
    while now < duration_s - 0.15:
        length = samples(min(p["cry_s"] * rng.uniform(0.8, 1.2), duration_s - now))
        share = np.linspace(0, 1, length)
        pitch = p["f0_hz"] * np.interp(share, (0, 0.2, 0.65, 1), (0.8, 1.0, 0.95, 0.7))
        wail = _cried(rng, pitch, VOWELS[3] * p["tract"], p["rough"], 0.05)
        wail *= np.interp(share, (0, 0.12, 0.7, 1), (0.1, 1.0, 0.8, 0.0))
        add_at(output, samples(now), fade(wail, 0.01, 0.04))
        now += length / RATE_HZ
        breath = samples(rng.uniform(0.12, 0.25))
        add_at(output, samples(now), fade(noise(rng, breath, 1200, 7000, 1), 0.05, 0.05), 0.06)
        now += breath / RATE_HZ + 0.03
    return output


def scream(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """One long scream.

    Parameters: f0_hz, tract, rough (how much the voice breaks), rise (of the pitch at its start).
    """
    count = samples(duration_s)
    share = np.linspace(0, 1, count)
    pitch = p["f0_hz"] * np.interp(share, (0, 0.15, 0.7, 1), (1 / p["rise"], 1.0, 1.02, 0.8))
    voice = _cried(rng, pitch, VOWELS[4] * p["tract"], p["rough"], 0.12)
    return fade(voice * np.interp(share, (0, 0.06, 0.8, 1), (0.2, 1.0, 0.9, 0.0)), 0.01, 0.05)


def crash(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """Things that fall and break: a thud, then pieces that ring, fewer and fewer.

    Parameters: pieces (in the first tenth of a second), piece_hz (typical pitch), t60_s (of a piece), thud_hz.
    """
    output = np.zeros(samples(duration_s))
    thud = noise(rng, samples(0.3), 0.5 * p["thud_hz"], 2 * p["thud_hz"], 1) * decay(samples(0.3), 0.25, 0.001)
    add_at(output, 0, thud, 1.2)
    rush = noise(rng, samples(0.5), 1500, 9000, 1) * decay(samples(0.5), 0.4, 0.001)
    add_at(output, 0, rush, 0.8)
    now = 0.01
    while now < duration_s - 0.02:
        blow = np.zeros(samples(min(1.2 * p["t60_s"], duration_s - now)))
        if len(blow) < 10:
            break
        blow[0] = rng.uniform(0.3, 1.0) * np.exp(-2.5 * now / duration_s)
        modes = p["piece_hz"] * np.exp(rng.uniform(-0.7, 0.7)) * np.array([1.0, 2.32, 4.25]) * rng.uniform(0.9, 1.1, 3)
        add_at(output, samples(now), fade(resonate(blow, modes, p["t60_s"] * np.array([1.0, 0.7, 0.4])), 0.0, 0.01))
        now += rng.exponential(0.1 / p["pieces"]) * (1 + 8 * now / duration_s)
    return fade(output, 0.0, 0.05)


def fire(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A fire: the roar of the flames, hiss, and crackles of wood.

    Parameters: roar_hz (upper end of the roar), crackle_hz (per second), hiss (level), snap_hz (pitch of crackles).
    """
    count = samples(duration_s)
    roar = noise(rng, count, 40, p["roar_hz"], 1) * np.exp(0.4 * np.clip(wander(rng, count, 5.0), -2, 2))
    hiss = noise(rng, count, 2000, 9000, 1) * np.exp(0.3 * np.clip(wander(rng, count, 3.0), -2, 2))
    output = unit(roar) + p["hiss"] * hiss
    now = rng.exponential(1 / p["crackle_hz"])
    while now < duration_s - 0.01:
        length = samples(rng.uniform(0.004, 0.02))
        pitch = p["snap_hz"] * np.exp(rng.uniform(-0.5, 0.5))
        snap = noise(rng, length, 0.6 * pitch, min(2.5 * pitch, 11000), 1) * decay(length, 0.015, 0.0003)
        add_at(output, samples(now), snap, rng.lognormal(1.0, 0.6))
        now += rng.exponential(1 / p["crackle_hz"])
    return fade(output, 0.1, 0.15)


def piano(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A piano: hammered stiff strings, two in unison a little apart, a tune with a bass below.

    Parameters: lowest_hz, note_hz (notes per second), hammer (how hard), t60_s (of a middle string).
    """
    output = np.zeros(samples(duration_s))
    order = np.arange(1, 15)
    gains = order ** -(2.2 - 1.2 * p["hammer"]) * np.abs(np.sin(np.pi * order / 8.0))
    for start_s, length_s, step in melody(rng, duration_s, p["note_hz"]):
        for below, level in ((0, 1.0), (-12, 0.5)) if rng.random() < 0.4 else ((0, 1.0),):
            pitch = p["lowest_hz"] * 2 ** ((step + below) / 12)
            blow = np.zeros(samples(min(2.0 * length_s, duration_s - start_s)))
            if len(blow) < 10:
                continue
            blow[0] = level * rng.uniform(0.7, 1.0)
            partials = pitch * order * np.sqrt(1 + 4e-4 * order**2)
            t60 = p["t60_s"] * (220 / pitch) ** 0.4 / (0.7 + 0.3 * order)
            both = resonate(blow, partials, t60, gains) + resonate(blow, partials * 1.0015, 0.8 * t60, gains)
            add_at(output, samples(start_s), fade(both, 0.001, 0.04))
            knock = noise(rng, samples(0.03), 200, 2500, 1) * decay(samples(0.03), 0.04, 0.001)
            add_at(output, samples(start_s), knock, 0.05 * level * p["hammer"])
    return output
