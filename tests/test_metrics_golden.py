"""Metrics against what the official programs gave: every golden case, every edition."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from dcase2022_task3_seld_metrics import MetricWarning, Result, pairing, score
from tests import ties
from tests.metrics_golden import edge_cases
from tests.metrics_golden import folder as golden_folder
from util.errors import InputError

EDGE_FILES = ("edge_2022", "edge_2023", "edge_sony", "edge_2024", "edge_2025", "edge_salsa_2020_2021", "edge_2019")
# where the official program crashes and a defined value is due instead of an error (specification, section 8)
DEFINED_INSTEAD = ("empty_reference_file", "blank_line", "all_references_empty", "all_empty")

# rows at one place: several assignments of one total, of which the official program took the one that its processor's
# last bits made the least (2025 measures in whole degrees, where all processors agree)
TIED = ("tied_assignment_identical_positions", "exact_duplicate_rows")


def official(value):
    """A value of a golden file: null is NaN, "inf" and "-inf" are infinities."""
    if isinstance(value, list):
        return np.array([official(item) for item in value], dtype=np.float64)
    return np.nan if value is None else float(value)


ONE_PAIR_DEG = 2e-6  # what the arc cosine of two equal directions may be off, by the last bits of sines and cosines
SUMS_DEG = {"total_DE": "DE_TP", "total_AngE": "DE_TP", "doa_loss_pred": "doa_loss_pred_cnt"}  # of so many pairs


def assert_close(found, expected, name, *, pairs=1.0):
    """Within 1e-9, or what the angles in it may be off: `pairs` of them are summed."""
    degrees = name in ("LE", "AngE", "DOA_error", *SUMS_DEG)
    absolute = ONE_PAIR_DEG * np.maximum(pairs, 1) if degrees else ONE_PAIR_DEG / 180 if name == "SELD" else 1e-9
    found, expected = np.broadcast_arrays(np.asarray(found, dtype=np.float64), official(expected))
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(found[~finite], expected[~finite], err_msg=name)
    limit = np.broadcast_to(absolute + 1e-9 * np.abs(np.where(finite, expected, 0)), expected.shape)
    near = np.abs(np.where(finite, found - np.where(finite, expected, 0), 0)) <= limit
    assert near.all(), f"{name}: found {found}, expected {expected}, within {limit}"


def assert_scores(found: dict, expected: dict) -> None:
    """Compare `overall`, `classwise` and `counts` (any of them) with the tolerances of the golden README."""
    assert set(expected["overall"]) - {"early_stopping"} == set(found["overall"])
    for name, value in found["overall"].items():
        assert_close(value, expected["overall"][name], name)
    assert set(found.get("classwise", {})) == set(expected.get("classwise", {}))
    for name, values in expected.get("classwise", {}).items():
        assert_close(found["classwise"][name], values, name)
    for name, value in expected.get("counts", {}).items():
        if name in ("idss", "TPc", "FPc", "FNc"):
            continue
        if name.startswith("total_") or name == "doa_loss_pred":
            pairs = expected["counts"].get(SUMS_DEG.get(name, ""), 1.0)
            assert_close(found["counts"][name], value, name, pairs=np.asarray(pairs, dtype=np.float64))
        else:
            np.testing.assert_array_equal(found["counts"][name], official(value), err_msg=name)


def assert_jackknife(found: dict, expected: dict) -> None:
    assert found["file_order"] == expected["file_order"]
    assert set(found["overall"]) == set(expected["overall"])
    for name, values in expected["overall"].items():
        for key, value in values.items():
            np.testing.assert_allclose(
                found["overall"][name][key], official(value), rtol=1e-8, atol=1e-8, err_msg=f"{name} {key}"
            )
    for name, value in expected.get("official_returned_point_values", {}).items():
        np.testing.assert_allclose(found["official_returned_point_values"][name], official(value), rtol=1e-8, atol=1e-8)
    assert set(found.get("classwise_conf_interval", {})) == set(expected.get("classwise_conf_interval", {}))
    for name, value in expected.get("classwise_conf_interval", {}).items():
        np.testing.assert_allclose(
            found["classwise_conf_interval"][name], official(value), rtol=1e-8, atol=2e-6, err_msg=name
        )


def assert_result(result: Result, expected: dict) -> None:
    """A result against an entry of an expected*.json, whatever that holds."""
    found = result.to_dict()
    assert_scores(found, expected)
    key = "jackknife_intended" if "jackknife_intended" in expected else "jackknife"
    if key in expected:
        assert_jackknife(result.jackknife.to_dict(), expected[key])


def quiet_score(*args, **kwargs) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)
        return score(*args, **kwargs)


MAIN = [
    # folder, predictions, file, key, keyword arguments
    *(
        ("dcase2022", "pred", "expected.json", f"{average}_{coordinates}", {"edition": "2022", "layout": "m22"})
        for average in ("macro", "micro")
        for coordinates in ("polar", "cartesian")
    ),
    ("dcase2022", "pred", "expected.json", "macro_polar_threshold_10", {"edition": "2022", "layout": "m22"}),
    *(
        (
            "dcase2023_2024",
            "pred_7col_cartesian",
            "expected_2023_baseline.json",
            f"{average}_{coordinates}",
            {"layout": "m23"},
        )
        for average in ("macro", "micro")
        for coordinates in ("polar", "cartesian")
    ),
    *(
        ("dcase2023_2024", "pred_4col_polar", "expected_2023_submission.json", average, {"layout": "m23s"})
        for average in ("macro", "micro")
    ),
    *(
        ("dcase2023_2024", "pred_7col_cartesian", "expected_2024.json", f"{key}_{average}", {"layout": "m24", **kwargs})
        for average in ("macro", "micro")
        for key, kwargs in {
            "frame_distance_reldist1": {"edition": "2024"},
            "frame_nodistance": {"edition": "2024", "distance": False},
            "segment": {"edition": "2024-segment"},
        }.items()
    ),
    *(
        (
            "dcase2023_2024",
            "pred_7col_cartesian",
            "expected_2024.json",
            key,
            {"edition": "2024", "layout": "m24", **kwargs},
        )
        for key, kwargs in {
            "frame_distance_dist0.5_reldist_inf_macro": {
                "distance_threshold": 0.5,
                "relative_distance_threshold": np.inf,
            },
            "frame_distance_reldist0.2_doa30_macro": {
                "angle_threshold_deg": 30.0,
                "relative_distance_threshold": 0.2,
            },
        }.items()
    ),
    (
        "dcase2023_2024",
        "pred_4col_polar",
        "expected_2024.json",
        "segment_4col_macro",
        {"edition": "2024-segment", "layout": "m24"},
    ),
    *(
        ("dcase2025", "pred", "expected.json", key, {"edition": "2025", "layout": "m25", **kwargs})
        for key, kwargs in {
            "macro": {},
            "macro_onscreen": {"onscreen_required": True},
            "micro": {},
            "micro_onscreen": {"onscreen_required": True},
            "macro_onscreen_requested_but_audio_modality": {"onscreen_required": True, "modality": "audio"},
            "macro_doa10_dist50_rel0.3": {
                "angle_threshold_deg": 10.0,
                "distance_threshold": 50.0,
                "relative_distance_threshold": 0.3,
            },
        }.items()
    ),
    *(
        ("salsa_2020_2021", predictions, "expected.json", f"{year}_{key}", {"edition": year, "layout": f"m{year[2:]}"})
        for year in ("2020", "2021")
        for key, predictions in {
            "polar": "pred_4col_polar",
            "polar_thr10": "pred_4col_polar",
            "both_converted_to_cartesian": "pred_4col_polar",
            "cartesian_predictions": "pred_6col_cartesian",
        }.items()
    ),
]


def _arguments(key: str, kwargs: dict) -> dict:
    """Keyword arguments of a case, completed from its key."""
    kwargs = dict(kwargs)
    kwargs.setdefault("average", "micro" if "micro" in key or kwargs.get("edition") in ("2020", "2021") else "macro")
    if "cartesian" in key and kwargs.get("edition", "2023") not in ("2024", "2024-segment"):
        kwargs["coordinates"] = "cartesian"
    if key.endswith(("threshold_10", "thr10")):
        kwargs["angle_threshold_deg"] = 10.0
    return kwargs


@pytest.mark.parametrize(("folder", "predictions", "file", "key", "kwargs"), MAIN, ids=lambda value: str(value)[:40])
def test_main_sets(folder, predictions, file, key, kwargs):
    place = golden_folder(folder)
    arguments = _arguments(key, kwargs)
    expected = json.loads((place / file).read_text())[key]
    assert_result(quiet_score(place / "ref", place / predictions, **arguments), expected)
    assert_result(quiet_score(place / "ref", place / predictions, **(arguments | {"layout": "auto"})), expected)


@pytest.mark.parametrize(
    ("folder", "predictions", "file", "key", "kwargs"),
    [
        ("dcase2022", "pred", "expected.json", "per_file_macro_polar", {"edition": "2022", "layout": "m22"}),
        (
            "dcase2023_2024",
            "pred_4col_polar",
            "expected_2023_submission.json",
            "per_file_macro",
            {"edition": "2023", "layout": "m23s"},
        ),
        (
            "dcase2023_2024",
            "pred_7col_cartesian",
            "expected_2024.json",
            "per_file_frame_distance_reldist1_macro",
            {"edition": "2024", "layout": "m24"},
        ),
        ("dcase2019", "pred", "expected.json", "per_file", {"edition": "2019"}),
        (
            "dcase2019",
            "pred",
            "expected.json",
            "per_file_from_output_format_dicts",
            {"edition": "2019", "layout": "m19-training"},
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_per_file(folder, predictions, file, key, kwargs):
    place = golden_folder(folder)
    expected = json.loads((place / file).read_text())[key]
    found = quiet_score(place / "ref", place / predictions, **kwargs).to_dict(per_file=True)["per_file"]
    assert set(found) == set(expected)
    for name, entry in expected.items():
        assert_scores(found[name], entry if "overall" in entry else {"overall": entry})


@pytest.mark.parametrize(
    ("key", "place", "variant"),
    [
        ("all", None, None),
        ("all_two_stage_variant", None, "two-stage"),
        ("split", 5, None),
        ("ir", 9, None),
        ("ov", 13, None),
    ],
)
def test_2019_groups(key, place, variant, tmp_path):
    root = golden_folder("dcase2019")
    expected = json.loads((root / "expected.json").read_text())[key]
    if place is None:
        assert_result(quiet_score(root / "ref", root / "pred", edition="2019", variant=variant), expected)
        return
    whole = quiet_score(root / "ref", root / "pred", edition="2019")
    for group, entry in expected.items():
        folder = tmp_path / group
        folder.mkdir()
        for path in (root / "pred").iterdir():
            if path.name[place] == group:
                (folder / path.name).write_bytes(path.read_bytes())
        result = quiet_score(root / "ref", folder, edition="2019")
        assert set(result.files) < set(whole.files)
        assert_scores(result.to_dict(), entry if "overall" in entry else {"overall": entry})


EDGE_SETTINGS = {
    "edge_2022": {"edition": "2022", "layout": "m22"},
    "edge_2023": {"edition": "2023", "layout": "m23"},
    "edge_sony": {"edition": "2023", "layout": "m23s"},
    "edge_2024": {"edition": "2024", "layout": "m24"},
    "edge_2025": {"edition": "2025", "layout": "m25"},
    "edge_salsa_2020_2021": {"class_count": 12},
    "edge_2019": {"edition": "2019", "layout": "m19"},
}
SETTING = {
    "macro": {"average": "macro"},
    "micro": {"average": "micro"},
    "macro_cartesian": {"average": "macro", "coordinates": "cartesian"},
    "macro_segment": {"average": "macro", "edition": "2024-segment"},
    "macro_frame_nodist": {"average": "macro", "distance": False},
    "macro_onscreen": {"average": "macro", "onscreen_required": True},
    "2020": {"edition": "2020", "layout": "m20"},
    "2021": {"edition": "2021", "layout": "m21"},
}


def values_of(scores: dict) -> dict[tuple[str, str], np.ndarray]:
    """Every number of an entry of an expected*.json, or of a result's dictionary, by its place."""
    return {
        (part, name): np.asarray(official(value))
        for part in ("overall", "classwise", "counts")
        for name, value in scores.get(part, {}).items()
        if name not in ("early_stopping", "idss", "TPc", "FPc", "FNc")
    }


