"""The DCASE baselines of 2022 to 2025 through the command line: every task on tiny sets, entries, published weights."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import npy2csv
import seld
from dataset.framing import Framing
from dataset.plans import Clips, Sequences
from dcase2022_task3_seld_metrics.__main__ import main as metrics
from dcase2022_task3_seld_metrics.score_table import SCORES
from report.__main__ import main as report
from seld_predictor import load
from system.checkpoint import foreign_weights, load_checkpoint, model_of, recognise
from system.presets import preset_of
from system.table import system_named
from tests.runs import run_folder
from tests.small_sets import make_set
from tests.test_net_challenge import NETWORKS, PRETRAINED
from tests.test_seld import scalars
from util.audio import write_audio
from util.cli import run_main
from util.dialects import read_events
from util.microphone_arrays import ARRAYS
from util.runs import result_checkpoint

ROOTS = {"seldnet2022": "starss22", "seldnet2023": "starss23", "seldnet2024": "dcase2024", "seldnet2025": "stereo2025"}
TINY = ["-b", "2", "--epochs", "1", "--device", "cpu"]
TASKS = [(system, task) for system in ROOTS for task in preset_of(system).tasks]
FAST = {("seldnet2022", "3"), ("seldnet2023", "6"), ("seldnet2024", "7"), ("seldnet2025", "1")}


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, Path]:
    made = {}
    for layout in ROOTS.values():
        stereo = layout == "stereo2025"
        formats = None if stereo else ("foa", "mic")
        out = tmp_path_factory.mktemp("sets") / layout
        made[layout] = make_set(out, layout, formats=formats, train=2, test=1, seconds=5.0 if stereo else 5.6)
    return made


def train(root: Path, system: str, *words: str, status: int = 0) -> Path | None:
    """Train; the run folder."""
    return run_folder(root, "--system", system, *words, *TINY, status=status)


@pytest.mark.parametrize(
    "system, task", [pytest.param(*one, marks=[] if one in FAST else pytest.mark.slow) for one in TASKS]
)
def test_every_task_trains_chooses_scores_and_infers(system: str, task: str, roots, tmp_path, capsys) -> None:
    root = roots[ROOTS[system]]
    made = train(root, system, task, f"a{task}")
    settings = {**preset_of(system).settings, **preset_of(system).task(task).get("settings", {})}
    place = "_dev_" if system == "seldnet2025" else "_dev_split0_"
    assert made.name == f"{task}_a{task}{place}{settings['output']}_{settings['feature']}"
    edition = system.removeprefix("seldnet")
    (result,) = made.glob("result_*.txt")
    assert f"metrics edition {edition}" in result.read_text() and "chosen on" in result.read_text()
    chosen = json.loads((made / "selected.json").read_text())
    assert ("F" if edition in ("2024", "2025") else "SELD_error") in chosen
    (folder,) = made.glob("pred_*devtest*")
    assert len(list(folder.glob("*.csv"))) == 1
    model = load(made, device="cpu")
    rate, array = 24000, model.model.array
    noise = np.random.default_rng(0).standard_normal((array.channels, rate * 7)).astype(np.float32) * 0.1
    table = model(noise, rate)
    assert table.frame.max(initial=0) < 70
    known = edition in ("2024", "2025")
    assert np.isfinite(table.distance_m).all() if known else np.isnan(table.distance_m).all()


def test_stereo_run_shows_reports_converts_and_enters(roots, tmp_path, capsys) -> None:
    root = roots["stereo2025"]
    made = train(root, "seldnet2025", "1", "whole")
    assert len(scalars(made, SCORES["OnscreenAcc"].tag)) == 1
    (raw,), (csv,) = made.glob("raw_*devtest*"), made.glob("pred_*devtest*")
    assert run_main(npy2csv.main, [str(raw), "--out", str(tmp_path / "csv")]) == 0
    for path in csv.glob("*.csv"):
        assert path.read_bytes() == (tmp_path / "csv" / path.name).read_bytes()
        assert path.read_text().startswith("frame,class,source,azimuth,distance,onscreen\n")
        assert read_events(path, "dcase2025").frame.max() < 50
    capsys.readouterr()
    reference = root / "metadata_dev" / "dev-test-sony"
    official_json = str(tmp_path / "s.json")
    how = ["--edition", "2025", "--layout", "m25", "--json", official_json]
    assert run_main(metrics, [str(reference.parent), str(csv), *how]) == 0
    official = json.loads((tmp_path / "s.json").read_text())["overall"]
    (result,) = made.glob("result_*.txt")
    head, numbers = (line.split("\t")[1:] for line in result.read_text().splitlines()[1:3])
    for name, value in zip(head, numbers):
        assert float(value) == pytest.approx(official[name], abs=0.0051)
    assert run_main(report, [str(made)]) == 0
    page = (made / "report.html").read_text()
    shown = dict(re.findall(r'<b data-score="(\w+)" data-run="0">([\d.]+)', page))
    assert "Scores of DCASE 2025" in page and shown["F"] == f"{100 * official['F']:.1f}"
    assert shown["RelDistE"] == f"{official['RelDistE']:.3f}"
    (sound,) = (root / "stereo_dev" / "dev-test-sony").glob("*.wav")
    assert run_main(seld.main, ["-infer", str(sound), "-em", str(made), "--out", str(tmp_path / "inferred")]) == 0
    inferred = next((tmp_path / "inferred").glob("*.csv"))
    assert inferred.read_text().split("\n")[0] == (csv / inferred.name).read_text().split("\n")[0]

    listed = tmp_path / "evaluation.txt"
    listed.write_text(f"{sound}\n")
    entry = ["-em", str(made), "--edition", "2025", "--data-root", str(root), "-evalwt", str(listed)]
    assert run_main(seld.main, ["-submit", *entry, "--out", str(tmp_path / "entry")]) == 0
    rows = read_events(next((tmp_path / "entry").rglob("*.csv")), "dcase2025", class_count=13)
    assert set(rows.onscreen) <= {0, 1} and len(rows)
    check = ["-check-submission", str(tmp_path / "entry"), *entry[2:]]
    capsys.readouterr()
    assert run_main(seld.main, check) == 1 and "to fill in" in capsys.readouterr().out  # nothing else is wrong


def test_distances_of_2024_enter_in_centimetres(roots, tmp_path) -> None:
    root = roots["dcase2024"]
    made = train(root, "seldnet2024", "3", "entered")
    (csv,) = made.glob("pred_*devtest*")
    (sound,) = (root / "foa_dev" / "dev-test-sony").glob("*.wav")
    listed = tmp_path / "evaluation.txt"
    listed.write_text(f"{sound}\n")
    entry = ["-em", str(made), "--edition", "2024", "--data-root", str(root), "-evalwt", str(listed)]
    assert run_main(seld.main, ["-submit", *entry, "--out", str(tmp_path / "entry")]) == 0
    metres = read_events(next(csv.glob("*.csv")), "dcase2024_m")
    whole = read_events(next((tmp_path / "entry").rglob("*.csv")), "dcase2024")
    np.testing.assert_allclose(np.sort(whole.distance_m), np.sort(metres.distance_m), atol=0.0051)
    assert whole.distance_m.max() < 100


@pytest.mark.parametrize(
    "words, said",
    [
        (("seldnet2023", "3", "--format", "mic"), "intensity vectors need Ambisonics"),
        (("seldnet2023", "-train", "-val", "--set", "feature=mic_gcc"), "needs microphones that stand apart"),
        (("seldnet2022", "3", "--set", "attention_heads=3"), "attention_heads=3"),
        (("seldnet2023", "3", "--set", "attention_heads=4"), "must be NAME=VALUE"),
        (("seldnet2023", "3", "--edition", "2024"), "scores distances, which the system does not estimate"),
        (("seldnet2025", "1", "--format", "foa"), "needs 2 channels"),
        (("seldnet2023", "8"), "has no task '8'"),
        (("seldnet2023", "3", "-fs", "48000"), "is made for 24000"),
    ],
)
def test_refused(words, said, roots, capsys) -> None:
    train(roots["starss23"], words[0], *words[1:], status=2)
    assert said in capsys.readouterr().err


def test_labels_without_distances_are_refused(roots, capsys) -> None:
    train(roots["starss22"], "seldnet2024", "3", status=2)
    assert "has no distances, which seldnet2024 learns" in capsys.readouterr().err


def test_sequences_lie_in_one_recording() -> None:
    framing = Framing(24000, 480, 1024, left=512, frames_per_output=5)
    lengths = np.array([24000 * 12, 24000 * 3, 24000 * 5])  # 600, 150, 250 frames
    plan = Sequences(framing, lengths, frames=250, batch_size=2, seed=3)
    assert plan.steps_per_pass == 2
    for passed in range(3):
        pieces = [item.pieces for item in plan.items(np.arange(4) + 4 * passed)]
        assert all(len(one) == 1 for one in pieces)
        found = sorted((one[0].recording, one[0].first, one[0].frames) for one in pieces)
        assert found == [(0, 0, 250), (0, 250, 250), (1, 0, 150), (2, 0, 250)]
    few = Sequences(framing, lengths, frames=250, batch_size=8)
    assert few.steps_per_pass == 1 and len({item.pieces[0][:4] for item in few.items(np.arange(8))}) == 4
    grid = plan.grid(plan.items(np.arange(4)), 0.1)
    assert grid.frame.shape == (4, 50) and grid.frame.max() == 99
    short = next(row for row, item in zip(grid.frame, plan.items(np.arange(4))) if item.pieces[0].recording == 1)
    assert (short[:30] == np.arange(30)).all() and (short[30:] == -1).all()


def test_stereo_sequences_share_their_last_frame() -> None:
    framing = Framing(24000, 480, 1024, left=512, count="centred", frames_per_output=5)
    lengths = np.array([24000 * 5, 24000 * 12])
    how = {"frames": 251, "hop": 250, "silence": True}
    plan = Clips(framing, lengths, surplus=1, **how)
    assert [plan.windows_of(index) for index in (0, 1)] == [1, 3]
    items = plan.items(np.arange(plan.count))
    assert [item.pieces[0].first for item in items] == [0, 0, 250, 500]
    assert all(item.pieces[0].frames == 251 for item in items)
    seen = Sequences(framing, lengths, batch_size=2, seed=0, visual_hop=5, **how)
    looks = [times_s for _, times_s in seen.looks(seen.items(np.arange(1))[0])]
    assert [len(times_s) for times_s in looks] == [50]  # one for every frame of the output
    kept = [item.keep[1] for item in items]
    assert kept == [50, 50, 50, 20] and plan.output_frames(0) == 50
    trained = Sequences(framing, lengths, batch_size=3, **how)
    assert sorted((i.pieces[0].recording, i.pieces[0].first) for i in trained.items(np.arange(3))) == [
        (0, 0), (1, 0), (1, 250),
    ]  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_published_networks_are_recognised(name: str) -> None:
    """By names and shapes alone; and what is recognised takes the weights."""
    weights = NETWORKS[name]().state_dict()
    system, found = recognise(foreign_weights(weights))
    year = {"C22": "2022", "C23": "2023", "D24": "2024", "D25": "2025"}[name[:3]]
    assert system == f"seldnet{year}" + ("_audio_visual" if found.visual else "") and found.class_count == 13
    assert found.visual == ("_av" in name or "visual" in name)
    stage = system_named(system).stages[-1]
    audio = stage.front(found.settings, ARRAYS[found.array], False, None).audio
    stage.network(found.settings, audio, 13, found.visual).load_state_dict(weights)


@pytest.fixture
def published(tmp_path) -> Path:
    """A file as the baseline of 2024 publishes it: weights alone, under another suffix."""
    torch.manual_seed(0)
    path = tmp_path / "3_1_dev_split0_multiaccdoa_foa_model.h5"
    torch.save(NETWORKS["D24_pretrained_foa"]().state_dict(), path)
    return path


def test_training_goes_on_from_published_weights(published, roots, capsys) -> None:
    root = roots["dcase2024"]
    made = train(root, "seldnet2024", "3", "tuned", "--init", str(published), "-l", "1e-12")
    assert "53 weights copied" in capsys.readouterr().out
    first, tuned = load_checkpoint(published), load_checkpoint(result_checkpoint(made))
    before, after = (one.stages["main"].weights["gru.weight_ih_l0"] for one in (first, tuned))
    torch.testing.assert_close(before, after, atol=1e-6, rtol=0)
    assert (first.system, first.array["name"]) == ("seldnet2024", "foa") and model_of(first).rate_hz == 24000
    train(root, "seldnet2024", "6", "tuned_mic", "--init", str(published))  # other maps: what fits
    said = capsys.readouterr().out
    assert "52 weights copied" in said and "1 weights skipped: conv_block_list.0.conv.weight" in said


def test_published_weights_evaluate_and_infer(published, roots, tmp_path, capsys) -> None:
    """They come without statistics of the features: those of the recordings at hand are taken, and it is said."""
    root = roots["dcase2024"]
    assert run_main(seld.main, ["-eval", "-em", str(published), "--data-root", str(root), "--device", "cpu"]) == 0
    shown = capsys.readouterr()
    assert "statistics" in shown.out + shown.err
    (sound,) = (root / "foa_dev" / "dev-test-sony").glob("*.wav")
    assert run_main(seld.main, ["-infer", str(sound), "-em", str(published), "--out", str(tmp_path / "inferred")]) == 0
    assert "statistics" in capsys.readouterr().err


@pytest.mark.parametrize("name", PRETRAINED)
def test_the_official_weights_open(name: str) -> None:
    from tests.shared import SHARED

    path = SHARED / "golden" / "seldnet" / "pretrained" / PRETRAINED[name]
    if not path.exists():
        pytest.skip("the published weights are in ../shared only")
    checkpoint = load_checkpoint(path)
    assert (checkpoint.system, checkpoint.array["name"]) == ("seldnet2024", "foa" if "foa" in name else "mic")
    model_of(checkpoint)


def test_a_recording_by_its_length_alone(tmp_path) -> None:
    """Sounds behind the end do not exist: 5.3 s give 53 label frames."""
    write_audio(tmp_path / "x.wav", np.zeros((4, round(5.3 * 24000)), dtype=np.float32), 24000)
    framing = Framing(24000, 480, 1024, left=512, frames_per_output=5)
    plan = Clips(framing, [round(5.3 * 24000)], frames=250)
    assert sum(item.keep[1] - item.keep[0] for item in plan.items(np.arange(plan.count))) == 53
