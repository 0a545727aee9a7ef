"""The main job through its command line, on tiny data: train, validate, resume, evaluate, export."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import npy2csv
import seld
from system.checkpoint import load_checkpoint
from system.table import SYSTEMS
from tests.tiny import tiny_root
from util.cli import run_main
from util.flags import SYSTEM_NAMES
from util.runs import checkpoints_of

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tiny_root(tmp_path_factory.mktemp("data") / "data_tiny")


@pytest.fixture(scope="module")
def run(root) -> Path:
    """A finished audio-only run of four iterations with two validations."""
    return train(root, "-val", "-i", "4", "-s", "2")


def train(root: Path, *flags: str) -> Path:
    """Train on a tiny root; the run folder."""
    before = set((root / "model_monitor").glob("*"))
    options = ["-b", "4", "--precision", "32", "--device", "cpu"]
    assert run_main(seld.main, ["-train", "--data-root", str(root), "--no-video", *options, *flags]) == 0
    (made,) = set((root / "model_monitor").glob("*")) - before
    return made


def scalars(run: Path, name: str) -> dict[int, float]:
    """Values of a TensorBoard scalar by iteration."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    return {event.step: event.value for event in events.Scalars(name)}


def test_run_folder_holds_what_the_interface_promises(run, root):
    assert json.loads((run / "args.json").read_text())["max_iter"] == 4
    assert [path.name for path in checkpoints_of(run)] == [f"params_{run.name}_000000{n}.pth" for n in (2, 4)]
    assert [path.stem for path in (run / "pred_TMP4VAL").iterdir()] == ["fold4_room1_mix001"]
    assert (root / "list_dataset" / "dcase2023t3_foa_devtrain.txt").is_file()
    names = ("Loss/train", "Optimizer/lr", "Loss/val")
    metrics = ("0_SELD-error", "1_ER-LD", "2_F-LD", "3_LE-CD", "4_LR-CD")
    for name in [*names, *(f"Metrics/{metric}" for metric in metrics)]:
        assert scalars(run, name)


def test_checkpoint_holds_all_that_others_need(run):
    content = load_checkpoint(checkpoints_of(run)[-1])
    assert content.iteration == 4 and content.system == "crnn" and content.visual is False
    assert content.array["name"] == "foa" and len(content.classes) == 13
    assert content.recordings["train"] == ["fold3_room1_mix001", "fold3_room2_mix001"]


