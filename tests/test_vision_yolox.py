"""YOLOX around the network: pre- and post-processing, real weights, models that are none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from detection.detector import Detector
from detection.evaluate import average_precision, collage, score_collages
from detection.models import BUILTIN
from detection.yolox import (
    Detections,
    anchor_points,
    box_iou,
    detections,
    letterbox_into,
    non_maximum_suppression,
)
from tests.shared import SHARED, needs_shared
from util.errors import InputError

ONNX = Path(__file__).parent / "onnx"
REAL = SHARED / "real" / "yolox"


def slow_suppression(boxes, score, label, nms_iou):
    """Non-maximum suppression as one would write it down first."""
    left = sorted(range(len(score)), key=lambda i: -score[i])
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if label[i] != label[best] or box_iou(boxes[[best]], boxes[[i]])[0, 0] <= nms_iou]
    return kept


def test_letterbox_is_top_left_on_grey_bgr_without_normalisation():
    picture = np.zeros((180, 360, 3), np.uint8)
    picture[:] = (10, 20, 30)
    batch = np.full((2, 3, 416, 416), np.nan, np.float32)
    scale = letterbox_into(batch, 1, picture)
    assert scale == pytest.approx(416 / 360)
    assert np.isnan(batch[0]).all()
    for channel, value in enumerate((10, 20, 30)):
        assert (batch[1, channel, :208] == value).all()
    assert (batch[1, :, 208:] == 114).all()


@pytest.mark.parametrize("size", [(416, 416), (200, 100), (90, 300), (1000, 1000), (361, 203)])
def test_letterbox_of_any_size_is_opencvs_bilinear(size):
    width, height = size
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    batch = np.empty((1, 3, 416, 416), np.float32)
    scale = letterbox_into(batch, 0, picture)
    wanted = np.full((416, 416, 3), 114, np.uint8)  # preproc of YOLOX, literally
    size = (int(width * scale + 1e-6), int(height * scale + 1e-6))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    wanted[: small.shape[0], : small.shape[1]] = small
    np.testing.assert_array_equal(batch[0], wanted.astype(np.float32).transpose(2, 0, 1))


def test_anchors_are_cells_row_by_row_of_strides_8_16_32():
    anchors = anchor_points(416, 416)
    assert anchors.shape == (3549, 3)
    np.testing.assert_array_equal(anchors[[0, 1, 52, 2704, 2704 + 676]], [
        [0, 0, 8], [1, 0, 8], [0, 1, 8], [0, 0, 16], [0, 0, 32],
    ])  # fmt: skip


def test_decoding_by_hand():
    raw = np.zeros((len(anchor_points(64, 64)), 7), np.float32)
    raw[9] = [0.5, 0.25, np.log(2), np.log(4), 0.8, 0.1, 0.5]  # cell (1, 1) of stride 8
    found = detections(raw, anchor_points(64, 64), 0.5, score_threshold=0.3)
    np.testing.assert_allclose(found.boxes, [[8, -12, 40, 52]], atol=1e-4)  # centre (12, 10), size (16, 32), then / 0.5
    assert found.label.tolist() == [1] and found.score == pytest.approx([0.4])


def test_score_threshold_counts_the_product_and_includes_it():
    raw = np.zeros((len(anchor_points(32, 32)), 6), np.float32)
    raw[:3, 4], raw[:3, 5] = [0.5, 0.5, 0.9], [0.5, 0.4, 0.2]
    raw[:, :2] = np.linspace(0, 300, len(raw))[:, None]  # apart from one another
    assert len(detections(raw, anchor_points(32, 32), 1.0, score_threshold=0.25).score) == 1


@pytest.mark.parametrize("nms_iou", [0.45, 0.65])
def test_suppression_matches_the_plain_algorithm(nms_iou):
    rng = np.random.default_rng(1)
    for count in (0, 1, 2, 60):
        corner = rng.uniform(0, 60, (count, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(5, 50, (count, 2))], axis=1).astype(np.float32)
        score, label = rng.uniform(0, 1, count), rng.integers(0, 2, count)
        kept = non_maximum_suppression(boxes, score, label, nms_iou)
        assert kept.tolist() == slow_suppression(boxes, score, label, nms_iou)


def test_suppression_is_within_a_class_and_beyond_the_threshold_only():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [5, 0, 15, 10]], np.float32)
    kept = non_maximum_suppression(boxes, np.array([0.9, 0.8, 0.7, 0.6]), np.array([0, 1, 0, 0]), 1 / 3)
    assert kept.tolist() == [0, 1, 3]  # the last overlaps by exactly 1/3


@needs_shared
def test_real_weights_find_what_is_on_the_real_photograph():
    detector = Detector(str(REAL / "yolox_nano_coco.onnx"))
    assert (detector.width, detector.height, detector.classes, detector.free_batch) == (416, 416, 80, False)
    found = detector([cv2.imread(str(REAL / "dog.jpg"))], score_threshold=0.3, nms_iou=0.45)[0]
    wanted = {16: (0.855, [133, 207, 326, 543]), 1: (0.803, [52, 137, 572, 424]), 2: (0.798, [466, 78, 693, 171])}
    for row, (label, (score, box)) in enumerate(wanted.items()):
        assert found.label[row] == label
        assert found.score[row] == pytest.approx(score, abs=1e-3)
        np.testing.assert_allclose(found.boxes[row], box, atol=2)
    # The reference's list has no class-wise suppression: the car is also a truck (class 7) with a score of 0.31.
    assert (found.label[3:] == 7).all() and (found.score[3:] < 0.31).all()


@needs_shared
def test_real_weights_batched_and_one_by_one(tmp_path):
    """The official files take one picture; with the batch axis set free the boxes are the same."""
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(REAL / "yolox_nano_coco.onnx"))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for constant in model.graph.initializer:  # shapes (1, 85, -1) that flatten the levels
        value = onnx.numpy_helper.to_array(constant)
        if value.dtype == np.int64 and value.ndim == 1 and len(value) == 3 and value[0] == 1:
            changed = np.array([0, *value[1:]])
            constant.CopyFrom(onnx.numpy_helper.from_array(changed, constant.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.t.data_type == onnx.TensorProto.INT64:
                value = onnx.numpy_helper.to_array(attribute.t)
                if value.ndim == 1 and len(value) == 3 and value[0] == 1:
                    attribute.t.CopyFrom(onnx.numpy_helper.from_array(np.array([0, *value[1:]])))
    onnx.save(model, tmp_path / "free.onnx")
    dog = cv2.imread(str(REAL / "dog.jpg"))
    pictures = [dog, cv2.resize(dog, (360, 180)), dog[:, ::-1].copy()]
    free = Detector(str(tmp_path / "free.onnx"))
    assert free.free_batch
    together = free(pictures, score_threshold=0.1)
    single = Detector(str(REAL / "yolox_nano_coco.onnx"))
    same_boxes(together, [single([picture], score_threshold=0.1)[0] for picture in pictures])


def same_boxes(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second):
        assert one.label.tolist() == other.label.tolist()
        np.testing.assert_allclose(one.boxes, other.boxes, atol=0.01)
        np.testing.assert_allclose(one.score, other.score, atol=1e-4)


def pictures(count: int = 5) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [cv2.resize(rng.integers(0, 256, (6, 12, 3)).astype(np.uint8), (360, 180)) for _ in range(count)]


def test_batched_and_single_frame_paths_give_the_same_boxes():
    free, fixed = (Detector(str(ONNX / f"{name}.onnx")) for name in ("free", "fixed"))
    assert free.free_batch and not fixed.free_batch
    together = free(pictures())
    assert sum(len(found.score) for found in together) > 50
    same_boxes(together, fixed(pictures()))


def test_graphs_that_decode_give_the_same_boxes():
    plain, decoded = (Detector(str(ONNX / f"{name}.onnx")) for name in ("free", "decoded"))
    assert decoded.decoded and not plain.decoded
    same_boxes(plain(pictures()), decoded(pictures()))


def test_builtin_is_small_and_takes_batches():
    assert BUILTIN.stat().st_size <= 4_000_000
    detector = Detector("builtin")
    assert detector.free_batch and detector.classes == 1
    same_boxes(detector(pictures(3)), [detector([picture])[0] for picture in pictures(3)])


@pytest.mark.parametrize("name", ["identity", "vector"])
def test_an_onnx_file_that_is_no_yolox(name):
    with pytest.raises(InputError, match=f"{name}.onnx: is no YOLOX: (in|out)put"):
        Detector(str(ONNX / f"{name}.onnx"))


def test_files_that_are_no_onnx(tmp_path):
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(InputError, match="cannot be loaded as an onnx model"):
        Detector(str(tmp_path / "text.onnx"))
    with pytest.raises(InputError, match="no such file"):
        Detector(str(tmp_path / "missing.onnx"))
    with pytest.raises(InputError, match="no detector 'yolo'"):
        Detector("yolo")


def test_average_precision_by_hand():
    truth = [np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32), np.zeros((0, 4), np.float32)]

    def found(*boxes):
        return [
            Detections(np.array(boxes, np.float32), np.linspace(0.9, 0.5, len(boxes)), np.zeros(len(boxes), int)),
            Detections(np.zeros((0, 4), np.float32), np.zeros(0), np.zeros(0, int)),
        ]

    first, second, wrong = [0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]
    assert average_precision(found(first, second), truth) == 1
    assert average_precision(found(first, first, second), truth) == pytest.approx((1 + 2 / 3) / 2)  # a double is false
    assert average_precision(found(wrong, first), truth) == pytest.approx(0.25)
    assert average_precision(found(), truth) == 0
    assert np.isnan(average_precision(found(first), [np.zeros((0, 4)), np.zeros((0, 4))]))


def test_collages_stand_on_nobody_and_are_scored():
    rng = np.random.default_rng(0)
    people = np.array([[100, 60, 130, 140]], np.float32)
    photo = np.full((60, 30, 3), 255, np.uint8)
    blank = np.full((180, 360, 3), 60, np.uint8)
    picture, box = collage(blank, people, photo, 80, rng)
    assert box[3] - box[1] == 80 and box[2] - box[0] == 40 and not (box_iou(box[None], people) > 0).any()
    assert (picture[int(box[1]) + 1 : int(box[3]) - 1, int(box[0]) + 1 : int(box[2]) - 1] == 255).all()
    assert collage(blank, people, np.zeros((10, 90, 3), np.uint8), 120, rng) is None

    def perfect(pictures, **_):
        bright = np.argwhere(pictures[0].min(axis=2) > 250)
        low, high = bright.min(0), bright.max(0) + 1
        boxes = np.array([[low[1], low[0], high[1], high[0]], [0, 0, 5, 5]], np.float32)
        return [Detections(boxes, np.array([0.9, 0.5]), np.zeros(2, int))]

    score = score_collages(perfect, [blank], [people], [photo], height_px=40)
    assert (score.recall, score.false_per_frame, score.elsewhere_per_frame) == (1, 1, 1)
