"""Dividing a sound bank by source, recordist and licence."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from simulation import split_bank
from simulation.split_bank import COLUMNS, TABLE, divide, groups_of, is_free
from util.audio import write_audio
from util.cli import run_main
from util.errors import InputError


def row(file: str, source: str, recordist: str = "", licence: str = "CC-BY-4.0", index: str = "0") -> dict[str, str]:
    return dict(zip(COLUMNS, (file, index, source, recordist, licence)))


def bank(folder: Path, rows: list[dict[str, str]]) -> Path:
    rng = np.random.default_rng(0)
    for one in rows:
        (folder / one["file"]).parent.mkdir(parents=True, exist_ok=True)
        write_audio(folder / one["file"], 0.3 * rng.standard_normal((1, 24000)), 24000)
    with open(folder / TABLE, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return folder


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), st.integers(0, 2)), min_size=6, max_size=40),
    st.integers(0, 5),
)
def test_nothing_of_one_source_or_recordist_is_in_two_splits(drawn, seed):
    rows = [row(str(i), f"s{a}", f"r{b}" if b else "", index=str(c)) for i, (a, b, c) in enumerate(drawn)]
    try:
        split = divide(rows, seed=seed)
    except InputError as error:  # the rows of a class hang together
        assert "has one source" in str(error)
        return
    for column in ("source", "recordist"):
        for value in {one[column] for one in rows} - {""}:
            assert len({part for one, part in zip(rows, split) if one[column] == value}) == 1
    assert divide(rows, seed=seed) == split and set(split) <= {"train", "test"}


def test_chains_of_sources_and_recordists_are_one_group():
    rows = [row("a", "s1", "ann"), row("b", "s2", "ann"), row("c", "s2", "bob"), row("d", "s3", "bob"), row("e", "s4")]
    assert len(set(groups_of(rows)[:4])) == 1 and len(set(groups_of(rows))) == 2


@pytest.mark.parametrize(
    ("licence", "free"),
    [
        ("CC-BY-3.0", True),
        ("CC0", True),
        ("GPL-2+", True),
        ("CC-BY-NC-4.0", False),
        ("Creative Commons (variant per clip, see FSD50K / FMA)", False),
        ("CC Sampling+ 1.0", False),
        ("", False),
    ],
)
def test_licences_that_forbid_or_do_not_say(licence, free):
    assert is_free(licence) is free


def test_the_command_writes_two_banks_and_credits(tmp_path, capsys):
    rows = [row(f"0{c}_x/{n}.wav", f"s{c}{n}", index=str(c)) for c in range(2) for n in range(4)]
    rows.append(row("00_x/nc.wav", "other", "", "CC-BY-NC-3.0"))
    out = tmp_path / "split"
    flags = [str(bank(tmp_path / "bank", rows)), "--out", str(out), "--free", "--speeds", "0.8,1"]
    assert run_main(split_bank.main, flags) == 0
    assert "1 of 9 files left out" in capsys.readouterr().out
    heard = {
        part: sorted(path.name for path in (out / part).rglob("*.*") if path.suffix in (".wav", ".flac"))
        for part in ("train", "test")
    }
    assert len(heard["test"]) == 2 and len(heard["train"]) == 12
    slow = next((out / "train").rglob("*_x0.8.flac"))
    assert soundfile.info(slow).frames == pytest.approx(24000 / 0.8, abs=2)
    credits = (out / "credits.md").read_text()
    assert credits.count("CC-BY-4.0") == 6 and "NC" not in credits
    assert run_main(split_bank.main, flags) == 2 and "is not empty" in capsys.readouterr().err


def test_bad_banks_are_named(tmp_path, capsys):
    (tmp_path / "none").mkdir()
    folder = bank(tmp_path / "bank", [row("00_x/a.wav", "s"), row("00_x/b.wav", "t")])
    (folder / "00_x" / "b.wav").unlink()
    for given_bank, rule in (
        (tmp_path / "none", "divided by its table"),
        (folder, "names 00_x/b.wav, which is not there"),
    ):
        assert run_main(split_bank.main, [str(given_bank), "--out", str(tmp_path / "out")]) == 2
        assert rule in capsys.readouterr().err
