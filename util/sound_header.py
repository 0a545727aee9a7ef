"""Headers of sound files: where the samples lie, their coding and number, and what the channels are said to be.

libsndfile cuts a stated length to what is there, believes lengths that writers into pipes leave open, and does not tell
what the channels are; so the headers whose samples lie one after the other are read here. What is coded otherwise is
left to it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from util.errors import InputError

_EXTENSIBLE = 0xFFFE
_AMBISONIC_TAIL = bytes.fromhex("2107d3118644c8c1ca000000")  # of the two sub-formats of B-format
_WAV_CODINGS = {
    1: {1: "u1", 2: "<i2", 3: "<i3", 4: "<i4"},
    3: {4: "<f4", 8: "<f8"},
    6: {1: "alaw"},
    7: {1: "ulaw"},
}
_SUBTYPES = {
    "u1": "PCM_U8",
    "i1": "PCM_S8",
    "i2": "PCM_16",
    "i3": "PCM_24",
    "i4": "PCM_32",
    "f4": "FLOAT",
    "f8": "DOUBLE",
    "alaw": "ALAW",
    "ulaw": "ULAW",
}
_AIFC_CODINGS = {
    b"twos": ">i",
    b"sowt": "<i",
    b"NONE": ">i",
    b"in24": ">i3",
    b"in32": ">i4",
    b"raw ": "u1",
    b"fl32": ">f4",
    b"FL32": ">f4",
    b"fl64": ">f8",
    b"FL64": ">f8",
    b"alaw": "alaw",
    b"ALAW": "alaw",
    b"ulaw": "ulaw",
    b"ULAW": "ulaw",
}
_AU_CODINGS = {1: "ulaw", 2: "i1", 3: ">i2", 4: ">i3", 5: ">i4", 6: ">f4", 7: ">f8", 27: "alaw"}
# Chunks that stand behind samples; of others a whole chain must end with the file to be believed.
_KNOWN_CHUNKS = frozenset(
    name.ljust(4)
    for name in b"LIST list INFO id3 ID3 bext iXML cue JUNK junk PAD FLLR fact smpl inst plst afsp _PMX axml chna PEAK "
    b"minf elm1 regn umid SNDM ltxt labl note DISP acid strc levl link cart r64m mext qlty MARK COMT ANNO NAME AUTH "
    b"(c) APPL INST MIDI CHAN LGWV SAUR".split()
)
_W64_TAILS = {
    b"riff": bytes.fromhex("2e91cf11a5d628db04c10000"),
    b"wave": bytes.fromhex("f3acd3118cd100c04f8edb8a"),
}
_MOST_CHUNKS = 4096
_HEAD_BYTES = 4096
_MOST_PIPED = 1 << 26  # bytes of a chunk before the samples
# kAudioChannelLayoutTag_...: Ambisonic_B_Format, HOA_ACN_SN3D, HOA_ACN_N3D (their upper half)
_CAF_AMBISONICS = {107: "fuma", 190: "acn", 191: "acn n3d"}


@dataclass(frozen=True)
class SoundHeader:
    """What a header says, set right where it cannot be.

    Attributes
    ----------
    container : "WAV", "RF64", "W64", "AIFF", "AU", "CAF"
    coding : byte order and numpy's letter with bytes per sample ("<i2", "<i3", ">f4", "u1"), "alaw", "ulaw"; "" another
    block_bytes : bytes of one sample of all channels; 0 where that does not exist
    offset : byte at which the samples begin
    frames : samples per channel; 0 where the header does not tell
    note : what was understood otherwise than it is stated, "" for nothing
    mask : loudspeakers of the channels, as in WAVE_FORMAT_EXTENSIBLE; 0: it does not say
    ambisonics : "fuma", "acn", "acn n3d" where the header says that it is Ambisonics, else ""
    """

    container: str
    channels: int
    rate_hz: int
    coding: str
    block_bytes: int
    offset: int
    frames: int
    note: str = ""
    mask: int = 0
    ambisonics: str = ""

    @property
    def subtype(self) -> str:
        """The coding as libsndfile calls it."""
        return _SUBTYPES[self.coding.lstrip("<>")]


class _Form(NamedTuple):
    """Channels, rate, coding, bytes of a block, channel mask, Ambisonics."""

    channels: int
    rate_hz: int
    coding: str
    block_bytes: int
    mask: int = 0
    ambisonics: str = ""


class _BreaksOff(Exception):
    """The file ends inside its header."""


class _File:
    """Bytes of a file by place; nothing beyond its end is asked for."""

    def __init__(self, file: BinaryIO, size: int):
        self._file, self.size = file, size
        self._head = file.read(min(size, _HEAD_BYTES))

    def at(self, offset: int, count: int) -> bytes:
        """`count` bytes; fewer at the end of the file."""
        if offset + count <= len(self._head):
            return self._head[offset : offset + count]
        if not 0 <= offset < self.size:
            return b""
        self._file.seek(offset)
        return self._file.read(min(count, self.size - offset))

    def unpack(self, form: str, offset: int) -> tuple:
        """Numbers at a place.

        Raises
        ------
        _BreaksOff : the file ends before
        """
        data = self.at(offset, struct.calcsize(form))
        if len(data) < struct.calcsize(form):
            raise _BreaksOff
        return struct.unpack(form, data)


def sound_header(file: BinaryIO, size: int) -> SoundHeader | None:
    """The header of an open file; None: of a kind that is not read here, or without samples.

    Raises
    ------
    InputError : breaks off inside the header, shorter than the header says, numbers that cannot be
    """
    source = _File(file, size)
    head = source.at(0, 40)
    try:
        for fits, read in _CONTAINERS:
            if fits(head):
                return read(source)
    except _BreaksOff:
        raise InputError("breaks off inside its header") from None
    return None


class PipedWav(NamedTuple):
    """What the head of a WAV file says that comes through a pipe.

    Attributes
    ----------
    coding, ambisonics, mask : as in `SoundHeader`
    length : bytes of samples, None: up to the end
    """

    channels: int
    rate_hz: int
    coding: str
    ambisonics: str
    mask: int
    length: int | None


def piped_wav(head: bytes, read: Callable[[int], bytes]) -> PipedWav:
    """Read a WAV file from a pipe up to its samples.

    Parameters
    ----------
    head : its first 12 bytes
    read : gives so many of the next bytes, fewer at the end

    Raises
    ------
    InputError : ends before its samples, or says nothing that can be
    """
    order = ">" if head[:4] == b"RIFX" else "<"
    form, long_size = None, None
    for _ in range(_MOST_CHUNKS):
        data = read(8)
        if len(data) < 8:
            break
        name, length = struct.unpack(order + "4sI", data)
        if name == b"data" and form is not None:
            if length == 0xFFFFFFFF and long_size is not None:
                length = long_size
            is_open = length in (0, 2**64 - 1) or (length < 2**32 and _left_open(length))
            return PipedWav(
                form.channels, form.rate_hz, form.coding, form.ambisonics, form.mask, None if is_open else length
            )
        if not _printable(name) or length > _MOST_PIPED:
            break
        body = read(length + length % 2)
        try:
            if name == b"fmt " and form is None:
                form = _wav_form(body[:40], order)
            elif name == b"ds64" and head[:4] != b"RIFF" and len(body) >= 16:
                long_size = struct.unpack(order + "QQ", body[:16])[1]
        except _BreaksOff:
            break
    raise InputError("is a WAV file that breaks off, or is damaged, before its samples")


def flac_length(head: bytes) -> tuple[int, int] | None:
    """(byte at which the number of samples stands in its STREAMINFO, that number) of the first bytes of a FLAC file.

    The number has 36 bits, the lower half of a byte and four whole ones; 0 means that it is unknown.
    """
    if len(head) < 42 or head[:4] != b"fLaC" or head[4] & 0x7F != 0:
        return None
    return 21, int.from_bytes(head[21:26], "big") & 0xFFFFFFFFF


def _left_open(stated: int) -> bool:
    """Whether a length of 32 bits is what writers leave that do not know it: the largest numbers of 31 and 32 bits.

    sox leaves 0x7ffff000, arecord 0x7fffffff less its header and alignment, FFmpeg 0xffffffff; a header's length and
    a block's alignment may be taken off each.
    """
    return 0x7FFF0000 <= stated <= 0x80001000 or stated >= 0xFFFF0000


def _reconciled(
    source: _File, offset: int, stated: int, form: _Form, follows: Callable[[int], bool], *, bits: int = 32
) -> tuple[int, str]:
    """(bytes of samples, what was understood otherwise) of a stated length.

    Parameters
    ----------
    follows : whether what stands at a byte can follow the samples: the end of the file, or a chunk
    bits : of the length; what has 32 may have wrapped

    Raises
    ------
    InputError : the file is shorter
    """
    there = max(source.size - offset, 0)
    second = max(1, form.block_bytes * form.rate_hz)
    to_the_end = f"{there / second:.3f} s up to the end of the file are read"
    open_ended = _left_open(stated) if bits == 32 else stated >= 2**62
    if stated == 0 or open_ended:
        if stated <= there and follows(offset + stated):
            return stated, ""
        if there >= form.block_bytes:
            return there, f"the length in its header is {stated if stated == 0 else f'{stated:#x}'}: {to_the_end}"
        return 0, ""
    if stated > there:
        if stated - there < max(form.block_bytes, 2):  # a pad byte, or a block, that was counted and not written
            return there, ""
        raise InputError(
            f"is shorter than its header says: {stated / second:.3f} s in the header, {there / second:.3f} s in the "
            "file (copy it again; to keep what is there: ffmpeg -i IN.wav -c:a copy OUT.wav)"
        )
    if follows(offset + stated):
        return stated, ""
    if bits == 32 and there >= 2**32:
        turns = range((there - stated) // 2**32, 0, -1)
        length = next((stated + turn * 2**32 for turn in turns if follows(offset + stated + turn * 2**32)), there)
        return length, f"the length in its header wrapped at 4 GiB: {length / second:.3f} s are read"
    left = there - stated
    if left >= second:
        return stated, (
            f"its header counts {stated / second:.3f} s of samples; what follows is no chunk ({left / second:.3f} s if "
            "it were samples: a recorder that stopped early? sox --ignore-length IN.wav OUT.wav reads all)"
        )
    return stated, ""


def sample_bytes(coding: str) -> int:
    """Bytes of a sample; of A-law and mu-law one."""
    return int(coding[-1]) if coding[-1:].isdigit() else 1


def _finished(source: _File, container: str, form: _Form, offset: int, length: int, note: str) -> SoundHeader:
    frames = length // form.block_bytes if form.block_bytes else 0
    return SoundHeader(
        container, form.channels, form.rate_hz, form.coding, form.block_bytes, offset, frames, note, form.mask,
        form.ambisonics,
    )  # fmt: skip


def _checked(form: _Form) -> _Form:
    """The form, if there can be such a file.

    Raises
    ------
    InputError : no channels, no rate
    """
    if not (0 < form.channels <= 1024 and 0 < form.rate_hz < 2**31):
        raise InputError(f"has a damaged header: {form.channels} channels at {form.rate_hz} Hz")
    return form


def _riff(source: _File) -> SoundHeader | None:
    """Chunks of a WAV file: the first "fmt " and the first "data" that holds something, as players take them."""
    head = source.at(0, 4)
    big = head == b"RIFX"
    order = ">" if big else "<"
    length_form = order + "4sI"

    def chunk(position: int) -> tuple[bytes, int] | None:
        data = source.at(position, 8)
        return struct.unpack(length_form, data) if len(data) == 8 else None

    def follows(position: int) -> bool:
        return _chunks_follow(source, position, chunk, 8, 2)

    long_size, form, data = None, None, None
    for name, position, length in _chunks(source, 12, chunk, 8, 2):
        if name == b"ds64" and long_size is None and head != b"RIFF":
            long_size = source.unpack(order + "QQ", position)[1]
        elif name == b"fmt " and form is None:
            form = _wav_form(source.at(position, min(length, 40)), order)
        elif name == b"data" and form is not None:
            stated, bits = length, 32
            if length == 0xFFFFFFFF and long_size is not None:
                stated, bits = long_size, 64
            samples, note = _reconciled(source, position, stated, form, follows, bits=bits)
            data = position, samples, note
            if samples:
                break
        elif name == b"data":
            data = data or (position, length, "")  # before its "fmt "
    if data is None or form is None:
        return None
    position, samples, note = data
    samples = min(samples, max(source.size - position, 0))
    return _finished(source, "RF64" if long_size is not None else "WAV", form, position, samples, note)


def _wav_form(body: bytes, order: str) -> _Form:
    """What "fmt " says."""
    if len(body) < 16:
        raise _BreaksOff
    code, channels, rate_hz, _, block_bytes, bits = struct.unpack(order + "HHIIHH", body[:16])
    mask, ambisonics = 0, ""
    if code == _EXTENSIBLE and len(body) >= 40:
        mask, code = struct.unpack(order + "IH", body[20:26])
        if body[28:40] == _AMBISONIC_TAIL:
            ambisonics = "fuma"
    if not channels or block_bytes % channels:
        block_bytes = channels * ((bits + 7) // 8)
    coding = _WAV_CODINGS.get(code, {}).get(block_bytes // max(channels, 1), "")
    if order == ">" and coding.startswith("<"):
        coding = ">" + coding[1:]
    return _checked(_Form(channels, rate_hz, coding, block_bytes, mask, ambisonics))


def _chunks(
    source: _File, position: int, chunk: Callable[[int], tuple[bytes, int] | None], head_bytes: int, align: int
) -> Iterator[tuple[bytes, int, int]]:
    """(name, place of the body, length of the body) of chunks one after the other, while they look like chunks."""
    for _ in range(_MOST_CHUNKS):
        found = chunk(position)
        if found is None or not _printable(found[0]):
            return
        name, length = found
        yield name, position + head_bytes, length
        end = position + head_bytes + length
        padded = end + -length % align
        # some writers forget the pad byte
        position = end if padded != end and not _is_chunk(chunk, padded) and _is_chunk(chunk, end) else padded


def _is_chunk(chunk: Callable[[int], tuple[bytes, int] | None], position: int) -> bool:
    found = chunk(position)
    return found is not None and _printable(found[0])


def _printable(name: bytes) -> bool:
    return all(0x20 <= byte < 0x7F for byte in name)


def _chunks_follow(
    source: _File, position: int, chunk: Callable[[int], tuple[bytes, int] | None], head_bytes: int, align: int
) -> bool:
    """Whether the file ends at a byte, or a chunk begins there: a known one, or a chain that ends with the file."""
    for start in {position, position + -position % align}:
        if source.size - start < head_bytes and not any(source.at(start, head_bytes)):
            return True  # the end, or padding
        at = start
        for _ in range(64):
            found = chunk(at)
            if found is None or not _printable(found[0]):
                break
            if found[0] in _KNOWN_CHUNKS:
                return True
            at += head_bytes + found[1] + -found[1] % align
            if 0 <= source.size - at <= 1 or at == source.size + 1:
                return True
    return False


def _w64(source: _File) -> SoundHeader | None:
    """Sony Wave64: names of 16 bytes, lengths of 64 bits that count the head of the chunk, at multiples of 8."""

    def chunk(position: int) -> tuple[bytes, int] | None:
        data = source.at(position, 24)
        if len(data) < 24 or data[4:16] != _W64_TAILS[b"wave"]:
            return None
        return data[:4], max(struct.unpack("<Q", data[16:])[0] - 24, 0)

    form = None
    for name, position, length in _chunks(source, 40, chunk, 24, 8):
        if name == b"fmt " and form is None:
            form = _wav_form(source.at(position, min(length, 40)), "<")
        elif name == b"data" and form is not None:
            samples, note = _reconciled(
                source, position, length, form, lambda at: _chunks_follow(source, at, chunk, 24, 8), bits=64
            )
            return _finished(source, "W64", form, position, samples, note)
    return None


def _aiff(source: _File) -> SoundHeader | None:
    """AIFF and AIFC."""

    def chunk(position: int) -> tuple[bytes, int] | None:
        data = source.at(position, 8)
        return struct.unpack(">4sI", data) if len(data) == 8 else None

    form, frames, place = None, 0, None
    for name, position, length in _chunks(source, 12, chunk, 8, 2):
        if name == b"COMM" and form is None:
            channels, frames, bits = source.unpack(">HIH", position)
            rate_hz = _extended(source.unpack(">HQ", position + 8))
            kind = source.at(position + 18, 4) if source.at(8, 4) == b"AIFC" else b"NONE"
            coding = _AIFC_CODINGS.get(kind, "")
            if coding in ("<i", ">i"):
                coding = "i1" if bits <= 8 else f"{coding}{(bits + 7) // 8}" if bits <= 32 else ""
            form = _checked(_Form(channels, rate_hz, coding, channels * sample_bytes(coding) if coding else 0))
        elif name == b"SSND" and place is None:
            (skip,) = source.unpack(">I", position)
            place = position + 8 + skip, max(length - 8 - skip, 0)
            if form is not None:
                break
    if form is None or place is None or not form.coding:
        return None
    offset, stated = place
    if 0 < frames * form.block_bytes < stated:
        stated = frames * form.block_bytes
    samples, note = _reconciled(source, offset, stated, form, lambda at: _chunks_follow(source, at, chunk, 8, 2))
    return _finished(source, "AIFF", form, offset, samples, note)


def _extended(value: tuple[int, int]) -> int:
    """A number of 80 bits (exponent with sign, mantissa), rounded; 0 where it is none that a rate can be."""
    exponent, mantissa = value
    if exponent & 0x8000 or exponent > 16383 + 31:
        return 0
    return round(math.ldexp(mantissa, exponent - 16383 - 63))


def _au(source: _File) -> SoundHeader | None:
    """Sun's and NeXT's format; a length of 2^32 - 1 is its own word for unknown."""
    order = ">" if source.at(0, 4) == b".snd" else "<"
    offset, stated, code, rate_hz, channels = source.unpack(order + "IIIII", 4)
    coding = _AU_CODINGS.get(code, "")
    if order == "<" and coding.startswith(">"):
        coding = "<" + coding[1:]
    form = _checked(_Form(channels, rate_hz, coding, channels * sample_bytes(coding) if coding else 0))
    if not coding:
        return None
    if stated == 0xFFFFFFFF:
        return _finished(source, "AU", form, offset, max(source.size - offset, 0), "")
    samples, note = _reconciled(source, offset, stated, form, lambda at: 0 <= source.size - at <= 1)
    return _finished(source, "AU", form, offset, samples, note)


def _caf(source: _File) -> SoundHeader | None:
    """Apple's Core Audio Format; a length of -1 is its own word for "to the end of the file"."""

    def chunk(position: int) -> tuple[bytes, int] | None:
        data = source.at(position, 12)
        return struct.unpack(">4sQ", data) if len(data) == 12 else None

    form, place, ambisonics, note = None, None, "", ""
    for name, position, length in _chunks(source, 8, chunk, 12, 1):
        if name == b"desc" and form is None:
            rate_hz, kind, flags, packet_bytes, _, channels, bits = source.unpack(">d4sIIIII", position)
            if not 0 < rate_hz < 2**31:  # also no number
                raise InputError(f"has a damaged header: {rate_hz} Hz")
            width = (
                (packet_bytes // channels if channels and packet_bytes else (bits + 7) // 8) if kind == b"lpcm" else 1
            )
            coding = ("<" if flags & 2 else ">") + ("f" if flags & 1 else "i") + str(width)
            if coding[1:] == "i1":
                coding = "i1"
            if kind in (b"alaw", b"ulaw"):
                coding = kind.decode()
            elif kind != b"lpcm" or coding.lstrip("<>") not in _SUBTYPES:
                return None
            form = _checked(_Form(channels, round(rate_hz), coding, channels * width))
        elif name == b"chan":
            (tag,) = source.unpack(">I", position)
            ambisonics = _CAF_AMBISONICS.get(tag >> 16, "")
        elif name == b"data" and place is None and form is not None:
            place = position + 4, max(source.size - position - 4, 0)
            if length >= 2**63:
                break
            samples, note = _reconciled(
                source, position + 4, max(length - 4, 0), form, lambda at: _chunks_follow(source, at, chunk, 12, 1),
                bits=64,
            )  # fmt: skip
            place = position + 4, samples
    if form is None or place is None:
        return None
    return _finished(source, "CAF", form._replace(ambisonics=ambisonics), *place, note)


_CONTAINERS: tuple[tuple[Callable[[bytes], bool], Callable[[_File], SoundHeader | None]], ...] = (
    (lambda head: head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE", _riff),
    (lambda head: head[:16] == b"riff" + _W64_TAILS[b"riff"] and head[24:40] == b"wave" + _W64_TAILS[b"wave"], _w64),
    (lambda head: head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"), _aiff),
    (lambda head: head[:4] in (b".snd", b"dns.") and len(head) >= 24, _au),
    (lambda head: head[:4] == b"caff", _caf),
)
