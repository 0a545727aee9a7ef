"""Audio files: what they hold, reading a window of one at any rate, writing one whole."""

from __future__ import annotations

import logging
import math
import os
import shlex
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from util.errors import CommonError, InputError
from util.files import written_whole
from util.overlaid import Overlaid
from util.sound_header import SoundHeader, flac_length, sample_bytes, sound_header
from util.waveform import zero_padded

logger = logging.getLogger(__name__)

RATE_HZ = 24000
FILM_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".m4v", ".m4a", ".360")  # their sound is decoded by FFmpeg
_SAID: set[tuple[str, str]] = set()  # what has been said of files, once each
_SAID_LOCK = threading.Lock()
_MOST_RATIO = 100  # bytes of decoded samples to bytes of a file, beyond which its length is not believed
_UNKNOWN_FRAMES = 2**61  # libsndfile's number of samples of a FLAC file that does not tell


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says.

    Attributes
    ----------
    channels : number of channels
    rate_hz : samples per second of the file
    frames : samples per channel
    subtype : "PCM_16", "FLOAT", ... as in libsndfile
    header : where the samples lie and what the channels are, where they lie one after the other; else None
    note : what was understood otherwise than its header states, "" for nothing
    overlay : bytes of the file that are read as something else: (place, bytes)
    ambisonics : what the file says of its Ambisonics: "fuma" (B-format), "acn", "acn n3d"; "": nothing
    channel_map : channel of the file that holds each component of Ambisonics, where it says so
    mask : loudspeakers that the channels are for, as in WAVE_FORMAT_EXTENSIBLE; 0: it does not say
    samples : file that the samples of `header` lie in, where that is another (of a film); else None
    """

    path: Path
    channels: int
    rate_hz: int
    frames: int
    subtype: str
    header: SoundHeader | None = None
    note: str = ""
    overlay: tuple[int, bytes] | None = None
    ambisonics: str = ""
    channel_map: tuple[int, ...] = ()
    mask: int = 0
    samples: Path | None = None

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
    """Header of an audio file, reconciled with the size of the file; what had to be set right is said once.

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
    if Path(path).suffix.lower() in FILM_SUFFIXES:
        info = _of_film(os.fspath(path), status.st_size, status.st_mtime_ns)
    else:
        info = _header(os.fspath(path), status.st_size, status.st_mtime_ns)
    if channels is not None and info.channels != channels:
        rule = f"has {info.channels} channels, the format needs {channels}"
        if info.channels > channels:
            keep = f"sox IN.wav OUT.wav remix {' '.join(map(str, range(1, channels + 1)))}"
            rule += f" ({keep} keeps the first ones)"
        raise _of_file(InputError(rule), os.fspath(path))
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
    return zero_padded(lambda first, last: _read_at(info, first, last, rate_hz), info.channels, total, start, stop)


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
            raise CommonError("cannot be written (disk full, or a format that does not fit?)", path=path) from error
        if written != len(samples):
            raise CommonError("cannot be written (disk full?)", path=path)


@lru_cache(maxsize=4096)
def _header(path: str, size: int, modified_ns: int) -> AudioInfo:
    """As `audio_info`; size and time of change are arguments so that a changed file is read again."""
    del modified_ns
    try:
        with open(path, "rb") as file:
            header = sound_header(file, size)
            file.seek(0)
            head = file.read(64)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path=path) from None
    except InputError as error:
        raise _of_file(error, path) from None
    if header is not None and header.coding:
        info = AudioInfo(
            Path(path),
            header.channels,
            header.rate_hz,
            header.frames,
            header.subtype,
            header,
            header.note,
            ambisonics=header.ambisonics,
            mask=header.mask,
        )
    else:
        info = _decoded_header(path, size, head)
    if info.frames <= 0:
        raise InputError("has no samples", path=path)
    if info.note:
        say_of_file(path, info.note)
    return info


def _of_film(path: str, size: int, modified_ns: int) -> AudioInfo:
    """As `_header`, of the sound of a film: its samples lie in a file beside."""
    from util.film_sound import film_sound  # PyAV, only where there is a film

    sound = film_sound(path, size, modified_ns)
    block = sample_bytes(sound.coding) * sound.channels
    header = SoundHeader("film", sound.channels, sound.rate_hz, sound.coding, block, 0, sound.frames)
    if sound.frames <= 0:
        raise InputError("its sound has no samples", path=path)
    if sound.note:
        say_of_file(path, sound.note)
    return AudioInfo(
        Path(path),
        sound.channels,
        sound.rate_hz,
        sound.frames,
        header.subtype,
        header,
        sound.note,
        ambisonics=sound.ambisonics,
        channel_map=sound.channel_map,
        samples=sound.samples,
    )


