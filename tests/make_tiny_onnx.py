"""Makes tests/onnx, tiny models that behave like a YOLOX, or not: `python -m tests.make_tiny_onnx`, needs onnx."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from detection.yolox import anchor_points

FOLDER = Path(__file__).parent / "onnx"
WIDTH, HEIGHT = 128, 64


def yolox_like(batch: int | str, *, decoded: bool = False) -> onnx.ModelProto:
    """Of each cell the mean colour: objectness = red / 255, class = green / 255; offset 0.5, size one stride."""
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
    anchors = sum(WIDTH // stride * (HEIGHT // stride) for stride in (8, 16, 32))
    offset = np.zeros((1, anchors, 6), np.float32)
    offset[..., :2] = 0.5
    if decoded:
        points = anchor_points(WIDTH, HEIGHT)
        offset[0, :, :2] = (points[:, :2] + 0.5) * points[:, 2:]
        offset[0, :, 2:4] = points[:, 2:]
    nodes.append(helper.make_node("Add", ["colours", constant("offset", offset)], ["output"]))
    return _model(nodes, constants, [batch, 3, HEIGHT, WIDTH], [batch, anchors, 6])


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
        "identity": _model([helper.make_node("Identity", ["images"], ["output"])], [], [1, 3, 64, 64], [1, 3, 64, 64]),
        "vector": _model([helper.make_node("Identity", ["images"], ["output"])], [], ["batch", 10], ["batch", 10]),
    }
    for name, model in models.items():
        onnx.save(model, FOLDER / f"{name}.onnx")


if __name__ == "__main__":
    main()
