"""Which system should I take? Every audio system on one simulated set, the same minutes of training, three seeds.

python bench/baselines.py --data DIR --sound-bank BANK --out results.csv  # makes sets in DIR where they are not there
python bench/baselines.py --data DIR --out results.csv --minutes 20 --systems seldnet2023:3,crnn:-:mic --seeds 0,1
python bench/baselines.py --out results.csv --table                       # the table of what is done so far

BANK is a bank of sounds that `python -m simulation.split_bank` has divided by their sources: of four of its classes
scenes are made, DIR/train and DIR/test, which share no sound and no room, and stereo clips of both. Minutes are
processor time of the process that trains, with one thread, from the first step of every stage to its last: start,
statistics and scoring do not count, nor do other programs on the machine. How long a step takes is measured once,
before the first seed, and all seeds get as many. One row per system, task and seed is appended to the csv as soon as
it is known; called again it goes on with those that are missing. Scores are those of the last checkpoint on the test
recordings by the edition of 2023, macro average: nothing is chosen on them. Stereo is scored by that of 2025, whose F
asks for the distance too.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before PyTorch is imported
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import util.cli
from util.errors import InputError

COLUMNS = ("system", "task", "format", "seed", "minutes", "iterations", "F", "ER", "LE", "LR", "SELD_error",
           "parameters", "run")  # fmt: skip
SCORES = ("F", "ER", "LE", "LR", "SELD_error")
# system:task, or system:-:format where there are no tasks
SYSTEMS = (
    "crnn:-:foa", "avseld:-:foa", "seldnet2020:1", "seldnet2021:1", "seldnet2022:2", "seldnet2023:3", "seldnet2023:6",
    "seldnet2023:7", "seldnet2024:3", "seldnet2025:1",
)  # fmt: skip
CLASSES = ("female_speech", "telephone", "music", "water_tap")
TRAIN, TEST = 40, 16  # clips of 30 s
STEREO = {"train": 240, "test": 96}  # clips of 5 s, as much sound
WARM_STEPS, TIMED_STEPS = 3, 8
BATCH_S = 20.0  # seconds of sound in a step
EDITIONS = {"stereo": "2025"}  # that scores: directions of stereo have no elevation, which the one of 2023 asks for
NAMES = {"AngE": "LE"}  # of scores in result files, where they have another one


def main(argv: list[str] | None = None) -> int:
    """Train what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="where the sets are or are to be made")
    parser.add_argument("--sound-bank", type=Path, metavar="BANK", help="divided bank they are made of")
    parser.add_argument("--out", type=Path, default=Path("baselines.csv"), metavar="CSV", help="rows [baselines.csv]")
    parser.add_argument("--minutes", type=float, default=10.0, help="processor time of every training [10]")
    parser.add_argument("--seeds", default="0,1,2", help="[0,1,2]")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="SYSTEM:TASK or SYSTEM:-:FORMAT,... [10 of them]")
    parser.add_argument("--table", action="store_true", help="only print the table")
    args = parser.parse_args(argv)
    if not args.table:
        if args.data is None:
            raise InputError("--data DIR: where are the sets, or where are they to be made?")
        make_sets(args.data, args.sound_bank)
        done = {(row["system"], row["task"], row["format"], row["seed"]) for row in read_rows(args.out)}
        contenders = [Contender.named(text) for text in args.systems.split(",")]
        due = [(one, seed) for seed in args.seeds.split(",") for one in contenders if (*one.key, seed) not in done]
        for number, (one, seed) in enumerate(due, start=1):
            print(f"{number}/{len(due)}  {one}, seed {seed}, {args.minutes:g} min", flush=True)
            append_row(args.out, COLUMNS, _run(args, one, seed))
    print(table(read_rows(args.out)))
    return 0


