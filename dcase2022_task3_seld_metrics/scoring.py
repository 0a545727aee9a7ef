"""Score predictions against references: event tables, or folders of csv."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from dcase2022_task3_seld_metrics.batch import Batch
from dcase2022_task3_seld_metrics.checks import check_rows, matched_names, some
from dcase2022_task3_seld_metrics.distances import polar_to_cartesian
from dcase2022_task3_seld_metrics.editions import DEFAULT
from dcase2022_task3_seld_metrics.folders import read_folders
from dcase2022_task3_seld_metrics.notices import Notices
from dcase2022_task3_seld_metrics.result import Result
from dcase2022_task3_seld_metrics.settings import ScoringSettings, make_settings
from dcase2022_task3_seld_metrics.tracks import limit_tracks
from util.errors import InputError
from util.events import EventTable
from util.parallel import HERE, Where

Events = Mapping[str, EventTable] | str | os.PathLike[str]


def score(
    reference: Events,
    estimated: Events,
    *,
    edition: str = DEFAULT,
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
    where: Where = HERE,
    distance_unit: str | None = None,
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
    where : csv files are read: in this process, in several, or on a cluster; does not change the result
    distance_unit : "m" or "cm", of the predictions of csv folders with layout auto; None: what their header says, or
        their size: up to a median of 15 they are metres, from 30 on centimetres, and the result says so

    Returns
    -------
    `Result`; nothing to score warns and gives the defined values of the formulas

    Raises
    ------
    InputError : a prediction without reference, malformed files (file, line and rule), missing distances, choices that
        do not fit together

    Examples
    --------
    >>> from util.events import EventTable
    >>> ten = [0] * 10
    >>> truth = EventTable.make(frame=np.arange(10), class_index=ten, azimuth_deg=ten, elevation_deg=ten)
    >>> result = score({"a": truth}, {"a": truth.replace(azimuth_deg=truth.azimuth_deg + 5)}, class_count=1)
    >>> round(result.overall["F"], 6), round(result.overall["LE"], 6)
    (1.0, 5.0)
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
    if isinstance(reference, Mapping) and isinstance(estimated, Mapping):
        if layout is not None:
            raise InputError("a layout belongs to folders of csv, not to event tables")
        return _score_tables(reference, estimated, settings, notices, skip_unmatched)
    if isinstance(reference, Mapping) or isinstance(estimated, Mapping):
        raise InputError("reference and estimated must both be event tables or both be folders")
    read = read_folders(reference, estimated, settings, layout or "auto", notices, skip_unmatched, where, distance_unit)
    return _score_batches(read.names, read.reference, read.estimated, settings, notices, read.unscored, read.layout)


def _score_tables(
    reference: Mapping[str, EventTable],
    estimated: Mapping[str, EventTable],
    settings: ScoringSettings,
    notices: Notices,
    skip_unmatched: bool,
) -> Result:
    names = matched_names(reference, estimated, notices, skip_unmatched)
    unscored = sorted(set(reference) - set(names))
    batches, due_s = [], settings.edition.frame_s
    for kind, tables in (("reference", reference), ("prediction", estimated)):
        chosen = [tables[name] for name in names]
        for name, table in zip(names, chosen):
            if due_s is not None and abs(table.frame_s - due_s) > 1e-9:
                rule = f"{kind} has frames of {table.frame_s:g} s, edition {settings.edition.name} scores frames of "
                raise InputError(f"{rule}{due_s:g} s", path=name)
        batch = _batch(chosen, settings)
        line = np.concatenate([np.arange(len(table)) for table in chosen] or [np.zeros(0, dtype=np.int64)])
        called = [f"{kind} {name}" for name in names]
        check_rows(batch, settings, notices, called, line, "row", reference=kind == "reference")
        batches.append(batch)
    return _score_batches(names, batches[0], batches[1], settings, notices, unscored, {})


def _batch(tables: list[EventTable], settings: ScoringSettings) -> Batch:
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


def _score_batches(
    names: list[str],
    reference: Batch,
    estimated: Batch,
    settings: ScoringSettings,
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
            notices.tell(f"reference is empty, nothing is scored there: {some(empty)}")
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
