"""Directions without a model, on simulated rooms: error, resolved frames, wrong tracks, times real time.

python bench/directions.py                       # the whole table, a quarter of an hour
python bench/directions.py --arrays mic --rt60 0.4

A source is heard in a frame where it is at most 20 dB below its own loudest; a frame is resolved where every source
that is heard has a track within 10 degrees; wrong are the tracks of a frame further than 20 degrees from all sources.
The median error is that of the nearest track. "G6" is the stand-alone estimate of the published histogram from a second
of sound around the frame, told the number of sources.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import util.cli
from bench.direction_scenes import DirectionScene, Source, direction_scene
from bench.machine import machine
from localization.localizer import RATE_HZ, Localizer
from util.angles import angle_between_deg
from util.microphone_arrays import ARRAYS, Array

RESOLVED_DEG, WRONG_DEG = 10.0, 20.0
SCENES: dict[str, tuple[tuple[Source, ...], ...]] = {
    "one": ((Source(30),), (Source(-100, 20),), (Source(160, -15),)),
    "one, moving": ((Source(-60, 0, 60),), (Source(150, 5, 260),)),
    "two, 30 apart": ((Source(10), Source(40)), (Source(-120, 10), Source(-90, 5))),
    "two, 60 apart": ((Source(10), Source(70)), (Source(-120, 10), Source(-60, 5))),
    "two, moving": ((Source(-90, 0, -30), Source(120, 0, 60)),),
    "three": ((Source(0), Source(90, 10), Source(-130, -5)),),
}


@dataclass(frozen=True)
class Judged:
    """Figures of a scene, over the frames in which a source is heard."""

    median_deg: float
    resolved: float
    wrong: float
    tracks: int
    times_real_time: float


def judged(scene: DirectionScene, array: Array, most: int = 3) -> Judged:
    """Localize a scene, half a second at a time, and compare."""
    localizer, waveform = Localizer(array, most), scene.waveform[array.name]
    begin, rows = time.process_time(), []
    for start in range(0, waveform.shape[1], RATE_HZ // 2):
        rows += localizer.feed(waveform[:, start : start + RATE_HZ // 2])
    rows += localizer.finish()
    took_s = time.process_time() - begin
    found = [np.array([point.direction for point in points]).reshape(-1, 3) for points in rows]
    tracks = len({point.track for points in rows for point in points})
    return Judged(*_compared(scene, found), tracks, waveform.shape[1] / RATE_HZ / max(took_s, 1e-9))


def _compared(scene: DirectionScene, found: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """Median error, share of resolved frames, wrong directions a frame."""
    errors: list[float] = []
    resolved, wrong = [], []
    for directions, true, heard in zip(found, scene.direction, scene.heard):
        if not heard.any():
            continue
        off_deg = angle_between_deg(directions[:, None], true) if len(directions) else np.full((1, len(true)), 180.0)
        nearest = off_deg.min(axis=0)[heard]
        errors += nearest[nearest < 90].tolist() if len(directions) else []
        resolved.append(bool((nearest < RESOLVED_DEG).all()))
        wrong.append(int((off_deg.min(axis=1) > WRONG_DEG).sum()) if len(directions) else 0)
    median = float(np.median(errors)) if errors else np.nan
    return median, float(np.mean(resolved)), float(np.mean(wrong))


def published(scene: DirectionScene) -> tuple[float, float, float]:
    """The same figures of the histogram of the general SELD network, over a second of sound around each frame."""
    import torch

    from feature.histogram import SingleSourceHistogram, strongest

    sources = SingleSourceHistogram().whole_sources(torch.from_numpy(scene.waveform["foa"]))
    found = []
    for frame in range(len(scene.heard)):
        middle = 8 * frame + 4
        part = sources.between(max(middle - 40, 0), min(middle + 40, sources.frames))
        found.append(strongest(part, scene.direction.shape[1]))
    return _compared(scene, found)


def main(argv: list[str] | None = None) -> int:
    """Run the grid and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--arrays", nargs="+", choices=("foa", "mic", "circular8"), default=["foa", "mic"], help="[both]"
    )
    parser.add_argument("--rt60", nargs="+", type=float, default=[0, 0.2, 0.4, 0.6], help="seconds, 0: no walls [all]")
    parser.add_argument("--snr", nargs="+", type=float, default=[10, 20, 30], help="dB [10 20 30]")
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES), help="[all]")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of a scene [8]")
    args = parser.parse_args(argv)
    print(f"{machine()}; scenes of {args.seconds:g} s, sources 1.5 m away\n")
    head = ["scene", "array", "RT60 s", "SNR dB", "median error", "resolved", "wrong/frame", "tracks", "x real time"]
    print(" | ".join(head + (["G6 error", "G6 resolved"] if "foa" in args.arrays else [])))
    arrays = [ARRAYS[name] for name in args.arrays]
    for name in args.scenes:
        for rt60_s in args.rt60:
            for snr_db in args.snr:
                scenes = [
                    direction_scene(
                        one, arrays, rt60_s=rt60_s or None, snr_db=snr_db, seconds=args.seconds, seed=number
                    )
                    for number, one in enumerate(SCENES[name])
                ]
                for array in arrays:
                    rows = [judged(scene, array) for scene in scenes]
                    mean = np.mean(
                        [[r.median_deg, r.resolved, r.wrong, r.tracks, r.times_real_time] for r in rows], axis=0
                    )
                    cells = [name, array.name, f"{rt60_s:g}", f"{snr_db:g}", f"{mean[0]:.1f}", f"{100 * mean[1]:.0f} %"]
                    cells += [f"{mean[2]:.2f}", f"{mean[3]:.1f}", f"{mean[4]:.0f}"]
                    if array.name == "foa":
                        theirs = np.mean([published(scene) for scene in scenes], axis=0)
                        cells += [f"{theirs[0]:.1f}", f"{100 * theirs[1]:.0f} %"]
                    print(" | ".join(cells), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(util.cli.run_main(main))
