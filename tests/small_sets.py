"""Small data roots in the layouts of TUT 2018 and TAU 2019, made in a moment: noise as sound, few events as labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dataset.layouts import LAYOUTS
from util.audio import write_audio
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
    train, test : recordings of each split and overlap; tau2019: of each fold, and to evaluate
    described : whether dataset.json names the layout
    """
    row = LAYOUTS[layout]
    made: list[tuple[str, str, list[str]]] = []  # name, folder of the labels, folders of the sound
    if row.overlaps:
        for split in splits or row.folds[:1]:
            for overlap in overlaps or (1,):
                kinds = ["train"] * train + ["test"] * test
                for number, kind in enumerate(kinds):
                    folder = f"ov{overlap}_split{split}"
                    made.append((f"{kind}_{number}_desc_30", f"desc_{folder}", [f"wav_{folder}_30db"]))
    else:
        for split in (*(splits or row.folds), *([0] if test else [])):
            stage = "dev" if split else "eval"
            for number in range(train if split else test):
                name = (
                    f"split{split}_ir{number % 5}_ov{1 + number % 2}_{number + 1}" if split else f"split0_{number + 1}"
                )
                made.append((name, f"metadata_{stage}", [f"{form}_{stage}" for form in formats or row.formats]))
    for number, (name, labels, folders) in enumerate(made):
        channels = ARRAYS[row.formats[0]].channels
        waveform = 0.1 * np.random.default_rng([seed, number]).standard_normal((channels, round(seconds * row.rate_hz)))
        for folder in folders:
            write_audio(root / folder / f"{name}.wav", waveform, row.rate_hz)
        table = make_intervals(seconds, len(row.classes), row.dialect, seed + number)
        write_intervals(root / labels / f"{name}.csv", table, row.dialect, row.classes)
    if described:
        write_json(root / "dataset.json", {"layout": layout, "clip_s": seconds, "synthetic": True})
    return root