def _of_file(error: InputError, path: str) -> InputError:
    """The error of a header with its file, also in the command that it names."""
    rule = error.rule.replace("IN.wav", shlex.quote(path)).replace("OUT.wav", shlex.quote(f"{Path(path).stem}_ok.wav"))
    return InputError(rule, path=path)


def say_of_file(path: str | os.PathLike[str], text: str, *, level: int = logging.WARNING) -> None:
    """Log something about a file, the first time that it is to be said."""
    with _SAID_LOCK:
        new = (os.fspath(path), text) not in _SAID
        _SAID.add((os.fspath(path), text))
    if new:
        logger.log(level, "%s", _of_file(InputError(text), os.fspath(path)))


def _decoded_header(path: str, size: int, head: bytes) -> AudioInfo:
    """Of a file that libsndfile decodes; the length of a FLAC that does not tell it is found by decoding it once."""
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        if size == 0:
            raise InputError("has no samples", path=path) from None
        reason = f"is no audio file that can be read ({error.error_string})"
        if error.code == _UNRECOGNISED:
            reason += "; FFmpeg may be able to: ffmpeg -i IN.wav OUT.wav"
        raise _of_file(InputError(reason), path) from None
    except (RuntimeError, ValueError) as error:  # numbers in the header that its wrapper cannot hold
        raise InputError(f"is no audio file that can be read ({error})", path=path) from None
    frames, note, overlay = info.frames, "", None
    if frames >= _UNKNOWN_FRAMES:
        place = flac_length(head)
        if place is None or place[1]:
            rule = "does not say how long it is: ffmpeg -i IN.wav OUT.wav makes a file that does"
            raise _of_file(InputError(rule), path)
        frames = _counted(path)
        note = f"its header leaves the length open: {frames / info.samplerate:.3f} s, found by decoding"
        overlay = place[0], ((head[21] & 0xF0) << 32 | frames).to_bytes(5, "big")
    elif frames * info.channels * 2 > _MOST_RATIO * size and (there := _counted(path)) < frames:
        said, found = frames / info.samplerate, there / info.samplerate
        rule = f"is shorter than its header says: {said:.3f} s in the header, {found:.3f} s in the file"
        raise _of_file(InputError(f"{rule} (ffmpeg -i IN.wav OUT.wav keeps what is there)"), path)
    return AudioInfo(Path(path), info.channels, info.samplerate, frames, info.subtype, note=note, overlay=overlay)


_UNRECOGNISED = 1  # libsndfile's SF_ERR_UNRECOGNISED_FORMAT


def _counted(path: str) -> int:
    """Samples per channel, by decoding all of them.

    Raises
    ------
    InputError : it cannot be decoded
    """
    import av  # only where a file of unknown length is met

    try:
        with av.open(os.path.abspath(path), metadata_errors="replace") as container:
            return sum(frame.samples for frame in container.decode(audio=0))
    except (av.error.FFmpegError, OSError, IndexError) as error:
        raise InputError(f"cannot be decoded ({error})", path=path) from None


@contextmanager
def _opened(info: AudioInfo) -> Iterator[soundfile.SoundFile]:
    """A file that libsndfile decodes."""
    if info.overlay is None:
        with soundfile.SoundFile(info.path) as file:
            yield file
    else:
        with open(info.path, "rb") as plain, soundfile.SoundFile(Overlaid(plain, *info.overlay)) as file:
            yield file


