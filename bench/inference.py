"""Real-time factors of inference: with cached boxes, with detection from a 360x180 video, streaming.

python bench/inference.py                                 on the CPU, built-in detector
python bench/inference.py --detector yolox_tiny --seconds 300
python bench/inference.py --device cuda
python bench/inference.py --hour                          one hour through the command line: time and memory

A real-time factor of 100 means: a minute of recording takes 0.6 s. Process start and loading are not part of it;
reading, features, network, decoding and thresholds are. The network is untrained (its speed does not depend on that).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import soundfile

from bench.machine import machine
from util.cpus import share_cpus

if TYPE_CHECKING:
    from seld_predictor import Inference

TARGETS = {"cached boxes, bfloat16": 200, "detection": 8}


def main(argv: list[str] | None = None) -> int:
    """Make material, time each way several times, print medians beside the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where the network runs [cpu]")
    parser.add_argument("--seconds", type=int, default=120, help="length of the recording [120]")
    parser.add_argument("--batch-size", type=int, default=16, help="windows at a time, offline [16]")
    parser.add_argument("--repeats", type=int, default=5, help="runs, of which the median counts [5]")
    parser.add_argument("--detector", default="builtin", help="person detector [builtin]")
    parser.add_argument("--only", choices=["boxes", "detection", "stream"], help="one of the three")
    parser.add_argument("--hour", action="store_true", help="instead: -infer of a one-hour file, against one minute")
    args = parser.parse_args(argv)
    share_cpus()
    print(f"{machine(args.device)}; audio-visual CRNN, FOA, 13 classes")
    with tempfile.TemporaryDirectory() as folder:
        if args.hour:
            return _hour(args, Path(folder))
        checkpoint, audio = _material(Path(folder), args.seconds)
        if args.only in (None, "boxes"):
            for precision, name in (("32", "float32"), ("bf16", "bfloat16")):
                _report(args, f"cached boxes, {name}", _offline(args, checkpoint, audio, precision))
        if args.only in (None, "stream"):
            for precision, name in (("32", "float32"), ("bf16", "bfloat16")):
                _report(args, f"streaming, {name}", _streaming(args, checkpoint, audio, precision))
        if args.only in (None, "detection"):
            _detection(args, checkpoint, audio, Path(folder))
    return 0


def _material(folder: Path, seconds: int) -> tuple[Path, Path]:
    from tests.checkpoints import recording, untrained
    from util.audio import read_audio, write_audio

    path = recording(folder / "noise.wav", seconds)
    write_audio(path, read_audio(path), 24000)  # 16 bit, as most recordings are
    return untrained(folder / "av.pth", visual=True), path


def _inference(args: argparse.Namespace, checkpoint: Path, precision: str) -> Inference:
    from seld_predictor import load

    return load(checkpoint, device=args.device, precision=precision, batch_size=args.batch_size)


def _timed(args: argparse.Namespace, run: Callable[[], None]) -> list[float]:
    """Seconds of each run, after one to warm up."""
    run()
    taken = []
    for _ in range(args.repeats):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return taken


def _offline(args: argparse.Namespace, checkpoint: Path, audio: Path, precision: str) -> list[float]:
    from job.picture import PlacedBoxes
    from job.sound import open_sound
    from util.boxes import BoxTrack
    from util.placement import Placement

    inference = _inference(args, checkpoint, precision)
    time_s = np.arange(0, args.seconds, 0.1)
    boxes = np.zeros((len(time_s), 6, 4), np.float32)
    boxes[:, 0] = [0.4, 0.3, 0.5, 0.8]
    placed = PlacedBoxes(BoxTrack(time_s, boxes, boxes[..., 0], float(args.seconds)), Placement())

    def run() -> None:
        inference.recording_events(open_sound(audio, inference.model.array), visual=placed)

    return _timed(args, run)


def _streaming(args: argparse.Namespace, checkpoint: Path, audio: Path, precision: str) -> list[float]:
    from job.stream import StreamPredictor, one_thread
    from util.audio import read_audio

    inference = _inference(args, checkpoint, precision)
    waveform = read_audio(audio)
    latency_ms: list[float] = []

    def run() -> None:
        predictor = StreamPredictor(inference)
        for start in range(0, waveform.shape[1], 2400):
            predictor.feed(waveform[:, start : start + 2400])
        predictor.finish()
        latency_ms.extend(1000 * seconds for seconds in predictor.compute_s)

    with one_thread():
        taken = _timed(args, run)
    print(
        f"    a window takes {np.median(latency_ms):.1f} ms (95 %: {np.percentile(latency_ms, 95):.1f}); a row comes "
        f"0.04 to 1.14 s after the end of its frame, and that"
    )
    return taken


