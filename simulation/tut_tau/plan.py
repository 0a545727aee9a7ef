"""Which recordings a set has, in which rooms, under which names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset.layout_kinds import FoldLayout, OverlapLayout, SheetLayout
from simulation.room import absorption_for_rt60
from simulation.scene import Room
from simulation.set_folder import PARTS
from simulation.streams import stream
from simulation.tut_tau.layouts import DB
from simulation.tut_tau.settings import SetSettings

# Sizes (length, width, height) and heights of the listener in which every direction of the grids fits in, at 1 m
ROOM_M = ((6.0, 11.0), (5.0, 9.0), (3.6, 5.0))
LISTENER_HEIGHT_M = (1.5, 1.9)
OFF_CENTRE = 0.08  # share of length and width
ROOMS_2019 = 5
SHEET_PARTS = f"{PARTS}/labels"  # where one csv has the labels of all recordings: what it is made of
FREE_FIELD = Room("anechoic", (60.0, 60.0, 60.0), (30.0, 30.0, 30.0), 2.0)  # its walls are never rendered


@dataclass(frozen=True)
class SetClipPlan:
    """What is decided about a recording beforehand.

    Attributes
    ----------
    name : stem of its files
    folders : format -> folder of the wav file, relative to the root
    labels : folder of the csv file
    split : name of what it belongs to and shares with no other: "split1 train", "split2"
    part, parts : which of how many parts of the sounds' parameter ranges it draws from
    overlap : most events at one time
    offset_deg : of the direction grid
    """

    name: str
    folders: dict[str, str]
    labels: str
    split: str
    part: int
    parts: int
    room: Room
    overlap: int
    offset_deg: int = 0

    @property
    def clip(self) -> str:
        """Unique name over the set."""
        return f"{self.labels}/{self.name}"


def make_plan(settings: SetSettings) -> list[SetClipPlan]:
    """All recordings of the set.

    Raises
    ------
    InputError : no walls give the asked reverberation time in a room of such a size
    """
    kinds = {OverlapLayout: _plan_2018, FoldLayout: _plan_folds, SheetLayout: _plan_sheet}
    return list(kinds[type(settings.row.facts)](settings))


def _plan_2018(settings: SetSettings) -> Iterator[SetClipPlan]:
    """Folders wav_ov*_split*_30db and desc_ov*_split*, names train_*_desc_30 and test_*_desc_30."""
    for split in settings.splits:
        for part, (kind, count, most) in enumerate(
            (("train", settings.train, settings.train_rooms), ("test", settings.test, settings.test_rooms))
        ):
            rooms = [FREE_FIELD] if settings.row.anechoic else _rooms(settings, f"split{split}_{kind}", most)
            for overlap in settings.overlaps:
                folders = {settings.formats[0]: f"wav_ov{overlap}_split{split}_{DB}db"}
                for number in range(count):
                    yield SetClipPlan(
                        name=f"{kind}_{number}_desc_{DB}",
                        folders=folders,
                        labels=f"desc_ov{overlap}_split{split}",
                        split=f"split{split} {kind}",
                        part=part,
                        parts=2,
                        room=rooms[number % len(rooms)],
                        overlap=overlap,
                        offset_deg=settings.test_offset_deg * part,
                    )


def _plan_folds(settings: SetSettings) -> Iterator[SetClipPlan]:
    """Folders foa_dev, mic_dev, metadata_dev and *_eval; rooms and overlaps in turns, numbers in the order of both."""
    row = settings.row
    assert isinstance(row.facts, FoldLayout)
    shared = _rooms(settings, "ir", ROOMS_2019) if row.rooms_everywhere else []
    for split, count, stage in [*((s, settings.train, "dev") for s in settings.splits), (0, settings.test, "eval")]:
        most = settings.train_rooms if split else settings.test_rooms
        first = 1 + split * max(settings.train_rooms, settings.test_rooms)
        rooms = shared or _rooms(settings, f"fold{split}", max(1, min(most, count)), first=first)
        overlaps = settings.overlaps
        cells = sorted(
            (number % len(rooms), overlaps[(number // len(rooms) + number % len(rooms)) % len(overlaps)])
            for number in range(count)
        )
        inner = row.facts.inner_of(split) and f"/{row.facts.inner_of(split)}"
        for number, (room, overlap) in enumerate(cells, start=1):
            yield SetClipPlan(
                name=_NAMES[settings.layout](split, rooms[room].name, overlap, number),
                folders={form: f"{form}_{stage}{inner}" for form in settings.formats},
                labels=f"metadata_{stage}{inner}",
                split=f"{row.facts.fold_word}{split}",
                part=split,
                parts=1 + len(row.splits),
                room=rooms[room],
                overlap=overlap,
                offset_deg=0 if split else settings.test_offset_deg,
            )


def _name_2019(split: int, room: str, overlap: int, number: int) -> str:
    return f"split{split}_{room}_ov{overlap}_{number}" if split else f"split0_{number}"


def _name_2020(split: int, room: str, overlap: int, number: int) -> str:
    return f"fold{split}_{room}_mix{number:03d}_ov{overlap}" if split else f"mix{number:03d}"


def _name_2021(split: int, room: str, overlap: int, number: int) -> str:
    return f"fold{split}_{room}_mix{number:03d}" if split else f"mix{number:03d}"


_NAMES = {"tau2019": _name_2019, "nigens2020": _name_2020, "nigens2021": _name_2021}


def _plan_sheet(settings: SetSettings) -> Iterator[SetClipPlan]:
    """One folder of recordings; the csv with all labels is written at the end."""
    (form,) = settings.formats
    folder = settings.row.facts.audio[form]
    for part, (kind, count, most) in enumerate(
        (("train", settings.train, settings.train_rooms), ("test", settings.test, settings.test_rooms))
    ):
        rooms = _rooms(settings, kind, max(1, min(most, count)))
        for number in range(count):
            yield SetClipPlan(
                name=f"{kind}_{number + 1:04d}",
                folders={form: folder},
                labels=SHEET_PARTS,
                split=kind,
                part=part,
                parts=2,
                room=rooms[number % len(rooms)],
                overlap=settings.overlaps[number % len(settings.overlaps)],
            )


def _rooms(settings: SetSettings, name: str, count: int, first: int | None = None) -> list[Room]:
    """Rooms that nothing but the name decides; `first`: they are numbered over the whole set, from this number on."""
    rng = stream(settings.seed, settings.layout, name, "rooms")
    order = rng.permutation(count)
    rooms = []
    for index in range(count):
        length, width, height = (round(float(rng.uniform(*limits)), 2) for limits in ROOM_M)
        size = (length, width, height)
        x, y = (round(float(side * (0.5 + rng.uniform(-1, 1) * OFF_CENTRE)), 2) for side in (length, width))
        listener = (x, y, round(float(rng.uniform(*LISTENER_HEIGHT_M)), 2))
        low, high = settings.rt60_s
        # one room out of every part of the range, so that dry and reverberant ones are there
        rt60_s = round(float(low + (high - low) * (order[index] + rng.uniform()) / count), 3)
        room_name = f"ir{index}" if name == "ir" else f"{name}_room{index + 1}"
        if first is not None:
            room_name = f"room{first + index}"
        rooms.append(Room(room_name, size, listener, rt60_s, absorption_for_rt60(size, rt60_s)))
    return rooms


def clip_files(root: Path, plan: SetClipPlan) -> dict[str, Path]:
    """Format -> wav file; "provenance" and "labels" -> the others. That with the labels is written last."""
    files = {form: root / folder / f"{plan.name}.wav" for form, folder in plan.folders.items()}
    if plan.labels == SHEET_PARTS:
        part, suffix = root / PARTS / f"{plan.name}.json", ".json"
    else:
        part, suffix = root / PARTS / plan.labels / f"{plan.name}.json", ".csv"
    return {**files, "provenance": part, "labels": root / plan.labels / f"{plan.name}{suffix}"}


def reach_m(room: Room, directions: np.ndarray, margin_m: float = 0.3) -> float:
    """How far from the listener a source can be in each of the directions (n, 3) without coming near a wall."""
    listener, size = np.asarray(room.listener_m), np.asarray(room.size_m)
    ahead = np.where(directions >= 0, size - listener, listener) - margin_m
    return float((ahead / np.maximum(np.abs(directions), 1e-9)).min())
