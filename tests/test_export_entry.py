"""An entry to the challenge that is made of an ONNX file is that of its checkpoint."""

from __future__ import annotations

import numpy as np
import pytest

import seld
from tests.small_sets import make_set
from util.cli import run_main
from util.dialects import read_events
from util.events import EventTable

pytest.importorskip("onnx", reason="the export needs onnx (requirements-export.txt)")
pytest.importorskip("onnxscript", reason="the export needs onnxscript (requirements-export.txt)")


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
