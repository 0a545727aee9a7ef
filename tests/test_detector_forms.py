"""Forms in which people export detectors: free size, 16 bits, more outputs, finished boxes, other classes."""

from __future__ import annotations

import logging
import pickle
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import object_detection
from detection.detector import Detector
from detection.onnx_size import with_size
from detection.quantise import main as quantise
from detection.videos import is_current
from detection.yolox import PERSON, box_iou, person_boxes
from tests.films import film
from tests.shared import SHARED, needs_shared
from tests.test_vision_yolox import ONNX, same_boxes
from util import text
from util.boxes import box_path, read_boxes
from util.cli import run_main
from util.errors import InputError


def pictures(count: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [cv2.resize(rng.integers(0, 256, (6, 12, 3)).astype(np.uint8), (360, 180)) for _ in range(count)]


def opened(name: str, **options) -> Detector:
    return Detector(str(ONNX / f"{name}.onnx"), device="cpu", **options)


def test_a_free_size_runs_at_a_default_or_as_asked():
    assert (opened("free_size").width, opened("free_size").height) == (416, 416)
    small = opened("free_size", size=(128, 64))
    assert (small.width, small.height) == (128, 64) and small.settings == {"input_size": [128, 64]}
    same_boxes(opened("free")(pictures()), small(pictures()))
    with pytest.raises(InputError, match="--detector-size 416x416: the model takes 128x64"):
        opened("free", size=(416, 416))


def test_a_declared_size_is_changed_where_the_network_takes_any(tmp_path):
    """As of YOLOX's own exports: convolutions, and a declaration that nothing but onnxruntime's check needs."""
    content = (ONNX / "free_size.onnx").read_bytes()
    declared = with_size(content, 128, 64)
    assert with_size(declared, 128, 64) == declared != content
    fixed = Detector("fixed.onnx", device="cpu", content=declared)
    assert (fixed.width, fixed.height, fixed.settings) == (128, 64, {})
    wide = Detector("fixed.onnx", device="cpu", content=declared, size=(416, 224))
    assert (wide.width, wide.height) == (416, 224) and wide.settings == {"input_size": [416, 224]}
    same_boxes(opened("free_size", size=(416, 224))(pictures()), wide(pictures()))
    sent = pickle.loads(pickle.dumps(wide))
    assert (sent.width, sent.height, sent.sha256) == (416, 224, fixed.sha256)
    for broken in (b"", b"\x3a\x05abc", content[: len(content) // 2], b"\x0b"):
        with pytest.raises(InputError, match="declares no size of pictures"):
            with_size(broken, 128, 64)


def person_at(height_px: int = 120) -> np.ndarray:
    """A photograph of a person on grey."""
    photo = cv2.imread(str(sorted((SHARED / "real" / "person_images").glob("photo*.jpg"))[0]))
    small = cv2.resize(photo, (photo.shape[1] * height_px // photo.shape[0], height_px))
    picture = np.full((180, 360, 3), 90, np.uint8)
    picture[40 : 40 + height_px, 100 : 100 + small.shape[1]] = small
    return picture


REAL = str(SHARED / "real" / "yolox" / "yolox_nano_coco.onnx")


@needs_shared
def test_real_weights_need_little_of_the_grey_below_a_picture():
    """416x224 holds 360x180: another padding, nearly the same people (docs/vision.md has the average precision)."""
    square, wide = Detector(REAL, device="cpu"), Detector(REAL, device="cpu", size=(416, 224))
    one, other = (detector([person_at()], score_threshold=0.3)[0] for detector in (square, wide))
    assert len(one.score) and one.label[0] == other.label[0] == PERSON
    assert abs(one.score[0] - other.score[0]) < 0.1 and np.abs(one.boxes[0] - other.boxes[0]).max() < 5


@needs_shared
def test_real_weights_in_eight_bits_find_the_same_person(tmp_path):
    pytest.importorskip("onnx", reason="no onnx: pip install -r requirements-export.txt -c constraints.txt")
    video, out = tmp_path / "a.mp4", tmp_path / "small.onnx"
    film(video, [0.0, 0.1], picture=lambda index: person_at(100 + 20 * index))
    assert run_main(quantise, [REAL, str(out), "--video", str(video), "--pictures", "2"]) == 0
    small = Detector(str(out), device="cpu")
    assert b"QuantizeLinear" in out.read_bytes() and out.stat().st_size < Path(REAL).stat().st_size / 2
    one, other = (detector([person_at()], score_threshold=0.3)[0] for detector in (Detector(REAL), small))
    assert other.label[0] == PERSON and abs(one.score[0] - other.score[0]) < 0.2
    assert box_iou(one.boxes[:1], other.boxes[:1])[0, 0] > 0.7
    assert logging.getLogger().level < logging.ERROR  # remarks are heard again


def test_eight_bits_need_a_package_that_is_named_with_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    film(tmp_path / "a.mp4", [0.0, 0.1])
    flags = [str(ONNX / "free.onnx"), str(tmp_path / "small.onnx"), "--video", str(tmp_path / "a.mp4")]
    assert run_main(quantise, flags) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "needs the package onnx" in line and line.endswith("-r requirements-export.txt -c constraints.txt")


def test_sixteen_bits_and_further_outputs_are_no_matter():
    plain = opened("free")(pictures())
    same_boxes(plain, opened("second_output")(pictures()))
    for one, other in zip(plain, opened("half")(pictures())):
        assert abs(len(one.score) - len(other.score)) <= 3
        assert np.abs(np.sort(one.score)[-20:] - np.sort(other.score)[-20:]).max() < 0.01


@pytest.mark.parametrize("name", ["dets_labels", "boxes_scores_labels"])
def test_finished_boxes_with_scores_and_labels(name):
    detector = opened(name, person_class=1)
    assert detector.finished is not None and not detector.free_batch
    white, dark = detector([np.full((32, 64, 3), 255, np.uint8), np.full((32, 64, 3), 51, np.uint8)])
    np.testing.assert_allclose(white.boxes, [[8, 4, 16, 20], [32, 8, 48, 24]], atol=1e-4)  # half of the input's pixels
    np.testing.assert_allclose(white.score, [1, 0.5], atol=1e-3)
    assert white.label.tolist() == [PERSON, 1]
    boxes, score = person_boxes(white, 64, 32)
    assert (score > 0).sum() == 1
    np.testing.assert_allclose(boxes[0], [8 / 64, 4 / 32, 16 / 64, 20 / 32], atol=1e-6)
    assert person_boxes(dark, 64, 32)[1][0] == pytest.approx(0.2, abs=0.01)
    assert opened(name)([np.full((32, 64, 3), 255, np.uint8)])[0].label.tolist() == [1, PERSON]


def people(detector: Detector) -> int:
    return sum(int((person_boxes(found, 360, 180)[1] > 0).sum()) for found in detector(pictures()))


def test_the_class_of_people_is_asked_for_named_or_said_to_be_unknown(caplog, monkeypatch):
    due = people(opened("free"))
    assert due > 5
    monkeypatch.setattr(text, "_said", set())
    with caplog.at_level(logging.WARNING):
        assert people(opened("two_classes", person_class=1)) == people(opened("named_classes")) == due
        assert not caplog.records
        assert people(opened("two_classes")) == 0
    (said,) = [record.getMessage() for record in caplog.records]
    assert "2 classes: number 0 is taken for people (--person-class N names another)" in said
    with pytest.raises(InputError, match="--person-class 2: the model has 2 classes"):
        opened("two_classes", person_class=2)


def test_what_is_no_detector_says_how_to_export_it():
    for name in ("identity", "vector"):
        with pytest.raises(InputError, match=r"tools/export_onnx\.py.*boxes .*scores and labels"):
            opened(name)


def test_boxes_of_another_class_are_made_anew(tmp_path):
    path = film(tmp_path / "a.mp4", [0.0, 0.1], picture=lambda _: pictures(1)[0])
    model = str(ONNX / "two_classes.onnx")
    for asked, found in ((0, False), (1, True)):
        command = [str(path), "--detector", model, "--person-class", str(asked), "--device", "cpu", "--quiet"]
        assert object_detection.main(command) == 0
        track = read_boxes(box_path(path, model))
        assert bool(track.boxes.any()) == found and track.meta["person_class"] == asked
    boxes = box_path(Path(path), model)
    assert is_current(boxes, path, opened("two_classes", person_class=1), 10.0)
    assert not is_current(boxes, path, opened("two_classes", person_class=0), 10.0)
