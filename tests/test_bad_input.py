"""Bad input of the main job: one clear line that names file, place and rule; non-zero exit; nothing half-written."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import seld
from system.checkpoint import load_checkpoint, save_checkpoint
from tests.limits import file_limit, needs_file_limit
from tests.tiny import RATE_HZ, tiny_root
from util.cli import run_main
from util.errors import InputError
from util.runs import checkpoints_of

PROJECT = Path(__file__).resolve().parents[1]
LIST = "list_dataset/dcase2023t3_foa_devtrain.txt"
CLIP = "foa_dev/dev-train-tiny/fold3_room1_mix001.wav"
LABEL = "metadata_dev/dev-train-tiny/fold3_room1_mix001.csv"


def one_line(capsys, status: int, *words: str) -> str:
    """The single line on standard error (besides progress bars), which must hold the words."""
    err = capsys.readouterr().err
    lines = [line for line in err.replace("\r", "\n").split("\n") if line.startswith("error: ")]
    assert status == 2 and len(lines) == 1, err
    for word in words:
        assert word in lines[0], (word, lines[0])
    assert "Traceback" not in err
    return lines[0]


def training(root: Path, *flags: str) -> int:
    """A short audio-only training."""
    options = ["--no-video", "-i", "2", "-s", "2", "-b", "4", "--device", "cpu"]
    return run_main(seld.main, ["-train", "--data-root", str(root), *options, *flags])


def nothing_half_written(root: Path) -> None:
    assert not [path for path in root.rglob("*") if "partial" in path.name]
    assert not list(root.rglob("*.pth"))


@pytest.fixture
def root(tmp_path) -> Path:
    return tiny_root(tmp_path / "data_tiny")


def test_list_that_names_a_missing_file(root, capsys):
    (root / LIST).parent.mkdir()
    (root / LIST).write_text(f"./{CLIP}\n./foa_dev/dev-train-tiny/gone.wav\n")
    one_line(capsys, training(root), "dcase2023t3_foa_devtrain.txt", "line 2", "gone.wav")
    nothing_half_written(root)


def test_empty_list(root, capsys):
    (root / LIST).parent.mkdir()
    (root / LIST).write_text("\n")
    one_line(capsys, training(root), "dcase2023t3_foa_devtrain.txt")
    nothing_half_written(root)


def test_data_root_that_does_not_exist(tmp_path, capsys):
    one_line(capsys, training(tmp_path / "nowhere"), "nowhere")


def break_channels(path: Path) -> None:
    samples, _ = soundfile.read(path)
    soundfile.write(path, samples[:, :3], RATE_HZ)


def break_header(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def break_sample(path: Path) -> None:
    samples, _ = soundfile.read(path, dtype="float32")
    samples[int(1.5 * RATE_HZ) :] = np.nan
    soundfile.write(path, samples, RATE_HZ, subtype="FLOAT")


def break_length(path: Path) -> None:
    soundfile.write(path, np.zeros((0, 4)), RATE_HZ)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (break_channels, ("3 channels", "4")),
        (break_header, ("header",)),
        (break_sample, ("1.5", "NaN")),
        (break_length, ("no sample",)),
    ],
)
def test_broken_wav(damage: Callable[[Path], None], words: tuple[str, ...], root, capsys):
    for name in ("fold3_room1_mix001", "fold3_room2_mix001"):
        damage(root / CLIP.replace("fold3_room1_mix001", name))
    one_line(capsys, training(root), "fold3_room", ".wav", *words)
    nothing_half_written(root)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("7,speech,0,10,0,100", ("line 2", "class")),
        ("7,3,0,nan,0,100", ("line 2", "azimuth")),
        ("7,13,0,10,0,100", ("line 2", "between 0 and 12", "13")),
        ("7,3,0,400,0,100", ("line 2", "-180 and 180", "400")),
        ("-7,3,0,10,0,100", ("line 2", "frame", "-7")),
        ("7,3,0,10", ("line 2", "columns")),
    ],
)
def test_broken_label_csv(row, words, root, capsys):
    for name in ("fold3_room1_mix001", "fold3_room2_mix001"):
        path = root / LABEL.replace("fold3_room1_mix001", name)
        path.write_text(f"6,3,0,10,0,100\n{row}\n")
    one_line(capsys, training(root), "fold3_room", ".csv", *words)
    nothing_half_written(root)


def test_missing_video_names_the_way_out(root, capsys):
    status = run_main(seld.main, ["-train", "--data-root", str(root), "-i", "2", "--detector", "builtin"])
    one_line(capsys, status, "--no-video")
    nothing_half_written(root)


def test_undecodable_video(tmp_path, capsys):
    root = tiny_root(tmp_path / "data", train=1, seconds=2.0, video=True)
    video = next((root / "video_dev").rglob("fold3*.mp4"))
    video.write_bytes(b"no video at all" * 100)
    status = run_main(seld.main, ["-train", "--data-root", str(root), "-i", "2", "--detector", "builtin"])
    one_line(capsys, status, video.name)
    nothing_half_written(root)


def test_missing_labels_in_training(root, capsys):
    (root / LABEL).unlink()
    one_line(capsys, training(root), "fold3_room1_mix001")


# -------------------------------------------------------------------------------------------------------- checkpoints


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Path]:
    """A tiny root and a checkpoint trained on it."""
    root = tiny_root(tmp_path_factory.mktemp("trained") / "data_tiny", formats=("foa", "mic", "binaural"))
    assert training(root) == 0
    return root, checkpoints_of(next((root / "model_monitor").iterdir()))[-1]


def evaluating(root: Path, checkpoint: Path, *flags: str) -> int:
    flags = ("--data-root", str(root), "--device", "cpu", *flags)
    return run_main(seld.main, ["-eval", "-em", str(checkpoint), *flags])


def test_truncated_checkpoint(trained, tmp_path, capsys):
    root, checkpoint = trained
    short = tmp_path / "short.pth"
    short.write_bytes(checkpoint.read_bytes()[:5000])
    one_line(capsys, evaluating(root, short), "short.pth", "broken off")


class _Payload:
    def __init__(self, marker: str):
        self.marker = marker

    def __reduce__(self):
        return (os.system, (f"touch {self.marker}",))


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_checkpoint_with_code_in_it_is_refused_and_not_run(form, trained, tmp_path, capsys):
    root, _ = trained
    marker, evil = tmp_path / "was_run", tmp_path / "evil.pth"
    content = {"model_state_dict": _Payload(str(marker))}
    if form == "torch":
        torch.save(content, evil)
    else:
        evil.write_bytes(pickle.dumps(content))
    one_line(capsys, evaluating(root, evil), "evil.pth")
    assert not marker.exists()


def test_checkpoint_of_another_architecture(trained, tmp_path, capsys):
    root, checkpoint = trained
    content = load_checkpoint(checkpoint)
    content.stages["main"].weights["audio_encoder.conv1.weight"] = torch.zeros(8, 7, 3, 3)
    other = tmp_path / "other.pth"
    save_checkpoint(other, content)
    one_line(capsys, evaluating(root, other), "other.pth", "conv1")
    foreign = tmp_path / "foreign.pth"
    torch.save({"model_state_dict": {"some.weight": torch.zeros(3)}}, foreign)
    one_line(capsys, evaluating(root, foreign), "foreign.pth", "no network")


def test_checkpoint_of_other_classes(trained, tmp_path, capsys):
    _, checkpoint = trained
    other = tiny_root(tmp_path / "other", train=0)
    (other / "classes.txt").write_text("dog\ncat\n")
    for path in (other / "metadata_dev").rglob("*.csv"):
        path.write_text("0,1,0,10,0,100\n")
    one_line(capsys, evaluating(other, checkpoint), checkpoint.name, "13 classes", "2")


def test_checkpoint_of_another_array(trained, capsys):
    root, checkpoint = trained
    one_line(capsys, evaluating(root, checkpoint, "--format", "mic"), "mic", "foa")
    one_line(capsys, evaluating(root, checkpoint, "--format", "bin"), "binaural", "foa")


def test_no_checkpoint(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one_line(capsys, run_main(seld.main, ["-eval"]), "train first")
    one_line(capsys, run_main(seld.main, ["-eval", "-em", "gone.pth"]), "gone.pth")


def test_jobs_that_contradict_each_other(capsys):
    one_line(capsys, run_main(seld.main, ["-train", "-eval"]), "exactly one")


@pytest.mark.slow
@needs_file_limit
def test_disk_that_fills_up_leaves_nothing_half_written(trained):
    """A file-size limit in a child process: the first checkpoint does not fit."""
    root, _ = trained
    before = set((root / "model_monitor").iterdir())
    command = [sys.executable, "seld.py", "-train", "--data-root", str(root), "--no-video", "-i", "2", "-s", "1"]
    done = subprocess.run(
        [*command, "-b", "4", "--device", "cpu"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        preexec_fn=file_limit(2_000_000),
    )
    (run,) = set((root / "model_monitor").iterdir()) - before
    errors = [line for line in done.stderr.replace("\r", "\n").split("\n") if line.startswith("error: ")]
    assert done.returncode == 2 and len(errors) == 1 and "cannot be written" in errors[0], done.stderr
    assert "params_" in errors[0]
    assert not [path for path in run.iterdir() if "params" in path.name]


@pytest.mark.slow
@needs_file_limit
def test_disk_that_fills_up_during_evaluation(trained):
    root, checkpoint = trained
    command = [sys.executable, "seld.py", "-eval", "-em", str(checkpoint), "--device", "cpu"]
    done = subprocess.run(
        [*command, "--data-root", str(root)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        preexec_fn=file_limit(20_000),
    )
    errors = [line for line in done.stderr.replace("\r", "\n").split("\n") if line.startswith("error: ")]
    assert done.returncode == 2 and len(errors) == 1 and "cannot be written" in errors[0], done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in checkpoint.parent.rglob("*") if "partial" in path.name]


def test_training_that_diverges_is_one_line_and_leaves_no_broken_checkpoint(root, capsys):
    one_line(capsys, training(root, "-l", "1e30", "-i", "4", "-s", "4"), "training loss", "-l")
    assert not list(root.rglob("*.pth"))


def test_broken_validation_label_is_named_before_training(root, capsys):
    (root / LABEL.replace("train", "test").replace("fold3", "fold4")).write_text("0,99,0,0,0,0\n")
    one_line(capsys, training(root, "-val"), "fold4_room1_mix001.csv", "line 1")
    assert not (root / "model_monitor").exists()


def test_edition_that_systems_cannot_be_scored_by(root, capsys):
    one_line(capsys, training(root, "--edition", "2024"), "2024", "2023")
    assert not (root / "model_monitor").exists()


def test_error_message_is_one_line():
    assert str(InputError("two\nlines", path="a.csv", place="line 3")) == "a.csv: line 3: two lines"
