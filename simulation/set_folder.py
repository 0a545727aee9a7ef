"""The folder of a synthetic data set: whose it is, clips in parallel, each whole or not at all, provenance."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from util.errors import InputError
from util.files import read_json, write_json, write_text

MARKER = "SYNTHETIC.txt"
SETTINGS = "settings.json"
PARTS = "provenance_parts"
PROVENANCE = (
    "clip", "split", "event", "kind", "class", "class_name", "source", "start_s", "duration_s", "moving", "made_of",
    "sha256", "parameters", "image", "room", "background_seed",
)  # fmt: skip
_PARTIAL = re.compile(r"^\..+\.partial-\d+(\.\w+)?$")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def claim(root: Path, asked: dict[str, Any], *, not_compared: Sequence[str] = ()) -> None:
    """Make the folder ours, or find that it is: nothing is written into a folder that holds something else.

    Parameters
    ----------
    asked : everything that decides the bytes of the set, as json can hold it
    not_compared : keys of it that say where something lies and not what it is

    Raises
    ------
    InputError : the folder is a file, holds something else, or a set that was asked for differently
    """
    if root.exists() and not root.is_dir():
        raise InputError("is a file; --out needs a folder", path=root)
    asked = json.loads(json.dumps(asked))
    if (root / MARKER).is_file() and (root / SETTINGS).is_file():
        found = read_json(root / SETTINGS)
        compared = {*found, *asked} - set(not_compared)
        different = sorted(key for key in compared if found.get(key) != asked.get(key))
        if different:
            changes = ", ".join(f"{key} {found.get(key)} (now {asked.get(key)})" for key in different[:3])
            rule = f"holds a data set made with other settings: {changes}; choose another --out, or delete it first"
            raise InputError(rule, path=root)
        return
    if root.is_dir():
        others = sorted(p.name for p in root.iterdir() if p.name != MARKER and not _PARTIAL.match(p.name))
        if others:
            rule = f"holds something else ({', '.join(others[:3])}{', ...' if len(others) > 3 else ''}); "
            raise InputError(rule + "--out must be a new or empty folder", path=root)
    text = "Everything in this folder is synthetic: made by `python -m simulation`. Keep real recordings elsewhere.\n"
    write_text(root / MARKER, text)
    write_json(root / SETTINGS, asked)


def describe(path: Path, made: dict[str, Any]) -> None:
    """Write dataset.json, unless it describes this very set already: then what a user changed in it stays."""
    found = read_json(path) if path.is_file() else None
    if not isinstance(found, dict) or any(found.get(key) != made[key] for key in ("generator_version", "settings")):
        write_json(path, made)


def sweep(root: Path) -> None:
    """Delete the half-written files of an interrupted call."""
    for folder, _, names in os.walk(root):
        for name in names:
            if _PARTIAL.match(name):
                Path(folder, name).unlink(missing_ok=True)


def write_provenance(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write provenance.csv: what every event (and whatever else a clip holds) was made of."""
    text = io.StringIO()
    writer = csv.DictWriter(text, PROVENANCE, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({**row, "parameters": json.dumps(row["parameters"])})
    write_text(path, text.getvalue())


def make_all(make: Callable[[Any], None], todo: Sequence[Any], *, processes: int, progress: bool) -> None:
    """Make clips, several at a time.

    Parameters
    ----------
    make : makes the clip of a plan; it and the plans can be sent to another process
    todo : one plan per clip

    Raises
    ------
    InputError : as `make`; a process was ended from outside
    """
    if not todo:
        return
    with tqdm(total=len(todo), unit="clip", desc="clips", disable=not progress) as bar:
        if min(processes, len(todo)) <= 1:
            for plan in todo:
                make(plan)
                bar.update()
            return
        with _single_threads():
            context = multiprocessing.get_context("spawn")
            count = min(processes, len(todo))
            pool = ProcessPoolExecutor(count, mp_context=context, initializer=_stay_with, initargs=(os.getpid(),))
            try:
                jobs = {pool.submit(make, plan): plan for plan in todo}
                for job in as_completed(jobs):
                    job.result()
                    bar.update()
            except BrokenProcessPool:
                rule = "a process that made clips was ended from outside (out of memory?); the same command goes on"
                raise InputError(rule) from None
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _stay_with(parent: int) -> None:
    """In a process of the pool: leave interrupts to the parent, and end when it is gone (killed, say)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _single_threads() -> Iterator[None]:
    """Processes that start inside use one thread each for linear algebra: they share the cores already."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
