"""ONNX files of the general network: every kind of module and the alignment, whole systems, histograms made outside."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import seld
from feature.histogram import SingleSourceHistogram
from system.exported import read_metadata
from tests.checkpoints import bursts
from tests.exports import CLASSES, untrained_system
from util.audio import write_audio
from util.cli import run_main

DOCS = Path(__file__).parents[1] / "docs/general_network.md"
SMALL = {"width": 0.1, "align_units": 8}
# system and array -> the files that it becomes, and the channels that each hears
SYSTEMS = {
    ("general:sed_t:doa_hist", "foa"): {"sed": 4, "azi": 91, "ele": 91, "align": len(CLASSES) + 91},
    ("general_doa_iv", "foa"): {"": 4},
    ("general_sed_l6f64", "mic"): {"": 4},
}


def name_of(system: str) -> str:
    return system.replace(":", "_")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """Untrained checkpoints and their exports, and a recording of 2.2 s."""
    pytest.importorskip("onnx", reason="the export needs onnx (requirements-export.txt)")
    pytest.importorskip("onnxscript", reason="the export needs onnxscript (requirements-export.txt)")
    folder = tmp_path_factory.mktemp("exported")
    for system, array in SYSTEMS:
        name = name_of(system)
        untrained_system(folder / f"{name}.pth", system, array=array, settings=SMALL)
        command = ["-export", str(folder / f"{name}.pth"), "--out", str(folder / f"{name}.onnx")]
        assert run_main(seld.main, command) == 0
    write_audio(folder / "recording.wav", bursts(2.2, rate_hz=24000), 24000)
    return folder


def raw_of(folder: Path, model: str, out: Path, array: str) -> np.ndarray:
    command = ["-infer", str(folder / "recording.wav"), "-em", str(folder / model), "--format", array]
    assert run_main(seld.main, [*command, "--player", "never", "--out", str(out), "--device", "cpu"]) == 0
    return np.load(out / "recording.npy")


@pytest.mark.slow
@pytest.mark.parametrize(("system", "array"), SYSTEMS)
def test_modules_and_alignment_give_the_same_raw_output(system, array, exported, tmp_path):
    due = raw_of(exported, f"{name_of(system)}.pth", tmp_path / "weights", array)
    files = SYSTEMS[system, array]
    for stage, channels in files.items():
        file = f"{name_of(system)}{'_' * bool(stage)}{stage}.onnx"
        assert read_metadata(exported / file)["window_plan"]["channels"] == channels
        if stage in ("", "align"):
            made = raw_of(exported, file, tmp_path / "graph", array)
            assert made.shape == due.shape and due.std() > 1e-3
            np.testing.assert_allclose(made, due, atol=1e-4)
    if "align" in files:
        assert read_metadata(exported / f"{name_of(system)}_align.onnx")["takes"] == ["sed", "azi", "ele"]


@pytest.mark.slow
def test_example_of_the_docs_makes_histograms_outside_and_gives_the_same(exported, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    name = name_of("general:sed_t:doa_hist")
    due = raw_of(exported, f"{name}.pth", tmp_path / "weights", "foa")
    monkeypatch.chdir(tmp_path)
    for stage in ("sed", "azi", "ele", "align"):
        (tmp_path / f"model_{stage}.onnx").write_bytes((exported / f"{name}_{stage}.onnx").read_bytes())
    (tmp_path / "recording.wav").write_bytes((exported / "recording.wav").read_bytes())
    known: dict = {}
    exec(compile(code, str(DOCS), "exec"), known)
    sound, _ = soundfile.read(exported / "recording.wav", dtype="float32", always_2d=True)
    votes = SingleSourceHistogram().whole(torch.from_numpy(sound.T)[None])[0, 0]
    assert votes.sum() > 100 and np.abs(known["votes"].T - votes.numpy()).sum() < 0.02 * votes.sum()
    made = known["raw"]
    assert made.shape[:-1] == due.shape[:-1] == (4, len(CLASSES)) and 0 <= made.shape[-1] - due.shape[-1] <= 2
    np.testing.assert_allclose(made[..., : due.shape[-1]], due, atol=2e-3)  # of a bin that changes sides by rounding


def test_what_has_no_network_is_refused(tmp_path, capsys):
    pytest.importorskip("onnx", reason="the export needs onnx (requirements-export.txt)")
    pytest.importorskip("onnxscript", reason="the export needs onnxscript (requirements-export.txt)")
    untrained_system(tmp_path / "histogram.pth", "general_histogram")
    assert run_main(seld.main, ["-export", str(tmp_path / "histogram.pth"), "--out", str(tmp_path / "m.onnx")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "general_histogram has no network: there is nothing to export" in line
    assert not list(tmp_path.glob("*.onnx"))
