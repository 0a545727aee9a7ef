"""Command line of the metrics, and the comparison of two systems."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import metrics as benchmark
from dcase2022_task3_seld_metrics import MetricWarning, compare, score
from dcase2022_task3_seld_metrics.__main__ import main
from tests.metrics_golden import folder as golden_folder
from tests.test_metrics_golden import assert_jackknife, assert_scores
from tests.test_metrics_properties import random_scene
from util.cli import run_main
from util.errors import InputError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def golden():
    return golden_folder("dcase2023_2024")


def test_everything_in_the_json(golden, tmp_path, capsys):
    out = tmp_path / "deep" / "out.json"
    argv = [str(golden / "ref"), str(golden / "pred_7col_cartesian"), "--edition", "2024", "--average", "macro"]
    main([*argv, "--jackknife", "--per-file", "--group-by", "room", "--json", str(out)])
    content = json.loads(out.read_text())
    expected = json.loads((golden / "expected_2024.json").read_text())
    due = expected["frame_distance_reldist1_macro"]
    known = {key: content[key] for key in ("overall", "classwise", "counts")}
    nan_for_null = json.loads(json.dumps(known).replace("null", "NaN"))
    assert_scores(nan_for_null, due)
    assert_jackknife(json.loads(json.dumps(content["jackknife"]).replace("null", "NaN")), due["jackknife"])
    assert set(content["per_file"]) == set(expected["per_file_frame_distance_reldist1_macro"])
    assert list(content["groups"]) == ["1", "2", "3", "4", "10", "11", "20"]  # rooms 2 and 20 stay apart (Q12)
    assert content["classwise"]["AngE"][12] is None
    printed = capsys.readouterr().out
    for words in (
        "female speech",
        "12 of 13 classes that occur",
        "95 % interval",
        "distance (m: by their size, median",
        "fold4_room4_mix008",
    ):
        assert words in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--edition", "2019"], "error: "),
        (["--edition", "2031"], "unknown edition"),
        (["--layout", "m22"], "is Cartesian (6 columns: frame,class,source,x,y,z)"),
        (["--edition", "2024"], "has no distance"),
        (["--classes", "nowhere.txt"], "no such file"),
    ],
)
def test_bad_input_is_one_line_and_status_2(golden, arguments, words, capsys):
    argv = [str(golden / "ref"), str(golden / "pred_4col_polar"), *arguments]
    assert run_main(main, argv) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("error: ")
    assert words in error[-1]


def test_module_runs(golden):
    argv = [sys.executable, "-m", "dcase2022_task3_seld_metrics", golden / "ref", golden / "pred_4col_polar"]
    done = subprocess.run([*argv, "--layout", "m23s"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "DCASE2023" in done.stdout
    failed = subprocess.run([*argv[:4], "nowhere"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stderr) == (2, "error: nowhere: no such folder\n")


def test_import_is_light():
    code = "import sys, dcase2022_task3_seld_metrics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_warnings_and_strict(tmp_path, capsys):
    for folder, text in (("ref", "0,1,0,10,20\n5,1,0,10,20\n"), ("pred", "-1,1,0,0.9,0.2,0.3\n0,1,0,0.9,0.2,0.3\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.csv").write_text(text)
    argv = [str(tmp_path / "ref"), str(tmp_path / "pred"), "--edition", "2022"]
    assert run_main(main, argv) == 0
    assert "a.csv: line 1: negative frame is not scored" in capsys.readouterr().err
    assert run_main(main, [*argv, "--strict"]) == 2
    assert "a.csv: line 1: negative frame" in capsys.readouterr().err


def scored(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Status, output, errors and warnings without the bar."""
    status = run_main(main, argv)
    said = capsys.readouterr()
    return status, said.out, "".join(f"{line}\n" for line in said.err.splitlines() if line.startswith(("err", "warn")))


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ("0,1,0,10,20,100\n", ""),
        ("0,1,0,10,20,100\n1,one,0,10,20,100\n", "error: pred/e.csv: line 2: class must be an integer, found 'one'"),
    ],
)
@pytest.mark.parametrize("edition", ["2022", "2019"])
def test_parts_and_processes_change_nothing(last, words, edition, tmp_path, capsys, monkeypatch):
    """Three parts, in one process and in two, say and find what one part does."""
    rows = {"a": "0,1,0,30,20,100\n", "b": "-1,1,0,10,20,100\n\n", "c": "0,1,0,1.5,20,100\n", "d": "", "e": last}
    pred, ref = tmp_path / "pred", tmp_path / "ref"
    pred.mkdir()
    ref.mkdir()
    for name, text in rows.items():
        if edition == "2019":
            text = text.replace(",1,0,", ",1,").replace(",one,0,", ",one,").replace("1.5", "0").replace(",100", "")
        (pred / f"{name}.csv").write_text(text)
        events = "".join(f"{kind},{number},{number + 1},10,20,1\n" for number, kind in enumerate(("cough", "laughter")))
        events = f"sound_event_recording,start_time,end_time,ele,azi,dist\n{events}" + "\n" * (name == "d")
        (ref / f"{name}.csv").write_text(events if edition == "2019" else "0,1,0,10,20,100\n7,2,1,10,20,100\n")
    monkeypatch.chdir(tmp_path)
    argv = ["ref", "pred", "--edition", edition]
    one = scored(argv, capsys)
    assert "warning: pred/b.csv: line 2: blank line at the end is skipped" in one[2]
    assert (one[0], words in one[2]) == (2 if words else 0, True)
    assert edition != "2019" or "warning: ref/d.csv: line 4: blank line" in one[2]
    monkeypatch.setattr("dcase2022_task3_seld_metrics.parts.PART", 2)
    assert scored(argv, capsys) == one
    assert scored([*argv, "--workers", "2"], capsys) == one


