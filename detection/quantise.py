"""`python -m detection.quantise DETECTOR OUT.onnx --video FILE ...`: a detector in 8 bits, by onnxruntime's tool.

What activations may be is measured on pictures of the videos. OUT is a detector as any other: `--detector OUT.onnx`.
The last layers of a YOLOX (offsets, objectness, classes) stay as they are: their ranges have nothing in common.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detection.detector import Detector
from detection.yolox import letterbox_into
from util.cli import run_main
from util.errors import InputError
from util.files import written_whole
from util.onnx_packages import check_onnx_packages
from util.quiet import errors_alone
from util.video import decoded_frames, video_info

_OPSET = 13  # of integers by channel


def quantise(detector: Detector, pictures: Sequence[np.ndarray], out: Path) -> None:
    """Write a detector's network with 8-bit weights and activations.

    Parameters
    ----------
    pictures : (h, w, 3) BGR uint8, by which ranges are measured
    out : onnx file

    Raises
    ------
    CommonError : the package onnx is missing
    InputError : onnxruntime's tool refuses the network
    """
    check_onnx_packages("an 8-bit detector", "onnx")
    import onnx
    from onnx import version_converter
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Pictures(CalibrationDataReader):
        """Inputs of the network, one after the other."""

        def __init__(self) -> None:
            self._inputs = _inputs(detector, pictures)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._inputs, None)

    try:
        model = onnx.load(str(detector.path))
        if next(one.version for one in model.opset_import if not one.domain) < _OPSET:
            model = version_converter.convert_version(model, _OPSET)
        with tempfile.TemporaryDirectory() as folder, written_whole(out) as temporary:
            for number, node in enumerate(model.graph.node):
                node.name = node.name or f"node_{number}"
            source = Path(folder) / "source.onnx"
            onnx.save(model, str(source))
            with errors_alone(""):  # it recommends another tool, which needs sympy
                quantize_static(
                    str(source),
                    str(temporary),
                    Pictures(),
                    quant_format=QuantFormat.QDQ,
                    per_channel=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    nodes_to_exclude=_last_layers(model.graph),
                )
    except (RuntimeError, ValueError, TypeError) as error:
        raise InputError(f"cannot be made 8-bit ({' '.join(str(error).split())[:150]})", path=detector.path) from error


def _inputs(detector: Detector, pictures: Sequence[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    for picture in pictures:
        batch = detector.empty_batch(1)
        letterbox_into(batch, 0, picture)
        yield {detector.input_name: batch}


def _last_layers(graph: Any) -> list[str]:
    """Names of the last convolutions and of all that stands behind them."""
    used_by: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            used_by.setdefault(name, []).append(node)
    has_convolution_behind: dict[str, bool] = {}
    for node in reversed(graph.node):  # stored in an order in which they can be carried out
        behind = [one for name in node.output for one in used_by.get(name, [])]
        has_convolution_behind[node.name] = any(
            one.op_type == "Conv" or has_convolution_behind[one.name] for one in behind
        )
    return [node.name for node in graph.node if not has_convolution_behind[node.name]]


def pictures_of(video: Path, count: int) -> list[np.ndarray]:
    """Pictures of a video, evenly over its time."""
    step = max(1, video_info(video).frame_count // count)
    found: list[np.ndarray] = []
    for index, _, frame in decoded_frames(video):
        if index % step == 0:
            found.append(frame.to_ndarray(format="bgr24"))
        if len(found) == count:
            break
    return found


def main(argv: list[str] | None = None) -> int:
    """Quantise, say how large the file is."""
    parser = argparse.ArgumentParser(
        prog="python -m detection.quantise", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("detector", help="name or onnx file")
    parser.add_argument("out", type=Path, metavar="OUT.onnx")
    parser.add_argument("--video", type=Path, nargs="+", required=True, help="pictures by which ranges are measured")
    parser.add_argument("--pictures", type=int, default=10, metavar="N", help="of each video [10]")
    args = parser.parse_args(argv)
    if args.out.suffix != ".onnx":
        raise InputError("must end in .onnx", path=args.out)
    detector = Detector(args.detector, device="cpu")
    quantise(detector, [one for video in args.video for one in pictures_of(video, args.pictures)], args.out)
    before, after = detector.path.stat().st_size, args.out.stat().st_size
    print(f"{args.out}  {after / 1e6:.1f} MB instead of {before / 1e6:.1f}; use it as --detector {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