def _read(info: AudioInfo, first: int, frames: int, *, file: soundfile.SoundFile | None = None) -> np.ndarray:
    """(channels, frames) float32 at the file's own rate; the stretch must lie inside the file.

    Parameters
    ----------
    file : a file that libsndfile decodes, already open and at sample `first`
    """
    if frames <= 0:
        return np.zeros((info.channels, 0), dtype=np.float32)
    if info.header is not None:
        waveform = _read_plain(info, info.header, first, frames)
    else:
        try:
            if file is not None:
                samples = file.read(frames, dtype="float32", always_2d=True)
            else:
                with _opened(info) as file:
                    file.seek(first)
                    samples = file.read(frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            place = f"{first / info.rate_hz:.3f} s"
            rule = f"cannot be decoded ({error.error_string}); {_keeps(info)}"
            raise InputError(rule, path=info.path, place=place) from None
        if len(samples) < frames:
            raise _breaks_off(info, first + len(samples))
        waveform = np.ascontiguousarray(samples.T)
    if info.subtype in ("FLOAT", "DOUBLE"):
        finite = np.isfinite(waveform).all(axis=0)
        if not finite.all():
            place = f"{(first + int(np.argmin(finite))) / info.rate_hz:.3f} s"
            raise InputError("has samples that are NaN or infinite", path=info.path, place=place)
    return waveform


def audio_blocks(path: str | os.PathLike[str], *, block: int = 1 << 16) -> Iterator[np.ndarray]:
    """A whole file at its own rate, block by block (channels, up to `block` samples) float32.

    Raises
    ------
    InputError : as `read_audio`
    """
    info = audio_info(path)
    with ExitStack() as stack:
        file = None if info.header is not None else stack.enter_context(_opened(info))
        for first in range(0, info.frames, block):
            yield _read(info, first, min(block, info.frames - first), file=file)


def _breaks_off(info: AudioInfo, sample: int) -> InputError:
    place = f"{sample / info.rate_hz:.3f} s"
    rule = f"breaks off, its header says that it is longer; {_keeps(info)}"
    return InputError(rule, path=info.path, place=place)


def _keeps(info: AudioInfo) -> str:
    """The command that makes a file of what can be read of one."""
    target = shlex.quote(f"{info.path.stem}_ok.wav")
    return f"ffmpeg -i {shlex.quote(str(info.path))} {target} keeps what is there"


def _read_plain(info: AudioInfo, header: SoundHeader, first: int, frames: int) -> np.ndarray:
    """As `_read`, for samples that lie one after the other: one read of the file system, one conversion.

    libsndfile parses the header at each opening and its wrapper converts under the interpreter's lock; this way is
    several times as fast and lets threads work side by side.
    """
    with open(info.samples or info.path, "rb", buffering=0) as file:
        data = _bytes_at(file, header.offset + first * header.block_bytes, frames * header.block_bytes)
    if len(data) < frames * header.block_bytes:
        raise _breaks_off(info, first + len(data) // header.block_bytes)
    return samples_of_bytes(data, header.coding, header.channels)


def _bytes_at(file: BinaryIO, offset: int, count: int) -> bytes:
    """Up to `count` bytes at a place; one call of the system gives 2 GiB at most."""
    parts: list[bytes] = []
    while count > 0:
        file.seek(offset)  # Windows has no os.pread
        part = file.read(count) or b""
        if not part:
            break
        parts.append(part)
        offset, count = offset + len(part), count - len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def samples_of_bytes(data: bytes, coding: str, channels: int) -> np.ndarray:
    """Bytes of whole blocks -> (channels, samples) float32 in [-1, 1], the same values that libsndfile gives.

    Parameters
    ----------
    coding : as in `util.sound_header.SoundHeader`
    """
    width = sample_bytes(coding)
    count = len(data) // (width * channels)
    waveform = np.empty((channels, count), dtype=np.float32)
    if coding in ("alaw", "ulaw"):
        codes = np.frombuffer(data, dtype=np.uint8).reshape(count, channels)
        return np.ascontiguousarray(_companding(coding)[codes].T)
    if coding == "u1":
        samples = np.frombuffer(data, dtype=np.uint8).reshape(count, channels)
        np.subtract(samples.T, np.float32(128), out=waveform)
        waveform *= np.float32(1 / 128)
        return waveform
    order, kind = coding[0], coding[-2]
    if width == 3:
        wide = np.zeros((count * channels, 4), dtype=np.uint8)  # the three upper bytes of 32 bits
        wide[:, slice(1, 4) if order == "<" else slice(0, 3)] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
        samples = wide.view(f"{order}i4").reshape(count, channels)
    else:
        samples = np.frombuffer(data, dtype=coding if width > 1 else np.int8).reshape(count, channels)
    if kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):  # what is no number is told with its place
            waveform[:] = samples.T
    else:
        np.multiply(samples.T, np.float32(2.0 ** (1 - 8 * samples.itemsize)), out=waveform, casting="unsafe")
    return waveform


@lru_cache(maxsize=2)
def _companding(coding: str) -> np.ndarray:
    """The 256 values of A-law or mu-law (ITU-T G.711) as float32."""
    code = np.arange(256) ^ (0x55 if coding == "alaw" else 0xFF)
    exponent, mantissa = code >> 4 & 7, code & 15
    if coding == "alaw":
        magnitude = np.where(
            exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0)
        )
        return (np.where(code & 0x80, magnitude, -magnitude) / 32768).astype(np.float32)
    magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84
    return (np.where(code & 0x80, -magnitude, magnitude) / 32768).astype(np.float32)


def _read_at(info: AudioInfo, first: int, last: int, rate_hz: int) -> np.ndarray:
    """(channels, last - first) float32, samples [first, last) of the file at `rate_hz`."""
    if info.rate_hz != rate_hz:
        say_of_file(info.path, f"resampled from {info.rate_hz} to {rate_hz} Hz", level=logging.INFO)
    return resample_stretch(
        lambda begin, count: _read(info, begin, count), info.frames, first, last, info.rate_hz, rate_hz
    )
