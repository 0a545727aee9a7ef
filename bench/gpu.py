"""What a GPU gives: correctness of every network against the CPU, training step against the bare network, data path,
compilation, several processes, inference, memory. `bash bench/gpu.sh` runs it; each part says what it took.

python bench/gpu.py --device cuda
python bench/gpu.py --device cpu --tiny
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import util.cli  # noqa: F401  as every command line: how PyTorch's threads wait
from bench.machine import machine
from bench.stopwatch import least_seconds, said

TOLERANCE = {"32": 1e-3, "bf16": 5e-2}  # of the largest output, against the CPU's float32
LIMIT_S = 300.0  # after which no further part begins
NETWORKS_S = 90.0  # after which no further network is compared


def main(argv: list[str] | None = None) -> int:
    """Run all parts; the exit status is 1 where a network's output is not that of the CPU."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="small batches and few steps: does everything run?")
    args = parser.parse_args(argv)
    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device: DEVICE=cpu TINY=1 bash bench/gpu.sh tries everything without one")
        return 2
    print(f"{machine(args.device)}; Python {sys.version.split()[0]}")
    begin = time.perf_counter()
    wrong = 0
    parts: list[Callable[[argparse.Namespace], int]] = [networks, training_steps, compiled, inference, processes]
    for part in parts:
        if time.perf_counter() - begin > LIMIT_S:
            print(f"\n{part.__name__}: left out, {LIMIT_S:.0f} s are over")
            continue
        print(f"\n{(part.__doc__ or '').splitlines()[0]}", flush=True)
        start = time.perf_counter()
        try:
            wrong += part(args)
        except Exception as error:  # the other parts are worth having
            wrong += 1
            print(f"  FAILED {type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}")
        print(f"  ({time.perf_counter() - start:.1f} s)", flush=True)
    return 1 if wrong else 0


def networks(args: argparse.Namespace) -> int:
    """Networks: output in float32 and bfloat16 against the CPU's, largest difference over largest output."""
    import numpy as np
    import torch

    from system.model import StageModel
    from system.presets import preset_of
    from system.table import SYSTEMS
    from util.arguments import resolve
    from util.microphone_arrays import ARRAYS

    wrong, late = 0, []
    begin, seconds = time.perf_counter(), 3 if args.tiny else 10
    for name, system in SYSTEMS.items():
        for stage in system.stages:
            if stage.network is None or stage.takes:
                continue
            if time.perf_counter() - begin > NETWORKS_S:
                late.append(f"{name} {stage.name}")
                continue
            statistics: dict[str, Any] | None
            try:
                torch.manual_seed(0)
                options = resolve({"net": name}, {}, preset_of(name).arguments)
                array = ARRAYS["stereo" if "2025" in name else "foa"]
                settings = stage.settings(options, array)
                statistics = None
                if stage.statistics:
                    audio = stage.front(settings, array, False, None).audio
                    shape = audio.maps, audio.bins
                    statistics = {"mean": torch.zeros(shape), "scale": torch.ones(shape), "variance": torch.ones(shape)}
                    statistics |= {"count": 1, "feature": settings.get("feature"), "of": "noise"}
                made = StageModel(stage, settings, array, 13, visual=False, statistics=statistics)
                frames = made.plans.evaluation(np.array([seconds * made.rate_hz])).items(np.array([0]))
                held = sum(piece.frames for piece in frames[0].pieces)
                samples = made.plans.framing.samples_of(held)
            except Exception as error:
                why = str(error).splitlines()[0][:60] if str(error) else type(error).__name__
                print(f"  {name:28s} {stage.name:6s} left out: needs more than noise ({why})")
                continue
            try:
                made.eval()
                waveform = 0.1 * torch.randn(2, array.channels, samples)
                batch = {"waveform": waveform}
                if made.of_whole is not None:
                    loudest = [made.of_whole.find(waveform[item : item + 1]) for item in range(2)]
                    batch["loudest"] = torch.from_numpy(np.stack(loudest))[:, None].expand(-1, held, -1)
                found = []
                for device, precision in (("cpu", "32"), (args.device, "32"), (args.device, "bf16")):
                    made.to(device)
                    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
                        features, _ = made.front.raw_features({name: part.to(device) for name, part in batch.items()})
                        if made.front.standardise is not None:
                            features = made.front.standardise(features)
                        output = made.network(features, None)
                    parts = output if isinstance(output, (tuple, list)) else [output]
                    found.append(torch.cat([part.float().cpu().flatten() for part in parts]))
            except Exception as error:  # the other networks are worth knowing
                wrong += 1
                print(f"  {name:28s} {stage.name:6s} FAILED {type(error).__name__}: {str(error)[:80]}")
                continue
            reference, *others = found
            scale = float(reference.abs().max())
            off = [float((one - reference).abs().max()) / max(scale, 1e-9) for one in others]
            bad = any(value > limit for value, limit in zip(off, TOLERANCE.values()))
            wrong += bad
            print(f"  {name:28s} {stage.name:6s} float32 {off[0]:.1e}  bfloat16 {off[1]:.1e}{'  WRONG' if bad else ''}")
    if late:
        print(f"  left out, {NETWORKS_S:.0f} s are over: {', '.join(late)}")
    return wrong