def _detection(args: argparse.Namespace, checkpoint: Path, audio: Path, folder: Path) -> None:
    from detection.at_times import detect_at
    from detection.detector import Detector
    from job.picture import PlacedBoxes
    from job.sound import open_sound
    from util.placement import Placement
    from util.video import VideoWriter

    seconds = min(args.seconds, 60)
    video, rng = folder / "noise.mp4", np.random.default_rng(0)
    ground = rng.integers(60, 200, (180, 360, 3), dtype=np.uint8)
    with VideoWriter(video, 360, 180, Fraction(30000, 1001)) as writer:
        for index in range(round(seconds * 29.97)):
            picture = np.roll(ground, index, axis=1)
            picture[60:150, 100 + index % 100 : 130 + index % 100] = (40, 60, 160)
            writer.write(picture)
    inference, detector = _inference(args, checkpoint, "32"), Detector(args.detector)
    recording = replace(open_sound(audio, inference.model.array), samples=seconds * 24000)

    def run() -> None:
        track = detect_at(video, detector, inference.look_times_s(recording), progress=False)
        inference.recording_events(recording, visual=PlacedBoxes(track, Placement()))

    _report(
        args, "detection", _timed(args, run), seconds=seconds, more=f" ({args.detector}, 29.97 pictures/s, float32)"
    )


def _hour(args: argparse.Namespace, folder: Path) -> int:
    """`python seld.py -infer` of a minute and of an hour, each as a process of its own: time, memory, what it wrote."""
    from tests.checkpoints import thresholds, untrained
    from util.audio import write_audio

    checkpoint = untrained(folder / "av.pth", visual=True)
    config = thresholds(folder / "thresholds.json", 0.65)  # 1 or 2 events a frame, as of a trained network
    rng = np.random.default_rng(0)
    write_audio(folder / "block.wav", 0.1 * rng.standard_normal((4, 60 * 24000)), 24000)
    block, _ = soundfile.read(folder / "block.wav", dtype="int16")
    for minutes in (1, 60):
        with soundfile.SoundFile(folder / f"minutes{minutes}.wav", "w", 24000, 4, "PCM_16") as file:
            for minute in range(minutes):
                file.write(np.roll(block, 24000 * minute, axis=0))
    peaks_mb = {}
    for minutes in (1, 60):
        out = folder / f"out{minutes}"
        flags = ["-infer", f"{folder}/minutes{minutes}.wav", "-em", f"{checkpoint}", "--no-video", "--player", "never"]
        flags += [
            "--threshold-config",
            f"{config}",
            "--out",
            f"{out}",
            "--device",
            args.device,
            "-b",
            f"{args.batch_size}",
        ]
        code = "import sys; sys.path.insert(0, sys.argv[1]); import seld; from bench.machine import peak_mb; "
        code += "seld.main(sys.argv[2:]); print('peak', peak_mb())"
        project = str(Path(__file__).resolve().parents[1])
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code, project, *flags], capture_output=True, text=True, check=True)
        taken_s = time.perf_counter() - start
        peaks_mb[minutes] = float(done.stdout.split()[-1])
        raw = np.load(out / f"minutes{minutes}.npy", mmap_mode="r")
        rows = len((out / f"minutes{minutes}.csv").read_text().splitlines())
        speed = f"{taken_s:.1f} s with process start, {60 * minutes / taken_s:.0f} times real time"
        wrote = f"{rows} rows, raw output {' x '.join(map(str, raw.shape))}, {raw.nbytes / 2**20:.0f} MB"
        print(f"-infer of {minutes:2d} min: {speed}; peak memory {peaks_mb[minutes]:.0f} MB; {wrote}", flush=True)
    print(f"memory of the hour above that of the minute: {peaks_mb[60] - peaks_mb[1]:.0f} MB")
    return 0


def _report(
    args: argparse.Namespace, name: str, taken: list[float], *, seconds: int | None = None, more: str = ""
) -> None:
    factors = [(seconds or args.seconds) / one for one in taken]
    target = f", target {TARGETS[name]}" if name in TARGETS and args.device == "cpu" else ""
    spread = f"{min(factors):.0f} to {max(factors):.0f}"
    print(f"{name}{more}: {statistics.median(factors):.0f} times real time ({spread}){target}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
