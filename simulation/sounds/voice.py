"""Voices: speech and laughter by formant synthesis (glottal pulses and breath through moving resonances)."""

from __future__ import annotations

import numpy as np
from scipy import signal

from simulation.sounds.primitives import (
    RATE_HZ,
    fade,
    frame_frequencies_hz,
    frame_times_s,
    noise,
    pulses,
    samples,
    shape_spectrum,
    unit,
    wander,
)

# First three formants in Hz of an adult male speaker (rounded averages after Peterson and Barney 1952).
VOWELS = np.array(
    [
        (270, 2290, 3010),
        (390, 1990, 2550),
        (530, 1840, 2480),
        (660, 1720, 2410),
        (730, 1090, 2440),
        (570, 840, 2410),
        (440, 1020, 2240),
        (300, 870, 2240),
        (640, 1190, 2390),
    ],
    dtype=np.float64,
)
# Formants above the third stand at fixed ratios to it; the last two are broad: the hiss of a voice. Bandwidths and
# levels are rounded means over vowels; the first resonance passes what lies below it, the others are bands.
_HIGHER = (1.4, 1.9, 2.7)
_BANDWIDTHS_HZ = (80.0, 110.0, 160.0, 240.0, 800.0, 1500.0)
_LEVELS = (1.0, 0.6, 0.35, 0.25, 0.12, 0.08)


def formant_gains(formants_hz: np.ndarray) -> np.ndarray:
    """Gains (frames, bins) of parallel resonances: three formants (frames, 3), and higher ones above the third."""
    frequency = frame_frequencies_hz().astype(np.float32)[None, :]
    formants = np.concatenate([formants_hz, formants_hz[:, 2:] * _HIGHER], axis=1).astype(np.float32)
    gains = np.zeros((len(formants_hz), frequency.shape[1]), dtype=np.float32)
    for number, (formant, bandwidth, level) in enumerate(zip(formants.T[..., None], _BANDWIDTHS_HZ, _LEVELS)):
        ratio, damping = frequency / formant, np.float32(bandwidth) / formant
        width = damping * ratio
        gains += level * (width if number else damping) / np.sqrt((1 - ratio * ratio) ** 2 + width * width)
    return gains


def _glottal(rng: np.random.Generator, pitch_hz: np.ndarray, breath: float) -> np.ndarray:
    """Voiced source (n,): pulses with a falling spectrum and breath noise that pulses along."""
    train = pulses(pitch_hz * (1 + 0.012 * wander(rng, len(pitch_hz), 40.0)))
    flow = signal.lfilter([1.0], [1.0, -0.92], train)
    return unit(flow - flow.mean()) + breath * noise(rng, len(pitch_hz), 1500, 8000)


def _curve(times_s: list[float], values: list, at_s: np.ndarray) -> np.ndarray:
    points = np.asarray(values, dtype=np.float64)
    if points.ndim == 1:
        return np.interp(at_s, times_s, points)
    return np.stack([np.interp(at_s, times_s, column) for column in points.T], axis=1)


