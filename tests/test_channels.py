"""What the channels of a recording are: by its header, by its number of channels, by the user's word."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from job.sound import file_reader, open_sound
from tests.checkpoints import bursts, recording, thresholds, untrained
from tests.test_sound_header import chunk
from util.angles import direction_from_degrees
from util.audio import audio_info, read_audio
from util.channel_names import capsule_corners, parse_channels
from util.channels import Channels, Wanted, capsule_matrix, channels_of
from util.errors import InputError
from util.microphone_arrays import ARRAYS
from util.sound_header import piped_wav

RATE_HZ = 24000
ROOT = Path(__file__).parents[1]
AS_IT_IS = Wanted()
B_FORMAT = {1: "01000000", 3: "03000000"}


def amb(path: Path, waveform: np.ndarray, *, code: int = 3) -> Path:
    """A file of Ambisonic B-format; (channels, samples)."""
    count = len(waveform)
    data = waveform.T.astype("<f4") if code == 3 else np.rint(waveform.T * 32767).astype("<i2")
    width = data.itemsize
    form = struct.pack("<HHIIHH", 0xFFFE, count, RATE_HZ, RATE_HZ * width * count, width * count, 8 * width)
    form += struct.pack("<HHI", 22, 8 * width, 0) + bytes.fromhex(B_FORMAT[code] + "2107d3118644c8c1ca000000")
    body = b"WAVE" + chunk(b"fmt ", form) + chunk(b"data", data.tobytes())
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def heard(path: Path, wanted: Wanted = AS_IT_IS, array: str = "foa") -> tuple[np.ndarray, Channels]:
    """What -infer reads of a file."""
    channels = channels_of(audio_info(path), ARRAYS[array], wanted)
    one = open_sound(path, ARRAYS[array])
    if channels.matrix is None:
        return read_audio(path), channels
    return file_reader(channels.matrix)(one, 0, one.samples_at(RATE_HZ), RATE_HZ), channels


def written(path: Path, waveform: np.ndarray) -> Path:
    soundfile.write(path, waveform.T, RATE_HZ, subtype="FLOAT")
    return path


@pytest.mark.parametrize("code", [1, 3])
@pytest.mark.parametrize("name", ["a.amb", "a.wav"])
def test_b_format_is_believed(tmp_path, name, code):
    acn = bursts(0.5)
    w, y, z, x = acn
    path = amb(tmp_path / name, np.stack([w / 2**0.5, x, y, z]), code=code)
    waveform, channels = heard(path)
    np.testing.assert_allclose(waveform, acn, atol=1e-6 if code == 3 else 1e-4)
    assert channels.order == "fuma" and "read as --channel-order fuma" in channels.said[0]
    assert not heard(path, Wanted(order="fuma"))[1].said
    raw, channels = heard(path, Wanted(order="acn"))
    assert np.allclose(raw[1], x, atol=1e-4) and "all the same" in channels.said[0]
    with pytest.raises(InputError, match=r"Ambisonics by its header.*mic audio"):
        heard(path, array="mic")


def test_higher_and_mixed_orders_of_b_format(tmp_path):
    w, y, z, x = acn = bursts(0.2)
    rest = np.ones((12, len(w))) * 0.01
    for count in (6, 8, 9, 11, 16):
        path = amb(tmp_path / f"{count}.amb", np.concatenate([np.stack([w / 2**0.5, x, y, z]), rest])[:count])
        np.testing.assert_allclose(heard(path)[0], acn, atol=1e-6)
    for count in (3, 5, 7):  # horizontal: no Z
        path = amb(tmp_path / f"{count}.amb", np.concatenate([np.stack([w / 2**0.5, x, y]), rest])[:count])
        waveform, channels = heard(path)
        np.testing.assert_allclose(waveform, [w, y, 0 * z, x], atol=1e-6)
        assert "Z is silent" in " ".join(channels.said)


def test_a_data_root_refuses_what_its_reading_would_exchange(tmp_path):
    from dataset.recordings import recording_of_file

    path = amb(tmp_path / "a.amb", bursts(0.1))
    with pytest.raises(
        InputError, match=r"B-format \(FuMa: W X Y Z\) by its header: sox .*a\.amb .* remix 1v1\.4142 3 4 2"
    ):
        recording_of_file(path)


@pytest.mark.parametrize(("tag", "order", "norm"), [(107, "fuma", None), (190, "acn", None), (191, "acn", "n3d")])
def test_core_audio_says_what_its_ambisonics_are(tmp_path, tag, order, norm):
    path = tmp_path / "a.caf"
    soundfile.write(path, bursts(0.1).T, RATE_HZ, subtype="FLOAT")
    content = path.read_bytes()
    layout = b"chan" + struct.pack(">q", 12) + struct.pack(">III", tag << 16 | 4, 0, 0)
    at = content.index(b"data")
    path.write_bytes(content[:at] + layout + content[at:])
    channels = heard(path)[1]
    assert (channels.order, channels.norm) == (order, norm)


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_higher_orders_use_their_first_four_and_say_so(tmp_path, order):
    acn, count = bursts(0.2), (order + 1) ** 2
    path = written(tmp_path / "hoa.wav", np.concatenate([acn, np.full((count - 4, acn.shape[1]), 0.3)]))
    waveform, channels = heard(path)
    assert np.array_equal(waveform, acn) and f"of order {order}" in channels.said[0]


def test_channels_are_chosen_by_number(tmp_path):
    waveform = (np.arange(8)[:, None] / 10 + np.zeros((8, 100))).astype(np.float32)
    path = written(tmp_path / "eight.wav", waveform)
    for text, picks in (
        ("1-4", [0, 1, 2, 3]),
        ("1,3,2,4", [0, 2, 1, 3]),
        ("5-8", [4, 5, 6, 7]),
        ("8,1-3", [7, 0, 1, 2]),
    ):
        for array in ("foa", "mic"):
            assert np.array_equal(heard(path, Wanted(used=parse_channels(text)), array)[0], waveform[picks])
    with pytest.raises(InputError, match=r"8 channels.*4 channels \(--channels-used 1-4"):
        heard(path)
    with pytest.raises(InputError, match="has 8 channels, --channels-used asks for number 9"):
        heard(path, Wanted(used=parse_channels("6-9")))
    with pytest.raises(InputError, match="names 2 channels, foa audio has 4"):
        heard(path, Wanted(used=(0, 1)))
    six, many = written(tmp_path / "6.wav", waveform[:6]), written(tmp_path / "32.wav", np.tile(waveform, (4, 1)))
    with pytest.raises(InputError, match=r"head-locked stereo: --channels-used 1-4.*ReSpeaker"):
        heard(six)
    with pytest.raises(InputError, match=r"Eigenmike: --channels-used 6,10,26,22"):
        heard(many, array="mic")
    for text in ("0-3", "4-1", "a", "1,,2", "1-2-3", "1,1"):
        with pytest.raises(InputError):
            parse_channels(text)


@pytest.mark.parametrize("order", ["FLU,FRD,BLD,BRU", "BRU,FLU,BLD,FRD", "FLD,FRU,BLU,BRD"])
def test_ideal_cardioids_become_ambisonics(order):
    corners = np.array(capsule_corners(order)[1]) / 3**0.5
    rng = np.random.default_rng(0)
    direction = direction_from_degrees(rng.uniform(-180, 180, 50), rng.uniform(-90, 90, 50))
    capsules = (1 + direction @ corners.T) / 2
    x, y, z = direction.T
    expected = np.stack([np.ones(50), y, z, x])
    np.testing.assert_allclose(capsule_matrix(order.split(",")) @ capsules.T, expected, atol=1e-6)
    for wrong in ("FLU,FRD,BLD", "FLU,FLU,BLD,BRU", "FLU,FRU,BLD,BRD", "FLU,FRD,BLD,XXX"):
        with pytest.raises(InputError):
            capsule_corners(wrong)


def test_loudspeakers_of_the_header_are_said(tmp_path):
    form = struct.pack("<HHIIHH", 0xFFFE, 4, RATE_HZ, RATE_HZ * 8, 8, 16) + struct.pack("<HHI", 22, 16, 0x33)
    form += bytes.fromhex("0100000000001000800000aa00389b71")
    body = b"WAVE" + chunk(b"fmt ", form) + chunk(b"data", bytes(800))
    path = tmp_path / "quad.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    (said,) = heard(path)[1].said
    assert "front left, front right, back left, back right" in said


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    untrained(folder / "foa.pth")
    thresholds(folder / "t.json", 0.5)
    return folder


def piped(models: Path, content: bytes, *flags: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "seld.py", "-infer", "-", "--stream", "-em", str(models / "foa.pth"), "--device", "cpu"]
    command += ["--threshold-config", str(models / "t.json"), *flags]
    return subprocess.run(command, cwd=ROOT, input=content, capture_output=True)


def test_a_wav_file_through_a_pipe_is_read_by_its_header(models, tmp_path):
    path = recording(tmp_path / "a.wav", 1.5)
    samples = np.rint(soundfile.read(path)[0] * 32767).astype("<i2")
    raw = piped(models, samples.tobytes(), "--channels", "4", "--rate", "24000")
    assert raw.returncode == 0 and raw.stdout
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, format="WAV", subtype="PCM_16")
    plain = file.getvalue()
    at = plain.index(b"data") + 4
    left_open = plain[:at] + struct.pack("<I", 0x7FFFF000) + plain[at + 4 :]
    followed = plain + chunk(b"LIST", b"INFO" * 5)
    for content in (plain, left_open, followed):
        out = piped(models, content, "--stream-format", "s16le", "--channels", "4", "--rate", "24000")
        assert out.stdout == raw.stdout and out.returncode == 0, out.stderr
    w, y, z, x = samples.T / 32767
    b_format = amb(tmp_path / "a.amb", np.stack([w / 2**0.5, x, y, z])).read_bytes()
    out = piped(models, b_format)
    assert b"--channel-order fuma" in out.stderr and abs(len(out.stdout) - len(raw.stdout)) < 200
    for flags, words in ((["--rate", "48000"], b"says 24000"), (["--stream-format", "f32le"], b"says s16le")):
        out = piped(models, plain, *flags)
        assert out.returncode == 2 and words in out.stderr
    out = piped(models, b"fLaC" + bytes(100))
    assert out.returncode == 2 and b"FLAC" in out.stderr and b"ffmpeg" in out.stderr


def test_the_head_of_a_pipe_that_breaks_off():
    def reader(content: bytes):
        return io.BytesIO(content).read

    for content in (b"", b"fmt ", chunk(b"fmt ", b"short"), chunk(b"LIST", bytes(8)), b"data" + bytes(4)):
        with pytest.raises(InputError, match="before its samples"):
            piped_wav(b"RIFF\0\0\0\0WAVE", reader(content))
