"""The stages of a search, from a file such as tuning.toml; without PyTorch and Optuna."""

from __future__ import annotations

import itertools
import json
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from system.presets import Preset, with_changes
from util.errors import InputError
from util.flags import DEFAULTS, FLAGS, names_of

FILE = Path(__file__).with_name("tuning.toml")
# flags that a grid may hold beside settings, and those of [search] and [final], with their types
GRID_FLAGS: dict[str, type] = {name: FLAGS[name].kind for name in names_of(lambda flag: flag.search == "grid")}
BUDGET: dict[str, type] = {name: FLAGS[name].kind for name in names_of(lambda flag: flag.search == "budget")}
# Sizes of a network that are lengths of settings: name -> setting: what is added behind where it must grow.
LENGTHS: dict[str, dict[str, int | Literal["last"]]] = {
    "layers": {"filters": "last", "pools": 1},
    "rnn_layers": {"rnn_units": "last"},
}


@dataclass(frozen=True)
class Point:
    """One choice of everything that a search may change.

    Attributes
    ----------
    settings : of the system, what --set changes
    flags : batch size, learning rate, weight decay
    """

    settings: Mapping[str, Any]
    flags: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The same text for the same choice."""
        return json.dumps([self.settings, self.flags], sort_keys=True)


@dataclass(frozen=True)
class SearchStage:
    """Values that are tried together.

    Attributes
    ----------
    grid : name -> values; every combination is a trial
    """

    name: str
    about: str
    grid: Mapping[str, tuple[Any, ...]]

    def __len__(self) -> int:
        count = 1
        for values in self.grid.values():
            count *= len(values)
        return count

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Every combination, the last name varying fastest."""
        for values in itertools.product(*self.grid.values()):
            yield dict(zip(self.grid, values))


@dataclass(frozen=True)
class SearchPlan:
    """What a file of stages says.

    Attributes
    ----------
    search, final : flags of a trial and of the training of the choice; final is None where nothing is trained
    final_split : as --split
    constant_frames : the batch size follows the sequence length
    """

    path: Path
    stages: tuple[SearchStage, ...]
    search: Mapping[str, Any]
    final: Mapping[str, Any] | None
    final_split: str | None = None
    constant_frames: bool = False

    def __len__(self) -> int:
        return sum(len(stage) for stage in self.stages)


@dataclass
class _Table:
    """A table of the file while it is read: what was not asked for is an error."""

    path: Path
    place: str
    content: dict[str, Any]
    known: list[str] = field(default_factory=list)

    def take(self, name: str, kind: type, default: Any = None) -> Any:
        self.known.append(name)
        value = self.content.get(name, default)
        if kind is float and type(value) is int:
            value = float(value)
        fits = value is None or type(value) is kind
        if not fits:
            raise self.error(f"{name} must be of type {kind.__name__}, found {value!r}")
        if kind in (int, float) and value is not None and value < (0 if name == "weight_decay" else 1e-12):
            raise self.error(f"{name} must be above 0, found {value}")
        return value

    def end(self) -> None:
        unknown = sorted(self.content.keys() - set(self.known))
        if unknown:
            raise self.error(f"knows no '{unknown[0]}'; known are {', '.join(self.known)}")

    def error(self, rule: str) -> InputError:
        return InputError(rule, path=self.path, place=self.place)


