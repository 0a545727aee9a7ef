"""What happens to losses and checkpoints of a training: TensorBoard, validation, selection, the closing words."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

from tqdm import tqdm

from dataset.recordings import Recording
from dataset.source import Source
from dcase2022_task3_seld_metrics.editions import EDITIONS
from dcase2022_task3_seld_metrics.score_table import SCORES
from job.data import TrainingData, source_of
from job.evaluate import Evaluation
from report.monitor import Monitor
from seld_validator import Validation, result_text
from system.checkpoint import Checkpoint, StageState, save_checkpoint
from system.row import Stage
from util.files import read_json, write_json
from util.runs import (
    SELECTED,
    checkpoints_of,
    iteration_of,
    result_checkpoint,
)
from util.thresholds import Thresholds

CLIPS_DRAWN = 3  # clips whose azimuth is drawn at every validation


class Results:
    """What happens to losses and checkpoints of a run: TensorBoard, validation, selection, the closing words."""

    def __init__(
        self,
        evaluation: Evaluation,
        data: TrainingData,
        run_dir: Path,
        stage: Stage,
        make: Callable[[StageState, Thresholds], Checkpoint],
        tuning: Callable[[], Source] | None = None,
    ):
        """
        Parameters
        ----------
        make : the checkpoint of a state, with the thresholds
        tuning : recordings by which the thresholds of every checkpoint are tuned; None: they stay those of `evaluation`
        """
        self.evaluation, self.data, self.run_dir, self.make, self.tuning = evaluation, data, run_dir, make, tuning
        self.args, self.classes = evaluation.args, evaluation.model.classes
        self.score = SCORES[stage.recipe.choice or EDITIONS[self.args.scored_by].best]
        self.last: tuple[Path, Validation] | None = None
        self.train_loss = float("nan")

    def open(self, resumed_at: int | None) -> None:
        if not self.evaluation.fabric.is_global_zero:
            return
        self.monitor = Monitor(self.run_dir, purge_step=None if resumed_at is None else resumed_at + 1)

    def close(self) -> None:
        if not self.evaluation.fabric.is_global_zero:
            return
        if self.last is not None and self.last[1].scores is not None:
            self.monitor.hparams(self.args.to_dict(), self.last[1].scores.overall)
        self.monitor.close()

    def loss(self, iteration: int, loss: float, learning_rate: float) -> None:
        self.train_loss = loss
        self.monitor.scalars(iteration, {"Loss/train": loss, "Optimizer/lr": learning_rate})

    def checkpoint(self, iteration: int, state: StageState) -> bool:
        """Write a checkpoint, validate it, and offer it for selection; whether it is time to stop.

        All processes predict; what is written is written by the first, which decides.
        """
        first = self.evaluation.fabric.is_global_zero
        path = self.run_dir / f"params_{self.run_dir.name}_{iteration:07d}.pth"
        if self.tuning is not None:
            self.evaluation = self.evaluation.tuned(self.tuning)
        if first:
            save_checkpoint(path, self.make(state, self.evaluation.thresholds))
        if not self.args.val:
            return False
        validation = self.evaluation.run(
            self.validated,
            self.run_dir / "pred_TMP4VAL",
            checkpoint=path,
            description=f"validating {iteration}",
        )
        apart = None
        if self.args.select == "val" and self.validated is not self.data.selection:
            apart = self.evaluation.run(
                self.data.selection, self.run_dir / "pred_TMP4SELECT", checkpoint=path, description="selecting"
            )
        if not first:
            return False
        self.last = (path, validation)
        self._write(iteration, validation)
        if self.args.select == "test" or (self.args.epochs and self.args.select == "val"):
            self._offer(path, validation)
        elif apart is not None:
            self._offer(path, apart)
        if self.args.epochs:
            self._draw_curves()
            self._keep_few(path)
        return self._out_of_patience(iteration)

    @property
    def validated(self) -> list[Recording]:
        """Recordings that every checkpoint is scored on: of runs in epochs those that it is chosen by."""
        apart = self.args.epochs and self.args.select == "val"
        recordings = self.data.selection if apart else self.data.validation
        plans = self.evaluation.model.hearing.plans
        if plans.validated is None or not recordings:
            return recordings
        lengths = source_of(self.args, recordings, self.classes, None).lengths(plans.framing.rate_hz)
        return recordings[: plans.validated(lengths, self.args.batch_size)]

    def _out_of_patience(self, iteration: int) -> bool:
        """Whether the best checkpoint is more than `patience` checkpoints old."""
        selected, patience = self.run_dir / SELECTED, self.args.patience
        if patience is None or not selected.is_file():
            return False
        best = iteration_of(Path(read_json(selected)["checkpoint"]))
        since = 0 if best is None else (iteration - best) // self.args.model_save_interval
        if since > patience:
            tqdm.write(f"stopped: no better {self.score.label} since iteration {best} (--patience {patience})")
        return since > patience

    def _keep_few(self, newest: Path) -> None:
        """Of runs in epochs, which have many, only the best and the newest checkpoint stay."""
        kept = {newest, result_checkpoint(self.run_dir)}
        for path in checkpoints_of(self.run_dir):
            if path not in kept:
                path.unlink()

    def _draw_curves(self) -> None:
        """The curves of the run so far, as a picture."""
        from report.curves import draw_curves  # Pillow, only where runs have curves

        draw_curves(self.run_dir / "history.jsonl", self.run_dir / "training_curves.png", title=self.run_dir.name)

    def _write(self, iteration: int, validation: Validation) -> None:
        if validation.loss is not None:
            self.monitor.scalars(iteration, {"Loss/val": validation.loss})
        if validation.scores is None:
            return
        s = validation.scores.overall
        scores = {SCORES[name].key: value for name, value in s.items()}
        scores |= validation.precision
        self._remember(iteration, {"val_loss": validation.loss, **scores})
        occurs = validation.scores.occurs
        self.monitor.validation(iteration, scores, validation.scores.classwise, self.classes, occurs=occurs)
        for name in sorted(validation.reference)[:CLIPS_DRAWN]:
            reference, estimated = validation.reference[name], validation.estimated[name]
            self.monitor.azimuth_figure(iteration, name, reference, estimated, self.classes)
        seen = next((one for one in self.validated if one.video and one.name in validation.reference), None)
        if seen is not None and seen.video is not None:
            tables = validation.reference[seen.name], validation.estimated[seen.name]
            detector = self.args.detector
            self.monitor.clip_frame(iteration, seen.name, seen.video, *tables, self.classes, detector=detector)
        tqdm.write(f"{iteration:7d}  val loss {validation.loss:.4f}  {score_line(s)}")

    def _remember(self, iteration: int, values: dict[str, float | None]) -> None:
        """One line of the history, which the curves are drawn from."""
        line = {"iteration": iteration, "train_loss": self.train_loss, **values}
        with open(self.run_dir / "history.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _offer(self, path: Path, validation: Validation) -> None:
        """Remember the checkpoint if it is the best one so far, by the score of its stage or of the edition."""
        if validation.scores is None:
            return
        score, selected = self.score, self.run_dir / SELECTED
        value = validation.scores.overall[score.name]
        best = read_json(selected)[score.key] if selected.is_file() else None
        # 2019 gives no error where nothing is predicted: that is worse than any
        if best is None or score.beats(value, best):
            stored, rule = value if math.isfinite(value) else None, self.args.select
            apart = self.data.selection_name if rule == "val" else self.data.validation_name
            about = {"checkpoint": path.name, score.key: stored, "selected_on": rule, "recordings": apart}
            write_json(selected, about)

    def print_end(self) -> None:
        """Scores of the last validation."""
        if self.last is not None and self.validated is self.data.validation:
            path, validation = self.last
            remarks = self.evaluation.remarks(validation, self.data.validation, path, self.data.validation_name)
            print(f"\n{result_text(validation, self.classes, remarks)}", end="")
        chosen = result_checkpoint(self.run_dir)
        if self.args.select != "last":
            print(f"selected (--select {self.args.select}): {chosen.name}")


def score_line(scores: Mapping[str, float]) -> str:
    """Scores in one line: fractions that users know as percent are given so."""
    return "  ".join(SCORES[name].line(value) for name, value in scores.items())
