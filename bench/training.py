"""Training step against the network's own, validation of a minute, memory of training, what bfloat16 costs in scores.

python bench/training.py                       on the CPU
python bench/training.py --scores data_synthetic
python bench/training.py --device cuda --batch-size 256
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import util.cli  # noqa: F401  as every command line: how PyTorch's threads wait
from bench.machine import machine, peak_mb

if TYPE_CHECKING:
    from dataset.loader import Loader
    from dataset.source import Source
    from system.model import Model
    from util.one_process import Processes

FASTER = 1.1  # a gain in speed that is worth another precision


def main(argv: list[str] | None = None) -> int:
    """Run the benchmarks, print figures beside the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where the network runs [cpu]")
    parser.add_argument("--batch-size", type=int, default=16, help="windows per step [16]")
    parser.add_argument("--steps", type=int, default=30, help="steps to time of each kind [30]")
    parser.add_argument("--workers", type=int, default=1, help="threads of the loader [1]")
    parser.add_argument("--memory-clips", type=int, metavar="N", help=argparse.SUPPRESS)
    parser.add_argument("--skip-memory", action="store_true", help="leave the memory benchmark out")
    parser.add_argument(
        "--scores", metavar="DIR", help="also train on this data root in both precisions and compare (minutes)"
    )
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        if args.memory_clips:
            return _memory_child(args, Path(folder))
        how = f"{args.workers} loader thread(s), batch {args.batch_size}, audio-visual CRNN, FOA, 13 classes"
        print(f"{machine(args.device)}; {how}")
        alone_s = {
            precision: _training_step(args, Path(folder) / f"train{precision}", precision)
            for precision in ("bf16", "32")
        }
        gain = alone_s["32"] / alone_s["bf16"]
        print(f"bfloat16 is {'' if gain >= FASTER else 'not '}faster here: {gain:.2f} times the speed of float32")
        if args.device == "cpu":
            _plain_form(args, Path(folder) / "plain")
        _validation(args, Path(folder) / "validation")
    if args.device == "cpu" and not args.skip_memory:
        _memory(args)
    if args.scores:
        from bench.precision import main as compare

        return compare(["--data-root", args.scores, "--device", args.device])
    return 0


def _prepared(
    args: argparse.Namespace, folder: Path, precision: str, *, clips: int = 20, training: bool = True
) -> tuple[Processes, Model, Source, Callable[[int], Loader]]:
    """Process, model and source for clips of noise with labels, boxes; (first step -> loader) of its training."""
    import torch

    from bench.data_path import make_clips
    from dataset.layouts import DataRoot
    from dataset.recordings import Boxes, recordings_from_list
    from job.data import source_of, training_loader, training_plan
    from system.model import Model, StageModel
    from system.table import system_named
    from util.arguments import resolve
    from util.machine import make_fabric

    folder.mkdir(parents=True, exist_ok=True)
    listed = make_clips(folder, "foa", clips, 60.0, 24000)
    given = {"batch_size": args.batch_size, "device": args.device, "precision": precision, "detector": "builtin"}
    options = resolve({**given, "workers": args.workers}, {})
    fabric = make_fabric(options.device, 1, precision, training=training)
    torch.manual_seed(0)
    roots = [DataRoot(folder)]
    recordings = recordings_from_list(listed, roots, need_labels=True)
    settings, array, system = {"base_channel": 0, "fft_size": 512, "stft_hop_size": 240}, recordings[0].array, "crnn"
    stage = StageModel(system_named(system).stage("main"), settings, array, len(roots[0].classes), visual=True)
    model = Model(system_named(system), array, roots[0].classes, {"main": stage}, visual=True).to(fabric.device)
    source = source_of(options, recordings, roots[0].classes, Boxes("builtin"))
    plan = training_plan(options, source, roots, stage.plans)
    return fabric, model, source, lambda step: training_loader(options, source, plan, stage, array, first_step=step)


