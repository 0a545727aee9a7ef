"""What tells the doctor most of capsules: one delay for each pair, or the phases that directions are steered by.

python bench/doctor_capsules.py

Of every frame of 100 ms that holds one source, on simulated rooms: how well each order and sign of the channels fits
where the source is. Given are how far the right one stands above the best wrong one (of 1, the fit of a delayed copy),
in how many frames it is the best, and the same of ten frames together, as the doctor judges many.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import util.cli
from bench.direction_scenes import Source, direction_scene
from bench.machine import machine
from doctor.directions import Hypothesis, capsule_hypotheses
from doctor.sound import FRAME, Phases, pairs_of, phases_of
from util.audio import RATE_HZ
from util.microphone_arrays import ARRAYS, SPEED_OF_SOUND_M_S, Array

SOURCES = ((30.0, 0.0), (-100.0, 20.0), (160.0, -15.0))


def by_delays(waveform: np.ndarray, array: Array, direction: np.ndarray, hypotheses: list[Hypothesis]) -> np.ndarray:
    """Fit (frames, hypotheses) of one delay for each pair, along the sphere (Woodworth), to a quarter of a sample."""
    framed = waveform.reshape(len(waveform), -1, FRAME)
    windows = np.lib.stride_tricks.sliding_window_view(framed, 1024, axis=-1)[:, :, ::512]
    frequency_hz = np.fft.rfftfreq(1024, 1 / RATE_HZ)
    band = (frequency_hz >= 300) & (frequency_hz <= 8000)
    spectrum = np.fft.rfft(windows * np.hanning(1024), axis=-1)[..., band]
    angle = np.arccos(np.clip(direction @ array.directions().T, -1, 1))
    arrival_s = np.where(angle > np.pi / 2, angle - np.pi / 2, -np.cos(angle)) * array.radius_m / SPEED_OF_SOUND_M_S
    fits = np.zeros((framed.shape[1], len(hypotheses)))
    for first, second in pairs_of(array):
        cross = (spectrum[second] * spectrum[first].conj()).sum(axis=1)
        cross /= np.maximum(np.abs(cross), 1e-20)
        for place, one in enumerate(hypotheses):
            late_s = arrival_s[:, one.order[second]] - arrival_s[:, one.order[first]]
            late_s = np.rint(late_s * 4 * RATE_HZ) / (4 * RATE_HZ)
            turn = np.exp(2j * np.pi * late_s[:, None] * frequency_hz[band])
            fits[:, place] += one.sign[first] * one.sign[second] * (cross * turn).real.mean(axis=1)
    return fits / len(pairs_of(array))


def by_phases(waveform: np.ndarray, array: Array, direction: np.ndarray, hypotheses: list[Hypothesis]) -> np.ndarray:
    """Fit (frames, hypotheses) as the doctor has it."""
    framed = waveform.reshape(len(waveform), -1, FRAME)
    evidence = Phases(array, *phases_of(framed, array))
    due, frames = evidence.due(direction[:, None]), np.arange(framed.shape[1])
    return np.stack([evidence.fit(frames, due, one.order, one.sign)[:, 0] for one in hypotheses], axis=1)


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rt60", nargs="+", type=float, default=[0, 0.3, 0.6], help="seconds [0 0.3 0.6]")
    parser.add_argument("--snr", nargs="+", type=float, default=[10, 30], help="dB [10 30]")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a scene [4]")
    args = parser.parse_args(argv)
    print(f"{machine()}; rigid sphere of four capsules\n")
    print("RT60 s | SNR dB | by | margin | best in frames | best in ten frames")
    array = ARRAYS["mic"]
    hypotheses = [one for one in capsule_hypotheses(array) if not one.yaw_deg]
    for rt60_s in args.rt60:
        for snr_db in args.snr:
            rows: dict[str, list[np.ndarray]] = {"one delay a pair": [], "phases": []}
            for seed, place in enumerate(SOURCES):
                scene = direction_scene(
                    (Source(*place),), [array], rt60_s=rt60_s or None, snr_db=snr_db, seconds=args.seconds, seed=seed
                )
                frames = len(scene.heard)
                waveform = scene.waveform[array.name][:, : frames * FRAME]
                for parts, fit in zip(rows.values(), (by_delays, by_phases)):
                    parts.append(fit(waveform, array, scene.direction[:, 0], hypotheses)[scene.heard[:, 0]])
            for name, parts in rows.items():
                alone = np.concatenate(parts)
                tens = np.concatenate(
                    [part[: len(part) // 10 * 10].reshape(-1, 10, part.shape[1]).mean(axis=1) for part in parts]
                )
                margin = alone[:, 0] - alone[:, 1:].max(axis=1)
                cells = [f"{rt60_s:g}", f"{snr_db:g}", name, f"{np.median(margin):.3f}", f"{(margin > 0).mean():.0%}"]
                print(" | ".join([*cells, f"{(tens[:, 0] > tens[:, 1:].max(axis=1)).mean():.0%}"]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(util.cli.run_main(main))
