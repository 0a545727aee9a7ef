"""Score predictions against references: event tables, or folders of csv."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from dcase2022_task3_seld_metrics.batch import LARGEST_FRAME, Batch
from dcase2022_task3_seld_metrics.distances import polar_to_cartesian
from dcase2022_task3_seld_metrics.grid import AZIMUTHS, ELEVATIONS, grid_cell
from dcase2022_task3_seld_metrics.notices import Notices
from dcase2022_task3_seld_metrics.result import Result
from dcase2022_task3_seld_metrics.settings import Settings, make_settings
from dcase2022_task3_seld_metrics.tracks import limit_tracks
from util.errors import InputError
from util.events import ANY_CLASS, EventTable

Events = Mapping[str, EventTable] | str | os.PathLike[str]


def score(
    reference: Events,
    estimated: Events,
    *,
    edition: str = "2023",
    average: str | None = None,
    class_count: int | None = None,
    classes: Sequence[str] | None = None,
    coordinates: str | None = None,
    angle_threshold_deg: float = 20.0,
    distance: bool | None = None,
    distance_threshold: float = np.inf,
    relative_distance_threshold: float | None = None,
    onscreen_required: bool = False,
    modality: str = "audio_visual",
    variant: str | None = None,
    layout: str | None = None,
    strict: bool = False,
    skip_unmatched: bool = False,
) -> Result:
    """Score as the official program of an edition does.

    Parameters
    ----------
    reference, estimated : recording -> event table, or a folder of csv files (references in it or one level down)
    edition : "2019", "2020", "2021", "2022", "2023", "2024", "2024-segment", "2025"
    average : "macro" (default from 2022 on) or "micro"
    class_count, classes : number or names of the classes; default: those of the edition
    coordinates : "polar" (default) or "cartesian", 2020 to 2023
    angle_threshold_deg : largest angular error of a correct event
    distance : False: 2024 without distances
    distance_threshold : largest distance error of a correct event, in metres (2025: centimetres)
    relative_distance_threshold : the same as ratio to the true distance; default 1
    onscreen_required : a correct event has the right onscreen flag (2025)
    modality : "audio" switches `onscreen_required` off with a warning, as the official program does
    variant : "two-stage": 2019 as the Two-Stage programs count it
    layout : of csv folders: "auto" (default), or the official reader "m19" ... "m25" (see `layouts`)
    strict : what is passed over with a warning becomes an error
    skip_unmatched : predictions without a reference are left out instead of refused

    Returns
    -------
    `Result`; nothing to score warns and gives the defined values of the formulas

    Raises
    ------
    InputError : a prediction without reference, malformed files (file, line and rule), missing distances, choices that
        do not fit together
    """
    notices = Notices(strict)
    if onscreen_required and modality == "audio":
        notices.tell("onscreen_required is switched off: modality is 'audio'")
    settings = make_settings(
        edition,
        average=average,
        class_count=class_count,
        classes=classes,
        coordinates=coordinates,
        angle_threshold_deg=angle_threshold_deg,
        distance=distance,
        distance_threshold=distance_threshold,
        relative_distance_threshold=relative_distance_threshold,
        onscreen_required=onscreen_required,
        modality=modality,
        variant=variant,
    )
    if isinstance(reference, Mapping) != isinstance(estimated, Mapping):
        raise InputError("reference and estimated must both be event tables or both be folders")
    if isinstance(reference, Mapping):
        if layout is not None:
            raise InputError("a layout belongs to folders of csv, not to event tables")
        return _score_tables(reference, estimated, settings, notices, skip_unmatched)
    from dcase2022_task3_seld_metrics.folders import read_folders

    read = read_folders(reference, estimated, settings, layout or "auto", notices, skip_unmatched)
    return _score_batches(read.names, read.reference, read.estimated, settings, notices, read.unscored, read.layout)


def _score_tables(
    reference: Mapping[str, EventTable],
    estimated: Mapping[str, EventTable],
    settings: Settings,
    notices: Notices,
    skip_unmatched: bool,
) -> Result:
    names = matched_names(reference, estimated, notices, skip_unmatched)
    unscored = sorted(set(reference) - set(names))
    batches = []
    for kind, tables in (("reference", reference), ("prediction", estimated)):
        chosen = [tables[name] for name in names]
        for name, table in zip(names, chosen):
            if abs(table.frame_s - settings.edition.frame_s) > 1e-9:
                rule = f"{kind} has frames of {table.frame_s:g} s, edition {settings.edition.name} scores frames of "
                raise InputError(f"{rule}{settings.edition.frame_s:g} s", path=name)
        batch = _batch(chosen, settings)
        line = np.concatenate([np.arange(len(table)) for table in chosen] or [np.zeros(0, dtype=np.int64)])
        called = [f"{kind} {name}" for name in names]
        check_rows(batch, settings, notices, called, line, "row", reference=kind == "reference")
        batches.append(batch)
    return _score_batches(names, *batches, settings, notices, unscored, {})


def _batch(tables: list[EventTable], settings: Settings) -> Batch:
    """Event tables in the form the counting rules want."""

    def column(name: str) -> np.ndarray:
        return np.concatenate([getattr(table, name) for table in tables]) if tables else np.zeros(0)

    polar = np.stack([column("azimuth_deg"), column("elevation_deg")], axis=-1)
    if settings.coordinates == "folded":
        polar = np.where([True, False], polar, 0.0)  # stereo tables know no elevation
    distance = column("distance_m")
    unit = settings.edition.distance_unit_m
    return Batch(
        file=np.repeat(np.arange(len(tables)), [len(table) for table in tables]),
        frame=column("frame").astype(np.int64, copy=False),
        class_index=column("class_index").astype(np.int64, copy=False),
        source=column("source").astype(np.int64, copy=False),
        coordinates=polar_to_cartesian(polar) if settings.coordinates == "cartesian" else polar,
        distance=distance if unit == 1.0 else distance / unit,
        onscreen=column("onscreen"),
        last_frame=np.array([table.frame.max(initial=-1) for table in tables], dtype=np.int64),
    )


def matched_names(
    reference: Mapping[str, object], estimated: Mapping[str, object], notices: Notices, skip_unmatched: bool
) -> list[str]:
    """Names of the recordings to score, sorted: those with a prediction.

    Raises
    ------
    InputError : a prediction without reference, unless `skip_unmatched`
    """
    lonely = sorted(set(estimated) - set(reference))
    if lonely and not skip_unmatched:
        more = f" (and {len(lonely) - 1} more)" if len(lonely) > 1 else ""
        raise InputError(f"prediction without reference{more}", path=lonely[0])
    if lonely:
        notices.tell(f"predictions without reference are left out: {_some(lonely)}")
    unscored = sorted(set(reference) - set(estimated))
    if unscored:
        notices.tell(f"references without prediction are not scored, not even as missed (Q5): {_some(unscored)}")
    return sorted(set(estimated) & set(reference))


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def check_rows(
    batch: Batch,
    settings: Settings,
    notices: Notices,
    names: list[str],
    line: np.ndarray,
    unit: str,
    *,
    reference: bool,
) -> None:
    """Refuse or remark rows that the official rules cannot score, or pass over in silence.

    Parameters
    ----------
    names : what to call each recording in messages
    line : (n,) line or row number of each row; `unit` says which
    """

    def refuse(rows: np.ndarray, rule: str) -> None:
        if rows.any():
            at = int(np.argmax(rows))
            raise InputError(rule, path=names[batch.file[at]], place=f"{unit} {line[at]}")

    edition, classes = settings.edition, len(settings.classes)
    refuse(~np.isfinite(batch.coordinates).all(axis=1), "direction must be finite numbers")
    refuse(np.abs(batch.frame) > LARGEST_FRAME, f"frame must be below {LARGEST_FRAME}")
    if settings.distance:
        refuse(
            ~np.isfinite(batch.distance),
            f"has no distance, and edition {edition.name} compares distances"
            + ("" if edition.onscreen else " (2024 can be scored without: distance=False)"),
        )
    if settings.limits.onscreen:
        refuse(np.isnan(batch.onscreen), "has no onscreen flag, and it is required to agree")
    negative = batch.frame < 0
    outside = (batch.class_index < 0) | (batch.class_index >= classes)
    if edition.unit == "block":
        refuse(outside, f"class must be between 0 and {classes - 1}")
        refuse(batch.frame < -edition.fixed_frames, f"frame must be {-edition.fixed_frames} or more")
        if reference:
            cell = grid_cell(batch.coordinates[:, 0], batch.coordinates[:, 1], clip=False)
            off_grid = (cell < 0) | (cell >= AZIMUTHS * ELEVATIONS)
            refuse(off_grid, "direction is off the grid: azimuth must be -180 to 170, elevation -40 to 40 degrees")
        rule = "negative frame counts from the end of the recording (Q21)"
        notices.tell_rows(negative, rule, names, batch.file, line, unit)
        return
    notices.tell_rows(negative, "negative frame is not scored", names, batch.file, line, unit)
    any_class = batch.class_index == ANY_CLASS
    notices.tell_rows(any_class, "class -1 (any class) is not scored", names, batch.file, line, unit)
    rule = f"class outside 0 to {classes - 1} is not scored, but counts for the length of the recording"
    notices.tell_rows(outside & ~any_class, rule, names, batch.file, line, unit)


def _score_batches(
    names: list[str],
    reference: Batch,
    estimated: Batch,
    settings: Settings,
    notices: Notices,
    unscored: Sequence[str],
    layout: dict[str, str],
) -> Result:
    if not names:
        notices.tell("nothing to score: there is no recording with reference and prediction")
    elif not len(reference):
        notices.tell("references are empty: no recording has a labelled event")
    elif settings.edition.fixed_frames is None:
        empty = [name for name, last in zip(names, reference.last_frame) if last < 0]
        if empty:
            notices.tell(f"reference is empty, nothing is scored there: {_some(empty)}")
    if names and not len(estimated):
        notices.tell("predictions are empty: no recording has a predicted event")
    if settings.edition.onscreen:
        reference, estimated = (_at_most_ten(batch, names, notices) for batch in (reference, estimated))
    return Result(settings, tuple(names), settings.count(reference, estimated), tuple(unscored), layout)


def _at_most_ten(batch: Batch, names: list[str], notices: Notices) -> Batch:
    limited, overwriting = limit_tracks(batch)
    if len(overwriting):
        rule = f"an 11th row of a class in a frame replaces another (Q15): {len(overwriting)} such rows"
        notices.tell(rule, path=names[batch.file[overwriting[0]]])
    return limited
