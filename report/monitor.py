"""What a training run writes for TensorBoard, under the names that users of the reference know."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dcase2022_task3_seld_metrics.score_table import SCORES_BY_KEY
from util.events import EventTable

if TYPE_CHECKING:
    from util.camera import Camera


class Monitor:
    """Writer of one run folder.

    TensorBoard and the drawing code are imported when the first value is written: a run that is never looked at (and
    every test that imports the trainer) pays nothing.

    Parameters
    ----------
    log_dir : the run folder; it is made when it is not there
    purge_step : when a run is resumed at this step, what an interrupted run had written from it on is hidden
    """

    def __init__(self, log_dir: str | os.PathLike[str], *, purge_step: int | None = None):
        self._log_dir, self._purge_step = os.fspath(log_dir), purge_step
        self._open: Any = None

    @property
    def _writer(self) -> Any:
        if self._open is None:
            from torch.utils.tensorboard import SummaryWriter

            self._open = SummaryWriter(self._log_dir, purge_step=self._purge_step)
        return self._open

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Values under their full names: "Loss/train", "Optimizer/lr", "Loss/val"."""
        for name, value in values.items():
            self._writer.add_scalar(name, float(value), step)

    def validation(
        self,
        step: int,
        scores: Mapping[str, float],
        classwise: Mapping[str, Sequence[float] | np.ndarray] | None = None,
        classes: Sequence[str] = (),
        *,
        occurs: Sequence[bool] | np.ndarray | None = None,
    ) -> None:
        """Scores of a validation.

        Parameters
        ----------
        scores : by their keys in `score_table.SCORES_BY_KEY` (fractions and degrees), each to the scalar that its row
            names; any other goes to Metrics/<its name>
        classwise : the same scores with one value per class; NaN where a class does not occur. F becomes
            "F20 per class/<index> <name>"
        occurs : per class, whether it is in the reference; a class that is not has no curve, whatever its value says
            (the official F of a class that does not occur is 0)
        """
        for name, value in scores.items():
            tag = SCORES_BY_KEY[name].tag if name in SCORES_BY_KEY else f"Metrics/{name}"
            self._writer.add_scalar(tag, float(value), step)
        if classwise is None or "F" not in classwise:
            return
        values = np.asarray(classwise["F"], dtype=np.float64)
        for index, value in enumerate(values):
            if np.isfinite(value) and (occurs is None or occurs[index]):
                name = classes[index] if index < len(classes) else ""
                self._writer.add_scalar(f"F20 per class/{index:02d} {name}".rstrip(), float(value), step)

    def azimuth_figure(
        self,
        step: int,
        clip: str,
        reference: EventTable,
        estimated: EventTable,
        classes: Sequence[str],
        *,
        duration_s: float | None = None,
    ) -> None:
        """Predicted against reference azimuth (and elevation below it) over the time of one clip."""
        from report.figures import direction_figure

        pictures = [
            direction_figure(
                reference,
                estimated,
                classes,
                title=f"{clip}: predicted and reference {word}, step {step}",
                column=f"{word}_deg",
                duration_s=duration_s,
                height=height,
            )
            for word, height in (("azimuth", 420), ("elevation", 300))
        ]
        self._writer.add_image(f"Directions/{clip}", np.concatenate(pictures), step, dataformats="HWC")

    def frame(
        self,
        step: int,
        clip: str,
        picture: np.ndarray,
        time_s: float,
        reference: EventTable,
        estimated: EventTable,
        classes: Sequence[str],
        *,
        boxes: np.ndarray | None = None,
        camera: Camera | None = None,
    ) -> None:
        """One rendered video frame with person boxes, reference and predicted directions.

        Parameters
        ----------
        picture : (height, width, 3) uint8 BGR, as `util.video` reads it
        time_s : its time; the events of the label frame around it are drawn
        boxes : (n, 4) fractions of the image
        """
        import cv2

        from report.figures import draw_directions

        wide = max(720, picture.shape[1])
        size = (wide, round(picture.shape[0] * wide / picture.shape[1]))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
        there, found = (table[table.frame == int(time_s / table.frame_s + 1e-6)] for table in (reference, estimated))
        seen = draw_directions(picture, there, found, classes, boxes=boxes, camera=camera)
        self._writer.add_image(f"Frame/{clip}", np.ascontiguousarray(seen[..., ::-1]), step, dataformats="HWC")

    def clip_frame(
        self,
        step: int,
        clip: str,
        video: str | os.PathLike[str],
        reference: EventTable,
        estimated: EventTable,
        classes: Sequence[str],
        *,
        detector: str | None = None,
    ) -> None:
        """As `frame`, with the video's frame where most labels are, and the detector's boxes where there are any."""
        from util.boxes import box_file, read_boxes
        from util.video import pictures_at

        time_s = busiest_time_s(reference)
        frame = next(pictures_at(video, [time_s]))
        if frame is None:
            return
        picture = frame.to_ndarray(format="bgr24")
        boxes = None
        if detector is not None and box_file(video, detector).is_file():
            boxes = read_boxes(box_file(video, detector)).held().at(time_s)[0]
        self.frame(step, clip, picture, time_s, reference, estimated, classes, boxes=boxes)

    def hparams(self, settings: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        """The configuration of the run with its final scores, for TensorBoard's HPARAMS page."""
        from torch.utils.tensorboard.summary import hparams

        plain = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in settings.items()
            if value is not None
        }
        final = {f"Final/{name}": float(value) for name, value in scores.items()}
        for summary in hparams(plain, final):
            self._writer.file_writer.add_summary(summary)
        for name, value in final.items():
            self._writer.add_scalar(name, value)

    def flush(self) -> None:
        """Put everything written so far on the disk."""
        if self._open is not None:
            self._open.flush()

    def close(self) -> None:
        """Finish the file; a monitor that wrote nothing leaves none."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def busiest_time_s(reference: EventTable) -> float:
    """Middle of the first frame with the most rows; 0 without rows."""
    if not len(reference):
        return 0.0
    frames, count = np.unique(reference.frame, return_counts=True)
    return float((frames[np.argmax(count)] + 0.5) * reference.frame_s)
