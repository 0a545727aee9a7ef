"""Audio files: what they hold, reading a window of one at any rate, writing one whole."""

from __future__ import annotations

import logging
import math
import os
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from util.errors import InputError
from util.files import written_whole

logger = logging.getLogger(__name__)

RATE_HZ = 24000
_EXTENSIBLE, _PCM = 0xFFFE, 1
_RESAMPLED: set[str] = set()  # files that have been said to be resampled
_RESAMPLED_LOCK = threading.Lock()


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says.

    Attributes
    ----------
    channels : number of channels
    rate_hz : samples per second of the file
    frames : samples per channel
    subtype : "PCM_16", "FLOAT", ... as in libsndfile
    data_offset : byte at which the samples begin, where they are 16-bit PCM in a wav file; else None
    """

    path: Path
    channels: int
    rate_hz: int
    frames: int
    subtype: str
    data_offset: int | None = None

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.frames / self.rate_hz

    def frames_at(self, rate_hz: int) -> int:
        """Samples per channel after resampling to `rate_hz`."""
        return resampled_frames(self.frames, self.rate_hz, rate_hz)


def resampled_frames(frames: int, from_hz: int, to_hz: int) -> int:
    """Samples per channel after resampling: the rounded quotient, halves up, as soxr gives."""
    return (2 * frames * to_hz + from_hz) // (2 * from_hz)


def resampling_span(first: int, last: int, from_hz: int, to_hz: int) -> tuple[int, int]:
    """Samples [begin, end) at `from_hz` that give the samples [first, last) at `to_hz`: those and a margin around them.

    `begin` lies on the common grid of the two rates; `end` may lie beyond the end of the recording.
    """
    if from_hz == to_hz:
        return first, last
    common = math.gcd(from_hz, to_hz)
    step_in, step_out = from_hz // common, to_hz // common
    margin = resampling_margin(from_hz, to_hz)
    begin = max(0, first // step_out - math.ceil(margin / step_in)) * step_in
    return begin, math.ceil(last * from_hz / to_hz) + margin


def resampling_margin(from_hz: int, to_hz: int) -> int:
    """Samples at `from_hz` that a resampled sample depends on to each side, at most.

    The filter of soxr HQ reaches fewer than 512 samples of the lower of the two rates (measured).
    """
    if from_hz == to_hz:
        return 0
    return 512 * max(1, math.ceil(from_hz / to_hz))


def resample_stretch(
    read: Callable[[int, int], np.ndarray], frames: int, first: int, last: int, from_hz: int, to_hz: int
) -> np.ndarray:
    """(channels, last - first) float32, samples [first, last) of a recording at another rate (soxr HQ).

    The same values whoever reads them, from a file or from a stream: phase differences near 0 jump by 2 pi on the last
    bit, so that a resampler that started elsewhere would give another feature.

    Parameters
    ----------
    read : (first sample, count) at `from_hz` -> (channels, count)
    frames : length of the recording at `from_hz`
    """
    if from_hz == to_hz:
        return read(first, last - first)
    begin, end = resampling_span(first, last, from_hz, to_hz)
    end = min(frames, end)
    resampled = soxr.resample(read(begin, end - begin).T, from_hz, to_hz, quality="HQ").T
    offset = first - resampled_frames(begin, from_hz, to_hz)
    waveform = np.zeros((len(resampled), last - first), dtype=np.float32)
    part = resampled[:, offset : offset + last - first]
    waveform[:, : part.shape[1]] = part
    return waveform


def audio_info(path: str | os.PathLike[str], *, channels: int | None = None) -> AudioInfo:
    """Header of an audio file, checked against the size of the file.

    Parameters
    ----------
    channels : number of channels it must have; None: any

    Raises
    ------
    InputError : no such file, no audio, no samples, shorter than its header says, another number of channels
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError("no such file", path=path) from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path=path) from None
    info = _header(os.fspath(path), status.st_size, status.st_mtime_ns)
    if channels is not None and info.channels != channels:
        raise InputError(f"has {info.channels} channels, the format needs {channels}", path=path)
    return info


