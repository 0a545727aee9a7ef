"""The built-in detector: what it finds, and the parts that train it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detection.builtin import frames, train
from detection.builtin.augment import augmented, clutter, warp
from detection.builtin.loss import assign, decode, pair_iou, yolox_loss
from detection.builtin.network import CompactYolox
from detection.detector import Detector
from detection.evaluate import average_precision
from detection.yolox import anchor_points, box_iou
from simulation.picture.training import training_frames
from util.cli import run_main

ANCHORS = torch.from_numpy(anchor_points(64, 64))


@pytest.mark.slow
def test_it_finds_unseen_people_in_unseen_rooms():
    """The full measurement is in docs/vision.md; twelve frames of other seeds here."""
    detector = Detector("builtin")
    pictures, boxes = zip(*training_frames(910_000, 12, "test"))
    found = detector(list(pictures))
    assert average_precision(found, boxes) >= 0.7


def test_perfect_output_has_no_box_loss_and_is_assigned_to_its_cell():
    truth = torch.tensor([[10.0, 12.0, 30.0, 44.0]])
    raw = torch.zeros(1, len(ANCHORS), 6)
    raw[..., 4:] = -9.0
    cell = int(((ANCHORS[:, 0] == 2) & (ANCHORS[:, 1] == 3) & (ANCHORS[:, 2] == 8)).nonzero())
    raw[0, cell] = torch.tensor([20 / 8 - 2, 28 / 8 - 3, np.log(20 / 8), np.log(32 / 8), 9.0, 9.0])
    boxes = decode(raw[0], ANCHORS)
    torch.testing.assert_close(boxes[cell], truth[0])
    index, matched, iou = assign(raw[0], boxes, truth, ANCHORS)
    assert cell in index.tolist() and matched.tolist() == [0] * len(index)
    assert float(iou[index.tolist().index(cell)]) == pytest.approx(1, abs=1e-5)
    if len(index) == 1:
        assert float(yolox_loss(raw, [truth], ANCHORS)["box"]) < 1e-4


def test_every_box_is_answered_and_no_anchor_answers_twice():
    rng = torch.Generator().manual_seed(0)
    raw = torch.randn(len(ANCHORS), 6, generator=rng)
    truth = torch.tensor([[2.0, 2, 20, 40], [8, 4, 28, 44], [40, 30, 60, 62]])
    index, matched, iou = assign(raw, decode(raw, ANCHORS), truth, ANCHORS)
    assert len(set(index.tolist())) == len(index) == len(matched) == len(iou)
    assert 2 in matched.tolist() and set(matched.tolist()) & {0, 1}
    assert (iou >= 0).all() and (iou <= 1).all()


def test_overlap_is_that_of_the_evaluation():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 50, (2, 20, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 40, (2, 20, 2))], axis=-1)
    torch.testing.assert_close(
        pair_iou(torch.from_numpy(boxes[0])[:, None], torch.from_numpy(boxes[1])[None]).numpy(),
        box_iou(boxes[0], boxes[1]),
    )


def test_a_batch_without_anybody_teaches_silence_only():
    raw = torch.zeros(2, len(ANCHORS), 6, requires_grad=True)
    losses = yolox_loss(raw, [torch.zeros(0, 4), torch.zeros(0, 4)], ANCHORS)
    sum(losses.values()).backward()
    assert losses["box"] == losses["class"] == 0 and (raw.grad[..., 4] > 0).all() and not raw.grad[..., :4].any()


def test_boxes_move_with_the_picture():
    picture = np.zeros((180, 360, 3), np.uint8)
    picture[60:120, 150:180] = 255
    boxes = np.array([[150, 60, 180, 120]], np.float32)
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(30):
        out, moved = warp(picture, boxes, rng, 384, 192)
        assert out.shape == (192, 384, 3)
        bright = np.argwhere(out.min(axis=2) > 128)
        if len(moved) and len(bright):
            seen += 1
            low, high = bright.min(0), bright.max(0) + 1
            np.testing.assert_allclose(moved[0], [low[1], low[0], high[1], high[0]], atol=2.5)
    assert seen > 20


def test_clutter_covers_nobody_and_augmentation_keeps_the_form():
    rng = np.random.default_rng(1)
    picture = np.full((180, 360, 3), 50, np.uint8)
    boxes = np.array([[100, 60, 130, 140]], np.float32)
    out = clutter(picture, boxes, np.full_like(picture, 200), rng)
    assert (out == 200).any() and (out[60:140, 100:130] == 50).all()
    for _ in range(10):
        out, moved = augmented(picture, boxes, picture, rng, 384, 192)
        assert out.shape == (192, 384, 3) and out.dtype == np.uint8 and moved.dtype == np.float32
    assert augmented(picture, np.zeros((0, 4)), None, rng, 384, 192)[1].shape == (0, 4)


def test_network_has_the_shape_of_yolox_and_starts_silent():
    torch.manual_seed(0)
    network = CompactYolox(export=True).eval()
    with torch.no_grad():
        raw = network(torch.full((2, 3, 64, 96), 114.0))
    assert raw.shape == (2, len(anchor_points(96, 64)), 6)
    assert raw[..., 4].max() < 0.1


def test_training_runs_from_frames_to_a_detector(tmp_path, capsys):
    pytest.importorskip("onnx")  # needed for the export only
    picture = np.random.default_rng(0).integers(0, 255, (4, 180, 360, 3)).astype(np.uint8)
    np.save(tmp_path / "train_1.npy", picture)
    frames.write_json(tmp_path / "train_1.json", [[[50, 50, 80, 120]], [], [[9, 9, 40, 60]], [[1, 2, 30, 90]]])
    torch_threads = torch.get_num_threads()
    out = tmp_path / "small.onnx"
    arguments = [str(tmp_path), "--steps", "3", "--batch", "2", "--threads", "1", "--out", str(out)]
    try:
        assert train.main(arguments) == 0
    finally:
        torch.set_num_threads(torch_threads)
    assert "4 frames, 3 people" in capsys.readouterr().err
    detector = Detector(str(out))
    assert (detector.width, detector.height, detector.free_batch, detector.classes) == (384, 192, True, 1)
    assert out.stat().st_size <= train.LARGEST_BYTES
    assert run_main(train.main, [str(tmp_path / "nothing")]) == 2
    assert "has no training frames" in capsys.readouterr().err
