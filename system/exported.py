"""Exported systems: ONNX files that hold all that a checkpoint holds for predictions, run by onnxruntime."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from feature.front import on_device
from system.model import StageModel, check_fit, of_whole
from system.row import Stage
from util.errors import InputError
from util.microphone_arrays import Array

FORMAT = "seld-onnx-1"
SUFFIX = ".onnx"
REFUSED = "is an exported graph, which can be run and not be trained: name the checkpoint that it was made from"


def file_of_stage(path: str | os.PathLike[str], stage: str, stages: list[str]) -> Path:
    """File of a stage: the one named, where there is one stage only, else NAME_STAGE.onnx beside it."""
    path = Path(path)
    return path if len(stages) == 1 else path.with_name(f"{path.stem}_{stage}{path.suffix}")


def open_session(content: bytes | Path, device: torch.device) -> Any:
    """An onnxruntime session of a graph, by its content or its file.

    Raises
    ------
    InputError : it is no ONNX file, or one that this onnxruntime cannot run
    """
    import onnxruntime  # only where there is a graph

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    providers = ["CUDAExecutionProvider"] if device.type == "cuda" and has_cuda else []
    try:
        given = content if isinstance(content, bytes) else str(content)
        return onnxruntime.InferenceSession(given, options, providers=[*providers, "CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common class of errors
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        path = content if isinstance(content, Path) else None
        raise InputError(f"cannot be loaded as an onnx model ({reason})", path=path) from error


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The metadata that `system.export` wrote into a file.

    Raises
    ------
    InputError : no such file, no ONNX file, one of another project or of a later version
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("no such checkpoint file", path=path)
    found = open_session(path, torch.device("cpu")).get_modelmeta().custom_metadata_map
    try:
        metadata = {name: json.loads(value) for name, value in found.items()}
        fits = metadata["format"] == FORMAT
    except (ValueError, KeyError, RecursionError):
        rule = (
            "is an onnx model that this project has not made (python seld.py -export CHECKPOINT --out FILE makes one)"
        )
        raise InputError(rule, path=path) from None
    if not fits:
        raise InputError(f"is of the form {metadata['format']!r}, this version reads {FORMAT}", path=path)
    return metadata


def stage_files(path: str | os.PathLike[str], metadata: Mapping[str, Any]) -> dict[str, Path]:
    """The files of all stages that have a graph, from one of them.

    Raises
    ------
    InputError : one is missing, or was exported from another checkpoint
    """
    made = {}
    for stage, name in metadata["files"].items():
        file = Path(path) if stage == metadata["stage"] else Path(path).with_name(name)
        if not file.is_file():
            raise InputError(f"the stage {stage} of {metadata['system']} belongs to it: no such file", path=file)
        if read_metadata(file).get("made", {}).get("sha256") != metadata["made"]["sha256"]:
            raise InputError(f"was exported from another checkpoint than {Path(path).name}", path=file)
        made[stage] = file
    return made


class _Done(nn.Module):
    """In place of a network: what the graph gave is the output."""

    def forward(self, raw: torch.Tensor, seen: None) -> torch.Tensor:
        return raw


class ExportedStage(StageModel):
    """A stage whose network, mostly with its features, is a graph in a file; it cannot be trained.

    Parameters
    ----------
    path : of the file
    others : see `system.model.StageModel`
    """

    def __init__(
        self, path: Path, stage: Stage, settings: Mapping[str, Any], array: Array, class_count: int, *, visual: bool
    ):
        nn.Module.__init__(self)
        self.stage, self.settings, self.statistics, self.visual = stage, dict(settings), None, visual
        self.array, self.augment = array, None
        self.plans = stage.plans(self.settings)
        self.front = stage.front(self.settings, array, visual, None)  # for what is found in whole recordings
        self.of_whole = of_whole(self.front)
        self.output_format = stage.output_format(self.settings, class_count)
        self.network = _Done()
        check_fit(self.plans, self.output_format)
        self.path = path
        self.session = open_session(path, torch.device("cpu"))
        self._check(self.front.audio.channels)

    @property
    def lacks_statistics(self) -> bool:
        """They are in the graph."""
        return False

    def _apply(self, fn: Any, recurse: bool = True) -> nn.Module:
        """Follow `to(device)`."""
        made = super()._apply(fn, recurse)
        if self._place().type == "cuda":
            self.session = open_session(self.path, self._place())
        return made

    def _check(self, channels: int) -> None:
        found = {one.name: one.shape for one in self.session.get_inputs()}
        if "features" in found:
            taken, audio = found["features"], self.front.audio
            if "inside" not in found or len(taken) != 4 or (taken[1], taken[3]) != (audio.maps, audio.bins):
                raise InputError("holds another graph than its metadata say", path=self.path)
            return
        if not {"waveform", "inside"} <= found.keys() or len(found["waveform"]) != 3:
            raise InputError("holds another graph than its metadata say", path=self.path)
        if channels and found["waveform"][1] != channels:
            rule = f"has a graph of {found['waveform'][1]} channels, its metadata say {channels}"
            raise InputError(rule, path=self.path)

    def hears_like(self, other: StageModel) -> bool:
        """Features are inside of the graph: nothing can be shared."""
        return False

    def heard(self, batch: dict[str, Any]) -> tuple[torch.Tensor, None]:
        """Raw output: `predict` hands it on to the network, which there is none of."""
        return self._raw(batch), None

    def _raw(self, batch: dict[str, Any]) -> torch.Tensor:
        framing, inputs = self.plans.framing, on_device(batch, torch.device("cpu"))
        waveform, index = inputs["waveform"], inputs.get("frames")
        if index is None:
            frames = (waveform.shape[2] - framing.n_fft) // framing.hop + 1
            inside = torch.ones((waveform.shape[0], frames), dtype=torch.bool)
        else:
            frames, inside = index.shape[1], index >= 0
        wanted = {one.name for one in self.session.get_inputs()}
        fed: dict[str, torch.Tensor] = {name: inputs[name].float() for name in ("visual", "loudest") if name in inputs}
        fed["inside"] = inside
        if "features" in wanted:
            place = self._place()
            with torch.autocast(place.type, enabled=False):  # as `feature.front.Front` computes them
                features, _ = self.front.raw_features(on_device(batch, place))
            fed["features"] = features.cpu()
        else:
            # a recording may be shorter than the item; what its padding is made of does not count
            missing = max(framing.samples_of(frames) - waveform.shape[2], 0)
            fed["waveform"] = functional.pad(waveform, (0, missing)).float()
        (raw,) = self.session.run(["raw"], {name: np.ascontiguousarray(fed[name].numpy()) for name in wanted})
        return torch.from_numpy(raw)
