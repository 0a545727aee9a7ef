"""What bfloat16 costs in scores: training and evaluation in both precisions, everything else equal.

python bench/precision.py --data-root data_synthetic -i 500
python bench/precision.py --data-root data_synthetic --checkpoint data_synthetic/model_monitor/20261121115317
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import util.cli  # noqa: F401  as every command line: how PyTorch's threads wait
from bench.machine import machine

PRECISIONS = ("32", "bf16")


@dataclass(frozen=True)
class Outcome:
    """Loss and official scores of one evaluation; the localisation error over the classes matched beside them."""

    loss: float
    f: float
    le_deg: float
    lr: float
    le_matched_deg: float

    def __sub__(self, other: Outcome) -> Outcome:
        return Outcome(*(mine - theirs for mine, theirs in zip(self.row(), other.row())))

    def row(self) -> tuple[float, ...]:
        """The values in the order of the table."""
        return self.loss, self.f, self.le_deg, self.lr, self.le_matched_deg


def main(argv: list[str] | None = None) -> int:
    """Train once per precision (or take a checkpoint), evaluate each in both, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, metavar="DIR", help="recordings with labels")
    parser.add_argument("--checkpoint", metavar="FILE", help="evaluate this one, train nothing")
    parser.add_argument("-i", "--max-iter", type=int, default=500, help="iterations of a training [500]")
    parser.add_argument("--seed", type=int, default=0, help="random seed of both trainings [0]")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where the network runs [cpu]")
    args = parser.parse_args(argv)
    print(f"{machine(args.device)}; {args.data_root}, seed {args.seed}", end="")
    print(f", checkpoint {args.checkpoint}" if args.checkpoint else f", {args.max_iter} iterations")
    print(
        f"{'trained in':>12} {'evaluated in':>12} {'loss':>9} {'F20 %':>8} {'LE deg':>8} {'LR %':>8} {'LE matched':>10}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for trained in ("-",) if args.checkpoint else PRECISIONS:
            checkpoint = args.checkpoint or _train(args, trained, Path(folder) / trained)
            found = {}
            for evaluated in PRECISIONS:
                found[evaluated] = evaluate(args, checkpoint, evaluated)
                _print_row(trained, evaluated, found[evaluated])
            _print_row(trained, "difference", found["bf16"] - found["32"])
    return 0


def _print_row(trained: str, evaluated: str, outcome: Outcome) -> None:
    loss, f, le_deg, lr, matched_deg = outcome.row()
    scores = f"{loss:9.5f} {100 * f:8.2f} {le_deg:8.2f} {100 * lr:8.2f} {matched_deg:10.2f}"
    print(f"{trained:>12} {evaluated:>12} {scores}")


def _train(args: argparse.Namespace, precision: str, folder: Path) -> str:
    """Train in a precision; the run folder."""
    from seld import main as seld

    flags = ["--data-root", str(args.data_root), "-m", str(folder), "--device", args.device, "--precision", precision]
    iterations = ["-i", str(args.max_iter), "-s", str(args.max_iter), "-rs", str(args.seed)]
    with contextlib.redirect_stdout(io.StringIO()):
        seld(["-train", *flags, *iterations])
    (run,) = folder.iterdir()
    return str(run)


def evaluate(args: argparse.Namespace, checkpoint: str, precision: str) -> Outcome:
    """Evaluate a checkpoint in a precision through the command line; scores of the csv files that it wrote.

    They go to a copy of the checkpoint: a run folder keeps its own results.
    """
    from dcase2022_task3_seld_metrics import score
    from seld import main as seld
    from util.runs import result_checkpoint

    path = Path(checkpoint)
    path = result_checkpoint(path) if path.is_dir() else path
    with tempfile.TemporaryDirectory() as folder:
        copied = shutil.copy(path, folder)
        flags = ["--data-root", str(args.data_root), "--device", args.device, "--precision", precision]
        with contextlib.redirect_stdout(io.StringIO()):
            seld(["-eval", "-em", copied, *flags])
        (csv,) = Path(folder).glob("pred_*")
        (result,) = Path(folder).glob("result_*.txt")
        (loss,) = map(float, re.findall(r"^# loss ([0-9.]+)", result.read_text(), re.M))
        scores = score(args.data_root / "metadata_dev", csv)
    overall = scores.overall
    return Outcome(loss, overall["F"], overall["LE"], overall["LR"], scores.occurring["LE_matched"])


if __name__ == "__main__":
    raise SystemExit(main())
