"""A small clip for tests of what people look at: labels, candidates, four-channel sound and a panorama with discs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import soundfile

from dcase2022_task3_seld_metrics import score
from output_format.candidates import Candidates, merge
from output_format.formats import MultiAccdoa
from seld_validator import Validation, write_result
from util.angles import direction_from_degrees, wrap_azimuth_deg
from util.boxes import BoxTrack
from util.camera import Equirectangular
from util.dialects import write_events
from util.events import EventTable
from util.files import write_json
from util.microphone_arrays import ARRAYS
from util.video import VideoWriter

CLASSES = ["female speech", "male speech", "door", "</script><b>bell</b>"]
DURATION_S, RATE_HZ, FPS = 8.0, 24000, 10
WIDTH, HEIGHT = 360, 180
DISC_BGR = (40, 220, 60)


@dataclass(frozen=True)
class Clip:
    """reference and candidates of one clip, with paths of its sound and picture."""

    reference: EventTable
    candidates: Candidates
    audio: Path
    video: Path
    boxes: BoxTrack


def make_reference() -> EventTable:
    """One walker who crosses the seam, one speaker at rest, one door, two overlapping speakers of one class."""
    rows = []
    for frame in range(int(DURATION_S * 10)):
        if 5 <= frame < 60:
            rows.append((frame, 0, 0, float(wrap_azimuth_deg(150 + frame)), 5))
        if 20 <= frame < 75:
            rows.append((frame, 1, 1, -40, -10))
        if 40 <= frame < 55:
            rows.append((frame, 1, 2, 60, 20))
        if 62 <= frame < 66:
            rows.append((frame, 2, 3, 90, 0))
    frame, class_index, source, azimuth_deg, elevation_deg = np.array(rows).T
    columns = {"frame": frame, "class_index": class_index, "source": source}
    return EventTable.make(**columns, azimuth_deg=azimuth_deg, elevation_deg=elevation_deg)


def make_candidates(reference: EventTable, *, perfect: bool = False, seed: int = 0) -> Candidates:
    """Three tracks of noise, with the labels in them: exact, or with errors of every kind."""
    generator = np.random.default_rng(seed)
    shape = (int(DURATION_S * 10), len(CLASSES), 3)
    activity = np.zeros(shape) if perfect else np.abs(generator.normal(0, 0.15, shape)).clip(0, 1)
    azimuth_deg, elevation_deg = generator.uniform(-180, 180, shape), generator.uniform(-60, 60, shape)
    for row in range(len(reference)):
        frame, index, source = (int(getattr(reference, name)[row]) for name in ("frame", "class_index", "source"))
        for track in [source % 3] if perfect or source == 1 else [source % 3, (source + 1) % 3]:
            cell = frame, index, track
            off = 0.0 if perfect else generator.normal(0, 9) + (45 if source == 2 else 0)
            activity[cell] = 1.0 if perfect else generator.uniform(0.1, 1)
            azimuth_deg[cell] = wrap_azimuth_deg(reference.azimuth_deg[row] + off)
            elevation_deg[cell] = reference.elevation_deg[row] + (0 if perfect else generator.normal(0, 4))
    return Candidates(activity, azimuth_deg, elevation_deg)


def make_clip(folder: Path, *, perfect: bool = False) -> Clip:
    """Write sound and picture; a green disc moves where the labels are."""
    reference = make_reference()
    samples = int(DURATION_S * RATE_HZ)
    time_s = np.arange(samples) / RATE_HZ
    direction = direction_from_degrees(reference.azimuth_deg, reference.elevation_deg)
    foa = np.zeros((samples, 4))
    for row, frame in enumerate(reference.frame):
        part = slice(int(frame * RATE_HZ / 10), int((frame + 1) * RATE_HZ / 10))
        tone = 0.1 * np.sin(2 * np.pi * (300 + 200 * reference.class_index[row]) * time_s[part])
        x, y, z = direction[row]
        foa[part] += tone[:, None] * np.array([1, y, z, x])
    soundfile.write(folder / "clip.wav", foa, RATE_HZ)
    camera = Equirectangular(WIDTH, HEIGHT)
    with VideoWriter(folder / "clip.mp4", WIDTH, HEIGHT, FPS, crf=12) as writer:
        for frame in range(int(DURATION_S * FPS)):
            picture = np.full((HEIGHT, WIDTH, 3), (70, 60, 50), np.uint8)
            rows = reference.frame == frame * 10 // FPS
            pixels, _ = camera.project(direction[rows].reshape(-1, 3))
            for x, y in pixels:
                for shift in (-WIDTH, 0, WIDTH):
                    cv2.circle(picture, (round(x + shift), round(y)), 8, DISC_BGR, -1)
            writer.write(picture)
    grid_s = np.arange(0, DURATION_S, 0.1)
    boxes = np.zeros((len(grid_s), 6, 4), np.float32)
    boxes[20:75, 0] = (0.58, 0.45, 0.64, 0.75)
    track = BoxTrack(grid_s, boxes, (boxes[..., 0] > 0).astype(np.float32), DURATION_S)
    candidates = make_candidates(reference, perfect=perfect)
    return Clip(reference, candidates, folder / "clip.wav", folder / "clip.mp4", track)


LONG_CLASSES = [f"class {index}" for index in range(13)]
NUMBER_BITS = 14


def make_long_clip(
    folder: Path,
    *,
    seconds: int,
    width: int,
    height: int,
    fps: int,
    rate_hz: int = RATE_HZ,
    textured: bool = False,
) -> Clip:
    """A long recording of noise: two sources a frame, and a video whose squares at the top tell its number.

    `textured` gives the video something for its encoder to do: a room's worth of detail that moves.
    """
    generator = np.random.default_rng(1)
    frames = 10 * seconds
    frame = np.repeat(np.arange(frames), 2)
    reference = EventTable.make(
        frame=frame,
        class_index=generator.integers(0, len(LONG_CLASSES), len(frame)),
        azimuth_deg=generator.integers(-180, 180, len(frame)),
        elevation_deg=generator.integers(-60, 60, len(frame)),
    )
    shape = (frames, len(LONG_CLASSES), 3)
    activity = np.abs(generator.normal(0, 0.03, shape))
    activity[reference.frame, reference.class_index, :2] = generator.uniform(0.1, 1, (len(frame), 2))
    candidates = Candidates(activity, generator.uniform(-180, 180, shape), generator.uniform(-60, 60, shape))
    noise = (0.1 * generator.standard_normal((10 * rate_hz, 4))).astype(np.float32)
    with soundfile.SoundFile(folder / "long.wav", "w", rate_hz, 4, "PCM_16") as file:
        for _ in range(seconds // 10):
            file.write(noise)
    ground = np.full((height, width, 3), 70, np.uint8)
    if textured:
        coarse = generator.integers(40, 200, (height // 12, width // 12, 3), dtype=np.uint8)
        ground = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    square = width // NUMBER_BITS
    with VideoWriter(folder / "long.mp4", width, height, fps, preset="veryfast" if textured else "ultrafast") as writer:
        for index in range(seconds * fps):
            picture = np.roll(ground, index // 2, axis=1) if textured else ground.copy()
            for bit in range(NUMBER_BITS):
                picture[:square, bit * square : (bit + 1) * square] = 235 if index >> bit & 1 else 20
            writer.write(picture)
    grid_s = np.arange(0, seconds, 0.1)
    boxes = np.zeros((len(grid_s), 6, 4), np.float32)
    boxes[:, 0] = (0.58, 0.45, 0.64, 0.75)
    track = BoxTrack(grid_s, boxes, boxes[..., 0], float(seconds))
    return Clip(reference, candidates, folder / "long.wav", folder / "long.mp4", track)


def make_run(root: Path, name: str, *, clips: int = 3, seed: int = 0, drop: float = 0.0, video: bool = False) -> Path:
    """A run folder as an evaluation leaves it: raw outputs with their json, result file, configuration.

    The recordings lie in `root`, the same ones for every run; `drop` is the share of activities that is taken away.
    """
    run_dir = root / name
    raw_dir = run_dir / "raw_dcase2023t3_foa_devtest_0000100"
    raw_dir.mkdir(parents=True)
    reference = make_reference()
    generator = np.random.default_rng(seed)
    names = ["woman", "man", "door", "bell"]
    common = {
        "system": "av_crnn",
        **MultiAccdoa(len(names)).description(),
        "classes": names,
        "thresholds": [0.3] * len(names),
        "unification_deg": 15.0,
        "array": ARRAYS["foa"].to_dict(),
        "checkpoint": "params_0000100.pth",
        "command": "python seld.py -eval",
    }
    references, estimated = {}, {}
    for index in range(clips):
        clip = f"fold4_room{index // 2 + 1}_mix{index + 1:03d}"
        folder = root / clip
        if not folder.is_dir():
            folder.mkdir()
            make_clip(folder)
            write_events(folder / "clip.csv", reference.replace(distance_m=1.0 + reference.source), "starss23")
        candidates = make_candidates(reference, seed=100 * seed + index)
        kept = generator.random(candidates.activity.shape) >= drop
        vectors = direction_from_degrees(candidates.azimuth_deg, candidates.elevation_deg)
        raw = np.repeat((vectors * (candidates.activity * kept)[..., None]).transpose(2, 3, 1, 0), 10, axis=-1)
        np.save(raw_dir / f"{clip}.npy", raw.astype(np.float32))
        files = {"recording": str(folder / "clip.wav"), "labels": str(folder / "clip.csv"), "duration_s": DURATION_S}
        write_json(raw_dir / f"{clip}.json", {**common, **files, "video": str(folder / "clip.mp4") if video else None})
        found = MultiAccdoa(len(names)).candidates(raw.astype(np.float32))
        references[clip], estimated[clip] = reference, merge(found, 0.3, 15.0)
    scores = score(references, estimated, classes=names)
    validation = Validation(scores, 0.1, references, estimated)
    result = run_dir / "result_dcase2023t3_foa_devtest_0000100.txt"
    write_result(result, validation, names, ["data synthetic: synthetic scenes", "seed 0"])
    write_json(run_dir / "args.json", {"edition": "2023", "average": "macro", "random_seed": seed, "batch_size": 16})
    return run_dir
