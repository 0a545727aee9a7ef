"""Video files: what they are, frames in order as they are to be seen, writing and resizing."""

from __future__ import annotations

import math
import os
import platform
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
import soundfile
from av.buffer import Buffer
from av.stream import Disposition, Stream
from av.video.reformatter import Interpolation

from util.errors import InputError
from util.files import written_whole
from util.film_boxes import Sphere, Track, tracks_of

# Stamps this close to index / fps belong to a constant frame rate whose container merely rounds them (Matroska: 1 ms).
TIMESTAMP_ROUNDING_S = 0.002
_AS_SEEN = "pictures as they are to be seen"
_TICKS = 1000  # of a frame, the time unit of videos whose frames have times of their own


@dataclass(frozen=True)
class VideoInfo:
    """Facts of a video file, read from its header.

    Attributes
    ----------
    width, height : pixels
    fps : average frames per second as the container states it (30000/1001, not 29.97)
    frame_count : number of frames
    duration_s : frame_count / fps, where time stamps do not say otherwise
    start_s : how much later than the sound the picture starts: than the sound of the file, else than its time 0
    upright : whether the pictures are stored as they are to be seen, not turned
    """

    path: Path
    width: int
    height: int
    fps: Fraction
    frame_count: int
    duration_s: float
    start_s: float = 0.0
    upright: bool = True


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
        container = av.open(os.path.abspath(path), metadata_errors="replace")  # "12:30.mp4" would be a protocol
    except (av.error.FFmpegError, OSError) as error:
        raise InputError(f"cannot be opened as a video ({error.strerror}); cut short or no video", path=path) from error
    if not container.streams.video:
        container.close()
        raise InputError("has no video stream", path=path)
    if picture_stream(container).codec_context is None:
        container.close()
        raise InputError("has pictures of a coding that is not known", path=path)
    return container


def has_pictures(path: str | os.PathLike[str]) -> bool:
    """Whether a file that can be opened has a video stream, other than a cover."""
    try:
        with av.open(os.path.abspath(path), metadata_errors="replace") as container:
            return any(not one.disposition & Disposition.attached_pic for one in container.streams.video)
    except (av.error.FFmpegError, OSError):
        return False


def holds_pictures_as_seen(path: str | os.PathLike[str]) -> bool:
    """Whether a `VideoWriter` of the present kind wrote a file: it says so, older ones did not."""
    with _open(path) as container:
        return container.metadata.get("comment") == _AS_SEEN


def picture_stream(container: av.container.InputContainer) -> av.VideoStream:
    """The video stream to look at: the first that is marked as the default, else the first that is no cover picture."""
    pictures = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    default = [one for one in pictures if one.disposition & Disposition.default]
    return (default or pictures or list(container.streams.video))[0]


def _frame_rate(stream: av.VideoStream, path: str | os.PathLike[str]) -> Fraction:
    rate = stream.average_rate or stream.guessed_rate
    if not rate:
        raise InputError("states no frame rate", path=path)
    return Fraction(rate)


def _track_of(stream: av.VideoStream, path: str | os.PathLike[str]) -> Track | None:
    return next((track for track in tracks_of(path) if track.id == stream.id and track.kind == b"vide"), None)


def video_info(path: str | os.PathLike[str]) -> VideoInfo:
    """Size, frame rate and number of frames, without decoding (of Matroska the first picture is, for its turn).

    Raises
    ------
    InputError : as for reading, or the container states no frame rate
    """
    with _open(path) as container:
        stream = picture_stream(container)
        track = _track_of(stream, path)
        fps, sphere = _frame_rate(stream, path), _sphere_of(track, path)
        width, height = stream.codec_context.width, stream.codec_context.height
        start_s = _start_s(container, stream, track)
        matrix = track.matrix if track is not None else (1.0, 0.0, 0.0, 1.0)
        try:
            if container.format.name.startswith("matroska"):
                frame = next(container.decode(stream), None)
                matrix = matrix if frame is None else _display_matrix(frame) or matrix
                container.seek(0)
            turn = _turn(matrix, path)
            count, duration_s = stream.frames, float(stream.frames / fps)
            uneven = stream.guessed_rate and abs(stream.guessed_rate / fps - 1) > 1e-3
            if not count or uneven:  # Matroska and transport streams do not state it: count the packets
                count, span_s = _counted(container, stream, float(1 / fps))
                duration_s = span_s if abs(span_s - count / fps) > 1 / fps else float(count / fps)
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(f"cannot be read ({error.strerror})", path=path) from error
        if not (width and height and count):
            raise InputError("holds no pictures", path=path)
        if turn.startswith("transpose"):
            width, height = height, width
        upright = not turn and not (sphere and sphere.yaw_deg)
        return VideoInfo(Path(path), width, height, fps, count, duration_s, start_s, upright)


