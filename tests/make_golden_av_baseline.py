"""Cut of the audio-visual baseline's golden data (all but the boxes) that the project carries."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import soundfile

# Copied as they are. The network's weights are synthetic test weights, drawn at random by who made the golden data.
WHOLE = (
    "label_basic.csv",
    "label_dense5col.csv",
    "label_sameclass.csv",
    "labels.npz",
    "loss.npz",
    "detector.npz",
    "net_crnn_bin3.npz",
    "trainstep_crnn_bin3.npz",
    "e2e.csv",
    "e2e.npz",
    "fork_extras.npz",
)
RECORDINGS = ("e2e", "feat_bin_a")
LARGE = {"feat_bin_a.npz": ("train0_spec",)}


def cut(shared: Path, out: Path) -> None:
    """Write the cut of `shared`/golden/av_baseline into `out`: what proves feature, CRNN, labels, loss, rows, one clip.

    Left to ../shared: the four-channel feature, the 13-class network, the ViT.

    Parameters
    ----------
    shared : the folder that holds golden/
    out : folder to write into, tests/golden/av_baseline
    """
    source = shared / "golden" / "av_baseline"
    out.mkdir(parents=True, exist_ok=True)
    for name in WHOLE:
        shutil.copyfile(source / name, out / name)
    for name in RECORDINGS:
        samples, rate_hz = soundfile.read(source / f"{name}.wav", dtype="int16")
        soundfile.write(out / f"{name}.flac", samples, rate_hz, subtype="PCM_16")
    for name, dropped in LARGE.items():
        with np.load(source / name) as full:
            np.savez_compressed(out / name, **{key: full[key] for key in full.files if key not in dropped})
