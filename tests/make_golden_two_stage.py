"""Cut of the golden data of two-stage SELD that the project carries: features of some frames, the small files whole."""

from __future__ import annotations

import io
import lzma
import tarfile
from pathlib import Path

import numpy as np
import soundfile

WHOLE = (
    "conv_block.npz",
    "labels_and_batches.json",
    "labels_and_batches.npz",
    "losses.npz",
    "map_input.npz",
    "metrics.json",
    "network_info.json",
    "networks_filled.npz",
    "scaler.npz",
    "submission_input.npz",
    "train_steps.npz",
)
FOLDERS = ("labels_csv", "submission")
METRICS = ("metrics_gt", "metrics_pred")
GCC_FRAMES = (0, 1, 2, 3, 24, 60, 132, 187, 193, 200)  # the mirrored start, some inside, into the silence, its end
IV_FRAMES = (0, 2, 24, 60, 132, 187, 199)
RESAMPLED = 4000  # samples at 32 kHz that are compared
_PRESET = 9 | lzma.PRESET_EXTREME


def cut(shared: Path, out: Path) -> None:
    """Write the cut of `shared`/golden/two_stage into `out`: the recording is silent where no frame is compared.

    Left to ../shared: most frames of the features and their means over all frames, most of the resampled signal.

    Parameters
    ----------
    shared : the folder that holds golden/
    out : folder to write into, tests/golden/two_stage
    """
    source = shared / "golden" / "two_stage"
    out.mkdir(parents=True, exist_ok=True)
    for name in WHOLE:
        (out / name).write_bytes((source / name).read_bytes())
    for folder in FOLDERS:
        (out / folder).mkdir(exist_ok=True)
        for path in sorted((source / folder).glob("*.csv")):
            (out / folder / path.name).write_bytes(path.read_bytes())
    (out / "metrics.tar.xz").write_bytes(lzma.compress(_archive(source, METRICS), preset=_PRESET))
    _features(source, out)
    _resampling(source, out)


def _features(source: Path, out: Path) -> None:
    """The frames that are compared, and a recording that has nothing else."""
    compared = set()
    for name, key, frames in (("features_logmelgcc", "logmelgcc", GCC_FRAMES), ("features_logmeliv", "iv", IV_FRAMES)):
        with np.load(source / f"{name}.npz") as full:
            kept = np.isin(full["frame_index"], frames)
            some = {key: full[key][:, kept], "frame_index": full["frame_index"][kept], "shape": full["shape"]}
            if key == "logmelgcc":
                some |= {"gcc_valid": full["gcc_valid"][:, kept], "mel_filter_rowsum": full["mel_filter_rowsum"]}
        np.savez_compressed(out / f"{name}.npz", **some)
        compared |= set(some["frame_index"].tolist())
    samples, rate_hz = soundfile.read(source / "mic_32k.wav", dtype="int16")
    time = np.arange(len(samples))[:, None]
    middle = 320 * np.array(sorted(compared))
    samples[~(np.abs(time - middle) <= 1024).any(axis=1)] = 0
    soundfile.write(out / "mic_32k.flac", samples, rate_hz, subtype="PCM_16")


def _resampling(source: Path, out: Path) -> None:
    """The first samples, and of the recording what they depend on."""
    with np.load(source / "resample_48k_to_32k.npz") as full:
        np.savez_compressed(out / "resample_48k_to_32k.npz", y32_soxr_hq=full["y32_soxr_hq"][:RESAMPLED])
    samples, rate_hz = soundfile.read(source / "mono_48k.wav", dtype="int16")
    soundfile.write(out / "mono_48k.flac", samples[: RESAMPLED * 3 // 2 + 1024], rate_hz, subtype="PCM_16")


def _archive(source: Path, folders: tuple[str, ...]) -> bytes:
    """Uncompressed tar of folders, without owners and times."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(path for folder in folders for path in (source / folder).glob("*.csv")):
            entry = tarfile.TarInfo(str(path.relative_to(source)))
            entry.size = path.stat().st_size
            tar.addfile(entry, io.BytesIO(path.read_bytes()))
    return buffer.getvalue()
