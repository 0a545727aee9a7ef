"""Sounds with pitch: telephones, bells, music, instruments."""

from __future__ import annotations

import numpy as np

from simulation.sounds.primitives import (
    RATE_HZ,
    add_at,
    decay,
    fade,
    harmonics,
    noise,
    phase_of,
    resonate,
    samples,
    unit,
    wander,
)

PENTATONIC = np.array([0, 2, 4, 7, 9, 12, 14, 16])
# Partials of a tuned bell relative to its prime: hum, prime, tierce, quint, nominal and above.
BELL_PARTIALS = np.array([0.5, 1.0, 1.2, 1.5, 2.0, 2.67, 3.0, 4.2])
# Free vibrations of a thin bar or a small cup gong: no harmonic series.
GONG_PARTIALS = np.array([1.0, 2.76, 5.40])


def _rings(duration_s: float, on_s: float, off_s: float) -> list[tuple[float, float]]:
    """Cadence of a telephone: (start, length) in seconds; the last ring ends with the event."""
    rings, now = [], 0.0
    while now < duration_s - 0.2:
        rings.append((now, min(on_s, duration_s - now)))
        now += on_s + off_s
    return rings


def phone_bell(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A desk telephone: two gongs and a clapper. Parameters: gong_hz, ratio (second gong), clapper_hz, on_s, off_s."""
    count = samples(duration_s)
    blows = np.zeros((2, count))
    for start_s, length_s in _rings(duration_s, p["on_s"], p["off_s"]):
        hits = np.arange(0.0, length_s, 1 / p["clapper_hz"])
        for index, hit_s in enumerate(hits):
            at = samples(start_s + hit_s + rng.uniform(-0.001, 0.001))
            if 0 <= at < count:
                blows[index % 2, at] += rng.uniform(0.8, 1.0)
    t60 = np.array([0.35, 0.25, 0.15])
    output = resonate(blows[0], p["gong_hz"] * GONG_PARTIALS, t60, np.array([1.0, 0.5, 0.25]))
    output += resonate(blows[1], p["gong_hz"] * p["ratio"] * GONG_PARTIALS, t60, np.array([1.0, 0.5, 0.25]))
    return fade(output, 0.0, 0.05)


def phone_trill(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """An electronic ringer: two reedy tones in quick alternation. Parameters: low_hz, ratio, warble_hz, on_s, off_s."""
    count = samples(duration_s)
    output = np.zeros(count)
    for start_s, length_s in _rings(duration_s, p["on_s"], p["off_s"]):
        length = samples(length_s)
        upper = (np.arange(length) / RATE_HZ * 2 * p["warble_hz"]).astype(int) % 2
        tone = harmonics(
            phase_of(p["low_hz"] * np.where(upper, p["ratio"], 1.0)), np.array([1, 0, 0.5, 0, 0.35, 0, 0.2])
        )
        add_at(output, samples(start_s), fade(tone, 0.01, 0.03))
    return output


def phone_ringtone(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A mobile telephone: one quick motif of bright notes, again and again.

    Parameters: key_hz, note_hz (notes per second), off_s (pause between repeats), bright (level of the overtones).
    """
    output = np.zeros(samples(duration_s))
    motif = rng.choice(PENTATONIC, size=int(rng.integers(6, 11)))
    length = samples(1 / p["note_hz"])
    now = 0.0
    while now < duration_s - 0.1:
        for note in motif:
            if now >= duration_s - 0.05:
                break
            tone = harmonics(
                phase_of(p["key_hz"] * 2 ** (note / 12), length), np.array([1, p["bright"], 0.4 * p["bright"]])
            )
            add_at(output, samples(now), fade(tone * decay(length, 0.6), 0.003, 0.012))
            now += 1 / p["note_hz"]
        now += p["off_s"]
    return fade(output, 0.0, 0.02)


def _struck(
    rng: np.random.Generator, duration_s: float, strikes_s: np.ndarray, prime_hz: np.ndarray, t60_s: float
) -> np.ndarray:
    """A bell struck at times; each strike on the bell of pitch prime_hz[i] (strikes on one pitch ring on)."""
    output = np.zeros(samples(duration_s))
    gains = np.array([0.25, 1.0, 0.6, 0.4, 0.8, 0.4, 0.3, 0.25]) * rng.uniform(0.7, 1.3, len(BELL_PARTIALS))
    detune = rng.uniform(0.995, 1.005, len(BELL_PARTIALS))
    for prime in np.unique(prime_hz):
        blows = np.zeros(len(output))
        for strike_s in strikes_s[prime_hz == prime]:
            at = samples(strike_s)
            if at < len(blows):
                blows[at] += rng.uniform(0.7, 1.0)
        output += resonate(blows, prime * BELL_PARTIALS * detune, t60_s / np.sqrt(BELL_PARTIALS), gains)
    return fade(output, 0.0, 0.15)


def desk_bell(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A counter bell: a bright ding now and then. Parameters: prime_hz, t60_s, strike_hz (strikes per second)."""
    strikes = np.arange(0.0, max(duration_s - 0.5, 0.1), 1 / p["strike_hz"])
    strikes = strikes + np.r_[0.0, rng.uniform(-0.1, 0.1, len(strikes) - 1)]
    return _struck(rng, duration_s, strikes, np.full(len(strikes), p["prime_hz"]), p["t60_s"])


def hand_bell(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A bell that is shaken: quick strikes, alternately strong. Parameters: prime_hz, t60_s, strike_hz."""
    strikes = np.arange(0.0, max(duration_s - 0.4, 0.1), 1 / p["strike_hz"])
    strikes = strikes + np.r_[0.0, rng.uniform(-0.02, 0.02, len(strikes) - 1)]
    return _struck(rng, duration_s, strikes, np.full(len(strikes), p["prime_hz"]), p["t60_s"])


def door_bell(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A chime: ding-dong. Parameters: prime_hz (ding), third (dong relative to ding), t60_s, gap_s (ding to dong)."""
    starts = np.arange(0.0, max(duration_s - 1.0, 0.1), 2.2 * p["gap_s"])
    strikes = np.concatenate([starts, starts + p["gap_s"]])
    pitch = np.repeat([p["prime_hz"], p["prime_hz"] * p["third"]], len(starts))
    return _struck(rng, duration_s, strikes, pitch, p["t60_s"])


def music(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A band from a loudspeaker: chords, bass, drums. Parameters: tempo_hz (beats), root_hz, drums, bright."""
    count = samples(duration_s)
    output, beat_s = np.zeros(count), 1 / p["tempo_hz"]
    roots = rng.permutation([0, 5, 7, 9])
    minor = {9}
    falloff = np.arange(1, 9) ** -p["bright"]
    swing = rng.uniform(0.9, 1.1)
    kick, snare, hat = _drum_kit(rng)
    for beat in range(int(np.ceil(duration_s / beat_s))):
        start, root = samples(beat * beat_s), roots[(beat // 2) % 4]
        length = samples(beat_s * 0.98)
        third = 3 if root in minor else 4
        time_s = np.arange(length) / RATE_HZ
        for interval in (0, third, 7, 12):
            pitch = p["root_hz"] * 2 ** ((root + interval) / 12)
            chord = harmonics(phase_of(pitch, length), falloff)
            add_at(output, start, fade(chord * np.exp(-1.5 * time_s), 0.01, 0.04), 0.22)
        bass = harmonics(phase_of(p["root_hz"] / 2 * 2 ** (root / 12), length), np.array([1.0, 0.5, 0.3, 0.15]))
        add_at(output, start, fade(bass * np.exp(-2 * time_s), 0.005, 0.03), 0.6)
        add_at(output, start, snare if beat % 2 else kick, p["drums"])
        for half in (0.0, 0.5 * swing):
            add_at(output, samples((beat + half) * beat_s), hat, 0.4 * p["drums"])
        # a tune on top
        for half in (0.0, 0.5):
            if rng.random() < 0.7:
                pitch = 4 * p["root_hz"] * 2 ** (rng.choice(PENTATONIC) / 12)
                lead = harmonics(phase_of(pitch, length // 2), np.array([1.0, 0.4, 0.2]))
                add_at(output, samples((beat + half) * beat_s), fade(lead, 0.01, 0.05), 0.18)
    return fade(output, 0.02, 0.1)


def _drum_kit(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One stroke each of bass drum, snare drum and closed hi-hat."""
    length = samples(0.18)
    sweep = 50 + 90 * decay(length, 0.15)
    kick = np.sin(phase_of(sweep)) * decay(length, 0.25)
    snare = 0.7 * noise(rng, length, 1000, 8000, 1) * decay(length, 0.16)
    snare += 0.5 * np.sin(phase_of(190.0, length)) * decay(length, 0.12)
    hat = noise(rng, samples(0.06), 6500, 11700) * decay(samples(0.06), 0.05)
    return kick, snare, hat


def melody(rng: np.random.Generator, duration_s: float, note_hz: float) -> list[tuple[float, float, int]]:
    """A tune that moves by small steps: (start in s, length in s, semitones above the lowest note)."""
    notes, now, degree = [], 0.0, int(rng.integers(len(PENTATONIC)))
    while now < duration_s - 0.15:
        length = rng.choice((1.0, 1.0, 2.0, 0.5)) / note_hz
        length = min(length, duration_s - now)
        notes.append((now, length, int(PENTATONIC[degree])))
        degree = int(np.clip(degree + rng.integers(-2, 3), 0, len(PENTATONIC) - 1))
        now += length
    return notes


def guitar(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """Plucked strings. Parameters: lowest_hz, note_hz (notes per second), pluck (where along the string), t60_s."""
    output = np.zeros(samples(duration_s))
    order = np.arange(1, 13)
    gains = np.abs(np.sin(np.pi * order * p["pluck"])) / order
    for start_s, length_s, step in melody(rng, duration_s, p["note_hz"]):
        pitch = p["lowest_hz"] * 2 ** (step / 12)
        blow = np.zeros(samples(min(length_s * 1.5, duration_s - start_s)))
        if len(blow):
            blow[0] = rng.uniform(0.7, 1.0)
            # stiff strings: partials a little sharp, high ones short
            partials = pitch * order * np.sqrt(1 + 1e-4 * order**2)
            add_at(
                output, samples(start_s), fade(resonate(blow, partials, p["t60_s"] / (0.7 + 0.3 * order), gains), 0.001)
            )
    return output


def keyboard(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """An electric piano. Parameters: lowest_hz, note_hz, tine (level of the struck tine), t60_s."""
    output = np.zeros(samples(duration_s))
    for start_s, length_s, step in melody(rng, duration_s, p["note_hz"]):
        for interval in (0, 7) if rng.random() < 0.3 else (0,):
            pitch = p["lowest_hz"] * 2 ** ((step + interval) / 12)
            length = samples(min(length_s * 1.1, duration_s - start_s))
            phase = phase_of(pitch, length)
            # frequency modulation whose depth dies quickly, as of a tine beside a pickup
            tone = np.sin(phase + 1.2 * decay(length, 1.0) * np.sin(phase)) * decay(length, p["t60_s"])
            tone += p["tine"] * np.sin(7 * phase) * decay(length, 0.25)
            add_at(output, samples(start_s), fade(tone, 0.003, 0.05), rng.uniform(0.6, 1.0))
    return output


def cello(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A bowed string with vibrato. Parameters: lowest_hz, note_hz, vibrato_hz, body_hz (resonance of the body)."""
    count = samples(duration_s)
    steps, level = np.zeros(count), np.zeros(count)
    for start_s, length_s, step in melody(rng, duration_s, p["note_hz"]):
        start, length = samples(start_s), samples(length_s)
        steps[start : start + length] = step
        stroke = np.interp(np.linspace(0, 1, length), (0, 0.15, 0.8, 1), (0.25, 1.0, 0.85, 0.3))
        level[start : start + length] = stroke[: len(level[start : start + length])]
    glide = np.convolve(steps, np.full(600, 1 / 600), mode="same")
    vibrato = 1 + 0.006 * np.sin(phase_of(p["vibrato_hz"], count)) + 0.002 * wander(rng, count, 8.0)
    pitch = p["lowest_hz"] * 2 ** (glide / 12) * vibrato
    order = np.arange(1, 17)
    top = pitch.max() * order
    body = 1 + 2.5 * np.exp(-0.5 * (np.log2(order * p["lowest_hz"] * 1.4 / p["body_hz"]) / 0.35) ** 2)
    gains = np.where(top < 0.45 * RATE_HZ, body / order, 0.0)
    bow = 0.06 * noise(rng, count, 1500, 7000, 1)
    return fade((unit(harmonics(phase_of(pitch), gains)) + bow) * level, 0.03, 0.1)
