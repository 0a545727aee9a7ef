"""Outputs of the reference implementations: all where ../shared is present, else the compact cut beside this file."""

from pathlib import Path

import pytest

from tests.shared import SHARED

HERE = Path(__file__).resolve().parent


def find(name: str) -> Path:
    """Path of a golden file or folder, "av_baseline/boxes.npz"; skips the test where neither copy has it."""
    for root in (SHARED / "golden", HERE):
        if (root / name).exists():
            return root / name
    pytest.skip(f"golden data {name} are in ../shared only")


def find_audio(name: str) -> Path:
    """Path of a golden recording "av_baseline/e2e": the wav of ../shared, else the flac of the same samples."""
    wav = SHARED / "golden" / f"{name}.wav"
    return wav if wav.exists() else find(f"{name}.flac")
