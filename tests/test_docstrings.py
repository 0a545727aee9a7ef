"""The examples of docstrings do what they show."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
SHOWN = sorted(
    path.relative_to(PROJECT).with_suffix("").as_posix().replace("/", ".")
    for folder in ("util", "output_format", "dcase2022_task3_seld_metrics")
    for path in (PROJECT / folder).glob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", SHOWN)
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted and not found.failed


def test_core_functions_have_examples():
    expected = {"angles": 4, "events": 3, "intervals": 2, "candidates": 1, "sed_doa": 1, "scoring": 1, "assignment": 1}
    count = {name.split(".")[-1]: 0 for name in SHOWN}
    for name in SHOWN:
        tests = doctest.DocTestFinder().find(importlib.import_module(name))
        count[name.split(".")[-1]] = sum(bool(test.examples) for test in tests)
    assert all(count.get(name, 0) >= least for name, least in expected.items()), count