def read_plan(path: str | os.PathLike[str], preset: Preset) -> SearchPlan:
    """Read a file of stages for a system.

    Raises
    ------
    InputError : no such file, no toml, a setting that the system does not have, a value of another type
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(str(one) for one in sorted(FILE.parent.glob("tuning*.toml")))
        raise InputError(f"no such file of stages (--stages); there are {known}", path=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot be read ({getattr(error, 'strerror', None) or 'not a text file'})", path=path
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"is no toml: {error}", path=path) from None
    if not preset.settings:
        raise InputError(
            f"-tune: system {preset.name} has no settings to search; --system names one that has (seldnet...)"
        )

    top = _Table(path, "top", content)
    tables = top.take("stage", list, [])
    search, final = top.take("search", dict, {}), top.take("final", dict)
    top.end()
    if not tables or not all(isinstance(one, dict) for one in tables):
        raise InputError("names no [[stage]]", path=path)
    stages = tuple(_stage(path, number, one, preset) for number, one in enumerate(tables, start=1))
    names = [stage.name for stage in stages]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise InputError(f"two stages are named '{repeated}'", path=path)

    table = _Table(path, "[search]", search)
    budget = {name: table.take(name, kind) for name, kind in {**BUDGET, **GRID_FLAGS}.items()}
    constant = table.take("constant_frames_per_batch", bool, False)
    table.end()
    final_split = final_budget = None
    if final is not None:
        last = _Table(path, "[final]", final)
        final_split = last.take("split", str)
        final_budget = {name: value for name in BUDGET if (value := last.take(name, BUDGET[name])) is not None}
        last.end()
    search = {name: value for name, value in budget.items() if value is not None}
    return SearchPlan(path, stages, search, final_budget, final_split, constant)


def _stage(path: Path, number: int, content: dict[str, Any], preset: Preset) -> SearchStage:
    table = _Table(path, f"stage {number}", content)
    name = table.take("name", str, f"stage {number}")
    table.place = f"stage {number} '{name}'"
    about, grid = table.take("about", str, ""), table.take("grid", dict, {})
    table.end()
    if not grid:
        raise table.error("has no grid: NAME = [values]")
    start = Point(preset.settings, {flag: DEFAULTS[flag] for flag in GRID_FLAGS})
    for setting, values in grid.items():
        if not isinstance(values, list) or not values:
            raise table.error(f"{setting} must be a list of values, found {values!r}")
        texts = [json.dumps(value) for value in values]
        if len(set(texts)) < len(texts):
            raise table.error(f"{setting} names a value twice")
        for value in values:
            try:
                changed(start, {setting: value})
            except InputError as error:
                raise table.error(error.rule) from None
    return SearchStage(name, about, {setting: tuple(values) for setting, values in grid.items()})


def changed(point: Point, values: Mapping[str, Any], *, constant_frames: bool = False) -> Point:
    """A point with some values changed, as the grid of a stage names them.

    Raises
    ------
    InputError : no such setting, a value of another type
    """
    settings, flags = dict(point.settings), dict(point.flags)
    for name in sorted(values, key=lambda name: name in LENGTHS):  # lengths last: they cut what the others say
        value = values[name]
        if name in GRID_FLAGS:
            if type(value) not in ((int,) if GRID_FLAGS[name] is int else (int, float)) or value <= 0:
                raise InputError(f"{name} must be a number above 0, found {value!r}")
            flags[name] = GRID_FLAGS[name](value)
        elif name in LENGTHS and set(LENGTHS[name]) <= settings.keys():
            if type(value) is not int or value < 1:
                raise InputError(f"{name} must be a whole number above 0, found {value!r}")
            for setting, more in LENGTHS[name].items():
                old = list(settings[setting])
                behind = old[-1] if more == "last" else more
                settings[setting] = old[:value] + [behind] * (value - len(old))
        elif name not in settings:
            known = [*settings, *GRID_FLAGS, *(length for length in LENGTHS if set(LENGTHS[length]) <= settings.keys())]
            raise InputError(f"knows no setting '{name}'; known are {', '.join(known)}")
        else:
            alike = isinstance(settings[name], list) and type(value) in (int, float)
            due = [value] * len(settings[name]) if alike else value
            like = settings[name]
            made = with_changes({name: like}, [f"{name}={as_text(due)}"])[name]
            settings[name] = _same_kind(made, like)
    frames, before = settings.get("sequence_frames"), point.settings.get("sequence_frames")
    if constant_frames and frames != before and "batch_size" not in values:
        flags["batch_size"] = max(1, round(flags["batch_size"] * before / frames))
    return Point(settings, flags)


def _same_kind(value: Any, like: Any) -> Any:
    """1 -> 1.0 where the default is a fraction, also in lists: equal choices have equal texts."""
    if isinstance(value, list):
        return [float(item) for item in value] if any(isinstance(item, float) for item in like) else value
    return float(value) if isinstance(like, float) else value


def as_text(value: Any) -> str:
    """A value as --set takes it: 4,4,2 or true or 0.2."""
    if isinstance(value, (list, tuple)):
        return ",".join(as_text(item) for item in value)
    return json.dumps(value) if isinstance(value, (bool, int, float)) else str(value)


def changes(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """What --set must say to come from the defaults to the settings: ["pools=4,4,4", "dropout=0.2"]."""
    return [f"{name}={as_text(value)}" for name, value in settings.items() if value != defaults.get(name)]
