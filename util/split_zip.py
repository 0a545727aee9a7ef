"""Zip archives in several files, read where they lie: neither the `zip` program nor room for a joined copy is needed.

Two forms are known: `x.zip.001`, `x.zip.002` ... are pieces of one zip file; `x.z01`, `x.z02` ..., `x.zip` are the
disks of a split archive (`zip -s`), in which places count from the start of each disk. Both become one stream; of a
split archive the directory at its end is written anew in memory, with places that count from the start of the stream.

Source: .ZIP File Format Specification (APPNOTE 6.3.10), sections 4.3.12 to 4.3.16 and 4.5.3.
"""

from __future__ import annotations

import bisect
import io
import os
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

from util.errors import InputError

_END, _END64, _LOCATOR64, _ENTRY = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02"
_END_BYTES, _LOCATOR_BYTES, _END64_BYTES, _ENTRY_BYTES = 22, 20, 56, 46
_MOST_COMMENT = 1 << 16
_UNSAID = 0xFFFFFFFF  # of 32 bits: the zip64 field says it
_MOST_DIRECTORY = 1 << 30


class Joined(io.RawIOBase):
    """Several files, or pieces of memory, as one that can be read and sought."""

    def __init__(self, parts: Sequence[Path | bytes], lengths: Sequence[int] | None = None):
        """`lengths`: so many bytes of each part; None: all."""
        super().__init__()
        sizes = [len(part) if isinstance(part, bytes) else os.path.getsize(part) for part in parts]
        self._ends: list[int] = []
        for size in sizes if lengths is None else lengths:
            self._ends.append(size + (self._ends[-1] if self._ends else 0))
        self._parts, self._at = list(parts), 0
        self._open: tuple[int, io.BufferedIOBase | io.BytesIO] | None = None

    @property
    def starts(self) -> list[int]:
        """Where each part begins."""
        return [0, *self._ends[:-1]]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._ends[-1]}[whence]
        if base + offset < 0:
            raise OSError(22, "a place before the start")
        self._at = base + offset
        return self._at

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        number = bisect.bisect_right(self._ends, self._at)
        if number == len(self._ends):
            return 0
        file = self._part(number)
        file.seek(self._at - self.starts[number])
        data = file.read(min(len(buffer), self._ends[number] - self._at))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _part(self, number: int) -> io.BufferedIOBase | io.BytesIO:
        if self._open is None or self._open[0] != number:
            if self._open is not None:
                self._open[1].close()
            part = self._parts[number]
            self._open = (number, io.BytesIO(part) if isinstance(part, bytes) else open(part, "rb"))
        return self._open[1]

    def close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None
        super().close()


