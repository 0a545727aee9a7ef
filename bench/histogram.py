"""Single-source histogram of a minute of Ambisonics: against the vectorised numpy form, and against real time.

python bench/histogram.py

One thread. Times are wall clock and processor seconds in brackets, which hardly feel what else the machine does.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import util.cli
from bench.machine import machine, peak_mb
from bench.stopwatch import least_seconds, ratio, said
from util.angles import direction_from_degrees

RATE_HZ = 24000
LEAST = 40.0  # times real time on one core


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and print the figures; 1 where the feature is slower than it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the recording [60]")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement, the fastest counts [3]")
    args = parser.parse_args(argv)
    import torch

    from feature.histogram import SingleSourceHistogram, SingleSourceStream

    torch.set_num_threads(1)
    waveform = talk(args.seconds)
    print(f"{machine()}; recording of {args.seconds:g} s")
    feature, batch = SingleSourceHistogram(), torch.from_numpy(waveform)[None]
    ours = least_seconds(lambda: feature.whole(batch), args.repeats)
    print(f"feature of the whole recording: {said(ours)}, {args.seconds / ours[1]:.0f} times real time")

    def streamed() -> None:
        stream = SingleSourceStream()
        for start in range(0, waveform.shape[1], 2400):
            stream.feed(waveform[:, start : start + 2400])
        stream.finish()

    print(f"stream, blocks of 0.1 s: {said(least_seconds(streamed, args.repeats))}")
    before = peak_mb()
    found: list[np.ndarray] = []
    theirs = least_seconds(lambda: found.append(plain_single_sources(waveform)[0]), 1)
    print(f"vectorised numpy: {said(theirs)}, {ratio(theirs, ours)}; {peak_mb() - before:.0f} MB more memory")
    sources = feature.whole_sources(torch.from_numpy(waveform))
    made = np.zeros_like(found[-1])
    made[sources.frame, sources.bin] = True
    print(f"bins that differ: {(made != found[-1]).sum()} of {found[-1].sum()} single-source bins")
    fast = args.seconds / ours[1] >= LEAST
    print(f"at least {LEAST:g} times real time: {'yes' if fast else 'NO'}")
    return 0 if fast else 1


def talk(seconds: float, seed: int = 0) -> np.ndarray:
    """Two sources that come and go in noise: (4, samples) float32, W, Y, Z, X."""
    rng = np.random.default_rng(seed)
    samples = round(seconds * RATE_HZ)
    scene = 0.01 * rng.standard_normal((4, samples))
    for azimuth_deg, elevation_deg in ((40, 10), (-100, -20)):
        direction = direction_from_degrees(azimuth_deg, elevation_deg)
        loud = np.repeat(rng.random(samples // 4800 + 1) > 0.5, 4800)[:samples]
        scene += np.array([1, *direction[[1, 2, 0]]])[:, None] * (0.1 * loud * rng.standard_normal(samples))
    return scene.astype(np.float32)


def plain_single_sources(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both tests as one writes them down with numpy: (frames, bins) both passed, magnitude passed; directions."""
    import librosa

    spectrum = np.stack([librosa.stft(one, n_fft=1024, hop_length=300, pad_mode="reflect").T for one in waveform])
    spectrum = spectrum[:, :, 2:384]
    power = np.abs(spectrum[0].astype(np.complex128)) ** 2
    magnitude = np.sqrt((power + np.roll(power, 1, axis=0) + np.roll(power, 2, axis=0)) / 3)
    floor, count = 0.5 * magnitude[:5].mean(axis=0), np.full(magnitude.shape[1], 3)
    loud = np.zeros(magnitude.shape, dtype=bool)
    for frame, values in enumerate(magnitude):
        above = values > floor
        count = np.where(above, count - 1, 3)
        floor = np.maximum(floor * np.where(above, np.where(count >= 0, 1.02, 1.002), 0.98), 1e-6)
        loud[frame] = values > 1.5 * floor
    x = np.moveaxis(spectrum, 0, 2)
    products = x[..., :, None] * x[..., None, :].conj()
    covariance = sum(np.roll(products, shift, axis=0) for shift in range(-3, 4)) / 7
    vectors, values, _ = np.linalg.svd(covariance)
    principal = vectors[..., 0]
    direction = np.real(principal[..., 1:] / principal[..., :1])[..., [2, 0, 1]]
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    return loud & (values[..., 0] > 5 * values[..., 1]), loud, direction


if __name__ == "__main__":
    sys.exit(util.cli.run_main(main))
