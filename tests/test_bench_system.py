"""The comparison of docs/system.md: rows change the code for as long as they are trained, the table is right."""

import pytest

import net.avseld
import system.avseld
from bench import system as bench


@pytest.mark.parametrize("name", list(bench.ROWS))
def test_a_row_changes_what_it_says_and_leaves_it_as_it_was(name):
    row = bench.ROWS[name]
    before = net.avseld.CONTEXT, net.avseld.firsthand, system.avseld.AvSeld
    with bench.changed(row):
        inside = net.avseld.CONTEXT, net.avseld.firsthand, system.avseld.AvSeld
        constants = net.avseld._EQUALISED_DB, net.avseld._SHIFT
    changes = sum(one is not other for one, other in zip(before, inside)) + (constants == (0.0, 0))
    assert changes == len(row.changes()) or (name == "no_equalisation" and changes == 1)
    assert changes or row.flags or name in ("avseld", "crnn", "vit")
    assert (net.avseld.CONTEXT, net.avseld.firsthand, system.avseld.AvSeld) == before
    assert net.avseld._EQUALISED_DB > 0


def test_the_table_has_mean_and_spread_by_row_and_boxes():
    line = {
        "row": "avseld",
        "minutes": "4.0",
        "iterations": "10",
        "LE": "9",
        "LR": "5",
        "F_people": "1",
        "LE_people": "2",
    }
    lines = [
        {**line, "seed": "0", "boxes": "own", "F": "10"},
        {**line, "seed": "1", "boxes": "own", "F": "20"},
        {**line, "seed": "0", "boxes": "empty", "F": "7"},
        {**line, "row": "crnn", "seed": "0", "boxes": "own", "F": "3"},
    ]
    shown = bench.table(lines).splitlines()[2:]
    assert [row.split("|")[1].split(":")[0].strip() for row in shown] == ["`avseld`", "`avseld`", "`crnn`"]
    assert "15.0 ± 7.1" in shown[0] and "| own | 2 |" in shown[0] and "| empty | 1 |" in shown[1]
