"""How many training windows per second the data path gives: reading, labels, boxes, features.

python bench/data_path.py                      FOA, as training does it
python bench/data_path.py --format binaural --clips 500 --threads 2
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import util.cli  # noqa: F401  as every command line: how PyTorch's threads wait
from bench.machine import machine


def main(argv: list[str] | None = None) -> int:
    """Make clips (one file, hard-linked), run the loader with features, print windows per second by part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=["foa", "mic", "binaural"], default="foa", help="audio format [foa]")
    parser.add_argument("--clips", type=int, default=50, help="number of one-minute clips, hard links [50]")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the clips in seconds [60]")
    parser.add_argument("--rate", type=int, default=24000, help="sampling rate of the files in Hz [24000]")
    parser.add_argument("--batch-size", type=int, default=16, help="windows per batch [16]")
    parser.add_argument("--batches", type=int, default=60, help="batches to time [60]")
    parser.add_argument("--workers", type=int, default=1, help="threads of the loader [1]")
    parser.add_argument("--threads", type=int, default=None, help="threads of torch [number of cores]")
    parser.add_argument("--device", default="cpu", help="where features, box vectors and labels are computed [cpu]")
    parser.add_argument("--swap", action="store_true", help="with the channel swap")
    args = parser.parse_args(argv)

    import torch

    if args.threads:
        torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        return _run(args, Path(folder))


def _run(args: argparse.Namespace, folder: Path) -> int:
    import torch

    from dataset.augment import ChannelSwap
    from dataset.loader import Loader
    from dataset.recordings import Boxes, Labels, recordings_from_list
    from dataset.source import Source
    from feature.front import on_device
    from output_format.multi_accdoa import MultiAccdoa
    from system.audio_visual import FOREIGN, front_of, plans_of

    listed = make_clips(folder, args.format, args.clips, args.seconds, args.rate)
    baseline_mb = _resident_mb()
    recordings = recordings_from_list(listed, need_labels=True, need_video=True)
    array = recordings[0].array
    labels, boxes, plans = Labels(13), Boxes("builtin"), plans_of(FOREIGN)
    source = Source(recordings, labels, boxes)
    plan = plans.training(source.lengths(24000), args.batch_size, 0, None)
    output_format = MultiAccdoa(13)
    device = torch.device(args.device)
    front = front_of(FOREIGN, array, True, None).to(device)
    finish = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    def batches(count: int, *, workers: int) -> Loader:
        return Loader(
            source,
            plan,
            batch_size=args.batch_size,
            encode=output_format.encode,
            augment=ChannelSwap(array, seed=0) if args.swap else None,
            stop_step=count,
            workers=workers,
        )

    def rate(body: Callable[[Any], object], batch: dict | None = None) -> tuple[float, float]:
        """(windows per second, ms of CPU per window) of one part, on the loader's batches or over and over on one."""
        start, busy = time.perf_counter(), time.process_time()
        if batch is None:
            with batches(args.batches, workers=args.workers) as loader:
                for each in loader:
                    body(each)
        else:
            for _ in range(args.batches):
                body(batch)
        finish()
        windows = args.batches * args.batch_size
        return windows / (time.perf_counter() - start), 1000 * (time.process_time() - busy) / windows

    def whole(batch: dict) -> None:
        with torch.inference_mode():
            front(on_device(batch, device))
            output_format.target(batch["labels"], device)

    zero = torch.zeros(1).numpy()
    start = time.perf_counter()
    for recording in recordings:  # training reads each once, in its first minutes; what is timed is the rest of it
        labels(recording), boxes(recording, zero)
    first_ms = 1000 * (time.perf_counter() - start) / len(recordings)
    with batches(3, workers=0) as loader:
        for batch in loader:
            whole(batch)
    box_vectors = front.visual
    assert box_vectors is not None  # the front was made with pictures
    with torch.inference_mode():
        parts = {
            "read, labels, boxes": rate(lambda _: None),
            "feature": rate(lambda b: front.audio(b["waveform"].to(device)), batch),
            "box vectors": rate(lambda b: box_vectors(b["visual"].to(device)), batch),
            "labels expanded": rate(lambda b: output_format.target(b["labels"], device), batch),
        }
    total = rate(whole)
    print(
        f"data path, {args.format}, {args.clips} clips of {args.seconds:g} s at {args.rate} Hz, "
        f"batch {args.batch_size}; {machine(args.device)}, {args.workers} loader thread(s), float32 on {device}"
    )
    for name, (value, cpu_ms) in parts.items():
        print(f"  {name:20s} {value:8.0f} windows/s alone, {cpu_ms:6.3f} ms of CPU per window")
    print(f"  {'data path':20s} {total[0]:8.0f} windows/s (asked: 700), {total[1]:6.3f} ms of CPU per window")
    print(f"  labels and boxes of a clip, read the first time: {first_ms:.1f} ms")
    print(f"  resident memory {_resident_mb():.0f} MB, {_resident_mb() - baseline_mb:.0f} MB above the imports")
    return 0


def make_clips(folder: Path, format: str, clips: int, seconds: float, rate_hz: int) -> Path:
    """A data root of clips that are hard links of one, with labels and boxes; the path of its training list."""
    import numpy as np

    from util.audio import write_audio
    from util.boxes import BoxTrack, box_path, write_boxes
    from util.dialects import write_events
    from util.events import EventTable
    from util.microphone_arrays import ARRAYS

    rng = np.random.default_rng(0)
    waveform = 0.1 * rng.standard_normal((ARRAYS[format].channels, round(seconds * rate_hz)))
    frames = np.repeat(np.arange(round(10 * seconds)), 2)
    count = len(frames)
    events = EventTable.make(
        frame=frames,
        class_index=rng.integers(0, 13, count),
        source=np.tile([0, 1], count // 2),
        azimuth_deg=rng.integers(-180, 180, count),
        elevation_deg=rng.integers(-90, 91, count),
        distance_m=rng.integers(50, 400, count) / 100,
    )
    times = np.arange(0, seconds, 0.1)
    boxes = np.sort(rng.random((len(times), 6, 4)), axis=-1)[..., [0, 1, 2, 3]].astype(np.float32)
    boxes[:, 4:] = 0  # more people than most scenes have
    track = BoxTrack(
        times, boxes, np.where(boxes.any(axis=-1), 0.5, 0).astype(np.float32), seconds, {"detector": "builtin"}
    )
    lines: list[str] = []
    first: dict[str, Any] = {}
    for index in range(clips):
        stem = f"dev-train-x/fold3_room{index % 9 + 1}_mix{index + 1:04d}"
        audio = folder / f"{format}_dev" / f"{stem}.wav"
        video = folder / "video_360x180_dev" / f"{stem}.mp4"
        paths = {
            "audio": audio,
            "labels": folder / "metadata_dev" / f"{stem}.csv",
            "video": video,
            "boxes": box_path(video, "builtin"),
        }
        for kind, path in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if index:
                os.link(first[kind], path)
        if not index:
            first = paths
            write_audio(audio, waveform, rate_hz)
            write_events(paths["labels"], events)
            video.touch()
            write_boxes(paths["boxes"], track)
        lines.append(f"{audio}\n")
    listed = folder / "list_dataset" / "bench.txt"
    listed.parent.mkdir()
    listed.write_text("".join(lines))
    return listed


def _resident_mb() -> float:
    """Memory that the process holds now; the peak where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    raise SystemExit(main())
