"""Many recordings, many processes: what a start, a slow file system, a scheduler and two processes cost.

python bench/scale.py open --clips 60000       opening a set of hard links, without and with a catalogue; memory
python bench/scale.py slow                     a file system with 20 ms a read, batch 64: 1 and 8 reading threads
python bench/scale.py tasks                    overhead of an item: here, in 2 processes, on a scheduler of Dask
python bench/scale.py simulate                 clips a second: 1 and 2 Dask workers of one thread
python bench/scale.py train                    2 processes of 1 thread against 1 process of 2 threads
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import util.cli  # noqa: F401  as every command line: how PyTorch's threads wait
from bench.machine import machine, peak_mb

ROOT = Path(__file__).resolve().parents[1]


def main(argv: list[str] | None = None) -> int:
    """Run one of the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["open", "opened", "slow", "tasks", "simulate", "train", "trained"])
    parser.add_argument("--clips", type=int, default=60000, metavar="N", help="recordings [60000]")
    parser.add_argument("--root", metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = parser.parse_args(argv)
    if args.part in ("opened", "trained"):
        return _opened(args.root) if args.part == "opened" else _trained(json.loads(args.root))
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}", flush=True)
    {"open": _open, "slow": _slow, "tasks": _tasks, "simulate": _simulate, "train": _train}[args.part](args)
    return 0


def _open(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "AV_SELD_CACHE": f"{folder}/cache"}
        for clips in (24, args.clips):
            root = Path(folder) / f"set{clips}"
            _links(root, clips)
            for kind in ("cold", "warm"):
                command = [sys.executable, __file__, "opened", "--root", str(root)]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                print(f"{clips:6d} clips, {kind} catalogue: {done.stdout.strip()}", flush=True)


def _links(root: Path, clips: int) -> None:
    """Clips of 5 s, all links to one; links to one file are limited in number."""
    import numpy as np

    from util.audio import write_audio

    for split, share in (("train", 0.9), ("test", 0.1)):
        for kind in ("foa_dev", "metadata_dev"):
            (root / kind / f"dev-{split}-sim").mkdir(parents=True)
        for number in range(round(share * clips)):
            stem = f"fold{3 if split == 'train' else 4}_room{number % 50}_mix{number:06d}"
            audio = root / "foa_dev" / f"dev-{split}-sim" / f"{stem}.wav"
            labels = root / "metadata_dev" / f"dev-{split}-sim" / f"{stem}.csv"
            if number % 30000 == 0:
                write_audio(audio, np.random.default_rng(0).uniform(-0.1, 0.1, (4, 120000)).astype(np.float32), 24000)
                labels.write_text("".join(f"{frame},{frame % 13},0,{frame},0,150\n" for frame in range(50)))
                source = audio, labels
            else:
                os.link(source[0], audio)
                os.link(source[1], labels)


def _opened(root: str) -> int:
    from job.data import check_labels, open_roots, training_data

    roots, args = open_roots({"data_root": [root], "no_video": True, "val": True})
    start = time.perf_counter(), time.process_time()
    data = training_data(args, roots)
    middle = time.perf_counter(), time.process_time()
    check_labels(args, roots[0].classes, [*data.train, *data.validation], lambda recording, table: None, [])
    end = time.perf_counter(), time.process_time()
    first, second = (f"{b[0] - a[0]:.2f} s ({b[1] - a[1]:.2f} CPU)" for a, b in ((start, middle), (middle, end)))
    print(f"listed and headers {first}, labels {second}, peak {peak_mb():.0f} MB")
    return 0


def _slow(args: argparse.Namespace) -> None:
    from bench.data_path import make_clips
    from dataset.loader import Loader
    from dataset.recordings import Recording, recordings_from_list
    from dataset.source import Source, read_file
    from system.table import system_named

    def slowly(recording: Recording, start: int, length: int, rate_hz: int):  # type: ignore[no-untyped-def]
        time.sleep(0.02)
        return read_file(recording, start, length, rate_hz)

    with tempfile.TemporaryDirectory() as folder:
        recordings = recordings_from_list(make_clips(Path(folder), "foa", 8, 60.0, 24000))
        stage = system_named("crnn").stage("main")
        plans = stage.plans({"base_channel": 0, "fft_size": 512, "stft_hop_size": 240})
        source = Source(recordings, read=slowly)
        plan = plans.training(source.lengths(24000), 64, 0, None)
        for workers in (1, 8):
            with Loader(source, plan, batch_size=64, workers=workers, prefetch=workers) as loader:
                batches = iter(loader)
                for _ in range(workers):
                    next(batches)
                start, count = time.perf_counter(), 2 * workers
                for _ in range(count):
                    next(batches)
                took = (time.perf_counter() - start) / count
            print(f"20 ms a read, batch 64, {workers} threads: {1e3 * took:.0f} ms a batch, {64 / took:.0f} windows/s")


