"""Cut of the golden data of the DCASE baselines of 2020 and 2021 that the project carries: one of each kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

WHOLE = (
    *(f"labels/{name}" for name in ("B20.csv", "B20_labels.npz", "B21.csv", "B21_labels.npz")),
    *(f"postproc/B21.{kind}" for kind in ("csv", "npz")),
    "networks/param_counts_and_names.json",
)
FRAMES = (0, 40, 250)  # of the recording, where the golden data have them
HOP, N_FFT = 480, 1024


def cut(shared: Path, out: Path) -> None:
    """Write the cut of `shared`/golden/seldnet_2020_2021 into `out`."""
    source = shared / "golden" / "seldnet_2020_2021"
    for folder in ("audio", "labels", "networks", "postproc"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for name in WHOLE:
        (out / name).write_bytes((source / name).read_bytes())
    with np.load(source / "losses.npz") as full:
        np.savez_compressed(out / "losses.npz", **{key: full[key] for key in full.files if key.startswith("B20")})
    with np.load(source / "networks" / "inputs.npz") as full:
        np.savez_compressed(out / "networks" / "inputs.npz", foa_x16=full["foa_x16"][:1])
    with np.load(source / "networks" / "B20_foa_small.npz") as full:
        made = {key: full[key][:1] if key.endswith(("_hard", "_sigmoid")) else full[key] for key in full.files}
    np.savez_compressed(out / "networks" / "B20_foa_small.npz", **made)
    _features(source, out)


def _features(source: Path, out: Path) -> None:
    """A few frames of Ambisonics, and the recording silent outside of them and of the loudest frames."""
    with np.load(source / "features_foa.npz") as full:
        index = full["frame_idx"]
        kept = np.isin(index, FRAMES) | np.isin(np.arange(len(index)), full["logmel"].max(axis=2).argmax(axis=0))
        frames = index[kept]
        names = [key for key in full.files if key.startswith("frame0_")]
        made = {key: full[key] for key in (*names, "n_frames")}
        made |= {key: full[key][kept] for key in ("frame_idx", "logmel", "iv_B20", "iv_B21")}
    np.savez_compressed(out / "features_foa.npz", **made)
    samples, rate_hz = soundfile.read(source / "audio" / "foa24k.wav", dtype="int16")
    power = np.stack(
        [(samples[max(HOP * f - HOP, 0) : HOP * f + HOP].astype(float) ** 2).sum(axis=0) for f in range(500)]
    )
    starts = HOP * np.array(sorted({*frames, *power.argmax(axis=0)})) - N_FFT // 2
    time = np.arange(len(samples))[:, None]
    samples[~((time >= starts) & (time < starts + N_FFT)).any(axis=1)] = 0
    soundfile.write(out / "audio" / "foa24k.flac", samples, rate_hz, subtype="PCM_16")
