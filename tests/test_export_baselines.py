"""ONNX files of the baselines of 2020 to 2025: the raw output of their checkpoints, on a simulated scene; entries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import seld
import simulation.__main__ as simulation
from tests.exports import untrained_system
from tests.small_sets import make_set
from util.cli import run_main
from util.dialects import read_events
from util.events import EventTable

pytest.importorskip("onnx", reason="the export needs onnx (requirements-export.txt)")
pytest.importorskip("onnxscript", reason="the export needs onnxscript (requirements-export.txt)")

SMALL = {"filters": [8, 8, 8], "rnn_units": [8, 8], "dense": [8]}
GRAPHS = {  # every feature, output and network of the task ids
    "2020": ("seldnet2020", "mic", SMALL),
    "2021": ("seldnet2021", "foa", SMALL),
    "2022 ACCDOA": ("seldnet2022", "foa", {"output": "accdoa"}),
    "2022 SALSA-lite": ("seldnet2022", "mic", {"feature": "mic_salsa"}),
    "2023 GCC": ("seldnet2023", "mic", {}),
    "2024": ("seldnet2024", "foa", {}),
    "2025": ("seldnet2025", "stereo", {}),
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> dict[str, Path]:
    """A simulated scene of 6.4 s by array; of its Ambisonics left is W + Y, right W - Y."""
    root = tmp_path_factory.mktemp("scene") / "set"
    how = ["--train", "1", "--test", "0", "--seconds", "6.4", "--no-video", "--quiet", "--workers", "1"]
    assert run_main(simulation.main, ["--out", str(root), "--formats", "foa,mic", *how]) == 0
    found = {name: next((root / f"{name}_dev").rglob("*.wav")) for name in ("foa", "mic")}
    waveform, rate_hz = soundfile.read(found["foa"], dtype="float32")
    found["stereo"] = root.with_name("stereo.wav")
    soundfile.write(found["stereo"], waveform[:, :1] + waveform[:, 1:2] * [1, -1], rate_hz, subtype="FLOAT")
    return found


def raw_of(sound: Path, model: Path, out: Path) -> np.ndarray:
    command = ["-infer", str(sound), "-em", str(model), "--player", "never", "--device", "cpu", "--out", str(out)]
    assert run_main(seld.main, command) == 0
    return np.load(out / f"{sound.stem}.npy")


@pytest.mark.slow
@pytest.mark.parametrize("name", GRAPHS)
def test_graph_gives_the_raw_output_of_a_simulated_scene(name, scene, tmp_path):
    system, array, settings = GRAPHS[name]
    checkpoint = untrained_system(tmp_path / "model.pth", system, array=array, settings=settings)
    graph = checkpoint.with_suffix(".onnx")
    assert run_main(seld.main, ["-export", str(checkpoint), "--out", str(graph)]) == 0
    due, made = (raw_of(scene[array], path, tmp_path / path.suffix[1:]) for path in (checkpoint, graph))
    assert made.shape == due.shape and made.shape[-1] == 64 and np.std(due) > 1e-3
    np.testing.assert_allclose(made, due, atol=1e-4)


@pytest.mark.slow
def test_an_entry_is_made_of_a_graph(tmp_path, capsys):
    root = make_set(tmp_path / "data", "stereo2025", train=2, test=1, seconds=5.0)
    flags = ["--system", "seldnet2025", "2", "entered", "--data-root", str(root), "-b", "2", "--epochs", "1"]
    assert run_main(seld.main, [*flags, "--device", "cpu"]) == 0
    (run,) = (root / "model_monitor").glob("*")
    assert run_main(seld.main, ["-export", str(run), "--out", str(tmp_path / "model.onnx")]) == 0
    sounds = [str(path) for path in (root / "stereo_dev" / "dev-test-sony").glob("*.wav")]
    (tmp_path / "evaluation.txt").write_text("".join(f"{path}\n" for path in sounds))
    listed = ["--edition", "2025", "--data-root", str(root), "-evalwt", str(tmp_path / "evaluation.txt")]
    entries: list[EventTable] = []
    for model in (run, tmp_path / "model.onnx"):
        out = tmp_path / f"entry_{model.suffix[1:]}"
        assert run_main(seld.main, ["-submit", "-em", str(model), *listed, "--out", str(out), "--device", "cpu"]) == 0
        (csv,) = out.rglob("*.csv")
        entries.append(read_events(csv, "dcase2025", class_count=13))
        capsys.readouterr()
        check = ["-check-submission", str(out), *listed]
        assert run_main(seld.main, check) == 1 and "to fill in" in capsys.readouterr().out  # nothing else is wrong
    due, made = entries
    assert len(due) == len(made) > 0 and np.array_equal(due.class_index, made.class_index)
    np.testing.assert_allclose(made.azimuth_deg, due.azimuth_deg, atol=1)  # whole degrees
    np.testing.assert_allclose(made.distance_m, due.distance_m, atol=0.011)
