"""Makes tests/onnx, tiny models that behave like a YOLOX, or not: `python -m tests.make_tiny_onnx`, needs onnx."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from detection.yolox import anchor_points

FOLDER = Path(__file__).parent / "onnx"
WIDTH, HEIGHT = 128, 64


def yolox_like(batch: int | str, *, decoded: bool = False) -> onnx.ModelProto:
    """Of each cell the mean colour: objectness = red / 255, class = green / 255; offset 0.5, size one stride."""
    nodes, constants, constant = _colours()
    anchors = sum(WIDTH // stride * (HEIGHT // stride) for stride in (8, 16, 32))
    offset = np.zeros((1, anchors, 6), np.float32)
    offset[..., :2] = 0.5
    if decoded:
        points = anchor_points(WIDTH, HEIGHT)
        offset[0, :, :2] = (points[:, :2] + 0.5) * points[:, 2:]
        offset[0, :, 2:4] = points[:, 2:]
    nodes.append(helper.make_node("Add", ["colours", constant("offset", offset)], ["output"]))
    return _model(nodes, constants, [batch, 3, HEIGHT, WIDTH], [batch, anchors, 6])


def free_size() -> onnx.ModelProto:
    """As `yolox_like` for any height and width: the offsets are made of the picture's own shape."""
    nodes, constants, constant = _colours()
    offset = np.array([[[0.5, 0.5, 0, 0, 0, 0]]], np.float32)
    nodes.append(helper.make_node("Add", ["colours", constant("offset", offset)], ["output"]))
    return _model(nodes, constants, ["batch", 3, "height", "width"], ["batch", None, 6])


def half() -> onnx.ModelProto:
    """As `yolox_like`, numbers of 16 bits."""
    model = yolox_like("batch")
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.checker.check_model(model)
    return model


def two_classes(names: str | None = None) -> onnx.ModelProto:
    """As `yolox_like` with a first class that nothing has; the second is what the other models call a person."""
    model = yolox_like("batch")
    for tensor in model.graph.initializer:
        if tensor.name in ("pick", "offset"):
            value = numpy_helper.to_array(tensor)
            wide = np.insert(value, 5, 0.0, axis=-1)
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(wide), tensor.name))
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 7
    if names is not None:
        helper.set_model_props(model, {"names": names})
    onnx.checker.check_model(model)
    return model


def person_and_tv() -> onnx.ModelProto:
    """As `yolox_like` with a second class: a person's probability is green, a television's blue."""
    model = yolox_like("batch")
    for tensor in model.graph.initializer:
        if tensor.name in ("pick", "offset"):
            wide = np.insert(numpy_helper.to_array(tensor), 6, 0.0, axis=-1)
            if tensor.name == "pick":
                wide[0, 6] = 1 / 255
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(wide), tensor.name))
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 7
    helper.set_model_props(model, {"names": "{0: 'person', 1: 'tvmonitor'}"})
    onnx.checker.check_model(model)
    return model


def second_output() -> onnx.ModelProto:
    """As `yolox_like` with an output that has nothing to do with boxes."""
    model = yolox_like("batch")
    model.graph.node.append(helper.make_node("ReduceMax", ["colours"], ["most"], keepdims=0))
    model.graph.output.append(helper.make_tensor_value_info("most", TensorProto.FLOAT, []))
    onnx.checker.check_model(model)
    return model


def finished(*, together: bool) -> onnx.ModelProto:
    """A detector that has decoded and suppressed: always the same two boxes, in pixels of the input of 128 x 64.

    Their scores are the picture's mean over 255 and half of it; of class 1 and 0.
    """
    constants, nodes = [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    corners = np.array([[[16, 8, 32, 40], [64, 16, 96, 48]]], np.float32)
    share = constant("share", np.array([[1 / 255, 0.5 / 255]], np.float32))
    nodes.append(helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0))
    nodes.append(helper.make_node("Unsqueeze", ["mean", constant("axis", np.array([1], np.int64))], ["column"]))
    nodes.append(helper.make_node("Mul", ["column", share], ["scores"]))
    nodes.append(helper.make_node("Identity", [constant("kinds", np.array([[1, 0]], np.int64))], ["labels"]))
    outputs = [("labels", TensorProto.INT64, [1, 2])]
    if together:
        last = constant("last", np.array([2], np.int64))
        nodes.append(helper.make_node("Unsqueeze", ["scores", last], ["score_column"]))
        nodes.append(helper.make_node("Concat", [constant("corners", corners), "score_column"], ["dets"], axis=2))
        outputs.insert(0, ("dets", TensorProto.FLOAT, [1, 2, 5]))
    else:
        nodes.append(helper.make_node("Identity", [constant("corners", corners)], ["boxes"]))
        outputs = [("scores", TensorProto.FLOAT, [1, 2]), ("boxes", TensorProto.FLOAT, [1, 2, 4]), *outputs]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info(*one) for one in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def _colours() -> tuple[list, list, Callable[[str, np.ndarray], str]]:
    """The mean colour of each cell of three levels as one output, "colours": its nodes, constants, how to add some."""
    nodes, constants, levels = [], [], []

    def constant(name: str, value: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    shape = constant("shape", np.array([0, 3, -1], np.int64))
    weights = np.zeros((3, 6), np.float32)
    weights[2, 4] = weights[1, 5] = 1 / 255
    pick = constant("pick", weights)
    for stride in (8, 16, 32):
        pooled, flat, rows, mixed = (f"{name}{stride}" for name in ("pooled", "flat", "rows", "mixed"))
        kernel = [stride, stride]
        nodes.append(helper.make_node("AveragePool", ["images"], [pooled], kernel_shape=kernel, strides=kernel))
        nodes.append(helper.make_node("Reshape", [pooled, shape], [flat]))
        nodes.append(helper.make_node("Transpose", [flat], [rows], perm=[0, 2, 1]))
        nodes.append(helper.make_node("MatMul", [rows, pick], [mixed]))
        levels.append(mixed)
    nodes.append(helper.make_node("Concat", levels, ["colours"], axis=1))
    return nodes, constants, constant


def _model(nodes: list, constants: list, input_shape: list, output_shape: list) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, output_shape)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    models = {
        "free": yolox_like("batch"),
        "fixed": yolox_like(1),
        "decoded": yolox_like("batch", decoded=True),
        "free_size": free_size(),
        "half": half(),
        "second_output": second_output(),
        "two_classes": two_classes(),
        "named_classes": two_classes("{0: 'head', 1: 'person'}"),
        "person_and_tv": person_and_tv(),
        "dets_labels": finished(together=True),
        "boxes_scores_labels": finished(together=False),
        "identity": _model([helper.make_node("Identity", ["images"], ["output"])], [], [1, 3, 64, 64], [1, 3, 64, 64]),
        "vector": _model([helper.make_node("Identity", ["images"], ["output"])], [], ["batch", 10], ["batch", 10]),
    }
    for name, model in models.items():
        onnx.save(model, FOLDER / f"{name}.onnx")


if __name__ == "__main__":
    main()
