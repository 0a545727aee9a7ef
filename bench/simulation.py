"""Speed and memory of the simulator on one core: `python -m bench.simulation`.

Sound: a 30 s clip at 24 kHz with 12 events (42 s of sound, 15 s of it moving) in a room of 0.4 s, rendered for FOA,
MIC and binaural together. The target is 20 times real time per core and less than 1 GB. The floor is what the same
arithmetic (matrix products, interpolation, Fourier transforms) takes on this machine without any traffic between them.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from scipy import fft
from threadpoolctl import threadpool_limits

from simulation.receivers import receiver_for
from simulation.render import MAX_ORDER, render
from simulation.room import absorption_for_rt60, image_sources
from simulation.scene import Event, Room, Scene, Trajectory
from util.cli import run_main
from util.microphone_arrays import ARRAYS

RATE_HZ, SECONDS = 24000, 30.0
RECORDED = [ARRAYS[name] for name in ("foa", "mic", "binaural")]  # what a default clip is recorded by
TARGET = 20.0


def sound_scene(seed: int = 0, events: int = 12, moving: int = 4) -> Scene:
    """A busy clip of noise bursts, `moving` of them walking around the listener."""
    rng = np.random.default_rng(seed)
    size_m = (6.0, 5.0, 3.0)
    room = Room("bench", size_m, (2.9, 2.4, 1.5), 0.4, absorption_for_rt60(size_m, 0.4))
    made = []
    for number in range(events):
        seconds = rng.uniform(2.0, 4.5)
        sound = 0.05 * rng.standard_normal(int(seconds * RATE_HZ)).astype(np.float32)
        path = Trajectory(np.zeros(1), rng.uniform([-2, -2, -0.5], [2, 2, 0.5])[None])
        if number < moving:
            time_s = np.linspace(0.0, SECONDS, 301)
            angle = 0.5 * time_s
            path = Trajectory(time_s, np.stack([1.5 * np.cos(angle), 1.5 * np.sin(angle), 0 * angle], axis=-1))
        made.append(Event(0, "noise", rng.uniform(0, SECONDS - seconds), sound, {}, path, "object", number))
    return Scene("bench", "train", 7, SECONDS, RATE_HZ, room, tuple(made), (), (), 25.0)


def sound_floor_s(scene: Scene) -> float:
    """Seconds that the clip's arithmetic takes at the speeds measured here for large products and transforms."""
    with threadpool_limits(1):
        a, b = np.ones((512, 512), np.float32), np.ones((512, 2048), np.float32)
        flop_s = 2 * a.shape[0] * a.shape[1] * b.shape[1] / _best(lambda: a @ b)
    waves = np.ones((16, 65536), np.float32)
    point_s = _best(lambda: fft.irfft(fft.rfft(waves), 65536)) / (2 * waves.size)  # per point of one transform
    receivers = [receiver_for(array, scene.rate_hz) for array in RECORDED]
    rows, channels = sum(r.rows for r in receivers), sum(r.channels for r in receivers)
    images = len(image_sources(scene.room, MAX_ORDER).order)
    moving = sum(len(e.sound) for e in scene.events if e.trajectory.moving)
    every = sum(len(e.sound) for e in scene.events)
    flop = moving * images * (4 * rows + 2 * 8)  # two products of the cross-faded weights; eight taps
    points = moving * (rows + channels) + every * (1 + channels) + scene.duration_s * scene.rate_hz * channels
    return flop / flop_s + points * point_s


