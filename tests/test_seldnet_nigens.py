"""The DCASE baselines of 2020 and 2021 through the command line: every task id, on small data roots of noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import npy2csv
import seld
from report.__main__ import main as report
from seld_predictor import load
from system.checkpoint import load_checkpoint
from system.presets import presets
from tests.small_sets import make_set
from util.cli import run_main
from util.dialects import read_events
from util.runs import checkpoints_of, result_checkpoint

SMALL = ["sequence_frames=50", "filters=4,4,4", "rnn_units=8,8", "dense=8"]
TINY = [word for change in SMALL for word in ("--set", change)] + ["-b", "2", "--device", "cpu"]
SETS = {"seldnet2020": "nigens2020", "seldnet2021": "nigens2021"}
FOLDS = {  # trained on, chosen by, tested ("": the evaluation set)
    ("seldnet2020", "dev"): ("3456", "2", "1"),
    ("seldnet2020", "eval"): ("23456", "1", ""),
    ("seldnet2021", "dev"): ("1234", "5", "6"),
    ("seldnet2021", "eval"): ("12345", "6", ""),
}
TASKS = {"1": ("foa", "dev"), "2": ("mic", "dev"), "3": ("mic", "eval"), "4": ("foa", "dev"), "5": ("foa", "eval")}


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sets")
    return {system: make_set(folder / name, name, train=1, test=2, seconds=2.0) for system, name in SETS.items()}


def run(root: Path, *flags: str) -> Path:
    """Train; the run folder."""
    monitor = root / "model_monitor"
    before = set(monitor.glob("*"))
    assert run_main(seld.main, [*flags, "--data-root", str(root), *TINY]) == 0
    (made,) = set(monitor.glob("*")) - before
    return made


def folds(names: list[str]) -> str:
    return "".join(sorted({name[4] for name in names if name.startswith("fold")}))


@pytest.mark.parametrize("task", [*TASKS, "999"])
@pytest.mark.parametrize("system", SETS)
def test_every_task_trains_chooses_and_scores(system: str, task: str, roots, capsys) -> None:
    root, (form, mode) = roots[system], TASKS.get(task, ("foa", "dev"))
    few = [] if task == "999" else ["--epochs", "1", "--passes-per-epoch", "1"]
    made = run(root, "--system", system, task, "7", *few)
    split = 0 if mode == "eval" else FOLDS[system, mode][2]
    assert made.name == f"{task}_7_{form}_{mode}_split{split}"  # without the blank and brackets of the reference
    content = load_checkpoint(result_checkpoint(made))
    trained, chosen, tested = FOLDS[system, mode]
    assert folds(content.recordings["train"]) == trained and folds(content.recordings["selection"]) == chosen
    (csv_dir,) = made.glob("pred_n*")
    names = [path.stem for path in csv_dir.glob("*.csv")]
    assert folds(names) == tested and len(names) == (1 if tested else 2)
    assert tested or all(name.startswith("mix") for name in names)
    history = [json.loads(line) for line in (made / "history.jsonl").read_text().splitlines()]
    assert len(history) == (2 if task == "999" else 1) and len(checkpoints_of(made)) <= 2
    chosen_by = json.loads((made / "selected.json").read_text())
    assert chosen_by["SELD_error"] == min(line["SELD_error"] for line in history)
    assert list(made.glob("events.out.tfevents*"))
    (result,) = made.glob("result_*.txt")
    text = result.read_text()
    assert text.startswith("SELD scores\nAll\tER\tF\tLE\tLR\tSELD_error\n")
    year = system[-4:]
    assert f"metrics edition {year}" in text and f"the list nigens{year}_{form}_split{split}_val" in text
    raw = np.load(next(next(made.glob("raw_*")).glob("*.npy")))
    assert raw.shape == ((4, 14, 20) if year == "2020" else (3, 12, 20))


@pytest.mark.parametrize("system", SETS)
def test_infer_eval_report_csv_and_entry(system: str, roots, tmp_path, monkeypatch, capsys) -> None:
    root = roots[system]
    made = run(
        root, "--system", system, "4", "files", "--epochs", "2", "--passes-per-epoch", "1", "--set", "edges=zeros"
    )
    (result,), (raw_dir,), (csv_dir,) = made.glob("result_*"), made.glob("raw_*"), made.glob("pred_n*")
    before = result.read_text().splitlines()[:3]
    assert run_main(seld.main, ["-eval", "-em", str(made), "--device", "cpu", "-b", "1"]) == 0
    assert result.read_text().splitlines()[:3] == before

    # polar rows for scoring, and the rows that the reference writes
    about = json.loads(next(raw_dir.glob("*.json")).read_text())
    for name, flags in (("polar", []), ("vectors", ["--vectors"])):
        assert run_main(npy2csv.main, [str(raw_dir), "--out", str(tmp_path / name), *flags]) == 0
    for path in csv_dir.glob("*.csv"):
        assert path.read_bytes() == (tmp_path / "polar" / path.name).read_bytes()
        rows = (tmp_path / "vectors" / path.name).read_text().splitlines()
        polar = read_events(path, "dcase2023")
        assert [row.split(",")[:3] for row in rows] == [
            [str(frame), str(index), "0"] for frame, index in zip(polar.frame, polar.class_index)
        ]
    assert about["format"] == ("sed_vector" if system == "seldnet2020" else "accdoa")
    assert run_main(report, [str(made)]) == 0
    assert f"Scores of DCASE {system[-4:]}" in (made / "report.html").read_text()

    sound = next((root / "foa_eval").rglob("*.wav"))
    flags = ["-infer", str(sound), "-em", str(made), "--device", "cpu", "--out", str(tmp_path / "out")]
    assert run_main(seld.main, flags) == 0
    assert json.loads((tmp_path / "out" / "events.json").read_text())["frame_s"] == pytest.approx(0.1)
    inference = load(made, device="cpu")
    table = inference(0.1 * np.random.default_rng(0).standard_normal((4, 27000)).astype(np.float32), 24000)
    assert len(table) == 0 or table.frame.max() < 12  # the twelfth label frame has begun
    capsys.readouterr()
    assert run_main(seld.main, ["-infer", str(sound), "-em", str(made), "--stream"]) == 2
    assert "whole recording" in capsys.readouterr().err

    monkeypatch.chdir(tmp_path)
    entry = ["--edition", system[-4:], "--data-root", str(root)]
    low = tmp_path / "low.json"
    low.write_text(json.dumps({"threshold_presence": [0.0] * len(about["classes"]), "threshold_unification": 15.0}))
    label = "Muster_TU_task3_1"
    options = ["--label", label, "--threshold-config", str(low), "--device", "cpu"]
    assert run_main(seld.main, ["-submit", "-em", str(made), *entry, *options]) == 0
    shown = capsys.readouterr().out
    assert "2 csv files" in shown and f"edition {system[-4:]}" in shown
    submission = f"submission_{system[-4:]}"
    assert run_main(seld.main, ["-check-submission", submission, *entry]) == 1  # places are still to fill in
    assert capsys.readouterr().out.count("\n") == 2
    first = next((tmp_path / submission).rglob("mix*.csv"))
    table = read_events(first, "starss22")
    assert len(table) == 20 * len(about["classes"]) and not table.source.any()
    first.write_text("0,99,0,0,0\n")
    assert run_main(seld.main, ["-check-submission", submission, *entry]) == 1
    assert "class must be between" in capsys.readouterr().out


def test_switches_and_what_is_refused(roots, capsys) -> None:
    root = roots["seldnet2020"]
    switches = ["layout=paper", "iv_order=file", "gate=sigmoid", "mask=classwise", "validation=stream", "dropout=0.1"]
    changed = [word for change in switches for word in ("--set", change)]
    made = run(root, "--system", "seldnet2020", "1", "switches", "--epochs", "1", "--passes-per-epoch", "1", *changed)
    settings = load_checkpoint(result_checkpoint(made)).stages["main"].settings
    assert all(str(settings[name]) == value for name, value in (change.split("=") for change in switches))
    assert settings["feature"] == "logmel_intensity"
    # ACCDOA off, any layout and objective in 2021; either intensity
    other = ["accdoa=false", "layout=reference", "objective=masked", "iv_norm=energy", "loss_weights=1,1000"]
    changed = [word for change in other for word in ("--set", change)]
    flags = ["1", "off", "--epochs", "1", "--passes-per-epoch", "1"]
    made = run(roots["seldnet2021"], "--system", "seldnet2021", *flags, *changed)
    assert np.load(next(next(made.glob("raw_*")).glob("*.npy"))).shape == (4, 12, 20)

    def refused(flags: list[str], *words: str) -> None:
        capsys.readouterr()
        assert run_main(seld.main, ["--system", "seldnet2020", "1", "bad", "--data-root", str(root), *flags]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error: ") and all(word in error for word in words), error

    refused(["--set", "sequence_frames=32"], "multiple of 5")
    refused(["--set", "gate=relu"], "hard_sigmoid, sigmoid")
    refused(["--set", "pools=8"], "pools")
    refused(["-fs", "48000"], "24000")
    refused(["--edition", "2019"], "--edition 2019", "100 ms")
    refused(["--device", "cpu"], "lower the batch size")


def test_presets_are_the_published_ones() -> None:
    known = presets()
    for system in SETS:
        preset = known[system]
        assert preset.ids == ("task", "job") and list(preset.tasks) == ["1", "2", "3", "4", "5", "999"]
        arguments = preset.arguments
        assert (arguments["epochs"], arguments["passes_per_epoch"], arguments["batch_size"]) == (50, 5, 256)
        assert arguments["patience"] == 50 and preset.settings["sequence_frames"] == 300
    assert known["seldnet2020"].settings["dropout"] == 0 and known["seldnet2021"].settings["dropout"] == 0.05
