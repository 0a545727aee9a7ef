"""Small films for tests: pictures at given times, sound beside them, boxes put into their sample entries."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TICKS = 90000
WIDTH, HEIGHT = 96, 48


def square(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A white square in the upper left quarter on dark grey; the lower right corner tells the index."""
    picture = np.full((height, width, 3), 40, np.uint8)
    picture[height // 8 : height // 8 * 3, width // 8 : width // 4] = 255
    picture[-8:, -8:] = 10 * (index % 25)
    return picture


def film(
    path: Path,
    times_s: Sequence[float],
    *,
    picture: Callable[[int], np.ndarray] = square,
    sound: np.ndarray | None = None,
    sound_s: float = 0.0,
    rotation: int = 0,
    matrix: Sequence[int] | None = None,
    layout: str = "mono",
    codec: str = "aac",
    bframes: int = 0,
    container: str | None = None,
    more: Sequence[Callable[[int], np.ndarray]] = (),
) -> Path:
    """Write pictures at times, sound (channels, samples at 24 kHz) from `sound_s` on; `more` are other video tracks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w", format=container) as out:
        tracks = []
        for draw in (picture, *more) if len(times_s) else ():
            height, width = draw(0).shape[:2]
            stream = out.add_stream("libx264", rate=10, options={"bf": str(bframes), "crf": "12"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.codec_context.time_base = stream.time_base = Fraction(1, TICKS)
            tracks.append((stream, draw))
        if rotation:
            tracks[0][0].set_display_rotation(rotation)
        if matrix is not None:
            tracks[0][0].set_display_matrix(matrix)
        if sound is not None:
            voice = out.add_stream(codec, rate=24000, layout=layout)
        for index, time_s in enumerate(times_s):
            for stream, draw in tracks:
                frame = av.VideoFrame.from_ndarray(draw(index), format="bgr24")
                frame.pts, frame.time_base = round(time_s * TICKS), Fraction(1, TICKS)
                out.mux(stream.encode(frame))
        for stream, _ in tracks:
            out.mux(stream.encode(None))
        if sound is not None:
            packed = codec.startswith("pcm")
            form = "flt" if codec == "pcm_f32le" else "s16" if packed else "fltp"
            samples = np.rint(sound * 32767).astype(np.int16) if form == "s16" else sound.astype(np.float32)
            samples = samples.T.reshape(1, -1) if packed else samples
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format=form, layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = 24000, round(sound_s * 24000), Fraction(1, 24000)
            out.mux(voice.encode(frame))
            out.mux(voice.encode(None))
    return path


def box(name: bytes, body: bytes) -> bytes:
    """A box of an MP4 file."""
    return struct.pack(">I4s", 8 + len(body), name) + body


def with_boxes(path: Path, boxes: bytes, *, kind: bytes = b"vide", entry_bytes: int = 78) -> Path:
    """Append boxes to the sample entry of the first track of a kind; moov must stand behind the samples."""
    content = bytearray(path.read_bytes())

    def inside(start: int, end: int, name: bytes) -> list[tuple[int, int]]:
        found = []
        while start + 8 <= end:
            length, here = struct.unpack_from(">I4s", content, start)
            if here == name:
                found.append((start, start + length))
            start += length
        return found

    ((moov, moov_end),) = inside(0, len(content), b"moov")
    assert not inside(moov_end, len(content), b"mdat")
    for trak, trak_end in inside(moov + 8, moov_end, b"trak"):
        ((mdia, mdia_end),) = inside(trak + 8, trak_end, b"mdia")
        ((hdlr, _),) = inside(mdia + 8, mdia_end, b"hdlr")
        if content[hdlr + 16 : hdlr + 20] != kind:
            continue
        ((minf, minf_end),) = inside(mdia + 8, mdia_end, b"minf")
        ((stbl, stbl_end),) = inside(minf + 8, minf_end, b"stbl")
        ((stsd, _),) = inside(stbl + 8, stbl_end, b"stsd")
        entry = stsd + 16
        (length,) = struct.unpack_from(">I", content, entry)
        for place in (moov, trak, mdia, minf, stbl, stsd, entry):
            (old,) = struct.unpack_from(">I", content, place)
            struct.pack_into(">I", content, place, old + len(boxes))
        content[entry + length : entry + length] = boxes
        path.write_bytes(content)
        return path
    raise AssertionError(f"no track of {kind}")


def sphere(projection: bytes, body: bytes = bytes(16), *, pose: tuple[float, float, float] = (0, 0, 0)) -> bytes:
    """Box sv3d."""
    header = box(b"prhd", bytes(4) + struct.pack(">3i", *(round(angle * 65536) for angle in pose)))
    return box(b"sv3d", box(b"svhd", bytes(4) + b"test\0") + box(b"proj", header + box(projection, bytes(4) + body)))


def spatial(channel_map: Sequence[int], *, kind: int = 0, order: int = 1, ordering: int = 0, norm: int = 0) -> bytes:
    """Box SA3D."""
    head = struct.pack(">BBIBBI", 0, kind, order, ordering, norm, len(channel_map))
    return box(b"SA3D", head + struct.pack(f">{len(channel_map)}I", *channel_map))
