"""Video files: what they are, frames in order, writing and resizing."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
import soundfile
from av.video.reformatter import Interpolation

from util.errors import InputError
from util.files import written_whole

# Stamps this close to index / fps belong to a constant frame rate whose container merely rounds them (Matroska: 1 ms).
TIMESTAMP_ROUNDING_S = 0.002


@dataclass(frozen=True)
class VideoInfo:
    """Facts of a video file, read from its header.

    Attributes
    ----------
    width, height : pixels
    fps : average frames per second as the container states it (30000/1001, not 29.97)
    frame_count : number of frames
    duration_s : frame_count / fps
    """

    path: Path
    width: int
    height: int
    fps: Fraction
    frame_count: int
    duration_s: float


def _open(path: str | os.PathLike[str]) -> av.container.InputContainer:
    """Open a video file whose first video stream can be decoded.

    Raises
    ------
    InputError : missing, no video container, without a video stream
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("no such file", path=path)
    if path.stat().st_size == 0:
        raise InputError("is empty (0 bytes)", path=path)
    try:
        container = av.open(os.path.abspath(path))  # "12:30.mp4" would be a protocol
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"cannot be opened as a video ({error.strerror}); cut short or no video", path=path) from error
    if not container.streams.video:
        container.close()
        raise InputError("has no video stream", path=path)
    return container


def _frame_rate(stream: av.VideoStream, path: str | os.PathLike[str]) -> Fraction:
    rate = stream.average_rate or stream.guessed_rate
    if not rate:
        raise InputError("states no frame rate", path=path)
    return Fraction(rate)


def video_info(path: str | os.PathLike[str]) -> VideoInfo:
    """Size, frame rate and number of frames, without decoding.

    Raises
    ------
    InputError : as for reading, or the container states no frame rate
    """
    with _open(path) as container:
        stream = container.streams.video[0]
        fps = _frame_rate(stream, path)
        count = stream.frames
        if not count:  # Matroska and transport streams do not state it: count the packets
            try:
                count = sum(1 for packet in container.demux(stream) if packet.size)
            except av.error.FFmpegError as error:
                raise InputError(f"cannot be read ({error.strerror})", path=path) from error
        width, height = stream.codec_context.width, stream.codec_context.height
        if not (width and height and count):
            raise InputError("holds no pictures", path=path)
        return VideoInfo(Path(path), width, height, fps, count, float(count / fps))


def decoded_frames(path: str | os.PathLike[str], *, threads: int = 0) -> Iterator[tuple[int, float, av.VideoFrame]]:
    """Every frame in order, not yet converted: (index, time in s from the first frame, frame).

    The time is index / fps wherever the timestamps agree with it within their rounding, else the timestamp.

    Parameters
    ----------
    threads : threads of the decoder, 0 = as FFmpeg sees fit

    Raises
    ------
    InputError : as `video_info`; damaged or cut short, with the first frame that is not there
    """
    with _open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        fps = _frame_rate(stream, path)
        index, packets, first_s, end_s = 0, 0, 0.0, 0.0
        try:
            for packet in container.demux(stream):
                packets += bool(packet.size)
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise InputError("breaks off: damaged picture data", path=path, place=f"frame {index}")
                    time_s = float(index / fps)
                    if frame.pts is not None:
                        stamp_s = float(frame.pts * frame.time_base)
                        first_s = stamp_s if index == 0 else first_s
                        end_s = stamp_s - first_s + float(1 / fps)
                        if abs(stamp_s - first_s - time_s) > TIMESTAMP_ROUNDING_S:
                            time_s = stamp_s - first_s
                    yield index, time_s, frame
                    index += 1
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(f"breaks off ({error.strerror})", path=path, place=f"frame {index}") from error
        # A file cut short ends without an error. Fewer frames than stated alone prove nothing: edit lists hide some.
        stated_s = float(stream.duration * stream.time_base) if stream.duration else 0.0
        if packets < stream.frames and end_s + 0.5 / float(fps) < stated_s:
            raise InputError(
                f"breaks off after {index} of {stream.frames} frames, cut short", path=path, place=f"frame {index}"
            )
        if index == 0:
            raise InputError("holds no pictures", path=path, place="frame 0")


def read_frames(
    path: str | os.PathLike[str], *, width: int | None = None, height: int | None = None, threads: int = 0
) -> Iterator[tuple[int, np.ndarray]]:
    """Every frame in order: (index, BGR uint8 (height, width, 3)).

    Parameters
    ----------
    width, height : size to scale to; the aspect ratio is kept when only one is given

    Raises
    ------
    InputError : as `decoded_frames`
    """
    for index, _, frame in decoded_frames(path, threads=threads):
        if width is None and height is None:
            yield index, frame.to_ndarray(format="bgr24")
        else:
            size = fitted_size(frame.width, frame.height, width, height)
            yield (
                index,
                frame.to_ndarray(format="bgr24", width=size[0], height=size[1], interpolation=Interpolation.AREA),
            )