def test_class_names_from_a_file(golden, tmp_path, capsys):
    names = tmp_path / "classes.txt"
    names.write_text("\n".join(f"sound {index}" for index in range(13)))
    main([str(golden / "ref"), str(golden / "pred_4col_polar"), "--classes", str(names)])
    assert "sound 12" in capsys.readouterr().out


def test_compare_command(golden, tmp_path, capsys):
    out = tmp_path / "out.json"
    folders = [str(golden / name) for name in ("ref", "pred_7col_cartesian", "pred_4col_polar")]
    main(["compare", *folders, "--json", str(out)])
    content = json.loads(out.read_text())
    assert content["difference_by_room"]["LE"]["difference"] == pytest.approx(content["b"]["LE"] - content["a"]["LE"])
    assert content["rooms"] == ["10", "11", "1", "20", "2", "3", "4"]
    assert "by room (7)" in capsys.readouterr().out


def test_difference_is_paired():
    references, predictions = random_scene(11)
    worse = {name: table[table.frame % 4 > 0] for name, table in predictions.items()}
    both = compare(references, predictions, worse, edition="2022", class_count=4)
    whole = [score(references, tables, edition="2022", class_count=4) for tables in (predictions, worse)]
    for name, one in both.by_recording.items():
        assert one.value == pytest.approx(whole[1].overall[name] - whole[0].overall[name])
        left_out = [result.jackknife.overall[name].leave_one_out for result in whole]
        np.testing.assert_allclose(one.leave_one_out, left_out[1] - left_out[0], atol=1e-12)
        # every recording is its own room here
        np.testing.assert_allclose(one.low, both.by_group[name].low)
    same = compare(references, predictions, predictions, edition="2022", class_count=4)
    assert all(one.low == one.high == 0 for one in same.by_recording.values())


def test_rooms_leave_out_all_their_recordings():
    references, predictions = {}, {}
    for seed in range(3):
        for name, table in zip("ab", zip(*(side.values() for side in random_scene(seed)))):
            references[f"fold1_room{seed}_{name}"], predictions[f"fold1_room{seed}_{name}"] = table
    worse = {name: table[table.frame % 3 > 0] for name, table in predictions.items()}
    both = compare(references, predictions, worse, edition="2024", class_count=4)
    assert {room: len(members) for room, members in both.groups.items()} == {"0": 2, "1": 2, "2": 2}
    for index, room in enumerate(both.groups):
        kept = [name for name in references if f"room{room}_" not in name]
        values = [result.select(kept).overall["F"] for result in (both.first, both.second)]
        assert both.by_group["F"].leave_one_out[index] == pytest.approx(values[1] - values[0])


def test_compare_on_recordings_that_both_have():
    references, predictions = random_scene(3)
    fewer = dict(list(predictions.items())[1:])
    with pytest.warns(MetricWarning) as told:
        both = compare(references, predictions, fewer, edition="2022", class_count=4)
    assert any("in one of the two only" in str(one.message) for one in told)
    assert both.first.files == both.second.files == tuple(fewer)
    with pytest.warns(MetricWarning), pytest.raises(InputError, match="no recording in common"):
        compare(references, dict(list(predictions.items())[:1]), fewer, edition="2022", class_count=4)


def test_tables_and_files_agree(tmp_path):
    references, predictions = random_scene(5)
    for folder, tables, metre in (("ref", references, 100), ("pred", predictions, 100)):
        (tmp_path / folder).mkdir()
        for name, table in tables.items():
            columns = (table.frame, table.class_index, table.source, table.azimuth_deg, table.elevation_deg)
            rows = zip(*(column.tolist() for column in (*columns, table.distance_m * metre)))
            (tmp_path / folder / f"{name}.csv").write_text("".join(",".join(map(repr, row)) + "\n" for row in rows))
    for edition in ("2023", "2024", "2024-segment", "2021"):
        from_files = score(tmp_path / "ref", tmp_path / "pred", edition=edition, class_count=4)
        from_tables = score(references, predictions, edition=edition, class_count=4)
        assert from_files.files == tuple(f"{name}.csv" for name in from_tables.files)
        assert from_files.overall == pytest.approx(from_tables.overall, rel=1e-9, abs=1e-9, nan_ok=True)


def test_benchmark_runs(capsys):
    benchmark.main(["--files", "2", "--frames", "300", "--repeats", "1"])
    assert "same scores" in capsys.readouterr().out


def test_rows_of_results():
    references, predictions = random_scene(5)
    result = score(references, predictions, class_count=4)
    *classes, overall, occurring = result.rows()
    assert [row["class"] for row in classes] == ["class 0", "class 1", "class 2", "class 3"]
    assert [row["F"] for row in classes] == result.classwise["F"].tolist()
    assert overall == {"class": "overall", **result.overall}
    assert occurring["class"] == "occurring classes" and occurring["F"] == result.occurring["F"]
    assert occurring.keys() == overall.keys() == classes[0].keys()
    assert [row["recording"] for row in result.rows("per_file")] == list(result.files)
    with pytest.raises(ValueError, match="classwise"):
        result.rows("rooms")
