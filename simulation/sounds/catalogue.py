"""Which generators make the sounds of a class, from which parameter ranges, how long and how loud."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from simulation.sounds import impacts, noises, tonal, voice
from simulation.sounds.primitives import RATE_HZ, samples
from simulation.sounds.ranges import Range

REFERENCE_RMS = 0.04  # emitted level at 1 m of a class at 0 dB: three sources and a room stay below full scale
PEAK_LIMIT = 0.45
SILENCE = 10 ** (-40 / 20)  # below the peak: what counts as a pause when a level is measured


@dataclass(frozen=True)
class Generator:
    """One way to make the sounds of a class.

    Attributes
    ----------
    name : "telephone/trill"
    make : (generator of random numbers, parameters, duration in s) -> waveform (samples,) of any level
    ranges : parameter -> range that train and test share without sharing a value
    fits : kinds of object in the picture (or "female", "male") that sound like this; empty: all
    """

    name: str
    make: Callable[[np.random.Generator, dict[str, float], float], np.ndarray]
    ranges: dict[str, Range]
    fits: tuple[str, ...] = ()


@dataclass(frozen=True)
class SoundClass:
    """A class of events.

    Attributes
    ----------
    anchor : what it sounds from: a person's "mouth", "hands", "feet", or an "object"
    duration_s : shortest and longest event
    level_db : emitted level relative to the reference
    mobility : how likely its source moves relative to others; 0: it cannot
    sex : of the person, where the class says so
    """

    index: int
    name: str
    anchor: str
    duration_s: tuple[float, float]
    level_db: float
    mobility: float
    generators: tuple[Generator, ...]
    sex: str | None = None


def _log(low: float, high: float) -> Range:
    return Range(low, high, log=True)


_CLASSES = (
    SoundClass(0, "Female speech", "mouth", (2.0, 6.0), 0.0, 1.0, (
        Generator("female speech", voice.speech, {
            "f0_hz": Range(165, 260), "tract": Range(1.12, 1.25), "syllable_hz": Range(3.6, 5.6),
            "liveliness": Range(0.12, 0.4), "breath": Range(0.05, 0.16)}),), "female"),
    SoundClass(1, "Male speech", "mouth", (2.0, 6.0), 0.0, 1.0, (
        Generator("male speech", voice.speech, {
            "f0_hz": Range(85, 155), "tract": Range(0.92, 1.04), "syllable_hz": Range(3.6, 5.6),
            "liveliness": Range(0.12, 0.4), "breath": Range(0.02, 0.1)}),), "male"),
    SoundClass(2, "Clapping", "hands", (2.0, 4.5), 3.0, 0.5, (
        Generator("clapping", impacts.clapping, {
            "rate_hz": Range(3.4, 5.6), "centre_hz": _log(800, 2000), "t60_s": Range(0.05, 0.09),
            "sharpness": Range(0.3, 1.0)}),)),
    SoundClass(3, "Telephone", "object", (2.0, 5.5), 1.0, 0.3, (
        Generator("telephone/bell", tonal.phone_bell, {
            "gong_hz": _log(900, 1700), "ratio": Range(1.15, 1.35), "clapper_hz": Range(18, 26),
            "on_s": Range(0.9, 1.6), "off_s": Range(0.2, 0.7)}, ("desk_phone",)),
        Generator("telephone/trill", tonal.phone_trill, {
            "low_hz": _log(550, 1200), "ratio": Range(1.18, 1.35), "warble_hz": Range(9, 17),
            "on_s": Range(0.8, 1.5), "off_s": Range(0.2, 0.7)}, ("wall_phone",)),
        Generator("telephone/ringtone", tonal.phone_ringtone, {
            "key_hz": _log(800, 1700), "note_hz": Range(7, 12), "off_s": Range(0.08, 0.4),
            "bright": Range(0.2, 0.7)}, ("mobile_phone",)))),
    SoundClass(4, "Laughter", "mouth", (1.5, 4.0), 1.5, 0.6, (
        Generator("laughter/female", voice.laughter, {
            "f0_hz": Range(270, 430), "tract": Range(1.12, 1.25), "rate_hz": Range(4.3, 6.2),
            "fall": Range(0.1, 0.4)}, ("female",)),
        Generator("laughter/male", voice.laughter, {
            "f0_hz": Range(150, 260), "tract": Range(0.92, 1.04), "rate_hz": Range(4.3, 6.2),
            "fall": Range(0.1, 0.4)}, ("male",)))),
    SoundClass(5, "Domestic sounds", "object", (3.0, 6.0), 0.0, 0.6, (
        Generator("domestic/vacuum", noises.vacuum, {
            "motor_hz": _log(180, 420), "air_hz": _log(2500, 5000), "air": Range(0.8, 1.6),
            "stroke_hz": Range(0.5, 1.1)}, ("vacuum",)),
        Generator("domestic/blender", noises.blender, {
            "motor_hz": _log(150, 350), "air_hz": _log(3000, 6000), "air": Range(0.3, 0.8),
            "rough_hz": Range(8, 20)}, ("blender",)),
        Generator("domestic/microwave", noises.microwave, {
            "motor_hz": _log(95, 125), "air_hz": _log(1200, 3000), "air": Range(0.5, 1.1),
            "wobble_hz": Range(0.5, 1.5)}, ("microwave",)),
        Generator("domestic/kettle", noises.kettle, {
            "motor_hz": _log(95, 125), "air_hz": _log(600, 1400), "air": Range(1.0, 2.0),
            "bubble_hz": Range(12, 30)}, ("kettle",)))),
    SoundClass(6, "Footsteps", "feet", (2.5, 5.5), -2.0, 6.0, (
        Generator("footsteps", impacts.footsteps, {
            "rate_hz": Range(1.85, 2.5), "thump_hz": _log(75, 160), "click_hz": _log(900, 2200),
            "scuff": Range(0.15, 0.5), "toe_s": Range(0.08, 0.14)}),)),
    SoundClass(7, "Door", "object", (1.8, 3.6), 2.0, 0.0, (
        Generator("door", impacts.door, {
            "creak_hz": _log(35, 110), "wood_hz": _log(350, 900), "boom_hz": _log(55, 110),
            "slam_t60_s": Range(0.25, 0.5)}),)),
    SoundClass(8, "Music", "object", (3.5, 6.0), 1.5, 0.4, (
        Generator("music", tonal.music, {
            "tempo_hz": Range(1.6, 2.6), "root_hz": _log(130, 235), "drums": Range(0.5, 1.1),
            "bright": Range(0.7, 1.4)}),)),
    SoundClass(9, "Musical instrument", "object", (2.5, 6.0), 0.0, 0.4, (
        Generator("instrument/guitar", tonal.guitar, {
            "lowest_hz": _log(150, 330), "note_hz": Range(2.2, 4.5), "pluck": Range(0.12, 0.35),
            "t60_s": Range(1.2, 3.0)}, ("guitar",)),
        Generator("instrument/keyboard", tonal.keyboard, {
            "lowest_hz": _log(200, 440), "note_hz": Range(2.2, 4.5), "tine": Range(0.05, 0.25),
            "t60_s": Range(1.0, 2.5)}, ("keyboard",)),
        Generator("instrument/cello", tonal.cello, {
            "lowest_hz": _log(110, 240), "note_hz": Range(1.3, 3.0), "vibrato_hz": Range(4.5, 6.5),
            "body_hz": _log(300, 700)}, ("cello",)),
        Generator("instrument/drum", impacts.drum, {
            "skin_hz": _log(90, 190), "beat_hz": Range(4.0, 6.5), "t60_s": Range(0.4, 0.9),
            "slap": Range(0.4, 1.0)}, ("drum",)))),
    SoundClass(10, "Water tap", "object", (2.5, 6.0), -2.0, 0.0, (
        Generator("water tap", noises.water_tap, {
            "hiss_hz": _log(2600, 5600), "bubbles_hz": _log(15, 60), "bubble_hz": _log(500, 1400),
            "gurgle": Range(0.15, 0.6)}),)),
    SoundClass(11, "Bell", "object", (2.0, 4.5), 0.0, 0.2, (
        Generator("bell/desk", tonal.desk_bell, {
            "prime_hz": _log(1300, 2600), "t60_s": Range(1.2, 2.4), "strike_hz": Range(0.8, 1.8)}, ("desk_bell",)),
        Generator("bell/hand", tonal.hand_bell, {
            "prime_hz": _log(700, 1500), "t60_s": Range(0.9, 2.0), "strike_hz": Range(3.0, 5.0)}, ("hand_bell",)),
        Generator("bell/door", tonal.door_bell, {
            "prime_hz": _log(480, 900), "third": Range(0.74, 0.86), "t60_s": Range(1.2, 2.5),
            "gap_s": Range(0.45, 0.8)}, ("wall_bell",)))),
    SoundClass(12, "Knock", "object", (1.8, 3.6), 2.0, 0.0, (
        Generator("knock", impacts.knock, {
            "panel_hz": _log(130, 320), "interval_s": Range(0.14, 0.26), "t60_s": Range(0.1, 0.2),
            "group": Range(2.6, 5.4)}),)),
)  # fmt: skip

CLASS_NAMES = tuple(row.name for row in _CLASSES)
ANCHORS = tuple(row.anchor for row in _CLASSES)
GENERATORS = {generator.name: generator for row in _CLASSES for generator in row.generators}


def sound_class(index: int) -> SoundClass:
    """The class of an index of STARSS23."""
    return _CLASSES[index]


def sound_classes(names: Sequence[str] | None = None) -> tuple[SoundClass, ...]:
    """The classes of a set: those of STARSS23, or a user's own, of which nothing is known but recordings.

    A class of one's own sounds from an object, which may be carried about; what it is called decides what is drawn.
    """
    if names is None:
        return _CLASSES
    return tuple(SoundClass(index, name, "object", (1.5, 6.0), 0.0, 0.3, ()) for index, name in enumerate(names))


def synthesize(
    class_index: int, rng: np.random.Generator, split: str, duration_s: float, *, fits: str | None = None
) -> tuple[np.ndarray, dict]:
    """Make one dry sound of a class.

    Parameters
    ----------
    rng : the only source of randomness
    split : "train" or "test"; their parameters never agree
    duration_s : length of the sound
    fits : kind of the object in the picture, or sex of the person, that it should go with

    Returns
    -------
    waveform (samples,), float32, at 24 kHz and at its emitted level (1 m)
    what it is made of: {"generator": name, parameter: value, ...}
    """
    row = _CLASSES[class_index]
    fitting = [g for g in row.generators if fits in g.fits] or list(row.generators)
    generator = fitting[int(rng.integers(len(fitting)))]
    parameters = {name: round(one.draw(rng, split), 6) for name, one in generator.ranges.items()}
    waveform = generator.make(rng, parameters, duration_s)[: samples(duration_s)]
    return levelled(waveform, row.level_db + rng.uniform(-2.0, 2.0)), {"generator": generator.name, **parameters}


def levelled(waveform: np.ndarray, level_db: float) -> np.ndarray:
    """Scale a dry sound to a level relative to the reference, as float32.

    The level is the root mean square over the tenths of a second in which something sounds; sounds of short peaks are
    turned down until their peak stays below the limit.
    """
    peak = float(np.abs(waveform).max(initial=0.0))
    if peak == 0.0:
        return waveform.astype(np.float32)
    block = RATE_HZ // 10
    padded = np.pad(waveform, (0, -len(waveform) % block)).reshape(-1, block)
    power = np.mean(padded.astype(np.float64) ** 2, axis=1)
    sounding = power[power > (SILENCE * np.sqrt(power.max())) ** 2]
    gain = REFERENCE_RMS * 10 ** (level_db / 20) / np.sqrt(sounding.mean())
    return (waveform * min(gain, PEAK_LIMIT / peak)).astype(np.float32)
