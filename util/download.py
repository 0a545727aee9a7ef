"""Files from the network: with progress, resumed where they broke off, checked before they get their name."""

from __future__ import annotations

import logging
import os
import re
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from util.errors import CommonError, InputError

log = logging.getLogger(__name__)

TIMEOUT_S = 30.0
TRIES = 5
PAUSE_S = 1.0  # before the second try; it doubles
_BLOCK = 1 << 16  # bytes: what a transfer that breaks off loses at most
_AGAIN = (408, 429, 500, 502, 503, 504)  # answers after which it is worth trying again


class _Broken(Exception):
    """A transfer that broke off; what came of it stays."""


def fetch(
    url: str,
    path: Path,
    *,
    size: int | None = None,
    checksum: str | None = None,
    progress: bool = True,
) -> Path:
    """A file under its name, downloaded where it is not there yet; a broken transfer goes on, five times by itself.

    What has come so far lies beside it as `.NAME.part`, also after an interruption.

    Parameters
    ----------
    size : bytes; None: unknown
    checksum : "md5:..." or "sha256:..."; None: it is not known, and nothing is compared

    Raises
    ------
    InputError : what lies there, or what comes, is another file; no such file; no way to the server
    CommonError : the disk is full
    """
    if path.is_file():
        _check(path, size, checksum, "delete it, and it is downloaded again")
        return path
    path.parent.mkdir(parents=True, exist_ok=True)

    class Resumed:
        """A downloader of pooch, which checks the sum and gives the file its name."""

        def __call__(self, url: str, output_file: str, pooch: Any) -> None:
            part = path.with_name(f".{path.name}.part")
            _fetch_part(url, part, path.name, size, progress)
            os.replace(part, output_file)

    import pooch  # where something is downloaded, for answers to --help are quick

    pooch.get_logger().setLevel("ERROR")
    try:
        pooch.retrieve(url, checksum, fname=path.name, path=path.parent, downloader=Resumed())
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        rule = f"what came is another file: its checksum is not {checksum}; it was not kept, try again"
        raise InputError(rule, path=url) from None
    except OSError as error:
        raise CommonError(f"cannot be written ({error.strerror or error})", path=path) from None
    return path


def _check(path: Path, size: int | None, checksum: str | None, remedy: str) -> None:
    import pooch

    found = path.stat().st_size
    if size is not None and found != size:
        raise InputError(f"has {found} bytes, the file has {size}; {remedy}", path=path)
    if checksum is not None and not pooch.hashes.hash_matches(str(path), checksum):
        raise InputError(f"is another file: its checksum is not {checksum}; {remedy}", path=path)


def _fetch_part(url: str, part: Path, name: str, size: int | None, progress: bool) -> None:
    """Bring a partial file to its end."""
    for attempt in range(1, TRIES + 1):
        before = part.stat().st_size if part.exists() else 0
        try:
            _fetch_rest(url, part, name, size, progress)
            return
        except _Broken as error:
            came = (part.stat().st_size if part.exists() else 0) - before
            if attempt == TRIES:
                kept = part.stat().st_size if part.exists() else 0
                rule = f"broke off {TRIES} times ({error}); the same command goes on from {kept / 1e6:.1f} MB"
                raise InputError(rule, path=url) from None
            log.info("%s: broke off (%s) after %.1f MB, once more", name, error, came / 1e6)
            time.sleep(PAUSE_S * 2 ** (attempt - 1))


def _fetch_rest(url: str, part: Path, name: str, size: int | None, progress: bool) -> None:
    import requests

    have = part.stat().st_size if part.exists() else 0
    if size is not None and have > size:
        part.unlink()
        have = 0
    if size is not None and have == size:
        return
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
            if answer.status_code == 416:  # nothing after it: is it all?
                total = re.search(r"/(\d+)$", answer.headers.get("Content-Range", ""))
                if total is not None and int(total[1]) == have:
                    return
                part.unlink(missing_ok=True)
                raise _Broken("what was there is longer than the file")
            if answer.status_code in _AGAIN:
                raise _Broken(f"the server answers {answer.status_code}")
            if answer.status_code >= 400:
                raise InputError(f"the server answers {answer.status_code} {answer.reason}", path=url)
            if answer.status_code == 206:
                first = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
                if first is None or int(first[1]) != have:
                    part.unlink(missing_ok=True)
                    raise _Broken("the server answers with another range")
            else:  # it knows no ranges: all of it comes again
                have = 0
            length = answer.headers.get("Content-Length")
            total_bytes = size if size is not None else None if length is None else have + int(length)
            bar = tqdm(desc=name, total=total_bytes, initial=have, unit="B", unit_scale=True, disable=not progress)
            with open(part, "ab" if have else "wb") as file, bar:
                for block in answer.iter_content(_BLOCK):
                    file.write(block)
                    bar.update(len(block))
    except (requests.RequestException, TimeoutError, ConnectionError) as error:
        raise _Broken(_reason(error)) from None
    came = part.stat().st_size
    if total_bytes is not None and came < total_bytes:
        raise _Broken(f"{came} of {total_bytes} bytes")
    if size is not None and came > size:
        part.unlink()
        raise InputError(f"is another file: {came} bytes come, it has {size}", path=url)


def _reason(error: Exception) -> str:
    """What went wrong, in few words."""
    inner: BaseException = error
    while inner.__cause__ is not None or inner.__context__ is not None:
        inner = inner.__cause__ or inner.__context__ or inner
    return str(getattr(inner, "strerror", None) or inner).splitlines()[0][:120] or type(inner).__name__


def read_json_of(url: str) -> Any:
    """A json document from the network; None where there is no way to it, or it is none."""
    import requests

    try:
        with requests.get(url, timeout=TIMEOUT_S, headers={"Accept": "application/json"}) as answer:
            return answer.json() if answer.status_code == 200 else None
    except (requests.RequestException, ValueError):
        return None


def megabytes(size: float) -> str:
    """Bytes in words.

    Examples
    --------
    >>> megabytes(3406085425), megabytes(1165845), megabytes(1194)
    ('3.4 GB', '1.2 MB', '1.2 kB')
    """
    for limit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= limit:
            return f"{size / limit:.1f} {name}"
    return f"{size:.0f} B"
