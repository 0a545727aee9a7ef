"""Cut of the SELDnet family's golden features, statistics, layouts and networks that the project carries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

WHOLE = (
    "scaler.npz",
    "A_generator_layout.npz",
    "B_generator_layout.npz",
    "networks/A_xy.npz",
    "networks/A_xyz.npz",
    "networks/B.npz",
)
TWICE = ("spec_real", "spec_imag")  # hold what `features` says as well
B_FRAMES = (0, 13, 39)  # the mirrored one, one inside, one that runs into the zeros behind the clip


def cut(shared: Path, out: Path) -> None:
    """Write the cut of `shared`/golden/seldnet into `out`: the recordings are silent where no frame is compared.

    Parameters
    ----------
    shared : the folder that holds golden/
    out : folder to write into, tests/golden/seldnet
    """
    source = shared / "golden" / "seldnet"
    for folder in ("audio", "networks"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for name in WHOLE:
        (out / name).write_bytes((source / name).read_bytes())
    with np.load(source / "A_magphase.npz") as full:
        some = {key: full[key] for key in full.files if key not in TWICE}
    np.savez_compressed(out / "A_magphase.npz", **some)
    _recording(source, out, "foa44k", 256 * some["frame_idx"], 512)
    with np.load(source / "B_magphase.npz") as full:
        kept = np.isin(full["frame_idx"], B_FRAMES)
        some = {key: full[key][kept] if key in ("frame_idx", "features") else full[key] for key in full.files}
    np.savez_compressed(out / "B_magphase.npz", **some)
    _recording(source, out, "foa48k", 960 * some["frame_idx"] - 1024, 2048)


def _recording(source: Path, out: Path, name: str, starts: np.ndarray, length: int) -> None:
    """A recording as flac, silent outside the frames that begin at `starts`."""
    samples, rate_hz = soundfile.read(source / "audio" / f"{name}.wav", dtype="int16")
    time = np.arange(len(samples))[:, None]
    samples[~((time >= starts) & (time < starts + length)).any(axis=1)] = 0
    soundfile.write(out / "audio" / f"{name}.flac", samples, rate_hz, subtype="PCM_16")
