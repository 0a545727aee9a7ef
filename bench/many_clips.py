"""A set of 10,000 stereo clips of 5 s: time and memory that listing, opening and reading their labels take.

python bench/many_clips.py                # 10,000 clips, links to one sound
python bench/many_clips.py --clips 30000
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import util.cli


def main(argv: list[str] | None = None) -> int:
    """Make the set, run every step, print seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=10000, help="[10000]")
    args = parser.parse_args(argv)
    from dataset.layouts import DataRoot
    from dataset.lists import list_file
    from dataset.recordings import Labels, recordings_from_list
    from dataset.source import Source
    from system.table import system_named
    from tests.small_sets import make_set

    with tempfile.TemporaryDirectory() as folder:
        root = make_set(Path(folder) / "set", "stereo2025", train=1, test=1, seconds=5.0)
        (sound,) = (root / "stereo_dev" / "dev-train-sony").glob("*.wav")
        (label,) = (root / "metadata_dev" / "dev-train-sony").glob("*.csv")
        for number in range(1, args.clips):
            name = f"fold3_room{1 + number % 9}_mix{number:05d}_deg020_start0000"
            os.link(sound, sound.with_name(f"{name}.wav"))
            os.link(label, label.with_name(f"{name}.csv"))
        print(f"{args.clips} clips of 5 s")
        data = _said("data root opened, layout found", lambda: DataRoot(root))
        names = data.layout.default_lists("stereo")
        listed = _said("training list made", lambda: list_file(names.train, [data]))
        recordings = _said("recordings opened", lambda: recordings_from_list(listed, [data], need_labels=True))
        labels = Labels(13)
        _said("labels read", lambda: [len(labels(recording)) for recording in recordings])
        _said("labels read again (what memory holds of them)", lambda: [len(labels(one)) for one in recordings])
        stage = system_named("seldnet2025").stages[0]
        plans = stage.plans({"feature": "stereo", "output": "multiaccdoa", "visual": False})
        lengths = Source(recordings).lengths(24000)
        plan = _said("training plan", lambda: plans.training(lengths, 256, 0, None))
        print(f"{plan.steps_per_pass} steps of 256 clips a pass")
        return 0 if len(recordings) == args.clips else 1


def _said(what: str, run: Callable):  # type: ignore[no-untyped-def]
    begin, before = time.perf_counter(), _megabytes()
    made = run()
    print(f"{what}: {time.perf_counter() - begin:.2f} s, {_megabytes() - before:+.0f} MB (peak {_megabytes():.0f})")
    return made


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    raise SystemExit(util.cli.run_main(main))
