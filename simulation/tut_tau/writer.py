"""Write a set of recordings without pictures in the layout of a data set; resumable."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from simulation.bank import Bank, open_banks
from simulation.render import render
from simulation.scene import Scene
from simulation.set_folder import claim, describe, make_all, sweep, write_provenance
from simulation.settings import RATE_HZ
from simulation.tut_tau.compose import UNLABELLED, Placed, compose
from simulation.tut_tau.labels import write_labels, write_sheet_of
from simulation.tut_tau.layouts import DB, SetLayout
from simulation.tut_tau.plan import SetClipPlan, clip_files, make_plan
from simulation.tut_tau.settings import SetSettings
from util.audio import write_audio
from util.files import read_json, write_json, write_text
from util.label_sheet import SHEET
from util.microphone_arrays import array_named
from util.parallel import HERE, Where

log = logging.getLogger(__name__)

_OF_MOTION = {None: "", "rotation": ", where an event starts and heads", "azimuth": ", where an event starts"}
VERSION = 1  # of the generator: raised when the same settings give other bytes


@dataclass(frozen=True)
class SetSummary:
    """What a call made.

    Attributes
    ----------
    made, skipped : recordings
    events : split -> events per class index
    """

    made: int
    skipped: int
    events: dict[str, list[int]]


def write_set(
    out: str | os.PathLike[str], settings: SetSettings, *, where: Where = HERE, progress: bool = True
) -> SetSummary:
    """Make the set, or what an interrupted call with the same settings left to do.

    Parameters
    ----------
    out : folder to write to: new, empty, or one that this function began
    where : recordings are made; the bytes do not depend on it

    Raises
    ------
    InputError : bad settings, `out` holds something else or a set with other settings, the disk is full
    """
    settings.check()
    plans = make_plan(settings)
    bank = None
    if settings.sound_bank is not None:
        splits = list(dict.fromkeys(plan.split for plan in plans))
        bank = open_banks(
            settings.sound_bank, None, seed=settings.seed, splits=splits, classes=settings.row.class_names
        )
    root = Path(out)
    # a bank is its files, wherever they lie: "bank" compares them
    digest = {} if bank is None else {"bank": bank.digest()}
    claim(root, {"version": VERSION, **settings.to_dict(), **digest}, not_compared=("sound_bank",))
    sweep(root)
    # before any recording: a set that is not finished yet must say that it is synthetic, too
    describe(root / "dataset.json", description(settings))
    write_text(root / "README.md", readme(settings, plans))
    todo = [plan for plan in plans if not all(path.is_file() for path in clip_files(root, plan).values())]
    if todo and len(todo) < len(plans):
        log.info("%d of %d clips are there already", len(plans) - len(todo), len(plans))
    make = partial(make_clip, root.absolute(), settings, bank)
    make_all(make, todo, where=where, progress=progress, name=attrgetter("name"))
    rows = [row for plan in plans for row in read_json(clip_files(root, plan)["provenance"])]
    write_provenance(root / "provenance.csv", rows)
    if settings.row.facts.dialect == SHEET:
        write_text(root / "classes.txt", "".join(f"{name}\n" for name in settings.row.class_names))
        write_sheet_of(root, settings, plans)
    classes = range(len(settings.row.classes))
    events = {
        split: [sum(row["split"] == split and row["class"] == index for row in rows) for index in classes]
        for split in dict.fromkeys(plan.split for plan in plans)
    }
    return SetSummary(len(todo), len(plans) - len(todo), events)


def make_clip(root: Path, settings: SetSettings, bank: Bank | None, plan: SetClipPlan) -> None:
    """Compose, render and write one recording."""
    scene, placed = compose(settings, plan, bank)
    files = clip_files(root, plan)
    for name, waveform in recorded(scene, settings, list(plan.folders)).items():
        write_audio(files[name], waveform, settings.row.rate_hz)
    write_json(files["provenance"], provenance_rows(plan, placed))
    write_labels(files["labels"], settings, plan, scene, placed)


def recorded(scene: Scene, settings: SetSettings, formats: Sequence[str]) -> dict[str, np.ndarray]:
    """What arrays record of a scene: format -> waveform (channels, samples) float32 at the layout's rate.

    Sounds and rooms are those of the simulator at 24 kHz; nothing is above 12 kHz but the rounding to 16 bit.
    """
    free: dict[str, Any] = {"max_order": 0, "tail": False} if settings.row.anechoic else {}
    waveforms = render(scene, [array_named(name) for name in formats], **free)
    if settings.row.rate_hz == RATE_HZ:
        return waveforms
    samples = round(scene.duration_s * settings.row.rate_hz)
    resampled = {}
    for name, waveform in waveforms.items():
        high = soxr.resample(np.ascontiguousarray(waveform.T), RATE_HZ, settings.row.rate_hz, quality="HQ").T
        resampled[name] = np.pad(high[:, :samples], ((0, 0), (0, max(samples - high.shape[1], 0))))
    return resampled


def provenance_rows(plan: SetClipPlan, placed: list[Placed]) -> list[dict[str, Any]]:
    """What every event of a recording was made of: rows of provenance.csv."""
    rows = []
    for number, one in enumerate(placed):
        made_of = dict(one.event.made_of)
        unlabelled = one.event.class_index == UNLABELLED
        of_files = {"sha256": made_of.pop("sha256")} if "sha256" in made_of else {}
        rows.append(
            {
                "clip": plan.clip, "split": plan.split, "event": number,
                "kind": "interference" if unlabelled else "event",
                "class": "" if unlabelled else one.event.class_index, "class_name": one.event.class_name,
                "source": one.event.source,
                "start_s": round(one.event.start_s, 4), "duration_s": round(len(one.event.sound) / RATE_HZ, 4),
                "moving": int(bool(one.motion.deg_s)),
                "made_of": made_of.pop("generator", None) or made_of.pop("file"),
                **of_files, "parameters": made_of, "room": plan.room.name,
            }
        )  # fmt: skip
    return rows


def description(settings: SetSettings) -> dict[str, Any]:
    """Contents of dataset.json: what readers and trainers need to know."""
    return {
        "name": f"synthetic {settings.layout}",
        "synthetic": True,
        "classes": list(settings.row.class_names),
        "layout": settings.layout,
        "clip_s": settings.seconds,
        "generator_version": VERSION,
        "settings": settings.to_dict(),
    }


def readme(settings: SetSettings, plans: list[SetClipPlan]) -> str:
    """README.md of the set."""
    row = settings.row
    counts: dict[str, int] = {}
    for plan in plans:
        counts[plan.split] = counts.get(plan.split, 0) + 1
    rooms = {split: ", ".join(dict.fromkeys(p.room.name for p in plans if p.split == split)) for split in counts}
    low, high = row.elevation_deg
    rate = f"{row.rate_hz / 1000:g} kHz"
    lines = [
        f"# Synthetic set in the layout of {row.title}",
        "",
        f"Made by `python -m simulation --layout {settings.layout}`. **Synthetic: nothing of the data set itself is in "
        "here, and scores on it say nothing about recordings.**",
        "",
        f"- {len(plans)} recordings of {settings.seconds:g} s, {rate}, 16 bit: "
        + ", ".join(f"{name} ({array_named(name).channels} channels)" for name in settings.formats),
    ]
    if row.rate_hz != RATE_HZ:
        above = "**nothing lies above 12 kHz**"
        lines.append(f"- sounds and rooms are simulated at 24 kHz and resampled (soxr HQ): {above}")
    lines += [
        f"- at most {', '.join(str(n) for n in settings.overlaps)} events at a time (ov), never two of one class",
        f"- diffuse noise {DB} dB below the events' mean level; "
        + ("no walls" if row.anechoic else f"shoebox rooms of {settings.rt60_s[0]:g} to {settings.rt60_s[1]:g} s"),
    ]
    if row.interference:
        names = " and ".join(one.name for one in row.interference)
        lines.append(f"- interference without labels, one at a time, at rest or moving: {names}")
    if settings.sound_bank is not None:
        lines.append("- sounds of a sound bank, and made procedurally where it has none of a class")
    if row.facts.dialect == SHEET:
        times = "from the first to the last sample above -40 dB of the event's peak, at the arrival of its direct sound"
        lines.append("- labels: `labels.csv`, " + ("weak: which classes there are" if settings.weak else times))
    else:
        lines += [
            f"- directions: azimuth -180 to {180 - row.step_deg} degrees, elevation {low} to {high}, "
            f"in steps of {row.step_deg}{_OF_MOTION[row.motion]}",
            _labels_line(row),
        ]
    lines += [
        f"- seed {settings.seed}; everything else is in `settings.json`; `provenance.csv`: what each event was made of",
        "",
    ]
    if settings.test_offset_deg:
        lines += [
            f"**Unseen directions**: the recordings to {'evaluate' if row.folds else 'test'} lie on the grid shifted "
            f"by {settings.test_offset_deg} degrees in azimuth and elevation, as far as it stays within the range.",
            "",
        ]
    if row.rooms_everywhere:
        lines += [
            "The rooms ir0 to ir4 occur in all splits, as in the data set that the layout is of. Splits (0: "
            "evaluation) share no sound, no parameter of a sound and no random number.",
            "",
        ]
    elif row.folds:
        lines += [
            "Folds (0: evaluation) share no room, no sound, no parameter of a sound and no random number.",
            "",
        ]
    else:
        walls = "" if row.anechoic else " no room,"
        lines += [f"Train and test share{walls} no sound, no parameter of a sound and no random number.", ""]
    lines += ["| split | recordings | rooms |", "|---|---|---|"]
    lines += [f"| {split} | {count} | {rooms[split]} |" for split, count in counts.items()]
    return "\n".join(lines) + "\n"


def _labels_line(row: SetLayout) -> str:
    """What the label files are, for the README."""
    if not row.columns:
        return "- labels: frame (100 ms), class, track, azimuth, elevation (degrees)"
    return (
        f"- labels: {', '.join(row.columns)}; seconds, degrees, metres; from the first to the last sample above -40 dB "
        "of the event's peak, at the arrival of its direct sound"
    )
