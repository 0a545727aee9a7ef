"""The table of systems: which stages, features, networks, output formats and recipes belong together.

A new system is a new row; trainer, validator and predictor know systems, not which one.
"""

from __future__ import annotations

from operator import contains

from system import audio_visual, avseld, challenge, general, seldnet, seldnet2020, two_stage
from system.row import System
from util.errors import InputError

SYSTEMS = {
    system.name: system
    for system in (
        *audio_visual.SYSTEMS,
        *avseld.SYSTEMS,
        *seldnet.SYSTEMS,
        *seldnet2020.SYSTEMS,
        *two_stage.SYSTEMS,
        *general.SYSTEMS,
        *challenge.SYSTEMS,
    )
}


def system_named(name: str) -> System:
    """The row of that name, or the system that it assembles: "general:sed_m:doa_iv".

    Raises
    ------
    InputError : there is none
    """
    base, *modules = name.split(":")
    system = SYSTEMS.get(base)
    if system is not None and not modules:
        return system
    slots = None if system is None else system.slots
    if slots is None or len(modules) != len(slots.modules) or not all(map(contains, slots.modules.values(), modules)):
        raise InputError(f"unknown system '{name}'; known are {', '.join(SYSTEMS)}")
    return slots.assemble(modules)
