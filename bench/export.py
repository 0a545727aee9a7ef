"""Exported systems: the same raw output as the checkpoint's, and onnxruntime against PyTorch, batched.

python bench/export.py                        # needs requirements-export.txt
python bench/export.py crnn vit --data-root data_synthetic
python bench/export.py crnn --seconds 60 --threads 2

Networks are untrained; times do not depend on that, differences hardly. Sound is a recording of the data root where it
has the rate of the system, else noise from changing directions. Least times of alternating calls, processor time in
brackets.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import util.cli
from bench.machine import machine
from bench.stopwatch import least_seconds, ratio, said

SYSTEMS = ("crnn", "vit", "seldnet2018", "seldnet2019", "seldnet2019_final", "two_stage_joint")


def main(argv: list[str] | None = None) -> int:
    """Export, compare and time systems; 1 where an output differs by more than 1e-4."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", default=list(SYSTEMS), help=f"[{' '.join(SYSTEMS)}]")
    parser.add_argument("--data-root", help="FOA recordings of it are heard, where they have the rate of the system")
    parser.add_argument("--seconds", type=float, default=20.0, help="of sound [20]")
    parser.add_argument("--batch-size", type=int, default=16, help="windows at a time [16]")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement, the fastest counts [3]")
    parser.add_argument("--threads", type=int, default=1, help="of each [1]")
    args = parser.parse_args(argv)
    import torch

    torch.set_num_threads(args.threads)
    print(f"{machine('cpu')}; {args.seconds:g} s of sound, {args.threads} thread(s), batch {args.batch_size}")
    with tempfile.TemporaryDirectory() as folder:
        differences = [_system(name, args, Path(folder)) for name in args.systems]
    return int(max(differences) > 1e-4)


def _system(name: str, args: argparse.Namespace, folder: Path) -> float:
    import numpy as np

    import seld
    from dataset.loader import Loader
    from dataset.source import Source
    from job.sound import open_sound
    from seld_predictor import load
    from tests.checkpoints import recording as noise
    from tests.exports import untrained_system

    checkpoint, graph = folder / f"{name}.pth", folder / f"{name}.onnx"
    untrained_system(checkpoint, name)
    seld.main(["-export", str(checkpoint), "--out", str(graph)])
    both = [load(path, device="cpu", batch_size=args.batch_size) for path in (checkpoint, graph)]
    rate_hz = both[0].rate_hz
    sound = next(iter(sorted(Path(args.data_root).glob("foa_dev/**/*.wav"))), None) if args.data_root else None
    if sound is None or rate_hz != 24000:
        sound = noise(folder / f"{rate_hz}.wav", args.seconds, rate_hz=rate_hz)
    heard = open_sound(sound, both[0].model.array)
    raw = [one.prediction(heard).raw for one in both]
    difference = float(np.abs(raw[0] - raw[1]).max())
    source = Source([heard])
    plan = both[0].model.last.plans.evaluation(source.lengths(rate_hz))
    with Loader(source, plan, batch_size=args.batch_size, of_whole=both[0].model.last.of_whole, workers=0) as loader:
        batch = next(iter(loader))
    times = [least_seconds(partial(one.model.last.predict, batch), args.repeats) for one in both]
    seconds = len(batch["waveform"]) * batch["waveform"].shape[2] / rate_hz
    print(
        f"{name:20s} {graph.stat().st_size / 1e6:5.1f} MB, difference {difference:.1e} of {np.abs(raw[0]).max():.2f}; "
        f"{len(batch['waveform'])} items ({seconds:.0f} s): PyTorch {said(times[0])}, onnxruntime {said(times[1])}: "
        f"{ratio(times[1], times[0])}",
        flush=True,
    )
    return difference


if __name__ == "__main__":
    sys.exit(util.cli.run_main(main))
