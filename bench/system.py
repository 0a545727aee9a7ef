"""The system of this project against the audio-visual CRNN, the same minutes of a processor; what each idea brings.

python bench/system.py --train ROOT --test ROOT --out rows.csv [--detector NAME|FILE] [--minutes 5] [--seeds 0,1,2]
python bench/system.py --train ROOT --test ROOT --out rows.csv --rows avseld,no_neighbours,no_beginnings --seeds 0
python bench/system.py --out rows.csv --table

A row is a system as its flags or a change of its code make it (below: avseld without one of its ideas each). Minutes
are processor time of the process that trains, one thread, from its first step to its last; how long a step takes is
measured once, before the first seed, and all seeds get as many. The last checkpoint gets thresholds per class by
training recordings, as checkpoints to give away do (`python -m job.ship`), and is scored on the test list with the
clips' own boxes, and where a row looks also with no boxes and with another clip's; nothing is chosen on these scores.
People are the classes of speech, laughter, clapping and steps; errors of directions are over the classes that were
matched. One line per row, seed and boxes is appended to the csv as soon as it is known; called again it goes on with
those that are missing.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

os.environ["OMP_NUM_THREADS"] = "1"  # before PyTorch is imported
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import util.cli
from bench.baselines import TIMED_STEPS, WARM_STEPS, Timed, append_row, read_rows, timed
from bench.machine import machine
from util.errors import InputError

COLUMNS = ("row", "seed", "minutes", "iterations", "boxes", "F", "LE", "LR", "F_people", "LE_people", "run")
SCORES = COLUMNS[5:-1]
PEOPLE = (0, 1, 2, 4, 6)
BOXES = ("own", "empty", "other")


@dataclass(frozen=True)
class Row:
    """What is trained: a system, flags, and changes of the code."""

    about: str
    flags: tuple[str, ...] = ()
    system: str = "avseld"
    task: str | None = None
    changes: Callable[[], dict[str, object]] = dict
    looks: bool = True


def _learnt() -> dict[str, object]:
    from functools import partial

    from net.avseld import AvSeld

    return {"system.avseld.AvSeld": partial(AvSeld, measured=False)}


def _as_recorded() -> dict[str, object]:
    return {"net.avseld._EQUALISED_DB": 0.0, "net.avseld._SHIFT": 0}


_AUDIO_CRNN = ("--augment", "acs", "--schedule", "cosine", "-l", "0.002", "--no-video")
ROWS = {
    "avseld": Row("as it is"),
    "crnn": Row("audio-visual CRNN, as `script/train_seld_foa.sh` trains it", system="crnn"),
    "crnn_audio": Row("CRNN without video, channel swaps, cosine", _AUDIO_CRNN, system="crnn", looks=False),
    "vit": Row("audio-visual time-token ViT, as `script/train_seld_vit.sh` trains it", system="vit"),
    "seldnet2022": Row(
        "SELDnet of 2022 with ACCDOA, without video", ("-b", "16", "--no-video"), "seldnet2022", "2", looks=False
    ),
    "no_pointing": Row("nothing is seen", ("--no-video",), looks=False),
    "people_only": Row("of what is seen people alone", ("--set", "things=false")),
    "no_neighbours": Row("directions of one label frame alone", changes=lambda: {"net.avseld.CONTEXT": 0}),
    "no_beginnings": Row("every cell counts alike", changes=lambda: {"net.avseld.firsthand": lambda _, found: found}),
    "learnt_directions": Row("directions are learnt, not measured", changes=_learnt),
    "detection_loss": Row("cross entropy of lengths, chord of directions", ("--set", "loss=detection")),
    "no_adding": Row("eight channel swaps, no windows added", ("--augment", "acs")),
    "no_augmentation": Row("neither symmetries nor windows added", ("--augment", "none")),
    "no_equalisation": Row("levels and bands stay", changes=_as_recorded),
    "no_masks": Row("no stripes masked", ("--set", "masks=0")),
    "no_attention": Row("GRU alone", ("--set", "layers=0")),
}


def main(argv: list[str] | None = None) -> int:
    """Train and score what is missing, print the table."""
    rows = "\n".join(f"  {name:18} {row.about}" for name, row in ROWS.items())
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=f"{__doc__}\nrows\n{rows}", formatter_class=form)
    parser.add_argument("--train", type=Path, metavar="ROOT", help="data root to train on")
    parser.add_argument("--test", type=Path, metavar="ROOT", help="data root whose test list is scored")
    parser.add_argument("--out", type=Path, default=Path("system.csv"), metavar="CSV", help="lines [system.csv]")
    parser.add_argument("--detector", default="builtin", help="of people, as for seld.py [builtin]")
    parser.add_argument("--minutes", type=float, default=5.0, help="processor time of every training [5]")
    parser.add_argument("--seeds", default="0,1,2", help="[0,1,2]")
    parser.add_argument("--rows", default="avseld,crnn", help="of the rows below [avseld,crnn]")
    parser.add_argument("--table", action="store_true", help="only print the table")
    args = parser.parse_args(argv)
    if not args.table:
        if args.train is None or args.test is None:
            raise InputError("--train ROOT --test ROOT: on what is to be trained and scored?")
        names = args.rows.split(",")
        if unknown := [name for name in names if name not in ROWS]:
            raise InputError(f"--rows {unknown[0]}: there are {', '.join(ROWS)}")
        print(machine(), flush=True)
        done = {(line["row"], line["seed"]) for line in read_rows(args.out)}
        due = [(name, seed) for seed in args.seeds.split(",") for name in names if (name, seed) not in done]
        for number, (name, seed) in enumerate(due, start=1):
            print(f"{number}/{len(due)}  {name}, seed {seed}, {args.minutes:g} min", flush=True)
            for line in _run(args, name, seed):
                append_row(args.out, COLUMNS, line)
                print("  " + ", ".join(f"{key} {line[key]}" for key in ("boxes", *SCORES)), flush=True)
    print(table(read_rows(args.out)))
    return 0


@contextlib.contextmanager
def changed(row: Row) -> Iterator[None]:
    """The code as the row wants it."""
    import system.avseld  # noqa: F401  what is changed is there then

    with ExitStack() as stack:
        for name, value in row.changes().items():
            stack.enter_context(patch(name, value))
        yield


def _run(args: argparse.Namespace, name: str, seed: str) -> list[dict[str, object]]:
    """One training and its scores with the boxes of BOXES; before the first one of a row its speed is measured."""
    row = ROWS[name]
    with changed(row):
        before = [line for line in read_rows(args.out) if line["row"] == name]
        if before:
            iterations = int(before[0]["iterations"])
        else:
            step_s = _train(args, row, seed, WARM_STEPS + TIMED_STEPS, f"{name}_speed")[0].step_s
            iterations = max(20, round(60 * args.minutes / step_s))
        taken, folder = _train(args, row, seed, iterations, f"{name}_{seed}_{time.time_ns() // 1000000}")
        about = {"row": name, "seed": seed, "minutes": f"{taken.seconds / 60:.2f}", "iterations": iterations}
        return [{**about, **scores, "run": str(folder)} for scores in scored(args, row, folder)]


def _train(args: argparse.Namespace, row: Row, seed: str, iterations: int, name: str) -> tuple[Timed, Path]:
    """Processor time of a training, and its folder."""
    import seld

    monitor = Path(f"{args.out.with_suffix('').absolute()}_runs") / name
    ids = [] if row.task is None else [row.task, "1"]
    command = ["-train", "--system", row.system, *ids, "--data-root", str(args.train), "--format", "foa", "-rs", seed]
    command += ["-i", str(iterations), "-s", str(iterations), "--select", "last", "--device", "cpu"]
    command += ["--detector", args.detector]
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), timed() as taken:
        status = util.cli.run_main(seld.main, [*command, "-m", str(monitor), *row.flags])
    if status:
        raise InputError(f"{name} ended with {status}: {shown.getvalue()[-500:]}")
    return taken, max(monitor.glob("*/"))


def scored(args: argparse.Namespace, row: Row, folder: Path) -> list[dict[str, str]]:
    """Scores of a run's last checkpoint with every kind of boxes, thresholds tuned on training recordings."""
    import torch

    import job.ship

    checkpoint = folder / "tuned" / "params_tuned_0000000.pth"
    with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        status = util.cli.run_main(job.ship.main, [str(folder), "--tune-on", str(args.train), "--out", str(checkpoint)])
    if status:
        raise InputError(f"{folder}: its thresholds could not be tuned")
    boxes = BOXES if row.looks else BOXES[:1]
    return [{"boxes": one, **_scores(args, checkpoint, one)} for one in boxes]