def read_audio(
    path: str | os.PathLike[str],
    *,
    start: int = 0,
    frames: int | None = None,
    rate_hz: int = RATE_HZ,
    channels: int | None = None,
) -> np.ndarray:
    """Read a stretch of an audio file; only that stretch is read from disk.

    A file at another rate is resampled (soxr HQ), which is logged once per file. A window of a resampled file equals
    the same samples of the whole file resampled (within float32 rounding): it is read with a margin, on the common grid
    of the two rates.

    Parameters
    ----------
    start : first sample, at `rate_hz`; what lies before 0 is zero
    frames : number of samples at `rate_hz`, zeros beyond the end of the file; None: to the end
    channels : number of channels the file must have

    Returns
    -------
    waveform : (channels, samples) float32 in [-1, 1]

    Raises
    ------
    InputError : as `audio_info`; samples that are NaN or infinite, with the second; a file that breaks off
    """
    info = audio_info(path, channels=channels)
    total = info.frames_at(rate_hz)
    stop = max(total, start) if frames is None else start + frames
    first, last = min(max(start, 0), total), min(max(stop, 0), total)
    if info.rate_hz == rate_hz:
        inside = _read(info, first, last - first)
    else:
        inside = _read_resampled(info, first, last, rate_hz)
    if (first, last) == (start, stop):
        return inside
    waveform = np.zeros((info.channels, stop - start), dtype=np.float32)
    waveform[:, first - start : last - start] = inside
    return waveform


def write_audio(path: str | os.PathLike[str], waveform: np.ndarray, rate_hz: int, *, subtype: str = "PCM_16") -> None:
    """Write an audio file, whole or not at all; the suffix gives the format.

    Parameters
    ----------
    waveform : (channels, samples); samples outside [-1, 1) are clipped in the PCM subtypes
    subtype : as in libsndfile

    Raises
    ------
    InputError : the disk is full, the folder cannot be written
    """
    samples = np.ascontiguousarray(np.asarray(waveform).T)
    if subtype == "PCM_16":  # libsndfile truncates towards minus infinity, which is half a step of offset
        samples = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    with written_whole(path) as temporary:
        try:
            soundfile.write(temporary, samples, rate_hz, subtype=subtype)
            written = audio_info(temporary).frames if len(samples) else 0
        except (soundfile.LibsndfileError, AssertionError, InputError) as error:
            raise InputError("cannot be written (disk full, or a format that does not fit?)", path=path) from error
        if written != len(samples):
            raise InputError("cannot be written (disk full?)", path=path)


@lru_cache(maxsize=4096)
def _header(path: str, size: int, modified_ns: int) -> AudioInfo:
    """As `audio_info`; size and time of change are arguments so that a changed file is read again."""
    del modified_ns
    wav = None
    try:
        with open(path, "rb") as file:
            wav = _wav_header(file, size)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path=path) from None
    except struct.error:
        raise InputError("breaks off inside its header", path=path) from None
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        reason = "has no samples" if size == 0 else f"is no audio file that can be read ({error.error_string})"
        raise InputError(reason, path=path) from None
    frames, offset = info.frames, None
    if wav is not None:
        data_offset, data_size, block_bytes, bits, pcm = wav
        available = size - data_offset
        if data_size > available:
            second_bytes = max(1, block_bytes * info.samplerate)
            said, found = data_size / second_bytes, max(available, 0) / second_bytes
            rule = f"is shorter than its header says: {said:.3f} s in the header, {found:.3f} s in the file"
            raise InputError(rule, path=path)
        if pcm and bits == 16 and block_bytes == 2 * info.channels:
            frames, offset = data_size // block_bytes, data_offset
    if frames <= 0:
        raise InputError("has no samples", path=path)
    return AudioInfo(Path(path), info.channels, info.samplerate, frames, info.subtype, offset)


