"""Many recordings, many processes: what a start, a slow file system, a scheduler and two processes cost.

python bench/scale.py open                     60,000 clips of 5 s and 500 of nine minutes (hard links, sparse files)
                                               against 24: opening them without and with a catalogue, reading windows,
                                               memory of training, validation
python bench/scale.py slow                     20 ms a read, batch 64: 1 and 8 reading threads, a training step beside
python bench/scale.py tasks                    overhead of an item: here, in 2 processes, on a scheduler of Dask
python bench/scale.py simulate                 clips a second: 1 and 2 Dask workers of one thread; the same bytes
python bench/scale.py train                    2 processes of 1 thread against 1 process of 2 threads
python bench/scale.py validate                 a validation that two processes share: how long the second one waits

What is compared is taken in turn, in one run, and the least counts: other work on the machine disturbs it least so.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import util.cli  # noqa: F401  as every command line: how PyTorch's threads wait
from bench.machine import machine, peak_mb

ROOT = Path(__file__).resolve().parents[1]
# as docs/scale.md says: workers do not look a hundred times a second at what they are doing
QUIET_DASK = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False", "DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL": "500ms"}


def main(argv: list[str] | None = None) -> int:
    """Run one of the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "part", choices=["open", "opened", "slow", "tasks", "simulate", "train", "trained", "validate", "validated"]
    )
    parser.add_argument("--clips", type=int, default=60000, metavar="N", help="short recordings of `open` [60000]")
    parser.add_argument("--long", type=int, default=500, metavar="N", help="long recordings of `open` [500]")
    parser.add_argument("--turns", type=int, default=3, metavar="N", help="pairs of what is compared [3]")
    parser.add_argument("--root", metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    args = parser.parse_args(argv)
    inner = {"opened": _opened, "trained": lambda asked: _trained(json.loads(asked)), "validated": _validated}
    if args.part in inner:
        return inner[args.part](args.root)
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}", flush=True)
    parts = {"open": _open, "slow": _slow, "tasks": _tasks, "simulate": _simulate, "train": _train}
    {**parts, "validate": _validate}[args.part](args)
    return 0


def _open(args: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "AV_SELD_CACHE": f"{folder}/cache"}
        for clips, seconds in ((24, 5.0), (args.clips, 5.0), (args.long, 540.0)):
            root = Path(folder) / f"set{clips}"
            _links(root, clips, seconds)
            for kind in ("cold", "warm"):
                command = [sys.executable, __file__, "opened", "--root", str(root)]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                print(f"{clips:6d} clips of {seconds:g} s, {kind} catalogue: {done.stdout.strip()}", flush=True)


def _links(root: Path, clips: int, seconds: float) -> None:
    """Clips that are all links to one; links to one file are limited in number. Long ones are sparse: silent."""
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
                noise = np.random.default_rng(0).uniform(-0.1, 0.1, (4, 24000 * 5)).astype(np.float32)
                write_audio(audio, noise, 24000)
                if seconds > 5:
                    _lengthen(audio, round(seconds * 24000) * 4 * 2)
                frames = range(round(10 * seconds))
                labels.write_text("".join(f"{frame},{frame % 13},0,{frame % 180},0,150\n" for frame in frames))
                source = audio, labels
            else:
                os.link(source[0], audio)
                os.link(source[1], labels)


def _lengthen(path: Path, data_bytes: int) -> None:
    """A wav file of 16 bit goes on in silence, of which the disk holds nothing."""
    with open(path, "r+b") as file:
        header = file.read(4096)
        start = header.index(b"data") + 8
        file.truncate(start + data_bytes)
        file.seek(4)
        file.write((start + data_bytes - 8).to_bytes(4, "little"))
        file.seek(start - 4)
        file.write(data_bytes.to_bytes(4, "little"))