def _seconds(ticks: float, stream: Stream) -> float:
    """Ticks of a stream's clock in seconds; where it states none, of MPEG's."""
    return float(ticks * (stream.time_base or Fraction(1, 90000)))


def _counted(container: av.container.InputContainer, stream: av.VideoStream, frame_s: float) -> tuple[int, float]:
    """Packets of a stream, and the seconds from the first time stamp to the end of the last picture."""
    count, first, last, length_s = 0, math.inf, -math.inf, frame_s
    for packet in container.demux(stream):
        if packet.size:
            count += 1
            if packet.pts is not None:
                first = min(first, packet.pts)
                if packet.pts > last:
                    last, length_s = packet.pts, _seconds(packet.duration or 0, stream) or frame_s
    return count, _seconds(last - first, stream) + length_s if last >= first else count * frame_s


def _start_s(container: av.container.InputContainer, stream: av.VideoStream, track: Track | None) -> float:
    """Seconds by which the first picture comes after the first sound of the file, else after its time 0.

    Where there is no sound and the container has no time 0 of its own (transport streams), or a file without edit list
    states the delay of its coding only, that is 0.
    """
    if stream.start_time is None:
        return 0.0
    own_s = _seconds(stream.start_time, stream)
    sounds = [_seconds(one.start_time, one) for one in container.streams.audio if one.start_time is not None]
    if sounds:
        start_s = own_s - min(sounds)
    elif track is not None:
        start_s = own_s if track.edits else 0.0
    else:
        start_s = own_s if container.format.name.startswith("matroska") else 0.0
    return start_s if abs(start_s) > TIMESTAMP_ROUNDING_S else 0.0


def _sphere_of(track: Track | None, path: str | os.PathLike[str]) -> Sphere | None:
    """What the file says of the sphere, None for nothing.

    Raises
    ------
    InputError : it is no whole equirectangular picture, with the command that makes one
    """
    sphere = None if track is None else track.sphere
    if sphere is None:
        return None
    name = shlex.quote(os.fspath(path))
    command = f"ffmpeg -i {name} -vf {{}} -c:a copy {shlex.quote(Path(path).stem + '_360.mp4')}"
    if sphere.projection == "cubemap":
        raise InputError(f"is a cube map by its spherical box: {command.format('v360=c3x2:e')}", path=path)
    if sphere.projection != "equirectangular":
        rule = f"has the projection {sphere.projection} by its spherical box: export it as equirectangular (360 x 180)"
        raise InputError(rule + " from the camera's program", path=path)
    if sphere.stereo:
        crop = "crop=iw:ih/2:0:0" if sphere.stereo == "top-bottom" else "crop=iw/2:ih:0:0"
        rule = f"holds two views by its box of stereo ({sphere.stereo}): {command.format(crop)} keeps one"
        raise InputError(rule, path=path)
    top, bottom, left, right = sphere.cropped
    if max(sphere.cropped) > 1e-3:
        wide, high = max(1 - left - right, 1e-3), max(1 - top - bottom, 1e-3)
        pad = command.format(f"pad=iw/{wide:.5g}:ih/{high:.5g}:ow*{left:.5g}:oh*{top:.5g}")
        raise InputError(f"shows a part of the sphere only by its spherical box: {pad}", path=path)
    if abs(sphere.pitch_deg) > 0.05 or abs(sphere.roll_deg) > 0.05:
        turned = command.format(f"v360=e:e:yaw={sphere.yaw_deg:g}:pitch={sphere.pitch_deg:g}:roll={sphere.roll_deg:g}")
        pose = f"pitch {sphere.pitch_deg:g}, roll {sphere.roll_deg:g} degrees"
        raise InputError(f"is tilted by its spherical box ({pose}): {turned}, then look at the result", path=path)
    return sphere


# x' = a x + c y, y' = b x + d y; x to the right, y downwards
_TURNS = {
    (1, 0, 0, 1): "",
    (-1, 0, 0, -1): "hflip,vflip",
    (0, 1, -1, 0): "transpose=clock",
    (0, -1, 1, 0): "transpose=cclock",
    (-1, 0, 0, 1): "hflip",
    (1, 0, 0, -1): "vflip",
    (0, 1, 1, 0): "transpose=cclock_flip",
    (0, -1, -1, 0): "transpose=clock_flip",
}


