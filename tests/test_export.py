"""ONNX files: traced features, the same output and rows as the checkpoint, everything inside, bad files."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

import seld
from feature import traced
from feature.front import on_device
from feature.logmel_gcc import DCASE2022, DCASE2022_INTENSITY, TWO_STAGE, TWO_STAGE_INTENSITY, Logmel, LogmelGCC
from feature.logmel_intensity import LogmelIntensity
from feature.magnitude_phase import SELDNET2018, SELDNET2019, MagnitudePhase
from feature.phasediff import AmplitudePhaseDifference
from feature.salsa_lite import SalsaLite
from net.onnx_layers import with_onnx_layers
from net.recurrent import BidirectionalTF2, KerasGRU, KerasLSTM
from seld_predictor import load
from system import exported as exported_system
from system.checkpoint import load_checkpoint
from system.exported import open_session
from tests.checkpoints import bursts, recording, thresholds, untrained
from tests.exports import angles_apart_deg, untrained_system
from tests.tiny import tiny_root
from util.cli import run_main
from util.dialects import read_events
from util.errors import InputError

RATES_HZ = {"av": 24000, "two_stage": 32000, "seldnet2019": 48000}
ONNX = Path(__file__).parent / "onnx"
DOCS = Path(__file__).parents[1] / "docs/export.md"

FEATURES = {
    "phase differences": lambda: AmplitudePhaseDifference(4, base_channel=1),
    "binaural": lambda: AmplitudePhaseDifference(2),
    "seldnet2018": lambda: MagnitudePhase(4, **SELDNET2018),
    "seldnet2019": lambda: MagnitudePhase(4, **SELDNET2019),
    "odd bins": lambda: MagnitudePhase(4, **{**SELDNET2018, "bins": 255}),
    "planes": lambda: MagnitudePhase(4, **SELDNET2018, layout="paper"),
    "intensity": lambda: LogmelIntensity(4),
    "two-stage intensity": lambda: LogmelIntensity(4, **TWO_STAGE, **TWO_STAGE_INTENSITY, precision=torch.float32),
    "logmel": lambda: Logmel(4, **TWO_STAGE),
    "gcc": lambda: LogmelGCC(4, **TWO_STAGE),
    "gcc of 2022": lambda: LogmelGCC(4, **DCASE2022, own_transform=False),
    "intensity of 2022": lambda: LogmelIntensity(4, **DCASE2022, **DCASE2022_INTENSITY),
    "intensity alone": lambda: LogmelIntensity(4, layout="paper", levels=False),
    "SALSA-lite": lambda: SalsaLite(4),
}
_NO_MODEL = r"cannot be loaded as an onnx model|has not made"


@pytest.mark.parametrize("n_fft", [512, 1024, 2048, 480, 882, 30])
def test_transform_of_matrices_is_the_fourier_transform(n_fft):
    framed = torch.randn((3, 5, n_fft), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    window = torch.hann_window(n_fft, dtype=torch.float64)
    due = torch.fft.rfft(framed * window)
    real, imaginary = traced.spectrum(framed, window)
    assert (real - due.real).abs().max() < 1e-11 and (imaginary - due.imag).abs().max() < 1e-11
    assert not imaginary[..., [0, -1]].any()  # else their phase would be noise
    lag = np.arange(-8, 8)
    around = torch.fft.irfft(due, n=n_fft)[..., lag % n_fft]
    assert (traced.lags(real, imaginary, n_fft, lag) - around).abs().max() < 1e-11


def test_angle_is_that_of_two_numbers():
    parts = torch.tensor([0.0, 1.0, -1.0, 1e-30, -1e-30, 3.0, -7.0])
    imaginary, real = torch.meshgrid(parts, parts, indexing="ij")
    torch.testing.assert_close(traced.angle(imaginary, real), torch.atan2(imaginary, real), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", FEATURES)
def test_traced_features_are_the_features(name, monkeypatch):
    feature = FEATURES[name]()
    waveform = torch.from_numpy(bursts(0.4, rate_hz=48000))[None, : feature.channels]
    waveform[0, 0, 4000:9000] = 0  # one channel is silent, then all are
    waveform[0, :, 10000:15000] = 0
    due = feature(waveform)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    made = feature(waveform)
    difference = (made - due).abs()
    turn = 2 * np.pi if name in ("phase differences", "binaural") or "seldnet" in name or "bins" in name else 1e9
    difference = torch.minimum(difference, (difference - turn).abs())  # a phase at the seam may be on either side
    assert made.shape == due.shape and difference.median() < 1e-5
    assert torch.quantile(difference.flatten()[:: 1 + difference.numel() // 10**6], 0.99) < 2e-3  # near silence: more


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """Checkpoints of three systems with their exports, thresholds, and a recording for each at its own rate.

    Resampled from a lower rate, bins would hold nothing but rounding errors, whose phases are correlated all the same.
    """
    pytest.importorskip("onnx", reason="the export needs onnx (requirements-export.txt)")
    pytest.importorskip("onnxscript", reason="the export needs onnxscript (requirements-export.txt)")
    folder = tmp_path_factory.mktemp("exported")
    untrained(folder / "av.pth", visual=True)
    thresholds(folder / "t.json", 0.5)
    small = {"filters": [4, 4, 4, 4], "rnn_units": 4}
    untrained_system(folder / "two_stage.pth", "two_stage", settings=small)
    small = {"filters": [4, 4, 4], "rnn_units": [4, 4], "dense": [4], "sequence_frames": 32}
    untrained_system(folder / "seldnet2019.pth", "seldnet2019", settings=small)
    for name, rate_hz in RATES_HZ.items():
        recording(folder / f"{name}.wav", 3.27 if name == "av" else 0.9, rate_hz=rate_hz)
    own = ["--threshold-config", str(folder / "t.json")]
    for name, out, flags in (
        ("av", "av", own),
        ("av", "av_whole", [*own, "--graph", "whole"]),
        ("two_stage", "two_stage", []),
        ("seldnet2019", "seldnet2019_whole", ["--graph", "whole"]),
    ):
        command = ["-export", str(folder / f"{name}.pth"), "--out", str(folder / f"{out}.onnx"), *flags]
        assert run_main(seld.main, command) == 0
    return folder


@pytest.fixture
def elsewhere(exported, tmp_path, monkeypatch) -> Path:
    """The folder of the exports; commands are typed in an empty one."""
    monkeypatch.chdir(tmp_path)
    return exported


def infer(folder: Path, model: str, out: str, *flags: str) -> tuple[np.ndarray, Path]:
    name = next(name for name in RATES_HZ if model.startswith(name))
    command = ["-infer", str(folder / f"{name}.wav"), "-em", str(folder / model), "--player", "never", *flags]
    assert run_main(seld.main, [*command, "--out", out, "--device", "cpu"]) == 0
    return np.load(f"{out}/{name}.npy"), Path(out) / f"{name}.csv"


def same_rows(first: Path, second: Path) -> bool:
    one, other = read_events(first, "dcase2023"), read_events(second, "dcase2023")
    return (
        len(one) == len(other) > 0
        and np.array_equal(one.frame, other.frame)
        and np.array_equal(one.class_index, other.class_index)
        and angles_apart_deg(one.azimuth_deg, other.azimuth_deg) < 0.01
        and angles_apart_deg(one.elevation_deg, other.elevation_deg) < 0.01
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("checkpoint", "graph"),
    [
        ("av.pth", "av.onnx"),
        ("av.pth", "av_whole.onnx"),
        ("two_stage.pth", "two_stage_doa.onnx"),
        ("two_stage.pth", "two_stage_sed.onnx"),
        ("seldnet2019.pth", "seldnet2019_whole.onnx"),
    ],
)
def test_a_recording_gets_the_same_raw_output_and_rows(checkpoint, graph, elsewhere):
    flags = ["--threshold-config", str(elsewhere / "t.json")] if checkpoint == "av.pth" else []
    due, due_rows = infer(elsewhere, checkpoint, "weights", *flags)
    made, rows = infer(elsewhere, graph, "graph")
    assert made.shape == due.shape
    np.testing.assert_allclose(made, due, atol=1e-4)
    assert same_rows(rows, due_rows)


class _Fed:
    """A graph that gives back its features."""

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name) for name in ("features", "inside")]

    def run(self, names: list[str], fed: dict[str, np.ndarray]) -> tuple[np.ndarray]:
        return (fed["features"],)


def test_features_outside_of_the_graph_are_computed_where_the_stage_is(tmp_path, monkeypatch):
    """As on a CUDA device, which the front end has followed to; the graph takes arrays of the CPU."""
    whole, asked = load(untrained_system(tmp_path / "a.pth", "crnn"), device="cpu").model.last, []
    stage = object.__new__(exported_system.ExportedStage)
    torch.nn.Module.__init__(stage)
    stage.plans, stage.front, stage.session = whole.plans, whole.front, _Fed()

    def moved(given: dict, place: torch.device) -> dict:
        asked.append(place.type)
        return on_device(given, torch.device("cpu"))

    monkeypatch.setattr(stage, "_place", lambda: torch.device("cuda"))
    monkeypatch.setattr(exported_system, "on_device", moved)
    batch = {"waveform": 0.1 * torch.randn(1, 4, stage.plans.framing.samples_of(120)), "labels": None}
    with torch.inference_mode():
        made, _ = stage.heard(batch)
        due, _ = whole.front.raw_features(batch)
    assert "cuda" in asked and torch.equal(made, due)


@pytest.mark.slow
def test_library_call_and_stream_take_the_file(elsewhere, capsys):
    _, rows = infer(elsewhere, "av.onnx", "graph")
    waveform, rate_hz = soundfile.read(elsewhere / "av.wav", dtype="float32", always_2d=True)
    events, due = load(elsewhere / "av.onnx")(waveform.T, rate_hz), read_events(rows, "dcase2023")
    assert np.array_equal(events.frame, due.frame) and angles_apart_deg(events.azimuth_deg, due.azimuth_deg) < 0.01
    command = ["-infer", str(elsewhere / "av.wav"), "-em", str(elsewhere / "av.onnx"), "--stream"]
    assert run_main(seld.main, [*command, "--out", "stream"]) == 0
    assert same_rows(Path("stream/av.csv"), rows)


@pytest.mark.slow
def test_evaluation_takes_the_file_and_training_refuses_it(elsewhere, tmp_path, capsys):
    root = tiny_root(tmp_path / "data_tiny", seconds=2.0)
    command = ["-eval", "-em", str(elsewhere / "av.onnx"), "--data-root", str(root), "--boxes", "empty"]
    assert run_main(seld.main, command) == 0
    assert "av.onnx" in capsys.readouterr().out
    command = ["-train", "--data-root", str(root), "--no-video", "-i", "1", "--init", str(elsewhere / "av.onnx")]
    assert run_main(seld.main, command) == 2
    assert "which can be run and not be trained" in capsys.readouterr().err
    assert run_main(seld.main, ["-export", str(elsewhere / "av.onnx")]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("graph", ["av.onnx", "av_whole.onnx"])
def test_example_of_the_docs_gives_the_same_output(graph, elsewhere, monkeypatch):
    """With features inside of the graph, and made by numpy."""
    due, _ = infer(elsewhere, graph, "graph")
    Path("model.onnx").write_bytes((elsewhere / graph).read_bytes())
    Path("recording.wav").write_bytes((elsewhere / "av.wav").read_bytes())
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    known: dict = {}
    exec(compile(code, str(DOCS), "exec"), known)
    total = known["raw"].shape[-1]
    assert total == 3270 * 24 // 240
    assert ("features" in known["inputs"]) == (graph == "av.onnx")
    np.testing.assert_allclose(known["raw"], due[..., :total], atol=1e-5 if graph == "av_whole.onnx" else 1e-4)


@pytest.mark.slow
def test_files_name_what_they_are_and_nothing_of_this_machine(elsewhere):
    for name in ("av.onnx", "two_stage_sed.onnx", "two_stage_doa.onnx"):
        graph = (elsewhere / name).read_bytes()
        assert b".py" not in graph.replace(b"python seld.py", b"")  # where it was traced
    checkpoint = load_checkpoint(elsewhere / "two_stage_sed.onnx")
    assert (checkpoint.system, checkpoint.classes) == ("two_stage", ["one", "two", "three"])
    assert list(checkpoint.graphs) == ["sed", "doa"]


@pytest.mark.slow
def test_files_that_do_not_belong_together_are_named(elsewhere, capsys):
    Path("alone_sed.onnx").write_bytes((elsewhere / "two_stage_sed.onnx").read_bytes())
    with pytest.raises(InputError, match="the stage doa of two_stage belongs to it") as caught:
        load("alone_sed.onnx")
    assert str(caught.value.path).endswith("two_stage_doa.onnx")
    for size in (1000, 20000):
        Path("short.onnx").write_bytes((elsewhere / "av.onnx").read_bytes()[:size])
        with pytest.raises(InputError, match=_NO_MODEL):
            load("short.onnx")


@pytest.mark.parametrize("name", ["identity.onnx", "free.onnx", "named_classes.onnx"])
def test_graphs_of_others_are_refused(name):
    with pytest.raises(InputError, match="that this project has not made"):
        load(ONNX / name)


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07" * 40])
def test_what_is_no_onnx_file_is_refused(content, tmp_path):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(InputError, match=_NO_MODEL):
        load(tmp_path / "model.onnx")
    with pytest.raises(InputError, match="no such checkpoint file"):
        load(tmp_path / "other.onnx")


def test_missing_packages_are_named_with_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    untrained(tmp_path / "foa.pth")
    assert run_main(seld.main, ["-export", str(tmp_path / "foa.pth"), "--out", str(tmp_path / "m.onnx")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "-export needs the package onnx" in line and line.endswith("-r requirements-export.txt -c constraints.txt")
    assert not list(tmp_path.glob("*.onnx"))


class _Layers(nn.Module):
    """Every recurrent layer that networks of the project have, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.GRU(5, 4, num_layers=2, batch_first=True, bidirectional=True)
        self.second = nn.LSTM(8, 3, batch_first=True)
        self.others = nn.Sequential(
            KerasGRU(3, 4), KerasLSTM(4, 4), BidirectionalTF2("gru", 4, 3), BidirectionalTF2("lstm", 3, 2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.others(self.second(self.first(x)[0])[0])


@pytest.mark.slow
def test_recurrent_layers_are_operators_of_onnx(tmp_path):
    onnx = pytest.importorskip("onnx", reason="the export needs onnx (requirements-export.txt)")
    pytest.importorskip("onnxscript", reason="the export needs onnxscript (requirements-export.txt)")
    torch.manual_seed(0)
    layers = _Layers().eval()
    with torch.no_grad():
        for weight in layers.parameters():
            weight += 0.7 * torch.randn_like(weight)  # so that gates reach their ends
        example = torch.randn((2, 7, 5))
        batch = torch.export.Dim("batch")
        program = torch.onnx.export(
            with_onnx_layers(layers), (example,), dynamic_shapes=({0: batch},), dynamo=True, verbose=False
        )
        x = torch.randn((3, 7, 5))
        due = layers(x).numpy()
    operators = [node.op_type for node in program.model_proto.graph.node]
    assert operators.count("GRU") == 2 + 1 + 2 and operators.count("LSTM") == 1 + 1 + 2
    onnx.save(program.model_proto, tmp_path / "layers.onnx")
    session = open_session(tmp_path / "layers.onnx", torch.device("cpu"))
    (made,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert np.abs(due).max() > 0.01
    np.testing.assert_allclose(made, due, atol=1e-5)
