"""How loud recordings are: those that a checkpoint was trained on, and a user's own against them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dataset.recordings import Recording
from doctor.sound import level_dbfs
from util.errors import InputError

FAR_DB = 10.0  # from the training recordings; their own levels differ by less from clip to clip
_MOST_RECORDINGS, _MOST_S = 64, 20.0


def training_level_dbfs(recordings: Sequence[Recording]) -> float | None:
    """The level of training recordings, for the field `level_dbfs` of a checkpoint: the median over recordings.

    At most 64 of them, evenly chosen, and of each at most 20 s are read. The level of a recording is the rms over all
    channels of its 100 ms frames that are within 30 dB of the loud ones, in dB of full scale.

    Returns
    -------
    dB, or None where nothing but silence is heard
    """
    chosen = [recordings[index] for index in _evenly(len(recordings))]
    levels = [level_dbfs(recording.audio, most_s=_MOST_S) for recording in chosen]
    heard = [level for level in levels if np.isfinite(level)]
    return round(float(np.median(heard)), 2) if heard else None


def _evenly(count: int) -> list[int]:
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_RECORDINGS)).astype(np.int64)).tolist() if count else []


def gain_to_level_db(level: float, trained_dbfs: float | None, wanted: float | str | None) -> float:
    """The gain in dB that `--gain-db` asks for: a number, "auto" (to the level of the training recordings), or None.

    Parameters
    ----------
    level : of the recording in dB of full scale; -inf where it is silent, which "auto" leaves alone

    Raises
    ------
    InputError : "auto" with a checkpoint that does not know the level
    """
    if wanted is None:
        return 0.0
    if wanted != "auto":
        return float(wanted)
    if trained_dbfs is None:
        raise InputError(
            "--gain-db auto: the checkpoint does not say how loud its training recordings were; give a number of dB"
        )
    return round(trained_dbfs - level, 1) if np.isfinite(level) else 0.0


def level_remark(level: float, trained_dbfs: float | None) -> str:
    """What is to be said of a recording that is far from the level of the training recordings; "" for nothing."""
    if trained_dbfs is None or not np.isfinite(level) or abs(level - trained_dbfs) < FAR_DB:
        return ""
    off_db = level - trained_dbfs
    side = "below" if off_db < 0 else "above"
    evens = f"--gain-db {-off_db:.0f} (or auto) evens it out"
    return f"{abs(off_db):.0f} dB {side} what the checkpoint was trained on: {evens}"
