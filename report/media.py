"""Sound and picture of a recording as one small mp4 that any browser plays: for embedding into a page."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import soxr

from util.audio import audio_blocks, audio_info
from util.microphone_arrays import Array
from util.video import decoded_frames, fitted_size, picture_stream, video_info

_BLOCK = 1 << 16
_CARDIOID_DEG = 75.0
_PEAK, _MOST_GAIN = 0.8, 30.0
_COPIED_WIDTH = 1024  # a video up to this width is copied as it is; a larger one is made this wide
_AAC_RATES_HZ = (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)


@dataclass(frozen=True)
class Media:
    """mp4 bytes with their MIME type; `duration_s` is that of the sound, or of the picture where there is no sound."""

    content: bytes
    mime: str
    video: bool
    duration_s: float


def stereo_gains(channels: int, array: Array | None, matrix: np.ndarray | None = None) -> np.ndarray:
    """Gains (2, channels) that make left and right of a recording.

    First-order Ambisonics: two virtual cardioids at azimuth +-75 degrees. Capsules: the mean of those on either side.
    Without an array: two channels are left and right, of others the first goes to both. `matrix` (channels, channels)
    comes before: from the channels of the file (FuMa, say) to those of the array.
    """
    if matrix is not None:
        return stereo_gains(channels, array) @ matrix
    if array is not None and array.channels == channels and array.kind == "ambisonics":
        angle = np.deg2rad(_CARDIOID_DEG)  # channels W, Y, Z, X
        return 0.5 * np.array([[1, side * np.sin(angle), 0, np.cos(angle)] for side in (1, -1)])
    if array is not None and array.channels == channels:
        side = array.directions()[:, 1]
        sides = np.stack([side > 1e-6, side < -1e-6]).astype(np.float64)
        sides[sides.sum(axis=1) == 0] = 1.0
        return sides / sides.sum(axis=1, keepdims=True)
    gains = np.zeros((2, channels))
    gains[0, 0], gains[1, 1 if channels == 2 else 0] = 1.0, 1.0
    return gains


def stereo_blocks(
    path: str | os.PathLike[str], array: Array | None, matrix: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """A recording as stereo, block by block (2, samples) float32 at its own rate, quiet ones made louder."""
    gains = stereo_gains(audio_info(path).channels, array, matrix).astype(np.float32)
    peak = 1e-9
    for block in audio_blocks(path, block=_BLOCK):
        peak = max(peak, float(np.abs(gains @ block).max(initial=0.0)))
    gains *= min(_PEAK / peak, _MOST_GAIN)
    for block in audio_blocks(path, block=_BLOCK):
        yield gains @ block


def browser_media(
    *,
    audio: str | os.PathLike[str] | None,
    video: str | os.PathLike[str] | None,
    array: Array | None = None,
    matrix: np.ndarray | None = None,
    audio_kbps: int = 96,
) -> Media | None:
    """One mp4 of a recording's sound (stereo AAC) and picture (H.264), None when there is neither.

    An mp4 of H.264 in yuv420p, at most 1024 pixels wide, upright and beginning with the sound is copied, any other
    is encoded anew.

    Raises
    ------
    InputError : a file is missing or cannot be read
    """
    if audio is None and video is None:
        return None
    buffer = io.BytesIO()
    duration_s = 0.0
    with av.open(buffer, "w", format="mp4") as out:
        sound = picture = None
        if video is not None:
            duration_s = video_info(video).duration_s
            picture = _copied(out, video) or _encoded(out, video)
            next(picture)  # streams are made before the first packet is written
        if audio is not None:
            duration_s = audio_info(audio).duration_s
            sound = _aac(out, audio, stereo_blocks(audio, array, matrix), audio_kbps)
            next(sound)
        _interleave(out, [packets for packets in (picture, sound) if packets is not None])
    kind = "video" if video is not None else "audio"
    return Media(buffer.getvalue(), f"{kind}/mp4", video is not None, duration_s)


def _interleave(out: av.container.OutputContainer, sources: list[Iterator[av.Packet | None]]) -> None:
    """Write the packets of all sources in the order of their times."""
    heads = [next(source, None) for source in sources]
    while any(head is not None for head in heads):
        times = [math.inf if head is None else float((head.dts or 0) * head.time_base) for head in heads]
        first = int(np.argmin(times))
        if (packet := heads[first]) is not None:
            out.mux(packet)
        heads[first] = next(sources[first], None)


def _copied(out: av.container.OutputContainer, path: str | os.PathLike[str]) -> Iterator[av.Packet | None] | None:
    """The packets of a video as they are, after a first None; no iterator where a browser would not play them."""
    info = video_info(path)
    with av.open(os.path.abspath(path), metadata_errors="replace") as source:
        stream = picture_stream(source)
        context = stream.codec_context
        if context.name != "h264" or context.pix_fmt != "yuv420p" or context.width > _COPIED_WIDTH:
            return None
        if "mp4" not in source.format.name:  # others need not say in which order packets are decoded
            return None
        begins_at_0 = not stream.start_time or (
            stream.time_base is not None and abs(float(stream.start_time * stream.time_base)) < 0.002
        )
        if not info.upright or info.start_s or not begins_at_0:
            return None

    def packets() -> Iterator[av.Packet | None]:
        with av.open(os.path.abspath(path), metadata_errors="replace") as source:
            stream = picture_stream(source)
            target = out.add_stream_from_template(stream)
            yield None
            for packet in source.demux(stream):
                if packet.dts is not None and packet.size:
                    packet.stream = target
                    yield packet

    return packets()


def _encoded(out: av.container.OutputContainer, path: str | os.PathLike[str]) -> Iterator[av.Packet | None]:
    """A video made small, as packets after a first None: upright, black before it starts, from the sound's start on."""
    info = video_info(path)
    width = min(info.width, _COPIED_WIDTH) // 2 * 2
    size = fitted_size(info.width, info.height, width, None, multiple=2)
    stream = out.add_stream("libx264", rate=info.fps, options={"crf": "27", "preset": "veryfast"})
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = Fraction(1, 90000)
    yield None
    last = -1

    def encoded(frame: av.VideoFrame, time_s: float) -> list[av.Packet]:
        nonlocal last
        scaled = frame.reformat(*size, format="yuv420p")
        last = max(round(time_s * 90000), last + 1)  # frames may share a time
        scaled.pts, scaled.time_base, scaled.pict_type = last, Fraction(1, 90000), 0
        return stream.encode(scaled)

    early = None  # the last picture from before the sound
    for _, time_s, frame in decoded_frames(path):
        if time_s < 0:
            early = frame
            continue
        if last < 0 and time_s > 0:
            black = av.VideoFrame.from_ndarray(np.zeros((size[1], size[0], 3), np.uint8), format="bgr24")
            yield from encoded(early or black, 0.0)
        yield from encoded(frame, time_s)
    yield from stream.encode(None)


