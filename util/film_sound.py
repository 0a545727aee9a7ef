"""The sound of a film (mp4, mov, mkv ...) as a file of samples, decoded once and kept as long as the program runs."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np

from util.errors import InputError
from util.film_boxes import SpatialAudio, places_of_spatial_boxes, tracks_of
from util.overlaid import Overlaid

_LOCK, _NUMBERS = threading.Lock(), itertools.count()
_FULL_SCALE = {"u8": 128.0, "s16": 2.0**15, "s32": 2.0**31}


@lru_cache(maxsize=1)
def _folder() -> Path:
    """A folder that goes when the program ends."""
    folder = Path(tempfile.mkdtemp(prefix="seld-sound-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[av.container.InputContainer]:
    """A film without its box of spatial audio: PyAV 18 frees FFmpeg's layout for one twice and aborts."""
    with ExitStack() as stack:
        source: str | BinaryIO | Overlaid = os.path.abspath(path)  # "12:30.mp4" would be a protocol
        if places := places_of_spatial_boxes(path):
            file: BinaryIO | Overlaid = stack.enter_context(open(path, "rb"))
            for place in places:
                file = Overlaid(file, place, b"free")
            source = file
        yield stack.enter_context(av.open(source, "r", metadata_errors="replace"))


class FilmSound:
    """The sound of a film.

    Attributes
    ----------
    samples : file of raw samples, channels interleaved
    coding : of the samples, "<i2" or "<f4"
    channels, rate_hz, frames : as of any sound
    ambisonics, channel_map : what a box SA3D says, as in `util.audio.AudioInfo`
    note : where it is taken from, if that is not plain
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._path = path
        try:
            with _opened(path) as container:
                stream = self._chosen(container)
                self.rate_hz, self.channels = stream.codec_context.sample_rate, stream.codec_context.channels
                if not (self.rate_hz and self.channels):
                    raise InputError("its sound states no rate or no channels", path=path)
                form = stream.codec_context.format  # None where it is known after decoding only
                self.coding = "<i2" if form is not None and form.name.rstrip("p") == "s16" else "<f4"
                self.samples = _folder() / f"{next(_NUMBERS)}.raw"
                self.frames = self._decoded(container, stream)
        except InputError:
            raise
        except (av.error.FFmpegError, OSError, ValueError) as error:  # also numbers that NumPy does not know
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"its sound cannot be decoded ({reason})", path=path) from None

    def _chosen(self, container: av.container.InputContainer) -> av.AudioStream:
        """The track of Ambisonics, else the one of most channels, else the default."""
        streams = [one for one in container.streams.audio if one.codec_context is not None]
        if not streams:
            raise InputError("has no sound: give the multichannel sound file too", path=self._path)
        spatial = {track.id: track.spatial for track in tracks_of(self._path) if track.spatial is not None}
        best = max(
            streams,
            key=lambda one: (one.id in spatial, one.codec_context.channels, bool(one.disposition & 1), -one.index),
        )
        self.note = ""
        if len(streams) > 1:
            kinds = ", ".join(f"{one.codec_context.channels} channels of {one.codec_context.name}" for one in streams)
            self.note = f"sound track {streams.index(best) + 1} of {len(streams)} is used ({kinds})"
        self.ambisonics, self.channel_map = self._spatial(spatial.get(best.id), best.codec_context.channels)
        return best

    def _spatial(self, box: SpatialAudio | None, channels: int) -> tuple[str, tuple[int, ...]]:
        """What a box of spatial audio says; one that says something else than ACN and SN3D is refused."""
        if box is None:
            return "", ()
        components = (min(box.order, 32) + 1) ** 2
        held = box.channel_map[:components]
        if box.kind or box.ordering or box.norm or len(held) < max(components, 4) or not box.order:
            rule = (
                f"its box of spatial audio says kind {box.kind}, order {box.order}, ordering {box.ordering}, weights "
                f"{box.norm}; ACN and SN3D of order 1 or more (0, 1, 0, 0) are understood"
            )
            raise InputError(rule, path=self._path)
        if len(set(held)) < len(held) or max(held) >= channels:
            rule = f"its box of spatial audio names channels {list(held)}, the sound has {channels}"
            raise InputError(rule, path=self._path)
        return "acn", held

    def _decoded(self, container: av.container.InputContainer, stream: av.AudioStream) -> int:
        """Write all samples; how many there are."""
        frames, kind = 0, np.dtype(self.coding)
        with open(self.samples, "wb") as file:
            for frame in container.decode(stream):
                values = frame.to_ndarray()
                name = frame.format.name
                samples = values.T if name.endswith("p") else values.reshape(-1, frame.layout.nb_channels)
                if samples.shape[1] != self.channels or frame.sample_rate != self.rate_hz:
                    place = f"{frames / self.rate_hz:.3f} s"
                    raise InputError("its sound changes its rate or its channels", path=self._path, place=place)
                if kind != np.dtype("<i2"):
                    scale = _FULL_SCALE.get(name.rstrip("p"), 1.0)
                    samples = (samples.astype(np.float64) - (128 if name.startswith("u8") else 0)) / scale
                file.write(np.ascontiguousarray(samples, dtype=kind).tobytes())
                frames += len(samples)
        return frames


@lru_cache(maxsize=64)
def _of(path: str, size: int, modified_ns: int) -> FilmSound:
    del size, modified_ns
    return FilmSound(path)


def film_sound(path: str, size: int, modified_ns: int) -> FilmSound:
    """The sound of a film; size and time of change tell a changed file.

    Raises
    ------
    InputError : no sound in it, or none that can be decoded; a box of spatial audio that is not understood
    """
    with _LOCK:
        found = _of(path, size, modified_ns)
        if not found.samples.is_file():  # someone has tidied up
            _of.cache_clear()
            found = _of(path, size, modified_ns)
    return found
