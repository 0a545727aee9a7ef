"""Audio files: windows are exact at any rate, and everything broken is refused with file and place."""

import logging
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import golden
from tests.limits import needs_file_limit
from util.audio import audio_info, read_audio, write_audio
from util.errors import InputError


def noise(channels: int, samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal((channels, samples))).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("audio")


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [("wav", "PCM_16"), ("WAV", "PCM_16"), ("flac", "PCM_16"), ("wav", "PCM_24"), ("flac", "PCM_24"), ("wav", "FLOAT")],
)
def test_what_is_written_is_read(folder, suffix, subtype):
    waveform = np.clip(noise(4, 5003) * 3, -1, 1 - 2**-15)
    path = folder / f"{subtype}.{suffix}"
    write_audio(path, waveform, 24000, subtype=subtype)
    info = audio_info(path, channels=4)
    assert (info.channels, info.rate_hz, info.frames, info.subtype) == (4, 24000, 5003, subtype)
    assert info.duration_s == pytest.approx(5003 / 24000)
    step = {"PCM_16": 0.5 / 32768, "PCM_24": 1.01 / 2**23, "FLOAT": 0}[subtype]
    read = read_audio(path)
    assert read.dtype == np.float32 and read.flags.c_contiguous and np.abs(read - waveform).max() <= step + 1e-9


def test_sixteen_bits_are_divided_by_32768_and_written_back_unchanged(folder):
    samples = np.array([[-32768, -1, 0, 1, 32767]], dtype=np.int16)
    soundfile.write(folder / "steps.wav", samples.T, 24000)
    read = read_audio(folder / "steps.wav")
    assert np.array_equal(read, samples / np.float32(32768))
    write_audio(folder / "again.wav", read, 24000)
    assert np.array_equal(soundfile.read(folder / "again.wav", dtype="int16")[0], samples[0])
    write_audio(folder / "clipped.wav", np.array([[2.0, -2.0]]), 24000)
    assert soundfile.read(folder / "clipped.wav", dtype="int16")[0].tolist() == [32767, -32768]


@settings(max_examples=60, deadline=None)
@given(start=st.integers(-3000, 9000), frames=st.integers(0, 9000))
def test_a_window_is_the_stretch_of_the_padded_clip(tmp_path_factory, start, frames):
    path = tmp_path_factory.getbasetemp() / "window.wav"
    waveform = np.round(noise(2, 5000) * 32768) / np.float32(32768)
    if not path.exists():
        write_audio(path, waveform, 24000)
    padded = np.pad(waveform, ((0, 0), (3000, 15000)))
    expected = padded[:, start + 3000 : start + 3000 + frames]
    assert np.array_equal(read_audio(path, start=start, frames=frames), expected)


@pytest.mark.parametrize("rate_hz", [48000, 44100, 32000, 22050, 16000, 96000, 8000, 44099])
def test_windows_of_a_resampled_file_are_those_of_the_whole(folder, rate_hz):
    path = folder / f"{rate_hz}.wav"
    waveform = noise(2, 3 * rate_hz + 37, seed=rate_hz)
    write_audio(path, waveform, rate_hz, subtype="FLOAT")
    whole = soxr.resample(waveform.T, rate_hz, 24000, quality="HQ").T
    assert audio_info(path).frames_at(24000) == whole.shape[1]
    assert np.abs(read_audio(path) - whole).max() < 1e-6
    for start, frames in ((0, 5000), (1, 777), (12345, 30480), (70000, 30480), (whole.shape[1] - 10, 100)):
        expected = np.pad(whole, ((0, 0), (0, 40000)))[:, start : start + frames]
        assert np.abs(read_audio(path, start=start, frames=frames) - expected).max() < 1e-6


def test_resampling_is_that_of_the_fork_and_said_once(folder, caplog):
    values = np.load(golden.find("av_baseline/fork_extras.npz"))
    path = folder / "fork.wav"
    write_audio(path, values["resample_in_48k"].T, 48000, subtype="FLOAT")
    with caplog.at_level(logging.INFO, "util.audio"):
        for _ in range(3):
            resampled = read_audio(path, channels=2)
    assert np.abs(resampled - values["resample_out_24k"].T).max() < 1e-5
    assert [record.getMessage() for record in caplog.records] == [f"{path}: resampled from 48000 to 24000 Hz"]