def open_zip(parts: Sequence[Path]) -> zipfile.ZipFile:
    """The archive that lies in one file or in several, in their order.

    Raises
    ------
    InputError : it is none, or a part is missing or of another archive
    """
    path = parts[-1]
    try:
        if len(parts) == 1:
            return zipfile.ZipFile(path)
        stream = Joined(parts)
        if not parts[-1].suffix[1:].isdigit():
            stream = _without_disks(parts, stream)
        return zipfile.ZipFile(io.BufferedReader(stream, 1 << 16))
    except (zipfile.BadZipFile, struct.error, ValueError, IndexError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        among = "" if len(parts) == 1 else f" (of {', '.join(part.name for part in parts)})"
        raise InputError(f"is no zip archive that can be read{among}: {error}", path=path) from None


def _without_disks(parts: Sequence[Path], stream: Joined) -> Joined:
    """The archive of several disks as one file: the same bytes, but for the directory at the end."""
    starts, size = stream.starts, stream.seek(0, os.SEEK_END)

    def read(at: int, count: int) -> bytes:
        stream.seek(at)
        data = bytearray()
        while len(data) < count and (more := stream.read(count - len(data))):
            data += more
        return bytes(data)

    tail_at = max(0, size - _END_BYTES - _MOST_COMMENT)
    tail = read(tail_at, size - tail_at)
    found = tail.rfind(_END)
    if found < 0 or len(tail) - found < _END_BYTES:
        raise InputError("has no directory at its end: not the last part of a split archive", path=parts[-1])
    end_at = tail_at + found
    last_disk, directory_disk = struct.unpack("<HH", tail[found + 4 : found + 8])
    count, directory_bytes, offset = struct.unpack("<HII", tail[found + 10 : found + 20])
    locator = read(end_at - _LOCATOR_BYTES, _LOCATOR_BYTES) if end_at >= _LOCATOR_BYTES else b""
    if locator[:4] == _LOCATOR64:
        disk, place, disks = struct.unpack("<IQI", locator[4:])
        last_disk = max(disks - 1, 0)
        _check_disks(parts, last_disk)
        end64 = read(starts[disk] + place, _END64_BYTES)
        if end64[:4] != _END64:
            raise InputError("its directory for large archives is not where it should be", path=parts[-1])
        directory_disk = struct.unpack("<I", end64[20:24])[0]
        count, directory_bytes, offset = struct.unpack("<QQQ", end64[32:56])
    _check_disks(parts, last_disk)
    directory_at = starts[directory_disk] + offset
    if directory_bytes > min(_MOST_DIRECTORY, size):
        raise InputError("its directory is longer than the archive", path=parts[-1])
    directory = read(directory_at, directory_bytes)
    rewritten, at = bytearray(), 0
    for _ in range(count):
        entry, at = _moved(directory, at, starts, parts[-1])
        rewritten += entry
    end = struct.pack("<4sQHHIIQQQQ", _END64, 44, 45, 45, 0, 0, count, count, len(rewritten), directory_at)
    end += struct.pack("<4sIQI", _LOCATOR64, 0, directory_at + len(rewritten), 1)
    end += struct.pack("<4sHHHHIIH", _END, 0, 0, 0xFFFF, 0xFFFF, _UNSAID, _UNSAID, 0)
    whole = [end_ - start for start, end_ in zip(starts, [*starts[1:], size])]
    kept = [max(0, min(length, directory_at - start)) for start, length in zip(starts, whole)]
    return Joined([*parts, bytes(rewritten) + end], [*kept, len(rewritten) + len(end)])


def _check_disks(parts: Sequence[Path], last_disk: int) -> None:
    if last_disk != len(parts) - 1:
        rule = f"is the last of {last_disk + 1} parts of a split archive, found {len(parts)}"
        raise InputError(rule, path=parts[-1])


def _moved(directory: bytes, at: int, starts: Sequence[int], path: Path) -> tuple[bytes, int]:
    """An entry of the directory with its place counted from the start of the stream, and where the next one begins."""
    head = directory[at : at + _ENTRY_BYTES]
    if head[:4] != _ENTRY or len(head) < _ENTRY_BYTES:
        raise InputError("its directory is damaged", path=path)
    compressed, raw = struct.unpack("<II", head[20:28])
    name_bytes, extra_bytes, comment_bytes, disk = struct.unpack("<HHHH", head[28:36])
    (offset,) = struct.unpack("<I", head[42:46])
    at += _ENTRY_BYTES
    name = directory[at : at + name_bytes]
    extra = directory[at + name_bytes : at + name_bytes + extra_bytes]
    comment = directory[at + name_bytes + extra_bytes : at + name_bytes + extra_bytes + comment_bytes]
    kept, place = bytearray(), 0
    while place + 4 <= len(extra):
        tag, length = struct.unpack("<HH", extra[place : place + 4])
        field = extra[place + 4 : place + 4 + length]
        if tag == 1:  # zip64: those of the four that are not said above, in this order
            if raw == _UNSAID:
                raw, field = struct.unpack("<Q", field[:8])[0], field[8:]
            if compressed == _UNSAID:
                compressed, field = struct.unpack("<Q", field[:8])[0], field[8:]
            if offset == _UNSAID:
                offset, field = struct.unpack("<Q", field[:8])[0], field[8:]
            if disk == 0xFFFF:
                disk = struct.unpack("<I", field[:4])[0]
        else:
            kept += extra[place : place + 4 + length]
        place += 4 + length
    if disk >= len(starts):
        raise InputError(f"names a part {disk + 1}, there are {len(starts)}", path=path)
    large = struct.pack("<HHQQQ", 1, 24, raw, compressed, starts[disk] + offset)
    changed = bytearray(head)
    changed[20:28] = struct.pack("<II", _UNSAID, _UNSAID)
    changed[30:32] = struct.pack("<H", len(large) + len(kept))
    changed[34:36] = struct.pack("<H", 0)
    changed[42:46] = struct.pack("<I", _UNSAID)
    return bytes(changed) + name + large + bytes(kept) + comment, at + name_bytes + extra_bytes + comment_bytes
