"""The label files: one row per event, from first to last audible sample, in the columns of each data set."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from simulation.streams import stream
from simulation.tut_tau.classes import URBAN, URBAN_IDS
from simulation.tut_tau.compose import Placed
from simulation.tut_tau.layouts import SetLayout
from simulation.tut_tau.plan import SetClipPlan
from simulation.tut_tau.settings import SetSettings
from util.files import write_text


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


def rows(settings: SetSettings, plan: SetClipPlan, placed: list[Placed]) -> list[dict[str, object]]:
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


def write_labels(path: Path, settings: SetSettings, plan: SetClipPlan, placed: list[Placed]) -> None:
    """Write the label file whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, settings.row.columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows(settings, plan, placed))
    write_text(path, text.getvalue())
