"""Joint against two-stage against no transfer: the three systems trained alike, seed by seed, and the table of scores.

python -m simulation --layout tau2019 --formats foa --out data_tau2019
python -m bench.two_stage_results --data-root data_tau2019 -i 400 --seeds 0 1 2 --set filters=16,32,64,128

Every stage of a system takes the same number of iterations; of a seed the stage of detection is trained once and shared
by the two-stage systems, which differ in where the convolution blocks of their second stage come from. Flags that are
not of this program go to seld.py (-b, --set, --format, --split, --device). What is finished is not repeated: an
interrupted call goes on when called again.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import util.cli
from util.errors import InputError
from util.files import read_json, write_json

PROJECT = Path(__file__).resolve().parents[1]
SYSTEMS = {"two_stage": ("own", "reference"), "two_stage_scratch": ("own", "reference"), "two_stage_joint": ("own",)}
DONE = "trained.json"
PARTS = 5  # of a training, a checkpoint at the end of each: they are large, and there is nothing to choose


def main(argv: list[str] | None = None) -> int:
    """Train, evaluate, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, metavar="DIR", help="TAU 2019, or a simulated set")
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("-i", "--max-iter", type=int, metavar="N", help="iterations of every stage")
    group.add_argument("--epochs", type=int, metavar="N", help="passes over the training recordings of every stage")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="random seeds [0 1 2]")
    parser.add_argument("--out", type=Path, metavar="DIR", help="[DATA_ROOT/model_monitor/two_stage_results]")
    args, flags = parser.parse_known_args(argv)
    if not args.data_root.is_dir():
        raise InputError("no such data root", path=args.data_root)
    out = (args.out or args.data_root / "model_monitor" / "two_stage_results").resolve()
    if args.max_iter:
        length = f"{args.max_iter} iterations"
        flags = ["-i", str(args.max_iter), "-s", str(-(-args.max_iter // PARTS)), *flags]
    else:
        length = f"{args.epochs} passes over the recordings"
        parts = next(parts for parts in range(PARTS, 0, -1) if args.epochs % parts == 0)
        flags = ["--epochs", str(parts), "--passes-per-epoch", str(args.epochs // parts), *flags]
    _claim(out, {"data_root": str(args.data_root.resolve()), "flags": flags})
    runs = [_run(args.data_root.resolve(), out, system, seed, flags) for seed in args.seeds for system in SYSTEMS]

    from report.two_stage import scores_of, table

    print(table(one for run in runs for one in scores_of(run)))
    print(f"\n{len(args.seeds)} seeds, mean ± standard deviation (n - 1); every stage {length}")
    return 0


def _claim(out: Path, about: dict[str, object]) -> None:
    """Make the folder that of these settings, or find that it is.

    Raises
    ------
    InputError : it holds runs of others
    """
    path = out / "settings.json"
    if path.is_file() and read_json(path) != about:
        raise InputError("holds runs of other settings; choose another --out, or delete it", path=out)
    write_json(path, about)


def _run(data_root: Path, out: Path, system: str, seed: int, flags: Sequence[str]) -> Path:
    """The run of a system and a seed, trained and evaluated as far as it is not yet."""
    folder = out / f"{system}_seed{seed}"
    done = folder / DONE
    if not done.is_file():
        begun = sorted(path for path in folder.glob("*") if (path / "args.json").is_file())
        if begun:
            _seld("-train", "--resume", str(begun[-1]))
        else:
            shared = _detection_of(out, seed) if system == "two_stage_scratch" else []
            where = ["--data-root", str(data_root), "-m", str(folder), "-rs", str(seed)]
            _seld("-train", "--system", system, *where, *shared, *flags)
        (run,) = (path for path in folder.glob("*") if (path / "args.json").is_file())
        write_json(done, {"run": run.name})
    run = folder / read_json(done)["run"]
    for activity in SYSTEMS[system]:
        name = "result_*.txt" if activity == "own" else f"result_*_{activity}-activity.txt"
        found = [path for path in run.glob(name) if activity != "own" or not path.stem.endswith("-activity")]
        if not found:
            _seld("-eval", "-em", str(run), "--data-root", str(data_root), "--activity", activity, *_machine(flags))
    return run


def _detection_of(out: Path, seed: int) -> list[str]:
    """Flags that take the stage of detection from the two-stage run of the seed, which is the same to the bit."""
    (checkpoint,) = sorted((out / f"two_stage_seed{seed}").glob("*/sed/params_*.pth"))[-1:]
    return ["--init", str(checkpoint)]


def _machine(flags: Sequence[str]) -> list[str]:
    """Of flags of a training those that say where to evaluate."""
    return [word for at, word in enumerate(flags) if "--device" in (word, flags[at - 1] if at else "")]


def _seld(*flags: str) -> None:
    command = [sys.executable, "seld.py", *flags]
    print("+", shlex.join(["python", *command[1:]]), file=sys.stderr, flush=True)
    done = subprocess.run(command, cwd=PROJECT, env=os.environ, capture_output=True, text=True)
    if done.returncode:
        raise InputError((done.stderr.strip().splitlines() or ["python seld.py failed"])[-1].removeprefix("error: "))


if __name__ == "__main__":
    raise SystemExit(util.cli.run_main(main))
