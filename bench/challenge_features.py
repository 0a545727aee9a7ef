"""Features of the DCASE baselines since 2022: a minute of audio against the published form with librosa.

python bench/challenge_features.py
python bench/challenge_features.py --device cuda

On the CPU everything has one thread. Times are wall clock and, in brackets, processor seconds; both forms take turns,
the fastest of each counts. The exit status is 1 where a feature is less than 8 times as fast.
"""

from __future__ import annotations

import argparse
import sys
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import util.cli
from bench.machine import machine
from bench.stopwatch import least_seconds, ratio, said

if TYPE_CHECKING:
    import numpy as np

LEAST = 8.0  # times as fast as the published form that every feature must be
RATE_HZ, HOP, N_FFT, WINDOW = 24000, 480, 1024, 960


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and print the figures; 1 where a feature is slower than it must be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where our features run [cpu]")
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the recording [60]")
    parser.add_argument("--repeats", type=int, default=3, help="of each form, in turns [3]")
    args = parser.parse_args(argv)
    import numpy as np
    import torch

    from feature.logmel_gcc import DCASE2022, DCASE2022_INTENSITY, DCASE2025, Logmel, LogmelGCC
    from feature.logmel_intensity import LogmelIntensity
    from feature.salsa_lite import SalsaLite

    if args.device == "cpu":
        torch.set_num_threads(1)
    print(f"{machine(args.device)}; recording of {args.seconds:g} s")
    intensity = LogmelIntensity(**DCASE2022, **DCASE2022_INTENSITY, precision=torch.float32)
    samples = round(args.seconds * RATE_HZ)
    waveform = np.random.default_rng(0).standard_normal((4, samples)).astype(np.float32) * 0.1
    batch = torch.from_numpy(waveform)[None].to(args.device)
    cpu, fast = args.device == "cpu", True
    for name, feature, channels, plain in (
        ("log-mel, intensity", intensity, 4, logmel_iv),
        ("log-mel, GCC-PHAT", LogmelGCC(**DCASE2022, own_transform=False), 4, logmel_gcc),
        ("SALSA-lite", SalsaLite(), 4, salsa_lite),
        ("log-mel, stereo", Logmel(2, **DCASE2025), 2, logmel),
    ):
        feature = feature.to(args.device)
        frames = samples // HOP
        made, found, ours, theirs = [], [], [], []

        def run() -> None:
            made.append(feature.clip(batch[:, :channels], frames))  # noqa: B023

        for _ in range(args.repeats):
            ours.append(least_seconds(run, 1, args.device))
            theirs.append(least_seconds(lambda: found.append(plain(waveform[:channels])), 1))  # noqa: B023
        mine, other = (tuple(map(min, zip(*figures))) for figures in (ours, theirs))
        off = np.abs(made[-1][0].cpu().numpy() - found[-1]).max()
        times = other[cpu] / mine[cpu]
        fast &= times >= LEAST
        print(
            f"{name}: {said(mine)}; with librosa {said(other)}, {ratio(other, mine)}; largest difference {off:.1e}"
            + ("" if times >= LEAST else f"  LESS THAN {LEAST:g} TIMES")
        )
    return 0 if fast else 1


def spectra(waveform: np.ndarray) -> np.ndarray:
    """(frames, bins, channels) complex128, as the published code has them."""
    import librosa
    import numpy as np

    frames = waveform.shape[1] // HOP
    made = [
        librosa.stft(channel.astype(np.float64) + 1e-8, n_fft=N_FFT, hop_length=HOP, win_length=WINDOW)
        for channel in waveform
    ]
    return np.array(made)[:, :, :frames].T


def mel_of(spectrum: np.ndarray) -> np.ndarray:
    """Log-mel (channels, frames, 64)."""
    import librosa
    import numpy as np

    weights = librosa.filters.mel(sr=RATE_HZ, n_fft=N_FFT, n_mels=64).T
    made = [librosa.power_to_db(np.abs(spectrum[:, :, c]) ** 2 @ weights) for c in range(spectrum.shape[-1])]
    return np.stack(made)


def logmel(waveform: np.ndarray) -> np.ndarray:
    """Log-mel of both channels, held to 80 dB below the loudest of both."""
    import numpy as np

    levels = mel_of(spectra(waveform))
    return np.maximum(levels, levels.max() - 80)


def logmel_iv(waveform: np.ndarray) -> np.ndarray:
    """Log-mel and intensity vectors."""
    import librosa
    import numpy as np

    spectrum = spectra(waveform)
    w = spectrum[:, :, 0]
    intensity = np.real(np.conj(w)[:, :, np.newaxis] * spectrum[:, :, 1:])
    energy = 1e-8 + (np.abs(w) ** 2 + (np.abs(spectrum[:, :, 1:]) ** 2).sum(-1) / 3.0)
    weights = librosa.filters.mel(sr=RATE_HZ, n_fft=N_FFT, n_mels=64)
    normalised = intensity / energy[:, :, np.newaxis]
    vectors = np.transpose(np.dot(weights, np.transpose(normalised, (1, 0, 2)).reshape(N_FFT // 2 + 1, -1)))
    return np.concatenate((mel_of(spectrum), vectors.reshape(len(w), 3, -1).transpose(1, 0, 2)))


def logmel_gcc(waveform: np.ndarray) -> np.ndarray:
    """Log-mel and GCC-PHAT: a loop over the frames of every pair."""
    import numpy as np

    spectrum = spectra(waveform)
    maps = []
    for m, n in combinations(range(spectrum.shape[-1]), 2):
        product = np.conj(spectrum[:, :, m]) * spectrum[:, :, n]
        rows = []
        for frame in product:
            lags = np.fft.irfft(np.exp(1j * np.angle(frame)))
            rows.append(np.concatenate((lags[-32:], lags[:32])))
        maps.append(np.stack(rows))
    return np.concatenate((mel_of(spectrum), np.stack(maps)))


def salsa_lite(waveform: np.ndarray) -> np.ndarray:
    """SALSA-lite: levels of all bins, phases of the lower ones."""
    import librosa
    import numpy as np

    spectrum = spectra(waveform)
    phase = np.angle(spectrum[:, :, 1:] * np.conj(spectrum[:, :, 0, None]))
    bins = np.arange(N_FFT // 2 + 1)[None, :, None]
    phase = phase / (2 * np.pi * RATE_HZ / (N_FFT * 343) * np.where(bins == 0, 1, bins))
    phase = phase[:, 2:384]
    phase[:, 85:] = 0
    levels = [librosa.power_to_db(np.abs(spectrum[:, :, c]) ** 2, top_db=None) for c in range(spectrum.shape[-1])]
    return np.concatenate((np.stack(levels)[:, :, 2:384], phase.transpose(2, 0, 1)))


if __name__ == "__main__":
    raise SystemExit(util.cli.run_main(main))
