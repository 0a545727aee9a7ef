"""Pictures of a scene: room, people and things, frame by frame, each at the pixel of its direction."""

from __future__ import annotations

from simulation.picture_sampling import (
    sample_appearance,
    sample_background,
    sample_thing_appearance,
    thing_place,
)
from util.errors import InputError

__all__ = ["anchor_offset_m", "sample_appearance", "sample_background", "sample_thing_appearance", "thing_place"]

# Height above the floor over stature: adult averages of the anthropometric tables (mouth between chin, 0.87, and eyes, 0.936);
# hands while clapping are held in front of the chest, feet sound at the sole.
ANCHOR_SHARE = {"mouth": 0.893, "hands": 0.70, "feet": 0.02}


def anchor_offset_m(anchor: str, height_m: float) -> float:
    """Height in metres of a person's sounding part above the floor.

    Parameters
    ----------
    anchor : "mouth", "hands" or "feet"
    height_m : body height in metres

    Raises
    ------
    InputError : another anchor
    """
    if anchor not in ANCHOR_SHARE:
        raise InputError(f"anchor {anchor!r} is none of {', '.join(ANCHOR_SHARE)}")
    return ANCHOR_SHARE[anchor] * height_m
