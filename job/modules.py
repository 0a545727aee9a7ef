"""The modules of a system that is assembled of others: by --sed and --doa a run, a checkpoint, or a name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from system.checkpoint import Checkpoint, StageState, load_checkpoint
from system.row import Module, Slots, System
from util.errors import InputError
from util.job_arguments import Arguments
from util.microphone_arrays import Array
from util.runs import result_checkpoint

SLOTS = ("sed", "doa")  # flags that name a module


def frozen(state: StageState) -> StageState:
    """A stage that is not trained any further."""
    return replace(state, trained={})


def with_modules(
    system: System, args: Arguments, array: Array, classes: Sequence[str]
) -> tuple[System, dict[str, StageState]]:
    """The system with the modules that the flags ask for, and the stages of those that are trained already.

    A module that is named, or that is the default, is trained in the same run; a run or a checkpoint stays as it is.

    Raises
    ------
    InputError : the system has no modules; no such module, run or checkpoint; a run of something else, of other classes
        or of another array, or one that is not finished
    """
    slots, given = system.slots, {slot: getattr(args, slot) for slot in SLOTS}
    if slots is None:
        for slot, value in given.items():
            if value is not None:
                raise InputError(f"--{slot} {value}: {system.name} is not made of modules")
        return system, {}
    names: list[str] = []
    states: dict[str, StageState] = {}
    for slot, known in slots.modules.items():
        value = given[slot] or slots.default(slot, array)
        if value not in known:
            module, checkpoint, path = _module_at(slot, value, slots)
            _check(slot, module, checkpoint, path, array, classes)
            states |= {name: frozen(state) for name, state in checkpoint.stages.items()}
            value = module.name
        names.append(value)
    return slots.assemble(names), states


def _module_at(slot: str, value: str, slots: Slots) -> tuple[Module, Checkpoint, Path]:
    """The module whose run or checkpoint is at a path."""
    path = Path(value)
    if not path.exists():
        rule = f"no such run or checkpoint, and no module of that name; known are {', '.join(slots.modules[slot])}"
        raise InputError(f"--{slot}: {rule}", path=path)
    checkpoint = load_checkpoint(result_checkpoint(path) if path.is_dir() else path)
    for other, modules in slots.modules.items():
        for module in modules.values():
            if module.system != checkpoint.system:
                continue
            if other != slot:
                raise InputError(f"--{slot}: is {module.name}, a module for --{other}", path=path)
            return module, checkpoint, path
    known = ", ".join(module.system for module in slots.modules[slot].values())
    raise InputError(f"--{slot}: is a checkpoint of {checkpoint.system}, a module is one of {known}", path=path)


def _check(slot: str, module: Module, checkpoint: Checkpoint, path: Path, array: Array, classes: Sequence[str]) -> None:
    """Refuse a module that does not fit the recordings."""
    if checkpoint.missing:
        missing = ", ".join(checkpoint.missing)
        raise InputError(f"--{slot}: {missing} is still to be trained: python seld.py -train --resume RUN", path=path)
    if list(classes) != checkpoint.classes:
        at = next((n for n, pair in enumerate(zip(classes, checkpoint.classes)) if pair[0] != pair[1]), None)
        where = "" if at is None else f": class {at} is {checkpoint.classes[at]} there, {classes[at]} here"
        rule = f"was trained on {len(checkpoint.classes)} classes, other than the {len(classes)} of the data root"
        raise InputError(f"--{slot}: {rule}{where}", path=path)
    trained, settings = Array.from_dict(checkpoint.array), next(iter(checkpoint.stages.values())).settings
    if trained != array and not module.any_array(settings):
        rule = f"{module.name} was trained on {trained.name} audio, the recordings are {array.name}"
        raise InputError(f"--{slot}: {rule}", path=path)


def check_takes(system: System, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse stages that say something at another frame rate than the one that takes it.

    Raises
    ------
    InputError : which
    """
    framings = {stage.name: stage.plans(dict(settings[stage.name])).framing for stage in system.stages}
    for stage in system.stages:
        due_s = 1 / framings[stage.name].rate_hz
        for name in stage.takes:
            found_s = framings[name].output_frame_s
            if not math.isclose(found_s, due_s, rel_tol=1e-6):
                rule = f"says something every {1000 * found_s:g} ms, {stage.name} takes frames of {1000 * due_s:g} ms"
                raise InputError(f"the stage {name} of {system.name} {rule}")
