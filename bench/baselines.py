"""Which system should I take? Every audio system on one simulated set, the same minutes of training, three seeds.

python bench/baselines.py --data DIR --out results.csv                 # makes the set in DIR where it is not there
python bench/baselines.py --data DIR --out results.csv --minutes 20 --systems seldnet2023:3,seldnet2024:3 --seeds 0,1
python bench/baselines.py --out results.csv --table                    # the table of what is done so far

One row per system, task and seed is appended to the csv as soon as it is known; called again it goes on with those that
are missing. Scores are those of the last checkpoint on the test recordings by the edition of 2023, macro average:
nothing is chosen on them.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import util.cli
from util.errors import InputError

COLUMNS = ("system", "task", "seed", "minutes", "iterations", "F", "ER", "LE", "LR", "SELD_error", "parameters", "run")
SCORES = ("F", "ER", "LE", "LR", "SELD_error")
# system:task, "-" where there are none; windows, sequences and streams of all families
SYSTEMS = (
    "crnn:-", "seldnet2022:3", "seldnet2022:6", "seldnet2022:7", "seldnet2023:2", "seldnet2023:3", "seldnet2023:6",
    "seldnet2023:7", "seldnet2024:3", "seldnet2024:6",
)  # fmt: skip
BATCH = {"crnn": 16}  # of the others 8 sequences of 5 s


def main(argv: list[str] | None = None) -> int:
    """Train what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="data root in the layout of STARSS23, FOA and MIC")
    parser.add_argument("--out", type=Path, default=Path("baselines.csv"), metavar="CSV", help="rows [baselines.csv]")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, of every run [10]")
    parser.add_argument("--seeds", default="0,1,2", help="[0,1,2]")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="SYSTEM:TASK,... [all of this layout]")
    parser.add_argument("--device", default="auto", help="[auto]")
    parser.add_argument("--table", action="store_true", help="only print the table")
    args = parser.parse_args(argv)
    if not args.table:
        if args.data is None:
            raise InputError("--data DIR: where is the set, or where is it to be made?")
        _make(args.data)
        done = {(row["system"], row["task"], row["seed"]) for row in _rows(args.out)}
        due = [
            (*name.split(":"), seed)
            for seed in args.seeds.split(",")
            for name in args.systems.split(",")
            if (*name.split(":"), seed) not in done
        ]
        for number, (system, task, seed) in enumerate(due, start=1):
            print(f"{number}/{len(due)}  {system} {task}, seed {seed}, {args.minutes:g} min", flush=True)
            _append(args.out, _run(args, system, task, seed))
    print(table(_rows(args.out)))
    return 0


def _make(root: Path) -> None:
    """The simulated set: 60 training clips and 20 test clips of 30 s, Ambisonics and microphones."""
    if not (root / "foa_dev").is_dir():
        how = ["--out", str(root), "--train", "60", "--test", "20", "--formats", "foa,mic"]
        subprocess.run([sys.executable, "-m", "simulation", *how], check=True, cwd=Path(__file__).parents[1])


def _command(args: argparse.Namespace, system: str, task: str, seed: str, iterations: int, name: str) -> list[str]:
    ids = [] if task == "-" else [task, name]
    flags = ["--data-root", str(args.data), "--random-seed", seed, "--device", args.device, "-i", str(iterations)]
    flags += ["-s", str(iterations), "-b", str(BATCH.get(system, 8)), "--edition", "2023", "--select", "last"]
    flags += ["-m", str(args.out.with_suffix("").absolute()) + "_runs"]
    if task == "-":
        flags += ["--no-video"]
    return ["-train", "-val", "--system", system, *ids, *flags]


def _run(args: argparse.Namespace, system: str, task: str, seed: str) -> dict[str, object]:
    """One training: its speed is measured first, then as many steps as the minutes hold."""
    first, second = (_timed(args, system, task, seed, steps, f"speed{steps}") for steps in (4, 24))
    step_s = max((second[0] - first[0]) / 20, 1e-4)
    iterations = max(20, round(60 * args.minutes / step_s))
    wall_s, folder, parameters = _timed(args, system, task, seed, iterations, "whole")
    head, values = _result(folder, args)
    found = dict(zip(head, values))
    about = {"system": system, "task": task, "seed": seed, "minutes": f"{wall_s / 60:.1f}", "iterations": iterations}
    return {**about, **{name: found.get(name, "") for name in SCORES}, "parameters": parameters, "run": str(folder)}


def _timed(
    args: argparse.Namespace, system: str, task: str, seed: str, iterations: int, what: str
) -> tuple[float, Path, str]:
    """Seconds of a training, its folder, the number of its parameters."""
    import seld

    monitor = Path(str(args.out.with_suffix("").absolute()) + "_runs")
    before = set(monitor.glob("*"))
    name = f"{what}_{task}_{seed}_{time.time_ns() // 1000000}".replace("-", "x")
    shown = io.StringIO()
    begin = time.perf_counter()
    with contextlib.redirect_stdout(shown):
        status = util.cli.run_main(seld.main, _command(args, system, task, seed, iterations, name))
    wall_s = time.perf_counter() - begin
    if status:
        raise InputError(f"{system} {task} ended with {status}: {shown.getvalue()[-500:]}")
    (folder,) = set(monitor.glob("*")) - before
    parameters = next(line for line in shown.getvalue().splitlines() if line.endswith(" parameters")).split()[-2]
    return wall_s, folder, parameters


def _result(folder: Path, args: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Names and values of the overall scores of the last checkpoint on the test list."""
    import seld

    if not any(folder.glob("result_*.txt")):  # runs in iterations are not scored at their end
        evaluated = ["-eval", "-em", str(folder), "--data-root", str(args.data), "--edition", "2023", "--device"]
        with contextlib.redirect_stdout(io.StringIO()):
            util.cli.run_main(seld.main, [*evaluated, args.device])
    (result,) = folder.glob("result_*.txt")
    lines = result.read_text(encoding="utf-8").splitlines()
    return lines[1].split("\t")[1:], lines[2].split("\t")[1:]


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _append(path: Path, row: dict[str, object]) -> None:
    new = not path.is_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def table(rows: list[dict[str, str]]) -> str:
    """Markdown: mean and spread over the seeds, best F first."""
    groups: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        groups[row["system"], row["task"]].append(row)
    lines = ["| system | task | seeds | minutes | iterations | " + " | ".join(SCORES) + " | parameters |"]
    lines.append("|" + "---|" * (len(SCORES) + 6))
    made = []
    for (system, task), some in groups.items():
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
        head = f"| `{system}` | {task} | {len(some)} | {minutes:.1f} | {steps:.0f} | "
        made.append((key, head + " | ".join(cells) + f" | {some[0]['parameters']} |"))
    return "\n".join([*lines, *(line for _, line in sorted(made, reverse=True))])


if __name__ == "__main__":
    raise SystemExit(util.cli.run_main(main))
