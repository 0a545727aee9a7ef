"""What people, rooms and things look like: parameters drawn from ranges that train and test do not share.

Every continuous parameter's range is cut into equal bins; even bins belong to "train", odd ones to "test". Both splits
so span the whole range (neither has only dark rooms) and yet no value can occur in both. Seeds of textures and of
furniture follow the same rule (even and odd numbers).
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence

import numpy as np

from util.errors import InputError

SPLITS = ("train", "test")
BINS = 12
HAIR_STYLES = {
    "female": ("long", "bob", "ponytail", "bun", "short"),
    "male": ("short", "short", "crop", "side", "bald", "bob"),
}
TOPS = ("tee", "shirt", "sweater", "jacket", "hoodie", "tank")
BOTTOMS = {"female": ("trousers", "trousers", "skirt", "shorts", "dress"), "male": ("trousers", "trousers", "shorts")}
PATTERNS = ("plain", "plain", "plain", "stripes", "block", "logo", "plaid")
IDLE_POSES = ("relaxed", "relaxed", "hip", "folded", "phone", "pockets", "behind")
WALLS = ("paint", "paint", "wallpaper", "brick", "panel", "plaster")
FLOORS = ("parquet", "planks", "tiles", "carpet", "concrete")
OUTDOORS = ("sky", "garden", "street", "dusk")

# Which objects stand for a class: the first keyword found in the class name decides. A class without one gets a box.
THING_KINDS: dict[str, tuple[str, ...]] = {
    "phone": ("desk_phone", "mobile_phone", "wall_phone"),
    "domestic": ("kettle", "blender", "vacuum", "microwave"),
    "door": ("door",),
    "instrument": ("guitar", "drum", "keyboard", "cello"),
    "music": ("loudspeaker", "radio", "hifi"),
    "tap": ("basin", "sink"),
    "water": ("basin", "sink"),
    "bell": ("desk_bell", "hand_bell", "wall_bell"),
    "knock": ("knock_door",),
}

# kind: lowest and highest centre above the floor, size (height of the object) in metres, where it belongs.
THING_PLACES: dict[str, tuple[float, float, float, str]] = {
    "desk_phone": (0.78, 0.95, 0.20, "table"),
    "mobile_phone": (0.78, 0.95, 0.18, "table"),
    "wall_phone": (1.25, 1.5, 0.32, "wall"),
    "kettle": (0.85, 1.0, 0.28, "table"),
    "blender": (0.95, 1.1, 0.42, "table"),
    "vacuum": (0.20, 0.30, 0.42, "floor"),
    "microwave": (0.9, 1.1, 0.32, "table"),
    "door": (1.0, 1.05, 2.05, "wall"),
    "guitar": (0.55, 0.65, 1.05, "floor"),
    "drum": (0.45, 0.6, 0.85, "floor"),
    "keyboard": (0.75, 0.9, 0.30, "table"),
    "cello": (0.65, 0.72, 1.3, "floor"),
    "loudspeaker": (0.8, 1.2, 0.50, "table"),
    "radio": (0.82, 1.0, 0.26, "table"),
    "hifi": (0.45, 0.6, 0.95, "floor"),
    "basin": (0.95, 1.05, 0.45, "wall"),
    "sink": (0.95, 1.05, 0.50, "wall"),
    "desk_bell": (0.80, 0.95, 0.16, "table"),
    "hand_bell": (0.85, 1.0, 0.24, "table"),
    "wall_bell": (1.5, 2.0, 0.30, "wall"),
    "knock_door": (1.05, 1.2, 2.05, "wall"),
    "box": (0.7, 1.0, 0.35, "table"),
}


def _check(split: str) -> int:
    if split not in SPLITS:
        raise InputError(f"split {split!r} is neither of {', '.join(SPLITS)}")
    return SPLITS.index(split)


def sample_range(rng: np.random.Generator, split: str, low: float, high: float, bins: int = BINS) -> float:
    """A number of [low, high) out of the bins that belong to the split.

    Raises
    ------
    InputError : unknown split
    """
    parity = _check(split)
    index = 2 * rng.integers(bins // 2) + parity
    # The edges stay free so that rounding never carries a value into the other split's bin.
    return round(float(low + (high - low) * (index + rng.uniform(0.03, 0.97)) / bins), 5)


def split_of_value(value: float, low: float, high: float, bins: int = BINS) -> str:
    """The split that a value drawn by `sample_range` belongs to."""
    return SPLITS[int(np.floor((value - low) / (high - low) * bins)) % 2]


def sample_seed(rng: np.random.Generator, split: str) -> int:
    """A seed for textures: even for train, odd for test."""
    return int(2 * rng.integers(1, 1 << 30) + _check(split))


def sample_choice(rng: np.random.Generator, options: Sequence[str]) -> str:
    """One of the options (kinds and styles, which both splits share)."""
    return str(options[int(rng.integers(len(options)))])


def _colour(
    rng: np.random.Generator, split: str, saturation: tuple[float, float], value: tuple[float, float]
) -> list[float]:
    """Hue, saturation, value."""
    return [
        sample_range(rng, split, 0.0, 1.0, 24),
        sample_range(rng, split, *saturation),
        sample_range(rng, split, *value),
    ]


def bgr_from_hsv(colour: Sequence[float]) -> np.ndarray:
    """Hue, saturation, value in [0, 1] -> blue, green, red in [0, 255], float32 (3,)."""
    red, green, blue = colorsys.hsv_to_rgb(float(colour[0]) % 1.0, float(colour[1]), float(colour[2]))
    return np.array([blue, green, red], dtype=np.float32) * 255.0


def sample_appearance(rng: np.random.Generator, split: str, *, sex: str | None = None) -> dict:
    """What a drawn person looks like: plain values for `Person.appearance`.

    Parameters
    ----------
    split : "train" or "test"; all continuous values of the two are disjoint (`sample_range`)
    sex : "female", "male" (to fit a voice) or None for either

    Raises
    ------
    InputError : unknown split
    """
    sex = sex or sample_choice(rng, ("female", "male"))
    greyish = rng.random() < 0.35
    return {
        "split": split,
        "seed": sample_seed(rng, split),
        "sex": sex,
        "build": sample_range(rng, split, 0.88, 1.18),
        "skin": sample_range(rng, split, 0.0, 1.0),
        "hair": sample_range(rng, split, 0.0, 1.0),
        "hair_style": sample_choice(rng, HAIR_STYLES[sex]),
        "beard": bool(sex == "male" and rng.random() < 0.3),
        "glasses": bool(rng.random() < 0.2),
        "top": sample_choice(rng, TOPS),
        "top_hsv": _colour(rng, split, (0.0, 0.12) if greyish else (0.25, 0.9), (0.15, 0.95)),
        "inner_hsv": _colour(rng, split, (0.0, 0.3), (0.6, 0.95)),
        "pattern": sample_choice(rng, PATTERNS),
        "pattern_hsv": _colour(rng, split, (0.1, 0.8), (0.2, 0.95)),
        "pattern_m": sample_range(rng, split, 0.05, 0.12),
        "bottom": sample_choice(rng, BOTTOMS[sex]),
        "bottom_hsv": [
            sample_range(rng, split, 14 / 24, 16 / 24, 2)
            if rng.random() < 0.5
            else sample_range(rng, split, 0.0, 1.0, 24),
            sample_range(rng, split, 0.05, 0.6),
            sample_range(rng, split, 0.12, 0.7),
        ],
        "shoe_hsv": _colour(rng, split, (0.0, 0.5), (0.08, 0.9)),
        "idle": sample_choice(rng, IDLE_POSES),
        # Where somebody who stands looks: degrees between the body's front and the way to the listener.
        "facing_deg": sample_range(rng, split, -100.0, 100.0),
    }


def sample_background(rng: np.random.Generator, split: str) -> dict:
    """What a room looks like: plain values for `Scene.background`.

    Raises
    ------
    InputError : unknown split
    """
    return {
        "split": split,
        "seed": sample_seed(rng, split),
        "wall": sample_choice(rng, WALLS),
        "wall_hsv": _colour(rng, split, (0.02, 0.35), (0.55, 0.92)),
        "accent_hsv": _colour(rng, split, (0.1, 0.55), (0.35, 0.85)),
        "floor": sample_choice(rng, FLOORS),
        "floor_hsv": [
            sample_range(rng, split, 0.04, 0.12),
            sample_range(rng, split, 0.1, 0.6),
            sample_range(rng, split, 0.3, 0.75),
        ],
        "floor_scale_m": sample_range(rng, split, 0.09, 0.45),
        "ceiling_value": sample_range(rng, split, 0.78, 0.96),
        "wood_hsv": [
            sample_range(rng, split, 0.04, 0.11),
            sample_range(rng, split, 0.2, 0.65),
            sample_range(rng, split, 0.25, 0.75),
        ],
        "fabric_hsv": _colour(rng, split, (0.1, 0.6), (0.25, 0.75)),
        "outdoor": sample_choice(rng, OUTDOORS),
        "windows": int(rng.integers(1, 4)),
        "furniture": sample_range(rng, split, 0.3, 1.0),
        "light": sample_range(rng, split, 0.85, 1.2),
        "warmth": sample_range(rng, split, -1.0, 1.0),
        "light_deg": sample_range(rng, split, -180.0, 180.0),
    }


def thing_kinds(class_name: str) -> tuple[str, ...]:
    """Kinds of object that can make the sounds of a class ("Musical instrument" -> guitar, drum ...)."""
    name = class_name.lower()
    return next((kinds for keyword, kinds in THING_KINDS.items() if keyword in name), ("box",))


def sample_thing_appearance(rng: np.random.Generator, split: str, class_name: str) -> dict:
    """What a drawn object looks like: plain values for `Thing.appearance`; "kind" says which object.

    Raises
    ------
    InputError : unknown split
    """
    return {
        "split": split,
        "seed": sample_seed(rng, split),
        "kind": sample_choice(rng, thing_kinds(class_name)),
        "body_hsv": _colour(rng, split, (0.05, 0.75), (0.2, 0.9)),
        "detail_hsv": _colour(rng, split, (0.05, 0.6), (0.15, 0.85)),
        "wood_hsv": [
            sample_range(rng, split, 0.04, 0.11),
            sample_range(rng, split, 0.25, 0.7),
            sample_range(rng, split, 0.25, 0.8),
        ],
        "shine": sample_range(rng, split, 0.0, 1.0),
    }


def thing_place(appearance: Mapping[str, object]) -> tuple[float, float, float, str]:
    """Where an object belongs: lowest and highest centre above the floor, its height (`Thing.size_m`), all in metres,
    and what it stands on or hangs at: "table", "floor" or "wall".

    A table or stand is drawn below whatever would hang in the air.
    """
    return THING_PLACES.get(str(appearance.get("kind", "box")), THING_PLACES["box"])
