"""An onnx file that finds people as a function: pictures in, boxes out. A YOLOX, or one that gives finished boxes."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from detection.finished import Finished
from detection.models import model_path
from detection.onnx_size import with_size
from detection.yolox import PADDING, PERSON, STRIDES, Detections, anchor_points, detections, letterbox_into
from util.coco import COCO_CLASSES, COCO_PERSON, coco_number
from util.errors import InputError
from util.files import sha256_of
from util.text import say_once

_MOST_CLASSES = 10000  # whose names are read
_FREE_SIZE = 416  # pixels of an input that leaves its size free, as of YOLOX tiny
_INPUT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_PEOPLE = ("person", "people", "pedestrian", "human")
_EXPORT = (
    "YOLOX's tools/export_onnx.py writes one that fits; so does an export whose outputs are boxes (batch, n, 4 or 5) "
    "in pixels of the input, scores and labels"
)


class Detector:
    """A YOLOX in onnxruntime, or another detector whose outputs are boxes, scores and labels. Calls from several
    threads at once are safe.

    Pictures come as YOLOX takes them: BGR, 0 to 255, made to fit at the top left on grey.

    Parameters
    ----------
    name : as `detection.models.model_path` takes it
    device : "auto" (CUDA where onnxruntime has it), "cuda" or "cpu"
    threads : of one inference; 1 where several run side by side
    person_class : number of the class that is people; None: the one that the file's names call so, else 0
    size : (width, height) of the input, of a network that takes any; None: as the file says, 416 x 416 where it does
        not. 416 x 224 holds a picture of 360x180 and less grey than 416 x 416
    content : of the file, in place of the file

    Attributes
    ----------
    label : name in box files ("yolox_tiny", stem of an onnx file)
    width, height : pixels of the network's input, read from the file
    input_name : of the pictures in the file
    free_batch : whether several pictures fit into one inference
    classes : number of classes, 0 where the file does not tell; boxes of people come with label 0, whatever their class
    decoded : whether the graph itself turns offsets into pixels
    finished : whether it gives finished boxes, not those of a YOLOX
    coco : (labels,) class of COCO that each label of its detections means, -1: none, or people; see `_coco_classes`
    settings : what box files must know beside the file itself: what was asked for

    Raises
    ------
    InputError : missing file; no onnx file, or one that is no such detector; CUDA asked for and not there
    """

    def __init__(
        self,
        name: str,
        *,
        device: str = "auto",
        threads: int = 1,
        progress: bool = True,
        person_class: int | None = None,
        size: tuple[int, int] | None = None,
        content: bytes | None = None,
    ):
        self.path = model_path(name, progress=progress) if content is None else Path(name)
        self._asked = (name, device, threads, person_class, size)
        self._content = content
        self.label = Path(name).stem if name.endswith(".onnx") else name
        self._threads, self.providers = threads, _providers(device)
        try:
            self._session = self._opened(content or self.path)
        except Exception as error:  # onnxruntime has no common class of errors
            reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
            raise InputError(f"cannot be loaded as an onnx model ({reason})", path=self.path) from error
        self._read_shapes(size)
        self._probe()
        names = _class_names(self._session.get_modelmeta().custom_metadata_map)
        self._person = self._person_class(person_class, names)
        self.coco = self._coco_classes(names)
        self.settings: dict[str, int | list[int]] = {} if person_class is None else {"person_class": person_class}
        if size is not None:
            self.settings["input_size"] = list(size)

    def _opened(self, model: bytes | Path) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Waiting threads that spin take the time of the other inferences.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(model, options, providers=self.providers)

    def _resized(self, width: int, height: int) -> onnxruntime.InferenceSession:
        """The model with another input than it declares: convolutions take any size.

        Raises
        ------
        InputError : something in it is made for one size
        """
        declared = f"{self.width}x{self.height}"
        try:
            session = self._opened(with_size(self._content or self.path.read_bytes(), width, height))
            grey = np.full((1, 3, height, width), PADDING, self._type)
            made = [one.shape[:2] for one in session.run(None, {self.input_name: grey})]
            if (1, len(anchor_points(width, height))) not in made:
                raise InputError("its outputs do not follow the size of its input")
        except Exception as error:
            rule = f"--detector-size {width}x{height}: the model takes {declared} and no other size"
            raise InputError(rule, path=self.path) from error
        return session

    @cached_property
    def sha256(self) -> str:
        """Hash of the file, part of the key of box files."""
        if self._content is not None:
            return hashlib.sha256(self._content).hexdigest()
        return sha256_of(self.path)

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to a worker with the bytes of its file, which the worker need not have."""
        return _received, (*self._asked, self._content or self.path.read_bytes())

    @property
    def on_gpu(self) -> bool:
        """Whether inference runs on CUDA."""
        return "CUDAExecutionProvider" in self._session.get_providers()

    def _no_yolox(self, reason: str) -> InputError:
        return InputError(f"is no YOLOX: {reason}; {_EXPORT}", path=self.path)

    def _read_shapes(self, size: tuple[int, int] | None) -> None:
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise self._no_yolox(f"inputs {', '.join(one.name for one in inputs)}, one of pictures needed")
        shape = inputs[0].shape
        if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
            raise self._no_yolox(f"input {shape}, (batch, 3, height, width) needed")
        if inputs[0].type not in _INPUT_TYPES:
            raise self._no_yolox(f"input {shape} {inputs[0].type}, float or float16 needed")
        self.input_name, self._type = inputs[0].name, _INPUT_TYPES[inputs[0].type]
        fixed = [side for side in shape[2:] if isinstance(side, int) and side > 0]
        wanted = size or (_FREE_SIZE, _FREE_SIZE)
        self.width, self.height = (
            side if isinstance(side, int) and side > 0 else free for side, free in zip(shape[:1:-1], wanted)
        )
        if self.width % STRIDES[-1] or self.height % STRIDES[-1]:
            raise self._no_yolox(f"input {shape}, sides that are multiples of 32 needed")
        self.free_batch = not isinstance(shape[0], int)
        if not self.free_batch and shape[0] != 1:
            raise self._no_yolox(f"batch {shape[0]}, 1 or a free one needed")
        if size is not None and fixed and size != (self.width, self.height):
            self._session = self._resized(*size)
            self.width, self.height = size
        self.anchors = anchor_points(self.width, self.height)

    def _probe(self) -> None:
        """Run a grey picture: shapes and ranges of the outputs tell what it is, whether a YOLOX decodes its boxes."""
        try:
            outputs = self._run(np.full((1, 3, self.height, self.width), PADDING, np.float32))
        except Exception as error:
            raise self._no_yolox(f"it does not run ({str(error).strip().splitlines()[0][:120]})") from error
        names = [one.name for one in self._session.get_outputs()]
        self.decoded, self.finished, self.classes = False, None, 0
        fits = (1, len(self.anchors))
        self._raw = next((at for at, one in enumerate(outputs) if one.shape[:2] == fits and _columns(one) >= 6), None)
        if self._raw is None:
            self.finished = Finished.of(names, outputs)
            if self.finished is None:
                found = ", ".join(f"{name} {one.shape}" for name, one in zip(names, outputs))
                raise self._no_yolox(f"output {found}, (batch, {len(self.anchors)}, 5 + classes) needed")
            return
        raw = outputs[self._raw].astype(np.float32)
        if not (np.isfinite(raw).all() and raw[..., 4:].min() >= 0 and raw[..., 4:].max() <= 1):
            raise self._no_yolox("output with scores outside 0..1")
        self.classes = raw.shape[2] - 5
        # Offsets are within a few cells of 0; decoded centres are pixels, up to the width of the input.
        self.decoded = float(np.median(np.abs(raw[0, :, 0]))) > self.width / 8

    def _person_class(self, asked: int | None, names: dict[int, str]) -> int:
        """The class that is people: as asked, by names in the file, else 0, which is said where it may be another."""
        if asked is not None:
            if self.classes and asked >= self.classes:
                raise InputError(f"--person-class {asked}: the model has {self.classes} classes", path=self.path)
            return asked
        for number, name in names.items():
            if name.lower() in _PEOPLE:
                return number
        if self.classes not in (1, len(COCO_CLASSES)):
            known = f"classes {', '.join(names.values())}" if names else f"{self.classes or 'unknown'} classes"
            say_once(f"{self.path}: {known}: number 0 is taken for people (--person-class N names another)")
        return 0

    def _coco_classes(self, names: dict[int, str]) -> np.ndarray:
        """Which classes of COCO the labels of detections mean: by names in the file; without any, 80 classes whose
        first is people are those of COCO, and of others nobody knows. People themselves are not among them.
        """
        if not names and self.classes == len(COCO_CLASSES) and self._person == PERSON:
            names = dict(enumerate(COCO_CLASSES))
        numbers = {label: coco_number(name) for label, name in names.items() if label < _MOST_CLASSES}
        coco = np.full(max((*numbers, self._person)) + 1 if numbers else 0, -1, dtype=np.int64)
        for label, number in numbers.items():
            coco[label] = -1 if number in (None, COCO_PERSON) or label == self._person else number
        if len(coco) and self._person != PERSON:
            coco[[PERSON, self._person]] = coco[[self._person, PERSON]]  # as labels are exchanged
        return coco

    @property
    def people_only(self) -> bool:
        """Whether it finds nothing else, as far as anybody knows."""
        return not (self.coco >= 0).any()

    def _run(self, batch: np.ndarray) -> list[np.ndarray]:
        return self._session.run(None, {self.input_name: batch.astype(self._type, copy=False)})

    def infer(self, batch: np.ndarray) -> np.ndarray:
        """Input (b, 3, height, width) float32 -> raw output (b, anchors, 5 + classes); of finished boxes those."""
        outputs = self._run(batch)
        return outputs[self._raw or 0].astype(np.float32, copy=False)

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
        if self.finished is not None:
            outputs = self._run(batch)
            found = [
                self.finished.detections(outputs, at, scale, score_threshold=score_threshold, nms_iou=nms_iou)
                for at, scale in enumerate(scales)
            ]
        else:
            raw = self.infer(batch)
            if self.decoded:
                raw = self._undecoded(raw)
            found = [
                detections(one, self.anchors, scale, score_threshold=score_threshold, nms_iou=nms_iou)
                for one, scale in zip(raw, scales)
            ]
        if self._person == PERSON:
            return found
        return [replace(one, label=_exchanged(one.label, self._person, PERSON)) for one in found]

    def _undecoded(self, raw: np.ndarray) -> np.ndarray:
        """Pixels back to offsets, so that one function decodes every file."""
        raw = raw.copy()
        raw[..., :2] = raw[..., :2] / self.anchors[:, 2:] - self.anchors[:, :2]
        raw[..., 2:4] = np.log(np.maximum(raw[..., 2:4] / self.anchors[:, 2:], 1e-9))
        return raw


