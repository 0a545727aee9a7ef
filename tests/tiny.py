"""Tiny data sets in the STARSS23 layout, for tests of the command lines: seconds of sound, a second of training."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from util.angles import direction_from_degrees
from util.audio import write_audio
from util.dialects import write_events
from util.events import EventTable
from util.video import VideoWriter

RATE_HZ = 24000
FOLDERS = {"foa": "foa_dev", "mic": "mic_dev", "binaural": "binaural_dev"}


def tiny_root(
    root: Path,
    *,
    formats: tuple[str, ...] = ("foa",),
    train: int = 2,
    test: int = 1,
    seconds: float = 3.0,
    video: bool = False,
    labels: bool = True,
    seed: int = 0,
) -> Path:
    """Noise bursts from one direction a clip, each clip in a room of its own."""
    rng = np.random.default_rng(seed)
    for split, fold, count in (("dev-train-tiny", 3, train), ("dev-test-tiny", 4, test)):
        for index in range(count):
            name = f"fold{fold}_room{index + 1}_mix001"
            azimuth_deg, class_index = int(rng.integers(-170, 170)), int(rng.integers(0, 13))
            burst = rng.standard_normal(round(seconds * RATE_HZ)) * 0.1
            burst[: RATE_HZ // 2] *= 0.01
            x, y, z = direction_from_degrees(azimuth_deg, 0.0)
            gains = {"foa": [1, y, z, x], "mic": [1, 0.8, 0.7, 0.9], "binaural": [1, 0.6]}
            for audio in formats:
                path = root / FOLDERS[audio] / split / f"{name}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_audio(path, (np.array(gains[audio])[:, None] * burst).astype(np.float32), RATE_HZ)
            frame = np.arange(5, round(seconds * 10))
            table = EventTable.make(
                frame=frame,
                class_index=np.full(len(frame), class_index),
                azimuth_deg=np.full(len(frame), azimuth_deg),
                elevation_deg=np.zeros(len(frame)),
                distance_m=np.full(len(frame), 2.0),
            )
            if labels:
                write_events(root / "metadata_dev" / split / f"{name}.csv", table)
            if video:
                tiny_video(root / "video_dev" / split / f"{name}.mp4", seconds)
    return root


def tiny_video(path: Path, seconds: float) -> None:
    """A grey clip of 64 x 32 pixels at 10 frames/s."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, 64, 32, Fraction(10)) as writer:
        for _ in range(round(seconds * 10)):
            writer.write(np.full((32, 64, 3), 90, dtype=np.uint8))
