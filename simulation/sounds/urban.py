"""Sounds of streets: horns, dogs, drills, engines, shots, hammers, sirens."""

from __future__ import annotations

import numpy as np

from simulation.sounds.primitives import (
    RATE_HZ,
    add_at,
    band,
    decay,
    fade,
    harmonics,
    noise,
    phase_of,
    pulses,
    resonate,
    samples,
    unit,
    wander,
)


def car_horn(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """Two reedy discs in a third, hooted once or a few times. Parameters: low_hz, ratio, hoot_s, buzz (brightness)."""
    output, now = np.zeros(samples(duration_s)), 0.0
    gains = np.arange(1, 19) ** -(1.5 - p["buzz"])
    while now < duration_s - 0.12:
        length = samples(min(p["hoot_s"] * rng.uniform(0.7, 1.4), duration_s - now))
        bend = 1 - 0.02 * np.exp(-np.arange(length) / (0.03 * RATE_HZ))
        hoot = harmonics(phase_of(p["low_hz"] * bend), gains) + harmonics(
            phase_of(p["low_hz"] * p["ratio"] * bend), gains
        )
        add_at(output, samples(now), fade(unit(hoot), 0.012, 0.03))
        now += length / RATE_HZ + rng.uniform(0.08, 0.22)
    return output


def dog_bark(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """Barks: a harsh voice that jumps up and falls, through the resonances of a muzzle.

    Parameters: f0_hz (at the top of a bark), muzzle_hz (first resonance), bark_s, harsh (share of noise).
    """
    output, now = np.zeros(samples(duration_s)), 0.0
    while now < duration_s - 0.1:
        length = samples(min(p["bark_s"] * rng.uniform(0.85, 1.2), duration_s - now))
        share = np.linspace(0, 1, length)
        pitch = p["f0_hz"] * np.interp(share, (0, 0.15, 0.5, 1), (0.7, 1.0, 0.9, 0.55)) * rng.uniform(0.95, 1.05)
        train = pulses(pitch * (1 + 0.05 * wander(rng, length, 60.0)))
        source = unit(train - train.mean()) + p["harsh"] * noise(rng, length, 400, 6000, 1)
        modes = p["muzzle_hz"] * np.array([1.0, 2.1, 3.6]) * rng.uniform(0.97, 1.03, 3)
        bark = resonate(source, modes, np.array([0.03, 0.02, 0.015]), np.array([1.0, 0.7, 0.4]))
        bark *= np.interp(share, (0, 0.08, 0.4, 1), (0.0, 1.0, 0.7, 0.0))
        add_at(output, samples(now), fade(unit(bark), 0.004, 0.02), rng.uniform(0.7, 1.0))
        now += length / RATE_HZ + rng.uniform(0.08, 0.25)
    return output


def drilling(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A power drill: whining gears that slow down under load, rough cutting noise.

    Parameters: gear_hz (pitch of the gears), load (how far it slows), cut_hz (centre of the noise), cut (its level).
    """
    count = samples(duration_s)
    time_s = np.arange(count) / RATE_HZ
    run = np.minimum(np.minimum(1.0, 0.5 + time_s / 0.25), 0.4 + (duration_s - time_s) / 0.2)
    load = 1 - p["load"] * np.clip(wander(rng, count, 2.0), 0, 2) / 2
    pitch = p["gear_hz"] * run * load
    whine = harmonics(phase_of(pitch), np.arange(1, 13) ** -0.7 * rng.uniform(0.5, 1.5, 12))
    cut = noise(rng, count, 0.6 * p["cut_hz"], 1.6 * p["cut_hz"], 1) * (1 + 0.4 * np.sin(phase_of(pitch / 9)))
    return fade((unit(whine) + p["cut"] * cut) * run, 0.02, 0.06)


def engine_idling(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """An engine at rest: uneven firings through exhaust and body, and the rush of its fan.

    Parameters: firing_hz (firings per second), exhaust_hz (resonance), uneven (spread of the firings), fan (level).
    """
    count = samples(duration_s)
    train = pulses(p["firing_hz"] * (1 + 0.03 * wander(rng, count, 1.5) + 0.04 * wander(rng, count, p["firing_hz"])))
    train *= 1 + p["uneven"] * wander(rng, count, p["firing_hz"])
    modes = p["exhaust_hz"] * np.array([1.0, 1.9, 3.1, 4.7])
    body = resonate(train, modes, np.array([0.12, 0.08, 0.05, 0.04]), np.array([1.0, 0.7, 0.5, 0.3]))
    body = band(body, 0.4 * p["firing_hz"], 11000, 1)  # firings push one way: without it the mean is not zero
    return fade(unit(body) + p["fan"] * noise(rng, count, 200, 2500, 1), 0.08, 0.12)


def gun_shot(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A shot (or two): crack of the muzzle blast, boom, a rough tail. Parameters: boom_hz, crack_hz, t60_s, gap_s."""
    output, now = np.zeros(samples(duration_s)), 0.0
    while now < duration_s - 0.1:
        length = samples(min(duration_s - now, 1.3 * p["t60_s"]))
        crack = noise(rng, length, 300, p["crack_hz"], 1) * decay(length, 0.35 * p["t60_s"])
        boom = noise(rng, length, 0.5 * p["boom_hz"], 2.0 * p["boom_hz"], 1) * decay(length, p["t60_s"], 0.002)
        shot = np.tanh(2.0 * unit(crack) + 1.2 * unit(boom))
        add_at(output, samples(now), fade(shot * decay(length, 1.5 * p["t60_s"]), 0.0, 0.05), rng.uniform(0.8, 1.0))
        now += max(p["gap_s"], 0.3 * p["t60_s"]) * rng.uniform(0.9, 1.2)
    return output


def jackhammer(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A pneumatic hammer: quick blows of steel on stone, and the air that it lets out.

    Parameters: blows_hz (blows per second), steel_hz (lowest mode of the chisel), stone (level of the noise), air.
    """
    count = samples(duration_s)
    train = pulses(p["blows_hz"] * (1 + 0.04 * wander(rng, count, 4.0))) * (
        1 + 0.15 * wander(rng, count, p["blows_hz"])
    )
    modes = p["steel_hz"] * np.array([1.0, 1.83, 2.76, 4.4])
    steel = resonate(train, modes, np.array([0.05, 0.04, 0.035, 0.03]), np.array([1.0, 0.8, 0.8, 0.5]))
    length = samples(0.06)
    gate = np.convolve(train, decay(length, 0.05, 0.001))[:count]
    stone = noise(rng, count, 700, 7000, 1) * gate
    air = noise(rng, count, 2500, 9000, 1)
    return fade(unit(steel) + p["stone"] * unit(stone) + p["air"] * air, 0.02, 0.05)


def siren(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """An electronic siren that sweeps up and down. Parameters: low_hz, span (ratio), sweep_hz (per second), horn_hz."""
    count = samples(duration_s)
    cycle = (np.arange(count) / RATE_HZ * p["sweep_hz"] + rng.uniform()) % 1.0
    rise = np.where(cycle < 0.55, cycle / 0.55, (1 - cycle) / 0.45)
    tone = harmonics(phase_of(p["low_hz"] * p["span"] ** rise), np.array([1.0, 0.2, 0.6, 0.1, 0.35, 0.08, 0.2]))
    horn = band(tone, 0.6 * p["horn_hz"], 1.8 * p["horn_hz"], 1)
    return fade(0.4 * unit(tone) + unit(horn), 0.03, 0.06)
