"""A check on recorded input: audio-visual against audio-only on scenes made of recorded sounds and photographs.

python -m simulation --out data_recorded --sound-bank BANK --image-bank PHOTOS --allow-few
python bench/recorded.py --data-root data_recorded --detector yolox_nano.onnx --bank BANK

Per seed it trains both systems on the same windows, scores the audio-visual one with its own boxes, with empty boxes
and with another clip's boxes, and prints a table: mean and standard deviation over seeds, macro over all classes and
over the classes that have recordings. Finished trainings and evaluations are not repeated.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

PROJECT = Path(__file__).resolve().parents[1]
LIST = "dcase2023t3_foa_devtrain_audiovisual.txt"
ROWS = {
    "audio-visual, own boxes": ("av", "own", ""),
    "audio-visual, empty boxes": ("av", "empty", "_empty-boxes"),
    "audio-visual, another clip's boxes": ("av", "other", "_other-boxes"),
    "audio only": ("audio", "own", ""),
}


def main(argv: list[str] | None = None) -> int:
    """Train, evaluate, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True, metavar="DIR", help="the scenes")
    parser.add_argument("--detector", required=True, help="person detector, as for seld.py")
    parser.add_argument(
        "--bank", type=Path, required=True, metavar="DIR", help="sound bank that the scenes were made of"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="random seeds [0 1 2]")
    parser.add_argument("-i", "--max-iter", type=int, help="iterations [as dataset.json says]")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, one thread each [2]")
    args = parser.parse_args(argv)
    _detect(args)
    with ThreadPoolExecutor(args.jobs) as pool:
        tasks = [
            pool.submit(_train_and_evaluate, args, system, seed) for seed in args.seeds for system in ("av", "audio")
        ]
        for task in tasks:
            task.result()
    _print_table(args)
    return 0


def _run(*command: str, threads: int = 1) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    print("+", shlex.join(command), file=sys.stderr, flush=True)
    done = subprocess.run([sys.executable, *command], cwd=PROJECT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])


def _detect(args: argparse.Namespace) -> None:
    _run("object_detection.py", "--data-root", str(args.data_root.resolve()), "--detector", args.detector, threads=2)


def _monitor(args: argparse.Namespace, system: str, seed: int) -> Path:
    return args.data_root.resolve() / "model_monitor" / f"{system}_seed{seed}"


def _train_and_evaluate(args: argparse.Namespace, system: str, seed: int) -> None:
    monitor = _monitor(args, system, seed)
    if not list(monitor.glob("*/params_*.pth")):
        flags = ["-train", "--data-root", str(args.data_root.resolve()), "-m", str(monitor), "-rs", str(seed)]
        flags += ["-twt", LIST, "--detector", args.detector]
        if args.max_iter:
            flags += ["-i", str(args.max_iter), "-s", str(args.max_iter)]
        _run("seld.py", *flags, *(["--no-video"] if system == "audio" else []))
    for of_system, boxes, suffix in ROWS.values():
        if of_system == system and not list(monitor.glob(f"*/result_*_???????{suffix}.txt")):
            (run,) = monitor.iterdir()
            _run("seld.py", "-eval", "-em", str(run), "--boxes", boxes)


def _print_table(args: argparse.Namespace) -> None:
    import numpy as np

    from dcase2022_task3_seld_metrics import score

    recorded = sorted(int(path.name[:2]) for path in args.bank.iterdir() if path.is_dir() and list(path.iterdir()))
    reference = args.data_root / "metadata_dev"
    print(f"{len(args.seeds)} seeds, macro over 13 classes | over the {len(recorded)} recorded classes {recorded}\n")
    header = ("F20 %", "LE deg", "LR %", "ER")
    print("| | " + " | ".join(header) + " | " + " | ".join(f"{name} (recorded)" for name in header[:3]) + " |")
    print("|---" * 8 + "|")
    for title, (system, _, suffix) in ROWS.items():
        values = []
        for seed in args.seeds:
            (folder,) = _monitor(args, system, seed).glob(f"*/pred_dcase2023t3_foa_devtest_???????{suffix}")
            result = score(reference, folder, edition="2023", average="macro", layout="m23s")
            of_class = {name: np.asarray(result.classwise[name])[recorded].mean() for name in ("F", "LE", "LR")}
            overall = result.overall
            values.append([overall["F"], overall["LE"], overall["LR"], overall["ER"], *of_class.values()])
        scale = np.array([100, 1, 100, 1, 100, 1, 100])
        mean, spread = np.mean(values, 0) * scale, np.std(values, 0) * scale
        cells = [
            f"{m:.{2 if i == 3 else 1}f} ± {s:.{2 if i == 3 else 1}f}" for i, (m, s) in enumerate(zip(mean, spread))
        ]
        print(f"| {title} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    raise SystemExit(main())
