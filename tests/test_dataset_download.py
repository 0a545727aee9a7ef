"""`python -m dataset list` and `download`: resumed, checked, joined, unpacked; and what can go wrong on the way."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import struct
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import util.download
from dataset.__main__ import main as dataset
from dataset.catalogue import CATALOGUE
from dataset.layouts import LAYOUTS, DataRoot
from detection.models import URL_VARIABLE as YOLOX_VARIABLE
from tests.local_records import Records, served
from util.cli import run_main
from util.errors import InputError
from util.split_zip import open_zip


def wav(seed: int, channels: int = 4, samples: int = 600) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).standard_normal((samples, channels)) * 0.1
    soundfile.write(buffer, noise, 24000, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def zipped(files: dict[str, bytes], *, stored: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def split(whole: bytes, count: int) -> list[bytes]:
    """A zip file -> the disks of a split archive, as `zip -s` makes them: places count from the start of each disk."""
    whole = b"PK\x07\x08" + whole  # the mark of split archives; all places are four later
    end = whole.rindex(b"PK\x05\x06")
    entries, _, directory_at = struct.unpack("<HII", whole[end + 10 : end + 20])
    directory_at += 4
    cuts = [directory_at * number // count for number in range(count)]
    directory, at = bytearray(whole[directory_at:end]), 0
    for _ in range(entries):
        (offset,) = struct.unpack("<I", directory[at + 42 : at + 46])
        disk = max(number for number, cut in enumerate(cuts) if cut <= offset + 4)
        directory[at + 34 : at + 36] = struct.pack("<H", disk)
        directory[at + 42 : at + 46] = struct.pack("<I", offset + 4 - cuts[disk])
        at += 46 + sum(struct.unpack("<HHH", directory[at + 28 : at + 34]))
    tail = bytearray(whole[end:])
    tail[4:8] = struct.pack("<HH", count - 1, count - 1)
    tail[16:20] = struct.pack("<I", directory_at - cuts[-1])
    bodies = [whole[a:b] for a, b in zip(cuts, [*cuts[1:], directory_at])]
    bodies[-1] += bytes(directory) + bytes(tail)
    return bodies


FOA = {f"foa_dev/dev-train/fold1_room1_mix00{n}.wav": wav(n) for n in range(1, 5)}
FOA |= {"foa_dev/dev-val/fold5_room1_mix001.wav": wav(8), "foa_dev/dev-test/fold6_room1_mix001.wav": wav(9)}
LABELS = {name.replace("foa", "metadata").replace(".wav", ".csv"): b"0,1,0,10,20\n" for name in FOA}
TABLE = CATALOGUE["nigens2021"]


@pytest.fixture()
def records(monkeypatch):
    """The record of TAU-NIGENS 2021 with small archives of the same form: foa_dev in two parts, the others in one."""
    first, last = split(zipped(FOA), 2)
    mic_first, mic_last = split(zipped({"mic_dev/dev-train/fold1_room1_mix001.wav": wav(1)}), 2)
    small = {
        "foa_dev.z01": first,
        "foa_dev.zip": last,
        "metadata_dev.zip": zipped(LABELS),
        "foa_eval.zip": zipped({"foa_eval/eval-test/mix001.wav": wav(30)}),
        "metadata_eval.zip": zipped({"metadata_eval/eval-test/mix001.csv": b"0,1,0,10,20\n"}),
        "mic_dev.z01": mic_first,
        "mic_dev.zip": mic_last,
        "mic_eval.zip": zipped({"mic_eval/eval-test/mix001.wav": wav(30)}),
    }
    with served(Records({TABLE.record: small})) as running:
        monkeypatch.setenv("AV_SELD_ZENODO_URL", running.url)
        monkeypatch.setattr(util.download, "PAUSE_S", 0.01)
        monkeypatch.setattr(util.download, "_BLOCK", 50)
        yield running


ONLY = ["--only", "foa_dev,metadata_dev", "--quiet"]


def got(root: Path) -> dict[str, bytes]:
    skipped = ("downloads.json", "dataset.json")
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name not in skipped and "list_dataset" not in path.parts
    }


def test_a_data_set_is_fetched_joined_and_unpacked(records, tmp_path, capsys):
    root = tmp_path / "data"
    assert run_main(dataset, ["download", "nigens2021", "--to", str(root), *ONLY]) == 0
    said = capsys.readouterr().out
    assert "to download: " in said and "disk: about " in said and "CC BY-NC 4.0" in said and "believed" in said
    assert got(root) == {**FOA, **LABELS}  # nothing else is left: no archive, no part, no half-written file
    made = DataRoot(root)
    assert made.layout.name == "nigens2021"
    assert len(made.audio_files("foa")) == len(made.layout.label_files(root)) == 6
    assert json.loads((root / "dataset.json").read_text())["licence"] == "CC BY-NC 4.0"
    # again: nothing is asked for but the record; then the rest is added
    before = len(records.asked)
    assert run_main(dataset, ["download", "nigens2021", "--to", str(root), *ONLY]) == 0
    assert len(records.asked) == before and "nothing to do" in capsys.readouterr().out
    assert run_main(dataset, ["download", "nigens2021", "--to", str(root), "--quiet"]) == 0
    assert "3 of 8 files are there already" in capsys.readouterr().out
    assert {Path(name).parts[0] for name in got(root)} == {
        "foa_dev", "foa_eval", "metadata_dev", "metadata_eval", "mic_dev", "mic_eval"}  # fmt: skip


def test_what_was_deleted_is_fetched_again_and_nothing_else_is_touched(records, tmp_path, capsys):
    root = tmp_path / "data"
    command = ["download", "nigens2021", "--to", str(root), *ONLY]
    assert run_main(dataset, command) == 0
    gone, edited = root / next(iter(FOA)), root / list(FOA)[1]
    gone.unlink()
    edited.write_bytes(b"mine")
    shutil.rmtree(root / "metadata_dev")
    capsys.readouterr()
    asked = len(records.asked)
    assert run_main(dataset, [*command, "--plan"]) == 0 and len(records.asked) == asked
    said = capsys.readouterr().out
    assert "foa_dev: 1 of its files are gone, as foa_dev/dev-train/fold1_room1_mix001.wav" in said
    assert "metadata_dev: 6 of its files are gone" in said and "to download: " in said
    assert run_main(dataset, command) == 0
    assert sorted(name for name, _ in records.asked[asked:]) == ["foa_dev.z01", "foa_dev.zip", "metadata_dev.zip"]
    assert got(root) == {**FOA, **LABELS, list(FOA)[1]: b"mine"}
    assert run_main(dataset, command) == 0 and "nothing to do" in capsys.readouterr().out
    # archives that were kept are not fetched again
    shutil.rmtree(root)
    assert run_main(dataset, [*command, "--keep-archives"]) == 0
    gone.unlink()
    asked = len(records.asked)
    assert run_main(dataset, [*command, "--keep-archives"]) == 0
    assert len(records.asked) == asked and got(root).items() >= {**FOA, **LABELS}.items()
    # of what an earlier version has fetched nobody knows what it held
    known = json.loads((root / "downloads.json").read_text())
    for file in known["nigens2021"].values():
        file.pop("holds", None)
    (root / "downloads.json").write_text(json.dumps(known))
    gone.unlink()
    assert run_main(dataset, command) == 0 and not gone.exists()


@pytest.mark.parametrize("known", ["[]", "[1]", "[[]]", '{"a": 1}', '{"a": {"holds": "b"}}', '{"a": {"holds": [1]}}'])
def test_what_remembers_downloads_and_is_damaged_is_named(known, records, tmp_path, capsys):
    (tmp_path / "downloads.json").write_text(known if known == "[]" else f'{{"nigens2021": {known}}}')
    assert run_main(dataset, ["download", "nigens2021", "--to", str(tmp_path), "--plan", *ONLY]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "downloads.json: must be a json object" in line


def test_plan_says_what_it_needs_and_fetches_nothing(records, tmp_path, capsys):
    root = tmp_path / "data"
    assert run_main(dataset, ["download", "nigens2021", "--to", str(root), "--plan", *ONLY]) == 0
    assert "disk: about" in capsys.readouterr().out and not records.asked and not root.exists()


def test_a_broken_transfer_goes_on_where_it_broke(records, tmp_path):
    size = len(records.files[TABLE.record]["foa_dev.z01"])
    records.breaks["foa_dev.z01"] = [1000, 500, 50]
    root = tmp_path / "data"
    assert run_main(dataset, ["download", "nigens2021", "--to", str(root), *ONLY]) == 0
    ranges = [asked for name, asked in records.asked if name == "foa_dev.z01"]
    assert ranges == [None, "bytes=1000-", "bytes=1500-", "bytes=1550-"] and size > 2000
    assert got(root) == {**FOA, **LABELS}


def test_an_interrupted_command_goes_on(records, tmp_path, capsys):
    records.breaks["foa_dev.z01"] = [700] + [0] * 4
    root = tmp_path / "data"
    assert run_main(dataset, ["download", "nigens2021", "--to", str(root), *ONLY]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert "broke off 5 times" in line and "goes on from 0.0 MB" in line
    assert sorted(path.name for path in root.rglob("*") if path.is_file()) == [".foa_dev.z01.part"]
    asked = len(records.asked)
    assert run_main(dataset, ["download", "nigens2021", "--to", str(root), *ONLY]) == 0
    assert records.asked[asked] == ("foa_dev.z01", "bytes=700-") and got(root) == {**FOA, **LABELS}


@pytest.mark.parametrize("ranges", ["ignored", "refused", "shifted"])
def test_servers_without_ranges_send_all_of_it_again(records, tmp_path, ranges):
    records.ranges = ranges
    records.breaks["metadata_dev.zip"] = [300]
    root = tmp_path / "data"
    assert run_main(dataset, ["download", "nigens2021", "--to", str(root), "--only", "metadata_dev", "--quiet"]) == 0
    assert got(root) == LABELS
    assert [asked for name, asked in records.asked][:2] == [None, "bytes=300-"]


def test_a_server_that_is_busy_is_asked_again(records, tmp_path):
    records.status["metadata_dev.zip"] = [503, 429]
    root = tmp_path / "data"
    assert run_main(dataset, ["download", "nigens2021", "--to", str(root), "--only", "metadata_dev", "--quiet"]) == 0
    assert len(records.asked) == 3
    records.status["foa_eval.zip"] = [403]
    assert run_main(dataset, ["download", "nigens2021", "--to", str(root), "--only", "foa_eval", "--quiet"]) == 2
    assert len(records.asked) == 4


def test_wrong_checksums_are_not_kept(records, tmp_path, capsys):
    records.checksums["metadata_dev.zip"] = "md5:" + "0" * 32
    root = tmp_path / "data"
    options = ["download", "nigens2021", "--to", str(root), "--only", "metadata_dev", "--quiet"]
    assert run_main(dataset, options) == 2
    assert "its checksum is not md5:0000" in capsys.readouterr().err
    assert not [path for path in root.rglob("*") if path.is_file()]
    del records.checksums["metadata_dev.zip"]
    assert run_main(dataset, options) == 0 and got(root) == LABELS


def test_the_table_is_believed_where_the_record_cannot_be_reached(records, tmp_path, capsys, monkeypatch):
    records.listed = False
    root = tmp_path / "data"
    options = ["download", "nigens2021", "--to", str(root), "--only", "metadata_dev", "--quiet"]
    assert run_main(dataset, options) == 2  # of the real size and sum: this is another file
    said = capsys.readouterr()
    assert "record 5476980 cannot be reached" in said.out and "1.9 MB" in said.out
    assert "broke off 5 times" in said.err or "another file" in said.err
    assert run_main(dataset, ["download", "ansim", "--to", str(root), "--quiet"]) == 2  # no table has its files
    assert "cannot be reached, and nothing else says what files there are" in capsys.readouterr().err
    monkeypatch.setenv("AV_SELD_ZENODO_URL", "http://127.0.0.1:9")  # nobody listens
    assert run_main(dataset, options) == 2
    assert "error: http://127.0.0.1:9" in capsys.readouterr().err


def test_no_disk_is_said_before_anything_is_fetched(records, tmp_path, capsys, monkeypatch):
    root = tmp_path / "data"
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    assert run_main(dataset, ["download", "nigens2021", "--to", str(root), "--quiet"]) == 2
    assert "MB of disk, 1.0 kB are free; --only foa_dev,metadata_dev takes less" in capsys.readouterr().err
    assert not root.exists() and not records.asked


def test_a_disk_that_fills_while_unpacking_leaves_no_half_files(records, tmp_path, capsys, monkeypatch):
    root = tmp_path / "data"
    import dataset.download as module

    def full(opened, entry, path, archive, bar):
        if "fold6" in entry.filename:
            raise OSError(28, "No space left on device")
        plain(opened, entry, path, archive, bar)

    plain = module._extract
    monkeypatch.setattr(module, "_extract", full)
    assert run_main(dataset, ["download", "nigens2021", "--to", str(root), *ONLY]) == 2
    assert "No space left" in capsys.readouterr().err
    assert sorted(path.name for path in root.rglob("*") if path.is_file()) == ["foa_dev.z01", "foa_dev.zip"]
    monkeypatch.setattr(module, "_extract", plain)
    asked = len(records.asked)
    assert run_main(dataset, ["download", "nigens2021", "--to", str(root), *ONLY]) == 0
    assert [name for name, _ in records.asked[asked:]] == ["metadata_dev.zip"] and got(root) == {**FOA, **LABELS}


def test_archives_stay_where_asked(records, tmp_path):
    root = tmp_path / "data"
    options = ["--only", "metadata_dev", "--quiet", "--keep-archives"]
    assert run_main(dataset, ["download", "nigens2021", "--to", str(root), *options]) == 0
    assert (root / "archives" / "metadata_dev.zip").is_file()


@pytest.mark.parametrize(
    ("name", "content", "rule"),
    [
        ("metadata_dev.zip", b"no archive at all", "is no zip archive that can be read"),
        ("metadata_dev.zip", zipped({"../../evil.csv": b"x"}), "would land outside of the folder: ../../evil.csv"),
        ("metadata_dev.zip", zipped({"/evil.csv": b"x"}), "would land outside of the folder"),
        ("metadata_dev.zip", zipped({"a/metadata_dev/x": b"1", "metadata_dev/x": b"2"}), "two files for one place"),
        ("metadata_dev.zip", zipped({"x.csv": b"1" * 999}, stored=True).replace(b"11111", b"11211", 1), "is damaged"),
        ("foa_dev.z01", b"something else" * 100, "foa_dev.zip"),
        ("foa_dev.zip", split(zipped(FOA), 3)[2], "is the last of 3 parts of a split archive, found 2"),
    ],
)  # fmt: skip
def test_damaged_archives_are_one_line(records, tmp_path, capsys, name, content, rule):
    records.files[TABLE.record][name] = content
    root = tmp_path / "data"
    assert run_main(dataset, ["download", "nigens2021", "--to", str(root), *ONLY]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert rule in line
    inside = [path for path in root.rglob("*") if path.is_file() and path.parent.name not in ("archives",)]
    assert not [
        path for path in inside if "dev" in path.parts[-2] and name.startswith("metadata") and "foa" not in str(path)
    ]
    assert not (tmp_path / "evil.csv").exists()


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["starss24"], "no data set 'starss24'; known are starss23, starss22"),
        (["nigens2021", "--only", "video_dev"], "--only: nigens2021 has no video_dev; it has foa_dev, foa_eval"),
        (["nigens2021", "--to", "FILE"], "is a file; --to needs a folder"),
    ],
)
def test_bad_options_are_one_line(records, tmp_path, capsys, monkeypatch, options, rule):
    monkeypatch.chdir(tmp_path)
    Path("FILE").write_text("x")
    assert run_main(dataset, ["download", "--quiet", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert rule in line and not records.asked


def test_pieces_of_one_zip_go_into_the_layout(tmp_path, monkeypatch):
    """DCASE2024: .zip.001 ... are pieces of one file, whatever lies above the layout's folders inside is left away."""
    row = CATALOGUE["synthetic2024"]
    inside = {"DCASE Task 3/foa_dev/dev-train-synth/fold1_room1_mix001.wav": wav(3), "DCASE Task 3/notes.txt": b"hello"}
    whole = zipped(inside, stored=True)
    names = [file.name for file in row.files]
    pieces = {name: whole[len(whole) * n // 5 : len(whole) * (n + 1) // 5] for n, name in enumerate(names)}
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "dataset.json").write_text('{"name": "STARSS23", "layout": "starss23", "batch_size": 4}')
    with served(Records({row.record: pieces})) as running:
        monkeypatch.setenv("AV_SELD_ZENODO_URL", running.url)
        assert run_main(dataset, ["download", row.name, "--to", str(tmp_path / "d"), "--quiet"]) == 0
    assert got(tmp_path / "d") == {
        "foa_dev/dev-train-synth/fold1_room1_mix001.wav": wav(3), "DCASE Task 3/notes.txt": b"hello"}  # fmt: skip
    about = json.loads((tmp_path / "d" / "dataset.json").read_text())
    assert about["layout"] == "dcase2024" and about["batch_size"] == 4  # a root of STARSS23 that it joins


def test_files_that_only_the_record_knows(tmp_path, monkeypatch):
    """TUT Sound Events 2018: no table has the names; an archive without its folder inside gets none either."""
    row = CATALOGUE["ansim"]
    files = {"ov1_split1.zip": zipped({"wav_ov1_split1_30db/train_1_desc_30.wav": wav(1)}), "README.md": b"read me"}
    with served(Records({row.record: files})) as running:
        monkeypatch.setenv("AV_SELD_ZENODO_URL", running.url)
        assert run_main(dataset, ["download", "ansim", "--to", str(tmp_path / "d"), "--quiet"]) == 0
    assert set(got(tmp_path / "d")) == {"wav_ov1_split1_30db/train_1_desc_30.wav", "README.md"}
    assert DataRoot(tmp_path / "d").layout.name == "ansim"


def test_what_the_record_does_not_list_is_left_out(records, tmp_path, capsys):
    del records.files[TABLE.record]["mic_eval.zip"]
    root = tmp_path / "data"
    assert run_main(dataset, ["download", "nigens2021", "--to", str(root), "--only", "metadata_dev", "--quiet"]) == 0
    assert "record 5476980 does not list mic_eval.zip: it is left out" in capsys.readouterr().out
    assert run_main(dataset, ["download", "nigens2021", "--to", str(root), "--only", "mic_eval", "--quiet"]) == 2
    assert "--only: nigens2021 has no mic_eval; it has foa_dev" in capsys.readouterr().err


def test_a_part_that_only_the_record_knows_is_fetched_too(records, tmp_path):
    bodies = split(zipped(FOA), 3)
    records.files[TABLE.record] |= dict(zip(("foa_dev.z01", "foa_dev.z02", "foa_dev.zip"), bodies))
    root = tmp_path / "data"
    assert run_main(dataset, ["download", "nigens2021", "--to", str(root), "--only", "foa_dev", "--quiet"]) == 0
    assert got(root) == FOA


@pytest.mark.parametrize("name", ["..", "a\\b.zip", ".hidden", "../up.zip"])
def test_names_that_are_none_are_no_record(tmp_path, monkeypatch, capsys, name):
    row = CATALOGUE["ansim"]
    with served(Records({row.record: {name: b"x"}})) as running:
        monkeypatch.setenv("AV_SELD_ZENODO_URL", running.url)
        assert run_main(dataset, ["download", "ansim", "--to", str(tmp_path / "d"), "--quiet"]) == 2
    assert "cannot be reached, and nothing else says" in capsys.readouterr().err and not (tmp_path / "d").exists()


def test_weights_go_to_the_cache_and_unknown_checksums_are_said(tmp_path, monkeypatch, capsys):
    row = CATALOGUE["pann"]
    monkeypatch.setenv("AV_SELD_CACHE", str(tmp_path / "cache"))
    with served(Records({row.record: {row.files[0].name: b"weights"}}, checksums={row.files[0].name: None})) as running:
        monkeypatch.setenv("AV_SELD_ZENODO_URL", running.url)
        assert run_main(dataset, ["download", "pann", "--quiet"]) == 0
    assert (tmp_path / "cache" / row.files[0].name).read_bytes() == b"weights"
    assert "no checksum is known of Cnn14" in capsys.readouterr().out


def test_detectors_come_from_a_server_without_records(tmp_path, monkeypatch, capsys):
    """YOLOX: sums are those of the table, a transfer that breaks off goes on, another file is not kept."""
    row = CATALOGUE["yolox"]
    contents = {source.name: f"weights of {source.name}".encode() * 40 for source in row.files}
    sums = {name: f"sha256:{hashlib.sha256(content).hexdigest()}" for name, content in contents.items()}
    small = tuple(replace(one, size=len(contents[one.name]), checksum=sums[one.name]) for one in row.files)
    monkeypatch.setitem(CATALOGUE, "yolox", replace(row, files=small))
    monkeypatch.setattr(util.download, "PAUSE_S", 0.01)
    monkeypatch.setattr(util.download, "_BLOCK", 50)
    (first, *others) = contents
    with served(Records({0: dict(contents)}, breaks={first: [100]}, listed=False)) as running:
        monkeypatch.setenv(YOLOX_VARIABLE, f"{running.url}/plain/0")
        command = ["download", "yolox", "--to", str(tmp_path / "to"), "--quiet"]
        assert run_main(dataset, command) == 0
        assert {path.name: path.read_bytes() for path in (tmp_path / "to").glob("*.onnx")} == contents
        assert [asked for name, asked in running.asked if name == first] == [None, "bytes=100-"]
        asked = len(running.asked)
        assert run_main(dataset, command) == 0 and len(running.asked) == asked  # all of it is there

        for gone in (others[0], "downloads.json"):
            (tmp_path / "to" / gone).unlink()
        running.files[0][others[0]] = contents[others[0]][::-1]
        capsys.readouterr()
        assert run_main(dataset, command) == 2
        assert "sha256" in capsys.readouterr().err and not (tmp_path / "to" / others[0]).exists()


def test_the_list_names_every_set(capsys):
    assert run_main(dataset, ["list"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n{name} " in f"\n{text}" for name in CATALOGUE) and "?" in text
    assert all(row.citation in text and row.title in text for row in CATALOGUE.values())
    for name, row in CATALOGUE.items():
        assert row.layout is None or row.layout in LAYOUTS
        assert run_main(dataset, ["list", name]) == 0
        shown = capsys.readouterr().out
        assert row.citation in shown and all(file.name in shown for file in row.files)
    assert run_main(dataset, ["list", "--json"]) == 0
    assert {one["name"] for one in json.loads(capsys.readouterr().out)} == set(CATALOGUE)
    assert run_main(dataset, ["list", "nothing"]) == 2
    page = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
    assert all(f"`{name}`" in page for name in CATALOGUE)
    # of the data sets of this field, none is missing
    wanted = {
        "starss22",
        "starss23",
        "nigens2020",
        "nigens2021",
        "tau2019",
        "synthetic2024",
        "stereo2025",
        "yolox",
        "pann",
    }
    assert wanted | {"ansim", "resim", "cansim", "cresim", "real", "mansim", "mreal"} == set(CATALOGUE)


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=6), st.integers(2, 5), st.booleans())
@settings(max_examples=40, deadline=None)
def test_split_archives_read_as_the_whole(tmp_path_factory, contents, count, stored):
    folder = tmp_path_factory.mktemp("split")
    files = {f"folder/file{number}.bin": content for number, content in enumerate(contents)}
    bodies = split(zipped(files, stored=stored), count)
    parts = [folder / f"x.z{number:02d}" for number in range(1, count)] + [folder / "x.zip"]
    for path, body in zip(parts, bodies):
        path.write_bytes(body)
    with open_zip(parts) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files
        assert archive.testzip() is None


@pytest.mark.skipif(shutil.which("zip") is None, reason="the program zip is not installed")
@pytest.mark.parametrize("large", [False, True], ids=["zip", "zip64"])
def test_split_archives_of_the_program_zip(tmp_path, large):
    rng = np.random.default_rng(0)
    content = {f"d/f{number}": rng.bytes(70_000) for number in range(4)}
    for name, data in content.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    form = ["-fz"] if large else []
    if subprocess.run(["zip", "-q", *form, "-s", "64k", "-r", "x.zip", "d"], cwd=tmp_path).returncode:
        pytest.skip(f"this program zip does not know {form or '-s'}")
    parts = [*sorted(tmp_path.glob("x.z[0-9]*")), tmp_path / "x.zip"]
    assert len(parts) > 3
    with open_zip(parts) as archive:
        assert {entry.filename: archive.read(entry) for entry in archive.infolist() if not entry.is_dir()} == content


@given(st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_nonsense_is_no_archive(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("nonsense")
    (folder / "x.z01").write_bytes(b"PK\x07\x08" + content)
    (folder / "x.zip").write_bytes(content[::-1] + b"PK\x05\x06" + content[:30])
    with pytest.raises(InputError):
        open_zip([folder / "x.z01", folder / "x.zip"])