def _opened(root: str) -> int:
    """What a training does with a set, in a process of its own: one line."""
    import torch

    import job.train  # noqa: F401  the imports of a training
    from job.data import check_labels, open_roots, source_of, training_data, training_loader, training_plan
    from seld_predictor import SELDPredictor
    from seld_trainer import SELDTrainer, TrainingSettings
    from seld_validator import SELDValidator
    from system.model import Model, StageModel
    from system.table import system_named
    from util.machine import make_fabric

    torch.manual_seed(0)
    warnings.simplefilter("ignore")  # an untrained network predicts nothing, and the metrics say so
    imports = peak_mb()
    marks = [_clocks()]
    roots, args = open_roots({"data_root": [root], "no_video": True, "val": True, "device": "cpu"})
    data = training_data(args, roots)
    marks.append(_clocks())
    classes = roots[0].classes
    check_labels(args, classes, [*data.train, *data.validation], lambda recording, table: None, [])
    marks.append(_clocks())
    said = f"root, list and headers {_between(*marks[:2])}, labels {_between(*marks[1:])}, {peak_mb() - imports:.0f} MB"
    array, system = data.train[0].array, system_named("crnn")
    settings = system.stage("main").settings(args, array)
    model = StageModel(system.stage("main"), settings, array, len(classes), visual=False)
    fabric = make_fabric("cpu", 1, "32", training=True)
    source = source_of(args, data.train, classes, None)
    plan = training_plan(args, source, roots, model.plans)
    with training_loader(args, source, plan, model, array) as loader:
        batches = iter(loader)
        next(batches)
        start, count = _clocks(), 300
        for _ in range(count):
            next(batches)
        cpu_ms = 1e3 * (_clocks()[1] - start[1]) / (count * args.batch_size)
    said += f"; windows {cpu_ms:.2f} ms CPU each"
    trainer = SELDTrainer(fabric, model, TrainingSettings(10**6, 10**6, 1e-3, 1e-6), make_loader=lambda step: loader)
    with training_loader(args, source, plan, model, array, first_step=300) as loader:
        for _, batch in zip(range(6), loader):
            trainer.step(batch)
    said += f", training {peak_mb() - imports:.0f} MB above the imports ({imports:.0f})"
    some = data.validation[:1] if data.validation[0].duration_s > 60 else data.validation[:12]
    whole = Model(system, array, tuple(classes), {"main": model}, visual=False)
    predictor = SELDPredictor(fabric, whole, thresholds=[0.3] * 13, unification_deg=15.0)
    start = _clocks()
    with tempfile.TemporaryDirectory() as out:
        SELDValidator(source_of(args, some, classes, None), classes=tuple(classes)).validate(
            predictor, csv_dir=Path(out), description=""
        )
    minutes = sum(one.duration_s for one in some) / 60
    print(
        f"{said}; validation {(_clocks()[1] - start[1]) / minutes:.2f} s CPU a minute, peak {peak_mb() - imports:.0f}"
    )
    return 0


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _between(first: tuple[float, float], second: tuple[float, float]) -> str:
    return f"{second[0] - first[0]:.2f} s ({second[1] - first[1]:.2f} CPU)"


def _slow(args: argparse.Namespace) -> None:
    import torch

    from bench.data_path import make_clips
    from bench.stopwatch import least_seconds
    from dataset.loader import Loader
    from dataset.recordings import Labels, Recording, recordings_from_list
    from dataset.source import Source, read_file
    from seld_trainer import SELDTrainer, TrainingSettings
    from system.model import StageModel
    from system.table import system_named
    from util.machine import make_fabric

    def slowly(recording: Recording, start: int, length: int, rate_hz: int):  # type: ignore[no-untyped-def]
        time.sleep(0.02)
        return read_file(recording, start, length, rate_hz)

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        recordings = recordings_from_list(make_clips(Path(folder), "foa", 8, 60.0, 24000), need_labels=True)
        stage = system_named("crnn").stage("main")
        settings = {"base_channel": 0, "fft_size": 512, "stft_hop_size": 240}
        model = StageModel(stage, settings, recordings[0].array, 13, visual=False)
        fabric = make_fabric(args.device, 1, "32", training=True)
        model.to(fabric.device)
        trainer = SELDTrainer(
            fabric, model, TrainingSettings(10**6, 10**6, 1e-3, 1e-6), make_loader=lambda step: loader
        )
        model.train()
        fast = Source(recordings, Labels(13))
        plan = model.plans.training(fast.lengths(24000), 64, 0, None)
        (batch,) = (
            one for _, one in zip(range(1), Loader(fast, plan, batch_size=64, encode=model.output_format.encode))
        )
        alone_s, _ = least_seconds(lambda: trainer.step(batch), 2 * args.turns, args.device)
        print(f"batch 64, training step alone {1e3 * alone_s:.0f} ms", flush=True)
        for words, read, workers in (
            ("20 ms a read", slowly, 1),
            ("20 ms a read", slowly, 8),
            ("as it is", read_file, 8),
        ):
            source = replace(fast, read=read)
            with Loader(source, plan, batch_size=64, encode=model.output_format.encode, workers=workers) as loader:
                batches = iter(loader)
                bare_s = _least_of_batches(batches, lambda batch: None, 2 * workers)
                step_s = _least_of_batches(batches, trainer.step, 2 * args.turns)
            print(
                f"{words}, --workers {workers}: {1e3 * bare_s:.0f} ms a batch without a step, "
                f"{1e3 * step_s:.0f} ms with a training step: {step_s / alone_s:.2f} of the step alone",
                flush=True,
            )


