"""Procedural sounds: the 13 classes of STARSS23, dry and mono, with variety inside each class."""

from simulation.sounds.catalogue import (
    ANCHORS,
    CLASS_NAMES,
    GENERATORS,
    SoundClass,
    levelled,
    sound_class,
    sound_classes,
    synthesize,
)
from simulation.sounds.primitives import RATE_HZ
from simulation.sounds.ranges import Range

__all__ = [
    "ANCHORS",
    "CLASS_NAMES",
    "GENERATORS",
    "RATE_HZ",
    "Range",
    "SoundClass",
    "levelled",
    "sound_class",
    "sound_classes",
    "synthesize",
]
