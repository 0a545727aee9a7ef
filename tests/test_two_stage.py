"""Two-stage SELD through the command line: trained, scored in every way, drawn, handed in, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile
import torch
import yaml

import npy2csv
import seld
from bench import two_stage_results
from dataset.__main__ import main as dataset
from dataset.plans import Clips
from dcase2022_task3_seld_metrics.average_precision import average_precision
from report.__main__ import main as report
from report.analysis import raw_folder
from report.seldnet_figures import load_shown
from report.seldnet_figures import main as figures
from report.two_stage import main as table
from report.two_stage import scores_of
from seld_predictor import load
from simulation.tut_tau.settings import SetSettings
from simulation.tut_tau.writer import write_set
from system.checkpoint import load_checkpoint, save_checkpoint
from system.table import system_named
from tests.runs import run_folder
from tests.test_seld import scalars
from util.cli import run_main
from util.dialects import read_events
from util.runs import result_checkpoint

SMALL = ["filters=4,4,8,8", "rnn_units=8", "chunk_frames=32"]
TINY = [word for change in SMALL for word in ("--set", change)] + ["-i", "2", "-s", "2", "-b", "2", "--device", "cpu"]
LABEL = "Muster_TU_task3_1"
LOW = 0.05  # a threshold that a network of two iterations passes


@pytest.fixture(scope="module")
def tau(tmp_path_factory) -> Path:
    """Two recordings of each split (overlap 1 and 2), two to evaluate, both formats."""
    root = tmp_path_factory.mktemp("sets") / "tau"
    settings = SetSettings.of("tau2019", seconds=3.0, train=2, test=2, formats=("foa", "mic"))
    write_set(root, settings, progress=False)
    return root


@pytest.fixture(scope="module")
def threshold(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("threshold") / "low.json"
    path.write_text(json.dumps({"threshold_presence": [LOW] * 11, "threshold_unification": 15}))
    return path


def train(root: Path, *flags: str, status: int = 0) -> Path | None:
    """Train; the run folder."""
    return run_folder(root, *flags, *TINY, status=status)


@pytest.fixture(scope="module")
def run(tau, threshold) -> Path:
    return train(tau, "-train", "-val", "--system", "two_stage", "--threshold-config", str(threshold))


def evaluate(run: Path, *flags: str) -> Path:
    """Evaluate; the result file."""
    before = {path: path.stat().st_mtime_ns for path in run.glob("result_*.txt")}
    assert run_main(seld.main, ["-eval", "-em", str(run), "--device", "cpu", *flags]) == 0
    changed = [path for path in run.glob("result_*.txt") if before.get(path) != path.stat().st_mtime_ns]
    return changed[0]


def raw_of(result: Path) -> list[Path]:
    folder = result.with_suffix("").with_name(result.stem.replace("result_", "raw_", 1))
    return sorted(folder.glob("*.npy"))


def test_activity_comes_from_one_stage_and_angles_from_the_other(tau, run):
    args = json.loads((run / "args.json").read_text())
    assert args["edition"] == "2019"
    checkpoint = load_checkpoint(result_checkpoint(run))
    assert list(checkpoint.stages) == ["sed", "doa"] and checkpoint.recordings["selection"] == []
    # nothing is chosen, so that all of the other splits are trained on
    assert {name[5] for name in checkpoint.recordings["train"]} == {"2", "3", "4"}
    raw = raw_of(evaluate(run))
    model = load(run, device="cpu").model
    sound = tau / "foa_dev" / f"{raw[0].stem}.wav"
    waveform, _ = soundfile.read(sound, dtype="float32")
    assert len(raw) == 2 and waveform.shape == (144000, 4)
    joined = np.load(raw[0])
    assert joined.shape == (3, 11, 288) and model.system is system_named("two_stage")  # 301 frames, whole steps
    assert (joined[:, :, 0::16] == joined[:, :, 15::16]).all()  # a step is repeated
    rows = np.loadtxt(raw[0].parent.with_name(raw[0].parent.name.replace("raw_", "pred_")) / f"{raw[0].stem}.csv",
                      delimiter=",", ndmin=2)  # fmt: skip
    assert len(rows) and (np.mod(rows[:, 2:], 10) == 0).all() and rows[:, 0].max() < 144
    out = run / "again"
    assert run_main(npy2csv.main, [str(raw[0].parent), "--out", str(out), "--dialect", "dcase2019"]) == 0
    again = np.loadtxt(out / f"{raw[0].stem}.csv", delimiter=",", ndmin=2)
    np.testing.assert_array_equal(again, rows)


def test_average_precision_is_in_result_history_and_tensorboard(run):
    result = evaluate(run)
    (line,) = [one for one in result.read_text().splitlines() if "average precision" in one]
    (history,) = [json.loads(one) for one in (run / "history.jsonl").read_text().splitlines()]
    truth, probability = [], []
    for raw in raw_of(result):
        clip, output = load_shown(raw), np.load(raw)
        truth.append(clip.reference.active.T)
        probability.append(output[0].T)
    truth, probability = np.concatenate(truth), np.concatenate(probability)
    for name, limit in (("mAP", None), ("mAP_binary", LOW)):
        expected = average_precision(truth, probability, threshold=limit)
        for kind in ("micro", "macro"):
            value = getattr(expected, kind)
            assert history[f"{name}_{kind}"] == pytest.approx(value, abs=1e-6) and f"{kind} {value:.3f}" in line
            assert scalars(run, f"Metrics/{name}_{kind}")[2] == pytest.approx(value, abs=1e-6)
    assert 0 < history["mAP_micro"] < 1 and history["mAP_micro"] != history["mAP_binary_micro"]


def test_directions_alone_with_the_activity_of_the_labels(run, capsys):
    own = evaluate(run)
    result = evaluate(run, "--activity", "reference")
    assert result.name == own.name.replace(".txt", "_reference-activity.txt") and own.exists()
    text = result.read_text()
    assert "activity that of the labels" in text and "average precision" not in text
    values = dict(zip(*(line.split("\t")[1:] for line in text.splitlines()[1:3])))
    assert float(values["F"]) > 0.95 > float(dict(zip(*(
        line.split("\t")[1:] for line in own.read_text().splitlines()[1:3])))["F"])  # fmt: skip
    for mine, theirs in zip(raw_of(result), raw_of(own)):
        np.testing.assert_array_equal(np.load(mine)[1:], np.load(theirs)[1:])
        assert json.loads(mine.with_suffix(".json").read_text())["activity"] == "reference"
        clip = load_shown(mine)
        np.testing.assert_array_equal(clip.estimated.active, clip.reference.active)
    capsys.readouterr()
    assert run_main(table, [str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| two-stage |") and lines[3].startswith("| directions alone (DOA) | - | - | - | - |")
    scored = {one.activity: one for one in scores_of(run)}
    precise = {line.split("\t")[0]: line for line in own.read_text().splitlines()[1:3]}
    assert precise and float(values["DOA_error"]) == pytest.approx(scored["reference"].scores["DOA_error"], abs=0.006)


def test_all_splits_are_pooled_by_room_and_overlap(tau, threshold, capsys):
    flags = ["--system", "two_stage_joint", "2", "cv", "--split", "all", "--threshold-config", str(threshold)]
    made = train(tau, *flags)
    assert made.name == "two_stage_2_foa_dev_cv"
    lines = dict(line.split(": ", 1) for line in (made / "result.txt").read_text().splitlines()[:-1])
    names = {path.stem for path in made.glob("split*/pred_t*/*.csv")}
    rooms, overlaps = ({name.split("_")[place] for name in names} for place in (1, 2))
    assert len(names) == 8 and overlaps == {"ov1", "ov2"} and len(rooms) > 1
    assert {line for line in lines if line.startswith("pooled, room")} == {f"pooled, room {room}" for room in rooms}
    assert {line for line in lines if "overlap" in line} == {"pooled, overlap 1", "pooled, overlap 2"}
    assert "micro" in lines["mean of the splits"] and "average precision" not in lines["pooled"]
    # the csv rows scored together by hand
    (one,) = scores_of(made)
    assert (one.recordings, one.splits, one.method) == (8, 4, "joint (SELDnet)")
    assert f"F {100 * one.scores['F']:.1f} %" in lines["pooled"] and f"ER {one.scores['ER']:.3f}" in lines["pooled"]
    assert f"micro {one.scores['mAP']:.3f}" in lines["mean of the splits"]


def test_inference_player_report_and_figures(tau, run, tmp_path, capsys):
    result = evaluate(run)
    evaluate(run, "--activity", "reference")  # newer, and not what the run is looked at by
    raw = raw_of(result)
    assert raw_folder(run) == raw[0].parent
    sound = tau / "foa_dev" / f"{raw[0].stem}.wav"
    out = tmp_path / "out"
    assert run_main(seld.main, ["-infer", str(sound), "-em", str(run), "--device", "cpu", "--out", str(out)]) == 0
    assert list(out.glob("*.html")) and json.loads((out / "events.json").read_text())["frame_s"] == pytest.approx(0.1)
    np.testing.assert_allclose(np.load(out / raw[0].name), np.load(raw[0]), atol=1e-6)
    assert run_main(report, [str(run), "--out", str(tmp_path / "report.html"), "--players", "1"]) == 0
    assert (tmp_path / "report.html").stat().st_size > 10000
    assert run_main(figures, [str(run), "--out", str(tmp_path / "figures")]) == 0
    pictures = [cv2.imread(str(path)) for path in sorted((tmp_path / "figures").glob("*.png"))]
    assert len(pictures) == 2 and {"ov1", "ov2"} == {path.stem.split("_")[2] for path in raw}
    assert all(picture.shape[1] == 1600 and len(np.unique(picture)) > 50 for picture in pictures)
    again = [cv2.imread(str(path)) for path in _drawn(run, tmp_path / "plain", "--style", "2019")]
    assert not any(np.array_equal(*pair) for pair in zip(pictures, again))  # names of classes, broad strokes
    capsys.readouterr()


def _drawn(run: Path, out: Path, *flags: str) -> list[Path]:
    assert run_main(figures, [str(run), "--out", str(out), *flags]) == 0
    return sorted(out.glob("*.png"))


def test_an_entry_of_2019(tau, run, threshold, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    base = ["--data-root", str(tau), "--edition", "2019"]
    flags = ["-submit", "-em", str(run), "--label", LABEL, "--device", "cpu", "--threshold-config", str(threshold)]
    assert run_main(seld.main, [*flags, *base]) == 0
    entry = Path("submission_2019") / LABEL
    files = sorted((entry / f"{LABEL}.output").glob("*.csv"))
    assert [path.name for path in files] == ["split0_1.csv", "split0_2.csv"]
    lines = files[0].read_text().splitlines()
    rows = np.array([line.split(",") for line in lines], dtype=int)  # whole numbers, no header
    assert rows.shape[1] == 4 and len(rows) and (np.mod(rows[:, 2:], 10) == 0).all()
    order = rows[:, 0] * 100 + rows[:, 1]
    assert (np.diff(order) > 0).all() and rows[:, 0].max() == 143  # frames of 20 ms: 288 of 10 ms
    events = read_events(files[0], "dcase2019", class_count=11)
    assert events.frame_s == 0.02
    about = yaml.safe_load((entry / f"{LABEL}.meta.yaml").read_text())
    assert set(about["results"]["development_dataset"]["overall"]) == {"ER", "F", "DOA_error", "frame_recall"}
    meta = entry / f"{LABEL}.meta.yaml"
    meta.write_text(meta.read_text().replace("TO FILL IN", "x"))
    assert run_main(seld.main, ["-check-submission", "submission_2019/" + LABEL, *base]) == 0
    files[1].rename(files[1].with_name("other.csv"))
    files[0].write_text(files[0].read_text() + "150,0,10,10\n")
    capsys.readouterr()
    assert run_main(seld.main, ["-check-submission", "submission_2019/" + LABEL, *base]) == 1
    shown = capsys.readouterr().out
    assert "split0_2.csv is missing" in shown and "goes on to frame 150" in shown
    # an edition whose classes or frames are others
    assert run_main(seld.main, [*flags, "--data-root", str(tau), "--edition", "2023"]) == 2
    assert "has 11 classes, edition 2023 13" in capsys.readouterr().err


def test_features_are_written_where_asked(tau, tmp_path):
    out = tmp_path / "features"
    assert run_main(dataset, ["extract", "--system", "two_stage", "--data-root", str(tau), "--out", str(out)]) == 0
    files = sorted((out / "foa_dev_norm").glob("*.npy"))
    rows = np.concatenate([np.load(path) for path in files]).astype(np.float64)
    assert len(files) == 8 and rows.shape == (8 * 301, 960)
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(rows.std(axis=0), 1, atol=1e-3)
    labels = np.load(out / "foa_dev_label" / files[0].name)
    assert labels.shape == (301, 33) and set(np.unique(labels[:, :11])) == {0, 1}
    assert (np.mod(np.rint(labels[:, 11:]), 10) == 0).all() and np.abs(labels[:, 11:]).max() > 5


@pytest.mark.parametrize("network", ["VGG9", "CRNN10"])
def test_other_features_and_networks_train(tau, network):
    feature = {"VGG9": "logmeliv", "CRNN10": "logmel"}[network]
    settings = ["--set", f"network={network}", "--set", f"feature={feature}", "--set", "pool=max", "--set", "loss=MSE"]
    made = train(tau, "-train", "--system", "two_stage_scratch", *settings)
    states = load_checkpoint(result_checkpoint(made)).stages
    assert states["doa"].settings["feature"] == feature
    assert states["sed"].weights["conv_block1.conv1.weight"].shape[1] == {"logmeliv": 7, "logmel": 4}[feature]
    assert ("gru.weight_ih_l0" in states["doa"].weights) == (network == "CRNN10")


def test_parts_of_a_long_recording_are_whole_steps():
    """What the networks leave over at the end of a part would shift the rest of the recording."""
    stage = system_named("two_stage").stage("sed")
    settings = {"feature": "logmel", "channels": 4, "chunk_frames": 200, "chunk_hop": 50}
    framing = stage.plans(settings).framing
    for seconds in (119.0, 120.5, 185.37, 600.0):
        plan = stage.plans(settings).evaluation(np.array([int(seconds * 32000)]))
        pieces = [item.pieces[0] for item in plan.items(np.arange(plan.count))]
        counts = [piece.frames for piece in pieces]
        assert all(count % 16 == 0 for count in counts[:-1]) and sum(counts) == 1 + int(seconds * 32000) // 320
        assert max(counts) <= 12016 and [piece.first for piece in pieces] == np.cumsum([0, *counts[:-1]]).tolist()
    plain = Clips(framing, np.array([32000 * 185]), frames=None)
    assert plain.count == 2


def test_bad_input_is_one_clear_line(tau, run, tmp_path, capsys):
    def refused(flags: list[str], *words: str) -> None:
        capsys.readouterr()
        before = sorted((tau / "model_monitor").glob("*"))
        assert run_main(seld.main, [*flags, "--device", "cpu"]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error: ") and all(word in error for word in words), error
        assert sorted((tau / "model_monitor").glob("*")) == before

    base = ["-train", "--system", "two_stage", "--data-root", str(tau)]
    refused([*base, "-fs", "24000"], "24000", "32000")
    refused([*base, "--fft-size", "512"], "512", "1024")
    refused([*base, "--stft-hop-size", "480"], "480", "320")
    refused([*base, "--format", "mic", "--set", "feature=logmeliv"], "logmeliv", "Ambisonics")
    refused([*base, "--set", "feature=cqt"], "feature=cqt", "logmelgcc")
    refused([*base, "--set", "network=ResNet"], "CRNN10", "VGG9")
    refused([*base, "--set", "pool=none"], "pool")
    refused([*base, "--set", "loss=L1"], "MAE")
    refused([*base, "--set", "beta=2"], "beta")
    refused([*base, "--set", "chunk_frames=8"], "chunk_frames", "16")
    refused([*base, "--set", "filters=8,8"], "filters")
    refused([*base, "--set", "rnn_units=0"], "rnn_units")
    refused([*base, "--stage", "align"], "--stage align", "sed, doa")
    refused(["--system", "two_stage", "7", "--data-root", str(tau)], "no task '7'")
    refused([*base, "--split", "9"], "split")

    content = load_checkpoint(result_checkpoint(run))
    doa = content.stages.pop("doa")
    save_checkpoint(tmp_path / "sed.pth", content)
    sound = next((tau / "foa_dev").glob("*.wav"))
    for job in (["-eval"], ["-infer", str(sound)], ["-submit", "--edition", "2019"]):
        refused([*job, "-em", str(tmp_path / "sed.pth"), "--data-root", str(tau)], "doa", "still to be trained")
    content.stages = {"sed": doa, "doa": doa}
    del doa.weights["conv_block1.conv1.weight"]
    save_checkpoint(tmp_path / "cut.pth", content)
    refused(["-infer", str(sound), "-em", str(tmp_path / "cut.pth")], "cut.pth", "conv_block1.conv1.weight")

    mic = next((tau / "mic_dev").glob("*.wav"))
    (tmp_path / "mic.txt").write_text(f"{mic}\n")
    refused(["-eval", "-em", str(run), "-evalwt", str(tmp_path / "mic.txt")], "mic", "foa")
    refused(["-infer", str(sound), "-em", str(run), "-fs", "48000"], "32000")
    refused(["-infer", str(sound), "-em", str(run), "--stream"], "whole recording")
    soundfile.write(tmp_path / "short.wav", np.zeros((480, 4)), 48000)
    refused(["-infer", str(tmp_path / "short.wav"), "-em", str(run)], "16 or more")
    unlabelled = next((tau / "foa_eval").glob("*.wav"))
    (tmp_path / "none.txt").write_text(f"{unlabelled}\n")
    labels = tau / "metadata_eval" / f"{unlabelled.stem}.csv"
    hidden = labels.rename(labels.with_suffix(".hidden"))
    try:
        given = ["-evalwt", str(tmp_path / "none.txt"), "--activity", "reference"]
        refused(["-eval", "-em", str(run), *given], unlabelled.name, "no labels")
    finally:
        hidden.rename(labels)


def test_activity_of_the_labels_needs_one_that_stands_apart(tmp_path, capsys):
    from tests.tiny import tiny_root

    root = tiny_root(tmp_path / "data_tiny", seconds=2.0)
    flags = ["--data-root", str(root), "--device", "cpu"]
    assert run_main(seld.main, ["-train", "--no-video", "-i", "1", "-s", "1", "-b", "2", *flags]) == 0
    (made,) = (root / "model_monitor").glob("*")
    capsys.readouterr()
    assert run_main(seld.main, ["-eval", "-em", str(made), "--activity", "reference", *flags]) == 2
    assert "crnn has no activity apart from its directions" in capsys.readouterr().err
    assert not list(made.glob("pred_*")) and not list(made.glob("result_*"))


def test_the_comparison_goes_on_where_it_stopped(tau, tmp_path, monkeypatch, capsys):
    """Joint, two-stage and no transfer with two seeds; detection is trained once for both two-stage systems."""
    called = []

    def in_this_process(*flags: str) -> None:
        called.append(list(flags))
        assert run_main(seld.main, list(flags)) == 0

    monkeypatch.setattr(two_stage_results, "_seld", in_this_process)
    small = TINY[: TINY.index("-i")] + ["-b", "2", "--device", "cpu"]
    command = ["--data-root", str(tau), "-i", "2", "--seeds", "0", "1", "--out", str(tmp_path / "all"), *small]
    assert run_main(two_stage_results.main, command) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split(" | ")[0]: line for line in lines if line.startswith("| ") and "±" in line}
    assert list(rows) == ["| joint (SELDnet)", "| two-stage", "| two-stage, no transfer", "| directions alone (DOA)",
                          "| directions alone, no transfer (DOA-NT)"]  # fmt: skip
    assert all(row.endswith("| 2 |") for row in rows.values())
    assert "2 seeds, mean ± standard deviation (n - 1); every stage 2 iterations" in lines
    assert sum(flags[0] == "-train" for flags in called) == 6 and sum(flags[0] == "-eval" for flags in called) == 10
    weights = {}
    for system in ("two_stage", "two_stage_scratch"):
        (run,) = (tmp_path / "all" / f"{system}_seed0").glob("2*")
        weights[system] = load_checkpoint(result_checkpoint(run)).stages["sed"].weights
        assert (run / "sed").is_dir() == (system == "two_stage")
    first, second = weights.values()
    assert all(torch.equal(value, second[name]) for name, value in first.items())

    called.clear()
    assert run_main(two_stage_results.main, command) == 0 and called == []  # all is there
    assert set(rows.values()) <= set(capsys.readouterr().out.splitlines())
    for path in (tmp_path / "all" / "two_stage_joint_seed1").glob("2*/result_*"):
        path.unlink()
    (tmp_path / "all" / "two_stage_joint_seed1" / "trained.json").unlink()
    assert run_main(two_stage_results.main, command) == 0
    assert [flags[:2] for flags in called] == [["-train", "--resume"], ["-eval", "-em"]]
    capsys.readouterr()
    assert run_main(two_stage_results.main, [*command, "--set", "pool=max"]) == 2
    assert "holds runs of other settings" in capsys.readouterr().err


def test_it_is_scored_by_other_editions(run):
    """2018: detection and direction of whole clips, frame by frame; 2023: frames of 100 ms, jointly."""
    assert "metrics edition 2018" in evaluate(run, "--edition", "2018").read_text()
    text = evaluate(run, "--edition", "2023").read_text()
    assert "Class-wise results" in text and "average precision" in text
