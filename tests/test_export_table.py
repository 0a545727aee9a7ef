"""Every row of the table of systems and every task id as ONNX: exported, inferred, the raw output of its checkpoint.

The cases are made from the table and the presets: a new row, task or feature is tested, or the test says what it lacks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import seld
import simulation.__main__ as simulation
from feature.phasediff import AmplitudePhaseDifference
from system.presets import preset_of
from system.row import Settings, Stage
from system.table import SYSTEMS, system_named
from tests.exports import CLASSES, untrained_system
from util.cli import run_main
from util.errors import InputError
from util.job_arguments import Arguments
from util.microphone_arrays import ARRAYS, Array

pytest.importorskip("onnx", reason="the export needs onnx (requirements-export.txt)")
pytest.importorskip("onnxscript", reason="the export needs onnxscript (requirements-export.txt)")

REFUSED = {"general_histogram": "has no network: there is nothing to export"}
_FEATURE = 2  # place in what `_graph_of` says from which on it is of the feature
SMALL = {"filters": 8, "rnn_units": 8, "dense": 8, "width": 0.1, "align_units": 8}  # of the settings that a system has


@dataclass(frozen=True)
class Case:
    """A system as a task id makes it.

    Attributes
    ----------
    graphs : what makes the graph of each stage
    of : rows and task ids ("": none) that export the same graphs
    """

    system: str
    array: str
    settings: dict[str, Any]
    graphs: tuple[tuple[object, ...], ...]
    of: list[tuple[str, str]]

    def __str__(self) -> str:
        tasks = [task for row, task in self.of if row == self.of[0][0]]
        return f"{self.system}-{self.array}-{'+'.join(tasks) or 'row'}"


def _small(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes of a tiny network, of those that the settings name."""
    return {
        name: [size] * len(settings[name]) if isinstance(settings[name], list) else size
        for name, size in SMALL.items()
        if name in settings
    }


def _graph_of(stage: Stage, made: Settings, array: Array, visual: bool) -> tuple[object, ...]:
    """What makes the graph of a stage: two stages of which this is the same are exported as the same."""
    audio, network = stage.front(made, array, visual, None).audio, None
    if stage.network is not None:
        with torch.device("meta"):
            network = stage.network(made, audio, len(CLASSES), visual)
    shapes = () if network is None else tuple((name, tuple(one.shape)) for name, one in network.state_dict().items())
    plain = {name: one for name, one in vars(audio).items() if isinstance(one, bool | int | float | str | tuple)}
    return repr(network), shapes, type(audio), repr(plain), stage.plans(made).framing, stage.takes


def cases_of(rows: Iterable[str]) -> list[Case]:
    """What rows and all their task ids export, each graph once."""
    found: dict[object, Case] = {}
    for row in rows:
        preset = preset_of(row)
        for task in preset.tasks or ("",):
            about = preset.tasks.get(task, {})
            form = {**preset.arguments, **about.get("arguments", {})}.get("format", "foa")
            name, array, slots = row, ARRAYS[form], SYSTEMS[row].slots
            if slots is not None:
                name = ":".join([row, *(slots.default(slot, array) for slot in slots.modules)])
            changes = {**about.get("settings", {}), **_small(preset.settings)}
            args = Arguments.of({**preset.arguments, "set": [f"{key}={value}" for key, value in changes.items()]})
            stages, visual = system_named(name).stages, SYSTEMS[row].visual is not None
            try:
                made = [stage.settings(args, array) for stage in stages]
            except InputError:  # a part of a network that hears one kind of arrays, say
                continue
            graphs = tuple(_graph_of(stage, settings, array, visual) for stage, settings in zip(stages, made))
            case = found.setdefault(graphs, Case(name, form, changes, graphs, []))
            case.of.append((row, task))
    return list(found.values())


def _first_of(cases: list[Case]) -> list[Case]:
    """The cases that are the first one to hear a feature: the graphs of the others differ behind it alone."""
    heard: set[object] = set()
    first = []
    for case in cases:
        features = {graph[_FEATURE:] for graph in case.graphs}
        if not features <= heard:
            first.append(case)
        heard |= features
    return first