def _best(work: Callable[[], object], rounds: int = 5) -> float:
    """Shortest of several runs, in seconds of processor time."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def bench_sound() -> None:
    """Print what the sound of the clip costs."""
    scene, arrays = sound_scene(), RECORDED
    start = time.process_time()
    render(scene, arrays)
    first_s = time.process_time() - start
    clip_s = _best(lambda: render(scene, arrays), rounds=3)
    still = sound_scene(moving=0)
    still_s = _best(lambda: render(still, arrays), rounds=3)
    floor_s = sound_floor_s(scene)
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"sound, {SECONDS:g} s clip, {' + '.join(a.name for a in arrays)}, one core (processor time)")
    print(f"  4 of 12 events moving   {clip_s:6.2f} s  {SECONDS / clip_s:6.1f} x real time  (target {TARGET:g} x)")
    print(f"  none moving             {still_s:6.2f} s  {SECONDS / still_s:6.1f} x real time")
    print(f"  first clip of a process {first_s:6.2f} s  (tables; compilation where it is not cached)")
    print(f"  floor                   {floor_s:6.2f} s  -> {clip_s / floor_s:.1f} times the floor")
    print(f"  peak memory of the process {memory_mb:.0f} MB (target < 1024)")


def bench_picture(seed: int = 1) -> None:
    """Print what the video of default clips costs: 960x480, 10 frames/s, h264."""
    from simulation.bank import Bank
    from simulation.compose import compose
    from simulation.picture import Painter, render_video
    from simulation.plan import make_plan
    from simulation.settings import Settings
    from util.video import VideoWriter, read_frames

    asked = Settings(seed=seed, train=3, test=0, train_rooms=1)
    room_s, draw_s, encode_s, whole_s, sound_s, frame_count = [], [], [], [], [], 0
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        cv2.setNumThreads(1)
        path = f"{folder}/clip.mp4"
        for plan in make_plan(asked):
            scene = compose(asked, plan, Bank())
            frame_count = round(scene.duration_s * 10)
            start = time.process_time()
            painter = Painter(scene, asked.camera)
            room_s.append(time.process_time() - start)
            start = time.process_time()
            for number in range(frame_count):
                painter.frame((number + 0.5) / 10)
            draw_s.append(time.process_time() - start)
            del painter
            start = time.process_time()
            render_video(scene, path, camera=asked.camera, fps=10)
            whole_s.append(time.process_time() - start)
            pictures = [frame for _, frame in itertools.islice(read_frames(path), 100)]  # all would be 400 MB
            start = time.process_time()
            with VideoWriter(path, asked.camera.width, asked.camera.height, 10, threads=1) as writer:
                for picture in pictures:
                    writer.write(picture)
            encode_s.append((time.process_time() - start) * frame_count / len(pictures))
            del pictures
            start = time.process_time()
            render(scene, RECORDED)
            sound_s.append(time.process_time() - start)
    seconds = asked.seconds
    room, drawn, encoded, whole, sound = (float(np.mean(v)) for v in (room_s, draw_s, encode_s, whole_s, sound_s))
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"picture, {len(room_s)} default clips of {seconds:g} s, {asked.camera.width}x{asked.camera.height}, one core"
    )
    print(f"  room, once a clip       {room:6.2f} s")
    print(f"  frames                  {drawn:6.2f} s  {1000 * drawn / frame_count:6.1f} ms per frame")
    print(f"  h264 alone (the floor)  {encoded:6.2f} s  {1000 * encoded / frame_count:6.1f} ms per frame")
    print(f"  the whole video         {whole:6.2f} s  {seconds / whole:6.1f} x real time")
    print(
        f"  video and sound         {whole + sound:6.2f} s  {seconds / (whole + sound):6.1f} x real time  (target 4 x)"
    )
    print(f"  peak memory of the process {memory_mb:.0f} MB (target < 1024)")


def bench_clip(seed: int = 1) -> None:
    """Print what the whole making of a default clip costs, each way in a process of its own: cold, then warm."""
    print("clip: compose, sounds, render and write FOA + MIC + binaural and labels; 30 s, one core (processor time)")
    context = multiprocessing.get_context("spawn")
    for video in (False, True):
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            start_s, taken_s, memory_mb = pool.submit(_clips, video, seed).result()
        warm_s, seconds = min(taken_s[1:]), SECONDS
        print(f"  {'with' if video else 'without'} video")
        print(f"    first clip of a process {taken_s[0]:6.2f} s  (before it {start_s:.2f} s of imports and planning)")
        print(f"    later clips, the best   {warm_s:6.2f} s  {seconds / warm_s:6.1f} x real time")
        print(f"    peak memory of the process {memory_mb:.0f} MB (target < 1024)")


def _clips(video: bool, seed: int) -> tuple[float, list[float], float]:
    """Seconds until the first clip, seconds of each of three clips, peak memory in MB of this process."""
    from simulation.bank import Bank
    from simulation.dataset_writer import make_clip
    from simulation.plan import make_plan
    from simulation.settings import Settings

    asked = Settings(seed=seed, train=3, test=0, train_rooms=1, video=video)
    taken_s = []
    cv2.setNumThreads(1)
    with threadpool_limits(1), tempfile.TemporaryDirectory() as folder:
        plans = make_plan(asked)
        start_s = time.process_time()
        for plan in plans:
            before = time.process_time()
            make_clip(Path(folder), asked, Bank(), plan)
            taken_s.append(time.process_time() - before)
    return start_s, taken_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


PARTS = {"sound": bench_sound, "picture": bench_picture, "clip": bench_clip}


def main(argv: list[str] | None = None) -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulation", description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=list(PARTS), help="default: all")
    asked = parser.parse_args(argv).part
    for part in [asked] if asked else PARTS:
        PARTS[part]()


if __name__ == "__main__":
    raise SystemExit(run_main(main))
