"""The event classes of the sets of 2018 to 2021, and of STARSS23: how each sounds, how long and how loud."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dataset.classes import NIGENS_INTERFERENCE
from simulation.sounds import GENERATORS, incidents, levelled, office, sound_classes, urban, voice
from simulation.sounds.catalogue import Generator
from simulation.sounds.primitives import samples
from simulation.sounds.ranges import Range


@dataclass(frozen=True)
class EventClass:
    """A class of events.

    Attributes
    ----------
    name : as the data set calls it
    duration_s : shortest and longest event
    level_db : emitted level relative to the reference
    generators : ways to make it
    """

    name: str
    duration_s: tuple[float, float]
    level_db: float
    generators: tuple[Generator, ...]


def _log(low: float, high: float) -> Range:
    return Range(low, high, log=True)


# The 11 classes of DCASE2016 task 2; durations are those of the annotations of TAU Spatial Sound Events 2019, about.
OFFICE = (
    EventClass("knock", (0.7, 1.3), 2.0, (GENERATORS["knock"],)),
    EventClass("drawer", (0.7, 1.8), 0.0, (
        Generator("drawer", office.drawer, {
            "rumble_hz": _log(90, 240), "hiss": Range(0.15, 0.6), "box_hz": _log(110, 260),
            "rattle_hz": Range(1.0, 6.0)}),)),
    EventClass("clearthroat", (0.6, 1.1), 0.0, (
        Generator("clearthroat/female", voice.clear_throat, {
            "f0_hz": Range(110, 170), "tract": Range(1.12, 1.25), "gurgle_hz": Range(25, 60),
            "rough": Range(0.3, 0.9)}),
        Generator("clearthroat/male", voice.clear_throat, {
            "f0_hz": Range(60, 105), "tract": Range(0.92, 1.04), "gurgle_hz": Range(25, 60),
            "rough": Range(0.3, 0.9)}))),
    EventClass("phone", (1.6, 3.2), 0.0, tuple(
        GENERATORS[f"telephone/{kind}"] for kind in ("bell", "trill", "ringtone"))),
    EventClass("keysDrop", (0.4, 0.75), 0.0, (
        Generator("keysDrop", office.keys_drop, {
            "ring_hz": _log(2300, 4200), "keys": Range(2.6, 7.4), "wood_hz": _log(130, 330),
            "bounce_s": Range(0.2, 0.45)}),)),
    EventClass("speech", (1.6, 3.0), 0.0, (GENERATORS["female speech"], GENERATORS["male speech"])),
    EventClass("keyboard", (1.2, 3.0), -2.0, (
        Generator("keyboard", office.typing, {
            "rate_hz": Range(5.0, 9.5), "click_hz": _log(1800, 4200), "desk_hz": _log(150, 380),
            "hold_s": Range(0.06, 0.11)}),)),
    EventClass("pageturn", (0.7, 1.5), -2.0, (
        Generator("pageturn", office.page_turn, {
            "rush_hz": _log(1600, 4200), "sweep": Range(0.5, 1.5), "crackle_hz": Range(10, 40),
            "flap": Range(0.5, 2.0)}),)),
    EventClass("cough", (0.7, 1.4), 2.0, (
        Generator("cough/female", voice.cough, {
            "f0_hz": Range(260, 420), "tract": Range(1.12, 1.25), "cough_s": Range(0.22, 0.4),
            "voiced": Range(0.2, 0.7)}),
        Generator("cough/male", voice.cough, {
            "f0_hz": Range(130, 240), "tract": Range(0.92, 1.04), "cough_s": Range(0.22, 0.4),
            "voiced": Range(0.2, 0.7)}))),
    EventClass("doorslam", (0.5, 1.0), 3.0, (
        Generator("doorslam", office.door_slam, {
            "boom_hz": _log(55, 120), "crash_hz": _log(1500, 4500), "t60_s": Range(0.3, 0.6),
            "latch_hz": _log(1300, 2600)}),)),
    EventClass("laughter", (1.3, 2.4), 1.5, (GENERATORS["laughter/female"], GENERATORS["laughter/male"])),
)  # fmt: skip

# UrbanSound8K class id -> the class; 0 (air conditioner) and 2 (children playing) are not in the sets
URBAN_IDS = (1, 3, 4, 5, 6, 7, 8, 9)
URBAN = (
    EventClass("car_horn", (0.6, 2.5), 2.0, (
        Generator("car_horn", urban.car_horn, {
            "low_hz": _log(300, 460), "ratio": Range(1.17, 1.29), "hoot_s": Range(0.25, 1.4),
            "buzz": Range(0.5, 1.1)}),)),
    EventClass("dog_bark", (0.5, 2.5), 2.0, (
        Generator("dog_bark", urban.dog_bark, {
            "f0_hz": _log(280, 800), "muzzle_hz": _log(550, 1300), "bark_s": Range(0.11, 0.24),
            "harsh": Range(0.2, 0.7)}),)),
    EventClass("drilling", (1.5, 4.0), 0.0, (
        Generator("drilling", urban.drilling, {
            "gear_hz": _log(320, 900), "load": Range(0.05, 0.3), "cut_hz": _log(1800, 4500),
            "cut": Range(0.4, 1.2)}),)),
    EventClass("engine_idling", (2.0, 4.0), 0.0, (
        Generator("engine_idling", urban.engine_idling, {
            "firing_hz": _log(16, 34), "exhaust_hz": _log(70, 150), "uneven": Range(0.1, 0.4),
            "fan": Range(0.1, 0.4)}),)),
    EventClass("gun_shot", (0.6, 1.8), 4.0, (
        Generator("gun_shot", urban.gun_shot, {
            "boom_hz": _log(70, 160), "crack_hz": _log(3500, 9000), "t60_s": Range(0.35, 0.8),
            "gap_s": Range(0.35, 1.2)}),)),
    EventClass("jackhammer", (1.5, 4.0), 1.0, (
        Generator("jackhammer", urban.jackhammer, {
            "blows_hz": Range(10, 24), "steel_hz": _log(700, 1500), "stone": Range(0.5, 1.3),
            "air": Range(0.03, 0.15)}),)),
    EventClass("siren", (2.0, 4.0), 1.0, (
        Generator("siren", urban.siren, {
            "low_hz": _log(450, 800), "span": Range(1.5, 2.4), "sweep_hz": _log(0.35, 3.5),
            "horn_hz": _log(900, 1900)}),)),
    EventClass("street_music", (2.0, 4.0), 0.0, (GENERATORS["music"],)),
)  # fmt: skip


def _scream(sex: str, f0_hz: Range, tract: Range) -> Generator:
    return Generator(f"scream/{sex}", incidents.scream, {
        "f0_hz": f0_hz, "tract": tract, "rough": Range(0.15, 0.7), "rise": Range(1.1, 1.6)})  # fmt: skip


# The 14 classes of TAU-NIGENS 2020, in the order of `dataset.classes.NIGENS_CLASSES`
NIGENS = (
    EventClass("alarm", (2.0, 5.0), 1.0, (
        Generator("alarm/beeper", incidents.alarm, {
            "tone_hz": _log(1800, 3600), "beep_s": Range(0.06, 0.3), "gap_s": Range(0.05, 0.25),
            "odd": Range(0.1, 0.5)}),
        Generator("alarm/siren", urban.siren, {
            "low_hz": _log(450, 800), "span": Range(1.5, 2.4), "sweep_hz": _log(0.35, 3.5),
            "horn_hz": _log(900, 1900)}))),
    EventClass("baby", (2.0, 5.0), 1.5, (
        Generator("baby", incidents.baby_cry, {
            "f0_hz": Range(380, 560), "tract": Range(1.45, 1.75), "cry_s": Range(0.6, 1.3),
            "rough": Range(0.05, 0.4)}),)),
    EventClass("crash", (0.8, 2.5), 3.0, (
        Generator("crash", incidents.crash, {
            "pieces": Range(2.0, 6.0), "piece_hz": _log(900, 3200), "t60_s": Range(0.1, 0.5),
            "thud_hz": _log(70, 240)}),)),
    EventClass("dog", (0.6, 3.0), 2.0, (
        Generator("dog", urban.dog_bark, {
            "f0_hz": _log(280, 800), "muzzle_hz": _log(550, 1300), "bark_s": Range(0.11, 0.24),
            "harsh": Range(0.2, 0.7)}),)),
    EventClass("engine", (2.5, 6.0), 0.0, (
        Generator("engine", urban.engine_idling, {
            "firing_hz": _log(16, 40), "exhaust_hz": _log(70, 160), "uneven": Range(0.1, 0.4),
            "fan": Range(0.1, 0.4)}),)),
    EventClass("female_scream", (0.8, 2.2), 3.0, (_scream("female", Range(620, 980), Range(1.12, 1.25)),)),
    EventClass("female_speech", (2.0, 5.0), 0.0, (GENERATORS["female speech"],)),
    EventClass("fire", (2.5, 6.0), 0.0, (
        Generator("fire", incidents.fire, {
            "roar_hz": _log(250, 700), "crackle_hz": _log(6, 25), "hiss": Range(0.05, 0.3),
            "snap_hz": _log(1500, 5000)}),)),
    EventClass("footsteps", (2.0, 5.0), -2.0, (GENERATORS["footsteps"],)),
    EventClass("knock", (0.8, 2.5), 2.0, (GENERATORS["knock"],)),
    EventClass("male_scream", (0.8, 2.2), 3.0, (_scream("male", Range(330, 560), Range(0.92, 1.04)),)),
    EventClass("male_speech", (2.0, 5.0), 0.0, (GENERATORS["male speech"],)),
    EventClass("phone", (2.0, 4.5), 0.0, tuple(
        GENERATORS[f"telephone/{kind}"] for kind in ("bell", "trill", "ringtone"))),
    EventClass("piano", (2.5, 6.0), 0.0, (
        Generator("piano", incidents.piano, {
            "lowest_hz": _log(130, 400), "note_hz": Range(2.0, 5.0), "hammer": Range(0.2, 0.9),
            "t60_s": Range(1.5, 3.5)}),)),
)  # fmt: skip
INTERFERENCE = tuple(row for row in NIGENS if row.name in NIGENS_INTERFERENCE)
NIGENS_2021 = tuple(row for row in NIGENS if row not in INTERFERENCE)
STARSS = tuple(EventClass(row.name, row.duration_s, row.level_db, row.generators) for row in sound_classes())
# by the layout whose classes they are
CLASS_SETS = {"starss23": STARSS, "nigens2020": NIGENS, "nigens2021": NIGENS_2021, "tau2019": OFFICE, "real": URBAN}


def synthesize(
    row: EventClass, rng: np.random.Generator, part: int, parts: int, duration_s: float
) -> tuple[np.ndarray, dict]:
    """Make one dry sound of a class.

    Parameters
    ----------
    rng : the only source of randomness
    part, parts : which of how many parts that share no parameter value (train and test are 0 and 1 of 2)
    duration_s : length of the sound

    Returns
    -------
    waveform (samples,), float32, at 24 kHz and at its emitted level (1 m)
    what it is made of: {"generator": name, parameter: value, ...}
    """
    generator = row.generators[int(rng.integers(len(row.generators)))]
    parameters = {name: round(one.draw_part(rng, part, parts), 6) for name, one in generator.ranges.items()}
    waveform = generator.make(rng, parameters, duration_s)[: samples(duration_s)]
    return levelled(waveform, row.level_db + rng.uniform(-2.0, 2.0)), {"generator": generator.name, **parameters}
