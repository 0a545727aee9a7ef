"""Simulated frames with boxes, made once in chunks and kept in a folder, for training and testing the detector."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from util.cli import run_main
from util.files import read_json, write_array, write_json

CHUNK = 100
WIDTH, HEIGHT = 360, 180
TRAIN_SEED, TEST_SEED = 1000, 900_000  # of the first chunk; each chunk has a seed of its own


def make_chunk(folder: Path, split: str, seed: int, count: int = CHUNK) -> None:
    """Draw one chunk unless it is there: "<split>_<seed>.npy" (count, 180, 360, 3) uint8 BGR, .json with the boxes."""
    from simulation.picture.training import training_frames

    frames_path, boxes_path = folder / f"{split}_{seed}.npy", folder / f"{split}_{seed}.json"
    if frames_path.is_file() and boxes_path.is_file():
        return
    pictures, boxes = [], []
    for picture, found in training_frames(seed, count, split, (WIDTH, HEIGHT)):
        pictures.append(picture)
        boxes.append(np.asarray(found, dtype=np.float64).reshape(-1, 4).round(2).tolist())
    write_array(frames_path, np.stack(pictures))
    write_json(boxes_path, boxes)


def load_frames(folder: Path, split: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """All frames of a split in a folder: pictures (180, 360, 3), mapped from disk, and boxes (n, 4) float32 pixels."""
    pictures: list[np.ndarray] = []
    boxes: list[np.ndarray] = []
    for path in sorted(folder.glob(f"{split}_*.npy"), key=lambda path: int(path.stem.split("_")[1])):
        pictures.extend(np.load(path, mmap_mode="r"))
        boxes.extend(np.array(one, np.float32).reshape(-1, 4) for one in read_json(path.with_suffix(".json")))
    return pictures, boxes


def main(argv: list[str] | None = None) -> int:
    """Command line: `python -m detection.builtin.frames FOLDER --train 1800 --test 200`."""
    parser = argparse.ArgumentParser(prog="python -m detection.builtin.frames", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=1800, help="training frames (%(default)s), 100 to a chunk")
    parser.add_argument("--test", type=int, default=200, help="test frames, of unseen people and rooms (%(default)s)")
    arguments = parser.parse_args(argv)
    chunks = [("test", TEST_SEED + chunk) for chunk in range(-(-arguments.test // CHUNK))]
    chunks += [("train", TRAIN_SEED + chunk) for chunk in range(-(-arguments.train // CHUNK))]
    for split, seed in tqdm(chunks, desc="drawing frames", unit="chunk"):
        make_chunk(arguments.folder, split, seed)
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
