"""The table of systems: which stages, features, networks, output formats and recipes belong together.

A new system is a new row; trainer, validator and predictor know systems, not which one.
"""

from __future__ import annotations

from system import audio_visual, seldnet
from system.row import System
from util.errors import InputError

SYSTEMS = {system.name: system for system in (*audio_visual.SYSTEMS, *seldnet.SYSTEMS)}


def system_named(name: str) -> System:
    """The row of that name.

    Raises
    ------
    InputError : there is none
    """
    if name not in SYSTEMS:
        raise InputError(f"unknown system '{name}'; known are {', '.join(SYSTEMS)}")
    return SYSTEMS[name]
