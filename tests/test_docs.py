"""README and docs: every file and picture that they link to exists, every command line that they show is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import seld
from util.arguments import jobs_of
from util.flags import names_of

PROJECT = Path(__file__).resolve().parents[1]
TESTS = PROJECT / "tests" / "README.md"
PAGES = [PROJECT / "README.md", TESTS, *sorted((PROJECT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_commands_name_files_that_exist(page):
    text = page.read_text()
    named = re.findall(r"(?:bash|python) ((?:script|bench)/[\w./]+|\w+\.py)", text)
    modules = re.findall(r"python -m ([\w.]+)", text)
    for name in named:
        assert (PROJECT / name).is_file(), name
    for module in modules:
        path = PROJECT / module.replace(".", "/")
        ours = path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
        assert ours or module in ("pip", "venv", "pytest"), module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_flags_of_commands_are_taken_by_their_jobs(page):
    text = re.sub(r"\\\n\s*", "", page.read_text())
    for command in re.findall(r"^ {4}(?:.*\| )?python seld\.py (.*)$", text, re.M):
        words = shlex.split(command, comments=True)
        assert len(jobs_of(seld.parse(words))) == 1, command


def test_what_dataset_json_may_say_is_documented():
    text = (PROJECT / "docs/data.md").read_text()
    assert all(f"`{name}`" in text for name in names_of(lambda flag: flag.dataset))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_no_placeholder_is_left(page):
    assert not re.findall(r"@[A-Z]+@", page.read_text())


def test_every_test_file_stands_in_the_table():
    named = re.findall(r"`((?:browser/)?test_\w+\.py)`", TESTS.read_text())
    files = [path.relative_to(TESTS.parent).as_posix() for path in TESTS.parent.rglob("test_*.py")]
    assert sorted(named) == sorted(files)
