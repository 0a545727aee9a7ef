"""A file some bytes of which read as others: for libraries that believe what stands there."""

from __future__ import annotations

import os
from typing import BinaryIO


class Overlaid:
    """An open file that reads as if other bytes stood at a place."""

    def __init__(self, file: BinaryIO | Overlaid, place: int, other: bytes):
        self._file, self._place, self._other = file, place, other

    def read(self, count: int = -1) -> bytes:
        """The next bytes."""
        start = self._file.tell()
        data = self._file.read(count)
        first, last = max(start, self._place), min(start + len(data), self._place + len(self._other))
        if first >= last:
            return data
        middle = self._other[first - self._place : last - self._place]
        return data[: first - start] + middle + data[last - start :]

    def readinto(self, buffer: memoryview) -> int:
        """The next bytes, into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of a file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As of a file."""
        return self._file.tell()