def _exchanged(label: np.ndarray, first: int, second: int) -> np.ndarray:
    out = label.copy()
    out[label == first], out[label == second] = second, first
    return out


def _columns(output: np.ndarray) -> int:
    return output.shape[2] if output.ndim == 3 and output.dtype.kind == "f" else 0


def _class_names(metadata: dict[str, str]) -> dict[int, str]:
    """Names of classes in a file's metadata: a dictionary or list as Python or json writes it, or words with commas."""
    text = metadata.get("names") or metadata.get("classes") or ""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = [part.strip() for part in text.split(",") if part.strip()]
    pairs = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list | tuple) else ()
    return {int(number): str(name) for number, name in pairs if str(number).isdigit()}


def _providers(device: str) -> list[str]:
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise InputError("this onnxruntime has no CUDA: pip install onnxruntime-gpu in its place, or --device cpu")
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device {device!r} is none of auto, cpu, cuda")
    cpu = ["CPUExecutionProvider"]
    return ["CUDAExecutionProvider", *cpu] if has_cuda and device != "cpu" else cpu


def _received(
    name: str, device: str, threads: int, person_class: int | None, size: tuple[int, int] | None, content: bytes
) -> Detector:
    return Detector(
        name, device=device, threads=threads, progress=False, person_class=person_class, size=size, content=content
    )
