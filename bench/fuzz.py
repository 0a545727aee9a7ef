"""Mutated input, many times over: whatever a file holds, it is read, or refused in one line of the project's own error.

    python -m bench.fuzz                    # a million mutated csv rows
    python -m bench.fuzz --rows 10000 --seed 3

A part is a function `part(rng, count) -> Counter`; `bench.fuzz_media`, where it is there, adds sound and video.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import random
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from dataset.classes import TUT_CLASSES, read_classes
from dataset.lists import read_list
from dcase2022_task3_seld_metrics import score
from util.dialects import DIALECTS, parse_events
from util.errors import InputError
from util.files import read_json
from util.interval_csv import INTERVAL_DIALECTS, parse_intervals
from util.text import decoded

ROWS = (
    "0,1,0,30,10,200\n1,1,0,31,-10,150\n12,2,1,-90,5,100\n",
    "frame,class,source,azimuth,elevation,distance\n0,1,0,30,10,200\n1,1,0,31,-10,150\n",
    "0,1,35,10\n1,1,36,10\n",
    ",frame,class,azimuth,elevation,score\n0,0,1,35,10,0.5\n1,1,1,36,10,0.25\n",
    "0,1,0,0.9,0.2,0.3,1.5\n5,1,0,0.9,0.2,0.3,1.5\n",
    "frame,class,source,azimuth,distance,onscreen\n0,1,0,10,150,1\n5,1,0,10,150,0\n",
    "sound_event_recording,start_time,end_time,ele,azi,dist\nknock,0.5,1.5,0,20,2\nspeech,1,2,10,-30,1\n",
    "0;1;0;30,5;10\n1;1;0;31,0;-10\n",
)
PIECES = (
    *(
        "\ufeff",
        "\x00",
        "\r",
        "\n",
        "\r\n",
        ",",
        ",,",
        ";",
        "\t",
        " ",
        '"',
        "'",
        "#",
        "-",
        "--",
        "\u2212",
        "\xa0",
        "\u200b",
    ),
    *(
        "nan",
        "inf",
        "-inf",
        "1e999",
        "1e-400",
        "0x10",
        "1_0",
        "\uff11",
        "9" * 30,
        "9" * 5000,
        "1.5",
        "x",
        "frame",
        "azimuth",
    ),
    *("class", "\U0001f50a", "\x1a", "\x85", "\u2028", "\ud7ff", "%s", "../", "\\", "e", "+", "."),
)
ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "utf-32")
EDITIONS = ("2019", "2020", "2021", "2022", "2023", "2024", "2024-segment", "2025")
_FILES_EVERY = 20  # texts between two that go through files, which is slower


def mutated(rng: random.Random) -> bytes:
    """Some rows as people and programs have them, with a few changes at any place."""
    text = rng.choice(ROWS)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at, removed = rng.randrange(len(text) + 1), rng.choice((0, 0, 1, 1, 2, 5))
        put = rng.choice(PIECES) if rng.random() < 0.8 else chr(rng.randrange(0xD800))
        text = text[:at] + put + text[at + removed :]
    content = text.encode(rng.choice(ENCODINGS), errors="replace")
    if rng.random() < 0.1:
        at = rng.randrange(len(content) + 1)
        content = content[:at] + rng.randbytes(rng.randint(1, 4)) + content[at:]
    if rng.random() < 0.05:
        content = content[: rng.randrange(len(content) + 1)]
    return content


def text_part(rng: random.Random, count: int) -> Counter[str]:
    """Mutated rows through every reader of text, until `count` rows were given to them; what came of it."""
    outcomes: Counter[str] = Counter()
    rows = number = 0
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while rows < count:
            content, number = mutated(rng), number + 1
            rows += max(1, content.count(b"\n"))
            for name, read in _readers(content, Path(folder), rng, files=number % _FILES_EVERY == 0).items():
                outcomes[f"{name}: {_outcome(read, name, content)}"] += 1
    outcomes["rows"] = rows
    return outcomes


def _readers(content: bytes, folder: Path, rng: random.Random, *, files: bool) -> dict[str, Callable[[], object]]:
    dialect = rng.choice(sorted(DIALECTS))
    intervals = INTERVAL_DIALECTS[rng.choice(sorted(INTERVAL_DIALECTS))]
    readers: dict[str, Callable[[], object]] = {
        "labels": lambda: parse_events(decoded(content), DIALECTS[dialect], class_count=13, path="label.csv"),
        "intervals": lambda: parse_intervals(decoded(content), intervals, TUT_CLASSES, path="label.csv"),
    }
    if files:
        path = folder / "any.csv"
        path.write_bytes(content)
        for side in ("ref", "pred"):
            (folder / side).mkdir(exist_ok=True)
            (folder / side / "fold4_room1_mix001.csv").write_bytes(content)
        edition = rng.choice(EDITIONS)
        readers |= {
            "classes": lambda: read_classes(path),
            "list": lambda: read_list(path),
            "json": lambda: read_json(path),
            "metrics": lambda: score(folder / "ref", folder / "pred", edition=edition).overall,
        }
    return readers


def _outcome(read: Callable[[], object], name: str, content: bytes) -> str:
    try:
        read()
    except InputError as error:
        return "refused" if "\n" not in str(error) else "A MESSAGE OF SEVERAL LINES"
    except Exception:
        print(f"{name} of {content[:400]!r}:\n{traceback.format_exc()}", flush=True)
        return "ANOTHER ERROR"
    return "read"


def parts() -> dict[str, Callable[[random.Random, int], Counter[str]]]:
    """The parts by name."""
    found: dict[str, Callable[[random.Random, int], Counter[str]]] = {"text": text_part}
    if importlib.util.find_spec("bench.fuzz_media") is not None:
        found |= importlib.import_module("bench.fuzz_media").PARTS
    return found


def main(argv: list[str] | None = None) -> int:
    """Run the parts; 1 where anything but the project's own error was raised."""
    logging.disable(logging.WARNING)
    known = parts()
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=[*known, "all"], default="text")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows, or files of other parts (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(argv)
    wrong = 0
    for name in known if chosen.part == "all" else [chosen.part]:
        start = time.perf_counter()
        outcomes = known[name](random.Random(chosen.seed), chosen.rows)
        print(f"{name}, seed {chosen.seed}, {time.perf_counter() - start:.0f} s")
        for outcome, count in sorted(outcomes.items()):
            print(f"{count:10d}  {outcome}")
        wrong += sum(count for outcome, count in outcomes.items() if outcome.split(": ")[-1].isupper())
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
