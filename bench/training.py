"""Training step against the network's own, validation of a minute, memory of training, what bfloat16 costs in scores.

python bench/training.py                       on the CPU
python bench/training.py --scores data_synthetic
python bench/training.py --device cuda --batch-size 256
python bench/training.py --system avseld       with its augmentation, half of the windows with another one added
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

TURNS = 5  # of the network alone and of whole steps
FASTER = 1.1  # a gain in speed that is worth another precision


def main(argv: list[str] | None = None) -> int:
    """Run the benchmarks, print figures beside the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where the network runs [cpu]")
    parser.add_argument("--system", choices=["crnn", "avseld"], default="crnn", help="that is trained [crnn]")
    parser.add_argument("--format", choices=["foa", "mic"], default="foa", help="of the recordings [foa]")
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
        how = f"{args.workers} loader thread(s), batch {args.batch_size}, {args.system}, {args.format}, 13 classes"
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
    from dataset.seen import BOXES
    from job.data import source_of, training_loader, training_plan
    from system.model import Model, StageModel
    from system.presets import preset_of
    from system.table import system_named
    from util.arguments import resolve
    from util.machine import make_fabric

    folder.mkdir(parents=True, exist_ok=True)
    listed = make_clips(folder, args.format, clips, 60.0, 24000)
    given = {"batch_size": args.batch_size, "device": args.device, "precision": precision, "detector": "builtin"}
    # one iteration: what comes by degrees, as added windows do, has come
    given |= {"net": args.system, "workers": args.workers, "max_iter": 1}
    options = resolve(given, {}, preset_of(args.system).arguments)
    fabric = make_fabric(options.device, 1, precision, training=training)
    torch.manual_seed(0)
    roots = [DataRoot(folder)]
    recordings = recordings_from_list(listed, roots, need_labels=True)
    array, system = recordings[0].array, system_named(args.system)
    row = system.stage("main")
    stage = StageModel(row, row.settings(options, array), array, len(roots[0].classes), visual=True)
    model = Model(system, array, roots[0].classes, {"main": stage}, visual=True).to(fabric.device)
    source = source_of(options, recordings, roots[0].classes, Boxes("builtin", producer=model.producer or BOXES))
    plan = training_plan(options, source, roots, stage.plans)
    return fabric, model, source, lambda step: training_loader(options, source, plan, stage, array, first_step=step)


def _training_step(args: argparse.Namespace, folder: Path, precision: str) -> float:
    """A step of the trainer, from the loader's files on, against forward, loss, backward and optimiser alone.

    Both in turns of a few steps, of which the quickest counts; the loader works in the trainer's turns only, for as
    many batches as it takes. Returns the seconds of the latter. The ratio is given in time and in processor time of all
    threads, which hardly feels what else the machine does; where a processor is free for the loader's threads, the
    former is smaller.
    """
    from feature.front import on_device
    from seld_trainer import SELDTrainer, TrainingSettings

    fabric, whole, _, make_loader = _prepared(args, folder, precision)
    model = whole.last
    trainer = SELDTrainer(fabric, model, TrainingSettings(10**6, 10**6, 1e-3, 1e-6), make_loader=make_loader)
    model.train()
    output_format, device = model.output_format, fabric.device
    with make_loader(0) as loader:
        batch = next(iter(loader))
    features, visual = model.front(on_device(batch, device))
    target = output_format.target(batch["labels"], device)
    turn = max(args.steps // TURNS, 1)

    def network_alone(first: int) -> None:
        for _ in range(turn):
            trainer.optimiser.zero_grad(set_to_none=True)
            with fabric.autocast():
                output = model.network(features, visual)
            loss = output_format.loss(output.float(), target)
            fabric.backward(loss)
            trainer.optimiser.step()

    def as_trained(first: int) -> None:
        loader = make_loader(first)
        loader.stop_step = first + turn
        with loader:
            for batch in loader:
                trainer.step(batch)

    # the first turn, and the first time that each clip is read, warm up
    found: dict[Callable[[int], None], list[tuple[float, float]]] = {network_alone: [], as_trained: []}
    for number in range(TURNS + 1):
        for body, taken in found.items():
            before = time.process_time()
            seconds = _timed(lambda: body(1 + number * turn), device)  # noqa: B023
            taken.append((seconds / turn, (time.process_time() - before) / turn))
    (alone_s, alone_busy_s), (step_s, busy_s) = (map(min, zip(*taken[1:])) for taken in found.values())
    print(
        f"training step, {precision:4s}: network alone {1000 * alone_s:7.1f} ms, whole step {1000 * step_s:7.1f} ms, "
        f"ratio {step_s / alone_s:.2f} (asked: at most 1.2); of processor time {1000 * alone_busy_s:.1f} and "
        f"{1000 * busy_s:.1f} ms, {busy_s / alone_busy_s:.2f}; {args.batch_size / step_s:.0f} windows/s"
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
        command += ["--system", args.system, "--format", args.format, "--batch-size", str(args.batch_size)]
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