def _wav_header(file: BinaryIO, size: int) -> tuple[int, int, int, int, bool] | None:
    """(offset of the samples, their bytes by the header, bytes per frame, bits, linear PCM?) of a RIFF or RF64 file.

    None where it is no such file or has no samples chunk. libsndfile cuts what the header says to what is there without
    a word, so the comparison needs a reading of our own. A size of 2^32 - 1, which writers into pipes leave, means "to
    the end of the file".
    """
    head = file.read(12)
    if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        return None
    position, long_size, form = 12, None, None
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        if name == b"ds64":
            long_size = struct.unpack("<QQ", file.read(16))[1]
        elif name == b"fmt ":
            body = file.read(min(length, 40))
            code, _, _, _, block_bytes, bits = struct.unpack("<HHIIHH", body[:16])
            if code == _EXTENSIBLE and len(body) >= 26:
                code = struct.unpack("<H", body[24:26])[0]
            form = block_bytes, bits, code == _PCM
        elif name == b"data":
            if form is None:
                return None
            if length == 0xFFFFFFFF:
                length = size - position - 8 if long_size is None else long_size
            return position + 8, length, *form
        position += 8 + length + length % 2
    return None


def _read(info: AudioInfo, first: int, frames: int) -> np.ndarray:
    """(channels, frames) float32 at the file's own rate; the stretch must lie inside the file."""
    if frames <= 0:
        return np.zeros((info.channels, 0), dtype=np.float32)
    if info.data_offset is not None:
        return _read_pcm16(info, first, frames)
    try:
        with soundfile.SoundFile(info.path) as file:
            file.seek(first)
            samples = file.read(frames, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        place = f"{first / info.rate_hz:.3f} s"
        raise InputError(f"cannot be decoded ({error.error_string})", path=info.path, place=place) from None
    if len(samples) < frames:
        place = f"{(first + len(samples)) / info.rate_hz:.3f} s"
        raise InputError("breaks off, its header says that it is longer", path=info.path, place=place)
    if info.subtype in ("FLOAT", "DOUBLE"):
        finite = np.isfinite(samples).all(axis=1)
        if not finite.all():
            place = f"{(first + int(np.argmin(finite))) / info.rate_hz:.3f} s"
            raise InputError("has samples that are NaN or infinite", path=info.path, place=place)
    return np.ascontiguousarray(samples.T)


def _read_pcm16(info: AudioInfo, first: int, frames: int) -> np.ndarray:
    """As `_read`, for 16-bit PCM in a wav file: one read of the file system, one conversion.

    libsndfile parses the header at each opening and its wrapper converts under the interpreter's lock; this way is
    several times as fast and lets threads work side by side.
    """
    block_bytes = 2 * info.channels
    with open(info.path, "rb", buffering=0) as file:
        file.seek(info.data_offset + first * block_bytes)  # Windows has no os.pread
        data = file.read(frames * block_bytes)
    if len(data) < frames * block_bytes:
        place = f"{(first + len(data) // block_bytes) / info.rate_hz:.3f} s"
        raise InputError("breaks off, its header says that it is longer", path=info.path, place=place)
    samples = np.frombuffer(data, dtype="<i2").reshape(frames, info.channels)
    waveform = np.empty((info.channels, frames), dtype=np.float32)
    np.multiply(samples.T, np.float32(1 / 32768), out=waveform)
    return waveform


def _read_resampled(info: AudioInfo, first: int, last: int, rate_hz: int) -> np.ndarray:
    """(channels, last - first) float32, samples [first, last) of the file resampled to `rate_hz`."""
    with _RESAMPLED_LOCK:
        new = os.fspath(info.path) not in _RESAMPLED
        _RESAMPLED.add(os.fspath(info.path))
    if new:
        logger.info("%s: resampled from %d to %d Hz", info.path, info.rate_hz, rate_hz)
    if last <= first:
        return np.zeros((info.channels, 0), dtype=np.float32)
    return resample_stretch(
        lambda begin, count: _read(info, begin, count), info.frames, first, last, info.rate_hz, rate_hz
    )
