"""A small data root in the STARSS23 layout, made in a moment: noise as sound, a few rows as labels, empty videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from util.audio import write_audio
from util.dialects import write_events
from util.events import EventTable
from util.files import write_json
from util.microphone_arrays import ARRAYS

FOLDERS = {"foa": "foa_dev", "mic": "mic_dev", "binaural": "binaural_dev"}


def make_events(duration_s: float, classes: int, seed: int) -> EventTable:
    """A few sources, in frames sorted, whole degrees, with distance."""
    rng = np.random.default_rng(seed)
    frames = max(1, int(duration_s * 10))
    count = 2 * frames
    table = EventTable.make(
        frame=rng.integers(0, frames, count),
        class_index=rng.integers(0, classes, count),
        source=rng.integers(0, 3, count),
        azimuth_deg=rng.integers(-180, 181, count),
        elevation_deg=rng.integers(-90, 91, count),
        distance_m=rng.integers(50, 400, count) / 100,
    )
    return table.sorted()


def make_root(
    root: Path,
    *,
    formats: tuple[str, ...] = ("foa",),
    train: int = 3,
    test: int = 2,
    seconds: float = 4.0,
    classes: int = 13,
    rate_hz: int = 24000,
    videos: bool = True,
    seed: int = 0,
) -> Path:
    """Make a data root and return it; clip i is `seconds` + 0.1 i long. Videos are empty files."""
    for index in range(train + test):
        split, fold = ("dev-train-x", 3) if index < train else ("dev-test-x", 4)
        name = f"fold{fold}_room{index + 1}_mix001"
        duration_s = seconds + 0.1 * index
        rng = np.random.default_rng([seed, index])
        for format in formats:
            waveform = 0.1 * rng.standard_normal((ARRAYS[format].channels, round(duration_s * rate_hz)))
            write_audio(root / FOLDERS[format] / split / f"{name}.wav", waveform, rate_hz)
        label = root / "metadata_dev" / split / f"{name}.csv"
        write_events(label, make_events(duration_s, classes, seed + index))
        if videos:
            video = root / "video_360x180_dev" / split / f"{name}.mp4"
            video.parent.mkdir(parents=True, exist_ok=True)
            video.touch()
    write_json(root / "dataset.json", {"name": "small test data", "synthetic": True})
    return root
