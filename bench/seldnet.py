"""SELDnet on its own sizes: training step, recurrent layer and convolution stages against their plain forms, features.

python bench/seldnet.py
python bench/seldnet.py --device cuda

Times are wall clock and, on the CPU, processor seconds in brackets, which hardly feel what else the machine does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import util.cli
from bench.machine import machine, peak_mb
from bench.stopwatch import least_seconds, ratio, said

SYSTEMS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "seldnet2018": ((8, 512, 256), {"bins": 256, "doa_axes": 2}),
    "seldnet2019": ((8, 128, 1024), {"bins": 1024, "pools": (8, 8, 4), "doa_axes": 2, "doa_activation": "linear"}),
    "seldnet2019_gru": ((7, 128, 64), {"bins": 64, "pools": (4, 4, 2), "doa_axes": 2, "conventions": "tf2"}),
}
RATES_HZ = {"seldnet2018": 44100, "seldnet2019": 48000, "seldnet2019_gru": 48000}


def main(argv: list[str] | None = None) -> int:
    """Run the benchmarks and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where the network runs [cpu]")
    parser.add_argument("--batch-size", type=int, default=16, help="sequences per step [16]")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement, the fastest counts [3]")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), help="[all]")
    parser.add_argument("--skip-plain", action="store_true", help="leave the plain forms out (they take memory)")
    args = parser.parse_args(argv)
    print(f"{machine(args.device)}; batches of {args.batch_size} sequences, float32")
    for name in args.systems:
        _features(name, args)
        _network(name, args)
    if not args.skip_plain:
        _recurrent(args)
    return 0


def _features(name: str, args: argparse.Namespace) -> None:
    """Feature of one batch, from the waveform on."""
    import torch

    from feature.logmel_intensity import LogmelIntensity
    from feature.magnitude_phase import SELDNET2018, SELDNET2019, MagnitudePhase

    (_, frames, _), _ = SYSTEMS[name]
    made = {
        "seldnet2018": lambda **how: MagnitudePhase(4, **SELDNET2018, **how),
        "seldnet2019": lambda **how: MagnitudePhase(4, **SELDNET2019, **how),
        "seldnet2019_gru": lambda **how: LogmelIntensity(4, **how),
    }[name]
    for precision in (torch.float64, torch.float32):
        feature = made(precision=precision).to(args.device)
        samples = (frames - 1) * feature.hop_length + feature.n_fft
        waveform = torch.randn(args.batch_size, 4, samples, device=args.device) * 0.1
        seconds = samples * args.batch_size / RATES_HZ[name]
        figures = least_seconds(lambda: feature(waveform), args.repeats, args.device)  # noqa: B023
        bits = str(precision).split(".")[1]
        print(f"{name}: feature of a batch ({seconds:.0f} s of audio), {bits} transform: {said(figures)}")


def _network(name: str, args: argparse.Namespace) -> None:
    """Training step (forward, backward, Adam) and inference, with the plain convolution stages beside."""
    import torch
    from torch.nn import functional

    from net import seldnet

    def plain(x: torch.Tensor, conv: Any, norm: Any, pool: int | tuple[int, int]) -> torch.Tensor:
        pool = pool if isinstance(pool, tuple) else (1, pool)
        return functional.max_pool2d(functional.relu(norm(conv(x))), pool)

    shape, settings = SYSTEMS[name]
    torch.manual_seed(0)
    network = seldnet.SELDnet(shape[0], 11, **settings).to(args.device)
    x = torch.randn(args.batch_size, *shape, device=args.device)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-6)

    def step() -> None:
        optimiser.zero_grad()
        network.train()(x).square().mean().backward()
        optimiser.step()

    @torch.no_grad()
    def infer() -> None:
        network.eval()(x)

    for what, run in (("training step", step), ("inference", infer)):
        ours = least_seconds(run, args.repeats, args.device)
        print(f"{name}: {what} {tuple(x.shape)}: {said(ours)}")
        if what == "training step" and args.device == "cpu":
            print(f"{name}: peak memory of the process so far {peak_mb():.0f} MB")
        if args.skip_plain or args.device != "cpu":  # elsewhere the stages are the plain ones
            continue
        with (
            mock.patch.object(seldnet, "conv_binnorm_relu_pool", plain),
            mock.patch.object(seldnet, "conv_norm_relu_pool", plain),
        ):
            theirs = least_seconds(run, args.repeats, args.device)
        print(f"{name}: {what} with plain convolution stages: {said(theirs)}, {ratio(theirs, ours)}")


def _recurrent(args: argparse.Namespace) -> None:
    """A GRU layer of 128 units over 512 steps, forward and backward, against a loop over each direction."""
    import torch

    from net.recurrent import KerasGRU

    layer = KerasGRU(128, 128).to(args.device)
    x = torch.randn(args.batch_size, 512, 128, device=args.device, requires_grad=True)

    def loop(inputs: torch.Tensor) -> torch.Tensor:
        made = []
        for direction in range(2):
            kernel, recurrent, bias = (p[direction] for p in (layer.kernel, layer.recurrent, layer.bias))
            projected = inputs @ kernel + bias
            h, out = inputs.new_zeros(len(inputs), 128), []
            for step in (projected.flip(1) if direction else projected).unbind(1):
                z, r = (0.2 * (step[:, :256] + h @ recurrent[:, :256]) + 0.5).clamp(0, 1).chunk(2, dim=1)
                h = z * h + (1 - z) * torch.tanh(step[:, 256:] + (r * h) @ recurrent[:, 256:])
                out.append(h)
            made.append(torch.stack(out, dim=1))
        return made[0] * made[1].flip(1)

    figures = {}
    for name, run in (("one loop for both directions, gradients by hand", layer), ("a loop per direction", loop)):

        def both() -> None:
            run(x).sum().backward()  # noqa: B023

        figures[name] = least_seconds(both, args.repeats, args.device)
        print(f"GRU, 512 steps, forward and backward, {name}: {said(figures[name])}")
    ours, theirs = figures.values()
    print(f"GRU: {ratio(theirs, ours)}")


if __name__ == "__main__":
    raise SystemExit(util.cli.run_main(main))
