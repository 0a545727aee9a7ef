"""Windows that overlap: which frames each gives, their mean after their tracks are matched, and the flag."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

import seld
from dataset.recordings import recording_of_file
from output_format.multi_accdoa import MultiAccdoa
from output_format.overlap import OverlapMean
from seld_predictor import load
from tests.checkpoints import recording
from tests.windows import grid_of
from util.cli import run_main
from util.errors import InputError
from util.microphone_arrays import ARRAYS

SHIPPED = Path(__file__).resolve().parents[1] / "pretrained" / "foa.pth"
HOP, REACH, WINDOWS = 4, 1, 5


def of_truth(truth: np.ndarray) -> list[np.ndarray]:
    """What each of five windows says of a recording's (3, 3, classes, frames), which all of them know."""
    return [truth[..., max(one - REACH, 0) * HOP : (one + REACH + 1) * HOP] for one in range(WINDOWS)]


def joined(windows: list[np.ndarray], sizes: list[int]) -> np.ndarray:
    """The mean, windows coming in groups of given sizes."""
    mean, parts, rest = OverlapMean(MultiAccdoa(2).in_order_of, HOP, REACH), [], iter(windows)
    for number, size in enumerate(sizes, 1):
        parts.append(mean(list(itertools.islice(rest, size)), number == len(sizes)))
    return np.concatenate(parts, axis=-1)


@pytest.mark.parametrize("sizes", [[5], [1, 1, 1, 1, 1], [2, 3], [4, 1]])
@pytest.mark.parametrize("frames", [20, 18, 17])
def test_windows_that_agree_but_for_the_order_of_tracks_give_what_each_says(sizes, frames):
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((3, 3, 2, frames)).astype(np.float32)
    windows = [one[rng.permutation(3)] for one in of_truth(truth)]
    made = joined(windows, sizes)
    assert made.shape == truth.shape
    for block in range(WINDOWS):  # in the order of the window whose middle it is
        span = slice(block * HOP, (block + 1) * HOP)
        begin = (block - max(block - REACH, 0)) * HOP
        np.testing.assert_allclose(made[..., span], windows[block][..., begin : begin + HOP], atol=1e-6)


def test_the_mean_of_three_windows_is_exact():
    """One source a class; windows say 1, 2, 4, 8, 16 of it, in another track each."""
    windows = []
    for number, one in enumerate(of_truth(np.zeros((3, 3, 2, 20), np.float32))):
        one = one.copy()
        one[number % 3, 0] = 2.0**number
        windows.append(one)
    expected = np.array([1.5, 7 / 3, 14 / 3, 28 / 3, 12]).repeat(HOP)  # the first and the last have two
    made = joined(windows, [3, 2])
    np.testing.assert_allclose(made[:, 0].sum(axis=0), np.stack([expected, expected]), rtol=1e-6)
    assert [int(made[:, 0, 0, block * HOP].argmax()) for block in range(WINDOWS)] == [0, 1, 2, 0, 1]


def test_tracks_are_matched_by_direction_whatever_else_they_say():
    form = MultiAccdoa(1, frame_s=0.1, elements=("x", "y", "z", "distance"))
    first, other = torch.zeros(1, 3, 4, 1, 1), torch.zeros(1, 3, 4, 1, 1)
    first[0, 0, :, 0, 0], first[0, 1, :, 0, 0] = torch.tensor([1.0, 0, 0, 2]), torch.tensor([0, 1.0, 0, 9])
    other[0, 2, :, 0, 0], other[0, 0, :, 0, 0] = torch.tensor([0.9, 0, 0, 9]), torch.tensor([0, 0.9, 0, 2])
    made = form.in_order_of(first, other)[0, :, :, 0, 0]
    torch.testing.assert_close(made, torch.tensor([[0.9, 0, 0, 9], [0, 0.9, 0, 2], [0, 0, 0, 0]]))


@pytest.mark.parametrize("count", [3, 5])
@pytest.mark.parametrize("samples", [2400, 24000 * 3 + 1234])
def test_every_frame_has_so_many_windows_and_its_own_place(count, samples):
    plan = grid_of([samples, samples]).overlapping(count)
    assert plan.reach == (count - 1) // 2 and count * plan.hop <= plan.frames
    heard = np.zeros(plan.output_frames(0), int)
    items = plan.items(plan.numbers_in(1))
    for item in items:
        first, end = (place + item.pieces[0].first for place in item.keep)
        assert 0 <= first <= end and item.keep[0] >= 0 and item.keep[1] <= plan.frames
        heard[first:end] += 1
    windows = len(items)
    block = np.minimum(np.arange(len(heard)) // plan.hop, windows - 1)
    due = np.minimum(block + plan.reach, windows - 1) - np.maximum(block - plan.reach, 0) + 1
    inside = np.arange(len(heard)) < windows * plan.hop
    np.testing.assert_array_equal(heard, np.where(inside, due, 0))


@pytest.mark.parametrize("count", [2, 15])
def test_overlaps_that_windows_do_not_have_are_refused(count):
    with pytest.raises(InputError, match=f"--overlap {count}: must be an odd number, for these windows 11 at most"):
        grid_of([24000]).overlapping(count)


def test_predictions_do_not_depend_on_the_batches(tmp_path):
    recording(tmp_path / "a.wav", 9.3)
    heard = recording_of_file(tmp_path / "a.wav", array=ARRAYS["foa"])
    made = [load(SHIPPED, device="cpu", overlap=3, batch_size=size).prediction(heard).raw for size in (1, 4, 16)]
    alone = load(SHIPPED, device="cpu").prediction(heard).raw
    assert made[0].shape == alone.shape
    for other in made[1:]:
        np.testing.assert_allclose(made[0], other, atol=1e-4)
    assert 1e-3 < np.abs(made[0] - alone).max()


def test_the_flag(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    recording(Path("a.wav"), 6.0)
    flags = ["-infer", "a.wav", "-em", str(SHIPPED), "--player", "never", "--no-video", "--device", "cpu"]
    assert run_main(seld.main, [*flags, "--overlap", "3"]) == 0
    assert np.load("a_seld/a.npy").shape == (3, 3, 13, 60)
    for more, rule in (
        (["--overlap", "2"], "must be an odd number, for these windows 49 at most"),
        (["--overlap", "3", "--latency", "1"], "one of the two"),
        (["--overlap", "3", "--stream"], "run it without --overlap"),
    ):
        assert run_main(seld.main, [*flags, *more]) == 2
        assert rule in capsys.readouterr().err
