"""Names of columns in headers: what people call them, in which unit, and where the columns that are wanted stand."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from util.errors import InputError
from util.text import shown

_CALLED = {
    "frame": "frame_number frame_index frame_idx frame_no frame_id frame_num frames frameindex framenumber",
    "class": "class_index class_id class_idx class_number class_no active_class_index active_class event_class classes "
    "class_label label_index sound_class sound_event_class event_class_index classindex classid",
    "source": "source_index source_id source_number source_number_index source_idx source_no sourceid track "
    "track_index track_id track_number track_number_index trackid event_number",
    "azimuth": "azi az azim",
    "elevation": "ele el elev",
    "distance": "dist",
    "onscreen": "on_screen is_onscreen onscreen_offscreen onscreen_flag",
    "x": "pos_x",
    "y": "pos_y",
    "z": "pos_z",
}
_NAME_OF = {called: name for name, words in _CALLED.items() for called in (name, *words.split())}
_UNITS = {
    unit: name
    for name, words in {
        "deg": "deg degs degree degrees",
        "rad": "rad rads radian radians",
        "m": "m metre metres meter meters",
        "cm": "cm centimetre centimetres centimeter centimeters",
        "mm": "mm millimetre millimetres millimeter millimeters",
    }.items()
    for unit in words.split()
}
_IN_WORDS = {"deg": "degrees", "rad": "radians", "m": "metres", "cm": "centimetres", "mm": "millimetres"}


@dataclass(frozen=True)
class Named:
    """What a header says of a column: its name ("" where it has none) and its unit, where it says one."""

    name: str
    unit: str | None = None


@lru_cache(maxsize=1024)  # the headers of a set are alike
def named(text: str) -> Named:
    """ "Azimuth (deg)", "azi", "azimuth_deg" -> azimuth in degrees; a name that is not known stays."""
    plain = unicodedata.normalize("NFKC", text).lower().replace("°", " deg ")
    words = [word for word in re.split(r"[\W_]+", plain) if word]
    if not words:
        return Named("")
    units = {_UNITS[word] for word in words[1:] if word in _UNITS}
    kept = [words[0], *(word for word in words[1:] if word not in _UNITS and word not in ("int", "float", "in"))]
    name = "_".join(kept)
    return Named(_NAME_OF.get(name, name), units.pop() if len(units) == 1 else None)


@dataclass(frozen=True)
class Chosen:
    """Columns of a file that are wanted.

    Attributes
    ----------
    positions : wanted name -> place in a row; those that may be absent and are have none
    units : wanted name -> unit, where the header says one
    left_out : names of the others as they stand there; "" has none
    """

    positions: dict[str, int]
    units: dict[str, str]
    left_out: tuple[str, ...]

    def words(self) -> str:
        """What is left out, for a remark; "" where nothing is."""
        return left_out_in_words(self.left_out)


def left_out_in_words(names: Sequence[str]) -> str:
    """Columns that are left out, for a remark; "" where there are none."""
    quoted = ", ".join(f"'{shown(name)}'" if name else "one without a name" for name in names)
    return f"column{'s' * (len(names) != 1)} left out: {quoted}" if names else ""


def choose(
    header: Sequence[str],
    wanted: Sequence[str],
    *,
    optional: Sequence[str] = (),
    units: Mapping[str, str] | None = None,
    path: str | os.PathLike[str] | None = None,
    line: int | None = None,
) -> Chosen:
    """Find columns by their names.

    Parameters
    ----------
    wanted : names, as `named` gives them
    optional : those of them that may be absent
    units : unit in which a column is understood; a header that says another one contradicts

    Raises
    ------
    InputError : a column is missing or named twice, or has another unit
    """

    def refuse(rule: str) -> InputError:
        return InputError(rule, path=path, place=None if line is None else f"line {line}")

    positions: dict[str, int] = {}
    found_units: dict[str, str] = {}
    left_out = []
    for place, text in enumerate(header):
        column = named(text) if text else Named("")
        if column.name not in wanted:
            left_out.append(text)
            continue
        if column.name in positions:
            raise refuse(f"the header names the column {column.name} twice: {_quoted(header)}")
        due = (units or {}).get(column.name)
        if due is not None and column.unit is not None and column.unit != due:
            said = f"the header says that {column.name} is in {_IN_WORDS[column.unit]} ('{shown(text)}')"
            raise refuse(f"{said}, {_IN_WORDS[due]} are understood")
        positions[column.name] = place
        if column.unit is not None:
            found_units[column.name] = column.unit
    if not positions:
        rule = f"is no row of numbers and names no known column (found {_quoted(header)})"
        raise refuse(f"{rule}; known are {', '.join(wanted)}")
    missing = [name for name in wanted if name not in positions and name not in optional]
    if missing:
        raise refuse(f"the header names no column {' or '.join(missing)}; it has {_quoted(header)}")
    return Chosen(positions, found_units, tuple(left_out))


def _quoted(header: Sequence[str]) -> str:
    return ", ".join(f"'{shown(name, 20)}'" for name in header[:12]) + (" ..." if len(header) > 12 else "")