CASES = [case for case in cases_of(SYSTEMS) if case.system not in REFUSED]
WHOLE = _first_of(CASES)
QUICK = {"crnn", "seldnet2018", "seldnet2021", "seldnet2022", "seldnet2025"}  # in a few seconds, their first case


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> dict[str, Path]:
    """A simulated scene of 48 kHz by array; of its Ambisonics left is W + Y, right W - Y.

    Of that rate: where a recording was resampled from a lower one, bins hold rounding errors alone.
    """
    root = tmp_path_factory.mktemp("scene") / "set"
    how = ["--layout", "tau2019", "--formats", "foa,mic", "--seconds", "6.4", "--quiet", "--workers", "1"]
    assert run_main(simulation.main, ["--out", str(root), "--train", "1", "--test", "0", *how]) == 0
    found = {name: next((root / f"{name}_dev").rglob("*.wav")) for name in ("foa", "mic")}
    waveform, rate_hz = soundfile.read(found["foa"], dtype="float32")
    found["stereo"] = root.with_name("stereo.wav")
    soundfile.write(found["stereo"], waveform[:, :1] + waveform[:, 1:2] * [1, -1], rate_hz, subtype="FLOAT")
    return found


def raw_of(sound: Path, model: Path, out: Path) -> np.ndarray:
    command = ["-infer", str(sound), "-em", str(model), "--player", "never", "--device", "cpu", "--out", str(out)]
    assert run_main(seld.main, command) == 0
    return np.load(out / f"{sound.stem}.npy")


def test_every_row_and_task_id_is_a_case_or_refused():
    """Of a task id that is no case a part is meant that hears other arrays, as of `general_doa_iv` microphones."""
    covered = {row for case in CASES for row, _ in case.of}
    assert covered | REFUSED.keys() == SYSTEMS.keys() and not covered & REFUSED.keys()
    tasks = {(row, task) for case in CASES for row, task in case.of}
    for row in SYSTEMS:
        if re.match(r"seldnet20\d\d(_audio_visual)?$|two_stage", row):
            assert {(row, task) for task in preset_of(row).tasks} <= tasks


@pytest.mark.parametrize("row", REFUSED)
def test_what_cannot_be_exported_says_why(row, tmp_path, capsys):
    assert all(stage.network is None for stage in SYSTEMS[row].stages)
    untrained_system(tmp_path / "model.pth", row)
    assert run_main(seld.main, ["-export", str(tmp_path / "model.pth"), "--out", str(tmp_path / "m.onnx")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{row} {REFUSED[row]}" in line and not list(tmp_path.glob("*.onnx"))


def _marked(case: Case) -> Any:
    first = next(one for one in CASES if one.of[0][0] == case.of[0][0])
    quick = case is first and case.of[0][0] in QUICK
    return pytest.param(case, id=str(case), marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize("case", [_marked(case) for case in CASES])
def test_graph_gives_the_raw_output_of_a_simulated_scene(case, scene, tmp_path):
    """Where an earlier case has the same features in its graph, this one leaves them out: half of the time."""
    looks = SYSTEMS[case.of[0][0]].visual is not None
    how = {"array": case.array, "settings": case.settings, "visual": looks}
    checkpoint = untrained_system(tmp_path / "model.pth", case.system, **how)
    form = "auto" if case in WHOLE else "network"
    command = ["-export", str(checkpoint), "--out", str(tmp_path / "model.onnx"), "--graph", form]
    assert run_main(seld.main, command) == 0
    graph = sorted(tmp_path.glob("model*.onnx"))[0]  # of several stages any file stands for all
    due, made = (raw_of(scene[case.array], path, tmp_path / path.suffix[1:]) for path in (checkpoint, graph))
    assert made.shape == due.shape and np.isfinite(due).all() and due.std(axis=-1).mean() > 1e-3
    np.testing.assert_allclose(made, due, atol=1e-4)


def test_what_a_graph_changes_the_last_bit_of_the_sound_changes_too(scene, monkeypatch):
    """Of phases that jump, or belong to what is next to nothing, PyTorch itself says something else an ulp away."""
    waveform = torch.from_numpy(soundfile.read(scene["mic"], dtype="float32")[0].T.copy())[None]
    upwards = torch.rand(waveform.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    beside = torch.nextafter(waveform, torch.where(upwards, 2.0, -2.0))
    feature = AmplitudePhaseDifference(4)
    due, moved = feature(waveform), feature(beside)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    in_graph, alike = feature(waveform), slice(feature.channels)
    assert (in_graph - due)[:, alike].abs().max() < 1e-4  # of amplitudes none
    by_graph, by_ulp = (((one - due).abs() > 1e-3).float().mean() for one in (in_graph, moved))
    assert 0.3 * by_ulp < by_graph < 3 * by_ulp and by_ulp > 1e-4
