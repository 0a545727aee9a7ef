"""Cut of the golden labels, scores and label layouts of the SELDnet family: the files are small, they are copied."""

from __future__ import annotations

from pathlib import Path

import numpy as np

LABELS = ("A_ansim", "A_real", "A_mansim", "A_mreal", "B_ov1", "B_ov2")
WHOLE = ("labels/A_scores.npz", "labels/B_scores.npz", "A_generator_layout.npz", "B_generator_layout.npz")


def cut(shared: Path, out: Path) -> None:
    """Write the cut, about 0.2 MB.

    Parameters
    ----------
    shared : the folder that holds golden/
    out : folder to write into, tests/golden/seldnet
    """
    golden = shared / "golden" / "seldnet"
    (out / "labels").mkdir(parents=True, exist_ok=True)
    for name in WHOLE:
        with np.load(golden / name) as full:
            np.savez_compressed(out / name, **{key: full[key] for key in full.files})
    for name in LABELS:
        (out / f"labels/{name}.csv").write_bytes((golden / f"labels/{name}.csv").read_bytes())
        with np.load(golden / f"labels/{name}_labels.npz") as full:
            np.savez_compressed(out / f"labels/{name}_labels.npz", **{key: full[key] for key in full.files})
    (out / "labels/B_pred.csv").write_bytes((golden / "labels/B_pred.csv").read_bytes())
