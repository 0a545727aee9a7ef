"""Golden metrics, from ../shared or unpacked from the archives of the cut."""

from __future__ import annotations

import functools
import json
import lzma
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from tests.golden import find
from tests.shared import SHARED

_unpacked = tempfile.TemporaryDirectory(prefix="golden_metrics_")  # goes when the tests end


@functools.cache
def folder(name: str) -> Path:
    """A set of csv files, "dcase2022"."""
    if (SHARED / "golden" / "metrics").is_dir():
        return find(f"metrics/{name}")
    with tarfile.open(find(f"metrics/{name}.tar.xz")) as tar:
        tar.extractall(_unpacked.name, filter="data")
    return Path(_unpacked.name) / name


@functools.cache
def edge_cases(name: str) -> dict[str, Any]:
    """The cases of a file, "edge_2022"."""
    if (SHARED / "golden" / "metrics").is_dir():
        return json.loads(find(f"metrics/{name}.json").read_text())
    return json.loads(lzma.decompress(find(f"metrics/{name}.json.xz").read_bytes()))
