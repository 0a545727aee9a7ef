"""Stages of a system as ONNX graphs: samples or features in, raw output out; statistics are part of the graph."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dataset.seen import Producer
from net.onnx_layers import with_onnx_layers
from system.model import Model, StageModel
from util.onnx_packages import check_onnx_packages
from util.quiet import errors_alone

OPSET = 18
_LARGEST_DIFFERENCE = 1e-4  # between graph and network, of outputs about 1
_DRAWS = 3  # of noise: in one of them a phase may lie at a seam, where the last bit decides between 0 and 2 pi
_EXAMPLE_FRAMES = 160  # of plans whose items have any length


class NetworkGraph(nn.Module):
    """What a stage computes of features, as a function of tensors that can be traced.

    Parameters
    ----------
    model : the stage; it is left as it is
    """

    inputs: tuple[str, ...] = ("features", "inside", "visual")

    def __init__(self, model: StageModel):
        super().__init__()
        self.front, self.network = model.front, with_onnx_layers(model.network)

    def forward(self, features: Tensor, inside: Tensor, visual: Tensor | None = None) -> tuple[Tensor, ...]:
        """Raw output.

        Parameters
        ----------
        features : (batch, maps, frames, bins), not standardised, as `feature.front.Front.raw_features` gives them
        inside : (batch, frames) bool, whether a frame lies inside of the recording; the others are padding
        visual : what the producer of the system gives, (batch, looks, ...)
        """
        if self.front.standardise is not None:
            features = self.front.standardise(features)
        features = torch.where(inside[:, None, :, None], features, self.front.padding)
        seen = None if self.front.visual is None or visual is None else self.front.visual(visual)
        return (self.network(features, seen).float(),)


class Graph(NetworkGraph):
    """What a stage computes of sound, features included."""

    inputs = ("waveform", "inside", "visual", "loudest")

    def forward(
        self, waveform: Tensor, inside: Tensor, visual: Tensor | None = None, loudest: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Raw output; and, of features that depend on the whole recording, what they must know of it.

        Parameters
        ----------
        waveform : (batch, channels, samples) that the frames cover
        loudest : (batch, frames, numbers), see `feature.audio.AudioFeature.held`
        """
        audio = self.front.audio
        features = audio(waveform)
        found = () if loudest is None else (audio.loudest(features),)
        if loudest is not None:
            features = audio.held(features, loudest)
        elif audio.held_over == "item":
            features = audio.held(features, audio.loudest(features)[:, None])
        return (*super().forward(features, inside, visual), *found)


def export_stage(model: StageModel, channels: int, producer: Producer | None, *, whole: bool = True) -> bytes:
    """A stage as the content of an ONNX file, compared with the network; `with_metadata` adds what it is.

    Parameters
    ----------
    channels : of what it hears, see `channels_of`
    producer : of what it sees; None: it takes no pictures
    whole : from samples on; else the network alone, from features on

    Raises
    ------
    InputError : the exporter's packages are not installed
    ValueError : it cannot be exported, or the graph computes something else
    """
    check_packages()
    graph = (Graph if whole else NetworkGraph)(model).eval()
    example = _example(model, channels, producer, batch=2, seed=0)
    given = _inputs(graph.inputs, model, example)
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            graph,
            tuple(given.get(name) for name in graph.inputs),
            input_names=list(given),
            output_names=["raw", "level"][: 1 + ("loudest" in given)],
            dynamic_shapes=_dynamic(model, graph.inputs, given),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        if program is None:
            raise ValueError("torch.onnx.export gave nothing")
        content = _tidied(program.model_proto)
    _compare(model, content, graph.inputs, channels, producer)
    return content


def channels_of(model: Model, name: str) -> int:
    """Channels of what a stage hears: of the sound, or of what the stages that it takes say, one after the other."""
    stage = model.stages[name]
    return sum(_rows_of(model, taken) for taken in stage.stage.takes) or stage.front.audio.channels


def _rows_of(model: Model, name: str) -> int:
    """Numbers of a frame of a stage's raw output."""
    stage, visual = model.stages[name], model.producer if model.stages[name].visual else None
    example = _example(stage, channels_of(model, name), visual, batch=1, seed=0)
    with torch.inference_mode():
        raw = stage.network(*stage.front(_batch(example)))
    return raw[0].numel() // raw.shape[-1]


def with_metadata(content: bytes, metadata: Mapping[str, Any]) -> bytes:
    """The content of an ONNX file with json values by name as its metadata."""
    import onnx

    proto = onnx.load_model_from_string(content)
    onnx.helper.set_model_props(proto, {name: json.dumps(value) for name, value in metadata.items()})
    made: bytes = proto.SerializeToString(deterministic=True)
    return made


def versions() -> dict[str, str]:
    """Versions of what makes the graphs."""
    from importlib import metadata

    return {name: metadata.version(name) for name in ("torch", "onnx", "onnxscript", "onnxruntime")}


def check_packages() -> None:
    """Refuse where the exporter's packages are missing, see `util.onnx_packages.check_onnx_packages`."""
    check_onnx_packages("-export", "onnx", "onnxscript")