def assert_tied_scores(reference: Path, estimated: Path, expected: dict, **kwargs) -> bool:
    """Ours and the recorded scores lie within what equal optima give, and ours are those of SciPy's choice here.

    Scores that every choice gives alike have their ordinary tolerance. Returns whether some score depends on it.
    """
    ours, recorded, given = values_of(quiet_score(reference, estimated, **kwargs).to_dict()), values_of(expected), []
    for choose in (ties.scipy_choice, *ties.choices()):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pairing, "assign", choose)
            given.append(values_of(quiet_score(reference, estimated, **kwargs).to_dict()))
    depends = False
    for place, value in recorded.items():
        assert_close(ours[place], given[0][place].tolist(), place[1])
        values = np.stack([one[place] for one in given])
        low, high = values.min(axis=0), values.max(axis=0)
        assert_close(np.clip(value, low, high), value.tolist(), place[1])
        assert_close(np.clip(ours[place], low, high), ours[place].tolist(), place[1])
        depends |= not np.allclose(low, high, rtol=0, atol=1e-6, equal_nan=True)
    return depends


def write_case(files: dict, folder: Path, *, flat: bool) -> tuple[Path, Path]:
    reference, estimated = folder / "ref", folder / "pred"
    for name, sides in files.items():
        for side, place in (("ref", reference if flat else reference / "split"), ("pred", estimated)):
            place.mkdir(parents=True, exist_ok=True)
            if sides[side] is not None:
                (place / name).write_bytes(sides[side].encode())
    return reference, estimated


