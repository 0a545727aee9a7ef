"""The table of scores: every score of every edition has its row, and a row says how it is read."""

from __future__ import annotations

import math

import pytest

from dcase2022_task3_seld_metrics import score
from dcase2022_task3_seld_metrics.editions import EDITIONS, TABLE_EDITIONS
from dcase2022_task3_seld_metrics.score_table import JOINT_SCORES, SCORES, SCORES_BY_KEY
from util.events import EventTable

FRAMES = 20
ONE_EVENT = {
    name: EventTable.make(
        frame=range(FRAMES),
        class_index=[0] * FRAMES,
        azimuth_deg=[30.0] * FRAMES,
        elevation_deg=[0.0] * FRAMES,
        distance_m=[1.0] * FRAMES,
        onscreen=[1] * FRAMES,
        frame_s=EDITIONS[name].frame_s,
    )
    for name in TABLE_EDITIONS
}


@pytest.mark.parametrize("edition", TABLE_EDITIONS)
def test_scores_of_every_edition_have_a_row_and_say_which_way_is_better(edition):
    table = ONE_EVENT[edition]
    right = score({"clip": table}, {"clip": table}, edition=edition)
    wrong = score({"clip": table}, {"clip": table.replace(azimuth_deg=table.azimuth_deg + 90)}, edition=edition)
    assert right.overall.keys() <= SCORES.keys() and EDITIONS[edition].best in right.overall
    assert SCORES[EDITIONS[edition].best].beats(
        right.overall[EDITIONS[edition].best], wrong.overall[EDITIONS[edition].best]
    )
    for name, value in right.overall.items():
        assert not SCORES[name].beats(wrong.overall[name], value), name
    if edition in ("2022", "2023"):
        assert set(right.overall) == set(JOINT_SCORES)


def test_nan_is_worse_than_any_value():
    for one in SCORES.values():
        assert one.beats(1e9, math.nan) and not one.beats(math.nan, -1e9) and not one.beats(math.nan, math.nan)
        assert one.beats(0.2, 0.8) == one.low and one.beats(0.8, 0.2) != one.low


def test_values_are_read_in_their_units():
    assert SCORES["F"].line(0.4567) == "F 45.7 %" and SCORES["F"].heading == "F / %"
    assert SCORES["LE"].line(21.34) == "LE 21.3 deg" and SCORES["LE"].axis() == "localisation error / degrees"
    assert SCORES["SELD"].line(0.51234) == "SELD error 0.512" and SCORES["SELD"].better == "lower"
    assert SCORES["ER"].title("20°") == "error rate within 20°" and SCORES["LR"].title("20°") == "localisation recall"


def test_keys_and_scalars_are_those_that_users_of_the_baseline_know():
    tags = {key: SCORES_BY_KEY[key].tag for key in ("SELD_error", "ER", "F", "LE", "LR")}
    assert tags == {
        "SELD_error": "Metrics/0_SELD-error",
        "ER": "Metrics/1_ER-LD",
        "F": "Metrics/2_F-LD",
        "LE": "Metrics/3_LE-CD",
        "LR": "Metrics/4_LR-CD",
    }
    assert len({one.tag for one in SCORES.values()}) == len(SCORES) == len(SCORES_BY_KEY)
