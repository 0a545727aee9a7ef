"""Chunks of two-stage SELD: golden starts, batches and draws, coverage, resumption, processes."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset.chunks import ChunkPlan, chunk_starts, is_silent, mirrored_stretch, monitoring_draw
from feature.logmel_gcc import TWO_STAGE, LogmelGCC
from tests import golden
from util.errors import InputError


def golden_batches() -> tuple[dict, dict]:
    info = json.loads(golden.find("two_stage/labels_and_batches.json").read_text())
    return info, np.load(golden.find("two_stage/labels_and_batches.npz"))


@pytest.mark.parametrize("fold", ["1", "2", "3", "4", "-1"])
def test_golden_starts(fold: str) -> None:
    info, data = golden_batches()
    names = info[f"fold{fold}_train_files"]
    frames = [info["frames"][name] for name in names]
    recording, first = chunk_starts(frames, length=200, hop=50)
    offset = np.cumsum(frames) - frames
    np.testing.assert_array_equal(offset[recording] + first, data[f"fold{fold}_chunk_starts"])
    plan = ChunkPlan(frames, batch_size=8)
    assert plan.steps_per_pass == info[f"fold{fold}_epoch_size"] and len(plan) == len(first)
    others = sorted(set(info["frames"]) - set(names))
    assert others == info[f"fold{fold}_test_files"] and names == sorted(names)


def test_golden_batches() -> None:
    """Three and a half passes: order, what a short batch is topped up with, labels and standardised features."""
    info, data = golden_batches()
    names = info["fold1_train_files"]
    plan = ChunkPlan([info["frames"][name] for name in names], batch_size=8, seed=10)
    assert plan.steps_per_pass * 3 < len(data["fold1_batch_event_sum"])
    for step, (features, events) in enumerate(zip(data["fold1_batch_feature_sum"], data["fold1_batch_event_sum"])):
        for item, chunk in enumerate(plan.items(step)):
            name, part = names[chunk.recording], slice(chunk.first, chunk.first + chunk.count)
            assert data[f"{name}_events"][part].sum() == events[item]
            scaled = (data[f"{name}_feature"][:, part] - data["mean"][0]) / data["std"][0]
            np.testing.assert_allclose(scaled.sum(dtype=np.float64), features[item], atol=1e-2)


def test_golden_monitoring_draws() -> None:
    info, _ = golden_batches()
    names = info["fold1_train_files"]
    drawn = [[names[i] for i in monitoring_draw([len(names)], call, size=3)] for call in range(3)]
    assert drawn == info["fold1_eval_subset_names_3x3"]


def test_two_lists_share_the_generator() -> None:
    generator = np.random.RandomState(10)
    for call, count in enumerate([300, 100, 300, 100]):
        expected = np.arange(count)
        generator.shuffle(expected)
        np.testing.assert_array_equal(monitoring_draw((300, 100), call), expected[:30])
    assert sorted(monitoring_draw((4,), 2).tolist()) == [0, 1, 2, 3]


@settings(deadline=None)
@given(
    frames=st.lists(st.integers(1, 700), min_size=1, max_size=6),
    length=st.integers(1, 250),
    hop=st.integers(1, 120),
)
def test_chunks_lie_in_their_recordings_and_reach_both_ends(frames: list[int], length: int, hop: int) -> None:
    recording, first = chunk_starts(frames, length=length, hop=hop)
    assert (np.diff(recording) >= 0).all() and set(recording.tolist()) == set(range(len(frames)))
    for number, count in enumerate(frames):
        mine = first[recording == number]
        assert mine[0] == 0 and mine[-1] == max(count - length, 0)
        assert (mine + length <= max(count, length)).all()
        steps = np.diff(mine)
        assert (steps > 0).all() and (steps <= hop).all() and (steps[:-1] == hop).all()


def test_recordings_of_a_minute() -> None:
    """Whole minutes, exactly one chunk, less than one, one frame more than a hop."""
    recording, _ = chunk_starts([6001] * 300, length=200, hop=50)
    assert len(recording) == 300 * 118
    _, first = chunk_starts([200], length=200, hop=50)
    assert first.tolist() == [0]
    _, first = chunk_starts([120, 251], length=200, hop=50)
    assert first.tolist() == [0, 0, 50, 51]


@pytest.mark.parametrize("batch_size", [1, 7, 8, 100])
def test_every_chunk_occurs_in_every_pass(batch_size: int) -> None:
    plan = ChunkPlan([437, 200, 90, 601], batch_size=batch_size, seed=3)
    passes = []
    for number in range(3):
        steps = range(number * plan.steps_per_pass, (number + 1) * plan.steps_per_pass)
        items = [(chunk.recording, chunk.first) for step in steps for chunk in plan.items(step)]
        assert len(items) == plan.steps_per_pass * batch_size
        whole, topped = items[: len(plan)], items[len(plan) :]
        assert len(set(whole)) == len(plan) and set(whole) == set(zip(plan.recording.tolist(), plan.first.tolist()))
        assert topped == [whole[i % len(whole)] for i in range(len(topped))]
        passes.append(whole)
    assert passes[0] != passes[1] != passes[2]


def test_a_step_is_the_same_from_anywhere() -> None:
    """Resumed runs, steps asked for in any order, several processes."""
    frames, steps = [437, 601, 251], (0, 1, 40, 7, 41, 3, 0)
    plan = ChunkPlan(frames, batch_size=6, seed=5)
    for step in steps:
        expected = ChunkPlan(frames, batch_size=6, seed=5).items(step)
        assert plan.items(step) == expected
        parts = [plan.items(step, rank, 4) for rank in range(4)]
        assert [parts[i % 4][i // 4] for i in range(6)] == expected
    assert ChunkPlan(frames, batch_size=6, seed=6).items(0) != plan.items(0)


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(InputError, match="no recordings"):
        ChunkPlan([])
    for lengths in ({"length": 0}, {"hop": 0}):
        with pytest.raises(ValueError, match="chunks of"):
            ChunkPlan([100], **lengths)
    with pytest.raises(ValueError, match="recordings of 0"):
        ChunkPlan([100, 0])


@settings(deadline=None)
@given(samples=st.integers(1, 40), begin=st.integers(-60, 60), count=st.integers(1, 60))
def test_stretches_are_mirrored_at_both_ends(samples: int, begin: int, count: int) -> None:
    recording = np.arange(2 * samples, dtype=np.float32).reshape(2, samples)

    def read(first: int, number: int) -> np.ndarray:
        assert first >= 0 and number >= 1 and first + number <= samples
        return recording[:, first : first + number]

    around = np.pad(recording, ((0, 0), (60, 120)), mode="reflect")  # numpy mirrors again and again, as is due
    np.testing.assert_array_equal(
        mirrored_stretch(read, samples, begin, count), around[:, 60 + begin : 60 + begin + count]
    )


def test_feature_of_a_chunk_is_a_part_of_that_of_the_recording() -> None:
    """Both ends included, and a recording that is shorter than a chunk."""
    feature = LogmelGCC(4, **TWO_STAGE)
    for samples in (32000 * 3 + 123, 320 * 260, 9000):
        waveform = np.random.default_rng(0).standard_normal((4, samples)).astype(np.float32) * 0.1
        whole = feature.whole(torch.from_numpy(waveform)[None])
        frames = 1 + samples // feature.hop_length
        _, firsts = chunk_starts([frames], length=200, hop=50)
        for first in firsts.tolist():
            stretch = mirrored_stretch(
                lambda begin, count: waveform[:, begin : begin + count],  # noqa: B023
                samples,
                first * feature.hop_length - feature.left,
                199 * feature.hop_length + feature.n_fft,
            )
            ours = feature(torch.from_numpy(stretch.copy())[None])
            assert ours.shape[2] == 200
            count = min(200, frames - first)
            torch.testing.assert_close(ours[:, :, :count], whole[:, :, first : first + count], atol=1e-4, rtol=1e-5)


def test_a_recording_of_nothing_is_skipped() -> None:
    waveform = np.zeros((4, 1000), dtype=np.float32)
    assert is_silent(waveform)
    waveform[2, 3] = 3.9e-4
    assert is_silent(waveform)
    waveform[0, 5] = -2e-5
    assert not is_silent(waveform)
