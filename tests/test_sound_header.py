"""Headers of sound files: every length that writers leave, every container, and bytes that are no header at all."""

import io
import logging
import os
import struct

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from util.audio import audio_blocks, audio_info, read_audio, write_audio
from util.errors import InputError
from util.sound_header import sound_header

RATE_HZ = 24000
SAMPLES = np.random.default_rng(3).integers(-9000, 9000, (4, 1200)).astype("<i2")
DATA = np.ascontiguousarray(SAMPLES.T).tobytes()
WAVEFORM = SAMPLES / np.float32(32768)
FORM = struct.pack("<HHIIHH", 1, 4, RATE_HZ, RATE_HZ * 8, 8, 16)


def chunk(name: bytes, body: bytes, stated: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if stated is None else stated) + body + b"\0" * (len(body) % 2)


def wav(data: bytes = DATA, stated: int | None = None, *, before: bytes = b"", after: bytes = b"", riff=None) -> bytes:
    body = b"WAVE" + before + chunk(b"fmt ", FORM) + chunk(b"data", data, stated) + after
    return b"RIFF" + struct.pack("<I", len(body) if riff is None else riff) + body


def rf64(stated: int, *, kind: bytes = b"RF64", data_stated: int = 0xFFFFFFFF) -> bytes:
    long = chunk(b"ds64", struct.pack("<QQQI", 0, stated, 0, 0))
    body = b"WAVE" + long + chunk(b"fmt ", FORM) + chunk(b"data", DATA, data_stated)
    return kind + struct.pack("<I", 0xFFFFFFFF) + body


def written(path, content: bytes):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("riff", [0, 0xFFFFFFFF, None])
@pytest.mark.parametrize(
    "stated", [0, 0x7FFFF000, 0x7FFFF000 + 36, 0x7FFFFFFF, 0x7FFFFFF8, 0x80000000, 0xFFFFFFFF, 0xFFFFFFDB, 0xFFFFFFF8]
)
def test_a_length_that_is_left_open_is_up_to_the_end_and_said_once(tmp_path, caplog, stated, riff):
    path = written(tmp_path / "open.wav", wav(stated=stated, riff=riff))
    with caplog.at_level(logging.WARNING, "util.audio"):
        assert np.array_equal(read_audio(path), WAVEFORM)
        assert audio_info(path).duration_s == pytest.approx(0.05)
    (said,) = [record.getMessage() for record in caplog.records]
    assert str(path) in said and "0.050 s up to the end of the file are read" in said


@pytest.mark.parametrize("kind", [b"RF64", b"BW64"])
@pytest.mark.parametrize("stated", [0, len(DATA), 2**64 - 1])
def test_long_wav_files_finished_or_not(tmp_path, kind, stated):
    assert np.array_equal(read_audio(written(tmp_path / "long.wav", rf64(stated, kind=kind))), WAVEFORM)
    finished = written(tmp_path / "short.wav", rf64(stated, kind=kind, data_stated=len(DATA)))
    assert np.array_equal(read_audio(finished), WAVEFORM) and not audio_info(finished).note


