"""A YOLOX onnx file as a function: pictures in, boxes out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime

from detection.models import model_path
from detection.yolox import PADDING, STRIDES, Detections, anchor_points, detections, letterbox_into
from util.errors import InputError
from util.files import sha256_of


class Detector:
    """A YOLOX in onnxruntime. Calls from several threads at once are safe.

    Parameters
    ----------
    name : as `detection.models.model_path` takes it
    device : "auto" (CUDA where onnxruntime has it), "cuda" or "cpu"
    threads : of one inference; 1 where several run side by side

    Attributes
    ----------
    label : name in box files ("yolox_tiny", stem of an onnx file)
    width, height : pixels of the network's input, read from the file
    free_batch : whether several pictures fit into one inference
    classes : number of classes; class 0 is "person"
    decoded : whether the graph itself turns offsets into pixels

    Raises
    ------
    InputError : missing file; no onnx file, or one that is no YOLOX; CUDA asked for and not there
    """

    def __init__(self, name: str, *, device: str = "auto", threads: int = 1, progress: bool = True):
        self.path = model_path(name, progress=progress)
        self.label = Path(name).stem if name.endswith(".onnx") else name
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Waiting threads that spin take the time of the other inferences.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.providers = _providers(device)
        try:
            self._session = onnxruntime.InferenceSession(self.path, options, providers=self.providers)
        except Exception as error:  # onnxruntime has no common class of errors
            reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
            raise InputError(f"cannot be loaded as an onnx model ({reason})", path=self.path) from error
        self._read_shapes()
        self._probe()

    @cached_property
    def sha256(self) -> str:
        """Hash of the file, part of the key of box files."""
        return sha256_of(self.path)

    @property
    def on_gpu(self) -> bool:
        """Whether inference runs on CUDA."""
        return "CUDAExecutionProvider" in self._session.get_providers()

    def _no_yolox(self, reason: str) -> InputError:
        return InputError(f"is no YOLOX: {reason}", path=self.path)

    def _read_shapes(self) -> None:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise self._no_yolox(f"{len(inputs)} inputs and {len(outputs)} outputs, one of each needed")
        shape = inputs[0].shape
        if len(shape) != 4 or shape[1] != 3 or not all(isinstance(n, int) and n > 0 for n in shape[2:]):
            raise self._no_yolox(f"input {shape}, (batch, 3, height, width) needed")
        if inputs[0].type != "tensor(float)" or shape[2] % STRIDES[-1] or shape[3] % STRIDES[-1]:
            raise self._no_yolox(f"input {shape} {inputs[0].type}, float with sides that are multiples of 32 needed")
        self._input = inputs[0].name
        self.free_batch = not isinstance(shape[0], int)
        if not self.free_batch and shape[0] != 1:
            raise self._no_yolox(f"batch {shape[0]}, 1 or a free one needed")
        self.height, self.width = shape[2], shape[3]
        self.anchors = anchor_points(self.width, self.height)

    def _probe(self) -> None:
        """Run a grey picture: the shape and range of the output tell a YOLOX, and whether its graph decodes boxes."""
        try:
            raw = self.infer(np.full((1, 3, self.height, self.width), PADDING, np.float32))
        except Exception as error:
            raise self._no_yolox(f"it does not run ({str(error).strip().splitlines()[0][:120]})") from error
        if raw.ndim != 3 or raw.shape[1] != len(self.anchors) or raw.shape[2] < 6:
            raise self._no_yolox(f"output {raw.shape}, (batch, {len(self.anchors)}, 5 + classes) needed")
        if not (np.isfinite(raw).all() and raw[..., 4:].min() >= 0 and raw[..., 4:].max() <= 1):
            raise self._no_yolox("scores outside 0..1")
        self.classes = raw.shape[2] - 5
        # Offsets are within a few cells of 0; decoded centres are pixels, up to the width of the input.
        self.decoded = float(np.median(np.abs(raw[0, :, 0]))) > self.width / 8

    def infer(self, batch: np.ndarray) -> np.ndarray:
        """Input (b, 3, height, width) float32 -> raw output (b, anchors, 5 + classes)."""
        return self._session.run(None, {self._input: batch})[0]

    def __call__(
        self, pictures: Sequence[np.ndarray], *, score_threshold: float = 0.01, nms_iou: float = 0.65
    ) -> list[Detections]:
        """Detect in pictures (h, w, 3) BGR uint8 of any size; one inference where the batch axis is free."""
        if not self.free_batch and len(pictures) > 1:
            return [self([one], score_threshold=score_threshold, nms_iou=nms_iou)[0] for one in pictures]
        batch = self.empty_batch(len(pictures))
        scales = [letterbox_into(batch, position, picture) for position, picture in enumerate(pictures)]
        return self.detect(batch, scales, score_threshold=score_threshold, nms_iou=nms_iou)

    def empty_batch(self, count: int) -> np.ndarray:
        """An input for `detection.yolox.letterbox_into` to fill: (count, 3, height, width) float32."""
        return np.empty((count, 3, self.height, self.width), np.float32)

    def detect(
        self, batch: np.ndarray, scales: Sequence[float], *, score_threshold: float = 0.01, nms_iou: float = 0.65
    ) -> list[Detections]:
        """Detect in prepared pictures; `scales` are those that `letterbox_into` gave."""
        raw = self.infer(batch)
        if self.decoded:
            raw = self._undecoded(raw)
        return [
            detections(one, self.anchors, scale, score_threshold=score_threshold, nms_iou=nms_iou)
            for one, scale in zip(raw, scales)
        ]

    def _undecoded(self, raw: np.ndarray) -> np.ndarray:
        """Pixels back to offsets, so that one function decodes every file."""
        raw = raw.copy()
        raw[..., :2] = raw[..., :2] / self.anchors[:, 2:] - self.anchors[:, :2]
        raw[..., 2:4] = np.log(np.maximum(raw[..., 2:4] / self.anchors[:, 2:], 1e-9))
        return raw


def _providers(device: str) -> list[str]:
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise InputError("this onnxruntime has no CUDA: pip install onnxruntime-gpu in its place, or --device cpu")
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device {device!r} is none of auto, cpu, cuda")
    cpu = ["CPUExecutionProvider"]
    return ["CUDAExecutionProvider", *cpu] if has_cuda and device != "cpu" else cpu