def _training_step(args: argparse.Namespace, folder: Path, precision: str) -> float:
    """A step of the trainer, from the loader's files on, against forward, loss, backward and optimiser alone.

    Returns the seconds of the latter. The ratio is given in time and in processor time, which hardly feels what else
    the machine does.
    """
    from feature.front import on_device
    from seld_trainer import SELDTrainer, TrainingSettings

    fabric, whole, _, make_loader = _prepared(args, folder, precision)
    model = whole.last
    trainer = SELDTrainer(fabric, model, TrainingSettings(10**6, 10**6, 1e-3, 1e-6), make_loader=make_loader)
    model.train()
    output_format, device = model.output_format, fabric.device
    with make_loader(0) as loader:
        batches = iter(loader)
        batch = next(batches)
        features, visual = model.front(on_device(batch, device))
        target = output_format.target(batch["labels"], device)

        def network_alone() -> None:
            trainer.optimiser.zero_grad(set_to_none=True)
            with fabric.autocast():
                output = model.network(features, visual)
            loss = output_format.loss(output.float(), target)
            fabric.backward(loss)
            trainer.optimiser.step()

        # In turn, so that both see the same machine; the first rounds warm up.
        alone, busy = [], []
        for step in range(args.steps + 5):
            before = time.process_time()
            first = _timed(network_alone, device)
            used = time.process_time() - before
            trainer.step(next(batches))
            _wait(device)
            if step >= 5:
                alone.append(first)
                busy.append(used)
        # Back to back, as training runs: the loader works while the network does.
        start, before = time.perf_counter(), time.process_time()
        for _ in range(args.steps):
            trainer.step(next(batches))
        _wait(device)
        running = (time.perf_counter() - start) / args.steps
        running_busy = (time.process_time() - before) / args.steps
    alone_s = statistics.median(alone)
    print(
        f"training step, {precision:4s}: network alone {1000 * alone_s:7.1f} ms, whole step {1000 * running:7.1f} ms, "
        f"ratio {running / alone_s:.2f} (asked: at most 1.2), of processor time "
        f"{running_busy / statistics.median(busy):.2f}; {args.batch_size / running:.0f} windows/s"
    )
    return alone_s


def _plain_form(args: argparse.Namespace, folder: Path) -> None:
    """Forward and backward of the network against the plain form of its blocks: convolution, norm, ReLU, pooling."""
    import torch

    from bench.stopwatch import least_seconds, ratio, said
    from feature.front import on_device

    fabric, whole, _, make_loader = _prepared(args, folder, "32")
    model = whole.last.train()
    with make_loader(0) as loader:
        features, visual = model.front(on_device(next(iter(loader)), fabric.device))
    blocks = [block for block in model.network.modules() if isinstance(block, torch.nn.BatchNorm2d)]

    def step(plain: bool) -> None:
        for block in blocks:
            setattr(block, "over_processes", plain)  # noqa: B010 -- what blocks that share their statistics are computed by
        model.zero_grad(set_to_none=True)
        model.network(features, visual).square().mean().backward()

    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for _ in range(3):
        for plain, figures in found.items():
            figures.append(least_seconds(lambda: step(plain), 2))  # noqa: B023
    theirs, ours = ((min(wall), min(cpu)) for wall, cpu in (zip(*found[plain]) for plain in (True, False)))
    print(f"forward and backward: {said(ours)}; plain PyTorch {said(theirs)}, {ratio(theirs, ours)} (goal 2.2)")


def _validation(args: argparse.Namespace, folder: Path) -> None:
    """One minute with cached boxes: read, features, network, decoding, csv, scores."""
    from seld_predictor import SELDPredictor
    from seld_validator import SELDValidator

    warnings.simplefilter("ignore")  # an untrained network predicts nothing, and the metrics say so

    for precision, asked in (("bf16", 0.25), ("32", 0.5)):
        fabric, model, source, _ = _prepared(args, folder / precision, precision, clips=1)
        validator = SELDValidator(source, classes=model.classes)
        predictor = SELDPredictor(
            fabric,
            model,
            thresholds=[0.3] * 13,
            unification_deg=15.0,
            batch_size=args.batch_size,
            workers=args.workers,
        )
        out = folder / "pred"
        seconds = [
            _timed(lambda: validator.validate(predictor, csv_dir=out), fabric.device)  # noqa: B023
            for _ in range(8)
        ][3:]
        median = statistics.median(seconds)
        print(
            f"validating one minute, {precision:4s}: {median:.3f} s (asked: at most {asked} s), "
            f"{60 / median:.0f} times real time"
        )


def _memory(args: argparse.Namespace) -> None:
    """Resident memory of training above the imports, with few and with many clips, each in a process of its own."""
    for clips in (10, 500):
        command = [sys.executable, __file__, "--memory-clips", str(clips), "--workers", str(args.workers)]
        done = subprocess.run([*command, "--steps", "40"], capture_output=True, text=True, check=True)
        print(done.stdout, end="")


def _memory_child(args: argparse.Namespace, folder: Path) -> int:
    import job.train  # noqa: F401  the imports of a training
    from seld_trainer import SELDTrainer, TrainingSettings

    imports = peak_mb()
    fabric, model, _, make_loader = _prepared(args, folder, "bf16", clips=args.memory_clips)
    trainer = SELDTrainer(fabric, model.last, TrainingSettings(10**6, 10**6, 1e-3, 1e-6), make_loader=make_loader)
    model.train()
    with make_loader(0) as loader:
        for _, batch in zip(range(args.steps), loader):
            trainer.step(batch)
    print(
        f"memory of training, batch {args.batch_size}, {args.memory_clips:3d} clips of 60 s: "
        f"{peak_mb() - imports:.0f} MB above the imports ({imports:.0f} MB; asked: at most 900 MB)"
    )
    return 0


def _timed(body: Callable[[], object], device: object) -> float:
    start = time.perf_counter()
    body()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    raise SystemExit(main())
