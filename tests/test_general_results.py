"""The tables of the general network: made by one command, which goes on where it was interrupted."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import seld
from bench import general_results
from report.general import main as report
from tests.small_data import make_root
from util.audio import write_audio
from util.cli import run_main
from util.files import write_json
from util.microphone_arrays import ARRAYS

SMALL = ["--width", "0.1", "--set", "align_units=8", "-b", "4", "--device", "cpu"]
LENGTHS = ["--module-iter", "2", "--align-iter", "2", "--joint-iter", "2"]


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> tuple[Path, Path]:
    """Joint recordings, and mono ones of the same classes."""
    base = tmp_path_factory.mktemp("roots")
    joint = make_root(base / "joint", train=4, test=1, seconds=2.0, videos=False)
    (joint / "classes.txt").write_text("".join(f"c{index}\n" for index in range(13)))
    mono = base / "mono"
    lines = ["filename,onset_s,offset_s,label,split"]
    for number in range(6):
        sound = 0.1 * np.random.default_rng(number).standard_normal((ARRAYS["mono"].channels, 24000 * 2))
        write_audio(mono / "audio" / f"clip{number}.wav", sound, 24000)
        split = "test" if number == 5 else "train"
        lines += [f"clip{number}.wav,0.2,1.5,c{number},{split}", f"clip{number}.wav,0.5,1.9,c{number + 6},{split}"]
    (mono / "labels.csv").write_text("\n".join(lines) + "\n")
    (mono / "classes.txt").write_text("".join(f"c{index}\n" for index in range(13)))
    write_json(mono / "dataset.json", {"layout": "mono"})
    return joint, mono


@pytest.mark.slow
def test_tables_are_made_and_nothing_is_made_twice(roots, tmp_path, monkeypatch, capsys):
    joint, mono = roots
    called = []

    def quietly(log: Path, *flags: str) -> None:
        called.append(list(flags))
        assert run_main(seld.main, list(flags)) == 0

    monkeypatch.setattr(general_results, "_seld", quietly)
    command = ["--data-root", str(joint), "--mono-root", str(mono), "--out", str(tmp_path / "out"), *LENGTHS, *SMALL]
    command += ["--modules", "sed_t", "doa_iv", "histogram"]
    command += ["--formats", "foa", "--shares", "0.5", "1", "--seeds", "0", "1", "--joint", "general"]
    command += ["--joint-set", "width=0.1", "--joint-set", "align_units=8"]
    assert run_main(general_results.main, command) == 0
    tables = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    rows = [line for line in tables if not line.startswith(("| SED | DOA", "| module", "| recordings"))]
    pairs = [line.split(" | ")[:2] for line in rows if line.startswith(("| SED-T | DOA", "| SED-T | histogram"))]
    assert pairs == [["| SED-T", "DOA-iv"], ["| SED-T", "histogram, untrained"]]
    assert sum("±" in line and line.endswith("| 2 |") for line in rows) == 4  # two shares, two systems, two seeds
    assert {line.split(" | ")[0] for line in rows if "±" in line} == {"| 50 %", "| 100 %"}
    trained = [flags for flags in called if flags[0] == "-train"]
    assert len(trained) == 3 + 2 + 2 + 8
    shares = {flags[flags.index("--share") + 1] for flags in trained if "--share" in flags}
    assert shares == {"0.5", "1"}

    called.clear()
    assert run_main(general_results.main, command) == 0 and called == []
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")] == tables
    (tmp_path / "out" / "joint_share50_seed1" / "trained.json").unlink()
    assert run_main(general_results.main, command) == 0
    assert len(called) == 1 and "--resume" in called[0]  # and is evaluated already
    assert run_main(general_results.main, [*command, "--width", "0.2"]) == 2
    assert "holds runs of other settings" in capsys.readouterr().err
    assert run_main(general_results.main, ["--data-root", str(joint), "--out", str(tmp_path / "x")]) == 2
    assert "table 2 needs --mono-root" in capsys.readouterr().err

    runs = [str(next((tmp_path / "out" / name).glob("2*"))) for name in ("aligned_share50_seed0", "foa_sed_t")]
    assert run_main(report, ["--share", *runs]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"\| 50 % \| SED-T \+ histogram, untrained \|", shown) and "| SED-T | " in shown
