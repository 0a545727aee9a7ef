"""The run folders that the command line leaves."""

from __future__ import annotations

from pathlib import Path

import seld
from util.cli import run_main


def run_folder(root: Path, *words: str, status: int = 0) -> Path | None:
    """Run the command line on a data root, which must end with a status; the run folder that is new, if one is."""
    monitor = root / "model_monitor"
    before = set(monitor.glob("*"))
    assert run_main(seld.main, [*words, "--data-root", str(root)]) == status
    made = set(monitor.glob("*")) - before
    return made.pop() if made else None
