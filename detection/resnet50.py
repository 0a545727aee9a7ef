"""Pictures -> ResNet-50 features of 7 x 7, the visual input of the DCASE baselines of 2024 and 2025, kept in files."""

from __future__ import annotations

import os
import sys
import urllib.error
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from av.video.reformatter import VideoReformatter
from PIL import Image
from tqdm import tqdm

from detection.at_times import held_at
from detection.videos import frames_on_grid, identity, source_video
from net.resnet50 import CLASSIFIER, ResNet50
from net.weights import load_weights
from util.cache import cache_folder
from util.checkpoint import read_weights_file
from util.errors import InputError
from util.files import sha256_of, written_whole
from util.leftovers import sweep_leftovers
from util.looks import LookTrack, look_file, look_place, read_looks, write_looks
from util.video import decoded_frames, video_info

URL = "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"  # ImageNet weights, version 2; the hash is its name's
SHAPE = (7, 7)
RATE_HZ = 10.0  # looks per second: frames 0, 3, 6 ... of 30 a second, as the baselines take them
SIZE = 224  # pixels of what the network is made for
_MEAN, _DEVIATION = np.array(((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), dtype=np.float32)
_REFERENCE = (360, 180)  # pixels that the baselines make pictures of first
_SHORTER_SIDE = 232  # before the middle is cut out
_BATCH = 8


class Backbone:
    """The network that looks at pictures.

    "resnet50" sees the whole picture, made 224 x 224. "resnet50_crop" sees what the baselines see: the picture made
    360 x 180, then 464 x 232, of which the middle 224 x 224 are cut out, less than half of the azimuth (a quirk, kept
    for parity). A path of a weights file sees the whole picture.

    Parameters
    ----------
    name : "resnet50", "resnet50_crop", or a .pth file of weights of the same form
    device : where it runs

    Raises
    ------
    InputError : no such name or file, failed download, weights of another network
    """

    def __init__(self, name: str, *, device: str | torch.device = "cpu", progress: bool = True):
        self.path = weights_file(name, progress=progress)
        self.label = Path(name).stem if name.endswith(".pth") else name
        self.crops = name == "resnet50_crop"
        if str(device) == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self.network = ResNet50()
        weights = read_weights_file(self.path)
        try:
            load_weights(self.network, {key: value for key, value in weights.items() if key not in CLASSIFIER})
        except InputError as error:
            raise InputError(f"holds no ResNet-50: {error.rule}", path=self.path) from None
        self.network.to(self.device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    @cached_property
    def sha256(self) -> str:
        """Hash of the weights, part of what a file of features must know."""
        return sha256_of(self.path)

    def prepared(self, picture: np.ndarray) -> np.ndarray:
        """A picture (height, width, 3) RGB uint8 -> the network's input (3, 224, 224) float32."""
        picture = np.ascontiguousarray(picture)
        if self.crops:
            small = Image.fromarray(cv2.resize(picture, _REFERENCE, interpolation=cv2.INTER_LINEAR))
            scale = _SHORTER_SIDE / min(small.size)
            width, height = (int(side * scale) for side in small.size)
            left, top = round((width - SIZE) / 2), round((height - SIZE) / 2)
            seen = small.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + SIZE, top + SIZE))
        else:
            seen = Image.fromarray(picture).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        values = (np.asarray(seen, dtype=np.float32) / 255 - _MEAN) / _DEVIATION
        return np.ascontiguousarray(values.transpose(2, 0, 1))

    def look(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        """Pictures (height, width, 3) RGB uint8 -> (n, 7, 7) float32, the mean over the 2048 maps."""
        with torch.inference_mode():
            batch = torch.from_numpy(np.stack([self.prepared(picture) for picture in pictures])).to(self.device)
            made: np.ndarray = self.network(batch.to(memory_format=torch.channels_last)).mean(dim=1).cpu().numpy()
        return made


def weights_file(name: str, *, progress: bool = True) -> Path:
    """The weights of a name, downloaded at first use; or the file that it names.

    Raises
    ------
    InputError : no such name or file; a failed download, with what to do
    """
    if name.endswith(".pth"):
        if not Path(name).is_file():
            raise InputError("no such file", path=name)
        return Path(name)
    if name not in ("resnet50", "resnet50_crop"):
        rule = "this system looks at pictures with resnet50, resnet50_crop or the .pth file of a ResNet-50"
        raise InputError(f"--detector {name}: {rule}")
    path = cache_folder() / URL.rpartition("/")[2]
    if path.is_file():
        return path
    try:
        with written_whole(path) as temporary:  # it checks the hash that stands in the name
            prefix = path.stem.rpartition("-")[2]
            torch.hub.download_url_to_file(URL, str(temporary), hash_prefix=prefix, progress=progress)
    except (urllib.error.URLError, RuntimeError, TimeoutError, ConnectionError, InputError) as error:
        by_hand = f"place the file at {path} by hand, or give --detector FILE.pth; --no-video does without"
        reason = getattr(error, "reason", None) or error
        raise InputError(f"cannot be downloaded ({reason}); {by_hand}", path=URL) from None
    return path


def ensure_looks(
    videos: Sequence[str | os.PathLike[str]], name: str, *, device: str = "cpu", progress: bool = True
) -> list[Path]:
    """Files of features of videos, made where they are missing or were made otherwise.

    Raises
    ------
    InputError : as `Backbone`; a video that cannot be read (after all others have been done)
    """
    if not videos:
        return []
    backbone, broken = Backbone(name, device=device, progress=progress), []
    paths = [look_file(video, backbone.label) for video in videos]
    sweep_leftovers(paths)
    due = [video for video, path in zip(videos, paths) if not is_current(path, source_video(video), backbone)]
    total = 0
    for video in due:
        try:
            total += round(video_info(source_video(video)).duration_s * RATE_HZ)
        except InputError:
            pass  # it is named below
    shown, what = progress and bool(due), f"looks {backbone.label}"
    with tqdm(total=total, unit="frame", desc=what, disable=not shown, file=sys.stderr) as bar:
        for video in due:
            try:
                write_looks(look_place(video, backbone.label), look_at(source_video(video), backbone, bar))
            except InputError as error:
                broken.append(error)
    if broken:
        raise broken[0]
    return [look_file(video, backbone.label) for video in videos]


def look_at(video: str | os.PathLike[str], backbone: Backbone, progress: tqdm | None = None) -> LookTrack:
    """What is seen in one video, 10 times a second.

    Raises
    ------
    InputError : the video cannot be read to its end
    """
    info = video_info(video)
    times_s: list[float] = []
    values: list[np.ndarray] = []
    for pictures, repeats, grid_s in _batches(video, float(1 / info.fps)):
        times_s += grid_s
        seen = np.zeros((len(repeats), *SHAPE), np.float32)  # before the picture starts there is nothing
        shown = {index: picture for index, picture in enumerate(pictures) if picture is not None}
        if shown:
            seen[list(shown)] = backbone.look(list(shown.values()))
        values.append(np.repeat(seen, repeats, axis=0))
        if progress is not None:
            progress.update(len(grid_s))
    whole = np.concatenate(values) if values else np.zeros((0, *SHAPE), np.float32)
    end_s = info.start_s + info.duration_s
    meta = {**made_with(backbone), **identity(video), "video_sha256": sha256_of(video)}
    return LookTrack(np.array(times_s), whole, end_s, meta)


def look_at_times(
    frames: str | os.PathLike[str] | Iterable[tuple[float, np.ndarray]], backbone: Backbone, times_s: np.ndarray
) -> LookTrack:
    """What is seen at ascending times: in a video, or in pairs (time in s, BGR picture); its last picture stays.

    Raises
    ------
    InputError : a video that cannot be read
    """
    if isinstance(frames, str | os.PathLike):
        return look_at(source_video(frames), backbone)
    values = np.zeros((len(times_s), *SHAPE), np.float32)
    last: np.ndarray | None = None
    for index, (_, picture) in enumerate(held_at(frames, times_s, np.inf)):
        if picture is not None:  # one look serves all times at which a picture is the last
            values[index] = values[index - 1] if picture is last else backbone.look([picture[..., ::-1]])[0]
        last = picture
    return LookTrack(np.asarray(times_s, dtype=np.float64), values, np.inf)


def _batches(
    video: str | os.PathLike[str], frame_s: float
) -> Iterator[tuple[list[np.ndarray | None], list[int], list[float]]]:
    """Pictures, how many grid times each is for, and these times in s."""
    converter = VideoReformatter()
    pictures: list[np.ndarray | None] = []
    repeats: list[int] = []
    times_s: list[float] = []
    for frame, grid_s in frames_on_grid(decoded_frames(video), RATE_HZ, frame_s):
        picture = None if frame is None else converter.reformat(frame, format="rgb24").to_ndarray()
        pictures.append(picture)
        repeats.append(len(grid_s))
        times_s += grid_s
        if len(pictures) == _BATCH:
            yield pictures, repeats, times_s
            pictures, repeats, times_s = [], [], []
    if pictures:
        yield pictures, repeats, times_s


def made_with(backbone: Backbone) -> dict:
    """What features depend on besides the video."""
    return {"producer": "resnet50", "detector": backbone.label, "model_sha256": backbone.sha256, "rate_hz": RATE_HZ}


def is_current(path: Path, source: str | os.PathLike[str], backbone: Backbone) -> bool:
    """Whether a file holds what looking again would give: same weights, same video."""
    try:
        meta, marks = read_looks(path).meta, identity(source)
    except (InputError, OSError):
        return False
    if any(meta.get(key) != value for key, value in made_with(backbone).items()):
        return False
    if meta.get("video_bytes") != marks["video_bytes"]:
        return False
    return meta.get("video_mtime_ns") == marks["video_mtime_ns"] or meta.get("video_sha256") == sha256_of(source)
