"""Sounds that are mostly noise: running water and household machines."""

from __future__ import annotations

import numpy as np

from simulation.sounds.primitives import (
    RATE_HZ,
    add_at,
    decay,
    fade,
    frame_frequencies_hz,
    frame_times_s,
    harmonics,
    noise,
    phase_of,
    samples,
    shape_spectrum,
    unit,
    wander,
)


def water_tap(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A jet into a basin: bright hiss whose colour flickers, and bubbles (short rising sines).

    Parameters: hiss_hz (centre of the hiss), bubbles_hz (bubbles per second), bubble_hz (their pitch), gurgle (level).
    """
    count = samples(duration_s)
    times = frame_times_s(count)
    frequency = np.maximum(frame_frequencies_hz(), 50.0)
    octaves = np.log2(frequency[None, :] / (p["hiss_hz"] * np.exp(0.12 * rng.standard_normal((len(times), 1)))))
    gains = np.exp(-0.5 * (octaves / 0.85) ** 2) * (1 + 0.25 * rng.standard_normal((len(times), 1)))
    gains += 0.06 * np.exp(-0.5 * (np.log2(frequency / 500.0) / 0.8) ** 2)
    hiss = unit(shape_spectrum(rng.standard_normal(count), gains))
    bubbles = np.zeros(count)
    for start in rng.integers(0, max(1, count - samples(0.03)), rng.poisson(p["bubbles_hz"] * duration_s)):
        length = samples(rng.uniform(0.015, 0.05))
        pitch = p["bubble_hz"] * np.exp(0.35 * rng.standard_normal())
        rise = np.linspace(1.0, rng.uniform(1.05, 1.4), length)
        add_at(bubbles, int(start), np.sin(phase_of(pitch * rise)) * decay(length, 0.05, 0.003), rng.uniform(0.2, 1.0))
    swell = np.interp(np.arange(count) / RATE_HZ, (0, 0.15, duration_s - 0.15, duration_s), (0.2, 1, 1, 0.1))
    return fade(swell * (hiss + p["gurgle"] * unit(bubbles)), 0.02, 0.05)


def _machine(
    rng: np.random.Generator,
    duration_s: float,
    turn_hz: np.ndarray,
    falloff: float,
    partials: int,
    air: tuple[float, float],
    air_level: float,
) -> np.ndarray:
    """A motor: harmonics of its rotation (gains falling as k**-falloff, each with its own ripple) and air noise."""
    gains = np.arange(1, partials + 1) ** -falloff * rng.uniform(0.4, 1.6, partials)
    hum = harmonics(phase_of(turn_hz * (1 + 0.004 * wander(rng, len(turn_hz), 6.0))), gains)
    return unit(hum) + air_level * noise(rng, len(turn_hz), *air, 1)


def _start_stop(count: int, up_s: float, down_s: float) -> np.ndarray:
    """Speed (count,) from 0.3 to 1 at switching on, and back at switching off."""
    time_s = np.arange(count) / RATE_HZ
    left_s = count / RATE_HZ - time_s
    return np.minimum(1.0, np.minimum(0.3 + 0.7 * time_s / up_s, 0.3 + 0.7 * left_s / down_s))


def vacuum(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A vacuum cleaner: whining motor, rush of air, moved to and fro. Parameters: motor_hz, air_hz, air, stroke_hz."""
    count = samples(duration_s)
    speed = _start_stop(count, 0.5, 0.6)
    stroke = 1 + 0.25 * np.sin(phase_of(p["stroke_hz"], count) + rng.uniform(0, 2 * np.pi))
    sound = _machine(rng, duration_s, p["motor_hz"] * speed, 0.8, 14, (250.0, p["air_hz"]), p["air"])
    return fade(sound * speed**1.5 * stroke, 0.03, 0.1)


def blender(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A blender: harsh harmonics, roughness of what is chopped. Parameters: motor_hz, air, rough_hz, air_hz."""
    count = samples(duration_s)
    speed = _start_stop(count, 0.25, 0.35)
    rough = 1 + 0.35 * np.clip(wander(rng, count, p["rough_hz"]), -2, 2)
    sound = _machine(rng, duration_s, p["motor_hz"] * speed * (1 + 0.02 * wander(rng, count, 3.0)), 0.55, 24,
                     (600.0, p["air_hz"]), p["air"])  # fmt: skip
    return fade(sound * speed**1.5 * rough, 0.02, 0.08)


def microwave(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """A microwave oven: mains hum, fan, click of the relay. Parameters: motor_hz, air, air_hz, wobble_hz (plate)."""
    count = samples(duration_s)
    wobble = 1 + 0.15 * np.sin(phase_of(p["wobble_hz"], count))
    sound = _machine(rng, duration_s, np.full(count, p["motor_hz"]), 0.9, 20, (150.0, p["air_hz"]), p["air"]) * wobble
    click = noise(rng, samples(0.03), 500, 4000) * decay(samples(0.03), 0.03)
    for start in (0, count - samples(0.05)):
        add_at(sound, start, click, 4.0)
    return fade(sound, 0.01, 0.03)


def kettle(rng: np.random.Generator, p: dict[str, float], duration_s: float) -> np.ndarray:
    """Water coming to the boil: rumbling low noise that swells, a hum of the heater, bubbling.

    Parameters: motor_hz (hum), air_hz (upper end of the rumble), bubble_hz (rate of the bubbling), air.
    """
    count = samples(duration_s)
    bubbling = np.exp(0.6 * np.clip(wander(rng, count, p["bubble_hz"]), -2, 2))
    sound = p["air"] * noise(rng, count, 120, p["air_hz"], 1) * bubbling
    sound += 0.5 * unit(harmonics(phase_of(p["motor_hz"], count), np.array([1.0, 0.6, 0.5, 0.3, 0.3, 0.2])))
    return fade(sound * np.linspace(0.6, 1.1, count), 0.1, 0.15)
