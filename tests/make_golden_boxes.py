"""Cut of the golden boxes that the project carries: the whole file is small, so it is copied."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def cut(shared: Path, out: Path) -> None:
    """Write `out`/boxes.npz from the file of `shared`: same arrays, distances as compressed float32.

    Parameters
    ----------
    shared : the folder that holds golden/
    out : folder to write into, tests/golden/av_baseline
    """
    out.mkdir(parents=True, exist_ok=True)
    with np.load(shared / "golden" / "av_baseline" / "boxes.npz") as full:
        arrays = {name: full[name] for name in full.files}
    for name in ("dist", "degenerate_dist"):  # tolerance 1e-6: float32 keeps it
        arrays[name] = arrays[name].astype(np.float32)
    np.savez_compressed(out / "boxes.npz", **arrays)
