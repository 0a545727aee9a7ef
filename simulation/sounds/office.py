"""Things that are handled in an office: drawers, doors that slam, keys that fall, typing, pages."""

from __future__ import annotations

import numpy as np

from simulation.sounds.primitives import (
    RATE_HZ,
    add_at,
    decay,
    fade,
    frame_frequencies_hz,
    frame_times_s,
    noise,
    resonate,
    samples,
    shape_spectrum,
    unit,
    wander,
)


def _blow(rng: np.random.Generator, length: int, width_s: float, rough: float) -> np.ndarray:
    """Excitation (length,): a short push with a rough edge."""
    blow = np.zeros(length)
    width = min(length, max(2, samples(width_s)))
    blow[:width] = (1 + rough * rng.standard_normal(width)) * np.linspace(1, 0, width)
    return blow


def drawer(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A drawer on its rails: rumble and hiss of the slide, what lies in it shifts, it stops with a thud.

    Parameters: rumble_hz (of the rails), hiss (level of their rubbing), box_hz (lowest resonance of the box),
    rattle_hz (how often things in it knock, per second).
    """
    count = samples(duration_s)
    output = np.zeros(count)
    stop_s = max(0.15, duration_s - 0.28)
    slide = samples(stop_s)
    pull = np.interp(np.linspace(0, 1, slide), (0, 0.15, 0.7, 1), (0.3, 1.0, 0.8, 1.1))
    rumble = noise(rng, slide, 0.6 * p["rumble_hz"], 1.7 * p["rumble_hz"], 1) * (1 + 0.5 * wander(rng, slide, 25.0))
    hiss = noise(rng, slide, 1200, 5000, 1) * (1 + 0.3 * wander(rng, slide, 40.0))
    add_at(output, 0, fade((rumble + p["hiss"] * hiss) * pull, 0.02, 0.02), 0.5)
    for start_s in rng.uniform(0.05, max(stop_s, 0.06), rng.poisson(p["rattle_hz"] * stop_s)):
        knock = resonate(_blow(rng, samples(0.06), 0.001, 0.5), rng.uniform(900, 4200, 3), np.full(3, 0.04))
        add_at(output, samples(start_s), unit(knock), rng.uniform(0.1, 0.4))
    modes = p["box_hz"] * np.array([1.0, 1.7, 2.6, 3.7, 5.9])
    for start_s, level in ((stop_s, 1.0), (stop_s + rng.uniform(0.03, 0.05), 0.4)):  # it bounces once
        length = samples(0.22)
        thud = resonate(_blow(rng, length, 0.003, 0.8), modes, np.array([0.18, 0.15, 0.12, 0.08, 0.05]))
        thud = unit(thud) + 0.5 * unit(noise(rng, length, 500, 5000, 1) * decay(length, 0.07))
        add_at(output, samples(start_s), fade(thud, 0.0, 0.05), 2.2 * level)
    return fade(output, 0.005, 0.03)


def door_slam(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A door that falls into its frame: boom of leaf and wall, crash of the frame, latch.

    Parameters: boom_hz (lowest mode), crash_hz (upper end of the crash), t60_s, latch_hz.
    """
    length = samples(duration_s)
    boom = resonate(
        _blow(rng, length, 0.004, 0.7), p["boom_hz"] * np.array([1.0, 1.7, 2.6, 3.8, 5.2]), np.full(5, p["t60_s"])
    )
    crash = noise(rng, length, 150, p["crash_hz"], 1) * decay(length, 0.4 * p["t60_s"], 0.001)
    output = np.tanh(0.4 * (unit(boom) + 1.3 * unit(crash)))
    for delay_s in (rng.uniform(0.03, 0.05), rng.uniform(0.06, 0.09)):
        latch = resonate(
            _blow(rng, samples(0.06), 0.0008, 0.3),
            p["latch_hz"] * np.array([1.0, 1.37, 1.93]) * rng.uniform(0.97, 1.03, 3),
            np.full(3, 0.035),
        )
        add_at(output, samples(delay_s), unit(latch), 0.5)
    return fade(output, 0.001, 0.1)


def keys_drop(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A bunch of keys falls on a table: many small metal bodies that strike the wood and one another, then settle.

    Parameters: ring_hz (pitch of the metal), keys (how many), wood_hz, bounce_s (until it lies still).
    """
    output = np.zeros(samples(duration_s))
    keys = p["ring_hz"] * rng.uniform(0.75, 1.5, (max(2, round(p["keys"])), 1)) * np.array([1.0, 1.58, 2.41])
    still_s = min(p["bounce_s"], max(duration_s - 0.12, 0.05))
    landings = [0.0, *np.sort(rng.uniform(0.06, max(still_s, 0.07), 3))]
    for number, landing_s in enumerate(landings):
        level = 0.6**number
        thud = resonate(
            _blow(rng, samples(0.08), 0.002, 0.4),
            p["wood_hz"] * np.array([1.0, 1.9, 3.2]),
            np.array([0.07, 0.05, 0.03]),
        )
        add_at(output, samples(landing_s), unit(thud), 1.2 * level)
        for _ in range(round(2.5 * len(keys))):
            at_s = landing_s + rng.exponential(0.025)
            modes = keys[rng.integers(len(keys))] * rng.uniform(0.99, 1.01)
            strike = resonate(_blow(rng, samples(0.12), 0.0003, 0.2), modes, np.array([0.09, 0.06, 0.04]))
            add_at(output, samples(at_s), fade(unit(strike), 0.0, 0.02), level * rng.uniform(0.3, 1.0))
    return fade(output, 0.0, 0.05)


def typing(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """Typing on a computer keyboard: each key clicks as it goes down and, more softly, as it comes up.

    Parameters: rate_hz (keys per second), click_hz (brightness of the click), desk_hz (thump of the desk), hold_s.
    """
    output = np.zeros(samples(duration_s))
    length = samples(0.05)
    now = 0.0
    while now < duration_s - 0.06:
        space = rng.random() < 0.15  # the long bar sounds lower
        centre = p["click_hz"] * rng.uniform(0.85, 1.18) * (0.6 if space else 1.0)
        for at_s, level in ((now, 1.0), (now + p["hold_s"] * rng.uniform(0.8, 1.25), 0.45)):
            click = noise(rng, length, 0.6 * centre, 1.8 * centre, 1) * decay(length, 0.022, 0.0004)
            thump = resonate(
                _blow(rng, length, 0.002, 0.3), p["desk_hz"] * np.array([1.0, 2.2]), np.array([0.05, 0.03])
            )
            add_at(output, samples(at_s), fade(click + 0.35 * unit(thump), 0.0, 0.01), level * rng.uniform(0.6, 1.0))
        now += rng.uniform(0.6, 1.45) / p["rate_hz"]
    return output


def page_turn(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A page is lifted, swept over and laid down: a rush whose colour rises and falls, with crackles of the paper.

    Parameters: rush_hz (centre of the rush), sweep (octaves that it moves), crackle_hz (crackles per second), flap.
    """
    count = samples(duration_s)
    times, frequency = frame_times_s(count), np.maximum(frame_frequencies_hz(), 50.0)
    share = np.clip(times / duration_s, 0, 1)
    centre = p["rush_hz"] * 2 ** (p["sweep"] * (np.sin(np.pi * share) - 0.5))
    octaves = np.log2(frequency[None, :] / centre[:, None])
    gains = np.exp(-0.5 * (octaves / 0.9) ** 2) * np.exp(0.35 * rng.standard_normal((len(times), 1)))
    rush = unit(shape_spectrum(rng.standard_normal(count), gains))
    swell = np.interp(np.arange(count) / count, (0, 0.12, 0.3, 0.6, 0.85, 1), (0.1, 0.6, 0.35, 1.0, 0.6, 0.05))
    output = rush * swell
    for start_s in rng.uniform(0.0, duration_s, rng.poisson(p["crackle_hz"] * duration_s)):
        length = samples(rng.uniform(0.004, 0.015))
        add_at(
            output, samples(start_s), noise(rng, length, 1500, 9000, 1) * decay(length, 0.012), rng.uniform(0.3, 1.5)
        )
    flap = noise(rng, samples(0.08), 120, 900, 1) * decay(samples(0.08), 0.08, 0.004)
    add_at(output, samples(0.8 * duration_s), flap, p["flap"])
    return fade(output[: round(duration_s * RATE_HZ)], 0.01, 0.04)