def _aac(
    out: av.container.OutputContainer, path: str | os.PathLike[str], blocks: Iterator[np.ndarray], kbps: int
) -> Iterator[av.Packet | None]:
    """Stereo blocks of a recording as AAC packets after a first None."""
    rate = audio_info(path).rate_hz
    if rate not in _AAC_RATES_HZ:
        blocks, rate = _resampled(blocks, rate, _AAC_RATES_HZ[0]), _AAC_RATES_HZ[0]
    # half the time of the default coder, and good enough to listen along
    stream = out.add_stream("aac", rate=rate, layout="stereo", options={"aac_coder": "fast"})
    stream.bit_rate = kbps * 1000
    yield None
    done = 0
    for block in blocks:
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block, dtype=np.float32), format="fltp", layout="stereo"
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, done, Fraction(1, rate)
        done += block.shape[1]
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _resampled(blocks: Iterator[np.ndarray], rate_hz: int, new_rate_hz: int) -> Iterator[np.ndarray]:
    """Stereo blocks (2, samples) at another rate."""
    stream = soxr.ResampleStream(rate_hz, new_rate_hz, 2, dtype="float32", quality="HQ")
    for block in blocks:
        made = stream.resample_chunk(np.ascontiguousarray(block.T, dtype=np.float32))
        if len(made):
            yield made.T
    rest = stream.resample_chunk(np.zeros((0, 2), np.float32), last=True)
    if len(rest):
        yield rest.T