def _scores(args: argparse.Namespace, checkpoint: Path, boxes: str) -> dict[str, str]:
    """On the test list, percent and degrees."""
    import seld
    from dcase2022_task3_seld_metrics import score

    before = set(checkpoint.parent.glob("pred_*"))
    command = ["-eval", "-em", str(checkpoint), "--data-root", str(args.test), "--detector", args.detector]
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        status = util.cli.run_main(seld.main, [*command, "--boxes", boxes, "--device", "cpu"])
    if status:
        raise InputError(f"{checkpoint}: -eval ended with {status}: {shown.getvalue()[-500:]}")
    (made,) = set(checkpoint.parent.glob("pred_*")) - before
    found = score(args.test / "metadata_dev", made, edition="2023", average="macro")
    of_class = {name: [float(value) for value in found.classwise[name]] for name in ("F", "LE", "LR")}

    def error(classes: tuple[int, ...]) -> float:
        matched = [of_class["LE"][index] for index in classes if of_class["LR"][index] > 0]
        return statistics.mean(matched) if matched else float("nan")

    everything = tuple(range(len(of_class["F"])))
    scores = {
        "F": 100 * found.overall["F"],
        "LE": error(everything),
        "LR": 100 * found.overall["LR"],
        "F_people": 100 * statistics.mean(of_class["F"][index] for index in PEOPLE),
        "LE_people": error(PEOPLE),
    }
    return {name: f"{value:.2f}" for name, value in scores.items()}


def table(lines: list[dict[str, str]]) -> str:
    """Markdown: mean and standard deviation over the seeds, in the order of ROWS."""
    groups: dict[tuple[int, int], list[dict[str, str]]] = defaultdict(list)
    for line in lines:
        groups[list(ROWS).index(line["row"]), BOXES.index(line["boxes"])].append(line)
    made = ["| row | boxes | seeds | minutes | iterations | F20 % | LE deg | LR % | F20 % people | LE deg people |"]
    made.append("|" + "---|" * 10)
    for (index, boxes), some in sorted(groups.items()):
        name = list(ROWS)[index]
        minutes, steps = (statistics.mean(float(line[key]) for line in some) for key in ("minutes", "iterations"))
        cells = [f"`{name}`: {ROWS[name].about}", BOXES[boxes], f"{len(some)}", f"{minutes:.1f}", f"{steps:.0f}"]
        for key in SCORES:
            values = [float(line[key]) for line in some]
            spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.1f}{spread}")
        made.append(f"| {' | '.join(cells)} |")
    return "\n".join(made)


if __name__ == "__main__":
    raise SystemExit(util.cli.run_main(main))
