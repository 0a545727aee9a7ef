"""Cut of the golden data of the general network that the project carries: some frames, the small files whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

WHOLE = (
    "labels.npz",
    "losses.npz",
    "mixup.npz",
    "network_info.json",
    "networks_filled.npz",
    "scaler.npz",
    "sed_metrics.npz",
)
FRAMES = (0, 1, 27, 104, 199, 200)  # the mirrored ends, some inside


def cut(shared: Path, out: Path) -> None:
    """Write the cut of `shared`/golden/general_network into `out`: the recording is silent where no frame is compared.

    Left to ../shared: most frames of the features, two of the three draws of each augmentation, the histogram.

    Parameters
    ----------
    shared : the folder that holds golden/
    out : folder to write into, tests/golden/general_network
    """
    source = shared / "golden" / "general_network"
    (out / "labels_csv").mkdir(parents=True, exist_ok=True)
    for name in WHOLE:
        (out / name).write_bytes((source / name).read_bytes())
    for path in sorted((source / "labels_csv").glob("*.csv")):
        (out / "labels_csv" / path.name).write_bytes(path.read_bytes())
    with np.load(source / "augment.npz") as full:
        kept = {name: full[name] for name in full.files if name == "x" or name.endswith("_seed1")}
        np.savez_compressed(out / "augment.npz", **kept)
    with np.load(source / "features.npz") as full:
        some = np.isin(full["frame_index"], FRAMES)
        kept = {name: full[name][:, some] for name in ("logmeliv", "logmel64", "gcc")}
        kept |= {"frame_index": full["frame_index"][some], "shape_logmeliv": full["shape_logmeliv"]}
        np.savez_compressed(out / "features.npz", **kept)
    samples, rate_hz = soundfile.read(source / "foa_two_24k.wav", dtype="int16")
    middle = 300 * kept["frame_index"]
    near = np.abs(np.arange(len(samples))[:, None] - middle) <= 1024
    samples[~near.any(axis=1)] = 0
    soundfile.write(out / "foa_two_24k.flac", samples, rate_hz, subtype="PCM_16")
