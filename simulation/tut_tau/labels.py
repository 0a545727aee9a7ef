"""The label files: one row per event, from first to last audible sample, in the columns of each data set, or frames.

A mono set has one csv for all recordings, which is made when they are all there.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from simulation.labels import label_table, rounded
from simulation.scene import Scene
from simulation.streams import stream
from simulation.tut_tau.classes import URBAN, URBAN_IDS
from simulation.tut_tau.compose import UNLABELLED, Placed
from simulation.tut_tau.layouts import SetLayout
from simulation.tut_tau.plan import SetClipPlan, clip_files
from simulation.tut_tau.settings import SetSettings
from util.dialects import write_events
from util.files import read_json, write_json, write_text
from util.intervals import IntervalTable
from util.label_sheet import SHEET, write_sheet


def recording_name(layout: SetLayout, one: Placed, number: int, clip: int) -> str:
    """First column: the class, and where the data set has it the number of an example.

    "knock007.wav" in the office sets of 2018, "100012-3-7-0.wav" (recording, UrbanSound8K class, occurrence, slice) in
    the street sets, "knock" in 2019.

    Parameters
    ----------
    number : of the event in its recording, from 0
    clip : six digits that stand for a recording of UrbanSound8K
    """
    if layout.folds:
        return one.event.class_name
    if layout.classes is URBAN:
        return f"{clip}-{URBAN_IDS[one.event.class_index]}-{number}-0.wav"
    return f"{one.event.class_name}{number % 1000:03d}.wav"


def rows(settings: SetSettings, plan: SetClipPlan, placed: Sequence[Placed]) -> list[dict[str, object]]:
    """Rows of the label file by column."""
    layout = settings.row
    clip = 100000 + int(stream(settings.seed, settings.layout, plan.clip, "name").integers(900000))
    made = []
    for number, one in enumerate(placed):
        toward = one.motion.toward_deg or (0, 0)
        values = {
            "sound_event_recording": recording_name(layout, one, number, clip),
            "start_time": f"{one.start_s:.6f}",
            "end_time": f"{one.end_s:.6f}",
            "ele": one.elevation_deg,
            "azi": one.azimuth_deg,
            "ele_dir": toward[1],
            "azi_dir": toward[0],
            "ang_vel": one.motion.deg_s,
            "dist": f"{one.distance_m:g}",
        }
        made.append({column: values[column] for column in layout.columns})
    return made


def labelled(placed: Sequence[Placed]) -> list[Placed]:
    """The events that labels are of."""
    return [one for one in placed if one.event.class_index != UNLABELLED]


def write_labels(path: Path, settings: SetSettings, plan: SetClipPlan, scene: Scene, placed: Sequence[Placed]) -> None:
    """Write the label file whole or not at all; of mono sets, the part of it that the one csv is made of."""
    own, row = labelled(placed), settings.row
    if row.facts.dialect == SHEET:
        events = [[one.event.class_index, round(one.start_s, 4), round(one.end_s, 4)] for one in own]
        write_json(path, events)
        return
    if not row.columns:
        table = label_table(replace(scene, events=tuple(one.event for one in own)))
        write_events(path, rounded(table), row.facts.dialect)
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, row.columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(settings, plan, own))
    write_text(path, text.getvalue())


def write_sheet_of(root: Path, settings: SetSettings, plans: Sequence[SetClipPlan]) -> None:
    """Write the one csv of a mono set, of recordings that are all there."""
    events: dict[str, IntervalTable] = {}
    splits = {}
    for plan in plans:
        found = read_json(clip_files(root, plan)["labels"])
        columns = zip(*found) if found else ((), (), ())
        table = IntervalTable.make(**dict(zip(("class_index", "start_s", "end_s"), map(list, columns))))
        events[f"{plan.name}.wav"], splits[f"{plan.name}.wav"] = table, plan.split
    write_sheet(root / "labels.csv", events, settings.row.class_names, splits, weak=settings.weak)