@contextmanager
def scheduler(folder: Path, workers: int) -> Iterator[str]:
    """A scheduler of Dask and workers of one thread; the file that names it."""
    file, running = folder / "scheduler.json", []
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    commands = [["scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]]
    commands += [["worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard"]] * workers
    try:
        for command in commands:
            running.append(subprocess.Popen([sys.executable, "-m", "dask", *command], cwd=folder, env=environment,
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))  # fmt: skip
        while not file.is_file():
            time.sleep(0.1)
        yield str(file)
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()


def _ready(file: str, workers: int) -> None:
    from distributed import Client

    with Client(scheduler_file=file) as client:
        client.wait_for_workers(workers)


def _tasks(args: argparse.Namespace) -> None:
    from tests.errands import tiny
    from util.parallel import Where, each

    items = list(range(1000))
    with tempfile.TemporaryDirectory() as folder, scheduler(Path(folder), 2) as file:
        _ready(file, 2)
        for name, where in (("here", Where()), ("2 processes", Where(2)), ("Dask, 2 workers", Where(cluster=file))):
            each(tiny, items[:2], where)
            start = time.perf_counter(), time.process_time()
            each(tiny, items[:2], where)
            begun = time.perf_counter()
            each(tiny, items, where)
            took = time.perf_counter() - begun - (begun - start[0])
            print(f"{name}: start {begun - start[0]:.2f} s, then {1e6 * took / len(items):.0f} us an item", flush=True)


def _simulate(args: argparse.Namespace) -> None:
    from simulation.dataset_writer import write_dataset
    from simulation.settings import Settings
    from util.parallel import Where

    settings = Settings(train=8, test=0, seconds=10.0, formats=("foa",), video=False)
    took: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(2):
            for workers in (1, 2):
                place = Path(folder) / f"{turn}{workers}"
                place.mkdir()
                with scheduler(place, workers) as file:
                    _ready(file, workers)
                    where = Where(cluster=file)
                    write_dataset(place / "warm", replace(settings, train=2), where=where, progress=False)
                    start = time.perf_counter()
                    write_dataset(place / "set", settings, where=where, progress=False)
                    took[workers].append(time.perf_counter() - start)
    one, two = (min(took[workers]) for workers in (1, 2))
    print(f"8 clips of 10 s: 1 worker {one:.1f} s, 2 workers {two:.1f} s: {one / two:.2f} times; all: {took}")


def _train(args: argparse.Namespace) -> None:
    for line in training_rates(args.device, 2, steps=12, batch=16):
        print(line, flush=True)


def training_rates(device: str, count: int, *, steps: int, batch: int) -> list[str]:
    """Windows a second of one process, and of several that share the batches: lines to print.

    Each is given by the clock of steps after the first, and by the processor time of all processes, which hardly
    feels what else the machine does.
    """
    lines = []
    for processes in (1, count):
        asked = json.dumps({"device": device, "processes": processes, "steps": steps, "batch": batch})
        port = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(29500 + os.getpid() % 1000 + processes)}
        running = [
            subprocess.Popen(
                [sys.executable, __file__, "trained", "--root", asked], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                env={**os.environ, **port, "RANK": str(rank), "OMP_NUM_THREADS": str(max(1, count // processes))},
            )
            for rank in range(processes)
        ]  # fmt: skip
        found = [json.loads(process.communicate(timeout=300)[0].splitlines()[-1]) for process in running]
        wall, cpu = max(one[0] for one in found), sum(one[1] for one in found)
        rate = f"{steps * batch / wall:.1f} windows/s, {1e3 * cpu / (steps * batch):.0f} ms of processor time a window"
        lines.append(f"{processes} process(es), {max(1, count // processes)} thread(s) each: {rate}")
    return lines


def _trained(asked: dict) -> int:
    """One of the processes: the network and its gradients on noise, all-reduced as training does."""
    import torch

    from feature.front import on_device
    from system.model import StageModel
    from system.table import system_named
    from util.microphone_arrays import ARRAYS

    rank, count = int(os.environ["RANK"]), asked["processes"]
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    if count > 1:
        backend = "nccl" if asked["device"] == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, rank=rank, world_size=count)
    device = torch.device(asked["device"], rank) if asked["device"] == "cuda" else torch.device("cpu")
    settings = {"base_channel": 0, "fft_size": 512, "stft_hop_size": 240}
    model = StageModel(system_named("crnn").stage("main"), settings, ARRAYS["foa"], 13, visual=False).to(device)
    share = asked["batch"] // count
    samples = model.plans.framing.samples_of(128)
    batch = on_device({"waveform": 0.1 * torch.randn(share, 4, samples), "labels": None}, device)
    features, _ = model.front.raw_features(batch)

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = model.network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.network(x, None).square().mean()

    wrapped: torch.nn.Module = Network().to(device)
    if count > 1:
        wrapped = torch.nn.parallel.DistributedDataParallel(wrapped)
    optimiser = torch.optim.Adam(model.network.parameters())

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        wrapped(features).backward()
        optimiser.step()

    step()
    start = time.perf_counter(), time.process_time()
    for _ in range(asked["steps"]):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize()
    print(json.dumps([time.perf_counter() - start[0], time.process_time() - start[1]]))
    if count > 1:
        torch.distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main())
