"""A user's own recording: its channels brought to what the array of a checkpoint has, and reading it so."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dataset.layouts import layout_of_file
from dataset.recordings import Recording, recording_of_file
from dataset.source import Read, read_file
from util.audio import read_audio
from util.channels import Wanted
from util.errors import InputError
from util.job_arguments import Arguments
from util.microphone_arrays import ARRAYS, Array


def wanted(args: Arguments) -> Wanted:
    """What the command line says of the channels."""
    return Wanted(args.channel_order, args.norm, args.channels_used, args.a_format)


def open_sound(path: Path, array: Array) -> Recording:
    """A recording for a checkpoint's array; `util.channels.channels_of` tells how its channels become the array's.

    Raises
    ------
    InputError : as `audio_info`; a folder (mic_dev) that tells of another array
    """
    place = layout_of_file(path.resolve()).folder_of(path.resolve())
    if place is not None and ARRAYS.get(place[0]) != array:
        raise InputError(f"lies in a folder of {place[0]} audio; the checkpoint is for {array.name} audio", path=path)
    return recording_of_file(path, array=array, as_it_is=True)


def file_reader(matrix: np.ndarray | None) -> Read:
    """What reads samples of a recording's file and applies the matrix, where there is one."""
    if matrix is None:
        return read_file

    def read(recording: Recording, start: int, length: int, rate_hz: int) -> np.ndarray:
        return matrix @ read_audio(
            recording.audio, start=start, frames=length, rate_hz=rate_hz, channels=matrix.shape[1]
        )

    return read
