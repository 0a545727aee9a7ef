"""Cut of the golden data of the DCASE baselines since 2022 that the project carries, the published weights never."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np

WHOLE = (
    "C_melbank.npz",
    *(f"labels/{name}{end}" for name in ("C22", "C23", "D24", "D25") for end in (".csv", "_labels.npz")),
    "networks/D25_audio_visual_single.npz",
    *(f"postproc/{name}" for name in ("C22_single.npz", "C22_single.csv", "D25_audio_visual_single.npz")),
    *(f"postproc/D25_audio_visual_single_item{item}.csv" for item in (0, 1)),
)
INPUTS = ("in8_x16", "in9_x16")  # of this network
LOSS = "D25_audio_visual"


def cut(shared: Path, out: Path) -> None:
    """Write the cut of `shared`/golden/seldnet into `out`.

    Left to ../shared: features of recordings (tests compare them with librosa instead), most networks, rows and losses.

    Parameters
    ----------
    shared : the folder that holds golden/
    out : folder to write into, tests/golden/seldnet
    """
    source = shared / "golden" / "seldnet"
    for name in WHOLE:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, out / name)
    with np.load(source / "networks" / "inputs.npz") as full:
        np.savez_compressed(out / "networks" / "inputs.npz", **{name: full[name] for name in INPUTS})
    with np.load(source / "losses.npz") as full:
        some = {name: full[name] for name in full.files if name.startswith(f"{LOSS}_")}
    np.savez_compressed(out / "losses.npz", **some)
    about = json.loads((source / "networks" / "param_counts_and_names.json").read_text())
    about["param_counts"] = {key: value for key, value in about["param_counts"].items() if not key.startswith("keras/")}
    (out / "networks" / "param_counts_and_names.json").write_text(json.dumps(about, separators=(",", ":")))
