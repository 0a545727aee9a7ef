"""Train the built-in person detector on simulated frames and export it: `python -m detection.builtin.train`."""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from detection.builtin.augment import augmented
from detection.builtin.frames import load_frames
from detection.builtin.loss import yolox_loss
from detection.builtin.network import CompactYolox
from detection.yolox import anchor_points
from util.cli import run_main
from util.errors import InputError
from util.files import written_whole

WIDTH, HEIGHT = 384, 192  # a 360x180 picture fits without a border
LARGEST_BYTES = 4_000_000


def batches(
    pictures: list[np.ndarray], boxes: list[np.ndarray], size: int, steps: int, seed: int, plain_from: int
) -> Iterator[tuple[torch.Tensor, list[torch.Tensor]]]:
    """Augmented batches, one made ahead in a thread; from step `plain_from` on without augmentation but mirroring."""
    empty = [number for number, found in enumerate(boxes) if not len(found)]

    def make(step: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
        rng = np.random.default_rng([seed, step])
        order = np.random.default_rng([seed, step * size // len(pictures)]).permutation(len(pictures))
        batch = np.empty((size, 3, HEIGHT, WIDTH), np.float32)
        truths = []
        for position in range(size):
            number = order[(step * size + position) % len(pictures)]
            picture, found = pictures[number], boxes[number]
            if step < plain_from:
                other = pictures[rng.choice(empty)] if empty else None
                picture, found = augmented(picture, found, other, rng, WIDTH, HEIGHT)
            else:
                found = found * (WIDTH / picture.shape[1])
                picture = cv2.resize(picture, (WIDTH, HEIGHT))
                if rng.random() < 0.5:
                    picture, found = picture[:, ::-1], found[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [WIDTH, 0, WIDTH, 0]
            batch[position] = picture.transpose(2, 0, 1)
            truths.append(torch.from_numpy(np.asarray(found, np.float32).reshape(-1, 4)))
        return torch.from_numpy(batch).contiguous(memory_format=torch.channels_last), truths

    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(make, 0)
        for step in range(steps):
            now, ahead = ahead, pool.submit(make, step + 1)
            yield now.result()


def train(
    pictures: list[np.ndarray],
    boxes: list[np.ndarray],
    *,
    steps: int,
    batch: int = 16,
    learning_rate: float = 3e-3,
    seed: int = 0,
    log: Path | None = None,
) -> CompactYolox:
    """Train from scratch: AdamW, warm-up and cosine, averaged weights, the last tenth without augmentation.

    Returns
    -------
    the network with averaged weights, in evaluation mode
    """
    torch.manual_seed(seed)
    anchors = torch.from_numpy(anchor_points(WIDTH, HEIGHT))
    network = CompactYolox().train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # that its stubs lack
    averaged = copy.deepcopy(network).eval()
    decayed = [p for p in network.parameters() if p.ndim > 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": 0.02},
        {"params": [p for p in network.parameters() if p.ndim <= 1]},
    ]
    optimiser = torch.optim.AdamW(
        groups,
        lr=learning_rate,
        weight_decay=0.0,
    )
    warm_up = max(1, min(100, steps // 10))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min(1.0, (step + 1) / warm_up) * (0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2),
    )
    bar = tqdm(batches(pictures, boxes, batch, steps, seed, steps - steps // 10), total=steps, unit="step")
    mean: dict[str, float] = {}
    for step, (inputs, truths) in enumerate(bar):
        losses = yolox_loss(network(inputs), truths, anchors)
        optimiser.zero_grad(set_to_none=True)
        sum(losses.values(), start=torch.zeros(())).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        schedule.step()
        decay = 0.998 * (1 - math.exp(-(step + 1) / 400))
        with torch.no_grad():
            for kept, new in zip(averaged.state_dict().values(), network.state_dict().values()):
                kept.lerp_(new, 1 - decay) if kept.is_floating_point() else kept.copy_(new)
        for name, loss in losses.items():
            value = loss.item()
            mean[name] = 0.98 * mean.get(name, value) + 0.02 * value
        bar.set_postfix({name: f"{value:.3f}" for name, value in mean.items()}, refresh=False)
        if log is not None and (step + 1) % 100 == 0:
            with open(log, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step + 1, "time_s": round(time.time()), **mean}) + "\n")
            export(averaged, log.with_suffix(".onnx"))
    return averaged


def export(network: CompactYolox, path: Path) -> None:
    """Write the network as onnx: "images" (batch, 3, 192, 384) BGR 0..255 -> "output" (batch, 1512, 6), batch free."""
    network = copy.deepcopy(network).eval()
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # that its stubs lack
    network.export = True
    with written_whole(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, HEIGHT, WIDTH),),
            str(temporary),
            dynamo=False,  # the exporter that needs no further package
            input_names=["images"],
            output_names=["output"],
            dynamic_axes={"images": {0: "batch"}, "output": {0: "batch"}},
            opset_version=17,
        )
    if path.stat().st_size > LARGEST_BYTES:
        raise InputError(f"is larger than {LARGEST_BYTES} bytes", path=path)


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m detection.builtin.train", description=__doc__.split(": ")[0])
    parser.add_argument("frames", type=Path, help="folder that `python -m detection.builtin.frames` filled")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "person.onnx", help="(%(default)s)")
    parser.add_argument("--steps", type=int, default=1900, help="batches (%(default)s)")
    parser.add_argument("--batch", type=int, default=16, help="pictures in a batch (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of PyTorch (%(default)s)")
    parser.add_argument("--log", type=Path, help="jsonl file of the losses; an onnx beside it every 100 steps")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    pictures, boxes = load_frames(arguments.frames, "train")
    if not pictures:
        raise InputError("has no training frames: python -m detection.builtin.frames", path=arguments.frames)
    print(f"{len(pictures)} frames, {sum(map(len, boxes))} people", file=sys.stderr)
    network = train(
        pictures, boxes, steps=arguments.steps, batch=arguments.batch, seed=arguments.seed, log=arguments.log
    )
    export(network, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
