"""Official SELD metrics of every DCASE edition: `score(reference, estimated, edition="2023")`, and a command line."""

from dcase2022_task3_seld_metrics.compare import Comparison, compare
from dcase2022_task3_seld_metrics.notices import MetricWarning
from dcase2022_task3_seld_metrics.result import Jackknife, Result, Scores
from dcase2022_task3_seld_metrics.scoring import score

__all__ = ["Comparison", "Jackknife", "MetricWarning", "Result", "Scores", "compare", "score"]