def training_steps(args: argparse.Namespace) -> int:
    """Training step of the audio-visual CRNN against the bare network (goal 1.1), and the data path, by batch."""
    import torch

    from bench import training

    for batch in (4,) if args.tiny else (16, 64, 256):
        steps = 3 if args.tiny else max(5, 480 // batch)
        options = argparse.Namespace(device=args.device, batch_size=batch, steps=steps, workers=1 if args.tiny else 8)
        for precision in ("32", "bf16"):
            with tempfile.TemporaryDirectory() as folder:
                print(f"  batch {batch}: ", end="", flush=True)
                training._training_step(options, Path(folder), precision)
            if args.device == "cuda":
                print(f"    {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB of the device at most")
                torch.cuda.reset_peak_memory_stats()
        with tempfile.TemporaryDirectory() as folder:
            _, _, make_loader = _prepared(options, Path(folder), "32")
            with make_loader(0) as loader:
                batches = iter(loader)
                next(batches)
                start = time.perf_counter()
                for _ in range(steps):
                    next(batches)
            print(f"    data path alone: {1e3 * (time.perf_counter() - start) / steps:.1f} ms a batch", flush=True)
    return 0


def _prepared(args: argparse.Namespace, folder: Path, precision: str) -> tuple[Any, Any, Callable[[int], Any]]:
    from bench import training

    fabric, model, _, make_loader = training._prepared(args, folder, precision, clips=4 if args.batch_size < 16 else 20)
    return fabric, model, make_loader


def compiled(args: argparse.Namespace) -> int:
    """torch.compile and CUDA graphs: forward and backward of the network alone, batch 64."""
    import torch

    from feature.front import on_device

    batch, repeats = (2, 2) if args.tiny else (64, 20)
    with tempfile.TemporaryDirectory() as folder:
        options = argparse.Namespace(device=args.device, batch_size=batch, workers=1)
        fabric, whole, make_loader = _prepared(options, Path(folder), "32")
        model = whole.last.train()
        with make_loader(0) as loader:
            features, visual = model.front(on_device(next(iter(loader)), fabric.device))
    network = model.network
    forms: dict[str, Any] = {"as it is": network}
    if args.device == "cuda" and not args.tiny:
        forms["torch.compile"] = torch.compile(network)
        forms["torch.compile, CUDA graphs"] = torch.compile(network, mode="reduce-overhead")
    for name, form in forms.items():

        def step(form: Any = form) -> None:
            model.zero_grad(set_to_none=True)
            form(features, visual).square().mean().backward()

        try:
            start = time.perf_counter()
            step()
            began = time.perf_counter() - start
            took = said(least_seconds(step, repeats, args.device))
            print(f"  {name:28s} {took}, first call {began:.1f} s", flush=True)
        except Exception as error:
            print(f"  {name:28s} does not run: {type(error).__name__}: {str(error).splitlines()[0][:120]}")
    return 0


def inference(args: argparse.Namespace) -> int:
    """Inference and streaming: seconds of sound in a second."""
    code = [sys.executable, "bench/inference.py"]
    known = subprocess.run([*code, "--help"], capture_output=True, text=True, check=False).stdout
    flags = ["--device", args.device] if "--device" in known else []
    flags += ["--seconds", "10", "--repeats", "1", "--only", "stream"] if args.tiny else []
    limit_s = 60
    try:
        run = subprocess.run([*code, *flags], capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired as late:
        run = subprocess.CompletedProcess(code, 1, (late.stdout or b"").decode() + f"\n(ended after {limit_s} s)", "")
    print("\n".join(f"  {line}" for line in (run.stdout or run.stderr).splitlines()[-25:]))
    return 0


def processes(args: argparse.Namespace) -> int:
    """Several processes: seconds of 100 steps with as many as there are devices (two on a CPU)."""
    import torch

    count = torch.cuda.device_count() if args.device == "cuda" else 2
    if count < 2:
        print("  one device: nothing to divide")
        return 0
    from bench.scale import training_rates

    for rate in training_rates(args.device, count, steps=4 if args.tiny else 100, batch=4 if args.tiny else 64):
        print(f"  {rate}", flush=True)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
