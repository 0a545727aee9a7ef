"""Speed of the visual path: detection over its floor, resizing against moviepy, opening cached boxes.

python bench/vision.py                                          with the detector `builtin`
python bench/vision.py --detector yolox_tiny --workers 8
python bench/vision.py --moviepy-python VENV/bin/python         moviepy lives in an environment of its own:
                                                                python -m venv VENV && VENV/bin/pip install moviepy
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from detection.detector import Detector
from detection.videos import BATCH, GPU_BATCH, detect_video
from resize_video import CRF, PRESET, resize_video
from util.boxes import BoxTrack, read_boxes, write_boxes
from util.cpus import cpu_count
from util.video import VideoWriter, decoded_frames, video_info

MOVIEPY = """
import sys, time
import moviepy
start = time.perf_counter()
clip = moviepy.VideoFileClip(sys.argv[1], audio=False)
clip.resized(new_size=(360, 180)).write_videofile(
    sys.argv[2], codec="libx264", audio=False, logger=None, preset=sys.argv[3],
    ffmpeg_params=["-crf", sys.argv[4]], threads=int(sys.argv[5]))
print(time.perf_counter() - start, moviepy.__version__)
"""


def make_clip(path: Path, frames: int, width: int, height: int) -> None:
    """A panning noise texture with moving blocks: neither trivial to decode nor to encode."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(30, 220, (height // 16, width // 16, 3)).astype(np.uint8)
    texture = np.kron(coarse, np.ones((16, 16, 1), np.uint8)) // 2 + rng.integers(0, 40, (height, width, 3), np.uint8)
    with VideoWriter(path, width, height, Fraction(30000, 1001)) as writer:
        for index in range(frames):
            frame = np.roll(texture, index, axis=1)
            left = (7 * index) % (width - 60)
            frame[height // 3 : height * 2 // 3, left : left + 60] = (40, 120, 200)
            writer.write(frame)


def timed(*actions: Callable[[], object], repeats: int) -> list[tuple[float, float]]:
    """Seconds of each action, of the clock and of all processors: the least of some rounds, actions taken in turn.

    In turn and the least, so that other work on the machine disturbs the comparison as little as can be.
    """
    least = [(float("inf"), float("inf"))] * len(actions)
    for _ in range(repeats):
        for number, action in enumerate(actions):
            clock, processor = time.perf_counter(), time.process_time()
            action()
            taken = time.perf_counter() - clock, time.process_time() - processor
            least[number] = min(least[number][0], taken[0]), min(least[number][1], taken[1])
    return least


def detection(clip: Path, name: str, workers: int, repeats: int) -> None:
    """Detection of every frame against its floor: bare inference in the same arrangement, and a bare decode."""
    detector = Detector(name)
    info = video_info(clip)
    count = info.frame_count
    batch = (GPU_BATCH if detector.on_gpu else BATCH) if detector.free_batch else 1
    shape = (batch, 3, detector.height, detector.width)
    noise = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)

    def inference() -> None:
        flying: deque = deque()
        with ThreadPoolExecutor(workers) as pool:
            for _ in range(-(-count // batch)):
                flying.append(pool.submit(detector.infer, noise))
                if len(flying) > 2 * workers:
                    flying.popleft().result()

    def decode() -> None:
        for _ in decoded_frames(clip, threads=1 if workers < 8 else 0):
            pass

    def whole() -> None:
        with ThreadPoolExecutor(workers) as pool:
            detect_video(clip, detector, "native", pool=pool, workers=workers, info=info)

    inference_s, decode_s, whole_s = timed(inference, decode, whole, repeats=repeats)
    ratio = [whole_s[kind] / (inference_s[kind] + decode_s[kind]) for kind in (0, 1)]
    given, taken = f"{info.width}x{info.height}", f"{detector.width}x{detector.height}"
    print(
        f"detection, {detector.label} ({taken}), {count} frames of {given}, {workers} workers, batch {batch}: "
        f"{whole_s[0]:.2f} s ({count / whole_s[0]:.0f} frames/s); floor {inference_s[0]:.2f} s inference + "
        f"{decode_s[0]:.2f} s decode; ratio {ratio[0]:.2f}, of processor time {ratio[1]:.2f} (goal 1.3 at most)"
    )


def resizing(clip: Path, folder: Path, moviepy_python: str | None, threads: int, repeats: int) -> None:
    """Resizing one clip to 360x180 against moviepy with the same codec settings and threads."""
    ((ours_s, _),) = timed(lambda: resize_video(clip, folder / "ours.mp4", threads=threads), repeats=repeats)
    frames = video_info(clip).frame_count
    text = f"resizing {frames} frames, {threads} threads: {ours_s:.2f} s ({frames / ours_s:.0f} frames/s)"
    if moviepy_python is None:
        print(f"{text}; moviepy absent, not compared (--moviepy-python)")
        return
    seconds = []
    for _ in range(repeats):
        arguments = [str(clip), str(folder / "moviepy.mp4"), PRESET, str(CRF), str(threads)]
        done = subprocess.run([moviepy_python, "-c", MOVIEPY, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{text}; moviepy failed: {done.stderr.strip().splitlines()[-1]}")
            return
        taken, version = done.stdout.split()
        seconds.append(float(taken))
    made = video_info(folder / "moviepy.mp4")
    theirs_s = min(seconds)
    print(
        f"{text}; moviepy {version}, same preset and crf, {made.frame_count} frames: {theirs_s:.2f} s; "
        f"{theirs_s / ours_s:.1f} times as fast (goal 3)"
    )


def opening(folder: Path) -> None:
    """Opening the boxes of nine minutes, at 10 per second and at 29.97, three people in the picture."""
    for rate_hz in (10.0, 30000 / 1001):
        count = int(540 * rate_hz)
        boxes = np.zeros((count, 6, 4), np.float32)
        boxes[:, :3] = np.random.default_rng(0).uniform(0, 1, (count, 3, 4))
        track = BoxTrack(np.arange(count) / rate_hz, boxes, boxes[..., 0], 540.0, {"detector": "builtin"})
        write_boxes(folder / "long.npz", track)
        ((seconds, _),) = timed(lambda: read_boxes(folder / "long.npz"), repeats=25)
        size_kb = (folder / "long.npz").stat().st_size / 1000
        text = f"opening cached boxes, 9 minutes at {rate_hz:.2f} Hz, {size_kb:.0f} kB"
        print(f"{text}: {seconds * 1000:.2f} ms (goal 5 ms at most)")


def main(argv: list[str] | None = None) -> int:
    """Run all three and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", default="builtin", help="name or onnx file (%(default)s)")
    parser.add_argument("--frames", type=int, default=300, help="frames of the clip (%(default)s)")
    parser.add_argument("--size", default="1920x960", help="of the clip that is resized (%(default)s)")
    parser.add_argument("--workers", type=int, default=cpu_count(), help="inferences at the same time (%(default)s)")
    parser.add_argument("--repeats", type=int, default=4, help="rounds; the least time counts (%(default)s)")
    parser.add_argument("--moviepy-python", help="python of an environment that has moviepy")
    arguments = parser.parse_args(argv)
    width, height = (int(side) for side in arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        opening(folder)
        make_clip(folder / "large.mp4", arguments.frames, width, height)
        resizing(folder / "large.mp4", folder, arguments.moviepy_python, arguments.workers, arguments.repeats)
        detection(folder / "ours.mp4", arguments.detector, arguments.workers, arguments.repeats)
        detection(folder / "large.mp4", arguments.detector, arguments.workers, arguments.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
