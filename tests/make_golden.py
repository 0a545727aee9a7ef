"""Make the compact cut of the golden data, tests/golden, from the folder ../shared: python -m tests.make_golden."""

from __future__ import annotations

from pathlib import Path

from tests import (
    make_golden_av_baseline,
    make_golden_boxes,
    make_golden_challenge,
    make_golden_general,
    make_golden_histogram,
    make_golden_metrics,
    make_golden_nigens,
    make_golden_seld_labels,
    make_golden_seldnet,
    make_golden_two_stage,
)
from tests.shared import SHARED

GOLDEN = Path(__file__).resolve().parent / "golden"
CUTS = {
    "av_baseline": (make_golden_av_baseline.cut, make_golden_boxes.cut),
    "general_network": (make_golden_general.cut, make_golden_histogram.cut),
    "metrics": (make_golden_metrics.cut,),
    "seldnet": (make_golden_seld_labels.cut, make_golden_seldnet.cut, make_golden_challenge.cut),
    "seldnet_2020_2021": (make_golden_nigens.cut,),
    "two_stage": (make_golden_two_stage.cut,),
}
LIMIT_MB = 4.0


def main() -> None:
    """Write every cut and say how large it is."""
    for folder, cuts in CUTS.items():
        for cut in cuts:
            cut(SHARED, GOLDEN / folder)
        print(f"{folder}: {size_mb(GOLDEN / folder):.2f} MB")
    assert size_mb(GOLDEN) <= LIMIT_MB, f"the cut must stay below {LIMIT_MB} MB"


def size_mb(folder: Path) -> float:
    """Size of the files below a folder in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
