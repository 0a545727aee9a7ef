"""Cut of the golden metrics that the project carries: csv sets and edge cases as xz archives, most of the arrays."""

from __future__ import annotations

import io
import json
import lzma
import tarfile
from pathlib import Path

import numpy as np

SETS = ("dcase2019", "dcase2022", "dcase2023_2024", "dcase2025", "salsa_2020_2021")
SELDNET_CASES = ("4", "6")  # no prediction; directions of only some frames: the other cases are five times as large
_PRESET = 9 | lzma.PRESET_EXTREME


def cut(shared: Path, out: Path) -> None:
    """Write the cut, about 0.75 MB; the same bytes every time.

    Parameters
    ----------
    shared : the folder that holds golden/
    out : folder to write into, tests/golden/metrics
    """
    golden = shared / "golden" / "metrics"
    (out / "arrays").mkdir(parents=True, exist_ok=True)
    for path in sorted(golden.glob("edge_*.json")):
        (out / f"{path.name}.xz").write_bytes(lzma.compress(path.read_bytes(), preset=_PRESET))
    for name in SETS:
        (out / f"{name}.tar.xz").write_bytes(lzma.compress(_archive(golden / name), preset=_PRESET))
    for name in ("functions.npz", "dcase2019_arrays.npz", "dcase2019_arrays_expected.json"):
        (out / "arrays" / name).write_bytes((golden / "arrays" / name).read_bytes())
    with np.load(golden / "arrays" / "seldnet2018_arrays.npz") as full:
        some = {name: full[name] for name in full.files if name.split("_")[0] in SELDNET_CASES}
    np.savez_compressed(out / "arrays" / "seldnet2018_arrays.npz", **some)
    expected = json.loads((golden / "arrays" / "seldnet2018_expected.json").read_text())
    text = json.dumps({case: expected[case] for case in SELDNET_CASES}, indent=1)
    (out / "arrays" / "seldnet2018_expected.json").write_text(text + "\n")


def _archive(folder: Path) -> bytes:
    """Uncompressed tar of a folder, without owners and times."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = tarfile.TarInfo(str(path.relative_to(folder.parent)))
                entry.size = path.stat().st_size
                tar.addfile(entry, io.BytesIO(path.read_bytes()))
    return buffer.getvalue()
