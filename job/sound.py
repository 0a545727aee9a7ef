"""A user's own recording: order and weights of its channels, brought to what the array of a checkpoint has."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dataset.layouts import LAYOUTS
from dataset.recordings import Recording, recording_of_file
from dataset.source import Read, read_file
from util.audio import audio_info
from util.errors import InputError
from util.microphone_arrays import ARRAYS, Array

_ACN_FROM_FUMA = (0, 2, 3, 1)  # W X Y Z -> W Y Z X
FUMA_W_GAIN = 2**0.5  # FuMa keeps W 3 dB lower
N3D_GAIN = 3**-0.5


def channel_matrix(array: Array, order: str, norm: str | None) -> np.ndarray | None:
    """Matrix (channels, channels) float32 from the file's channels to W, Y, Z, X in SN3D; None: they are that.

    Parameters
    ----------
    order : "acn" (W Y Z X) or "fuma" (W X Y Z)
    norm : "sn3d", "n3d", or None: SN3D, with order "fuma" the weights of FuMa (W lower by 3 dB)

    Raises
    ------
    InputError : another order or weight for an array that is not Ambisonics
    """
    if array.kind != "ambisonics":
        if order != "acn" or norm not in (None, "sn3d"):
            raise InputError(f"--channel-order and --norm are for Ambisonics, the checkpoint's array is {array.name}")
        return None
    gains = np.ones(4)
    if norm == "n3d":
        gains[1:] = N3D_GAIN
    elif norm is None and order == "fuma":
        gains[0] = FUMA_W_GAIN
    if order == "acn" and (gains == 1).all():
        return None
    matrix = np.zeros((4, 4), dtype=np.float32)
    matrix[np.arange(4), _ACN_FROM_FUMA if order == "fuma" else np.arange(4)] = gains
    return matrix


def open_sound(path: Path, array: Array) -> Recording:
    """A recording for a checkpoint's array.

    Raises
    ------
    InputError : as `audio_info`; another number of channels, or a folder (mic_dev) that tells of another array
    """
    info = audio_info(path)
    if info.channels != array.channels:
        rule = f"has {info.channels} channels; the checkpoint is for {array.name} audio, {array.channels} channels"
        raise InputError(rule, path=path)
    place = LAYOUTS["starss23"].folder_of(path.resolve())
    if place is not None and ARRAYS.get(place[0]) != array:
        raise InputError(f"lies in a folder of {place[0]} audio; the checkpoint is for {array.name} audio", path=path)
    return recording_of_file(path, array=array)


def file_reader(matrix: np.ndarray | None) -> Read:
    """What reads samples of a recording's file and applies the matrix, where there is one."""
    if matrix is None:
        return read_file

    def read(recording: Recording, start: int, length: int, rate_hz: int) -> np.ndarray:
        return matrix @ read_file(recording, start, length, rate_hz)

    return read