def _least_of_batches(batches: Iterator[Any], use: Callable[[Any], object], count: int) -> float:
    """Seconds a batch: the least of two stretches, behind some batches that were read ahead."""
    least = float("inf")
    for _ in range(2):
        start = time.perf_counter()
        for _ in range(count):
            use(next(batches))
        least = min(least, (time.perf_counter() - start) / count)
    return least


@contextmanager
def scheduler(folder: Path, workers: int) -> Iterator[str]:
    """A scheduler of Dask and workers of one thread; the file that names it."""
    file, running = folder / "scheduler.json", []
    environment = {**os.environ, **QUIET_DASK, "OMP_NUM_THREADS": "1"}
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
    from util.parallel import HERE, Where

    settings = Settings(train=72, test=0, seconds=10.0, formats=("foa",), video=False)
    wall: dict[int, list[float]] = {1: [], 2: []}
    cpu: dict[int, list[float]] = {1: [], 2: []}
    sums = set()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        files = {}
        for workers in (1, 2):
            place = Path(folder) / str(workers)
            place.mkdir()
            files[workers] = stack.enter_context(scheduler(place, workers))
            _ready(files[workers], workers)
            write_dataset(
                place / "warm", replace(settings, train=4), where=Where(cluster=files[workers]), progress=False
            )
        for turn in range(args.turns):
            for workers in (1, 2) if turn % 2 else (2, 1):
                out, busy = Path(folder) / str(workers) / str(turn), _busy(files[workers])
                start = time.perf_counter()
                write_dataset(out, settings, where=Where(cluster=files[workers]), progress=False)
                wall[workers].append(time.perf_counter() - start)
                cpu[workers].append(_busy(files[workers]) - busy)
                sums.add(_checksum(out))
        write_dataset(Path(folder) / "here", settings, where=HERE, progress=False)
        sums.add(_checksum(Path(folder) / "here"))
    one, two = (min(wall[workers]) for workers in (1, 2))
    pairs = [first / second for first, second in zip(wall[1], wall[2])]
    print(f"{settings.train} clips of 10 s: 1 worker {one:.1f} s, 2 workers {two:.1f} s: {one / two:.2f} times as fast")
    print(f"  pair by pair {', '.join(f'{ratio:.2f}' for ratio in pairs)}; all times {wall}")
    print(f"  processor time of the workers: {min(cpu[1]):.1f} s of one, {min(cpu[2]):.1f} s of two")
    print(f"  {len(sums)} different checksum(s) of {2 * args.turns} sets from workers and one from this process")


def _busy(file: str) -> float:
    """Processor seconds that the workers of a scheduler have used."""
    from distributed import Client

    with Client(scheduler_file=file) as client:
        return sum(client.run(time.process_time).values())


def _checksum(root: Path) -> str:
    """Of all files of a set and their names."""
    total = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file():
            total.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return total.hexdigest()