def fitted_size(
    width: int, height: int, new_width: int | None, new_height: int | None, *, multiple: int = 1
) -> tuple[int, int]:
    """The size that is asked for: a missing side follows from the aspect ratio, rounded to `multiple`."""

    def rounded(length: float) -> int:
        return max(multiple, multiple * math.floor(length / multiple + 0.5))

    if new_width is None and new_height is None:
        return width, height
    if new_width is None:
        new_width = rounded(width * new_height / height)
    if new_height is None:
        new_height = rounded(height * new_width / width)
    return new_width, new_height


class VideoWriter:
    """An H.264 video in yuv420p, frame by frame; the file appears whole when the block ends well, else not at all.

    Parameters
    ----------
    width, height : even numbers of pixels (the format halves the colour planes)
    fps : frames per second
    crf : x264's constant rate factor; smaller is better and bigger
    audio : audio file to put beside the pictures (AAC); of more than two channels the first, FOA's omnidirectional one
    preset : x264's preset, speed against size

    Raises
    ------
    InputError : odd size, frame of another size, unreadable audio, folder that cannot be written
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        width: int,
        height: int,
        fps: Fraction | float,
        *,
        crf: int = 23,
        audio: str | os.PathLike[str] | None = None,
        preset: str = "veryfast",
        threads: int = 0,
    ):
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise InputError(f"width and height of a video must be even, not {width}x{height}", path=path)
        self.path, self.width, self.height, self.audio = Path(path), width, height, audio
        self.fps = Fraction(fps).limit_denominator(100_000)
        self._options = {"crf": str(crf), "preset": preset}
        self._threads = threads
        self._count = 0

    def __enter__(self) -> VideoWriter:
        self._whole = written_whole(self.path)
        temporary = self._whole.__enter__()
        try:
            self._container = av.open(os.path.abspath(temporary), "w", format="mp4", options={"movflags": "+faststart"})
            self._stream = self._container.add_stream("libx264", rate=self.fps, options=self._options)
            self._stream.width, self._stream.height, self._stream.pix_fmt = self.width, self.height, "yuv420p"
            self._stream.codec_context.time_base = 1 / self.fps
            self._stream.codec_context.thread_count = self._threads
            self._audio = _AudioTrack(self._container, self.audio) if self.audio is not None else None
        except BaseException as error:
            if not self._whole.__exit__(type(error), error, error.__traceback__):
                raise
        return self

    def write(self, frame: np.ndarray | av.VideoFrame) -> None:
        """Append one frame: BGR uint8 (height, width, 3), or a decoded frame of the right size."""
        if isinstance(frame, np.ndarray):
            if frame.shape != (self.height, self.width, 3):
                raise InputError(
                    f"frame is {frame.shape[1]}x{frame.shape[0]}, the video {self.width}x{self.height}",
                    path=self.path,
                    place=f"frame {self._count}",
                )
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="bgr24")
        frame.pts, frame.time_base, frame.pict_type = self._count, 1 / self.fps, 0
        self._count += 1
        self._container.mux(self._stream.encode(frame))
        if self._audio is not None:  # kept abreast of the pictures, so that players need not seek
            self._audio.write_until(float(self._count / self.fps))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            if kind is None:
                self._container.mux(self._stream.encode(None))
                if self._audio is not None:
                    self._audio.write_until(math.inf)
            self._container.close()
        except BaseException as failure:
            if not self._whole.__exit__(type(failure), failure, failure.__traceback__):
                raise
        return self._whole.__exit__(kind, error, trace)


class _AudioTrack:
    """The audio of a `VideoWriter`: an audio file, encoded as AAC."""

    def __init__(self, container: av.container.OutputContainer, path: str | os.PathLike[str]):
        try:
            self._file = soundfile.SoundFile(path)
        except (soundfile.LibsndfileError, OSError) as error:
            raise InputError("cannot be read as audio", path=path) from error
        self._channels = self._file.channels if self._file.channels <= 2 else 1
        self._layout = "stereo" if self._channels == 2 else "mono"
        self._container, self._done = container, 0
        self._stream = container.add_stream("aac", rate=self._file.samplerate, layout=self._layout)

    def write_until(self, time_s: float) -> None:
        """Encode up to a time, or to the end (infinity)."""
        rate = self._file.samplerate
        wanted = self._file.frames if math.isinf(time_s) else min(self._file.frames, int(time_s * rate))
        while self._done < wanted:
            block = self._file.read(min(wanted - self._done, 65536), dtype="float32", always_2d=True)
            if not len(block):
                break
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(block[:, : self._channels].T), format="fltp", layout=self._layout
            )
            frame.sample_rate, frame.pts, frame.time_base = rate, self._done, Fraction(1, rate)
            self._done += len(block)
            self._container.mux(self._stream.encode(frame))
        if math.isinf(time_s):
            self._container.mux(self._stream.encode(None))
            self._file.close()
