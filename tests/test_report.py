"""The evaluation page and its numbers, the TensorBoard monitor, and the command line of the report."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from dcase2022_task3_seld_metrics import compare, score
from output_format.multi_accdoa import MultiAccdoa
from report.__main__ import main
from report.analysis import (
    bounds,
    by_threshold,
    confusion,
    errors_by_place,
    load_clip,
    load_evaluation,
    paired,
)
from report.charts import class_figure
from report.colours import STATUS, rgb
from report.figures import direction_figure, draw_directions
from report.matching import match
from report.monitor import Monitor, busiest_time_s
from report.page import clip_rows, write_report
from report.screenshots import main as screenshots
from report.screenshots import picture_height
from tests.report_material import CLASSES, DURATION_S, RATE_HZ, make_clip, make_reference, make_run
from util.angles import direction_from_degrees
from util.camera import Equirectangular
from util.cli import run_main
from util.dialects import write_events
from util.errors import InputError
from util.video import read_frames, video_info


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("monitor")
    return make_run(root, "first"), make_run(root, "second", seed=1, drop=0.4)


def test_monitor_writes_the_names_of_the_reference(tmp_path, tmp_path_factory):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reference = make_reference()
    scores = {"SELD_error": 0.7, "ER": 1.0, "F": 0.1, "LE": 50.0, "LR": 0.3}
    with Monitor(tmp_path) as monitor:
        assert not list(tmp_path.iterdir())  # nothing is opened before something is written
        monitor.scalars(5, {"Loss/train": 0.5, "Optimizer/lr": 1e-3})
        occurs = [True, False, True, False]
        monitor.validation(5, scores, {"F": np.array([0.2, np.nan, 0.4, 0.0])}, CLASSES, occurs=occurs)
        monitor.azimuth_figure(5, "clip", reference, reference, CLASSES)
        monitor.frame(5, "clip", np.zeros((180, 360, 3), np.uint8), 4.2, reference, reference, CLASSES)
        monitor.hparams({"batch_size": 16, "net": "crnn", "list": [1], "none": None}, {"F": 0.1})
        clip = make_clip(tmp_path_factory.mktemp("clip"))
        monitor.clip_frame(5, "seen", clip.video, reference, reference, CLASSES, detector="builtin")
    assert busiest_time_s(reference) == pytest.approx(4.05)  # three sources
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0}).Reload()
    tags = events.Tags()
    due = {"0_SELD-error": 0.7, "1_ER-LD": 1.0, "2_F-LD": 0.1, "3_LE-CD": 50.0, "4_LR-CD": 0.3}
    for name, value in due.items():
        assert events.Scalars(f"Metrics/{name}")[0].value == pytest.approx(value)
    assert {"Loss/train", "Optimizer/lr", "F20 per class/00 female speech", "Final/F"} <= set(tags["scalars"])
    assert "F20 per class/01 male speech" not in tags["scalars"]  # it does not occur
    assert "F20 per class/03 </script><b>bell</b>" not in tags["scalars"]  # its 0 is that of a class that is not there
    assert set(tags["images"]) == {"Directions/clip", "Frame/clip", "Frame/seen"}


def test_figures_put_directions_in_their_place():
    reference = make_reference()
    picture = direction_figure(reference, reference, CLASSES, title="t", duration_s=8.0, width=800, height=300)
    assert picture.shape == (300, 800, 3) and (picture != 255).any()
    for column, empty in (("elevation_deg", reference[:0]), ("azimuth_deg", reference[:0])):
        direction_figure(empty, empty, CLASSES, title="nothing", column=column)
    now = reference[reference.frame == 30]  # the walker is at azimuth 180, on the seam
    drawn = draw_directions(np.zeros((180, 360, 3), np.uint8), now[:1], now[:1], CLASSES)
    y = round((90 - 5) / 180 * 180)
    assert drawn[y, 0].any() and drawn[y, -1].any()


def test_scores_are_the_official_ones(runs):
    one = load_evaluation(runs[0])
    reference = {clip.name: clip.reference for clip in one.clips}
    official = score(reference, {clip.name: clip.estimated for clip in one.clips}, classes=one.classes)
    assert one.result.overall == official.overall
    written = (runs[0] / "result_dcase2023t3_foa_devtest_0000100.txt").read_text().splitlines()[2].split("\t")
    for name, value in zip(("ER", "F", "LE", "LR", "SELD"), written[1:]):
        assert f"{one.result.overall[name]:.2f}" == value


def test_bounds_bound(runs):
    one = load_evaluation(runs[0])
    found = {name: result.overall for name, _, result in bounds(one)}
    assert found["class prior"]["F"] < one.result.overall["F"]
    assert found["constant front"]["F"] < 0.1 and found["constant front"]["LR"] == pytest.approx(0.75)  # no bell
    assert found["predicted activity, true direction"]["F"] >= one.result.overall["F"]
    assert found["true activity, predicted direction"]["LR"] == pytest.approx(0.75)
    # plane waves without a room: where one source sounds, the intensity points at it
    assert found["intensity direction, true activity"]["LE"] < found["constant front"]["LE"] - 10


def test_confusion_counts_every_row_once(runs):
    one = load_evaluation(runs[1])
    matrix = confusion(one)
    references = np.concatenate([clip.reference.class_index for clip in one.clips])
    estimates = np.concatenate([clip.estimated.class_index for clip in one.clips])
    np.testing.assert_array_equal(matrix[:-1].sum(axis=1), np.bincount(references, minlength=4))
    np.testing.assert_array_equal(matrix[:, :-1].sum(axis=0), np.bincount(estimates, minlength=4))


def test_errors_by_place_and_threshold(runs):
    one = load_evaluation(runs[0])
    places = errors_by_place(one)
    assert set(places) == {"azimuth", "elevation", "sources", "distance"}
    rows = sum(len(clip.reference) for clip in one.clips)
    for binned in places.values():
        assert binned.references.sum() == rows and (binned.count <= binned.references).all()
        assert ((binned.low <= binned.median) & (binned.median <= binned.high) | np.isnan(binned.median)).all()
    curves = by_threshold(one, (0.1, 0.3, 0.9))
    assert curves["F"][1] == pytest.approx(one.result.overall["F"])
    assert curves["recall"][0] >= curves["recall"][2]


def test_paired_difference(runs):
    evaluations = [load_evaluation(run) for run in runs]
    first, second = (one.result for one in evaluations)
    reference = {clip.name: clip.reference for clip in evaluations[0].clips}
    estimated = [{clip.name: clip.estimated for clip in one.clips} for one in evaluations]
    due = compare(reference, *estimated, classes=evaluations[0].classes)
    found = paired(first, second)
    difference = found.by_recording["F"]
    assert difference.value == pytest.approx(second.overall["F"] - first.overall["F"])
    for intervals, wanted in ((found.by_recording, due.by_recording), (found.by_group, due.by_group)):
        for name, one in intervals.items():
            assert (one.low, one.high) == pytest.approx((wanted[name].low, wanted[name].high), nan_ok=True)
    assert set(found.groups) == {"1", "2"}
    back = paired(second, first).by_recording["F"]
    assert (back.low, back.high) == pytest.approx((-difference.high, -difference.low))
    apart = first.jackknife.overall["F"], second.jackknife.overall["F"]
    assert difference.high - difference.low < sum(one.high - one.low for one in apart)  # on the same recordings
    common = paired(first, second.select(second.files[1:]))
    assert common.first.files == second.files[1:]
    with pytest.raises(InputError, match="common recording"):
        paired(first.select(first.files[:1]), second.select(second.files[1:]))


def test_intervals_of_few_recordings_end_where_a_score_does(tmp_path):
    evaluation = load_evaluation(make_run(tmp_path, "few", clips=2, drop=0.5))
    result = evaluation.result
    assert np.nanmax(result.jackknife.classwise["F"].high) > 1  # two recordings say little
    for bar in class_figure([("few", result)], evaluation.classes)["data"]:
        high = [value + more for value, more in zip(bar["y"], bar["error_y"]["array"]) if value is not None]
        assert max(high) <= (180 if bar["yaxis"] == "y3" else 100) + 1e-6


def test_evaluation_is_read_from_any_working_directory(tmp_path, monkeypatch):
    run = make_run(tmp_path / "data_x" / "model_monitor", "only", clips=2)
    for file in run.glob("raw_*/*.json"):
        about = json.loads(file.read_text())
        about |= {kind: str(Path(about[kind]).relative_to(tmp_path)) for kind in ("recording", "labels")}
        file.write_text(json.dumps(about | {"edition": "2022", "average": "micro"}))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder in (tmp_path, elsewhere):
        monkeypatch.chdir(folder)
        one = load_evaluation(run)
        assert all(len(clip.reference) and clip.path("recording") for clip in one.clips)
        assert one.edition == ("2022", "micro")  # args.json says 2023, macro
        assert one.result.settings.average == "micro"


def test_page_of_two_runs(runs, tmp_path, capsys):
    out = tmp_path / "compare.html"
    assert main([*map(str, runs), "--out", str(out), "--names", "A <b>,B", "--players", "1"]) == 0
    assert "report" in capsys.readouterr().out
    page = out.read_text(encoding="utf-8")
    assert "A &lt;b&gt;" in page and "A <b>" not in page.split('id="figures"')[0].split("</script>")[-1]
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)[1])
    assert {"scores", "classes", "places", "thresholds", "confusion0", "confusion1"} == set(figures)
    result = load_evaluation(runs[0]).result
    bars = next(trace for trace in figures["classes"]["data"] if trace["name"] == "A <b>")
    due = [100 * value for value in result.classwise["F"]]
    assert bars["y"][:3] == pytest.approx(due[:3]) and bars["y"][3] is None  # the bell does not occur
    links = re.findall(r'href="(compare_players/[^"]+)"', page)
    assert len(links) == 4 and all(
        (tmp_path / link.replace("&lt;", "<").replace("&gt;", ">")).is_file() for link in links
    )
    assert clip_rows(load_evaluation(runs[0]))[0].clip.name in page


def test_bad_input_is_told_in_one_line(runs, tmp_path, capsys):
    for arguments, words in (
        ([str(tmp_path)], "holds no raw_"),
        ([str(tmp_path / "none")], "no such folder"),
        ([*map(str, runs), "--names", "one"], "1 names for 2 runs"),
        ([str(runs[0]), str(runs[0])], "different names"),
        ([str(runs[0]), "--only", "nothing like it"], "nothing like it"),
        (["--player", str(tmp_path / "none.npy")], "no such file"),
    ):
        assert run_main(main, arguments) == 2
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert message.startswith("error: ") and words in message
    broken = tmp_path / "raw_x"
    broken.mkdir()
    (broken / "clip.npy").write_bytes(b"no array")
    (broken / "clip.json").write_text(json.dumps({"format": "multi_accdoa", "classes": ["a"]}))
    with pytest.raises(InputError, match="no raw output"):
        load_evaluation(broken)


def test_picture_of_a_report_ends_at_a_section(tmp_path, capsys):
    assert picture_height([300.2, 800.5, 1200], 1100) == 801
    assert picture_height([1200], 1100) == 1100
    page = tmp_path / "page.html"
    page.touch()
    assert run_main(screenshots, [str(page), "--name", "a,b"]) == 2
    assert "2 names for 1 pages" in capsys.readouterr().err


def test_players_from_the_command_line(runs, tmp_path):
    raw = next(runs[0].glob("raw_*/*.npy"))
    command = [sys.executable, "-m", "report", "--player", str(raw), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0 and (tmp_path / f"{raw.stem}.html").stat().st_size > 100_000


def test_overlays_from_the_command_line(tmp_path, capsys):
    """Raw output in, mp4 out: its length, its sound, and the marks at the pixels of what was predicted."""
    run = make_run(tmp_path, "run", clips=1, video=True)
    (raw,) = run.glob("raw_*/*.npy")
    assert main(["--overlay", str(raw.parent), "--out", str(tmp_path / "videos")]) == 0
    path = tmp_path / "videos" / f"{raw.stem}_overlay.mp4"
    assert str(path) in capsys.readouterr().out
    info = video_info(path)
    assert info.width == 1280 and info.height > 640 and info.duration_s == pytest.approx(DURATION_S, abs=0.11)
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.channels == 2
        sound = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
    assert sound.shape[1] / RATE_HZ == pytest.approx(DURATION_S, abs=0.1) and np.abs(sound).max() > 0.1
    clip, found = load_clip(raw), 0
    matched = match(clip.reference, clip.estimated).estimated_status()
    pictures = {index: bgr for index, bgr in read_frames(path) if index in (25, 45)}
    for index, bgr in pictures.items():  # 10 pictures a second: picture 25 shows label frame 25
        rows = np.flatnonzero((clip.estimated.frame == index) & (matched == "correct"))
        pixel, _ = Equirectangular(1280, 640).project(
            direction_from_degrees(clip.estimated.azimuth_deg[rows], clip.estimated.elevation_deg[rows])
        )
        for x, y in np.rint(pixel).astype(int):
            found += np.abs(bgr[y, x % 1280, ::-1].astype(int) - rgb(STATUS["correct"])).max() < 40
    assert found >= 2


def test_report_of_one_run_without_sound(tmp_path):
    run = make_run(tmp_path, "only", clips=2)
    for file in (*tmp_path.rglob("*.wav"), *tmp_path.rglob("*.mp4")):
        file.unlink()
    assert write_report(tmp_path / "report.html", [load_evaluation(run)], players=1, progress=False) > 4e6


def with_distances(run: Path, edition: str, elements: tuple[str, ...]) -> Path:
    """A run of `make_run` as one of a later edition: raw output at the label's frames, a distance of 1.6 m everywhere.

    Labels have 1, 2, 3 and 4 m. Of stereo, azimuths are folded to the front, and what is to the right is on the screen.
    """
    for file in run.glob("raw_*/*.json"):
        about = json.loads(file.read_text())
        raw = np.load(file.with_suffix(".npy"))[..., ::10]  # x, y, z
        more = {"distance": np.full_like(raw[:, 0], 1.6), "onscreen": (raw[:, 1] < 0).astype(np.float32)}
        made = np.stack([more[name] if name in more else raw[:, "xyz".index(name)] for name in elements], axis=1)
        np.save(file.with_suffix(".npy"), made)
        about |= MultiAccdoa(4, frame_s=0.1, elements=elements).description()
        about |= {"edition": edition, "average": "macro", "array": None}
        if edition == "2025":
            table = make_reference()
            azimuth_deg = np.rint(np.degrees(np.arcsin(np.sin(np.radians(table.azimuth_deg)))))
            onscreen = (azimuth_deg < 0).astype(float)
            far = table.replace(azimuth_deg=azimuth_deg, distance_m=1.0 + table.source, onscreen=onscreen)
            labels = Path(about["labels"]).with_name("stereo.csv")
            write_events(labels, far, "dcase2025")
            about |= {"labels": str(labels), "label_dialect": "dcase2025"}
        file.write_text(json.dumps(about))
    return run


@pytest.mark.parametrize(
    ("edition", "elements", "shown"),
    [
        ("2024", ("x", "y", "z", "distance"), ("F", "ER", "AngE", "DistE", "RelDistE", "LR", "SELD")),
        ("2025", ("x", "y", "distance", "onscreen"), ("F", "AngE", "DistE", "RelDistE", "OnscreenAcc")),
    ],
)
def test_editions_with_distances_have_their_own_scores(edition, elements, shown, tmp_path):
    run = with_distances(make_run(tmp_path, "far", clips=2), edition, elements)
    one = load_evaluation(run)
    assert one.edition == (edition, "macro") and one.scores == shown
    found = {name: result.overall for name, _, result in bounds(one)}
    assert set(found) == {
        "class prior",
        "constant front",
        "true activity, predicted direction",
        "predicted activity, true direction",
    }
    # 1.6 m where it is 1, 2, 3 m (walker, first and second speaker), 4 m (door): by classes 0.6, about 0.3, 0.6
    relative = found["true activity, predicted direction"]["RelDistE"]
    assert 0.3 < relative < 0.6
    true = found["predicted activity, true direction"]
    assert true["F"] > one.result.overall["F"] and true["RelDistE"] == 0 and true["AngE"] < 0.01
    middle = np.median(np.concatenate([clip.reference.distance_m for clip in one.clips]))
    assert middle == 2.0 and found["constant front"]["DistE"] == pytest.approx(
        np.mean([1, (55 * 0 + 15 * 1) / 70, 2]) * (1 if edition == "2024" else 100), rel=0.01
    )
    out = tmp_path / "report.html"
    write_report(out, [one], players=1, progress=False)
    page = out.read_text(encoding="utf-8")
    assert f"Scores of DCASE {edition}" in page and ("onscreen accuracy" in page) == (edition == "2025")
    assert f"distance error / {'m' if edition == '2024' else 'cm'}" in page
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)[1])
    assert len([key for key in figures["scores"]["layout"] if key.startswith("xaxis")]) == len(shown)


def test_labels_without_distances_are_shown_by_the_joint_scores(tmp_path):
    run = with_distances(make_run(tmp_path, "far", clips=1), "2024", ("x", "y", "z", "distance"))
    for labels in tmp_path.rglob("clip.csv"):
        write_events(labels, make_reference(), "starss23")
    assert load_evaluation(run).edition == ("2023", "macro")