def _turn(matrix: tuple[float, float, float, float], path: str | os.PathLike[str]) -> str:
    """FFmpeg's filters that show a picture as its display matrix says, "" for none.

    Raises
    ------
    InputError : turned by another angle than whole quarters
    """
    largest = max(map(abs, matrix))
    if not largest:  # of cameras that write none (GoPro's second track)
        return ""
    scaled = tuple(value / largest for value in matrix)
    nearest = tuple(round(value) for value in scaled)
    if nearest not in _TURNS or max(abs(one - other) for one, other in zip(scaled, nearest)) > 0.3:
        angle_deg = math.degrees(math.atan2(matrix[1], matrix[0]))
        name, target = shlex.quote(os.fspath(path)), shlex.quote(Path(path).stem + "_upright.mp4")
        command = f"ffmpeg -noautorotate -i {name} -vf rotate={angle_deg:.1f}*PI/180 -c:a copy {target}"
        raise InputError(f"is turned by {angle_deg:.0f} degrees, no whole quarter: {command}", path=path)
    return _TURNS[nearest]


def _display_matrix(frame: av.VideoFrame) -> tuple[float, float, float, float] | None:
    """a, b, c, d of the display matrix of a decoded picture; None where it has none."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(data, Buffer):
        return None
    values = np.frombuffer(bytes(data)[:36], dtype=np.int32) / 65536
    return float(values[0]), float(values[1]), float(values[3]), float(values[4])


def _upright(
    frame: av.VideoFrame, yaw_deg: float, path: str | os.PathLike[str]
) -> Callable[[av.VideoFrame], av.VideoFrame]:
    """What makes the pictures of a video, of which one is given, those that are to be seen.

    They are turned by the display matrix; the middle of a sphere that does not show the front is moved there.
    """
    matrix = _display_matrix(frame)
    turn = "" if matrix is None else _turn(matrix, path)
    steps = [step.replace("=", "=dir=").partition("=")[::2] for step in turn.split(",") if step]
    if yaw_deg:  # a middle that shows the left comes to the left of the new one
        steps.append(("scroll", f"hpos={(-yaw_deg / 360.0) % 1.0:.6f}"))
    if not steps:
        return lambda picture: picture
    graph = av.filter.Graph()
    last = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=frame.time_base or Fraction(1, 90000),
    )
    for name, options in steps:
        following = graph.add(name, options) if options else graph.add(name)
        last.link_to(following)
        last = following
    last.link_to(graph.add("buffersink"))
    graph.configure()

    def turned(picture: av.VideoFrame) -> av.VideoFrame:
        graph.vpush(picture)
        return graph.vpull()

    return turned


def decoded_frames(path: str | os.PathLike[str], *, threads: int = 0) -> Iterator[tuple[int, float, av.VideoFrame]]:
    """Every frame in order as it is to be seen, not yet converted: (index, time in s, frame).

    Times count from the start of the sound. The first frame is at `VideoInfo.start_s`, 0 where picture and sound start
    together (or there is no sound); from there on the time is index / fps wherever the timestamps agree with it within
    their rounding, else the timestamp. Times never go back; frames that share a timestamp share the time.

    Parameters
    ----------
    threads : threads of the decoder, 0 = as FFmpeg sees fit

    Raises
    ------
    InputError : as `video_info`; damaged or cut short, with the first frame that is not there
    """
    with _open(path) as container:
        stream = picture_stream(container)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        track = _track_of(stream, path)
        fps, sphere = _frame_rate(stream, path), _sphere_of(track, path)
        start_s = _start_s(container, stream, track)
        index, packets, first_s, end_s, last_s = 0, 0, 0.0, 0.0, -math.inf
        try:
            for packet in container.demux(stream):
                packets += bool(packet.size)
                for frame in packet.decode():
                    if frame.is_corrupt:
                        raise InputError("breaks off: damaged picture data", path=path, place=f"frame {index}")
                    time_s = float(index / fps)
                    if frame.pts is not None and frame.time_base is not None:
                        stamp_s = float(frame.pts * frame.time_base)
                        first_s = stamp_s if index == 0 else first_s
                        end_s = stamp_s - first_s + float(1 / fps)
                        if abs(stamp_s - first_s - time_s) > TIMESTAMP_ROUNDING_S:
                            time_s = stamp_s - first_s
                    elif index:  # after the last one that has a stamp
                        time_s = last_s - start_s + float(1 / fps)
                    last_s = max(last_s, start_s + time_s)
                    if index == 0:
                        upright = _upright(frame, sphere.yaw_deg if sphere is not None else 0.0, path)
                    yield index, last_s, upright(frame)
                    index += 1
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(f"breaks off ({error.strerror})", path=path, place=f"frame {index}") from error
        # A file cut short ends without an error. Fewer frames than stated alone prove nothing: edit lists hide some.
        stated_s = _seconds(stream.duration, stream) if stream.duration else 0.0
        if packets < stream.frames and end_s + 0.5 / float(fps) < stated_s:
            raise InputError(
                f"breaks off after {index} of {stream.frames} frames, cut short", path=path, place=f"frame {index}"
            )
        if index == 0:
            raise InputError("holds no pictures", path=path, place="frame 0")


def pictures_at(path: str | os.PathLike[str], times_s: Iterable[float]) -> Iterator[av.VideoFrame | None]:
    """For each of ascending times the last picture not after it; None before the first one, the last one stays.

    Raises
    ------
    InputError : as `decoded_frames`
    """
    frames = decoded_frames(path)
    held, coming = None, next(frames, None)
    for time_s in times_s:
        while coming is not None and coming[1] <= time_s + TIMESTAMP_ROUNDING_S:
            held, coming = coming[2], next(frames, None)
        yield held


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

    if new_width is None:
        return (width, height) if new_height is None else (rounded(width * new_height / height), new_height)
    return new_width, rounded(height * new_width / width) if new_height is None else new_height


class VideoWriter:
    """An H.264 video in yuv420p, frame by frame; the file appears whole when the block ends well, else not at all.

    Parameters
    ----------
    width, height : even numbers of pixels (the format halves the colour planes)
    fps : frames per second
    crf : x264's constant rate factor; smaller is better and bigger
    audio : audio file to put beside the pictures (AAC); of more than two channels the first, FOA's omnidirectional one
    preset : x264's preset, speed against size
    timed : each frame is written at a time that is given with it, in place of one after the other

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
        timed: bool = False,
    ):
        if width < 2 or height < 2 or width % 2 or height % 2:
            raise InputError(f"width and height of a video must be even, not {width}x{height}", path=path)
        self.path, self.width, self.height, self.audio = Path(path), width, height, audio
        self.fps = Fraction(fps).limit_denominator(100_000)
        self._options = {"crf": str(crf), "preset": preset}
        if platform.machine().lower() in ("x86_64", "amd64"):
            # The AVX-512 code of x264 (its macroblock tree) reads memory that nothing has written: the same pictures
            # have other bytes, and other pixels, from run to run. SSE 4.2 takes the same time.
            self._options["x264-params"] = "asm=sse4.2"
        self._threads = threads
        self._count = 0
        self._tick = Fraction(1, _TICKS if timed else 1) / self.fps  # of a frame: constant rates stay exact
        self._last = -1

    def __enter__(self) -> VideoWriter:
        self._whole = written_whole(self.path)
        temporary = self._whole.__enter__()
        try:
            self._container = av.open(os.path.abspath(temporary), "w", format="mp4", options={"movflags": "+faststart"})
            self._container.metadata["comment"] = _AS_SEEN
            self._stream = self._container.add_stream("libx264", rate=self.fps, options=self._options)
            self._stream.width, self._stream.height, self._stream.pix_fmt = self.width, self.height, "yuv420p"
            self._stream.codec_context.time_base = self._tick
            self._stream.codec_context.thread_count = self._threads
            self._audio = _AudioTrack(self._container, self.audio) if self.audio is not None else None
        except BaseException as error:
            if not self._whole.__exit__(type(error), error, error.__traceback__):
                raise
        return self

    def write(self, frame: np.ndarray | av.VideoFrame, time_s: float | None = None) -> None:
        """Append one frame: BGR uint8 (height, width, 3), or a decoded frame of the right size.

        Parameters
        ----------
        time_s : where the video is timed; frames that share a time, or would go back, are put one tick behind the last
        """
        if isinstance(frame, np.ndarray):
            if frame.shape != (self.height, self.width, 3):
                raise InputError(
                    f"frame is {frame.shape[1]}x{frame.shape[0]}, the video {self.width}x{self.height}",
                    path=self.path,
                    place=f"frame {self._count}",
                )
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="bgr24")
        place = self._count if time_s is None else max(round(time_s / self._tick), self._last + 1)
        frame.pts, frame.time_base, frame.pict_type = place, self._tick, 0
        self._last = place
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
