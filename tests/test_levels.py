"""Levels: what the doctor and -infer say of quiet, dead and doubled channels, and the gain that evens a level out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import seld
from dataset.__main__ import main as dataset_main
from dataset.recordings import recording_of_file
from doctor.check import are_capsules
from doctor.levels import FAR_DB, gain_to_level_db, level_remark, training_level_dbfs
from doctor.sound import level_dbfs, scan
from seld_predictor import load
from system.checkpoint import load_checkpoint, save_checkpoint
from tests.checkpoints import RATE_HZ, bursts, thresholds, untrained
from tests.films import film, square
from util.angles import direction_from_degrees
from util.channels import capsule_matrix
from util.cli import run_main
from util.errors import InputError
from util.microphone_arrays import ARRAYS

X = bursts(4.0)
CAPSULES = ("FLU", "FRD", "BLD", "BRU")


def scene(seconds: float = 6.0, seed: int = 0) -> np.ndarray:
    """FOA (4, samples): sources that change their direction over diffuse noise, as in a room."""
    rng = np.random.default_rng(seed)
    samples = round(seconds * RATE_HZ)
    out = np.zeros((4, samples))
    for _ in range(60):  # plane waves from everywhere are a diffuse field
        direction = rng.standard_normal(3)
        x, y, z = direction / np.linalg.norm(direction)
        out += np.outer([1, y, z, x], rng.standard_normal(samples)) * 0.004
    for start in range(0, samples, RATE_HZ):
        x, y, z = direction_from_degrees(rng.uniform(-180, 180), rng.uniform(-30, 40))
        voice = rng.standard_normal(min(RATE_HZ, samples - start)) * 0.05
        out[:, start : start + RATE_HZ] += np.outer([1, y, z, x], voice)
    return out.astype(np.float32)


def written(path: Path, waveform: np.ndarray) -> Path:
    soundfile.write(path, waveform.T, RATE_HZ, subtype="FLOAT")
    return path


def test_the_level_is_that_of_what_is_heard(tmp_path):
    rng = np.random.default_rng(0)
    sound = 0.1 * rng.standard_normal((4, 2 * RATE_HZ))
    pause = np.concatenate([sound, np.zeros((4, 8 * RATE_HZ))], axis=1)
    for waveform in (sound, pause):
        assert level_dbfs(written(tmp_path / "a.wav", waveform)) == pytest.approx(-20, abs=0.1)
    quiet = written(tmp_path / "b.wav", sound / 10)
    assert level_dbfs(quiet) == pytest.approx(-40, abs=0.1)
    long = written(tmp_path / "long.wav", np.tile(sound, (1, 20)))
    assert level_dbfs(long, most_s=5.0) == pytest.approx(-20, abs=0.2)
    assert level_dbfs(written(tmp_path / "silent.wav", np.zeros((4, 5000)))) == -np.inf
    recordings = [recording_of_file(tmp_path / name) for name in ("a.wav", "a.wav", "b.wav", "silent.wav")]
    assert training_level_dbfs(recordings) == pytest.approx(-20, abs=0.1)
    assert training_level_dbfs([]) is None and training_level_dbfs(recordings[3:]) is None


def test_gains_and_remarks():
    assert gain_to_level_db(-40, -20, "auto") == 20 and gain_to_level_db(-40, None, 6.0) == 6
    assert gain_to_level_db(-40, -20, None) == 0 and gain_to_level_db(-np.inf, -20, "auto") == 0
    with pytest.raises(InputError, match="does not say how loud"):
        gain_to_level_db(-40, None, "auto")
    assert "20 dB below" in level_remark(-40, -20) and "--gain-db 20 " in level_remark(-40, -20)
    assert "--gain-db -15" in level_remark(-5, -20) and not level_remark(-20 - FAR_DB + 1, -20)
    assert not level_remark(-40, None)


def known(path: Path, level: float | None = None) -> Path:
    """A checkpoint that knows the level of its training recordings."""
    untrained(path)
    if level is not None:
        save_checkpoint(path, replace(load_checkpoint(path), level_dbfs=level))
    return path


def test_a_quiet_recording_is_named_and_evened_out(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    written(Path("loud.wav"), X), written(Path("quiet.wav"), X / 10)
    level = level_dbfs(Path("loud.wav"))
    known(Path("foa.pth"), level)
    thresholds(Path("t.json"), 0.5)
    assert load("foa.pth", device="cpu").level_dbfs == level

    def rows(name: str, *flags: str) -> list[list[str]]:
        command = ["-infer", f"{name}.wav", "-em", "foa.pth", "--threshold-config", "t.json", "--player", "never"]
        assert run_main(seld.main, [*command, "--device", "cpu", *flags]) == 0
        lines = Path(f"{name}_seld/{name}.csv").read_text().splitlines()
        return [line.split(",")[:2] for line in lines]  # frame and class

    loud = rows("loud")
    assert "nothing wrong seen" in capsys.readouterr().out
    assert rows("quiet") != loud
    assert "20 dB below what the checkpoint was trained on: --gain-db 20" in capsys.readouterr().out
    for gain in ("20", "auto"):
        assert rows("quiet", "--gain-db", gain) == loud
        said = capsys.readouterr().out
        assert "+20.0 dB of gain applied" in said and "below what" not in said
    command = ["-infer", "quiet.wav", "-em", "foa.pth", "--threshold-config", "t.json", "--device", "cpu", "--stream"]
    streamed = {}
    for gain in ("20", "auto"):
        assert run_main(seld.main, [*command, "--gain-db", gain]) == 0
        streamed[gain] = capsys.readouterr().out
    assert streamed["20"] == streamed["auto"] and streamed["20"].count("\n") == len(loud)
    assert dataset_main(["check", "quiet.wav", "-em", "foa.pth"]) == 1
    assert "20 dB below" in capsys.readouterr().out
    assert dataset_main(["check", "loud.wav", "-em", "foa.pth"]) == 0
    known(Path("unknown.pth"))
    assert (
        run_main(seld.main, ["-infer", "quiet.wav", "-em", "unknown.pth", "--gain-db", "auto", "--device", "cpu"]) == 2
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x * np.array([[1], [1], [0], [1]]), "channel Z is silent"),
        (lambda x: x * np.array([[1], [1e-3], [1], [1]]), "channel Y is far below the others"),
        (lambda x: x[[0, 1, 2, 2]], "channels Z and X hold the same signal"),
        (lambda x: np.stack([x[0], -x[0], x[2], x[3]]), "channels W and Y hold the same signal"),
        (lambda x: np.clip(x * 8, -0.5, 0.5), "is clipped"),
        (lambda x: x * np.array([[0.5], [1], [1], [1]]), "weights of"),
        (lambda x: x * np.array([[2.5], [1], [1], [1]]), "too weak against W"),
        (lambda x: x * 0.005, "is very quiet"),
        (lambda x: np.linalg.inv(capsule_matrix(CAPSULES)) @ x, "--a-format FLU,FRD,BLD,BRU"),
    ],
)
def test_what_is_wrong_is_said_by_doctor_and_inference_alike(tmp_path, monkeypatch, capsys, change, words):
    monkeypatch.chdir(tmp_path)
    written(Path("a.wav"), change(scene()))
    untrained(Path("foa.pth"))
    assert dataset_main(["check", "a.wav"]) == 1
    assert words in capsys.readouterr().out
    assert run_main(seld.main, ["-infer", "a.wav", "-em", "foa.pth", "--player", "never", "--device", "cpu"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  health")]
    assert words in line and "level -" in line


def test_capsules_are_told_from_ambisonics(tmp_path):
    for seed in range(6):
        foa = scene(seed=seed)
        for waveform, expected in ((foa, False), (np.linalg.inv(capsule_matrix(CAPSULES)) @ foa, True)):
            for form in ((1, 1, 1, 1), (0.7, 1, 1, 1), (1, 3**0.5, 3**0.5, 3**0.5))[: 1 if expected else 3]:
                path = written(tmp_path / "a.wav", waveform * np.array(form)[:, None])
                assert are_capsules(scan(path, ARRAYS["foa"])[1]) == expected


def test_a_format_is_checked_as_what_it_becomes(tmp_path, capsys):
    path = written(tmp_path / "a.wav", np.linalg.inv(capsule_matrix(CAPSULES)) @ scene())
    assert dataset_main(["check", str(path), "--a-format", "FLU,FRD,BLD,BRU"]) == 0
    assert "plain matrix" in capsys.readouterr().out
    nine = written(tmp_path / "nine.wav", np.concatenate([scene(), scene(seed=1), scene(seed=2)[:1]]))
    assert dataset_main(["check", str(nine), "--format", "foa"]) == 0
    assert dataset_main(["check", str(nine), "--channels-used", "5-8"]) == 0


def test_the_video_is_compared_with_the_sound(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    untrained(Path("foa.pth"))
    for name, options, words in (
        (
            "short",
            {"times_s": [index / 10 for index in range(20)]},
            "is not as long as the sound (2.0 s, the sound 4.0 s)",
        ),
        ("late", {"times_s": [0.5 + index / 10 for index in range(35)]}, "starts 0.50 s later than the sound"),
        (
            "flat",
            {"times_s": [index / 10 for index in range(40)], "picture": lambda _: square(0, 64, 48)},
            "twice as wide",
        ),
    ):
        written(Path(f"{name}.wav"), X)
        film(Path(f"{name}.mp4"), **options)
        command = ["-infer", f"{name}.wav", "-em", "foa.pth", "--player", "never", "--device", "cpu"]
        assert run_main(seld.main, command) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  health")]
        assert words in line
        dataset_main(["check", f"{name}.wav"])
        assert words.split(" (")[0] in capsys.readouterr().out