@dataclass(frozen=True)
class Contender:
    """A system as a user types it."""

    system: str
    task: str
    format: str

    @classmethod
    def named(cls, text: str) -> Contender:
        """Of "system:task" or "system:-:format"."""
        from system.presets import preset_of

        system, task, *more = text.split(":")
        if more:
            return cls(system, task, more[0])
        preset = preset_of(system)
        if task not in preset.tasks:
            raise InputError(f"--systems {text}: its tasks are {', '.join(preset.tasks) or 'none: SYSTEM:-:FORMAT'}")
        arguments = {**preset.arguments, **preset.tasks[task].get("arguments", {})}
        return cls(system, task, arguments.get("format", "foa"))

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from the others."""
        return self.system, self.task, self.format

    def __str__(self) -> str:
        return f"{self.system} {self.task} {self.format}"

    def root(self, data: Path, part: str) -> Path:
        """Its recordings to train or to test."""
        return data / (f"stereo_{part}" if self.format == "stereo" else part)


def make_sets(data: Path, bank: Path | None) -> None:
    """The simulated sets, where they are not there yet: scenes to train and to test, stereo clips of both."""
    for seed, part in enumerate(("train", "test"), start=1):
        here, stereo = data / part, data / f"stereo_{part}"
        if not (here / "foa_dev").is_dir():
            if bank is None:
                raise InputError("--sound-bank BANK: of what are the scenes to be made?")
            few = data / f"bank_{part}"
            for name in CLASSES:
                (found,) = (bank / part).glob(f"*{name}")
                shutil.copytree(found, few / name, dirs_exist_ok=True)
            counts = {"train": ("--train", str(TRAIN), "--test", "0"), "test": ("--train", "0", "--test", str(TEST))}
            how = ["--no-video", "--formats", "foa,mic", "--own-classes", "--overlap", "2", "--polyphony", "1"]
            rooms = ["--train-rooms", "10", "--test-rooms", "4", "--sound-bank", str(few), "--seed", str(seed)]
            _python("simulation", "--out", str(here), *counts[part], *how, *rooms)
        if not (stereo / "stereo_dev").is_dir():
            _python("dataset", "convert", "stereo", str(here), "--out", str(stereo), "--clips", str(STEREO[part]))


def _python(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", *arguments], check=True, cwd=Path(__file__).parents[1])


@dataclass
class Timed:
    """Processor seconds of this process at the start and after every step of the stages of a training."""

    stages: list[list[float]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """From the first step of every stage to its last."""
        return sum(times[-1] - times[0] for times in self.stages)

    @property
    def step_s(self) -> float:
        """A step of every stage, after the first ones, which compile and fill caches."""
        return sum((times[-1] - times[WARM_STEPS]) / (len(times) - 1 - WARM_STEPS) for times in self.stages)


@contextlib.contextmanager
def timed() -> Iterator[Timed]:
    """What the trainings within take."""
    from seld_trainer import SELDTrainer

    found = Timed()
    train, step = SELDTrainer.train, SELDTrainer.step

    def timed_train(self: SELDTrainer) -> None:
        found.stages.append([time.process_time()])
        train(self)

    def timed_step(self: SELDTrainer, batch: dict[str, Any]) -> Any:
        loss = step(self, batch)
        found.stages[-1].append(time.process_time())
        return loss

    SELDTrainer.train, SELDTrainer.step = timed_train, timed_step  # type: ignore[method-assign]
    try:
        yield found
    finally:
        SELDTrainer.train, SELDTrainer.step = train, step  # type: ignore[method-assign]


def _batch_size(one: Contender) -> int:
    """Items of a step, so that all of them hear as much sound."""
    item_s = {"crnn": 1.2, "two_stage": 2.0, "two_stage_joint": 2.0, "seldnet2020": 6.0, "seldnet2021": 6.0}
    return round(BATCH_S / item_s.get(one.system, 5.0))


def _command(args: argparse.Namespace, one: Contender, seed: str, iterations: int, name: str) -> list[str]:
    ids = [] if one.task == "-" else [one.task, name]
    flags = ["--data-root", str(one.root(args.data, "train")), "--random-seed", seed, "--device", "cpu"]
    flags += ["-i", str(iterations), "-s", str(iterations), "-b", str(_batch_size(one)), "--select", "last"]
    flags += ["--format", one.format, "--no-video", "-m", str(_monitor(args))]
    return ["-train", "--system", one.system, *ids, *flags]


def _monitor(args: argparse.Namespace) -> Path:
    """Where the runs are."""
    return Path(str(args.out.with_suffix("").absolute()) + "_runs")


def _run(args: argparse.Namespace, one: Contender, seed: str) -> dict[str, object]:
    """One training and its scores; before the first one of a system its speed is measured."""
    before = [row for row in read_rows(args.out) if (row["system"], row["task"], row["format"]) == one.key]
    if before:
        iterations = int(before[0]["iterations"])
    else:
        speed, _, _ = _train(args, one, seed, WARM_STEPS + TIMED_STEPS, "speed")
        iterations = max(20, round(60 * args.minutes / speed.step_s))
    taken, folder, parameters = _train(args, one, seed, iterations, "whole")
    found = _scores(args, one, folder)
    about = dict(zip(("system", "task", "format"), one.key), seed=seed, iterations=iterations)
    minutes = f"{taken.seconds / 60:.2f}"
    scores = {name: found.get(name, "") for name in SCORES}
    return {**about, "minutes": minutes, **scores, "parameters": parameters, "run": str(folder)}


def _train(args: argparse.Namespace, one: Contender, seed: str, iterations: int, what: str) -> tuple[Timed, Path, str]:
    """Processor time of a training, its folder, the number of its parameters."""
    import seld

    before = set(_monitor(args).glob("*"))
    name = f"{what}_{seed}_{time.time_ns() // 1000000}"
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), timed() as taken:
        status = util.cli.run_main(seld.main, _command(args, one, seed, iterations, name))
    if status:
        raise InputError(f"{one} ended with {status}: {shown.getvalue()[-500:]}")
    (folder,) = set(_monitor(args).glob("*")) - before
    parameters = [line.split()[-2] for line in shown.getvalue().splitlines() if line.endswith(" parameters")]
    return taken, folder, parameters[-1]


def _scores(args: argparse.Namespace, one: Contender, folder: Path) -> dict[str, str]:
    """The overall scores of the last checkpoint on the test list, by their names."""
    import seld

    command = ["-eval", "-em", str(folder), "--data-root", str(one.root(args.data, "test"))]
    command += ["--edition", EDITIONS.get(one.format, "2023")]
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        status = util.cli.run_main(seld.main, [*command, "--device", "cpu"])
    if status:
        raise InputError(f"{folder}: -eval ended with {status}: {shown.getvalue()[-500:]}")
    (result,) = folder.glob("result_*.txt")
    lines = result.read_text(encoding="utf-8").splitlines()
    names = [NAMES.get(name, name) for name in lines[1].split("\t")[1:]]
    return dict(zip(names, lines[2].split("\t")[1:]))


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a table that is written as it comes; none where there is no file yet."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def append_row(path: Path, columns: Sequence[str], row: dict[str, object]) -> None:
    """A row more, and before the first one the names of the columns."""
    new = not path.is_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        if new:
            writer.writeheader()
        writer.writerow(row)


def table(rows: list[dict[str, str]]) -> str:
    """Markdown: mean and spread over the seeds, best F first."""
    groups: dict[tuple[str, str, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        groups[row["system"], row["task"], row["format"]].append(row)
    lines = ["| system | task | hears | seeds | minutes | iterations | " + " | ".join(SCORES) + " | parameters |"]
    lines.append("|" + "---|" * (len(SCORES) + 7))
    made = []
    for (system, task, format), some in groups.items():
        cells, key = [], 0.0
        for name in SCORES:
            values = [float(row[name]) for row in some if row[name]]
            if not values:
                cells.append("")
                continue
            mean, spread = statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0
            key = mean if name == "F" else key
            cells.append(f"{mean:.2f} ± {spread:.2f}")
        minutes, steps = (statistics.mean(float(row[name]) for row in some) for name in ("minutes", "iterations"))
        head = f"| `{system}` | {task} | {format} | {len(some)} | {minutes:.1f} | {steps:.0f} | "
        made.append((key, head + " | ".join(cells) + f" | {some[0]['parameters']} |"))
    return "\n".join([*lines, *(line for _, line in sorted(made, reverse=True))])


if __name__ == "__main__":
    raise SystemExit(util.cli.run_main(main))
