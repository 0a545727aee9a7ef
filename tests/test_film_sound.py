"""A film's own sound: its tracks, its box of spatial audio, the same rows as of the sound in a file of its own."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import seld
from job.inputs import find_items
from tests.checkpoints import bursts, thresholds, untrained
from tests.films import film, spatial, with_boxes
from util.audio import audio_blocks, audio_info, read_audio, write_audio
from util.channels import channels_of
from util.cli import run_main
from util.errors import InputError
from util.microphone_arrays import ARRAYS

EVEN = [index / 10 for index in range(10)]
SOUND = bursts(1.2)


def music(path: Path, sound: np.ndarray = SOUND, times_s=EVEN, **options) -> Path:
    options = {"layout": "4.0", "codec": "pcm_s16le"} | options
    return film(path, times_s, sound=sound, **options)


@pytest.mark.parametrize(("name", "codec", "most"), [("a.mov", "pcm_s16le", 5e-5), ("a.mkv", "pcm_f32le", 1e-7)])
def test_the_samples_of_a_film_are_those_of_its_sound(tmp_path, name, codec, most):
    path = music(tmp_path / name, codec=codec)
    info = audio_info(path)
    assert (info.channels, info.rate_hz, info.frames) == (4, 24000, SOUND.shape[1])
    assert np.abs(read_audio(path) - SOUND).max() < most
    assert np.abs(read_audio(path, start=5000, frames=300) - SOUND[:, 5000:5300]).max() < most
    assert sum(block.shape[1] for block in audio_blocks(path)) == info.frames


def test_a_colon_in_the_name_of_a_film_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    music(tmp_path / "12:30.mov")
    (item,) = find_items([Path("12:30.mov")]).items
    assert item.video is not None and audio_info(item.audio).channels == 4
    assert np.abs(read_audio(item.audio) - SOUND).max() < 5e-5


def test_the_track_with_most_channels_is_used_and_that_is_said(tmp_path):
    path = tmp_path / "both.mkv"
    with av.open(path, "w") as out:
        for layout in ("stereo", "4.0"):
            out.add_stream("pcm_s16le", rate=24000, layout=layout)
        for stream in out.streams:
            count = stream.codec_context.channels
            values = np.full((1, 2400 * count), count, dtype=np.int16)
            frame = av.AudioFrame.from_ndarray(values, format="s16", layout=stream.codec_context.layout.name)
            frame.sample_rate, frame.pts, frame.time_base = 24000, 0, Fraction(1, 24000)
            out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    info = audio_info(path)
    assert info.channels == 4 and "track 2 of 2" in info.note


def test_the_box_of_spatial_audio(tmp_path):
    w, y, z, x = SOUND
    path = music(tmp_path / "a.mov", np.stack([w, x, y, z]))
    with_boxes(path, spatial([0, 2, 3, 1]), kind=b"soun", entry_bytes=28)
    channels = channels_of(audio_info(path), ARRAYS["foa"])
    np.testing.assert_allclose(channels.matrix @ read_audio(path), SOUND, atol=5e-5)
    for box, words in (
        (spatial([0, 1, 2, 3], norm=1), "weights 1"),
        (spatial([0, 1, 2, 3], ordering=2), "ordering 2"),
        (spatial([0, 1, 2, 3], kind=3), "kind 3"),
        (spatial([0, 1, 2, 7]), r"channels \[0, 1, 2, 7\]"),
        (spatial([0, 1, 1, 2]), "names channels"),
    ):
        path = with_boxes(music(tmp_path / "bad.mov"), box, kind=b"soun", entry_bytes=28)
        with pytest.raises(InputError, match=words):
            audio_info(path)


def test_a_film_gives_the_rows_of_its_sound(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    untrained(Path("av.pth"), visual=True)
    thresholds(Path("t.json"), 0.5)
    music(Path("talk.mov"))
    sound = np.rint(SOUND * 32767) / 32768
    write_audio("alone.wav", sound.astype(np.float32), 24000)
    film(Path("alone.mp4"), EVEN)
    flags = ["-em", "av.pth", "--threshold-config", "t.json", "--device", "cpu"]
    assert run_main(seld.main, ["-infer", "talk.mov", *flags]) == 0
    assert run_main(seld.main, ["-infer", "alone.wav", "alone.mp4", *flags]) == 0
    rows = Path("talk_seld/talk.csv").read_text()
    assert rows and rows == Path("alone_seld/alone.csv").read_text()
    assert Path("talk_seld/player.html").stat().st_size > 10000
    film(Path("mute.mp4"), EVEN[:3])
    with pytest.raises(InputError, match="without sound of its own: give the multichannel sound file too"):
        find_items(["mute.mp4"])
    music(Path("stereo.mov"), SOUND[:2], layout="stereo")
    assert run_main(seld.main, ["-infer", "stereo.mov", *flags]) == 2
    assert "stereo.mov: has 2 channels; the checkpoint is for foa audio, 4 channels" in capsys.readouterr().err
    music(Path("only.mov"), times_s=[])
    assert [item.video for item in find_items(["only.mov"]).items] == [None]
