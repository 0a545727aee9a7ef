"""The checkpoints that come with the project, on a simulated scene with video: everything that is done with one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import seld
from dcase2022_task3_seld_metrics import score
from report.__main__ import main as report
from simulation.__main__ import main as simulate
from tests.exports import exporter_is_there
from tests.test_infer import same
from util.cli import run_main
from util.dialects import dialect_named, parse_events, read_events

SHIPPED = Path(__file__).resolve().parents[1] / "pretrained"
NAME, LABEL = "fold4_room1_mix001", "Muster_TU_task3_1"
FORMATS = ("foa", "mic")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A data root of one scene of 6 s, footsteps and knocking, that has been predicted with both checkpoints."""
    root = tmp_path_factory.mktemp("scene") / "data"
    flags = ["--train", "0", "--test", "1", "--seconds", "6", "--formats", "foa,mic", "--seed", "6"]
    small = ["--width", "240", "--height", "120", "--fps", "5", "--workers", "1", "--quiet"]
    assert run_main(simulate, ["--out", str(root), *flags, *small]) == 0
    for form in FORMATS:
        assert run_main(seld.main, [*infer(root, form), "--out", str(root / form)]) == 0
    return root


def infer(root: Path, form: str, model: Path | None = None, *, player: str = "always") -> list[str]:
    sound, video = root / f"{form}_dev" / "dev-test-sim" / f"{NAME}.wav", root / "video_dev" / "dev-test-sim"
    words = ["-infer", str(sound), str(video / f"{NAME}.mp4"), "-em", str(model or SHIPPED / f"{form}.pth")]
    return [*words, "--detector", "builtin", "--device", "cpu", *(["--player", player] if player else [])]


@pytest.mark.parametrize("form", FORMATS)
def test_it_hears_what_sounds_and_makes_a_player(root, form, tmp_path):
    (tmp_path / "found").mkdir()
    shutil.copy(root / form / f"{NAME}.csv", tmp_path / "found")
    found = score(root / "metadata_dev" / "dev-test-sim", tmp_path / "found", edition="2023", average="micro")
    assert found.overall["F"] > 0.3 and found.overall["LE"] < 30
    page = (root / form / "player.html").read_text()
    assert "measured directions" in page and "Footsteps" in page and f"{form} audio" in page


@pytest.mark.parametrize("form", FORMATS)
def test_its_stream_has_the_rows_of_the_recording_as_a_whole(root, form, tmp_path, capsys):
    sooner = ["--latency", "1", "--out", str(tmp_path)]
    assert run_main(seld.main, [*infer(root, form, player="never"), *sooner]) == 0
    whole = read_events(tmp_path / f"{NAME}.csv", "dcase2023")
    capsys.readouterr()
    assert run_main(seld.main, [*infer(root, form, player=""), "--stream", "--latency", "1"]) == 0
    out, err = capsys.readouterr()
    assert len(whole) and same(parse_events(out, dialect_named("dcase2023")), whole)
    assert "a row comes 0.50 to 0.90 s after" in err


@pytest.mark.parametrize("form", FORMATS)
def test_it_is_evaluated_reported_and_submitted(root, form, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    checkpoint = shutil.copy(SHIPPED / f"{form}.pth", "run")
    flags = ["-em", str(checkpoint), "--format", form, "--detector", "builtin", "--device", "cpu"]
    assert run_main(seld.main, ["-eval", "--data-root", str(root), *flags]) == 0
    (made,) = Path("run").glob("pred_*")
    assert same(read_events(made / f"{NAME}.csv", "dcase2023"), read_events(root / form / f"{NAME}.csv", "dcase2023"))
    assert run_main(report, ["run", "--players", "1"]) == 0
    assert "Footsteps" in Path("run/report.html").read_text() and list(Path("run/report_players").glob("*.html"))

    for kind in (f"{form}_dev", "video_dev"):
        shutil.copytree(root / kind / "dev-test-sim", Path("data") / kind.replace("dev", "eval"))
    assert run_main(seld.main, ["-submit", "--data-root", "data", "--label", LABEL, *flags]) == 0
    entry = Path("submission_2023") / LABEL
    made = read_events(entry / f"{LABEL}.output" / f"{NAME}.csv", "dcase2023")
    assert same(made, read_events(root / form / f"{NAME}.csv", "dcase2023"), within_deg=0.51)
    about = entry / f"{LABEL}.meta.yaml"
    about.write_text(about.read_text().replace("TO FILL IN", "x"))
    capsys.readouterr()
    assert run_main(seld.main, ["-check-submission", str(entry), "--data-root", "data"]) == 0
    out, err = capsys.readouterr()
    assert "nothing wrong" in out and "no evaluation set" not in err


@pytest.mark.slow
@pytest.mark.skipif(not exporter_is_there(), reason="needs the packages of requirements-export.txt")
@pytest.mark.parametrize("form", FORMATS)
def test_its_graph_gives_what_it_gives(root, form, tmp_path):
    model = tmp_path / "model.onnx"
    assert run_main(seld.main, ["-export", str(SHIPPED / f"{form}.pth"), "--out", str(model)]) == 0
    assert run_main(seld.main, [*infer(root, form, model, player="never"), "--out", str(tmp_path)]) == 0
    raw = [np.load(folder / f"{NAME}.npy") for folder in (root / form, tmp_path)]
    np.testing.assert_allclose(raw[1], raw[0], atol=1e-4)
