"""Two-stage SELD: feature of a minute against the plain loop with librosa, network against the matrix product.

python bench/two_stage.py
python bench/two_stage.py --device cuda

On the CPU everything has one thread. Times are wall clock and, on the CPU, processor seconds in brackets, which hardly
feel what else the machine does; ratios are given of both.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import util.cli
from bench.machine import machine
from bench.stopwatch import least_seconds, ratio, said

if TYPE_CHECKING:
    import numpy as np

FRAMES = 200  # of a training item
LEAST = 8.0  # times as fast as the plain loop that the feature must be


def main(argv: list[str] | None = None) -> int:
    """Run the benchmarks and print the figures; 1 where the feature is slower than it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where feature and network run [cpu]")
    parser.add_argument("--batch-size", type=int, default=4, help="chunks per step [4; the published size is 32]")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the recording [60]")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement, the fastest counts [3]")
    parser.add_argument("--skip-network", action="store_true", help="features only")
    args = parser.parse_args(argv)
    import torch

    if args.device == "cpu":
        torch.set_num_threads(1)
    print(f"{machine(args.device)}; recording of {args.seconds:g} s, 4 channels")
    fast = _features(args)
    if not args.skip_network:
        _network(args)
        with tempfile.TemporaryDirectory() as folder:
            _whole_step(args, Path(folder))
    return 0 if fast else 1


