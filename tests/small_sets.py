"""Small data roots in every layout but STARSS23's, made in a moment: noise as sound, few events as labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dataset.layout_kinds import FoldLayout, OverlapLayout
from dataset.layouts import LAYOUTS
from tests.small_data import make_events
from util.audio import write_audio
from util.dialects import write_events
from util.events import EventTable
from util.files import write_json
from util.interval_csv import INTERVAL_DIALECTS, write_intervals
from util.intervals import IntervalTable
from util.microphone_arrays import ARRAYS


def make_intervals(seconds: float, classes: int, dialect: str, seed: int) -> IntervalTable:
    """A few events on the grid of 10 degrees, moving where the dialect knows of motion."""
    rng = np.random.default_rng(seed)
    count = max(2, round(seconds))
    start_s = np.round(rng.uniform(0, 0.8 * seconds, count), 3)
    columns = {
        "azimuth_deg": 10 * rng.integers(-18, 18, count),
        "elevation_deg": 10 * rng.integers(-4, 5, count),
        "distance_m": rng.integers(1, 3, count),
    }
    known = INTERVAL_DIALECTS[dialect].columns
    if "ang_vel" in known:
        columns["angular_velocity_deg_s"] = rng.integers(10, 60, count)
    if "azi_dir" in known:
        columns["azimuth_direction_deg"] = columns["azimuth_deg"] * -1
        columns["elevation_direction_deg"] = 10 * rng.integers(-4, 5, count)
    return IntervalTable.make(
        start_s=start_s,
        end_s=np.round(start_s + rng.uniform(0.1, 0.2, count) * seconds, 3),
        class_index=rng.integers(0, classes, count),
        **columns,
    )


def make_set(
    root: Path,
    layout: str,
    *,
    formats: Sequence[str] | None = None,
    splits: Sequence[int] | None = None,
    overlaps: Sequence[int] | None = None,
    train: int = 2,
    test: int = 1,
    seconds: float = 1.0,
    described: bool = True,
    seed: int = 0,
) -> Path:
    """Make a data root and return it.

    Parameters
    ----------
    train, test : recordings of each split and overlap; layouts of folds: of each fold, and to evaluate
    described : whether dataset.json names the layout
    """
    row = LAYOUTS[layout]
    made: list[tuple[str, str, list[str]]] = []  # name, folder of the labels, folders of the sound
    if isinstance(row, OverlapLayout):
        for split in splits or row.folds[:1]:
            for overlap in overlaps or (1,):
                kinds = ["train"] * train + ["test"] * test
                for number, kind in enumerate(kinds):
                    folder = f"ov{overlap}_split{split}"
                    made.append((f"{kind}_{number}_desc_30", f"desc_{folder}", [f"wav_{folder}_30db"]))
    elif isinstance(row, FoldLayout):
        for split in (*(splits or sorted(row.parts)), *([0] if test else [])):
            stage, inner = ("dev" if split else "eval"), row.inner_of(split) and f"/{row.inner_of(split)}"
            for number in range(train if split else test):
                folders = [f"{form}_{stage}{inner}" for form in formats or row.formats]
                made.append((_fold_name(layout, split, number), f"metadata_{stage}{inner}", folders))
    else:
        for fold, part, count in ((3, "train", train), (4, "test", test)):
            for number in range(count):
                name = f"fold{fold}_room{number + 1}_mix001" + ("_deg020_start0000" if layout == "stereo2025" else "")
                inner = f"dev-{part}-sony"
                folders = [f"{form}_dev/{inner}" for form in formats or row.formats]
                made.append((name, f"metadata_dev/{inner}", folders))
    for number, (name, labels, folders) in enumerate(made):
        for folder in folders:
            form = next((form for form, kind in row.audio.items() if folder.startswith(f"{kind}_")), row.formats[0])
            noise = np.random.default_rng([seed, number]).standard_normal(
                (ARRAYS[form].channels, round(seconds * row.rate_hz))
            )
            write_audio(root / folder / f"{name}.wav", 0.1 * noise, row.rate_hz)
        if row.dialect in INTERVAL_DIALECTS:
            table = make_intervals(seconds, len(row.classes), row.dialect, seed + number)
            write_intervals(root / labels / f"{name}.csv", table, row.dialect, row.classes)
        else:
            events = make_frames(seconds, len(row.classes), row.dialect, seed + number)
            write_events(root / labels / f"{name}.csv", events, row.dialect)
    if described:
        write_json(root / "dataset.json", {"layout": layout, "clip_s": seconds, "synthetic": True})
    return root


def _fold_name(layout: str, split: int, number: int) -> str:
    """Name of a recording of a fold (0: to evaluate)."""
    if layout == "tau2019":
        return f"split{split}_ir{number % 5}_ov{1 + number % 2}_{number + 1}" if split else f"split0_{number + 1}"
    overlap = f"_ov{1 + number % 2}" if layout == "nigens2020" else ""
    mix = f"mix{number + 1:03d}"
    return f"fold{split}_room{1 + number % 2}_{mix}{overlap}" if split else mix


def make_frames(seconds: float, classes: int, dialect: str, seed: int) -> EventTable:
    """A few sources, in frames sorted; of stereo azimuths of the front half, no elevation, on the screen or not."""
    table = make_events(seconds, classes, seed)
    if dialect == "starss22":
        return table.replace(distance_m=np.full(len(table), np.nan), elevation_deg=np.rint(table.elevation_deg / 2))
    if dialect == "dcase2025":
        unknown = np.full(len(table), np.nan)
        onscreen = (np.abs(table.azimuth_deg) < 50).astype(np.float64)
        return table.replace(azimuth_deg=np.rint(table.azimuth_deg / 2), elevation_deg=unknown, onscreen=onscreen)
    return table
