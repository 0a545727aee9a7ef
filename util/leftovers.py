"""What killed runs leave behind: the temporary files of `util.files.written_whole`."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path


def sweep_leftovers(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Delete the half-written files of these files whose process is gone; those of a running process stay."""
    names: dict[Path, set[tuple[str, str]]] = {}
    for path in map(Path, paths):
        names.setdefault(path.parent, set()).add((path.stem, path.suffix))
    for folder, wanted in names.items():
        with contextlib.suppress(OSError):
            for entry in list(os.scandir(folder)):
                match = re.fullmatch(r"\.(.+)\.partial-(\d+)(\.\w+)", entry.name)
                if match and (match[1], match[3]) in wanted and not _runs(int(match[2])):
                    with contextlib.suppress(OSError):
                        os.unlink(entry.path)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except PermissionError:  # somebody else's
        return True
    except (OSError, OverflowError):
        return False
    return True
