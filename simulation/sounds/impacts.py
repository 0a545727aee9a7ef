"""Things that hit things: clapping, footsteps, doors, knocks."""

from __future__ import annotations

import numpy as np

from simulation.sounds.primitives import (
    RATE_HZ,
    add_at,
    decay,
    fade,
    noise,
    pulses,
    resonate,
    samples,
    unit,
    wander,
)


def _times(rng: np.random.Generator, duration_s: float, rate_hz: float, jitter: float, tail_s: float) -> np.ndarray:
    """Start times in seconds of a steady sequence with jitter (share of the interval), room for the last one's tail."""
    count = max(1, int((duration_s - tail_s) * rate_hz) + 1)
    times = (np.arange(count) + rng.uniform(-jitter, jitter, count)) / rate_hz
    return np.clip(times - times.min(), 0, max(duration_s - tail_s, 0))


def clapping(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """One person clapping: short bursts around a hollow-hand resonance.

    Parameters: rate_hz, centre_hz (resonance of the hands), t60_s, sharpness (share of the high crack).
    """
    output = np.zeros(samples(duration_s))
    length = samples(0.14)
    for start_s in _times(rng, duration_s, p["rate_hz"], 0.05, 0.14):
        centre = p["centre_hz"] * rng.uniform(0.88, 1.14)
        body = noise(rng, length, 0.65 * centre, 1.6 * centre, 1) * decay(length, p["t60_s"], 0.001)
        crack = noise(rng, length, 2500, 9000, 1) * decay(length, 0.035)
        # fingers do not meet all at once: a second, weaker contact a few milliseconds later
        second = np.roll(crack, samples(rng.uniform(0.004, 0.009)))
        hit = body + p["sharpness"] * (crack + 0.5 * second)
        add_at(output, samples(start_s), fade(hit, 0.0, 0.02), rng.uniform(0.75, 1.0))
    return output


def footsteps(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """Walking on a hard floor: heel thump, click of the sole, scuff of the toe, left and right foot a little different.

    Parameters: rate_hz (steps per second), thump_hz, click_hz, scuff (level of the toe), toe_s (heel to toe).
    """
    output = np.zeros(samples(duration_s))
    length = samples(0.34)
    side = rng.uniform(0.92, 1.08, 2)
    for step, start_s in enumerate(_times(rng, duration_s, p["rate_hz"], 0.04, 0.34)):
        foot = side[step % 2] * rng.uniform(0.96, 1.04)
        blow = np.zeros(length)
        blow[: samples(0.002)] = rng.standard_normal(samples(0.002)) + 1.0
        hit = 0.5 * resonate(blow, p["thump_hz"] * foot * np.array([1.0, 1.9, 3.1]), np.array([0.13, 0.1, 0.07]))
        hit += 0.35 * resonate(blow, p["click_hz"] * foot * np.array([1.0, 1.57]), np.array([0.04, 0.03]))
        toe = samples(p["toe_s"] * rng.uniform(0.9, 1.1))
        scuff = noise(rng, length - toe, 900, 5000, 1) * decay(length - toe, 0.3, 0.02)
        add_at(hit, toe, scuff, p["scuff"] * np.abs(hit).max())
        add_at(output, samples(start_s), fade(hit, 0.0, 0.03), rng.uniform(0.8, 1.0))
    return output


def knock(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """Knuckles on a wooden door, in groups.

    Parameters: panel_hz (lowest resonance of the panel), interval_s (between knocks), t60_s, group (knocks per group).
    """
    output = np.zeros(samples(duration_s))
    length = samples(0.2)
    modes = p["panel_hz"] * np.array([1.0, 1.58, 2.24, 2.92, 4.1, 6.3]) * rng.uniform(0.97, 1.03, 6)
    t60 = p["t60_s"] / np.array([1.0, 1.1, 1.3, 1.6, 2.2, 3.0])
    now = 0.0
    while now < duration_s - 0.2:
        for _ in range(max(2, round(p["group"] + rng.uniform(-0.5, 0.5)))):
            if now > duration_s - 0.2:
                break
            blow = np.zeros(length)
            width = samples(rng.uniform(0.0008, 0.0014))
            blow[:width] = np.hanning(width + 2)[1:-1] + 0.15 * rng.standard_normal(width)
            hit = resonate(blow, modes, t60, np.array([1.0, 0.8, 0.7, 0.5, 0.4, 0.3]) * rng.uniform(0.8, 1.2, 6))
            add_at(output, samples(now), fade(hit, 0.0, 0.03), rng.uniform(0.75, 1.0))
            now += p["interval_s"] * rng.uniform(0.93, 1.07)
        now += rng.uniform(0.25, 0.5)
    return output


def door(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A handle clicks, hinges creak, the door falls shut.

    Parameters: creak_hz (stick-slip rate), wood_hz (resonance that the hinge excites), boom_hz (panel), slam_t60_s.
    """
    count = samples(duration_s)
    output = np.zeros(count)
    slam_s = max(0.25, duration_s - 0.75)
    for click_s in (0.0, rng.uniform(0.07, 0.14)):
        click = resonate(_tap(rng, samples(0.06)), rng.uniform(1800, 3600, 4), np.full(4, 0.03))
        add_at(output, samples(click_s), unit(click), 0.3)
    creak_count = samples(max(slam_s - 0.25, 0.05))
    # the hinge sticks and slips at a rate that follows the hand: up, hold, down
    bend = np.interp(np.linspace(0, 1, creak_count), (0, 0.35, 0.7, 1), (0.7, 1.15, 1.0, 1.35))
    train = pulses(p["creak_hz"] * bend * (1 + 0.06 * wander(rng, creak_count, 18.0)))
    train *= 1 + 0.3 * wander(rng, creak_count, 30.0)
    wood = p["wood_hz"] * np.array([1.0, 1.43, 2.2, 3.1, 4.7])
    creak = resonate(train, wood, np.array([0.03, 0.025, 0.02, 0.015, 0.012]), np.array([1.0, 0.9, 0.8, 0.6, 0.5]))
    shape = np.interp(np.linspace(0, 1, creak_count), (0, 0.1, 0.5, 0.9, 1), (0.2, 0.7, 0.5, 1.0, 0.4))
    add_at(output, samples(0.22), fade(unit(creak) * shape, 0.02, 0.04), 0.9)
    length = samples(0.72)
    slam = resonate(_tap(rng, length), p["boom_hz"] * np.array([1.0, 1.7, 2.6, 3.8]), np.full(4, p["slam_t60_s"]))
    rattle = noise(rng, length, 200, 4500, 1) * decay(length, 0.45 * p["slam_t60_s"], 0.001)
    slam = unit(slam) + 1.2 * unit(rattle)
    latch = resonate(_tap(rng, samples(0.05)), rng.uniform(1500, 3000, 3), np.full(3, 0.03))
    add_at(slam, samples(rng.uniform(0.04, 0.07)), unit(latch), 0.8)
    add_at(output, samples(slam_s), fade(np.tanh(0.35 * slam), 0.001, 0.1), 4.0)
    return output


def drum(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A hand drum played in a pattern of low and high strokes.

    Parameters: skin_hz (lowest mode), beat_hz (strokes per second), t60_s, slap (level of the high strokes).
    """
    output = np.zeros(samples(duration_s))
    # modes of a circular membrane
    modes = p["skin_hz"] * np.array([1.0, 1.59, 2.14, 2.30, 2.65, 2.92])
    pattern = rng.choice((0.0, 1.0, 2.0), size=8, p=(0.15, 0.45, 0.4))
    pattern[0] = 1.0
    excite_low, excite_high = np.zeros(len(output)), np.zeros(len(output))
    for stroke, start_s in enumerate(_times(rng, duration_s, p["beat_hz"], 0.03, 0.25)):
        kind = pattern[stroke % 8]
        start = samples(start_s)
        if kind == 1.0:
            add_at(excite_low, start, _tap(rng, samples(0.004)), rng.uniform(0.7, 1.0))
        elif kind == 2.0:
            add_at(excite_high, start, _tap(rng, samples(0.002)), rng.uniform(0.5, 0.9))
    output += resonate(excite_low, modes[:3], np.array([1.0, 0.7, 0.5]) * p["t60_s"], np.array([1.0, 0.5, 0.3]))
    output += p["slap"] * resonate(excite_high, 2.1 * modes, np.full(6, 0.35 * p["t60_s"]))
    return fade(output, 0.0, 0.08)


def _tap(rng: np.random.Generator, length: int) -> np.ndarray:
    """Excitation (length,) of about 3 ms: a push with a rough edge."""
    blow = np.zeros(length)
    width = min(length, RATE_HZ * 3 // 1000)
    blow[:width] = (1 + 0.7 * rng.standard_normal(width)) * np.linspace(1, 0, width)
    return blow
