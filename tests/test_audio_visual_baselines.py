"""The DCASE baselines of 2024 and 2025 with pictures, at the command line: train, choose, score, infer."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import seld
from dataset.recordings import Recording
from dataset.seen import RESNET50
from detection.resnet50 import Backbone
from seld_predictor import load
from system.table import system_named
from tests.exports import exporter_is_there
from tests.small_sets import make_set
from tests.tiny import tiny_video
from util.cli import run_main
from util.looks import read_looks

SYSTEMS = {"seldnet2024_audio_visual": ("dcase2024", 5.6), "seldnet2025_audio_visual": ("stereo2025", 5.0)}


@pytest.fixture
def glance(monkeypatch, tmp_path) -> Path:
    """A file of weights; in place of ResNet-50, which `test_looks.py` runs, the picture itself at 7 x 7."""
    path = tmp_path / "glance.pth"
    torch.save({}, path)

    def opened(self: Backbone, name: str, **_: object) -> None:
        self.path, self.label, self.crops = Path(name), Path(name).stem, False

    def look(self: Backbone, pictures: list[np.ndarray]) -> np.ndarray:
        small = [cv2.resize(picture[..., 0], (7, 7), interpolation=cv2.INTER_AREA) for picture in pictures]
        return np.stack(small).astype(np.float32) / 255

    monkeypatch.setattr(Backbone, "__init__", opened)
    monkeypatch.setattr(Backbone, "look", look)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_audio_visual_baseline_trains_scores_and_infers(name, glance, tmp_path, capsys):
    layout, seconds = SYSTEMS[name]
    root = make_set(tmp_path / "data", layout, formats=None if "2025" in name else ("foa",), seconds=seconds)
    sounds = sorted(path for folder in ("foa_dev", "stereo_dev") for path in (root / folder).rglob("*.wav"))
    for sound in sounds:
        inside = sound.relative_to(root)
        tiny_video(root / "video_dev" / Path(*inside.parts[1:]).with_suffix(".mp4"), seconds)
    flags = ["--data-root", str(root), "-b", "2", "--epochs", "1", "--device", "cpu", "--detector", str(glance)]
    assert run_main(seld.main, ["-train", "-val", "--system", name, *flags]) == 0
    assert len(list(root.rglob("*.looks-glance.npz"))) == len(sounds)
    track = read_looks(next(root.rglob("*.looks-glance.npz")))
    assert track.values.shape == (round(10 * seconds), 7, 7) and 0.3 < track.values.mean() < 0.4  # grey of 90 / 255
    (run,) = (root / "model_monitor").glob("*")
    (result,) = run.glob("result_*.txt")
    assert "ResNet-50 features" in result.read_text() and "glance.pth" in result.read_text()

    sound = sounds[-1]
    video = next((root / "video_dev").rglob(f"{sound.stem}.mp4"))
    command = ["-infer", str(sound), str(video), "-em", str(run), "--player", "never", "--threshold-config"]
    presence = {"threshold_presence": [0.001] * 13, "threshold_unification": 15}
    (tmp_path / "t.json").write_text(json.dumps(presence))
    assert run_main(seld.main, [*command, str(tmp_path / "t.json"), "--out", str(tmp_path / "seen")]) == 0
    blind = [*command, str(tmp_path / "t.json"), "--no-video", "--out", str(tmp_path / "blind")]
    assert run_main(seld.main, blind) == 0
    raw, unseen = (np.load(tmp_path / f"{out}/{sound.stem}.npy") for out in ("seen", "blind"))
    assert raw.shape == unseen.shape and np.abs(raw - unseen).max() > 1e-5  # it looks
    about = json.loads((tmp_path / f"seen/{sound.stem}.json").read_text())
    assert about["boxes"] == "own" and about["detector"].endswith("glance.pth")
    if "2025" in name:
        (csv,) = (tmp_path / "seen").glob("*.csv")
        header, *rows = csv.read_text().splitlines()
        assert header.endswith("distance,onscreen") and {row.rsplit(",", 1)[1] for row in rows} <= {"0", "1"}
    if exporter_is_there():
        graph = ["-export", str(run), "--out", str(tmp_path / "model.onnx")]
        assert run_main(seld.main, graph) == 0
        command[command.index(str(run))] = str(tmp_path / "model.onnx")
        flags_seen = ["--detector", str(glance), "--out", str(tmp_path / "graph")]
        assert run_main(seld.main, [*command, str(tmp_path / "t.json"), *flags_seen]) == 0
        np.testing.assert_allclose(np.load(tmp_path / f"graph/{sound.stem}.npy"), raw, atol=1e-4)
    assert run_main(seld.main, ["-infer", str(sound), "-em", str(run), "--stream"]) == 2
    assert run_main(seld.main, ["-train", "-val", "--system", name, *flags, "--augment", "acs"]) == 2
    assert "cannot be turned with the sound" in capsys.readouterr().err

    inference = load(run, device="cpu")
    heard = Recording("a", sound, None, None, inference.model.array, round(seconds * 24000), 24000)
    assert np.array_equal(RESNET50.nothing(heard, np.zeros(2)), np.zeros((2, 7, 7)))
    waveform = np.random.default_rng(0).standard_normal((inference.model.array.channels, 24000)) * 0.1
    pairs = [(index / 10, np.full((32, 64, 3), 200, np.uint8)) for index in range(10)]
    inference(waveform, 24000, frames=pairs)


def test_rows_say_what_is_seen():
    assert system_named("seldnet2024_audio_visual").producer is RESNET50
    assert system_named("seldnet2024").producer is None and system_named("crnn").producer.name == "boxes"
