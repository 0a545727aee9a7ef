"""The evaluation page in a real browser: it opens without a message, and its figures hold the numbers of the result."""

from __future__ import annotations

import pytest

from report.analysis import load_evaluation
from report.page import write_report
from tests.browser.conftest import wait_until
from tests.report_material import make_run


def test_figures_hold_the_numbers_of_the_result_file(tmp_path, opened):
    runs = [make_run(tmp_path, "20261121093000"), make_run(tmp_path, "20261121101500", seed=1, drop=0.4)]
    out = tmp_path / "report.html"
    write_report(out, [load_evaluation(run) for run in runs], players=1, progress=False)
    page = opened(out)
    wait_until(page, "document.querySelectorAll('.js-plotly-plot').length === 6")
    for index, run in enumerate(runs):
        lines = (run / "result_dcase2023t3_foa_devtest_0000100.txt").read_text().splitlines()
        overall = dict(zip(("ER", "F", "LE", "LR", "SELD"), map(float, lines[2].split("\t")[1:])))
        drawn = page.evaluate(
            "name => document.getElementById('scores').data.filter(t => t.name === name).map(t => t.x[0])", run.name
        )
        for value, (name, factor) in zip(drawn, (("F", 100), ("ER", 1), ("LE", 1), ("LR", 100), ("SELD", 1))):
            assert value / factor == pytest.approx(overall[name], abs=0.0051)
        table = [[float(value) for value in line.split("\t")[1:]] for line in lines[5:8]]  # the bell does not occur
        classwise = dict(zip(("ER", "F", "LE", "LR", "SELD"), zip(*table)))
        for score, factor in (("F", 100), ("LR", 100), ("LE", 1)):  # one bar per run in each panel, in this order
            bars = page.evaluate(
                "([name, panel]) => document.getElementById('classes').data"
                ".filter(t => t.name === name)[panel].y.slice(0, 3)",
                [run.name, ("F", "LR", "LE").index(score)],
            )
            assert [value / factor for value in bars] == pytest.approx(list(classwise[score]), abs=0.0051)
        for panel, (score, factor) in enumerate((("F", 100), ("LR", 100), ("SELD", 1))):  # at the threshold of the run
            x, y = page.evaluate(
                "([name, panel]) => { const t = document.getElementById('thresholds').data"
                ".filter(t => t.name === name)[panel]; return [t.x, t.y]; }",
                [run.name, panel],
            )
            assert y[x.index(0.3)] / factor == pytest.approx(overall[score], abs=0.0051)
        cells = page.evaluate(
            "name => [...document.querySelectorAll('#s-scores tbody tr')].filter(r => r.cells[0].innerText === name)"
            ".map(r => [...r.cells].slice(1).map(c => parseFloat(c.childNodes[0].textContent)))[0]",
            run.name,
        )
        for value, (name, factor) in zip(cells, (("F", 100), ("ER", 1), ("LE", 1), ("LR", 100), ("SELD", 1))):
            assert value / factor == pytest.approx(overall[name], abs=0.051 if name == "LE" else 0.0056)
        shown = page.inner_text(f'b[data-score="SELD"][data-run="{index}"]')
        assert float(shown) == pytest.approx(overall["SELD"], abs=0.0051)
    rows = page.evaluate("[...document.querySelectorAll('#scores .ytick text')].map(text => text.textContent)")
    assert {run.name for run in runs} <= set(rows)  # not read as numbers
    link = page.locator("#s-clips a").first
    link.click()
    wait_until(page, "window.player !== undefined && player.media.readyState >= 2")