def test_a_file_that_breaks_off_is_refused_with_the_command_that_keeps_what_is_there(tmp_path):
    path = written(tmp_path / "cut short.wav", wav(DATA[: len(DATA) // 2], len(DATA)))
    with pytest.raises(InputError, match=r"0\.050 s in the header, 0\.025 s in the file.*ffmpeg -i '.*cut short\.wav'"):
        audio_info(path)
    with pytest.raises(InputError, match="breaks off inside its header"):
        audio_info(written(tmp_path / "cut.wav", wav()[:30]))
    with pytest.raises(InputError, match="shorter than its header says"):
        audio_info(written(tmp_path / "long.wav", rf64(2 * len(DATA))))


def test_padding_and_repeated_chunks_are_taken_as_players_take_them(tmp_path):
    odd = chunk(b"LIST", b"odd")
    for number, content in enumerate(
        (
            wav(after=odd),
            wav(before=odd + chunk(b"JUNK", bytes(28))),
            wav(before=b"LIST" + struct.pack("<I", 3) + b"odd"),  # without its pad byte
            wav(before=chunk(b"fmt ", FORM), after=chunk(b"data", bytes(80))),  # repeated: the first ones
            wav(before=chunk(b"fmt ", FORM) + chunk(b"data", b"")),  # an empty one first
            wav(after=bytes(512)),  # the file is padded to whole blocks
            wav(stated=len(DATA) + 1),  # a pad byte that was counted and not written
            b"RIFF" + struct.pack("<I", 0) + b"WAVE" + chunk(b"data", DATA) + chunk(b"fmt ", FORM),
        )
    ):
        path = written(tmp_path / f"{number}.wav", content)
        assert np.array_equal(read_audio(path), WAVEFORM), number
        assert not audio_info(path).note, number


def test_more_sound_than_the_header_counts_is_named(tmp_path):
    path = written(tmp_path / "stale.wav", wav(DATA * 30, len(DATA)))
    assert audio_info(path).frames == 1200 and "sox --ignore-length" in audio_info(path).note


@pytest.mark.parametrize("after", [b"", chunk(b"LIST", b"INFOabcd")])
def test_a_length_that_wrapped_at_four_gigabytes_is_noticed(tmp_path, after):
    length = 2**32 + 8 * 5000
    head = wav(b"", length % 2**32, riff=length % 2**32)
    path = tmp_path / "wrapped.wav"
    with open(path, "wb") as file:  # a hole: no disk is needed
        file.write(head)
        file.seek(len(head) + length - len(DATA))
        file.write(DATA + after)
    info = audio_info(path)
    assert info.frames == length // 8 and "wrapped" in info.note
    assert np.array_equal(read_audio(path, start=info.frames - 1200), WAVEFORM)
    path.unlink()


@pytest.mark.parametrize("stated", [0x7FFFF000, 0xFFFFFFFF, 0])
def test_a_pipe_longer_than_the_number_that_it_left(tmp_path, stated):
    head = wav(b"", stated)
    path = tmp_path / "piped.wav"
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(len(head) + 2**32 + 8000)
    assert audio_info(path).frames == (2**32 + 8000) // 8
    path.unlink()


CONTAINERS = [
    (form, subtype, endian)
    for form in ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF")
    for subtype in ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAW", "ULAW")
    for endian in ("FILE", "LITTLE", "BIG")
]


@pytest.mark.parametrize("form", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF"])
def test_every_coding_is_read_as_libsndfile_reads_it(tmp_path, form):
    waveform = np.random.default_rng(0).uniform(-1, 1, (501, 3))
    done = 0
    for name, subtype, endian in CONTAINERS:
        path = tmp_path / f"{subtype}_{endian}"
        if name != form:
            continue
        try:
            soundfile.write(path, waveform, 22050, subtype=subtype, format=form, endian=endian)
        except (soundfile.LibsndfileError, ValueError):
            continue  # not in this container
        info = audio_info(path)
        assert (info.channels, info.rate_hz, info.frames, info.subtype) == (3, 22050, 501, subtype)
        expected = soundfile.read(path, dtype="float32")[0].T
        assert np.array_equal(read_audio(path, rate_hz=22050), expected), (subtype, endian)
        assert np.array_equal(np.concatenate(list(audio_blocks(path, block=100)), axis=1), expected)
        done += 1
    assert done >= 6


def test_open_lengths_of_other_containers(tmp_path):
    waveform = WAVEFORM.T
    for form, name, place in (
        ("AU", "a.au", 8),
        ("W64", "a.w64", None),
        ("CAF", "a.caf", None),
        ("AIFF", "a.aiff", None),
    ):
        path = tmp_path / name
        soundfile.write(path, waveform, RATE_HZ, subtype="PCM_16", format=form)
        content = bytearray(path.read_bytes())
        if form == "AU":
            values = [struct.pack(">I", 0xFFFFFFFF), struct.pack(">I", 0)]
        elif form == "W64":
            place = content.index(b"data\xf3\xac") + 16
            values = [struct.pack("<Q", 0), struct.pack("<Q", 24), struct.pack("<Q", 2**63)]
        elif form == "CAF":
            place = content.index(b"data") + 4
            values = [struct.pack(">q", -1), struct.pack(">q", 0)]
        else:
            place = content.index(b"SSND") + 4
            values = [struct.pack(">I", 0), struct.pack(">I", 0x7F000000 + 0xFFF008), struct.pack(">I", 8)]
            content[content.index(b"COMM") + 10 :][:4] = bytes(4)
            content = content[: content.index(b"COMM") + 10] + bytes(4) + content[content.index(b"COMM") + 14 :]
        for value in values:
            changed = bytes(content[:place]) + value + bytes(content[place + len(value) :])
            path.write_bytes(changed)
            assert np.array_equal(read_audio(path), WAVEFORM), (form, value)


def test_a_flac_that_does_not_tell_its_length_is_counted_and_sought_in(tmp_path, caplog):
    path = tmp_path / "piped.flac"
    noise = np.random.default_rng(1).integers(-9000, 9000, (60000, 4)).astype(np.int16)
    soundfile.write(path, noise, RATE_HZ)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, "util.audio"):
        info = audio_info(path)
        assert (info.frames, info.channels, info.rate_hz) == (60000, 4, RATE_HZ)
        for start in (0, 100, 59000, 31234):
            expected = noise.T[:, start : start + 500] / np.float32(32768)
            assert np.array_equal(read_audio(path, start=start, frames=500), expected)
    assert len(caplog.records) == 1 and "found by decoding" in caplog.records[0].getMessage()
    assert np.array_equal(np.concatenate(list(audio_blocks(path)), axis=1), noise.T / np.float32(32768))


class Watched(io.BytesIO):
    """A file that knows how far it was read."""

    def read(self, count=-1):
        assert count >= 0, "everything was asked for"
        assert count <= 1 << 20 and self.tell() + count <= len(self.getbuffer())
        return super().read(count)


def real_headers() -> list[bytes]:
    out = [wav(), rf64(len(DATA)), rf64(0, kind=b"BW64"), wav(after=chunk(b"LIST", b"INFOabcd"))]
    for form in ("WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG"):
        file = io.BytesIO()
        soundfile.write(file, WAVEFORM[:, :300].T, RATE_HZ, format=form)
        out.append(file.getvalue())
    return out


REAL = real_headers()


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(
        st.binary(max_size=200),
        st.sampled_from([b"RIFF", b"RF64", b"BW64", b"RIFX", b"FORM", b".snd", b"caff", b"riff", b"fLaC"]).flatmap(
            lambda magic: st.binary(max_size=150).map(lambda rest: magic + rest)
        ),
        st.tuples(
            st.sampled_from(REAL),
            st.lists(st.tuples(st.integers(0, 200), st.binary(min_size=1, max_size=8)), max_size=6),
        ).map(lambda drawn: mutated(*drawn)),
        st.tuples(st.sampled_from(REAL), st.integers(0, 300)).map(lambda drawn: drawn[0][: drawn[1]]),
    )
)
def test_any_bytes_are_a_header_or_one_clear_error(content):
    try:
        header = sound_header(Watched(content), len(content))
    except InputError as error:
        assert "\n" not in str(error)
        return
    if header is not None and header.coding:
        assert 0 <= header.offset and header.frames >= 0 and header.channels > 0 and header.rate_hz > 0
        assert header.offset + header.frames * header.block_bytes <= len(content) or not header.frames


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    content=st.sampled_from(REAL),
    changes=st.lists(st.tuples(st.integers(0, 200), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6),
)
def test_mutated_files_are_read_or_refused(tmp_path_factory, content, changes):
    path = tmp_path_factory.getbasetemp() / "mutated.wav"
    path.write_bytes(mutated(content, changes))
    try:
        info = audio_info(path)
        if info.frames * info.channels < 1e6:
            assert read_audio(path, rate_hz=info.rate_hz).shape == (info.channels, info.frames)
    except InputError as error:
        assert "\n" not in str(error)


def mutated(content: bytes, changes: list[tuple[int, bytes]]) -> bytes:
    out = bytearray(content)
    for place, other in changes:
        out[place : place + len(other)] = other
    return bytes(out[: max(len(content), 8)])


def test_what_is_written_can_still_be_read_back(tmp_path):
    write_audio(tmp_path / "a.wav", WAVEFORM, RATE_HZ)
    assert os.path.getsize(tmp_path / "a.wav") > 44 and np.array_equal(read_audio(tmp_path / "a.wav"), WAVEFORM)
