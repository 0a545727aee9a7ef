"""Real-time factors of inference: with cached boxes, with detection from a 360x180 video, streaming.

python bench/inference.py                                 on the CPU, built-in detector
python bench/inference.py --detector yolox_tiny --seconds 300
python bench/inference.py --device cuda
python bench/inference.py --hour                          one hour through the command line: time and memory
python bench/inference.py --checkpoint pretrained/foa.pth --latency 1       another system; streams of less delay
python bench/inference.py --checkpoint pretrained/foa.pth --hour [--stream] [--latency 1] [--video]

A real-time factor of 100 means: a minute of recording takes 0.6 s. Process start and loading are not part of it;
reading, features, network, decoding and thresholds are. Without --checkpoint the network is an untrained CRNN (its
speed does not depend on that). Factors stand beside those of processor time, which hardly feels what else the machine
does.
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

Taken = list[tuple[float, float]]  # seconds, processor seconds of each run
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
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="of four channels [an untrained CRNN for FOA]")
    parser.add_argument("--latency", type=float, metavar="S", help="streams: longest time from a frame to its row")
    parser.add_argument("--hour", action="store_true", help="instead: -infer of an hour, against 1 and 10 minutes")
    parser.add_argument("--stream", action="store_true", help="with --hour: row by row")
    parser.add_argument(
        "--video", action="store_true", help="with --hour: a picture a second; but for --stream boxes are known"
    )
    args = parser.parse_args(argv)
    share_cpus()
    print(f"{machine(args.device)}; {args.checkpoint or 'audio-visual CRNN, FOA, 13 classes'}")
    with tempfile.TemporaryDirectory() as folder:
        if args.hour:
            return _hour(args, Path(folder))
        checkpoint, audio = _material(Path(folder), args.seconds, args.checkpoint)
        if args.only in (None, "boxes"):
            for precision, name in (("32", "float32"), ("bf16", "bfloat16")):
                _report(args, f"cached boxes, {name}", _offline(args, checkpoint, audio, precision))
        if args.only in (None, "stream"):
            for precision, name in (("32", "float32"), ("bf16", "bfloat16")):
                _report(args, f"streaming, {name}", _streaming(args, checkpoint, audio, precision))
        if args.only in (None, "detection"):
            _detection(args, checkpoint, audio, Path(folder))
    return 0


def _material(folder: Path, seconds: int, checkpoint: Path | None) -> tuple[Path, Path]:
    from tests.checkpoints import recording, untrained
    from util.audio import read_audio, write_audio

    path = recording(folder / "noise.wav", seconds)
    write_audio(path, read_audio(path), 24000)  # 16 bit, as most recordings are
    return checkpoint or untrained(folder / "av.pth", visual=True), path


def _inference(
    args: argparse.Namespace, checkpoint: Path, precision: str, *, latency_s: float | None = None
) -> Inference:
    from seld_predictor import load

    return load(checkpoint, device=args.device, precision=precision, batch_size=args.batch_size, latency_s=latency_s)


def _timed(args: argparse.Namespace, run: Callable[[], None]) -> Taken:
    """Seconds and processor seconds of each run, after one to warm up."""
    run()
    taken = []
    for _ in range(args.repeats):
        start, before = time.perf_counter(), time.process_time()
        run()
        taken.append((time.perf_counter() - start, time.process_time() - before))
    return taken


def _offline(args: argparse.Namespace, checkpoint: Path, audio: Path, precision: str) -> Taken:
    from job.picture import PlacedSight
    from job.sound import open_sound
    from util.boxes import BoxTrack
    from util.placement import Placement

    inference = _inference(args, checkpoint, precision)
    time_s = np.arange(0, args.seconds, 0.1)
    boxes = np.zeros((len(time_s), 6, 4), np.float32)
    boxes[:, 0] = [0.4, 0.3, 0.5, 0.8]
    placed = PlacedSight(BoxTrack(time_s, boxes, boxes[..., 0], float(args.seconds)), Placement())

    def run() -> None:
        inference.recording_events(open_sound(audio, inference.model.array), visual=placed)

    return _timed(args, run)


def _streaming(args: argparse.Namespace, checkpoint: Path, audio: Path, precision: str) -> Taken:
    from job.stream import StreamPredictor, one_thread
    from util.audio import read_audio

    inference = _inference(args, checkpoint, precision, latency_s=args.latency)
    waveform = read_audio(audio)
    latency_ms: list[float] = []
    delay_s: set[tuple[float, float]] = set()

    def run() -> None:
        predictor = StreamPredictor(inference)
        for start in range(0, waveform.shape[1], 2400):
            predictor.feed(waveform[:, start : start + 2400])
        predictor.finish()
        latency_ms.extend(1000 * seconds for seconds in predictor.compute_s)
        first_s = predictor.look_ahead_s
        delay_s.add((first_s, predictor.hop_s - inference.label_frame_s + first_s))

    with one_thread():
        taken = _timed(args, run)
    ((least_s, most_s),) = delay_s
    print(
        f"    a window takes {np.median(latency_ms):.1f} ms (95 %: {np.percentile(latency_ms, 95):.1f}); a row comes "
        f"{least_s:.2f} to {most_s:.2f} s after the end of its frame, and that"
    )
    return taken


def _detection(args: argparse.Namespace, checkpoint: Path, audio: Path, folder: Path) -> None:
    from detection.at_times import detect_at
    from detection.detector import Detector
    from job.picture import PlacedSight
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
        inference.recording_events(recording, visual=PlacedSight(track, Placement()))

    _report(
        args, "detection", _timed(args, run), seconds=seconds, more=f" ({args.detector}, 29.97 pictures/s, float32)"
    )


def _hour(args: argparse.Namespace, folder: Path) -> int:
    """`python seld.py -infer` of 1, 10 and 60 minutes, each as a process of its own: time, memory, what it wrote."""
    from tests.checkpoints import thresholds, untrained
    from util.audio import write_audio

    own = [] if args.latency is None else ["--latency", f"{args.latency:g}"]
    if args.stream:
        own.append("--stream")
    else:
        own += ["--player", "never", "-b", f"{args.batch_size}"]
    checkpoint = args.checkpoint
    if checkpoint is None:
        checkpoint = untrained(folder / "av.pth", visual=True)
        # 1 or 2 events a frame, as of a trained network
        own += ["--threshold-config", f"{thresholds(folder / 'thresholds.json', 0.65)}"]
    rng = np.random.default_rng(0)
    write_audio(folder / "block.wav", 0.1 * rng.standard_normal((4, 60 * 24000)), 24000)
    block, _ = soundfile.read(folder / "block.wav", dtype="int16")
    found: dict[int, tuple[float, float]] = {}
    for minutes in (1, 10, 60):
        audio, out = folder / f"minutes{minutes}.wav", folder / f"out{minutes}"
        with soundfile.SoundFile(audio, "w", 24000, 4, "PCM_16") as file:
            for minute in range(minutes):
                file.write(np.roll(block, 24000 * minute, axis=0))
        command = ["-infer", f"{audio}", *([_video(audio, 60 * minutes)] if args.video else ["--no-video"])]
        command += ["-em", f"{checkpoint}", "--device", args.device, "--out", f"{out}", *own]
        if args.video:
            command += ["--detector", args.detector]
            if not args.stream:  # which looks at pictures as they come
                _run_alone(command)
        start = time.perf_counter()
        busy_s, peak_mb = found[minutes] = _run_alone(command)
        taken_s = time.perf_counter() - start
        rows = len((out / f"minutes{minutes}.csv").read_text().splitlines())
        speed = f"{taken_s:.1f} s with process start, {busy_s:.1f} s of processor time"
        print(f"-infer of {minutes:2d} min: {speed}; peak memory {peak_mb:.0f} MB; {rows} rows", flush=True)
    (short_s, short_mb), (long_s, long_mb) = found[10], found[60]
    each_ms = 1000 * (long_s - short_s) / 3000
    print(f"a second more takes {each_ms:.2f} ms of processor time: {1000 / each_ms:.0f} times real time")
    print(f"memory of the hour above that of ten minutes: {long_mb - short_mb:.0f} MB")
    return 0


def _video(audio: Path, seconds: int) -> str:
    """A video of a picture a second beside a recording."""
    from util.video import VideoWriter

    path, rng = audio.with_suffix(".mp4"), np.random.default_rng(0)
    ground = rng.integers(60, 200, (90, 180, 3), dtype=np.uint8)
    with VideoWriter(path, 180, 90, Fraction(1)) as writer:
        for second in range(seconds):
            writer.write(np.roll(ground, second, axis=1))
    return f"{path}"


def _run_alone(command: list[str]) -> tuple[float, float]:
    """Processor seconds and peak memory in MB of a command line, in a process of its own."""
    code = "import sys, time; sys.path.insert(0, sys.argv[1]); import seld; from bench.machine import peak_mb; "
    code += "status = seld.main(sys.argv[2:]); print('took', time.process_time(), peak_mb()); sys.exit(status)"
    project = str(Path(__file__).resolve().parents[1])
    done = subprocess.run([sys.executable, "-c", code, project, *command], capture_output=True, text=True, check=True)
    busy_s, peak_mb = done.stdout.split()[-2:]
    return float(busy_s), float(peak_mb)


def _report(args: argparse.Namespace, name: str, taken: Taken, *, seconds: int | None = None, more: str = "") -> None:
    length_s = seconds or args.seconds
    by_clock, busy = ([length_s / one for one in kind] for kind in zip(*taken))
    target = f", target {TARGETS[name]}" if name in TARGETS and args.device == "cpu" and not args.checkpoint else ""
    print(
        f"{name}{more}: {statistics.median(by_clock):.0f} times real time ({min(by_clock):.0f} to {max(by_clock):.0f})"
        f"{target}; {statistics.median(busy):.0f} of processor time, at best {max(busy):.0f}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
