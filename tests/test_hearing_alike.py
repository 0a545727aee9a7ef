"""Stages that hear alike: recordings are read, and features computed, once for all of them; outputs stay the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dataset.recordings import Recording
from dataset.source import Source, read_file
from seld_predictor import SELDPredictor
from system.model import Model, StageModel
from system.presets import presets
from system.table import system_named
from util.audio import write_audio
from util.machine import make_fabric
from util.microphone_arrays import ARRAYS

ARRAY, RATE_HZ = ARRAYS["mic"], 32000


@pytest.fixture
def recordings(tmp_path: Path) -> list[Recording]:
    made = []
    for number, samples in enumerate((31000, 70000, 45000)):
        noise = 0.1 * np.random.default_rng(number).standard_normal((4, samples)).astype(np.float32)
        write_audio(tmp_path / f"{number}.wav", noise, RATE_HZ)
        made.append(Recording(str(number), tmp_path / f"{number}.wav", None, None, ARRAY, samples, RATE_HZ))
    return made


def model_of(scales: tuple[float, float] = (30.0, 30.0)) -> Model:
    """Untrained two-stage system whose features are standardised by these."""
    row = system_named("two_stage")
    settings = {**presets()["two_stage"].settings, "channels": 4, "on_grid": True, "filters": [4] * 4, "rnn_units": 8}
    audio = row.stages[0].front(settings, ARRAY, False, None).audio
    torch.manual_seed(0)
    stages = {}
    for stage, scale in zip(row.stages, scales):
        mean = torch.full((audio.maps, audio.bins), -20.0)
        statistics = {"mean": mean, "scale": mean / mean * scale, "feature": settings["feature"]}
        stages[stage.name] = StageModel(stage, settings, ARRAY, 11, visual=False, statistics=statistics)
    return Model(row, ARRAY, [str(number) for number in range(11)], stages, visual=False).eval()


def raw_of(model: Model, recordings: list[Recording]) -> tuple[list[np.ndarray], int, int]:
    """Raw outputs; how many samples were read, and how many batches of features computed."""
    read, computed = [], []

    def reading(recording: Recording, start: int, length: int, rate_hz: int) -> np.ndarray:
        read.append(length)
        return read_file(recording, start, length, rate_hz)

    hooks = [stage.front.register_forward_hook(lambda *_: computed.append(1)) for stage in model.stages.values()]
    fabric = make_fabric("cpu", 1, "32", training=False)
    predictor = SELDPredictor(fabric, model, thresholds=[0.3] * 11, unification_deg=0.0, workers=0)
    made = [one.raw for one in predictor.predict(Source(recordings, read=reading))]
    for hook in hooks:
        hook.remove()
    return made, sum(read), len(computed)


def test_the_outputs_are_those_of_each_stage_by_itself(recordings, monkeypatch):
    model = model_of()
    once, read_once, computed_once = raw_of(model, recordings)
    monkeypatch.setattr(StageModel, "hears_like", lambda self, other: False)
    twice, read_twice, computed_twice = raw_of(model, recordings)
    assert len(once) == 3 and all(np.array_equal(one, other) for one, other in zip(once, twice))
    assert read_twice == 2 * read_once and computed_twice == 2 * computed_once


def test_other_statistics_or_settings_are_heard_apart(recordings):
    assert raw_of(model_of((30.0, 31.0)), recordings)[2] == 2 * raw_of(model_of(), recordings)[2]
    sed, doa = model_of().stages.values()
    assert sed.hears_like(doa) and doa.hears_like(sed)
    doa.settings["feature"] = "logmel"
    assert not sed.hears_like(doa)
