"""python -m job.ship: a checkpoint to give away: thresholds tuned on training recordings, weights alone, halved."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from dataset.layouts import DataRoot
from dataset.recordings import Labels, Recording, recording_of_file
from dataset.source import Source, Visual
from dataset.true_boxes import SupposedBoxes
from job.tuning_thresholds import tuned_thresholds
from seld_predictor import SELDPredictor, load
from system.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from util.cli import run_main
from util.errors import InputError
from util.runs import result_checkpoint
from util.thresholds import Thresholds

KEPT = ("net", "detector", "edition", "sampling_frequency", "fft_size", "stft_hop_size", "max_iter", "batch_size")


def tuned(checkpoint: Path, recordings: Sequence[Recording]) -> Thresholds:
    """Thresholds of a checkpoint by its outputs on labelled recordings."""
    inference = load(checkpoint, device="cpu")
    model = inference.model
    labels = Labels(len(model.classes), classes=model.classes)
    predictor = SELDPredictor(
        inference.fabric,
        model,
        thresholds=inference.thresholds.presence,
        unification_deg=inference.thresholds.unification_deg,
    )
    seen: Visual | None = None
    if model.visual and model.producer is not None:
        seen = model.producer.nothing
        if model.system.supposes:
            seen = SupposedBoxes(model.classes, seen, things=model.producer.things)
    thresholds, scores = tuned_thresholds(predictor, Source(recordings, labels, seen), model.classes)
    for name, threshold, value in zip(model.classes, thresholds.presence, scores):
        print(f"  {name:24s} threshold {threshold:.2f}  F {100 * value:.0f} %")
    return thresholds


def slimmed(checkpoint: Checkpoint) -> Checkpoint:
    """What inference needs of a checkpoint: weights in half precision, nothing of the training's state and places."""
    stages = {}
    for name, state in checkpoint.stages.items():
        weights = {key: value.half() if value.is_floating_point() else value for key, value in state.weights.items()}
        stages[name] = replace(state, weights=weights, trained={})
    arguments = {name: value for name, value in checkpoint.arguments.items() if name in KEPT}
    return replace(checkpoint, stages=stages, arguments=arguments, recordings={})


def main(argv: list[str] | None = None) -> int:
    """The command; see --help."""
    parser = argparse.ArgumentParser(
        prog="python -m job.ship",
        description="Make a small checkpoint file for others of a run: weights in half precision, no optimiser, no "
        "paths of yours. With --tune-on, the threshold of each class is the one with the best F score on the first "
        "recordings of that data root's training split; never tune on what the checkpoint is scored on.",
        epilog="Example: python -m job.ship data_mine/model_monitor/RUN --tune-on data_mine --out pretrained/foa.pth",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder or checkpoint")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to be written")
    parser.add_argument(
        "--tune-on", type=Path, metavar="DIR", help="data root whose training recordings decide thresholds"
    )
    parser.add_argument("--recordings", type=int, default=40, metavar="N", help="how many of them (default: 40)")
    args = parser.parse_args(argv)
    path = result_checkpoint(args.run) if args.run.is_dir() else args.run
    content = load_checkpoint(path)
    if args.tune_on is not None:
        root = DataRoot(args.tune_on)
        folder = {"foa": "foa_dev", "mic": "mic_dev", "binaural": "binaural_dev"}.get(content.array["name"], "foa_dev")
        files = sorted((root.path / folder).glob("dev-train*/*.wav"))[: args.recordings]
        recordings = [one for one in map(recording_of_file, files) if one.labels is not None]
        if not recordings:
            raise InputError("holds no labelled training recording", path=root.path / folder)
        content = replace(content, thresholds=tuned(path, recordings).to_dict())
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(args.out, slimmed(content))
    print(f"{args.out}: {args.out.stat().st_size / 2**20:.1f} MB of {path.stat().st_size / 2**20:.1f}")
    return 0


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    sys.exit(run_main(main))
