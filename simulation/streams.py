"""Independent random streams out of one seed, each with a name."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """The generator of random numbers of that name: streams of different names share nothing.

    Parameters
    ----------
    seed : the one seed of the data set
    names : what the numbers are for, from the general to the special: "test", "fold4_room7_mix001", "people"
    """
    text = "\x00".join(str(name) for name in (seed, *names))
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32).tolist())
