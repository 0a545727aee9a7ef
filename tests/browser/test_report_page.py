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
        classwise = [float(line.split("\t")[2]) for line in lines[5:8]]
        bars = page.evaluate(
            "name => document.getElementById('classes').data.find(t => t.name === name).y.slice(0, 3)", run.name
        )
        assert [value / 100 for value in bars] == pytest.approx(classwise, abs=0.0051)
        shown = page.inner_text(f'b[data-score="SELD"][data-run="{index}"]')
        assert float(shown) == pytest.approx(overall["SELD"], abs=0.0051)
    rows = page.evaluate("[...document.querySelectorAll('#scores .ytick text')].map(text => text.textContent)")
    assert {run.name for run in runs} <= set(rows)  # not read as numbers
    link = page.locator("#s-clips a").first
    link.click()
    wait_until(page, "window.player !== undefined && player.media.readyState >= 2")
