"""Speed of the metrics: the job of the acceptance test, against the slow plain-loop reference of the tests.

    python -m bench.metrics            # 78 files, 300,000 labelled frames
    python -m bench.metrics --files 10

Times are CPU time of this process, the best of several runs; both implementations run in this one process.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from bench.machine import processor
from dcase2022_task3_seld_metrics import Result, score
from dcase2022_task3_seld_metrics.batch import Batch
from dcase2022_task3_seld_metrics.folders import read_folders
from dcase2022_task3_seld_metrics.notices import Notices
from dcase2022_task3_seld_metrics.settings import make_settings
from tests import metrics_reference as slow_reference
from util.angles import direction_from_degrees
from util.events import EventTable

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


def program_cpu_s(arguments: list[str], repeats: int) -> float:
    """Least CPU time of the whole command, its imports included, in seconds."""
    times = []
    for _ in range(repeats):
        before = os.times()
        command = [sys.executable, "-m", "dcase2022_task3_seld_metrics", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return min(times)


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=78)
    parser.add_argument("--frames", type=int, default=300_000, help="labelled frames in all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--slow-files", type=int, default=78, help="files that the slow reference scores too (0: none)")
    chosen = parser.parse_args(argv)
    threads = os.environ.get("OMP_NUM_THREADS", "unset")
    print(f"{processor()}, {os.cpu_count()} cores, OMP_NUM_THREADS {threads}")
    print(f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        per_file = -(-chosen.frames // chosen.files)
        reference, estimated, rows = write_scene(Path(folder), chosen.files, per_file, seed=1)
        print(f"{chosen.files} files, {per_file * chosen.files} labelled frames, {rows} csv rows, edition 2023, macro")
        settings = make_settings("2023")
        read = read_folders(reference, estimated, settings, "m23", Notices())
        tables = _tables(read.names, read.reference), _tables(read.names, read.estimated)

        def whole(**choices: Any) -> Result:
            result = score(reference, estimated, **choices)
            result.overall  # noqa: B018 scores are computed on demand
            return result

        result = whole(layout="m23")
        times = {
            "scores, csv read before (bound 0.25)": cpu_s(
                lambda: Result(settings, tuple(read.names), settings.count(read.reference, read.estimated)).overall,
                chosen.repeats,
            ),
            "the same from event tables": cpu_s(lambda: score(*tables).overall, chosen.repeats),
            "scores with reading (bound 1.0)": cpu_s(lambda: whole(layout="m23"), chosen.repeats),
            "scores with reading, layout auto": cpu_s(whole, chosen.repeats),
            "jackknife on top (bound 0.5)": cpu_s(result.intervals, chosen.repeats),
            "edition 2024 without distance, with reading": cpu_s(
                lambda: whole(edition="2024", layout="m24", distance=False), chosen.repeats
            ),
        }
        for name, seconds in times.items():
            print(f"{seconds:8.3f} s CPU  {name}")
        for flags in ((), ("--jackknife",)):
            seconds = program_cpu_s([str(reference), str(estimated), *flags], chosen.repeats)
            what = " ".join(("python -m dcase2022_task3_seld_metrics REF PRED", *flags))
            print(f"{seconds:8.3f} s CPU  {what}: what a user waits (bound 1.0)")
        if chosen.slow_files:
            _against_slow(tables, chosen.slow_files)


def _tables(names: list[str], batch: Batch) -> dict[str, EventTable]:
    """Polar rows of a batch as event tables."""
    tables = {}
    for index, name in enumerate(names):
        rows = batch.rows(batch.file == index)
        azimuth_deg, elevation_deg = rows.coordinates.T
        tables[name] = EventTable.make(
            frame=rows.frame,
            class_index=rows.class_index,
            source=rows.source,
            azimuth_deg=azimuth_deg,
            elevation_deg=elevation_deg,
        )
    return tables


def _against_slow(tables: tuple[dict[str, EventTable], dict[str, EventTable]], files: int) -> None:
    """Both on a few of the files, and whether they agree."""
    some = [dict(list(side.items())[:files]) for side in tables]
    rows = [{name: slow_reference.rows_of(table) for name, table in side.items()} for side in some]
    start = time.process_time()
    overall, _, _ = slow_reference.score_2022(rows[0], rows[1], CLASSES, "macro")
    slow_s = time.process_time() - start
    fast_s = cpu_s(lambda: score(*some).overall, 5)
    found = score(*some).overall
    agree = all(abs(found[name] - value) < 1e-6 for name, value in overall.items())
    print(f"{files} files: plain loops {slow_s:.3f} s CPU, this package {fast_s:.4f} s: {slow_s / fast_s:.0f} times")
    print("same scores" if agree else f"SCORES DIFFER: {overall} {found}")


if __name__ == "__main__":
    main()
