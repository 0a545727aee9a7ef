"""Waveforms that programs hand over: every number type, both orientations, beyond full scale."""

import warnings

import numpy as np
import pytest

from seld_predictor import load
from tests.checkpoints import RATE_HZ, bursts, thresholds, untrained
from util.errors import InputError
from util.waveform import as_waveform

X = np.clip(bursts(1.0), -1, 1 - 2**-15)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_integers_are_divided_by_their_full_scale(dtype):
    bits = 8 * np.dtype(dtype).itemsize
    given = np.rint(X * (2.0 ** (bits - 1) - 2.0 ** max(bits - 17, 0))).astype(dtype)
    made = as_waveform(given, 4, "foa")
    assert made.dtype == np.float32 and np.abs(made - X).max() < (0.01 if bits == 8 else 1e-4)


def test_unsigned_bytes_are_centred():
    given = np.array([[0, 128, 255]] * 2, dtype=np.uint8)
    assert np.array_equal(as_waveform(given, 2, "binaural")[0], np.array([-1, 0, 127 / 128], dtype=np.float32))


def test_floats_beyond_full_scale_and_exchanged_axes_are_noticed():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert as_waveform(X.astype(np.float64), 4, "foa").dtype == np.float32
        assert np.array_equal(as_waveform(X, 4, "foa"), X)
    with pytest.warns(UserWarning, match=r"reaches .*full scale is 1.*32768"):
        as_waveform(X * 32768, 4, "foa")
    with pytest.warns(UserWarning, match=r"\(samples, channels\), 24000 x 4.*waveform\.T"):
        assert np.array_equal(as_waveform(X.T, 4, "foa"), X)
    for bad in (X[:3], X[0], X.astype(complex), X > 0, np.array([["a"]])):
        with pytest.raises(InputError, match="the waveform must"):
            as_waveform(bad, 4, "foa")
    with pytest.raises(InputError, match="NaN or infinite"):
        as_waveform(np.where(X > 0.1, np.nan, X), 4, "foa")


def test_a_checkpoint_gives_the_same_rows_whatever_the_type(tmp_path):
    untrained(tmp_path / "foa.pth")
    seld = load(tmp_path / "foa.pth", device="cpu", threshold_config=thresholds(tmp_path / "t.json", 0.5))
    rows = seld(X, RATE_HZ)
    assert len(rows)
    for given in (np.rint(X * 32768).astype(np.int16), np.rint(X * 2**31 * 0.99999).astype(np.int32)):
        other = seld(given, RATE_HZ)
        assert abs(len(other) - len(rows)) <= 0.02 * len(rows)