def test_evaluation_writes_csv_raw_and_result_and_npy2csv_gives_the_same_csv(run, root, tmp_path, capsys):
    assert run_main(seld.main, ["-eval", "-em", str(run), "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    name = "dcase2023t3_foa_devtest_0000004"
    text = (run / f"result_{name}.txt").read_text()
    assert text in shown
    lines = text.splitlines()
    assert lines[:2] == ["SELD scores", "All\tER\tF\tLE\tLR\tSELD_error"]
    assert lines[3:5] == ["Class-wise results", "Class\tER\tF\tLE\tLR\tSELD_error"]
    assert lines[5].startswith("0 Female speech\t") and len(lines[5].split("\t")) == 6
    remarks = [line for line in lines if line.startswith("# ")]
    assert len(lines) == 18 + len(remarks)
    for word in ("seed 0", "dev-test-tiny", "python seld.py -eval", "not chosen by any score", "audio only"):
        assert any(word in remark for remark in remarks)
    raw = np.load(run / f"raw_{name}" / "fold4_room1_mix001.npy", allow_pickle=False)
    assert raw.shape == (3, 3, 13, 300) and raw.dtype == np.float32
    assert npy2csv.main([str(run / f"raw_{name}"), "--out", str(tmp_path)]) == 0
    (csv,) = (run / f"pred_{name}").iterdir()
    assert (tmp_path / csv.name).read_bytes() == csv.read_bytes()
    low = tmp_path / "low.json"
    low.write_text(json.dumps({"threshold_presence": [0.0] * 13, "threshold_unification": 15}))
    assert npy2csv.main([str(run / f"raw_{name}"), "--out", str(tmp_path / "low"), "--threshold-config", str(low)]) == 0
    rows = (tmp_path / "low" / csv.name).read_text().count("\n")
    assert rows >= 36 * 13 > csv.read_text().count("\n")


def test_evaluation_in_another_batch_size_gives_the_same_output(run, root):
    raws = []
    for batch in ("1", "3"):
        assert run_main(seld.main, ["-eval", "-em", str(run), "--device", "cpu", "-b", batch]) == 0
        raws.append(np.load(next((run / "raw_dcase2023t3_foa_devtest_0000004").glob("*.npy"))))
    np.testing.assert_allclose(raws[0], raws[1], atol=1e-5)


def test_evaluation_without_labels_writes_csv_and_no_scores(run, root, tmp_path, capsys):
    unlabelled = tiny_root(tmp_path / "unlabelled", train=0, labels=False)
    listed = tmp_path / "mine.txt"
    listed.write_text("".join(f"{path}\n" for path in sorted(unlabelled.rglob("*.wav"))))
    assert run_main(seld.main, ["-eval", "-em", str(run), "-evalwt", str(listed), "--data-root", str(unlabelled)]) == 0
    assert "no scores" in capsys.readouterr().err
    assert (run / "pred_mine_0000004" / "fold4_room1_mix001.csv").is_file()
    assert "SELD scores" not in (run / "result_mine_0000004.txt").read_text()


@pytest.mark.slow
def test_resumed_run_continues_with_the_loss_sequence_of_an_uninterrupted_one(root):
    threads = torch.get_num_threads()  # sums are split by thread: the same number in both processes
    whole = train(root, "-i", "6", "-s", "1", "--schedule", "cosine", "--augment", "acs")
    command = [sys.executable, "seld.py", "-train", "--data-root", str(root), "--no-video", "-b", "4", "-i", "6"]
    command += ["-s", "1", "--schedule", "cosine", "--augment", "acs", "--precision", "32", "--device", "cpu"]
    before = set((root / "model_monitor").glob("*"))
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=PROJECT, env=environment, **quiet)
    deadline = time.monotonic() + 120
    killed: Path | None = None
    while killed is None and time.monotonic() < deadline:
        time.sleep(0.02)
        killed = next((path for path in set((root / "model_monitor").glob("*")) - before if checkpoints_of(path)), None)
    process.kill()
    process.wait()
    assert killed is not None and process.returncode != 0
    assert len(checkpoints_of(killed)) < 6, "the run ended before it could be killed"
    assert run_main(seld.main, ["-train", "--resume", str(killed)]) == 0
    assert torch.get_num_threads() == threads
    first, second = scalars(whole, "Loss/train"), scalars(killed, "Loss/train")
    assert sorted(first) == [1, 2, 3, 4, 5, 6]
    assert {step: second[step] for step in first} == first
    one, two = (load_checkpoint(checkpoints_of(path)[-1]).stages["main"].weights for path in (whole, killed))
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("net", [name for name, system in SYSTEMS.items() if system.visual == "boxes"])
def test_audio_visual_systems_train_and_validate_with_their_boxes(net, tmp_path, capsys):
    root = tiny_root(tmp_path / "data", train=1, seconds=2.0, video=True)
    flags = ["-train", "-val", "--data-root", str(root), "-n", net, "--detector", "builtin"]
    assert run_main(seld.main, [*flags, "-i", "2", "-s", "2", "-b", "2", "--device", "cpu"]) == 0
    (run,) = (root / "model_monitor").iterdir()
    for boxes in ("own", "empty", "other") if net == "crnn" else ("own",):
        source = ["--boxes", boxes]
        extra = [] if boxes != "other" else ["-evalwt", "dcase2023t3_foa_devtest.txt"]
        status = run_main(seld.main, ["-eval", "-em", str(run), "--device", "cpu", *source, *extra])
        if boxes == "other":  # one clip in the folder: there is no other
            assert status == 2 and "no other video" in capsys.readouterr().err
        else:
            assert status == 0
    result = (run / "result_dcase2023t3_foa_devtest_0000002.txt").read_text()
    assert "detector builtin" in result and "trained by this project" in result


def test_resume_before_the_first_checkpoint_starts_from_the_weights_of_init(root, run, capsys):
    started = train(root, "-i", "1", "-s", "1", "--init", str(checkpoints_of(run)[-1]))
    first = scalars(started, "Loss/train")
    checkpoints_of(started)[-1].unlink()  # as if it had been killed before it wrote one
    assert run_main(seld.main, ["-train", "--resume", str(started), "-l", "1"]) == 0
    shown = capsys.readouterr()
    assert "weights copied" in shown.out and "ignored: learning_rate" in shown.err
    assert scalars(started, "Loss/train") == first


@pytest.mark.slow
def test_losses_are_logged_at_checkpoints_that_are_no_multiple_of_the_log_interval(root):
    whole = train(root, "-i", "50", "-s", "25", "-b", "1")
    assert sorted(scalars(whole, "Loss/train")) == [20, 25, 40, 50]


def test_own_thresholds_of_a_training_are_used_in_its_evaluation(root, tmp_path):
    low = tmp_path / "low.json"
    low.write_text(json.dumps({"threshold_presence": [0.01] * 13, "threshold_unification": 10}))
    run = train(root, "-i", "1", "-s", "1", "--threshold-config", str(low))
    low.unlink()
    assert run_main(seld.main, ["-eval", "-em", str(run), "--device", "cpu"]) == 0
    text = (run / "result_dcase2023t3_foa_devtest_0000001.txt").read_text()
    assert "activity threshold 0.01" in text and "10 degrees unified" in text


@pytest.mark.slow
def test_selection_by_room_and_on_the_validation_list_are_said(root, capsys):
    run = train(root, "-val", "-i", "2", "-s", "1", "--select", "val")
    selected = json.loads((run / "selected.json").read_text())
    assert selected["selected_on"] == "val" and (run / selected["checkpoint"]).is_file()
    content = load_checkpoint(run / selected["checkpoint"])
    assert len(content.recordings["selection"]) == 1 and len(content.recordings["train"]) == 1
    run = train(root, "-val", "-i", "1", "-s", "1", "--select", "test")
    assert run_main(seld.main, ["-eval", "-em", str(run), "--device", "cpu"]) == 0
    assert "the score flatters" in (run / "result_dcase2023t3_foa_devtest_0000001.txt").read_text()


def test_init_copies_what_fits_and_says_what_does_not(root, run, capsys):
    train(root, "-i", "1", "-s", "1", "--init", str(checkpoints_of(run)[-1]))
    shown = capsys.readouterr().out
    assert "0 weights skipped" in shown and "0 weights new" in shown


def test_two_roots_need_mix_and_draw_their_shares(root, tmp_path, capsys):
    other = tiny_root(tmp_path / "other", seed=5)
    both = ["-train", "--data-root", str(root), "--data-root", str(other), "--no-video", "-i", "1", "-b", "2"]
    assert run_main(seld.main, both) == 2
    assert "--mix" in capsys.readouterr().err
    assert run_main(seld.main, [*both, "--mix", "0.5,0.5", "--device", "cpu"]) == 0


def test_flag_beats_dataset_json_beats_default(tmp_path):
    root = tiny_root(tmp_path / "data", train=1, test=1, seconds=2.0)
    (root / "dataset.json").write_text(json.dumps({"name": "mine", "max_iter": 2, "model_save_interval": 1}))
    run = train(root)
    assert [path.name[-11:] for path in checkpoints_of(run)] == ["0000001.pth", "0000002.pth"]
    run = train(root, "-i", "1")
    assert len(checkpoints_of(run)) == 1


def test_help_needs_no_pytorch_and_systems_agree():
    assert set(SYSTEM_NAMES) == set(SYSTEMS)
    code = "import sys, seld; seld.JOBS; print(sorted({'torch', 'numpy', 'scipy', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == "[]\n"
    done = subprocess.run([sys.executable, "seld.py", "--help"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0 and "--resume" in done.stdout
