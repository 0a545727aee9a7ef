"""Channels of a user's recording, brought to what an array has: order and weights of Ambisonics, capsules, a choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt

import numpy as np

from util.audio import AudioInfo
from util.channel_names import capsule_corners
from util.errors import InputError
from util.microphone_arrays import Array

_ACN_FROM_FUMA = (0, 2, 3, 1)  # W X Y Z -> W Y Z X
FUMA_W_GAIN = 2**0.5  # FuMa keeps W 3 dB lower
N3D_GAIN = 3**-0.5
# Channels of .amb files (Dobson's table of full and mixed orders): with a height they begin W X Y Z, without W X Y.
_FUMA_FULL, _FUMA_HORIZONTAL = (4, 6, 8, 9, 11, 16), (3, 5, 7)
_STARSS_CAPSULES = "6,10,26,22"  # of an Eigenmike's 32, counted from 1
_SPEAKERS = (
    "front left",
    "front right",
    "front centre",
    "LFE",
    "back left",
    "back right",
    "front left of centre",
    "front right of centre",
    "back centre",
    "side left",
    "side right",
    "top centre",
    "top front left",
    "top front centre",
    "top front right",
    "top back left",
    "top back centre",
    "top back right",
)


@dataclass(frozen=True)
class Wanted:
    """What the user says of the channels of a file; nothing: what the file says of itself, else what the array has.

    Attributes
    ----------
    order : of Ambisonics, "acn" or "fuma"
    norm : of Ambisonics, "sn3d" or "n3d"
    used : channels to use (from 0), in the order of the array
    capsules : directions of the capsules of a tetrahedral microphone ("FLU", "FRD", ...), in the order of the channels
    """

    order: str | None = None
    norm: str | None = None
    used: tuple[int, ...] | None = None
    capsules: tuple[str, ...] | None = None


AS_THE_FILE_SAYS = Wanted()


@dataclass(frozen=True, eq=False)
class Channels:
    """From the channels of a file to those of an array.

    Attributes
    ----------
    matrix : (channels of the array, channels of the file) float32; None: they are that
    order, norm : of Ambisonics, as they were understood
    said : what the user should know
    """

    matrix: np.ndarray | None
    order: str
    norm: str | None
    said: tuple[str, ...] = ()


def with_gain(channels: Channels, array: Array, gain_db: float) -> Channels:
    """The same channels, louder."""
    if not gain_db:
        return channels
    matrix = np.eye(array.channels, dtype=np.float32) if channels.matrix is None else channels.matrix
    return replace(channels, matrix=(matrix * 10 ** (gain_db / 20)).astype(np.float32))


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


def capsule_matrix(capsules: Sequence[str]) -> np.ndarray:
    """Matrix (4, 4) float32 from the capsules of a tetrahedral microphone (A-format) to W, Y, Z, X in SN3D.

    The matrix of ideal cardioids in one point: a capsule at u hears (1 + u d) / 2 of a plane wave from d. Real capsules
    are some centimetres apart, which filters of the maker correct above a few kilohertz; this does not.

    Source: Gerzon 1975, The design of precisely coincident microphone arrays.

    Raises
    ------
    InputError : no four corners of a tetrahedron
    """
    corner = np.array(capsule_corners(",".join(capsules))[1], dtype=np.float64)
    x, y, z = corner.T * 3**0.5 / 2
    return np.stack([np.full(4, 0.5), y, z, x]).astype(np.float32)


def channels_of(info: AudioInfo, array: Array, wanted: Wanted = AS_THE_FILE_SAYS) -> Channels:
    """How a file's channels become those of an array: by what the user says, else by what the file says of itself.

    Raises
    ------
    InputError : channels that cannot be those of the array, with the flag that chooses some
    """
    said: list[str] = []
    if array.kind != "ambisonics":
        channel_matrix(array, wanted.order or "acn", wanted.norm)
        if wanted.capsules is not None:
            raise InputError(f"--a-format makes Ambisonics, the checkpoint's array is {array.name}")
        if info.ambisonics and wanted.used is None:
            rule = (
                f"is Ambisonics by its header, the checkpoint is for {array.name} audio (--channels-used overrules it)"
            )
            raise InputError(rule, path=info.path)
    order, norm = _order(info, wanted, said) if array.kind == "ambisonics" else ("acn", None)
    picks = _picks(info, array, wanted, order, said)
    if wanted.capsules is not None:
        form: np.ndarray | None = capsule_matrix(wanted.capsules)
        said.append(
            f"A-format, capsules {' '.join(wanted.capsules)}: the plain matrix is used, without the filters of its "
            "maker; directions of what sounds above a few kHz are less exact"
        )
    else:
        form = channel_matrix(array, order, norm)
    if form is not None and len(picks) == 3:  # W X Y
        form = form[:, :3]
    if picks == tuple(range(info.channels)):
        matrix = form
    else:
        choice = np.zeros((len(picks), info.channels), dtype=np.float32)
        choice[np.arange(len(picks)), picks] = 1
        matrix = choice if form is None else form @ choice
    said += _speakers(info, wanted, picks)
    return Channels(matrix, order, norm, tuple(said))


def _order(info: AudioInfo, wanted: Wanted, said: list[str]) -> tuple[str, str | None]:
    """Order and weights of Ambisonics."""
    order, _, norm = info.ambisonics.partition(" ")
    if wanted.capsules is not None:
        return "acn", None
    stated = " ".join(filter(None, [{"fuma": "B-format (FuMa: W X Y Z, W 3 dB lower)", "acn": "ACN"}.get(order), norm]))
    if wanted.order is None and wanted.norm is None and stated and (order != "acn" or norm):
        flags = f"--channel-order {order}" + (f" --norm {norm}" if norm else "")
        said.append(f"its header says Ambisonics, {stated}: read as {flags}")
    elif stated and (wanted.order or order) != order:
        said.append(f"its header says Ambisonics, {stated}; it is read as --channel-order {wanted.order} all the same")
    return wanted.order or order or "acn", wanted.norm or (norm or None)


def _picks(info: AudioInfo, array: Array, wanted: Wanted, order: str, said: list[str]) -> tuple[int, ...]:
    """Channels of the file (from 0) that are those of the array."""
    count, due = info.channels, array.channels
    if wanted.used is not None:
        if max(wanted.used) >= count:
            raise InputError(
                f"has {count} channels, --channels-used asks for number {max(wanted.used) + 1}", path=info.path
            )
        if len(wanted.used) != due:
            rule = f"--channels-used names {len(wanted.used)} channels, {array.name} audio has {due}"
            raise InputError(rule, path=info.path)
        return wanted.used
    if info.channel_map:
        if count > due:
            said.append(f"{count} channels, Ambisonics by its header: first order is used")
        return info.channel_map[:due]
    if count == due:
        return tuple(range(count))
    if array.kind == "ambisonics" and wanted.capsules is None:
        degree = isqrt(count) - 1
        if order == "fuma" and count in _FUMA_HORIZONTAL:
            said.append(f"{count} channels of FuMa: W X Y, without a height; Z is silent")
            return (0, 1, 2)
        if order == "fuma" and count in _FUMA_FULL:
            said.append(f"{count} channels of FuMa: the first four are used, which are first order")
            return (0, 1, 2, 3)
        if order == "acn" and degree >= 2 and (degree + 1) ** 2 == count:
            said.append(
                f"{count} channels: Ambisonics of order {degree} (ACN), of which the first four, first order, are used"
            )
            return (0, 1, 2, 3)
    rule = f"has {count} channels; the checkpoint is for {array.name} audio, {due} channels"
    raise InputError(rule + _advice(count, array), path=info.path)


def _advice(count: int, array: Array) -> str:
    """What could be done about another number of channels."""
    due = array.channels
    if count < due:
        return ""
    first = f"--channels-used 1-{due} takes the first ones, in the order of the array"
    if count == 32:
        capsules = (
            f"32 may be the capsules of an Eigenmike: --channels-used {_STARSS_CAPSULES} are those of STARSS's MIC"
        )
        return f" ({capsules}{', for a MIC checkpoint' if array.name != 'mic' else ''})"
    if count == 6:
        either = "6 may be FOA and head-locked stereo: --channels-used 1-4; or a ReSpeaker with its capsules in 2-5"
        return f" ({either if due == 4 else first})"
    return f" ({first})"


def _speakers(info: AudioInfo, wanted: Wanted, picks: Sequence[int]) -> list[str]:
    """A remark on a header that names loudspeakers, where that is not what the channels are taken for.

    Many programs (FFmpeg among them) name loudspeakers by the number of channels alone, so this is no error.
    """
    named = [name for bit, name in enumerate(_SPEAKERS) if info.mask >> bit & 1]
    if info.channels <= 2 or len(named) != info.channels or wanted != AS_THE_FILE_SAYS or len(picks) != info.channels:
        return []
    return [f"its header names loudspeakers ({', '.join(named)}); the channels are taken for the array's all the same"]
