"""Damaged files are read or refused: a small share of `bench.fuzz_media`."""

import pytest

from bench import fuzz_media


@pytest.mark.parametrize("seed", [3, 4])
def test_damaged_files_are_read_or_refused(seed, capfd):
    assert fuzz_media.main(["--count", "120", "--processes", "1", "--seed", str(seed)]) == 0
    said = capfd.readouterr().out
    assert "120 damaged files" in said and "read" in said and "refused" in said