def speech(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """Nonsense sentences: syllables of consonant and vowel, phrase melody, short breaths between phrases.

    Parameters: f0_hz (mean pitch), tract (formants relative to the male average), syllable_hz, liveliness (range of
    the pitch), breath.
    """
    count = samples(duration_s)
    time_s = np.arange(count) / RATE_HZ
    knots, formants, level, pitch = [0.0], [VOWELS[8] * p["tract"]], [0.0], [1.1]
    hiss = np.zeros(count)
    now, left = 0.03, int(rng.integers(5, 11))
    sentence = left
    while now < duration_s - 0.12:
        length = rng.uniform(0.75, 1.35) / p["syllable_hz"]
        onset = rng.choice(4, p=(0.3, 0.25, 0.2, 0.25))  # fricative, plosive, nasal, none
        closed = min(0.42 * length, (0.09, 0.05, 0.06, 0.02)[onset] * rng.uniform(0.8, 1.2))
        vowel = VOWELS[rng.integers(len(VOWELS))] * p["tract"] * rng.uniform(0.95, 1.05, 3)
        stress = rng.uniform(0.55, 1.0)
        closed_level = (0.0, 0.0, 0.3, 0.2)[onset]
        accent = 1 + p["liveliness"] * (rng.uniform(-0.5, 1.0) * stress + 0.7 * (left / sentence - 0.6))
        locus = vowel * rng.uniform((0.6, 0.85, 0.95), (0.8, 1.15, 1.05))
        for at, shape, value in (
            (now + 0.3 * closed, locus, closed_level),
            (now + closed, locus, closed_level),
            (now + closed + 0.22 * (length - closed), vowel, stress),
            (now + closed + 0.75 * (length - closed), vowel, 0.8 * stress),
        ):
            knots.append(at)
            formants.append(shape)
            level.append(value)
            pitch.append(accent)
        if onset == 0:
            low = rng.choice((2200.0, 4200.0))
            part = noise(rng, samples(closed), low, rng.choice((6500.0, 9500.0)))
            _add(hiss, now, 0.25 * stress * fade(part, 0.3 * closed, 0.3 * closed))
        elif onset == 1:
            burst = noise(rng, samples(0.015), 800, rng.choice((3000.0, 6000.0)))
            _add(hiss, now + closed - 0.012, 0.5 * stress * fade(burst, 0.001, 0.012))
        now += length
        left -= 1
        if left <= 0:
            pause = rng.uniform(0.1, 0.24)
            for at in (now, now + pause):
                knots.append(at)
                formants.append(formants[-1])
                level.append(0.0)
                pitch.append(0.9)
            now += pause
            left = sentence = int(rng.integers(4, 10))
    knots.append(max(now, knots[-1] + 0.02))
    formants.append(formants[-1])
    level.append(0.0)
    pitch.append(0.85)
    voiced = _glottal(rng, p["f0_hz"] * _curve(knots, pitch, time_s), p["breath"]) * _curve(knots, level, time_s)
    gains = formant_gains(_curve(knots, formants, frame_times_s(count)))
    return fade(unit(shape_spectrum(voiced, gains)) + hiss, 0.01, 0.03)


def _add(target: np.ndarray, start_s: float, part: np.ndarray) -> None:
    start = max(0, samples(start_s))
    stop = min(len(target), start + len(part))
    if start < stop:
        target[start:stop] += part[: stop - start]


def laughter(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """Bouts of "ha ha ha": one open vowel, an aspirated h before each, pitch and level falling over the bout.

    Parameters: f0_hz (pitch at the top), tract, rate_hz (calls per second), fall (share of the pitch lost over a bout).
    """
    count = samples(duration_s)
    time_s = np.arange(count) / RATE_HZ
    vowel = VOWELS[rng.choice((3, 4, 8))] * p["tract"]
    knots, voice, breath, pitch = [0.0], [0.0], [0.0], [1.0]
    now = 0.02
    while now < duration_s - 0.1:
        calls = int(rng.integers(5, 11))
        for call in range(calls):
            length = rng.uniform(0.9, 1.1) / p["rate_hz"]
            strength = (1 - 0.55 * call / calls) * rng.uniform(0.85, 1.1)
            high = 1 - p["fall"] * call / calls
            for share, v, b, f in (
                (0.02, 0.0, 0.7, 1.0),
                (0.3, 0.05, 0.8, 1.08),
                (0.45, 1.0, 0.2, 1.1),
                (0.7, 0.8, 0.15, 0.98),
                (0.9, 0.0, 0.3, 0.9),
            ):
                knots.append(now + share * length)
                voice.append(v * strength)
                breath.append(b * strength)
                pitch.append(f * high)
            now += length
            if now > duration_s - 0.1:
                break
        gasp = rng.uniform(0.2, 0.3)  # breathing in between two bouts, audible
        for share, b in ((0.1, 0.0), (0.5, 0.5), (0.95, 0.0)):
            knots.append(now + share * gasp)
            voice.append(0.0)
            breath.append(b)
            pitch.append(1.0)
        now += gasp
    f0 = p["f0_hz"] * _curve(knots, pitch, time_s)
    source = unit(_glottal(rng, f0, 0.15)) * _curve(knots, voice, time_s)
    source += 0.35 * noise(rng, count, 400, 9000) * _curve(knots, breath, time_s)
    formants = np.broadcast_to(vowel, (len(frame_times_s(count)), 3))
    return fade(shape_spectrum(source, formant_gains(formants)), 0.005, 0.05)


def cough(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """Coughs: a burst of air as the glottis opens, a rush through the throat, a short voiced end.

    Parameters: f0_hz (of the voiced end), tract, cough_s (length of one), voiced (share of the voice).
    """
    count = samples(duration_s)
    time_s = np.arange(count) / RATE_HZ
    knots, rush, voice = [0.0], [0.0], [0.0]
    now = 0.01
    while now < duration_s - 0.1:
        length = min(p["cough_s"] * rng.uniform(0.85, 1.2), duration_s - now)
        strength = rng.uniform(0.75, 1.0)
        for share, r, v in ((0.0, 0.0, 0.0), (0.04, 1.0, 0.1), (0.3, 0.55, 0.3), (0.6, 0.25, 1.0), (1.0, 0.0, 0.0)):
            knots.append(now + share * length)
            rush.append(r * strength)
            voice.append(v * strength)
        now += length + rng.uniform(0.03, 0.16)
    source = noise(rng, count, 300, 8000) * _curve(knots, rush, time_s)
    pitch = p["f0_hz"] * (1 + 0.06 * wander(rng, count, 12.0))
    source += p["voiced"] * unit(_glottal(rng, pitch, 0.3)) * _curve(knots, voice, time_s)
    formants = np.broadcast_to(VOWELS[rng.choice((3, 4, 8))] * p["tract"], (len(frame_times_s(count)), 3))
    return fade(shape_spectrum(source, formant_gains(formants)), 0.002, 0.03)


def clear_throat(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """Clearing the throat: "ahem", a creaking, slow and uneven voice with noise that gurgles along.

    Parameters: f0_hz (of the creak), tract, gurgle_hz (rate of the gurgling), rough (share of the noise).
    """
    count = samples(duration_s)
    time_s = np.arange(count) / RATE_HZ
    split = duration_s * rng.uniform(0.38, 0.5)
    knots = [0.0, 0.04, 0.7 * split, split, split + 0.05, 0.75 * duration_s, duration_s]
    level = _curve(knots, [0.0, 0.8, 0.6, 0.12, 1.0, 0.8, 0.0], time_s)
    pitch = p["f0_hz"] * _curve([0.0, split, duration_s], [1.1, 0.9, 0.7], time_s)
    creak = _glottal(rng, pitch * (1 + 0.15 * wander(rng, count, 45.0)), 0.15)
    gurgle = np.exp(0.7 * np.clip(wander(rng, count, p["gurgle_hz"]), -2, 2))
    source = unit(creak) + p["rough"] * noise(rng, count, 250, 4500, 1) * gurgle
    nasal = VOWELS[8] * p["tract"] * (0.6, 0.9, 0.95)  # the second syllable is an "m": dark
    formants = _curve(
        [0.0, 0.7 * split, split, duration_s], [VOWELS[8] * p["tract"]] * 2 + [nasal] * 2, frame_times_s(count)
    )
    return fade(shape_spectrum(source * level, formant_gains(formants)), 0.005, 0.04)
