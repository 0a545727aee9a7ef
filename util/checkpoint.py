"""Checkpoint files: one file, weights and plain values only, never a pickle that can run code."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from util.errors import InputError
from util.files import written_whole


def write_weights_file(path: str | os.PathLike[str], content: dict[str, Any]) -> None:
    """Write a dictionary whole or not at all.

    Parameters
    ----------
    content : tensors, numbers, strings, lists and dictionaries of them; anything else is refused when it is read back
    """
    buffer = io.BytesIO()  # in memory first: a full disk then is a plain OSError that names the file
    torch.save(content, buffer)
    # A copy, no view: a view that an error's frames keep alive crashes Python 3.12 when they are collected.
    with written_whole(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def read_weights_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a dictionary of weights and plain values, on the processor.

    Raises
    ------
    InputError : no such file, broken off, no checkpoint, or a pickle that would run code
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("no such checkpoint file", path=path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        detail = str(error)
        if "Unsupported" in detail or "GLOBAL" in detail or "weights_only" in detail.split("\n")[0]:
            rule = "is refused: it holds more than weights and plain values, and loading it could run code"
            raise InputError(rule, path=path) from None
        raise InputError("is no checkpoint, or damaged", path=path) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, UnicodeDecodeError, AttributeError):
        raise InputError("is no checkpoint, or broken off (was the copy complete?)", path=path) from None
    if not isinstance(content, dict):
        raise InputError("is no checkpoint: it holds no dictionary of weights", path=path)
    return content
