"""What killed runs leave behind: the temporary files of `util.files.written_whole`."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from util.files import host_name

PARTIAL = re.compile(r"\.(.+)\.partial-(?:(\w+)-)?(\d+)(\.\w+)?")  # name, host, process, suffix
_FRESH_S = 60.0
_ELSEWHERE_S = 3600.0


def sweep_leftovers(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Delete the half-written files of these files whose process is gone; those of a running process stay."""
    names: dict[Path, set[tuple[str, str]]] = {}
    for path in map(Path, paths):
        names.setdefault(path.parent, set()).add((path.stem, path.suffix))
    for folder, wanted in names.items():
        with contextlib.suppress(OSError):
            for entry in list(os.scandir(folder)):
                match = PARTIAL.fullmatch(entry.name)
                if match and (match[1], match[4] or "") in wanted and not _in_use(entry, match[2], int(match[3])):
                    with contextlib.suppress(OSError):
                        os.unlink(entry.path)


def _in_use(entry: os.DirEntry[str], host: str | None, process: int) -> bool:
    """Whether a temporary file belongs to a running process.

    Of another machine's processes nothing is known here: theirs stay for an hour after they were last written to.
    On Windows asking for a process by `os.kill(process, 0)` would send it Ctrl-C. There files that are open cannot be
    deleted anyway; those that were written a moment ago stay, for they may be about to be renamed.
    """
    if host is not None and host != host_name():
        return time.time() - entry.stat().st_mtime < _ELSEWHERE_S
    if sys.platform == "win32":
        return time.time() - entry.stat().st_mtime < _FRESH_S
    return _runs(process)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except PermissionError:  # somebody else's
        return True
    except (OSError, OverflowError):
        return False
    return True