def _features(args: argparse.Namespace) -> bool:
    """Every feature of a recording, and the plain loop for the one of the published system."""
    import numpy as np
    import soxr
    import torch

    from feature.logmel_gcc import TWO_STAGE, TWO_STAGE_INTENSITY, Logmel, LogmelGCC
    from feature.logmel_intensity import LogmelIntensity

    samples = round(args.seconds * TWO_STAGE["rate_hz"])
    waveform = np.random.default_rng(0).standard_normal((4, samples)).astype(np.float32) * 0.1
    original = np.repeat(waveform, 2, axis=1)[:, : samples * 3 // 2].T.copy()
    resampling = least_seconds(lambda: soxr.resample(original, 48000, 32000, "HQ"), args.repeats)
    print(f"48 -> 32 kHz, soxr HQ: {said(resampling)}")
    batch = torch.from_numpy(waveform)[None].to(args.device)
    figures = {}
    for name, feature in (
        ("logmel", Logmel(4, **TWO_STAGE)),
        ("logmelgcc", LogmelGCC(4, **TWO_STAGE)),
        ("logmeliv", LogmelIntensity(4, **TWO_STAGE, **TWO_STAGE_INTENSITY, precision=torch.float32)),
    ):
        feature = feature.to(args.device)
        figures[name] = least_seconds(lambda: feature.whole(batch), args.repeats, args.device)  # noqa: B023
        print(f"{name}: {said(figures[name])}")
    made = LogmelGCC(4, **TWO_STAGE).to(args.device).whole(batch)[0].cpu().numpy()
    found: list[np.ndarray] = []
    theirs = least_seconds(lambda: found.append(plain_logmel_gcc(waveform)), 1, args.device)
    off = np.abs(made - found[-1])
    print(f"logmelgcc, plain loop with librosa: {said(theirs)}, {ratio(theirs, figures['logmelgcc'])}")
    print(f"largest difference: {off[:4].max():.1e} dB, {off[4:].max():.1e} of a correlation")
    fast = theirs[args.device == "cpu"] / figures["logmelgcc"][args.device == "cpu"] >= LEAST
    print(f"at least {LEAST:g} times as fast: {'yes' if fast else 'NO'}")
    return fast


def plain_logmel_gcc(waveform: np.ndarray) -> np.ndarray:
    """The feature as one writes it down with librosa: two transforms per pair, a Python loop over the frames."""
    import librosa
    import numpy as np

    mel = librosa.filters.mel(sr=32000, n_fft=1024, n_mels=96, fmin=50, fmax=16000).T
    maps = []
    for channel in waveform:
        spectrum = librosa.stft(channel, n_fft=1024, hop_length=320, pad_mode="reflect").T
        maps.append(librosa.power_to_db(np.abs(spectrum) ** 2 @ mel, amin=1e-10, top_db=None))
    for n, m in combinations(range(len(waveform)), 2):
        x, y = (librosa.stft(waveform[i], n_fft=2048, hop_length=320, pad_mode="reflect") for i in (n, m))
        rows = []
        for frame in (y * np.conj(x)).T:
            lags = np.fft.irfft(np.exp(1j * np.angle(frame)))
            rows.append(np.concatenate((lags[-48:], lags[:48])))
        maps.append(np.stack(rows))
    return np.stack(maps)


def _network(args: argparse.Namespace) -> None:
    """Training step and inference of CRNN10, and how near they come to a large matrix product."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from net.two_stage import CRNN10
    from output_format.two_stage import TwoStage

    torch.manual_seed(0)
    network, loss = CRNN10(10, 11).to(args.device), TwoStage(11, beta=0.2).loss
    x = torch.randn(args.batch_size, 10, FRAMES, 96, device=args.device)
    target = (torch.rand(args.batch_size, 3, 11, FRAMES, device=args.device) > 0.9).float()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-6, amsgrad=True)

    def step() -> None:
        optimiser.zero_grad()
        loss(network.train()(x), target).backward()
        optimiser.step()

    @torch.no_grad()
    def infer() -> None:
        network.eval()(x)

    square = torch.randn(2048, 2048, device=args.device)
    product = least_seconds(lambda: square @ square, args.repeats, args.device)
    peak = 2 * 2048**3 / product[args.device == "cpu"]
    print(f"matrix product: {peak / 1e9:.0f} GFLOP/s in float32")
    for name, run in (("training step", step), ("inference", infer)):
        for bits, dtype in (("float32", None), ("bfloat16", torch.bfloat16)):
            with torch.autocast(args.device, dtype or torch.bfloat16, enabled=dtype is not None):
                figures = least_seconds(run, args.repeats, args.device)
            with FlopCounterMode(display=False) as counter:
                run()
            rate = counter.get_total_flops() / figures[args.device == "cpu"]
            print(f"CRNN10, {name} of {tuple(x.shape)}, {bits}: {said(figures)}, {rate / peak:.2f} of the product")


def _whole_step(args: argparse.Namespace, folder: Path) -> None:
    """A step of the trainer, from the files on, against forward, loss, backward and optimiser of its network alone."""
    import torch

    from bench.data_path import make_clips
    from dataset.layouts import DataRoot
    from dataset.recordings import recordings_from_list
    from feature.front import on_device
    from job.data import source_of, training_loader, training_plan
    from seld_trainer import SELDTrainer, TrainingSettings
    from system.model import StageModel
    from system.table import system_named
    from util.job_arguments import Arguments
    from util.machine import make_fabric

    listed, roots = make_clips(folder, "foa", 4, 20.0, 48000), [DataRoot(folder)]
    recordings = recordings_from_list(listed, roots, need_labels=True)
    asked = Arguments(sampling_frequency=32000, fft_size=1024, stft_hop_size=320, batch_size=args.batch_size)
    stage, array, classes = system_named("two_stage").stage("doa"), recordings[0].array, roots[0].classes
    maps = stage.front(settings := stage.settings(asked, array), array, False, None).audio
    ones = torch.ones(maps.maps, maps.bins)
    statistics = {"mean": 0 * ones, "scale": ones, "variance": ones, "feature": settings["feature"]}
    fabric = make_fabric(args.device, 1, "32", training=True)
    model = StageModel(stage, settings, array, len(classes), visual=False, statistics=statistics).to(fabric.device)
    source = source_of(asked, recordings, classes, None)
    plan = training_plan(asked, source, roots, model.plans)
    trainer = SELDTrainer(
        fabric,
        model,
        TrainingSettings(10**6, 10**6, 1e-3, 0.0),
        make_loader=lambda step: training_loader(asked, source, plan, model, array, first_step=step),
    )
    model.train()
    with training_loader(asked, source, plan, model, array) as loader:
        batches = iter(loader)
        batch = next(batches)
        features, _ = model.front(on_device(batch, fabric.device))
        target = model.output_format.target(batch["labels"], fabric.device)

        def alone() -> None:
            trainer.optimiser.zero_grad(set_to_none=True)
            fabric.backward(model.output_format.loss(model.network(features, None).float(), target))
            trainer.optimiser.step()

        network, step = (
            least_seconds(alone, args.repeats, args.device),
            least_seconds(lambda: trainer.step(next(batches)), args.repeats, args.device),
        )
    print(
        f"trainer, chunks of {FRAMES} frames, batch {args.batch_size}: step {said(step)}, network alone "
        f"{said(network)}: {step[0] / network[0]:.2f} ({step[1] / network[1]:.2f}) times (asked: at most 1.2)"
    )


if __name__ == "__main__":
    raise SystemExit(util.cli.run_main(main))
