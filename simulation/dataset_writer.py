"""Write a synthetic data set in the layout of STARSS23 or its kin: clips in parallel, each whole or not, resumable."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from dataset.stereo import stereo_labels
from simulation.bank import Bank, open_banks, own_classes
from simulation.compose import SEXES, clip_cast, compose
from simulation.labels import label_table, rounded
from simulation.plan import LEAST_TEST_CLIPS, LEAST_TEST_EVENTS, SPLITS, ClipPlan, make_plan
from simulation.render import render
from simulation.scene import Person, Scene, Thing
from simulation.set_folder import (
    MARKER,
    PARTS,
    SETTINGS,
    claim,
    describe,
    make_all,
    sweep,
    write_provenance,
)
from simulation.settings import RATE_HZ, Settings
from simulation.sounds import CLASS_NAMES
from util.audio import write_audio
from util.camera import Perspective
from util.cpus import cpu_count
from util.dialects import write_events
from util.errors import InputError
from util.events import EventTable
from util.files import read_json, write_json, write_text
from util.microphone_arrays import array_named
from util.parallel import HERE, Where

log = logging.getLogger(__name__)

FOLDERS = {"train": "dev-train-sim", "test": "dev-test-sim"}
NAME = "synthetic audio-visual scenes"
# How to train on a set of this size in minutes: many small steps, a falling learning rate, every symmetry of the array.
# seld.py reads it from dataset.json; flags override it.
TRAINING = {
    "max_iter": 6000,
    "model_save_interval": 2000,
    "batch_size": 8,
    "learning_rate": 0.002,
    "schedule": "cosine",
    "augment": "acs",
}
_POLAR = "frame (100 ms), class, source, azimuth, elevation (degrees)"
_COLUMNS = {  # by dialect
    "starss22": _POLAR,
    "starss23": f"{_POLAR}, distance (cm)",
    "dcase2024": f"{_POLAR}, distance (cm)",
    "dcase2025": "frame (100 ms), class, source, azimuth (degrees, folded to the front), distance (cm), on screen",
}
VERSION = 1  # of the generator: raised when the same settings give other bytes


@dataclass(frozen=True)
class Summary:
    """What a call made.

    Attributes
    ----------
    made, skipped : clips
    events : split -> events per class index
    """

    made: int
    skipped: int
    events: dict[str, list[int]]


def write_dataset(
    out: str | os.PathLike[str], settings: Settings, *, where: Where = HERE, progress: bool = True
) -> Summary:
    """Make the data set, or what an interrupted call with the same settings left to do.

    Parameters
    ----------
    out : folder to write to: new, empty, or one that this function began
    where : clips are made; the bytes do not depend on it

    Raises
    ------
    InputError : bad settings or banks, `out` holds something else or a set with other settings, the disk is full
    """
    if settings.sound_bank is not None and settings.classes is None:
        settings = replace(settings, classes=own_classes(settings.sound_bank))
    settings.check()
    plans = make_plan(settings)
    splits = [split for split in SPLITS if settings.clips(split)]
    bank = open_banks(
        settings.sound_bank,
        settings.image_bank,
        seed=settings.seed,
        splits=splits,
        allow_few=settings.allow_few,
        classes=settings.classes,
    )
    root = Path(out)
    # a bank is its files, wherever they lie: "bank" compares them
    asked = {"version": VERSION, **settings.to_dict(), "bank": bank.digest()}
    claim(root, asked, not_compared=("sound_bank", "image_bank"))
    sweep(root)
    # before any clip: a set that is not finished yet must say that it is synthetic, too
    describe(root / "dataset.json", description(settings, bank))
    write_text(root / "README.md", readme(settings, plans, bank))
    todo = [plan for plan in plans if not all(path.is_file() for path in clip_files(root, settings, plan))]
    if todo and len(todo) < len(plans):
        log.info("%d of %d clips are there already", len(plans) - len(todo), len(plans))
    make = partial(make_clip, root.absolute(), settings, bank)
    make_all(make, todo, where=where, progress=progress, name=attrgetter("name"))
    rows = [row for plan in plans for row in read_json(_part(root, plan))]
    write_provenance(root / "provenance.csv", rows)
    events = {
        split: [sum(r["kind"] == "event" and r["split"] == split and r["class"] == i for r in rows)
                for i in range(len(settings.sound_classes))]
        for split in splits
    }  # fmt: skip
    return Summary(len(todo), len(plans) - len(todo), events)


def stored_settings(out: str | os.PathLike[str]) -> Settings | None:
    """Settings of the data set that a folder holds, finished or not; None where there is none.

    Raises
    ------
    InputError : its settings file is no json, or one of another version of the generator
    """
    path = Path(out) / SETTINGS
    if not (Path(out, MARKER).is_file() and path.is_file()):
        return None
    values = read_json(path)
    try:
        return Settings.from_dict({key: value for key, value in values.items() if key not in ("version", "bank")})
    except InputError as error:
        raise InputError(error.rule, path=path) from None


def is_complete(out: str | os.PathLike[str]) -> bool:
    """Whether a folder holds every clip that its settings ask for, whatever they are, and what describes the set."""
    root, settings = Path(out), stored_settings(out)
    if settings is None or not all((root / name).is_file() for name in ("dataset.json", "README.md", "provenance.csv")):
        return False
    return all(path.is_file() for plan in make_plan(settings) for path in clip_files(root, settings, plan))


def finish_dataset(out: str | os.PathLike[str]) -> None:
    """Nothing where a finished set lies; else go on with the set that was begun there, or make the default one.

    Raises
    ------
    InputError : as `write_dataset`
    """
    if not is_complete(out):
        write_dataset(out, stored_settings(out) or Settings(), where=Where(cpu_count()))


def clip_files(root: Path, settings: Settings, plan: ClipPlan) -> list[Path]:
    """The files of a clip in the order they are written; the label file is the last: where it is, the clip is whole."""
    folder = FOLDERS[plan.split]
    files = [root / f"{name}_dev" / folder / f"{plan.name}.wav" for name in settings.formats]
    if settings.video:
        files.append(root / "video_dev" / folder / f"{plan.name}.mp4")
    return [*files, _part(root, plan), root / "metadata_dev" / folder / f"{plan.name}.csv"]


def _part(root: Path, plan: ClipPlan) -> Path:
    return root / PARTS / f"{plan.name}.json"


def make_clip(root: Path, settings: Settings, bank: Bank, plan: ClipPlan) -> None:
    """Compose, render and write one clip."""
    scene = compose(settings, plan, bank)
    *_, part, labels = clip_files(root, settings, plan)
    waveforms = render(scene, [array_named(name) for name in settings.formats], seed=scene.seed)
    folder = FOLDERS[plan.split]
    for name, waveform in waveforms.items():
        write_audio(root / f"{name}_dev" / folder / f"{plan.name}.wav", waveform, RATE_HZ)
    del waveforms
    if settings.video:
        from simulation.picture import render_video  # here: sets without video need neither OpenCV nor a codec

        path = root / "video_dev" / folder / f"{plan.name}.mp4"
        render_video(scene, path, camera=settings.camera, fps=settings.frames_per_second)
    write_json(part, provenance_rows(scene))
    write_events(labels, labels_of(scene, settings), settings.facts.dialect)


def labels_of(scene: Scene, settings: Settings) -> EventTable:
    """Labels of a scene as the layout has them."""
    table = label_table(scene)
    if isinstance(settings.camera, Perspective) and "stereo" in settings.formats:
        return rounded(stereo_labels(table, settings.camera))
    return rounded(table)


def provenance_rows(scene: Scene) -> list[dict[str, Any]]:
    """What every event, person and object of a clip was made of: rows of provenance.csv."""
    common = {"clip": scene.name, "split": scene.split, "room": scene.room.name}
    common["background_seed"] = scene.background.get("seed", "")
    everybody: list[Person | Thing] = [*scene.people, *scene.things]
    images = {actor.source: _image(actor.appearance) for actor in everybody}
    rows = []
    for number, event in enumerate(scene.events):
        made_of = dict(event.made_of)
        rows.append(
            {
                **common, "event": number, "kind": "event", "class": event.class_index, "class_name": event.class_name,
                "source": event.source, "start_s": round(event.start_s, 4),
                "duration_s": round(len(event.sound) / scene.rate_hz, 4), "moving": int(event.trajectory.moving),
                "made_of": made_of.pop("generator", None) or made_of.pop("file"),
                "sha256": made_of.pop("sha256", ""), "parameters": made_of, "image": images[event.source],
            }
        )  # fmt: skip
    made_by: list[tuple[str, Sequence[Person | Thing]]] = [("person", scene.people), ("object", scene.things)]
    for kind, actors in made_by:
        for actor in actors:
            look = dict(actor.appearance)
            path = actor.feet if isinstance(actor, Person) else actor.centre
            photo = look.pop("photo", None)
            rows.append(
                {
                    **common, "kind": kind, "source": actor.source, "moving": int(path.moving),
                    "class": getattr(actor, "class_index", ""), "class_name": getattr(actor, "class_name", ""),
                    "made_of": Path(photo).name if photo else look.pop("kind", "drawn person"),
                    "sha256": look.pop("sha256", ""), "parameters": look, "image": images[actor.source],
                }
            )  # fmt: skip
    return rows


def _image(appearance: dict[str, Any]) -> str:
    """What somebody or something is drawn from: hash of the photograph, or seed of the drawing."""
    return str(appearance.get("sha256") or f"drawn {appearance.get('seed', '')}")


def description(settings: Settings, bank: Bank) -> dict[str, Any]:
    """Contents of dataset.json: what readers and trainers need to know."""
    training = dict(TRAINING)
    if settings.video and settings.view == "perspective":
        del training["augment"]  # what a camera sees of one side cannot be turned round
    return {
        "name": NAME,
        "synthetic": True,
        "classes": [row.name for row in settings.sound_classes],
        "detector": "builtin",
        **training,
        "layout": settings.layout,
        **({} if settings.facts.clip_s is None else {"clip_s": settings.seconds}),
        "smoke_test": bool(bank.shared),
        "generator_version": VERSION,
        "settings": settings.to_dict(),
    }


def readme(settings: Settings, plans: list[ClipPlan], bank: Bank) -> str:
    """README.md of the data set."""
    rooms = {split: sorted({p.room.name for p in plans if p.split == split}) for split in SPLITS}
    title = settings.facts.title.partition(",")[0]
    lines = [
        f"# {NAME[0].upper()}{NAME[1:]}",
        "",
        f"Made by `python -m simulation`, layout of {title}. **Synthetic: scores on it say nothing about recordings.**",
        "",
        f"- {settings.train} training clips ({', '.join(rooms['train']) or 'none'}), {settings.test} test clips "
        f"({', '.join(rooms['test']) or 'none'}), {settings.seconds:g} s each, 24 kHz: {', '.join(settings.formats)}"
        + (
            f", video {settings.width}x{settings.height} at {settings.fps}/s ({settings.view})"
            if settings.video
            else ""
        ),
        f"- seed {settings.seed}; everything else is in `{SETTINGS}`",
        f"- labels: `metadata_dev/*/*.csv`: {_COLUMNS[settings.facts.dialect]}",
        "- `provenance.csv`: what every event, person, object and room was made of",
        "",
        "Train and test share no room, no sound, no picture and no random number; parameters of procedural sounds and "
        "of drawn people come from disjoint ranges that alternate (see docs/simulation.md of the project).",
        "",
    ]
    names = [row.name for row in settings.sound_classes]
    if settings.sound_bank is not None:
        recorded = sorted({index for index, _ in bank.sounds})
        filled = [f"{i} {name}" for i, name in enumerate(names) if i not in recorded]
        lines.append("Recordings: classes " + ", ".join(f"{i} {names[i]}" for i in recorded) + ".")
        lines.append("Filled procedurally, having no recordings: " + (", ".join(filled) or "none") + ".")
        lines.append("")
    if settings.image_bank is not None:
        lines += [*_photo_lines(settings, plans, bank), ""]
    if bank.shared:
        lines += [
            f"**Smoke test only: both splits use the same files for {', '.join(bank.shared)} (`--allow-few`).**",
            "",
        ]
    thin = too_thin(plans, len(names))
    if thin:
        lines += [thin, ""]
    lines += ["| class | train events | test events |", "|---|---|---|"]
    for index, name in enumerate(names):
        counts = [sum(p.classes.count(index) for p in plans if p.split == split) for split in SPLITS]
        lines.append(f"| {index} {name} | {counts[0]} | {counts[1]} |")
    return "\n".join(lines) + "\n"


def _photo_lines(settings: Settings, plans: list[ClipPlan], bank: Bank) -> list[str]:
    """How many photographs each split has for its people, and how often they come again."""
    lines = [
        "People are photographs from the image bank; objects and rooms are drawn, and people without a photograph.",
        "",
        "| split | people | photographs | sources | persons in the clips | of them drawn |",
        "|---|---|---|---|---|---|",
    ]
    for split in (split for split in SPLITS if settings.clips(split)):
        clips = [clip_cast(settings, plan, bank) for plan in plans if plan.split == split]
        for sex in SEXES:
            files = [file for file in bank.photos[split] if file.sex in (None, sex)]
            sources = len({file.source for file in files})
            persons = [actor.source in photos for people, _, photos in clips for actor in people if actor.sex == sex]
            lines.append(
                f"| {split} | {sex} | {len(files)} | {sources} | {len(persons)} | {persons.count(False)} |",
            )
        again = sum(len(set(photos.values())) < len(photos) for *_, photos in clips)
        shown = [photo for *_, photos in clips for photo in photos.values()]
        repeats = f"one shows two people in {again} of {len(clips)} clips"
        lines.append(f"| {split} | all | {len(set(shown))} used, {len(shown)} times | | {repeats} | |")
    return lines


def too_thin(plans: list[ClipPlan], class_count: int = len(CLASS_NAMES)) -> str:
    """A sentence where the test split is too small for 6 events of each class in 3 clips, else an empty text."""
    test = [plan for plan in plans if plan.split == "test"]
    thin = [
        index
        for index in range(class_count)
        if sum(p.classes.count(index) for p in test) < LEAST_TEST_EVENTS
        or sum(index in p.classes for p in test) < LEAST_TEST_CLIPS
    ]
    if not test or not thin:
        return ""
    return (
        f"Small test split: {len(thin)} of {class_count} classes have fewer than {LEAST_TEST_EVENTS} events "
        f"or lie in fewer than {LEAST_TEST_CLIPS} clips; its class-wise scores mean little."
    )
