"""python -m dataset extract: files hold what training computes, standardised and in the published order of columns."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import torch

from dataset.__main__ import main
from feature.magnitude_phase import SELDNET2019, MagnitudePhase
from simulation.tut_tau.settings import SetSettings
from simulation.tut_tau.writer import write_set
from system.presets import presets
from system.seldnet2020 import audio_feature
from tests.small_sets import make_set
from util.angles import direction_from_degrees
from util.cli import run_main
from util.dialects import read_events
from util.interval_csv import read_intervals


@pytest.fixture(scope="module")
def tau(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets") / "tau"
    write_set(root, SetSettings.of("tau2019", seconds=3.0, train=1, formats=("foa",)), progress=False)
    return root


@pytest.mark.slow
def test_files_hold_standardised_features_and_labels(tau, tmp_path, capsys):
    out = tmp_path / "features"
    flags = ["extract", "--data-root", str(tau), "--out", str(out)]
    assert run_main(main, [*flags, "--workers", "1"]) == 0
    sounds = sorted((tau / "foa_dev").glob("*.wav"))
    rows = {path.stem: np.load(out / "foa_dev_norm" / f"{path.stem}.npy") for path in sounds}
    assert len(rows) == 4 and {one.shape for one in rows.values()} == {(150, 8192)}
    together = np.concatenate(list(rows.values())).astype(np.float64)
    # statistics over the development set, as published: every column has mean 0 and deviation 1
    np.testing.assert_allclose(together.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(together.std(axis=0), 1, atol=1e-3)

    feature = MagnitudePhase(4, **SELDNET2019)
    waveform = torch.from_numpy(soundfile.read(sounds[0], dtype="float32")[0].T.copy())[None]
    raw = feature.columns(feature.clip(waveform, 150))[0].double().numpy()
    stored = np.load(out / "foa_wts.npz")
    mean, scale = (feature.columns(torch.from_numpy(stored[name])[None, :, None])[0, 0] for name in ("mean", "scale"))
    expected = (raw - mean.numpy()) / scale.numpy()
    np.testing.assert_allclose(rows[sounds[0].stem], expected, atol=2e-5)

    labels = np.load(out / "foa_dev_label" / f"{sounds[0].stem}.npy")
    about = json.loads((out / "extract.json").read_text())
    table = read_intervals(tau / "metadata_dev" / f"{sounds[0].stem}.csv", "tau2019", about["classes"])
    assert labels.shape == (150, 33) and len(table)
    for event in range(len(table)):
        frame, index = int((table.start_s[event] + table.end_s[event]) / 2 * 50), table.class_index[event]
        assert labels[frame, index] == 1
        assert labels[frame, 11 + index] == table.azimuth_deg[event]
        assert labels[frame, 22 + index] == table.elevation_deg[event]

    # again: nothing is made anew; what is missing is made as it was
    lost = [out / kind / f"{sounds[one].stem}.npy" for one in (1, 2) for kind in ("foa_dev_label", "foa_dev_norm")]
    before = [path.read_bytes() for path in lost]
    stamp = (out / "foa_dev_norm" / f"{sounds[0].stem}.npy").stat().st_mtime_ns
    for path in lost:
        path.unlink()
    capsys.readouterr()
    assert run_main(main, [*flags, "--workers", "2"]) == 0
    assert "2 of 4 recordings are there already" in capsys.readouterr().out
    assert [path.read_bytes() for path in lost] == before
    assert (out / "foa_dev_norm" / f"{sounds[0].stem}.npy").stat().st_mtime_ns == stamp


def test_statistics_of_the_training_recordings(tau, tmp_path):
    out = tmp_path / "features"
    flags = ["--data-root", str(tau), "--out", str(out), "--workers", "1"]
    flags += ["--statistics", "train", "--system", "seldnet2019_gru"]
    assert run_main(main, ["extract", *flags]) == 0
    trained = json.loads((out / "extract.json").read_text())["trained_on"]
    assert trained and all(name.startswith(("split3", "split4")) for name in trained)
    rows = np.concatenate([np.load(out / "foa_dev_norm" / f"{name}.npy") for name in trained])
    assert rows.shape[1] == 7 * 64
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-4)


@pytest.mark.parametrize("system", ["seldnet2020", "seldnet2021"])
def test_sets_of_2020_and_2021(system, tmp_path):
    """Columns as their programs store them: plane by plane in 2021, band by band in each block in 2020; vectors."""
    root = make_set(tmp_path / "set", f"nigens{system[-4:]}", formats=("mic",), train=1, test=0, seconds=2.0)
    out = tmp_path / "features"
    flags = ["--system", system, "--format", "mic", "--data-root", str(root), "--out", str(out), "--workers", "1"]
    assert run_main(main, ["extract", *flags]) == 0
    sounds = sorted((root / "mic_dev").rglob("*.wav"))
    rows = {path.stem: np.load(out / "mic_dev_norm" / f"{path.stem}.npy") for path in sounds}
    assert len(rows) == 6 and {one.shape for one in rows.values()} == {(100, 640)}
    together = np.concatenate(list(rows.values())).astype(np.float64)
    np.testing.assert_allclose(together.mean(axis=0), 0, atol=1e-3)

    settings = {**presets()[system].settings, "feature": "logmel_gcc", "layout": "paper"}
    waveform, _ = soundfile.read(sounds[0], dtype="float32")
    planes = audio_feature(settings, 4).clip(torch.from_numpy(waveform.T.copy())[None], 100)[0].double()  # (10, T, 64)
    if system == "seldnet2020":
        row = torch.cat([part.permute(1, 2, 0).flatten(1) for part in (planes[:4], planes[4:])], dim=1)
    else:
        row = planes.transpose(0, 1).flatten(1)
    stored = np.load(out / "mic_wts.npz")
    rearranged = audio_feature({**settings, "layout": presets()[system].settings["layout"]}, 4)
    mean, scale = (rearranged.columns(torch.from_numpy(stored[key])[None, :, None])[0, 0] for key in ("mean", "scale"))
    expected = ((row - mean) / scale).numpy()
    np.testing.assert_allclose(rows[sounds[0].stem], expected, atol=2e-2)  # single precision of what is stored

    classes = json.loads((out / "extract.json").read_text())["classes"]
    count = len(classes)
    labels = np.load(out / "mic_dev_label" / f"{sounds[0].stem}.npy")
    assert labels.shape == (20, 4 * count)
    events = read_events(next((root / "metadata_dev").rglob(f"{sounds[0].stem}.csv")), "starss22")
    active = {(frame, index) for frame, index in zip(events.frame.tolist(), events.class_index.tolist()) if frame < 20}
    assert active and set(zip(*np.nonzero(labels[:, :count]))) == active
    vectors = labels[:, count:].reshape(20, 3, count).transpose(0, 2, 1)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=2), labels[:, :count], atol=1e-6)
    last = len(events) - 1
    direction = direction_from_degrees(events.azimuth_deg[last], events.elevation_deg[last])
    np.testing.assert_allclose(vectors[events.frame[last], events.class_index[last]], direction, atol=1e-6)


def test_bad_input(tau, tmp_path, capsys):
    def refused(*flags: str, word: str) -> None:
        capsys.readouterr()
        assert run_main(main, ["extract", *flags]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error: ") and word in error, error

    out = str(tmp_path / "out")
    refused("--data-root", str(tmp_path / "none"), "--out", out, word="no such data root")
    refused("--data-root", str(tau), "--out", str(tau), word="holds something else")
    refused("--data-root", str(tau), "--out", out, "--format", "mic", word="mic")
    refused("--data-root", str(tau), "--out", out, "--workers", "0", word="--workers must")
    assert run_main(main, ["extract", "--data-root", str(tau), "--out", out, "--workers", "1"]) == 0
    refused("--data-root", str(tau), "--out", out, "--set", "layout=paper", word="made otherwise (settings differ)")
