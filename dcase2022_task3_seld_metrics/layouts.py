"""csv layouts: what the columns of references and predictions mean, edition by edition, and the reader that finds out.

The official readers tell layouts apart by the number of columns and pass over rows they do not know; `auto` refuses
what is not clear, converts what is, and says what it understood.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dcase2022_task3_seld_metrics.batch import Batch
from dcase2022_task3_seld_metrics.csvrows import CsvRows, Grammar
from dcase2022_task3_seld_metrics.distances import cartesian_to_polar, polar_to_cartesian
from dcase2022_task3_seld_metrics.notices import Notices
from dcase2022_task3_seld_metrics.settings import ScoringSettings
from util.errors import InputError

_IDS = (0, 1, 2)


@dataclass(frozen=True)
class Form:
    """Meaning of the values behind frame, class and source.

    Attributes
    ----------
    vector : x, y, z; else azimuth and elevation in degrees
    distance : place of the distance among the values; None: there is none
    stereo : azimuth, distance in centimetres, onscreen flag
    """

    title: str
    vector: bool = False
    distance: int | None = None
    stereo: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.title.split(","))


POLAR_4 = Form("frame,class,azimuth,elevation")
POLAR = Form("frame,class,source,azimuth,elevation")
POLAR_FAR = Form("frame,class,source,azimuth,elevation,distance", distance=2)
VECTOR = Form("frame,class,source,x,y,z", vector=True)
VECTOR_FAR = Form("frame,class,source,x,y,z,distance", vector=True, distance=3)
STEREO = Form("frame,class,source,azimuth,distance,onscreen", distance=1, stereo=True)


_FORMS = (POLAR_4, POLAR, POLAR_FAR, VECTOR, VECTOR_FAR, STEREO)
UNITS_M = {"m": 1.0, "cm": 0.01}


@dataclass(frozen=True)
class CsvLayout:
    """One official pair of readers.

    Attributes
    ----------
    forms : number of columns -> meaning; rows of other widths are dropped (Q2)
    vectors : forms of the predictions that its scorer takes: "only" vectors, "any", or "as degrees" (M23s: x and y are
        taken for azimuth and elevation)
    vector_references : references may be vectors
    by_last_line : the last line of a file decides whether its rows are vectors
    header : see `Grammar`
    prefixes : file names start with one of these, others are left out
    """

    name: str
    title: str
    forms: dict[int, Form]
    vectors: str = "any"
    vector_references: bool = False
    by_last_line: bool = False
    header: str = "no"
    prefixes: tuple[str, ...] = ()

    def grammar(self) -> Grammar:
        """What its rows look like."""
        integers = {width: (*_IDS, 5) if form.stereo else _IDS[: 2 + (width > 4)] for width, form in self.forms.items()}
        if self.header == "always":
            narrow = "a row of layout m25 has 6"
            return Grammar(integers, self.header, wider=True, narrow=narrow, columns=STEREO.columns)
        return Grammar(integers, self.header)


_M23 = {5: POLAR, 6: POLAR_FAR, 7: VECTOR_FAR}
_SALSA = {4: POLAR_4, 5: POLAR, 6: VECTOR}
LAYOUTS = {
    layout.name: layout
    for layout in (
        CsvLayout("m20", "DCASE2020 in SALSA", _SALSA, vector_references=True, prefixes=("fold", "mix")),
        CsvLayout("m21", "DCASE2021 in SALSA", _SALSA, vector_references=True, prefixes=("fold", "mix")),
        CsvLayout("m22", "DCASE2022 baseline", {5: POLAR, 6: VECTOR}, vectors="only"),
        CsvLayout("m23", "DCASE2023 baseline", _M23, vectors="only"),
        CsvLayout(
            "m23s", "audio-visual baseline 2023", {4: POLAR_4, 6: POLAR_FAR, 7: VECTOR_FAR}, vectors="as degrees"
        ),
        CsvLayout("m24", "DCASE2024 baseline", {4: POLAR_4, **_M23}, vector_references=True, by_last_line=True),
        CsvLayout("m25", "DCASE2025 stereo baseline", {6: STEREO}, header="always"),
    )
}
LAYOUT_NAMES = ("auto", "m19", "m19-training", *LAYOUTS)
AUTO_FORMS = {4: POLAR_4, 5: POLAR, 6: POLAR_FAR, 7: VECTOR_FAR}  # six columns are looked at more closely


@dataclass(frozen=True)
class Unit:
    """The unit that distances of one side are read in.

    Attributes
    ----------
    metres : of one unit
    reason : where nothing but their size says it, in words
    """

    metres: float
    reason: str = ""

    def __str__(self) -> str:
        name = {value: key for key, value in UNITS_M.items()}[self.metres]
        return f"{name}{self.reason}"


def layout_for(name: str, settings: ScoringSettings) -> CsvLayout | None:
    """The layout of that name; None for "auto".

    Raises
    ------
    InputError : there is none, or it does not fit the edition
    """
    edition = settings.edition
    if name == "auto":
        return None
    if name not in LAYOUTS:
        known = ", ".join(LAYOUT_NAMES)
        raise InputError(f"unknown layout '{name}'; known are {known}")
    if (name == "m25") != (settings.coordinates == "folded"):
        raise InputError(f"layout {name} does not fit edition {edition.name}: its own is {edition.layout}")
    return LAYOUTS[name]


def read_side(
    rows: CsvRows,
    layout: CsvLayout | None,
    settings: ScoringSettings,
    notices: Notices,
    *,
    reference: bool,
    unit: str | None = None,
) -> tuple[Batch, str]:
    """Rows of references or predictions in the form the counting rules want, and what was understood, in words.

    Parameters
    ----------
    unit : of distances, "m" or "cm", where no official layout decides; None: what a header or their size says
    """
    side = "references" if reference else "predictions"
    if layout is None:
        forms, understood = _understand(rows, settings, side, None if unit is None else UNITS_M[unit])
    else:
        forms, understood = layout.forms, Unit(0.01 if reference or layout.header == "always" else 1.0)
        _refuse_unfit(rows, layout, settings, notices, reference)
    last_vector = np.isin(rows.last_width, [width for width, form in forms.items() if form.vector])
    by_width = is_vector = np.isin(rows.width, [width for width, form in forms.items() if form.vector])
    if layout is not None and layout.by_last_line:
        _tell_mixed(rows, is_vector != last_vector[rows.file], notices)
        is_vector = last_vector[rows.file]
    if layout is not None and layout.vectors == "as degrees":
        is_vector = np.zeros(len(is_vector), dtype=bool)
    distance = _distances(rows, forms, understood.metres, settings.edition.distance_unit_m)
    if layout is not None and layout.by_last_line:
        distance[by_width != is_vector] = np.nan
        if settings.distance and not reference:
            _tell_unit(rows, distance, notices)
    stereo = any(form.stereo for form in forms.values())
    batch = Batch(
        file=rows.file,
        frame=rows.frame,
        class_index=rows.class_index,
        source=rows.source,
        coordinates=_coordinates(rows.values, is_vector, settings, stereo=stereo),
        distance=distance,
        onscreen=rows.values[:, 2] if stereo else np.full(len(distance), np.nan),
        last_frame=rows.last_frame,
    )
    return batch, _words(rows, forms, understood if settings.distance else None)


def _coordinates(values: np.ndarray, is_vector: np.ndarray, settings: ScoringSettings, *, stereo: bool) -> np.ndarray:
    """Values (n, 4) -> what the edition compares: (n, 2) degrees or (n, 3) vectors."""
    if stereo:
        return np.stack([values[:, 0], np.zeros(len(values))], axis=-1)
    if settings.coordinates == "polar":
        polar = values[:, :2].copy()
        polar[is_vector] = cartesian_to_polar(values[is_vector, :3])
        return polar
    vectors = np.zeros((len(values), 3))
    vectors[~is_vector] = polar_to_cartesian(values[~is_vector, :2])
    vectors[is_vector] = values[is_vector, :3]
    if settings.edition.vectors_by_angles:
        vectors[is_vector] = polar_to_cartesian(cartesian_to_polar(vectors[is_vector]))
    return vectors


def _distances(rows: CsvRows, forms: dict[int, Form], unit_m: float, edition_unit_m: float) -> np.ndarray:
    """Distances in the unit of the edition; NaN where the row has none."""
    distance = np.full(len(rows.width), np.nan)
    for width, form in forms.items():
        if form.distance is not None:
            chosen = rows.width == width
            distance[chosen] = rows.values[chosen, form.distance]
    if unit_m == edition_unit_m:
        return distance
    return distance / 100.0 if unit_m < edition_unit_m else distance * 100.0


def _refuse_unfit(
    rows: CsvRows, layout: CsvLayout, settings: ScoringSettings, notices: Notices, reference: bool
) -> None:
    """What the official scorer would crash on."""
    vector = np.isin(rows.width, [width for width, form in layout.forms.items() if form.vector])
    if reference:
        if not layout.vector_references:
            rule = f"is Cartesian ({_vector_title(layout)}), references of layout {layout.name} are polar"
            rows.refuse(vector, rule)
    elif layout.vectors == "only":
        rule = f"is polar, predictions of layout {layout.name} are Cartesian ({_vector_title(layout)})"
        rows.refuse(~vector, f"{rule}; layout auto converts them")
    elif layout.vectors == "as degrees":
        if settings.coordinates != "polar":
            raise InputError(f"layout {layout.name} compares polar coordinates only; layout auto converts")
        if vector.any():
            at = int(np.argmax(vector))
            rule = "is Cartesian, yet the official program takes x and y for degrees; layout auto converts"
            notices.tell(rule, path=rows.paths[rows.file[at]], place=f"line {rows.line[at]}")
    if layout.prefixes and settings.coordinates == "polar":
        rows.refuse(vector, "is Cartesian (x,y,z): compare Cartesian coordinates, or use layout auto, which converts")


def _vector_title(layout: CsvLayout) -> str:
    return " or ".join(f"{width} columns: {form.title}" for width, form in layout.forms.items() if form.vector)


def _tell_mixed(rows: CsvRows, mixed: np.ndarray, notices: Notices) -> None:
    """Files of 2024 in which Cartesian and polar rows meet; the official program misreads one kind."""
    for index in np.unique(rows.file[mixed]).tolist():
        at = int(np.argmax(mixed & (rows.file == index)))
        if rows.width[at] < 6:  # the official reader finds no third value
            rows.refuse(np.arange(len(mixed)) == at, "is polar in a file whose last line is Cartesian")
        rule = "Cartesian and polar rows in one file: the official program reads all of them like the last line"
        notices.tell(rule, path=rows.paths[index], place=f"line {rows.line[at]}")


def _tell_unit(rows: CsvRows, distance_m: np.ndarray, notices: Notices) -> None:
    known = distance_m[np.isfinite(distance_m)]
    if len(known) and np.median(known) > 20:
        rule = (
            f"distances of the predictions look like centimetres (median {np.median(known):g}), layout m24 reads metres"
        )
        notices.tell(rule, path=rows.paths[0].parent)


def _understand(
    rows: CsvRows, settings: ScoringSettings, side: str, given_m: float | None
) -> tuple[dict[int, Form], Unit]:
    """Meaning of the rows of one side and unit of its distances, found out from the values where nobody says it.

    Raises
    ------
    InputError : files of different layouts, or values that fit several or none
    """
    stereo = settings.coordinates == "folded"
    if not len(rows.width):
        return ({6: STEREO} if stereo else AUTO_FORMS), Unit(0.01)
    width, said = int(rows.width[0]), rows.columns
    first = np.arange(len(rows.width)) == 0
    if stereo and width != 6:
        rows.refuse(first, f"has {width} columns, edition 2025 needs 6: {STEREO.title}")
    rule = f"has another number of columns than the first row of the {side} ({width}); one layout at a time"
    broken = [(rows.width != width, rule)]
    alike = ~broken[0][0]
    form = STEREO if stereo else AUTO_FORMS[width]
    if said is not None and not stereo:
        form = next(form for form in _FORMS if form.columns == said[0])
    elif width == 6 and not stereo:
        rows.refuse_first(broken)
        form = VECTOR if _are_vectors(rows, rows.values[:, :3], side) else POLAR_FAR
    if form.vector:
        rule = "x, y and z must be at most 2 in size; are these degrees?"
        broken.append((alike & (np.abs(rows.values[:, :3]) > 2).any(axis=1), rule))
    elif not form.stereo:
        broken.append((alike & (np.abs(rows.values[:, 1]) > 90), "elevation must be between -90 and 90 degrees"))
    if not form.vector:
        broken.append((alike & (np.abs(rows.values[:, 0]) > 360), "azimuth must be an angle in degrees"))
    rows.refuse_first(broken)
    unit = Unit(0.01 if given_m is None else given_m)
    if said is not None and said[1] is not None:
        unit = Unit(UNITS_M[said[1]])
        contradicts = given_m is not None and given_m != unit.metres
        rows.refuse(first & contradicts, f"the header gives distances in {unit}, --distance-unit says otherwise")
    elif given_m is None and form.distance is not None and settings.distance:
        middle = float(np.median(rows.values[:, form.distance]))
        if 15 < middle < 30:
            unclear = f"distances of the {side} may be metres or centimetres (median {middle:g})"
            option = "--distance-unit or --layout" if side == "predictions" else "--layout"
            rows.refuse(first, f"{unclear}; say which by {option}")
        unit = Unit(1.0 if middle <= 15 else 0.01, f": by their size, median {middle:g}")
    return {width: form}, unit


def _are_vectors(rows: CsvRows, values: np.ndarray, side: str) -> bool:
    """Whether six columns end in x, y, z (all small, not all whole numbers), not azimuth, elevation, distance."""
    first = np.arange(len(values)) == 0
    small = (np.abs(values) <= 2).all(axis=1)
    fractional = (values != np.rint(values)).any(axis=1)
    both = f"{side} may be {VECTOR.title} or {POLAR_FAR.title}; say which by --layout"
    if small.all():
        if not fractional.any():
            rows.refuse(first, both)
        return True
    if np.mean(small & fractional) > 0.5:
        rows.refuse(~small, f"is no vector, as most rows are: {both}")
    if not (np.abs(values[:, :2]) > 2).any():
        rows.refuse(first, both)
    return False


def _words(rows: CsvRows, forms: dict[int, Form], unit: Unit | None) -> str:
    """What was read, in words; unit None: distances are not used."""
    if not len(rows.width):
        return "no rows"
    words = []
    for width in np.unique(rows.width).tolist():
        form = forms[width]
        words.append(form.title.replace("distance", f"distance ({'unused' if unit is None else unit})"))
    return " and ".join(words)
