"""bench/front_back.py: who takes front or back from the person that is seen is found out, with every kind of boxes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import front_back
from dataset.classes import STARSS23_CLASSES
from object_detection import ensure_boxes
from system.checkpoint import Checkpoint, StageState, save_checkpoint
from system.model import StageModel
from system.table import system_named
from tests.small_sets import make_set
from tests.tiny import tiny_root
from util.angles import direction_from_degrees
from util.boxes import read_boxes, write_boxes
from util.cli import run_main
from util.dialects import write_events
from util.events import EventTable
from util.microphone_arrays import ARRAYS

FRONT_DEG, BACK_DEG = 40.0, 140.0  # the same angle to the side
SETTINGS = {"bands": 16, "filters": [4, 4], "channels": 8, "layers": 0, "dropout": 0.0, "masks": 0, "hop_frames": 200}


def two_ears(path: Path, *, visual: bool) -> Path:
    """A checkpoint that always hears female speech at the left, in front as far as it hears, and looks who is there."""
    torch.manual_seed(0)
    (stage,) = system_named("avseld").stages
    model = StageModel(stage, SETTINGS, ARRAYS["binaural"], len(STARSS23_CLASSES), visual=visual)
    net = model.network
    with torch.no_grad():
        net.activity.weight.zero_()
        net.activity.bias.view(3, 13)[0, 0] = 5.0
        net.correction.weight.zero_()
        heard = torch.from_numpy(direction_from_degrees(np.array(FRONT_DEG), np.array(0.0))).float()
        net.correction.bias.view(3, 13, 3).copy_(heard.expand(3, 13, 3))
    states = {stage.name: StageState(SETTINGS, net.state_dict())}
    arguments = {"detector": "builtin", "sampling_frequency": 24000}
    content = Checkpoint(
        "avseld", ARRAYS["binaural"].to_dict(), list(STARSS23_CLASSES), visual, states, arguments=arguments
    )
    save_checkpoint(path, content)
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Two test recordings, of a woman in front, and of one behind who is seen only from the second half on."""
    root = tiny_root(tmp_path_factory.mktemp("data") / "data", formats=("binaural",), train=0, test=2, video=True)
    frames = np.arange(10, 30)
    labels, videos = (sorted(root.rglob(f"{kind}/*/*.{end}")) for kind, end in (("*", "csv"), ("video_dev", "mp4")))
    for number, (path, file) in enumerate(zip(labels, ensure_boxes(videos, "builtin", progress=False))):
        azimuth_deg = np.full(len(frames), (FRONT_DEG, BACK_DEG)[number])
        events = EventTable.make(
            frame=frames, class_index=0 * frames, azimuth_deg=azimuth_deg, elevation_deg=0.0 * frames
        )
        write_events(path, events, "starss23")
        track = read_boxes(file)
        boxes, x = track.boxes.copy(), 0.5 - azimuth_deg[0] / 360
        boxes[:, 0] = [x - 0.02, 0.3, x + 0.02, 0.8]
        if number:
            boxes[track.time_s < 1.95] = 0
        write_boxes(file, replace(track, boxes=boxes, score=boxes.any(axis=-1).astype(np.float32)))
    return root


def rows(capsys) -> dict[str, list[str]]:
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    return {line[0]: line[1:] for line in lines[2:]}


def test_the_person_that_is_seen_tells_front_from_back(root, tmp_path, capsys):
    checkpoint = two_ears(tmp_path / "looks.pth", visual=True)
    assert run_main(front_back.main, [str(checkpoint), "--data-root", str(root)]) == 0
    found = rows(capsys)
    labelled, all_of_them = "20 front, 20 back", "100.0 %"
    assert found["own"] == [labelled, all_of_them, "75.0 %", "100.0 %", "50.0 %", "75.0 %", "30", "100.0 %"]
    assert found["none"] == [labelled, all_of_them, "50.0 %", "100.0 %", "0.0 %", "50.0 %", "30", "66.7 %"]
    right_front = float(found["another clip's"][3].split()[0])  # whoever is shown behind is believed
    assert found["another clip's"][4] == "0.0 %" and right_front == 50.0
    assert sorted(tmp_path.iterdir()) == [checkpoint]


def test_who_does_not_look_is_asked_once(root, tmp_path, capsys):
    blind = two_ears(tmp_path / "hears.pth", visual=False)
    assert run_main(front_back.main, [str(blind), "--data-root", str(root)]) == 0
    (found,) = rows(capsys).items()
    assert found[0] == "audio only" and found[1][2:6] == ["50.0 %", "100.0 %", "0.0 %", "50.0 %"]


def test_pairs_are_made_by_the_side_alone_and_the_boundary_does_not_count():
    truth = EventTable.make(
        frame=[0, 0, 1, 2, 2], class_index=[0, 0, 0, 0, 1], azimuth_deg=[60, 170, 100, 20, 20], elevation_deg=[0] * 5
    )
    # in the first frame each at the side of one, on the wrong half; then one at the boundary, then one that is missed
    made = EventTable.make(
        frame=[0, 0, 1, 2], class_index=[0, 0, 0, 0], azimuth_deg=[12, 118, 80, 160], elevation_deg=[0] * 4
    )
    counts = front_back.counted(truth, made, {0: np.array([65.0, 115.0]), 2: np.array([25.0])})
    assert counts.labelled.tolist() == [3, 1] and counts.matched.tolist() == [2, 1]
    assert counts.right.tolist() == [0, 0] and (counts.seen, counts.seen_right) == (1, 0)


def test_what_cannot_be_asked_is_refused(root, tmp_path, capsys):
    checkpoint = two_ears(tmp_path / "looks.pth", visual=True)
    stereo = make_set(tmp_path / "stereo", "stereo2025", seconds=5.0)
    assert run_main(front_back.main, [str(checkpoint), "--data-root", str(stereo)]) == 2
    assert re.search(r"stereo: .*fold the back into the front", capsys.readouterr().err)
