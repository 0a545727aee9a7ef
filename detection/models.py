"""Detectors by name: the official YOLOX files, downloaded once and checked; the built-in one; any local onnx file."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from util.cache import cache_folder
from util.errors import InputError
from util.files import sha256_of, written_whole

URL = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0"
URL_VARIABLE = "AV_SELD_YOLOX_URL"  # environment variable: a mirror of URL
TIMEOUT_S = 30.0
BUILTIN = Path(__file__).parent / "builtin" / "person.onnx"


@dataclass(frozen=True)
class OfficialFile:
    """A file of YOLOX release 0.1.1rc0 (Apache-2.0, trained on COCO)."""

    file: str
    size: int
    sha256: str


OFFICIAL = {
    "yolox_nano": OfficialFile(
        "yolox_nano.onnx", 3659407, "c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d"
    ),
    "yolox_tiny": OfficialFile(
        "yolox_tiny.onnx", 20219662, "427cc366d34e27ff7a03e2899b5e3671425c262ea2291f88bb942bc1cc70b0f7"
    ),
    "yolox_s": OfficialFile(
        "yolox_s.onnx", 35858002, "c5c2d13e59ae883e6af3b45daea64af4833a4951c92d116ec270d9ddbe998063"
    ),
}


class NotDownloaded(InputError):
    """An official file that is not in the cache and cannot be fetched."""


def model_path(detector: str, *, progress: bool = True) -> Path:
    """The onnx file of a detector: "yolox_nano", "yolox_tiny", "yolox_s" (downloaded at first use), "builtin", a path.

    Raises
    ------
    InputError : no such detector or file; the download fails or is not the official file
    """
    if detector == "builtin":
        return BUILTIN
    if detector in OFFICIAL:
        return official_file(OFFICIAL[detector], progress=progress)
    if not detector.endswith(".onnx"):
        raise InputError(f"no detector {detector!r}: give {', '.join(OFFICIAL)}, builtin or the path of an .onnx file")
    if not Path(detector).is_file():
        raise InputError("no such file", path=detector)
    return Path(detector)


def official_file(wanted: OfficialFile, *, progress: bool = True) -> Path:
    """The file in the user's cache, downloaded where it is not there yet; size and sha256 are those of the release.

    Raises
    ------
    InputError : with what to do where the download fails; or the file in the cache is another one
    """
    path = cache_folder() / wanted.file
    if path.is_file():
        if path.stat().st_size != wanted.size or sha256_of(path) != wanted.sha256:
            raise InputError(f"is not the official file (sha256 {wanted.sha256}); delete it", path=path)
        return path
    url = f"{(os.environ.get(URL_VARIABLE) or URL).rstrip('/')}/{wanted.file}"
    by_hand = f"place the file at {path} by hand, or give --detector FILE.onnx or --detector builtin"
    digest, size = hashlib.sha256(), 0
    with written_whole(path) as temporary:
        try:
            with (
                urllib.request.urlopen(url, timeout=TIMEOUT_S) as response,
                open(temporary, "wb") as file,
                tqdm(total=wanted.size, unit="B", unit_scale=True, desc=wanted.file, disable=not progress) as bar,
            ):
                while size <= wanted.size and (block := response.read(1 << 16)):
                    file.write(block)
                    digest.update(block)
                    size += len(block)
                    bar.update(len(block))
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise NotDownloaded(f"cannot be downloaded ({reason}); {by_hand}", path=url) from error
        if size < wanted.size:
            raise NotDownloaded(f"download broke off after {size} of {wanted.size} bytes; {by_hand}", path=url)
        if size > wanted.size or digest.hexdigest() != wanted.sha256:
            raise InputError(
                f"is not the official file: {size} bytes, sha256 {digest.hexdigest()[:16]}..., "
                f"wanted {wanted.size} bytes, sha256 {wanted.sha256[:16]}...; {by_hand}",
                path=url,
            )
    return path
