"""Chunks of two-stage SELD: golden starts, batches and draws, coverage, resumption, processes."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset.chunks import Chunks, chunk_starts, monitoring_draw
from dataset.framing import Framing
from dataset.loader import Loader
from dataset.plans import Clips, numbers_of
from dataset.recordings import Recording
from dataset.source import Source
from feature.front import Front
from feature.logmel_gcc import TWO_STAGE, LogmelGCC
from tests import golden
from util.audio import write_audio
from util.errors import InputError
from util.microphone_arrays import ARRAYS

PLAIN = Framing(rate_hz=1, hop=1, n_fft=1)  # a frame a sample


def plan_of(counts: list[int], **options) -> Chunks:
    return Chunks(PLAIN, counts, **options)


def taken(plan: Chunks, step: int, rank: int = 0, world: int = 1) -> list[tuple[int, int, int]]:
    """(recording, first, count) of the chunks of a step."""
    items = plan.items(numbers_of(step, plan.batch_size // world, rank, world))
    return [(piece.recording, piece.first, piece.frames) for item in items for piece in item.pieces]


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
    plan = plan_of(frames, batch_size=8)
    assert plan.steps_per_pass == info[f"fold{fold}_epoch_size"] and len(plan) == len(first)
    others = sorted(set(info["frames"]) - set(names))
    assert others == info[f"fold{fold}_test_files"] and names == sorted(names)


def test_golden_batches() -> None:
    """Three and a half passes: order, what a short batch is topped up with, labels and standardised features."""
    info, data = golden_batches()
    names = info["fold1_train_files"]
    plan = plan_of([info["frames"][name] for name in names], batch_size=8, seed=10)
    assert plan.steps_per_pass * 3 < len(data["fold1_batch_event_sum"])
    for step, (features, events) in enumerate(zip(data["fold1_batch_feature_sum"], data["fold1_batch_event_sum"])):
        for item, (recording, first, count) in enumerate(taken(plan, step)):
            name, part = names[recording], slice(first, first + count)
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
    plan = plan_of([437, 200, 90, 601], batch_size=batch_size, seed=3)
    passes = []
    for number in range(3):
        steps = range(number * plan.steps_per_pass, (number + 1) * plan.steps_per_pass)
        items = [(recording, first) for step in steps for recording, first, _ in taken(plan, step)]
        assert len(items) == plan.steps_per_pass * batch_size
        whole, topped = items[: len(plan)], items[len(plan) :]
        assert len(set(whole)) == len(plan) and set(whole) == set(zip(plan.recording.tolist(), plan.first.tolist()))
        assert topped == [whole[i % len(whole)] for i in range(len(topped))]
        passes.append(whole)
    assert passes[0] != passes[1] != passes[2]


def test_a_step_is_the_same_from_anywhere() -> None:
    """Resumed runs, steps asked for in any order, several processes."""
    frames, steps = [437, 601, 251], (0, 1, 40, 7, 41, 3, 0)
    plan = plan_of(frames, batch_size=6, seed=5)
    for step in steps:
        expected = taken(plan_of(frames, batch_size=6, seed=5), step)
        assert taken(plan, step) == expected
        parts = [taken(plan, step, rank, 3) for rank in range(3)]
        assert [parts[i % 3][i // 3] for i in range(6)] == expected
    assert taken(plan_of(frames, batch_size=6, seed=6), 0) != taken(plan, 0)


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(InputError, match="no recordings"):
        plan_of([])
    for lengths in ({"frames": 0}, {"hop": 0}):
        with pytest.raises(ValueError, match="chunks of"):
            plan_of([100], **lengths)
    with pytest.raises(ValueError, match="recordings of 0"):
        chunk_starts([100, 0], length=200, hop=50)


def test_features_of_chunks_are_parts_of_those_of_the_recording(tmp_path) -> None:
    """Both ends included, and a recording that is shorter than a chunk."""
    feature = LogmelGCC(4, **TWO_STAGE)
    framing = Framing(32000, 320, feature.n_fft, left=feature.left, mirror="both", count="centred")
    recordings, whole = [], []
    for samples in (32000 * 3 + 123, 320 * 260, 9000):
        waveform = np.random.default_rng(samples).standard_normal((4, samples)).astype(np.float32) * 0.1
        path = tmp_path / f"{samples}.wav"
        write_audio(path, waveform, 32000, subtype="FLOAT")
        recordings.append(Recording(path.stem, path, None, None, ARRAYS["mic"], samples, 32000))
        whole.append(feature.whole(torch.from_numpy(waveform)[None])[0])
    source, front = Source(recordings), Front(feature)
    lengths = source.lengths(32000)
    plan = Chunks(framing, lengths, batch_size=4)
    for batch in Loader(source, plan, batch_size=4, stop_step=plan.steps_per_pass):
        features, _ = front(batch)
        assert features.shape[2] == 200
        for item, made in zip(plan.items(batch["number"].numpy()), features):
            (piece,) = item.pieces
            expected = whole[piece.recording][:, piece.first : piece.first + piece.frames]
            torch.testing.assert_close(made[:, : piece.frames], expected, atol=1e-4, rtol=1e-5)
            assert not made[:, piece.frames :].any()
            assert piece.frames == (29 if piece.recording == 2 else 200)
    for index, batch in enumerate(Loader(source, Clips(framing, lengths, frames=None), batch_size=4)):
        torch.testing.assert_close(front(batch)[0][0], whole[index], atol=1e-4, rtol=1e-5)
