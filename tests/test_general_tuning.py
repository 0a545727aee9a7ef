"""Modules that learn on together with their alignment, and recordings brought to one loudness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import seld
from dataset.loader import Loader
from dataset.recordings import Labels, Recording
from dataset.source import Source
from seld_predictor import SELDPredictor, load, taken_source
from system.checkpoint import load_checkpoint
from system.model import Model
from system.tuned import Tuned, hearing_framing
from tests.checkpoints import bursts
from tests.exports import CLASSES, untrained_system
from tests.runs import run_folder
from tests.small_data import make_root
from tests.test_general import TINY as TINY_MODULES
from util.audio import write_audio
from util.cli import run_main
from util.machine import make_fabric
from util.microphone_arrays import ARRAYS
from util.runs import result_checkpoint

TINY = [*TINY_MODULES, "--set", "align_frames=20"]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("tuning") / "data"
    return make_root(made, formats=("foa", "mic"), train=3, test=1, seconds=2.3, videos=False)


def train(root: Path, *flags: str, status: int = 0) -> Path | None:
    return run_folder(root, "-train", *TINY, *flags, status=status)


def recording_of(path: Path, array: str, seconds: float) -> Recording:
    """A recording of noise bursts with labels."""
    write_audio(path, bursts(seconds, rate_hz=24000), 24000)
    path.with_suffix(".csv").write_text(
        "".join(f"{frame},{frame % 3},0,{7 * frame - 90},{frame % 30}\n" for frame in range(20))
    )
    return Recording(path.stem, path, path.with_suffix(".csv"), None, ARRAYS[array], round(seconds * 24000), 24000)


def batch_of(source: Source, plan, output_format) -> dict:
    """The only item of a source."""
    with Loader(source, plan, batch_size=1, encode=output_format.encode, label_frame_s=0.1, workers=0) as loader:
        return next(iter(loader))


def tuned_of(model: Model) -> Tuned:
    align = model.stages["align"]
    earlier = {name: one for name, one in model.needed(["align"]).items() if one is not align}
    plans = align.stage.tuned({**align.settings, "fine_tune": True}, hearing_framing(earlier))
    assert align.stage.tuned(align.settings, hearing_framing(earlier)) is None  # by default they stay as they are
    return Tuned(align, earlier, plans)


@pytest.mark.parametrize(
    ("system", "array", "seconds", "near"),
    [
        ("general:sed_t:doa_iv", "foa", 1.975, 1e-4),  # of 159 frames
        ("general:sed_m:doa_gcc", "mic", 1.975, 1e-4),
        ("general:sed_m:doa_iv", "foa", 1.4, 1e-2),  # shorter than a chunk: its padding is longer than in predictions
        ("general:sed_t:doa_hist", "foa", 1.975, 1e-2),  # wraps around at the ends of a chunk
        ("general:sed_l8:histogram", "foa", 1.975, 1e-2),
    ],
)
def test_the_loss_is_that_of_what_the_modules_say(system, array, seconds, near, tmp_path):
    settings = {"width": 0.1, "align_units": 8, "align_frames": 20}
    checkpoint = untrained_system(tmp_path / "m.pth", system, array=array, settings=settings, stirred=False)
    model = load(checkpoint, device="cpu").model.eval()
    source = Source([recording_of(tmp_path / "a.wav", array, seconds)], Labels(len(CLASSES)))
    align, tuned = model.stages["align"], tuned_of(model).eval()
    made = tuned.loss(batch_of(source, tuned.plans.training(source.lengths(24000), 1, 0, None), align.output_format))

    predictor = SELDPredictor(
        make_fabric("cpu", 1, "32-true", training=False), model, thresholds=[0.5] * 3, unification_deg=0
    )
    said = {}
    for name in model.needed(["align"]):
        stage = model.stages[name].stage
        heard = source if not stage.takes else taken_source(source, stage.takes, {"a": said}, [0])
        if name != "align":
            ((_, said[name]),) = predictor.raw(heard, name)
    plan = align.plans.training(heard.lengths(10), 1, 0, None)
    due = align.loss(batch_of(heard, plan, align.output_format))
    assert float(made.detach()) == pytest.approx(float(due.detach()), rel=near)

    made.backward()
    moved = {name.split(".")[0] for name, weight in tuned.network.named_parameters() if weight.grad is not None}
    assert moved == {name for name, stage in model.stages.items() if list(stage.network.parameters())}


def test_modules_learn_on_where_that_is_asked_for_and_go_on_after_an_interruption(root, tmp_path, capsys):
    sed, doa = train(root, "--system", "general_sed_t"), train(root, "--system", "general_doa_iv")
    flags = ["--system", "general", "--sed", str(sed), "--doa", str(doa)]
    frozen, tuned = train(root, *flags), train(root, "-val", *flags, "--set", "fine_tune=true")
    own = {
        "sed": load_checkpoint(result_checkpoint(sed)).stages["sed"],
        "doa": load_checkpoint(result_checkpoint(doa)).stages["doa"],
    }
    for run, changed in ((frozen, False), (tuned, True)):
        content = load_checkpoint(result_checkpoint(run))
        assert content.system == "general:sed_t:doa_iv" and list(content.stages) == ["sed", "doa", "align"]
        for name, state in own.items():
            found = content.stages[name]
            assert found.weights.keys() == state.weights.keys() and not found.trained
            differs = [not torch.equal(found.weights[key], value) for key, value in state.weights.items()]
            assert any(differs) == changed
            assert all(torch.equal(found.statistics[key], state.statistics[key]) for key in ("mean", "scale"))
    at_two = load_checkpoint(result_checkpoint(tuned))
    assert train(root, "--resume", str(tuned), "-i", "4") is None
    at_four = load_checkpoint(result_checkpoint(tuned))
    once = load_checkpoint(result_checkpoint(train(root, *flags, "--set", "fine_tune=true", "-i", "4")))
    assert (at_two.stages["align"].iteration, at_four.stages["align"].iteration) == (2, 4)
    for name in ("sed", "doa", "align"):
        before, after, due = (content.stages[name].weights for content in (at_two, at_four, once))
        assert any(not torch.equal(before[key], after[key]) for key in before)
        for key in after:
            torch.testing.assert_close(after[key], due[key], rtol=0, atol=0)
    assert train(root, "--system", "general", "--set", "fine_tune=true", "--set", "align_frames=21", status=2) is None
    assert "align_frames must be even" in capsys.readouterr().err


def test_modules_of_different_loudness_are_not_tuned_together(tmp_path):
    path = untrained_system(tmp_path / "m.pth", "general:sed_t:doa_iv", settings={"width": 0.1, "align_units": 8})
    model = load(path, device="cpu").model
    model.stages["sed"].settings["std_norm"] = True
    with pytest.raises(Exception, match="at one loudness"):
        tuned_of(model)


def test_whole_recordings_are_brought_to_one_loudness(tmp_path):
    rng = np.random.default_rng(0)
    sound = (0.02 * rng.standard_normal((4, 3_000_000)) + 0.003).astype(np.float32)  # of several blocks
    sound[:, 2_000_000:] *= 3
    source = Source(
        [recording_of(tmp_path / "a.wav", "foa", 1.0)],
        read=lambda one, start, length, rate_hz: sound[:, start : start + length],
    )
    assert source.levelled(None) is source
    whole = Source(source.recordings, read=source.read, length_of=lambda one, rate_hz: sound.shape[1]).levelled(0.1)
    part = whole.read(whole.recordings[0], 1000, 500, 24000)
    np.testing.assert_allclose(part, sound[:, 1000:1500] * (0.1 / sound.std(dtype=np.float64)), rtol=1e-5)
    silent = Source(
        source.recordings, read=lambda one, start, length, rate_hz: np.zeros((4, length), np.float32)
    ).levelled(0.1)
    assert not silent.read(silent.recordings[0], 0, 100, 24000).any()


def test_a_module_hears_the_same_of_a_recording_that_is_louder(tmp_path):
    """With std_norm in predictions, and without it not."""
    raw = {}
    for level in (True, False):
        path = untrained_system(
            tmp_path / f"{level}.pth", "general_sed_t", settings={"width": 0.1, "std_norm": str(level).lower()}
        )
        for gain in (1.0, 0.05):
            write_audio(tmp_path / "a.wav", gain * bursts(1.2, rate_hz=24000), 24000, subtype="FLOAT")
            command = [
                "-infer",
                str(tmp_path / "a.wav"),
                "-em",
                str(path),
                "--out",
                str(tmp_path / "out"),
                "--player",
                "never",
            ]
            assert run_main(seld.main, [*command, "--device", "cpu", "--format", "foa"]) == 0
            raw[level, gain] = np.load(tmp_path / "out" / "a.npy")
    np.testing.assert_allclose(raw[True, 1.0], raw[True, 0.05], atol=1e-4)
    assert np.abs(raw[False, 1.0] - raw[False, 0.05]).max() > 1e-3
