"""Channels and capsules as people write them: "1-4", "FLU,FRD,BLD,BRU"; apart, since flags must be parsed fast."""

from __future__ import annotations

import re

from util.errors import InputError

_MOST_CHANNELS = 1024
_SIGN = {"F": 1, "B": -1, "L": 1, "R": -1, "U": 1, "D": -1}


def parse_channels(text: str) -> tuple[int, ...]:
    """ "1-4" -> (0, 1, 2, 3); "1,3,2,4" -> (0, 2, 1, 3).

    Raises
    ------
    InputError : anything else, a channel named twice
    """
    used: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})\s*(?:-\s*(\d{1,4})\s*)?", part)
        first = int(match[1]) if match else 0
        last = int(match[2] or first) if match else 0
        if not 1 <= first <= last <= _MOST_CHANNELS:
            raise InputError(f"channels as 1-4 or 1,3,2,4, counted from 1, not {text!r}")
        used += range(first - 1, last)
    if len(set(used)) < len(used):
        raise InputError(f"{text}: a channel is named twice")
    return tuple(used)


def capsule_corners(text: str) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    """ "FLU,FRD,BLD,BRU" -> those names, and the signs of x, y and z of each.

    Raises
    ------
    InputError : no four corners of a tetrahedron
    """
    names = tuple(part.strip().upper() for part in text.split(","))
    if len(names) != 4 or not all(re.fullmatch("[FB][LR][UD]", name) for name in names):
        raise InputError(
            f"{text}: four capsules are needed, each Front or Back, Left or Right, Up or Down: FLU,FRD,BLD,BRU"
        )
    corners = tuple((_SIGN[name[0]], _SIGN[name[1]], _SIGN[name[2]]) for name in names)
    if len(set(names)) < 4 or len({x * y * z for x, y, z in corners}) > 1:
        raise InputError(
            f"{text}: no corners of a tetrahedron: FLU, FRD, BLD, BRU in your order, or FLD, FRU, BLU, BRD"
        )
    return names, corners
