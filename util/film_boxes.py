"""What an MP4 or QuickTime file says of its tracks and decoders pass over: turns, edits, sphere, Ambisonics."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

_MOST_BOXES = 20000
_MOST_DEPTH = 16
_MOST_SEARCHED = 1 << 26  # bytes
_MOST_BODY = 1 << 20  # bytes of a box that is read
_SPHERE_V1 = bytes.fromhex("ffcc8263f8554a938814587a02521fdd")
_CONTAINERS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"sv3d", b"proj", b"wave"))
_SAMPLE_ENTRY_BYTES = {b"vide": 78, b"soun": 28}  # before the boxes of an entry; QuickTime's sound has more


@dataclass(frozen=True)
class Sphere:
    """How a picture covers the sphere (Google's Spherical Video, both versions).

    Attributes
    ----------
    projection : "equirectangular", "cubemap", "mesh", or as the file calls it
    stereo : "", "top-bottom", "left-right" or another arrangement of two views
    yaw_deg, pitch_deg, roll_deg : pose; yaw is the azimuth that the middle of the picture shows, left positive
    cropped : what is missing at the top, bottom, left and right, as shares of the whole
    """

    projection: str = "equirectangular"
    stereo: str = ""
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0
    cropped: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class SpatialAudio:
    """Box SA3D: Ambisonics of an order, ACN and SN3D where `ordering` and `norm` are 0.

    Attributes
    ----------
    kind : 0 periphonic
    head_locked : whether two channels of stereo follow
    channel_map : channel of the track that holds each component
    """

    kind: int
    head_locked: bool
    order: int
    ordering: int
    norm: int
    channel_map: tuple[int, ...]


@dataclass
class Track:
    """What is known of one track.

    Attributes
    ----------
    id : as FFmpeg's stream id
    kind : b"vide", b"soun" or another handler
    matrix : a, b, c, d of its display matrix
    edits : media times of its edit list, -1 for an empty edit; None without a list
    """

    id: int = 0
    kind: bytes = b""
    matrix: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 1.0)
    edits: list[int] | None = None
    sphere: Sphere | None = None
    spatial: SpatialAudio | None = None
    _boxes: list[str] = field(default_factory=list)


def tracks_of(path: str | os.PathLike[str]) -> list[Track]:
    """The tracks of a file; none where it is no such file, or damaged: whether it can be read, others find out."""
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            return _Reader(file, size).tracks()
    except (OSError, struct.error, ValueError, IndexError):
        return []


def places_of_spatial_boxes(path: str | os.PathLike[str]) -> list[int]:
    """Bytes at which the name SA3D stands in what describes a film, whether or not a box can be made of it."""
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            ranges = [(0, size)]
            if size > _MOST_SEARCHED:
                ranges = [(first, last) for name, first, last in _Reader(file, size).top() if name == b"moov"]
            found = []
            for first, last in ranges:
                file.seek(first)
                content = file.read(min(last - first, _MOST_SEARCHED))
                found += [first + match.start() for match in re.finditer(b"SA3D", content)]
            return found
    except OSError:
        return []


class _Reader:
    """A walk through the boxes."""

    def __init__(self, file: BinaryIO, size: int):
        self._file, self._size, self._left = file, size, _MOST_BOXES

    def top(self) -> Iterator[tuple[bytes, int, int]]:
        """The boxes of the file."""
        return self._boxes(0, self._size)

    def tracks(self) -> list[Track]:
        found: list[Track] = []
        for name, start, end in self._boxes(0, self._size):
            if name == b"moov":
                for inner, first, last in self._boxes(start, end):
                    if inner == b"trak":
                        found.append(Track())
                        self._walk(found[-1], first, last)
        return found

    def _bytes(self, start: int, end: int) -> bytes:
        self._file.seek(start)
        return self._file.read(max(0, min(end, self._size, start + _MOST_BODY) - start))

    def _boxes(self, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        """(name, first byte of the body, byte after it) of the boxes between two bytes."""
        end = min(end, self._size)
        while start + 8 <= end and self._left:
            self._left -= 1
            length, name = struct.unpack(">I4s", self._bytes(start, start + 8))
            head = 8
            if length == 1 and start + 16 <= end:
                (length,), head = struct.unpack(">Q", self._bytes(start + 8, start + 16)), 16
            elif length == 0:
                length = end - start
            if length < head or start + length > end:
                return
            yield name, start + head, start + length
            start += length

    def _walk(self, track: Track, start: int, end: int, depth: int = 0) -> None:
        for name, first, last in self._boxes(start, end):
            if name in _CONTAINERS and depth < _MOST_DEPTH:
                self._walk(track, first, last, depth + 1)
            elif name == b"stsd":
                for _, begin, stop in self._boxes(first + 8, last):
                    self._entry(track, begin, stop)
            elif name in _READERS or (name == b"uuid" and self._bytes(first, first + 16) == _SPHERE_V1):
                _READERS.get(name, _uuid)(track, self._bytes(first, last))

    def _entry(self, track: Track, start: int, end: int) -> None:
        """Boxes inside a sample entry; of sound also those of QuickTime's longer entries."""
        offset = _SAMPLE_ENTRY_BYTES.get(track.kind)
        if offset is None:
            return
        if track.kind == b"soun":
            (version,) = struct.unpack(">H", self._bytes(start + 8, start + 10))
            offset += {1: 16, 2: 36}.get(version, 0)
        self._walk(track, start + offset, end)


def _tkhd(track: Track, body: bytes) -> None:
    shift = 12 if body[0] == 1 else 0
    (track.id,) = struct.unpack(">I", body[12 + shift // 12 * 8 : 16 + shift // 12 * 8])
    values = struct.unpack(">9i", body[40 + shift : 76 + shift])
    track.matrix = values[0] / 65536, values[1] / 65536, values[3] / 65536, values[4] / 65536


def _hdlr(track: Track, body: bytes) -> None:
    if not track.kind:  # QuickTime has a second one, of data
        track.kind = body[8:12]


def _elst(track: Track, body: bytes) -> None:
    form = ">Qq" if body[0] == 1 else ">Ii"
    width = struct.calcsize(form) + 4
    (count,) = struct.unpack(">I", body[4:8])
    entries = min(count, (len(body) - 8) // width)
    track.edits = [struct.unpack(form, body[8 + at * width :][: width - 4])[1] for at in range(entries)]


def _st3d(track: Track, body: bytes) -> None:
    names = {0: "", 1: "top-bottom", 2: "left-right", 4: "right-left"}
    track.sphere = replace(track.sphere or Sphere(), stereo=names.get(body[4], f"arrangement {body[4]}"))


def _prhd(track: Track, body: bytes) -> None:
    yaw, pitch, roll = (value / 65536 for value in struct.unpack(">3i", body[4:16]))
    track.sphere = replace(track.sphere or Sphere(), yaw_deg=yaw, pitch_deg=pitch, roll_deg=roll)


def _equi(track: Track, body: bytes) -> None:
    bounds = tuple(value / 2**32 for value in struct.unpack(">4I", body[4:20]))
    track.sphere = replace(track.sphere or Sphere(), projection="equirectangular", cropped=bounds)
    track._boxes.append("v2")


def _other_projection(name: str) -> Callable[[Track, bytes], None]:
    def read(track: Track, body: bytes) -> None:
        del body
        track.sphere = replace(track.sphere or Sphere(), projection=name)
        track._boxes.append("v2")

    return read


def _uuid(track: Track, body: bytes) -> None:
    """Version 1: XML; version 2 counts where both are there."""
    if track._boxes:
        return
    text = body[16:].decode("utf-8", "replace")

    def value(name: str) -> str:
        match = re.search(rf"<GSpherical:{name}>\s*([^<]*?)\s*</", text) or re.search(
            rf'GSpherical:{name}="([^"]*)"', text
        )
        return match[1] if match else ""

    def number(name: str) -> float:
        return float(value(name)) if re.fullmatch(r"-?\d+(\.\d+)?", value(name)) else 0.0

    cropped = (0.0, 0.0, 0.0, 0.0)
    width, height = number("FullPanoWidthPixels"), number("FullPanoHeightPixels")
    shown = number("CroppedAreaImageWidthPixels"), number("CroppedAreaImageHeightPixels")
    if width and height and all(shown):
        left, top = number("CroppedAreaLeftPixels") / width, number("CroppedAreaTopPixels") / height
        cropped = top, max(1 - top - shown[1] / height, 0), left, max(1 - left - shown[0] / width, 0)
    stereo = value("StereoMode").lower()
    track.sphere = Sphere(
        value("ProjectionType").lower() or "equirectangular", "" if stereo in ("", "mono") else stereo, cropped=cropped
    )


def _sa3d(track: Track, body: bytes) -> None:
    kind, order, ordering, norm, count = struct.unpack(">xBIBBI", body[:12])
    count = min(count, (len(body) - 12) // 4, 1024)
    channels = struct.unpack(f">{count}I", body[12 : 12 + 4 * count])
    track.spatial = SpatialAudio(kind & 0x7F, bool(kind & 0x80), order, ordering, norm, channels)


_READERS = {
    b"tkhd": _tkhd,
    b"hdlr": _hdlr,
    b"elst": _elst,
    b"st3d": _st3d,
    b"prhd": _prhd,
    b"equi": _equi,
    b"cbmp": _other_projection("cubemap"),
    b"mshp": _other_projection("mesh"),
    b"SA3D": _sa3d,
}
