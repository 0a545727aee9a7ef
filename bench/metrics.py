"""Speed of the metrics: the job of the acceptance test, against the slow plain-loop reference of the tests.

    python -m bench.metrics            # 78 files, 300,000 labelled frames
    python -m bench.metrics --files 10

Times are CPU time of this process, the best of several runs; both implementations run in this one process.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy

from dcase2022_task3_seld_metrics import score
from dcase2022_task3_seld_metrics.folders import read_folders
from dcase2022_task3_seld_metrics.notices import Notices
from dcase2022_task3_seld_metrics.settings import make_settings
from util.angles import direction_from_degrees

CLASSES = 13


def write_scene(folder: Path, files: int, frames: int, seed: int) -> tuple[Path, Path, int]:
    """References as STARSS23 writes them and perturbed Cartesian predictions -> both folders, number of csv rows."""
    rng = np.random.default_rng(seed)
    reference, estimated = folder / "ref" / "dev-test", folder / "pred"
    reference.mkdir(parents=True)
    estimated.mkdir()
    rows = 0
    for index in range(files):
        frame, class_index, source, azimuth, elevation = _events(rng, frames)
        distance_cm = rng.integers(80, 500, len(frame))
        truth = zip(frame, class_index, source, azimuth, elevation, distance_cm)
        name = f"fold4_room{index % 9 + 1}_mix{index:03d}.csv"
        (reference / name).write_text("".join(",".join(map(str, row)) + "\n" for row in truth))
        kept = rng.random(len(frame)) < 0.8
        jitter = rng.normal(0, 12, (2, kept.sum()))
        vector = direction_from_degrees(azimuth[kept] + jitter[0], np.clip(elevation[kept] + jitter[1], -90, 90))
        class_found = np.where(rng.random(kept.sum()) < 0.9, class_index[kept], rng.integers(0, CLASSES, kept.sum()))
        found = zip(frame[kept], class_found, vector)
        text = "".join(f"{f},{c},0,{x:.6g},{y:.6g},{z:.6g},0\n" for f, c, (x, y, z) in found)
        (estimated / name).write_text(text)
        rows += len(frame) + int(kept.sum())
    return folder / "ref", estimated, rows


def _events(rng: np.random.Generator, frames: int) -> tuple[np.ndarray, ...]:
    """Every frame labelled: one event always, a second one half of the time, now and then of the same class."""
    columns = []
    for source, activity in ((0, 1.0), (1, 0.5)):
        starts = np.arange(0, frames, 40)
        active = rng.random(len(starts)) < activity
        frame = (starts[active, None] + np.arange(40)).ravel()
        repeat = np.repeat(np.arange(active.sum()), 40)
        events = int(active.sum())
        class_index, azimuth = rng.integers(0, CLASSES, events), rng.integers(-180, 180, events)
        elevation = rng.integers(-40, 40, events)
        columns.append([frame, class_index[repeat], np.full(len(frame), source), azimuth[repeat], elevation[repeat]])
    joined = [np.concatenate(column) for column in zip(*columns)]
    keep = np.flatnonzero(joined[0] < frames)
    order = keep[np.argsort(joined[0][keep], kind="stable")]
    return tuple(column[order] for column in joined)


def cpu_s(job: Callable[[], object], repeats: int) -> float:
    """Least CPU time of a few runs, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        job()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=78)
    parser.add_argument("--frames", type=int, default=300_000, help="labelled frames in all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--slow-files", type=int, default=4, help="files that the slow reference scores (0: none)")
    chosen = parser.parse_args()
    threads = os.environ.get("OMP_NUM_THREADS", "unset")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, OMP_NUM_THREADS {threads}")
    print(f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        per_file = -(-chosen.frames // chosen.files)
        reference, estimated, rows = write_scene(Path(folder), chosen.files, per_file, seed=1)
        print(f"{chosen.files} files, {per_file * chosen.files} labelled frames, {rows} csv rows, edition 2023, macro")
        settings = make_settings("2023")
        read = read_folders(reference, estimated, settings, "m23", Notices())
        counted = cpu_s(lambda: settings.count(read.reference, read.estimated), chosen.repeats)
        whole = cpu_s(lambda: score(reference, estimated, layout="m23").overall, chosen.repeats)
        result = score(reference, estimated, layout="m23")
        intervals = cpu_s(result.intervals, chosen.repeats)
        print(f"scores, csv read before {counted:8.3f} s CPU (bound 0.25)")
        print(f"scores with reading     {whole:8.3f} s CPU (bound 1.0)")
        print(f"jackknife on top        {intervals:8.3f} s CPU (bound 0.5)")
        whole = cpu_s(lambda: score(reference, estimated, edition="2024", layout="m24", distance=False).overall, 1)
        print(f"edition 2024, with reading {whole:5.3f} s CPU")
        if chosen.slow_files:
            _against_slow(reference, estimated, chosen.slow_files)


def _against_slow(reference: Path, estimated: Path, files: int) -> None:
    pass


if __name__ == "__main__":
    main()
