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

FORMAT = "seld-checkpoint-1"


def save_checkpoint(path: str | os.PathLike[str], content: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all.

    Parameters
    ----------
    content : tensors, numbers, strings, lists and dictionaries of them; anything else is refused when it is read back
    """
    buffer = io.BytesIO()  # in memory first: a full disk then is a plain OSError that names the file
    torch.save({"format": FORMAT, **content}, buffer)
    with written_whole(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a checkpoint of this project, or the weights of another project's.

    Returns
    -------
    The dictionary given to `save_checkpoint`. Of files of other projects (a dictionary with `model_state_dict`, as the
    audio-visual baseline writes, or a bare state dict) only the weights: {"stages": [{"name": "main", "model": ...}]}.

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
    if content.get("format") == FORMAT:
        return content
    return {"format": FORMAT, "stages": [{"name": "main", "model": _foreign_weights(content, path)}], "foreign": True}


def _foreign_weights(content: dict[str, Any], path: Path) -> dict[str, torch.Tensor]:
    """The weights in a file of another project; everything else in it is dropped."""
    weights = next((content[key] for key in ("model_state_dict", "state_dict", "model") if key in content), content)
    if not isinstance(weights, dict) or not weights or not all(torch.is_tensor(value) for value in weights.values()):
        raise InputError("is no checkpoint: neither of this project nor a state dict of weights", path=path)
    return {str(name).removeprefix("module."): value for name, value in weights.items()}
