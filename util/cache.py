"""Where products of the data go (person boxes, small videos) that cannot lie beside them: a cache keyed by content.

By default they lie beside the data. Where that cannot be written (a shared folder of a cluster, a mounted image), or
with the flag `--cache DIR`, they go into a cache; their names are made of the video's content, so that a moved or
renamed video is found again and a changed one is not taken for what it was.
"""

from __future__ import annotations

import functools
import hashlib
import os
import uuid
from pathlib import Path

from util.text import say_once

VARIABLE = "AV_SELD_CACHE"  # environment variable: the folder instead of the user's cache folder
_SAMPLED = 1 << 16  # bytes that are read at each place of a large file
_PLACES = 16
_CHOSEN = "AV_SELD_PRODUCTS"  # environment variable, so that processes that train together agree


def use(folder: str | os.PathLike[str] | None) -> None:
    """Take a folder for all products of this process and its children (flag --cache); None: the default again."""
    if folder is None:
        os.environ.pop(_CHOSEN, None)
    else:
        os.environ[_CHOSEN] = os.path.abspath(folder)


def _chosen() -> Path | None:
    return Path(os.environ[_CHOSEN]) if os.environ.get(_CHOSEN) else None


def cache_folder() -> Path:
    """The user's cache folder of this project: $AV_SELD_CACHE, else what the system has for it."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    import platformdirs  # where it is asked for, for answers to --help are quick

    return Path(platformdirs.user_cache_dir("audio-visual-seld", appauthor=False))


def products_folder() -> Path:
    """Folder of the products that do not lie beside the data."""
    return _chosen() or cache_folder() / "products"


def writable(folder: str | os.PathLike[str]) -> bool:
    """Whether files can be made in a folder, or the folder itself can."""
    folder = _nearest(Path(folder).absolute())
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    return os.name != "nt" or _takes_files(str(folder))  # there os.access looks at a flag that folders ignore


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest of those around it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


@functools.lru_cache(maxsize=1024)
def _takes_files(folder: str) -> bool:
    trial = Path(folder) / f".partial-{uuid.uuid4().hex}"
    try:
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError:
        return False
    return True


def content_key(path: str | os.PathLike[str]) -> str:
    """32 hexadecimal digits of a file's length and content; of a large one pieces are read, 1 MiB in all.

    Raises
    ------
    OSError : it cannot be read
    """
    facts = os.stat(path)
    return _content_key(os.path.abspath(path), facts.st_size, facts.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _content_key(path: str, size: int, mtime_ns: int) -> str:
    del mtime_ns
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        if size <= _SAMPLED * _PLACES:
            digest.update(file.read())
        else:
            for place in range(_PLACES):
                file.seek((size - _SAMPLED) * place // (_PLACES - 1))
                digest.update(file.read(_SAMPLED))
    return digest.hexdigest()[:32]


def cached(source: str | os.PathLike[str], product: str) -> Path | None:
    """Where a product of a file lies in the cache, whether it is there or not; None where the file cannot be read.

    Parameters
    ----------
    product : what it is, with its suffix: "boxes-yolox_tiny.npz", "360x180.mp4"
    """
    try:
        return products_folder() / f"{content_key(source)}.{product}"
    except OSError:
        return None


def product(source: str | os.PathLike[str], beside: Path, product: str) -> Path:
    """A product to be read: in the cache where it goes there, else beside the data, else wherever it is.

    Parameters
    ----------
    beside : its place beside the data
    product : as `cached`
    """
    if not products_folder().is_dir():  # nothing has ever been put there
        return beside
    goes_there = _chosen() is not None or not writable(beside.parent)
    if not goes_there and beside.exists():
        return beside
    here = cached(source, product)
    return here if here is not None and here.exists() else beside


def place(source: str | os.PathLike[str], beside: Path, product: str) -> Path:
    """Where a product is to be written: beside the data where that can be written and no flag says otherwise."""
    if _chosen() is None and writable(beside.parent):
        return beside
    here = cached(source, product)
    if here is None:
        return beside
    if _chosen() is None:
        rule = f"cannot be written; what is made of its files goes to {here.parent} (or --cache DIR)"
        say_once(rule, _nearest(beside.parent))
    return here