def _example(
    model: StageModel, channels: int, producer: Producer | None, *, batch: int, seed: int
) -> dict[str, Tensor]:
    """What a loader would give, of noise, the last frames outside of the recording."""
    framing = model.plans.framing
    whole = framing.samples_of(_EXAMPLE_FRAMES)
    plan = model.plans.evaluation(np.array([whole]))
    frames = plan.frames or _EXAMPLE_FRAMES
    generator = torch.Generator().manual_seed(seed)
    inside = torch.ones((batch, frames), dtype=torch.bool)
    if plan.frames is not None:
        inside[-1, frames // 2 :] = False
    example = {
        "waveform": 0.1 * torch.randn((batch, channels, framing.samples_of(frames)), generator=generator),
        "inside": inside,
    }
    if producer is not None:
        looks = len(plan.looks(plan.items(np.arange(1))[0])[0][1])
        shares = torch.rand((batch, looks, *producer.shape), generator=generator)
        example["visual"] = torch.from_numpy(producer.example(shares.numpy()))
    if model.front.audio.held_over == "recording":
        numbers = model.front.audio.loudest(model.front.audio(example["waveform"]))
        example["loudest"] = numbers[:, None].expand(-1, frames, -1).contiguous()
    return example


def _inputs(names: Sequence[str], model: StageModel, example: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inputs of a graph by name, those that there are; features of the example's sound where it takes them."""
    if "features" in names:
        with torch.no_grad():
            features, _ = model.front.raw_features(_batch(example))
        example = {**example, "features": features}
    return {name: example[name] for name in names if name in example}


def _dynamic(
    model: StageModel, names: Sequence[str], example: Mapping[str, Tensor]
) -> tuple[dict[int, Any] | None, ...]:
    """Which sizes of the inputs are free: the batch, and frames where items have any length."""
    plan = model.plans.evaluation(np.array([model.plans.framing.samples_of(_EXAMPLE_FRAMES)]))
    batch = torch.export.Dim("batch") if plan.frames is not None else torch.export.Dim.AUTO
    free: dict[str, dict[int, Any]] = {name: {0: batch} for name in example}
    if plan.frames is None:
        for name in free.keys() & _FRAMES_AXIS.keys():
            free[name][_FRAMES_AXIS[name]] = torch.export.Dim.AUTO
    return tuple(free.get(name) for name in names)


def _tidied(proto: Any) -> bytes:
    """A graph without the exporter's notes, which name files of this machine, and with names for its free sizes."""
    names: dict[str, str] = {}
    for value, due in zip((*proto.graph.input, *proto.graph.output), (_AXES.get(v.name) for v in _values(proto))):
        for position, size in enumerate(value.type.tensor_type.shape.dim):
            if size.dim_param:
                names[size.dim_param] = due[position] if due and position < len(due) else names.get(size.dim_param, "")
                size.dim_param = names[size.dim_param] or size.dim_param
    for value in proto.graph.output:
        size = value.type.tensor_type.shape.dim[0]
        if not size.dim_param:
            raise ValueError(f"the exporter has fixed the batch at {size.dim_value}")
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    del proto.graph.value_info[:], proto.graph.metadata_props[:], proto.metadata_props[:]
    made: bytes = proto.SerializeToString(deterministic=True)
    return made


_FRAMES_AXIS = {"waveform": 2, "features": 2, "inside": 1, "loudest": 1}  # that is free where items have any length
_AXES = {
    "waveform": ("batch", "channels", "samples"),
    "features": ("batch", "maps", "frames", "bins"),
    "inside": ("batch", "frames"),
    "visual": ("batch", "looks"),
    "loudest": ("batch", "frames"),
    "level": ("batch",),
}


def _values(proto: Any) -> Iterator[Any]:
    yield from proto.graph.input
    yield from proto.graph.output


def _batch(inputs: Mapping[str, Tensor]) -> dict[str, Any]:
    """An example as a batch of a loader."""
    index = torch.arange(inputs["inside"].shape[1])
    frames = torch.where(inputs["inside"], index, -1)
    return {"labels": None, "frames": frames, **{name: inputs[name] for name in inputs if name != "inside"}}


def _compare(model: StageModel, content: bytes, names: Sequence[str], channels: int, producer: Producer | None) -> None:
    """Run the graph as users do, with another batch than it was traced with.

    Raises
    ------
    ValueError : it gives something else, whatever noise is drawn
    """
    from system.exported import open_session

    session = open_session(content, torch.device("cpu"))
    least = np.inf
    for seed in range(1, _DRAWS + 1):
        example = _example(model, channels, producer, batch=3, seed=seed)
        given = _inputs(names, model, example)
        (made, *_) = session.run(None, {name: value.numpy() for name, value in given.items()})
        with torch.inference_mode():
            due = model.network(*model.front(_batch(example))).float().numpy()
        if made.shape == due.shape:
            apart = float(np.nan_to_num(np.abs(made - due), nan=np.inf).max())
            least = min(least, apart / max(1.0, float(np.abs(due).max())))
        if least <= _LARGEST_DIFFERENCE:
            return
    differs = f"differs from the network's by {least:g}" if np.isfinite(least) else "is of another shape, or no number"
    raise ValueError(f"the graph's output {differs}")


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's remarks on its own steps are left out."""
    with errors_alone("torch.onnx", "onnxscript", "onnx_ir"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