def test_wrong_channels_name_file_found_and_needed(folder):
    write_audio(folder / "stereo.wav", noise(2, 100), 24000)
    with pytest.raises(InputError, match=r"stereo\.wav: has 2 channels, the format needs 4"):
        audio_info(folder / "stereo.wav", channels=4)
    with pytest.raises(InputError, match="has 2 channels"):
        read_audio(folder / "stereo.wav", channels=4)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_file_shorter_than_its_header_is_refused_at_once(folder, subtype):
    path = folder / f"cut_{subtype}.wav"
    write_audio(path, noise(4, 24000), 24000, subtype=subtype)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        InputError, match=r"shorter than its header says: 1\.000 s in the header, 0\.[45]\d+ s in the file"
    ):
        audio_info(path)
    path.write_bytes(whole[:30])
    with pytest.raises(InputError):
        audio_info(path)


def test_a_flac_that_breaks_off_is_refused_when_read(folder):
    path = folder / "cut.flac"
    write_audio(path, noise(2, 48000), 24000)
    path.write_bytes(path.read_bytes()[:60000])
    with pytest.raises(InputError, match=r"cut\.flac"):
        read_audio(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_no_numbers_name_the_second(folder, bad):
    waveform = noise(4, 48000)
    waveform[2, 36000] = bad
    path = folder / "nan.wav"
    write_audio(path, waveform, 24000, subtype="FLOAT")
    assert read_audio(path, start=0, frames=36000).shape == (4, 36000)
    with pytest.raises(InputError, match=r"nan\.wav: 1\.500 s: has samples that are NaN or infinite"):
        read_audio(path, start=20000, frames=20000)
    slow = folder / "nan48.wav"
    write_audio(slow, waveform, 48000, subtype="FLOAT")
    with pytest.raises(InputError, match=r"0\.750 s"):
        read_audio(slow)


def test_files_without_samples_are_refused(folder):
    (folder / "empty.wav").write_bytes(b"")
    with pytest.raises(InputError, match="has no samples"):
        audio_info(folder / "empty.wav")
    soundfile.write(folder / "header.wav", np.zeros((0, 4)), 24000)
    with pytest.raises(InputError, match="has no samples"):
        audio_info(folder / "header.wav")
    with pytest.raises(InputError, match="no such file"):
        audio_info(folder / "nothing.wav")
    (folder / "text.wav").write_text("this is no audio at all, whatever its name says")
    with pytest.raises(InputError, match="is no audio file"):
        read_audio(folder / "text.wav")
    with pytest.raises(InputError, match="cannot be read"):
        audio_info(folder)


def test_headers_of_other_writers_are_understood(folder):
    samples = np.arange(8, dtype="<i2").reshape(4, 2)
    form = struct.pack("<HHIIHH", 1, 2, 24000, 96000, 4, 16)
    extensible = struct.pack("<HHIIHH", 0xFFFE, 2, 24000, 96000, 4, 16) + struct.pack("<HHI", 22, 16, 3)
    extensible += bytes.fromhex("0100000000001000800000aa00389b71")

    def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
        return name + struct.pack("<I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)

    data = samples.tobytes()
    for number, body in enumerate(
        (
            chunk(b"fmt ", form) + chunk(b"data", data),
            chunk(b"LIST", b"odd") + chunk(b"fmt ", extensible) + chunk(b"data", data) + chunk(b"id3 ", b"abcd"),
            chunk(b"fmt ", form) + chunk(b"data", data, 0xFFFFFFFF),
        )
    ):
        path = folder / f"other{number}.wav"
        path.write_bytes(b"RIFF" + struct.pack("<I", len(body) + 4) + b"WAVE" + body)
        assert np.array_equal(read_audio(path) * 32768, samples.T)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80), st.integers(0, 60))
def test_any_bytes_are_audio_or_one_clear_error(tmp_path_factory, data, kept):
    path = tmp_path_factory.getbasetemp() / "fuzz.wav"
    good = tmp_path_factory.getbasetemp() / "good.wav"
    if not good.exists():
        write_audio(good, noise(2, 16), 24000)
    path.write_bytes(good.read_bytes()[:kept] + data)
    try:
        read_audio(path)
    except InputError as error:
        assert "\n" not in str(error)


def test_a_changed_file_is_read_anew(folder):
    path = folder / "changing.wav"
    write_audio(path, noise(1, 100), 24000)
    assert audio_info(path).frames == 100
    write_audio(path, noise(2, 50), 24000)
    assert (audio_info(path).frames, audio_info(path).channels) == (50, 2)


@needs_file_limit
def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    script = (
        "import resource, sys, numpy as np\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "from util.audio import write_audio\n"
        "from util.errors import InputError\n"
        "try:\n"
        "    write_audio(sys.argv[1], np.zeros((4, 24000)), 24000)\n"
        "except InputError as error:\n"
        "    print(error)\n"
    )
    target = tmp_path / "big.wav"
    result = subprocess.run([sys.executable, "-c", script, str(target)], capture_output=True, text=True, check=True)
    assert "big.wav: cannot be written" in result.stdout and list(tmp_path.iterdir()) == []
