"""Published recipes and the presets of task ids, from the file presets.toml; without PyTorch."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from util.errors import InputError
from util.flags import FLAGS
from util.job_arguments import Arguments

FILE = Path(__file__).with_name("presets.toml")


@dataclass(frozen=True)
class Preset:
    """What the file says of a system.

    Attributes
    ----------
    family : the published system that it descends from, itself where it is one
    ids : what the positional numbers of the command line mean, in their order
    arguments, settings : defaults of flags, and of what --set changes
    tasks : id -> {"title", "arguments", "settings"}
    """

    name: str
    title: str
    family: str
    ids: tuple[str, ...]
    run_name: str
    arguments: Mapping[str, Any]
    settings: Mapping[str, Any]
    tasks: Mapping[str, Mapping[str, Any]]

    def task(self, number: str) -> Mapping[str, Any]:
        """What a task id stands for.

        Raises
        ------
        InputError : there is no such task
        """
        if number not in self.tasks:
            known = "; ".join(f"{key} {value['title']}" for key, value in self.tasks.items())
            raise InputError(f"{self.name} has no task '{number}'; known are {known}")
        return self.tasks[number]


@cache
def presets() -> dict[str, Preset]:
    """Every system that the file knows."""
    content = tomllib.loads(FILE.read_text(encoding="utf-8"))
    made: dict[str, Preset] = {}
    for name, about in content.items():
        base = made.get(about.get("like", ""))
        made[name] = Preset(
            name,
            about["title"],
            name if base is None else base.family,
            tuple(about["ids"]) if base is None else base.ids,
            about["run_name"] if base is None else base.run_name,
            {**(base.arguments if base else {}), **about.get("arguments", {})},
            {**(base.settings if base else {}), **about.get("settings", {})},
            about.get("tasks", base.tasks if base else {}),
        )
    return made


def preset_of(name: str) -> Preset:
    """The preset of a system; one that the file does not know has none of everything."""
    name = name.partition(":")[0]  # behind it are the modules that a system is assembled of
    return presets().get(name) or Preset(name, name, name, (), "", {}, {}, {})


def ids_of(preset: Preset, given: Sequence[str]) -> dict[str, str]:
    """The positional words of a command line by what they mean: {"task": "2", "job": "1"}.

    Raises
    ------
    InputError : more words than the system takes
    """
    if len(given) > len(preset.ids):
        takes = " ".join(f"<{name}-id>" for name in preset.ids) or "no ids"
        raise InputError(f"unknown: {' '.join(given[len(preset.ids) :])} (--system {preset.name} takes {takes})")
    return dict(zip(preset.ids, given))


def with_changes(defaults: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Settings with the changes of --set: ["pools=4,4,2", "dropout=0.2"].

    Raises
    ------
    InputError : no such setting, a value of another type
    """
    settings = dict(defaults)
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals or name not in defaults:
            known = ", ".join(defaults) or "none for this system"
            raise InputError(f"--set {change}: must be NAME=VALUE, with a NAME of: {known}")
        settings[name] = _value(text, defaults[name], change)
    return settings


def check_choices(settings: Mapping[str, Any], choices: Mapping[str, Sequence[str]]) -> None:
    """Refuse settings that are none of their choices, by name.

    Raises
    ------
    InputError : which setting, and what it may be
    """
    for name, may_be in choices.items():
        if settings[name] not in may_be:
            raise InputError(f"--set {name}={settings[name]}: must be one of {', '.join(may_be)}")


def check_made_for(args: Arguments, name: str, due: Mapping[str, Any]) -> None:
    """Refuse flags that ask for another analysis than a system's own.

    Parameters
    ----------
    due : name of a flag -> the value that the system is made for

    Raises
    ------
    InputError : which flag
    """
    for flag, value in due.items():
        if getattr(args, flag) != value:
            raise InputError(f"{FLAGS[flag].option} {getattr(args, flag)}: {name} is made for {value}")


def _value(text: str, like: Any, change: str) -> Any:
    """A value of the type of the default."""
    if isinstance(like, str):
        return text
    try:
        value = json.loads(f"[{text}]" if isinstance(like, list) and not text.startswith("[") else text.lower())
    except ValueError:
        value = None
    if isinstance(like, bool):
        fits = isinstance(value, bool)
    elif isinstance(like, list):
        kinds = (int, float) if any(isinstance(item, float) for item in like) else (int,)
        fits = isinstance(value, list) and bool(value) and all(type(item) in kinds for item in value)
    else:
        fits = type(value) in ((int, float) if isinstance(like, float) else (int,))
    if not fits:
        example = ",".join(map(str, like)) if isinstance(like, list) else str(like).lower()
        raise InputError(f"--set {change}: must be a value such as {example}")
    return value
