"""What goes to the workers of a cluster by value: the project's code, and the function that calls it there.

Workers have the libraries, not the project: they share neither its folder nor the working directory. Nothing here may
need another module of the project before the code has arrived.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import cloudpickle
from distributed import WorkerPlugin

_ROOT = Path(__file__).resolve().parents[1]
_MOST_BYTES = 8 << 20  # of one file: what is larger is no code


class Code(WorkerPlugin):
    """Unpacks the project on every worker, also on those that come later; an older state of it is forgotten there.

    Parameters
    ----------
    archive : zip of the files
    """

    def __init__(self, archive: bytes):
        self.archive = archive
        self.digest = hashlib.sha256(archive).hexdigest()[:16]
        self.name = "seld-code"

    def setup(self, worker: Any) -> None:
        """Called by a worker at its start, or when the code is registered."""
        folder = os.path.join(worker.local_directory, f"seld-code-{self.digest}")
        if not os.path.isdir(folder):
            with zipfile.ZipFile(io.BytesIO(self.archive)) as archive:
                archive.extractall(folder)
        held = os.environ.get("SELD_CODE")
        if folder in sys.path and held == folder:
            return
        tops = {os.path.splitext(name)[0] for name in os.listdir(folder)}
        for name in list(sys.modules):
            if name.split(".")[0] in tops:
                del sys.modules[name]
        sys.path[:] = [folder, *(one for one in sys.path if one != held)]
        os.environ["SELD_CODE"] = folder


def run(item: bytes, index: int, payload: bytes, versions: dict[str, str], environment: dict[str, str]) -> bytes:
    """Carry out an item on a worker; everything is pickled, since the scheduler has not the project."""
    from util.errand import run_errand

    return run_errand(item, index, payload, versions, environment)


def same(payload: bytes) -> bytes:
    """A result that workers fetch from one another, and that is made again where its worker dies."""
    return payload


cloudpickle.register_pickle_by_value(sys.modules[__name__])
for _one in (Code, run, same):
    _one.__module__ = "__main__"  # what stands there goes by value, also from the scheduler on


def code_archive() -> bytes:
    """The project's modules and what lies beside them, as a zip whose bytes depend on nothing but theirs."""
    files = [path for package in _ROOT.glob("*/__init__.py") for path in package.parent.rglob("*") if path.is_file()]
    files = [path for path in files if path.suffix == ".py" or path.relative_to(_ROOT).parts[0] != "tests"]
    files += _ROOT.glob("*.py")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(files):
            if "__pycache__" in path.parts or path.stat().st_size > _MOST_BYTES:
                continue
            entry = zipfile.ZipInfo(path.relative_to(_ROOT).as_posix())  # without the time
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes(), compresslevel=1)
    return content.getvalue()
