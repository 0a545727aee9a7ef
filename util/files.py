"""Files that are never half written, paths of companions, hashes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from util.errors import CommonError, InputError
from util.text import read_text

if TYPE_CHECKING:
    import numpy as np


@contextlib.contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` when the block ends well, delete it when it does not.

    The temporary name ends like the real one ("clip.partial-host-123.wav"), since many writers choose the format by
    suffix.

    Raises
    ------
    CommonError : the disk is full
    InputError : the folder cannot be written
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.partial-{writer()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise _cannot_be_written(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def writer() -> str:
    """Who writes a temporary file, of all processes of all machines that share a disk: "host-123"."""
    return f"{host_name()}-{os.getpid()}"


def host_name() -> str:
    """This machine's name, as it stands in file names."""
    return re.sub(r"[^A-Za-z0-9]", "_", socket.gethostname().split(".")[0]) or "host"


_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, None}  # numpy's of a full disk has no number


def _cannot_be_written(path: Path, error: OSError) -> InputError:
    kind = CommonError if error.errno in _FULL else InputError
    return kind(f"cannot be written ({error.strerror or 'is the disk full?'})", path=path)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def write_array(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """Write a .npy file whole or not at all."""
    import numpy as np  # only here: `--help` does without

    with written_whole(path) as temporary, open(temporary, "wb") as file:
        np.save(file, array, allow_pickle=False)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a json file whole or not at all, indented, keys in the order given."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a json file.

    Raises
    ------
    InputError : the file is missing, cannot be read or is no json (with line and column)
    """
    text = read_text(path, "json")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"is no json: {error.msg}", path=path, place=f"line {error.lineno}") from None
    except ValueError as error:  # an integer of thousands of digits
        raise InputError(f"is no json: {error}", path=path) from None
    except RecursionError:
        raise InputError("is no json: too many brackets inside one another", path=path) from None


def sha256_of(path: str | os.PathLike[str]) -> str:
    """sha256 of a file's bytes, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def companion(path: str | os.PathLike[str], folders: dict[str, str], suffix: str) -> Path:
    """Path of a file that belongs to another: one path component exchanged, and the suffix.

    Only the *last* component that is a key of `folders` is exchanged, and only as a whole: "foa" in "/home/foa_user" or
    in a file name stays as it is (the reference replaces text anywhere in the path).

    Raises
    ------
    InputError : no component of the path is a key of `folders`
    """
    parts = list(Path(path).parts)
    for position in range(len(parts) - 2, -1, -1):
        if parts[position] in folders:
            parts[position] = folders[parts[position]]
            return Path(*parts).with_suffix(suffix)
    raise InputError(f"must lie in a folder named {' or '.join(folders)}", path=path)


@contextlib.contextmanager
def folder_written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty folder beside `path`; it takes the place of `path` when the block ends well, else it is deleted."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.partial-{writer()}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        shutil.rmtree(path, ignore_errors=True)
        os.replace(temporary, path)
    except OSError as error:
        raise _cannot_be_written(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
