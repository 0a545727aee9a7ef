"""Streaming: rows as soon as their window is heard, those of the offline run, in bounded memory."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

import seld
from job.sound import file_reader, open_sound
from job.stream import StreamPredictor
from seld_predictor import load
from tests.checkpoints import RATE_HZ, bursts, recording, thresholds, untrained
from tests.test_infer import same
from tests.tiny import tiny_video
from util.audio import write_audio
from util.channels import channel_matrix
from util.cli import run_main
from util.dialects import dialect_named, parse_events, read_events
from util.errors import InputError
from util.events import EventTable

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    untrained(folder / "foa.pth")
    untrained(folder / "av.pth", visual=True)
    thresholds(folder / "t.json", 0.5)
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def infer(models: Path, *flags: str, model: str = "foa") -> int:
    options = ["-em", str(models / f"{model}.pth"), "--threshold-config", str(models / "t.json"), "--device", "cpu"]
    return run_main(seld.main, ["-infer", *flags, *options])


def parsed(text: str) -> EventTable:
    return parse_events(text, dialect_named("dcase2023"))


@pytest.mark.parametrize("seconds", [0.3, 1.2, 2.41, 6.0])
@pytest.mark.parametrize("block", [777, 24000])
def test_rows_equal_the_offline_ones_whatever_the_blocks(models, seconds, block):
    inference = load(models / "foa.pth", device="cpu", threshold_config=models / "t.json")
    waveform = bursts(seconds)
    predictor = StreamPredictor(inference)
    tables, held = [], 0
    for start in range(0, waveform.shape[1], block):
        tables.append(predictor.feed(waveform[:, start : start + block]))
        held = max(held, predictor._held.shape[1])
    tables.append(predictor.finish())
    assert same(EventTable.concatenate(tables), inference(waveform, RATE_HZ))
    assert held < predictor.plan.window_samples + block


def test_rows_come_as_soon_as_the_window_is_heard(models):
    inference = load(models / "foa.pth", device="cpu", threshold_config=models / "t.json")
    predictor, waveform = StreamPredictor(inference), bursts(4.0)
    needed = 124 * 240  # window 0 ends with frame 124 of 10 ms
    assert not len(predictor.feed(waveform[:, : needed - 1]))
    assert len(predictor.feed(waveform[:, needed - 1 : needed]))
    assert predictor.look_ahead_s == pytest.approx(0.04)
    assert not len(predictor.feed(waveform[:, needed : needed + 28800 - 1]))
    rows = predictor.feed(waveform[:, needed + 28800 - 1 : needed + 28800])
    assert set(rows.frame) <= set(range(12, 24)) and len(rows)


@pytest.mark.parametrize("rate_hz", [44100, 48000, 22050, 24001])
@pytest.mark.parametrize("seconds", [0.3, 3.3])
def test_windows_of_another_rate_are_bit_for_bit_those_of_the_offline_run(models, seconds, rate_hz, monkeypatch):
    write_audio("talk.wav", bursts(seconds, rate_hz=rate_hz), rate_hz, subtype="FLOAT")
    inference = load(models / "foa.pth", device="cpu")
    matrix = channel_matrix(inference.model.array, "fuma", None)
    predictor, windows, held = StreamPredictor(inference, rate_hz=rate_hz, matrix=matrix), [], 0

    def window(self, samples, valid_end):
        windows.append(samples.copy())
        self.windows += 1
        return EventTable.make()

    monkeypatch.setattr(StreamPredictor, "window", window)
    waveform = soundfile.read("talk.wav", dtype="float32", always_2d=True)[0].T
    for start in range(0, waveform.shape[1], 777):
        predictor.feed(waveform[:, start : start + 777])
        held = max(held, predictor._held.shape[1])
    predictor.finish()
    plan, read = predictor.plan, file_reader(matrix)
    recording = open_sound(Path("talk.wav"), inference.model.array)
    assert len(windows) == len(inference.look_times_s(recording))
    for index, samples in enumerate(windows):
        start = plan.window_start(index)
        length = min(plan.window_samples, recording.samples_at(24000) // 240 * 240 - start)
        np.testing.assert_array_equal(samples[:, :length], read(recording, start, length, 24000))
        assert not samples[:, length:].any()
    grid_s = 1 / math.gcd(rate_hz, 24000)  # stretches begin where samples of both rates meet
    assert held / rate_hz < plan.window_samples / 24000 + 2 * grid_s + 0.15


@pytest.mark.parametrize("rate_hz", [24000, 48000])
def test_a_file_streams_the_rows_of_its_offline_run(models, rate_hz, capsys):
    recording(Path("talk.wav"), 3.3, rate_hz=rate_hz)
    assert infer(models, "talk.wav", "--player", "never") == 0
    capsys.readouterr()
    assert infer(models, "talk.wav", "--stream", "--out", "live") == 0
    shown = capsys.readouterr()
    assert same(parsed(shown.out), read_events("talk_seld/talk.csv", "dcase2023"))
    assert Path("live/talk.csv").read_text() == shown.out
    late = "0.04 to 1.14" if rate_hz == 24000 else "0.06 to 1.16"  # the filter of the resampler looks ahead too
    assert "real-time factor" in shown.err and f"{late} s after the end of its frame" in shown.err
    assert "3.3 s heard" in shown.err


def test_a_video_is_decoded_along(models, capsys):
    recording(Path("talk.wav"), 3.0)
    tiny_video(Path("talk.mp4"), 1.5)  # ends before the sound
    assert infer(models, "talk.wav", "talk.mp4", "--player", "never", model="av") == 0
    capsys.readouterr()
    assert infer(models, "talk.wav", "talk.mp4", "--stream", model="av") == 0
    assert same(parsed(capsys.readouterr().out), read_events("talk_seld/talk.csv", "dcase2023"))


@pytest.mark.parametrize(("form", "kind"), [("s16le", "<i2"), ("f32le", "<f4")])
@pytest.mark.parametrize("rate_hz", [24000, 44100, 48000])
def test_raw_samples_on_standard_input(models, form, kind, rate_hz, monkeypatch, capsys):
    waveform = bursts(2.6, rate_hz=rate_hz)
    raw = np.rint(waveform * 32768) if kind == "<i2" else waveform
    subtype = "PCM_16" if kind == "<i2" else "FLOAT"
    write_audio("talk.wav", waveform, rate_hz, subtype=subtype)
    assert infer(models, "talk.wav", "--player", "never") == 0
    capsys.readouterr()
    Path("raw").write_bytes(raw.T.astype(kind).tobytes())
    with open("raw", "rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        flags = ["--stream", "--stream-format", form, "--channels", "4", "--rate", str(rate_hz)]
        assert infer(models, "-", *flags) == 0
    assert same(parsed(capsys.readouterr().out), read_events("talk_seld/talk.csv", "dcase2023"))


def test_what_cannot_be_streamed_is_refused(models, capsys, monkeypatch):
    recording(Path("a.wav"), 1.0)
    assert infer(models, "a.wav", "--stream", "--rate", "48000") == 2
    assert "are for standard input" in capsys.readouterr().err
    assert infer(models, "-", "--stream", "--channels", "2") == 2
    assert "4 channels" in capsys.readouterr().err
    inference = load(models / "foa.pth", device="cpu")
    with pytest.raises(InputError, match=r"0\.500 s.*NaN"):
        waveform = np.zeros((4, RATE_HZ), np.float32)
        waveform[2, 12000] = np.nan
        StreamPredictor(inference).feed(waveform)
    inference.model.system = replace(inference.model.system, streams=False)
    with pytest.raises(InputError, match="needs the whole recording"):
        StreamPredictor(inference)


@pytest.mark.slow
def test_standard_input_of_a_real_pipe(models):
    """One run as it is typed: samples through a pipe, rows out."""
    write_audio("talk.wav", bursts(1.3), RATE_HZ)
    samples, _ = soundfile.read("talk.wav", dtype="int16")
    command = [sys.executable, str(PROJECT / "seld.py"), "-infer", "-", "--stream", "--device", "cpu"]
    command += ["-em", str(models / "foa.pth"), "--threshold-config", str(models / "t.json"), "--rate", str(RATE_HZ)]
    done = subprocess.run(command, input=samples.tobytes(), capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    assert len(parsed(done.stdout.decode())) > 5 and b"real-time factor" in done.stderr