def _train(args: argparse.Namespace) -> None:
    found: list[list[Rate]] = []
    for _ in range(args.turns):
        found.append(training_rates(args.device, 2, steps=8, batch=16))
        print("; ".join(map(str, found[-1])), flush=True)
    one, two = (max(rate.windows_s for rate in rates) for rates in zip(*found))
    print(f"the best of each: 2 processes of 1 thread are {two / one:.2f} times as fast as 1 process of 2 threads")


@dataclass(frozen=True)
class Rate:
    """How fast processes train that share the batches.

    Attributes
    ----------
    windows_s : by the clock, of steps after the first
    cpu_ms : of processor time a window, of all processes: it hardly feels what else the machine does
    """

    processes: int
    threads: int
    windows_s: float
    cpu_ms: float

    def __str__(self) -> str:
        return (
            f"{self.processes} process(es), {self.threads} thread(s) each: {self.windows_s:.1f} windows/s, "
            f"{self.cpu_ms:.0f} ms of processor time a window"
        )


def training_rates(device: str, count: int, *, steps: int, batch: int) -> list[Rate]:
    """Of one process, and of several that share the batches."""
    rates = []
    for processes in (1, count):
        asked = json.dumps({"device": device, "processes": processes, "steps": steps, "batch": batch})
        threads = max(1, count // processes)
        port = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(29500 + os.getpid() % 1000 + processes)}
        running = [
            subprocess.Popen(
                [sys.executable, __file__, "trained", "--root", asked], cwd=ROOT, stdout=subprocess.PIPE, text=True,
                env={**os.environ, **port, "RANK": str(rank), "OMP_NUM_THREADS": str(threads)},
            )
            for rank in range(processes)
        ]  # fmt: skip
        found = [json.loads(process.communicate(timeout=300)[0].splitlines()[-1]) for process in running]
        wall, cpu = max(one[0] for one in found), sum(one[1] for one in found)
        rates.append(Rate(processes, threads, steps * batch / wall, 1e3 * cpu / (steps * batch)))
    return rates


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


def _validate(args: argparse.Namespace) -> None:
    from simulation.dataset_writer import write_dataset
    from simulation.settings import Settings
    from util.parallel import HERE

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "set"
        settings = Settings(train=2, test=40, seconds=60.0, formats=("foa",), video=False)
        write_dataset(root, settings, where=HERE, progress=False)
        for processes in (1, 2):
            took = []
            for turn in range(args.turns):
                asked = json.dumps({"root": str(root), "run": f"{folder}/{processes}_{turn}", "nodes": processes})
                common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(29600 + os.getpid() % 1000 + turn)}
                common["OMP_NUM_THREADS"] = "1"
                running = [
                    subprocess.Popen(
                        [sys.executable, __file__, "validated", "--root", asked],
                        cwd=ROOT,
                        env={**os.environ, **common, "NODE_RANK": str(rank)},
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                    for rank in range(processes)
                ]
                took.append([json.loads(one.communicate(timeout=600)[0].splitlines()[-1]) for one in running])
            best = min(took, key=lambda times: times[0][0])
            said = ", ".join(f"{wall:.2f} s ({busy:.2f} s of processor time)" for wall, busy in best)
            print(f"40 minutes validated by {processes} process(es) of 1 thread: {said}", flush=True)


def _validated(asked: str) -> int:
    """One process of a training of a step and its validation; prints seconds and those of processor time."""
    import contextlib
    import io

    import seld
    from seld_validator import SELDValidator

    about, whole, took = json.loads(asked), SELDValidator.validate, []

    def timed(*args: Any, **more: Any) -> Any:
        start = time.perf_counter(), time.process_time()
        try:
            return whole(*args, **more)
        finally:
            took.append([time.perf_counter() - start[0], time.process_time() - start[1]])

    SELDValidator.validate = timed  # type: ignore[method-assign]
    command = ["-train", "-val", "--no-video", "--data-root", about["root"], "-m", about["run"], "--device", "cpu"]
    command += ["-i", "2", "-s", "2", "-b", "4"]
    if about["nodes"] > 1:
        command += ["--devices", "1", "--nodes", str(about["nodes"])]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        status = seld.main(command)
    print(said.getvalue()[-500:] if status else json.dumps(took[-1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
