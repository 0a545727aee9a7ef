"""Cut of the golden data of the single-source histogram that the project carries: the beginning of one recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

FRAMES = 60  # that are compared: into the first source
_HOP, _HALF = 300, 512


def cut(shared: Path, out: Path) -> None:
    """Write the cut of the histogram in `shared`/golden/general_network into `out`.

    The recording is silent from there on but for its end, which the first frames know of (indices wrap around). Left to
    ../shared: the recording of two sources, all frames behind, the estimates of whole recordings.
    """
    source = shared / "golden" / "general_network"
    out.mkdir(parents=True, exist_ok=True)
    with np.load(source / "histogram.npz") as full:
        shape = full["one_mask_shape"]
        mask = np.unpackbits(full["one_mask_packed"])[: np.prod(shape)].reshape(shape)[:, :FRAMES]
        np.savez_compressed(
            out / "histogram.npz",
            one_azi_hist=full["one_azi_hist"][:FRAMES],
            one_ele_hist=full["one_ele_hist"][:FRAMES],
            one_mag_count_per_frame=full["one_mag_count_per_frame"][:FRAMES],
            one_mask_packed=np.packbits(mask),
            one_mask_shape=np.array(mask.shape),
        )
    samples, rate_hz = soundfile.read(source / "foa_one_24k.wav", dtype="int16")
    end, tail = (FRAMES + 3) * _HOP + _HALF, 4 * _HOP + _HALF
    samples[end:-tail] = 0
    soundfile.write(out / "histogram_one_24k.flac", samples, rate_hz, subtype="PCM_16")