@pytest.mark.parametrize("name", EDGE_FILES)
def test_edge_cases(name, tmp_path):
    checked, tied, wrong = 0, 0, []
    for case, content in edge_cases(name).items():
        files = content.get("files") or {"split1_ir0_ov1_1.csv": {side: content[side] for side in ("ref", "pred")}}
        reference, estimated = write_case(files, tmp_path / case, flat="salsa" in name)
        expected = content["expected"]
        for setting, entry in {"": expected}.items() if name == "edge_2019" else expected.items():
            kwargs = EDGE_SETTINGS[name] | SETTING.get(setting, {})
            try:
                if case in TIED and name != "edge_2025" and "error" not in entry:
                    tied += assert_tied_scores(reference, estimated, entry, **kwargs)
                elif "error" not in entry:
                    assert_result(quiet_score(reference, estimated, **kwargs), entry)
                elif case.startswith(DEFINED_INSTEAD):
                    with pytest.warns(MetricWarning):
                        score(reference, estimated, **kwargs)
                else:
                    with pytest.raises(InputError):
                        quiet_score(reference, estimated, **kwargs)
            except (AssertionError, InputError, pytest.fail.Exception) as error:
                wrong.append(f"{case} {setting}: {type(error).__name__} {str(error)[:600]}")
            checked += 1
    assert checked > 15 and (tied > 0 or name in ("edge_2019", "edge_2025"))
    assert not wrong, f"{len(wrong)} of {checked}:\n" + "\n".join(wrong)
