"""Output format SED + DOA: golden labels, scores and losses of SELDnet and of the baseline of 2019; decoding; files."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import npy2csv
from dataset.plans import Grid, Span
from dcase2022_task3_seld_metrics.arrays import detection_on_blocks, regressed_directions_2019, seldnet2018
from output_format import sed_doa
from output_format.formats import OUTPUT_FORMATS
from output_format.sed_doa import STYLES, SedDoa, classification_labels, output_rows, result_rows
from tests import golden
from util.angles import angle_between_deg, direction_from_degrees
from util.dialects import read_events
from util.errors import InputError
from util.interval_csv import URBANSOUND8K, read_intervals
from util.intervals import IntervalTable

TUT_CLASSES = "knock drawer clearthroat phone keysDrop speech keyboard pageturn cough doorslam laughter".split()
FRAME_2018_S, FRAMES_2018 = 256 / 44100, 5166


def seldnet(classes: int = 11, **options) -> SedDoa:
    return SedDoa(classes, frame_s=FRAME_2018_S, style="2018", **options)


def baseline(**options) -> SedDoa:
    return SedDoa(11, coordinates="polar", frame_s=0.02, style="2019", **options)


def events(dialect: str, name: str) -> IntervalTable:
    classes = list(URBANSOUND8K.values()) if "real" in dialect else TUT_CLASSES
    return read_intervals(golden.find(f"seldnet/labels/{name}.csv"), dialect, classes)


@pytest.mark.parametrize(
    ("name", "dialect", "classes"),
    [("ansim", "tut2018", 11), ("real", "tut2018_real", 8), ("mansim", "mansim", 11), ("mreal", "mreal", 8)],
)
def test_labels_of_2018_match_the_reference(name, dialect, classes):
    table = events(dialect, f"A_{name}")
    assert table.moving.all() if name.startswith("m") else not table.moving.any()
    expected = np.load(golden.find(f"seldnet/labels/A_{name}_labels.npz"))["labels"]
    # the reference's files of the two moving sets were made without the motion: every event stays where it starts
    np.testing.assert_array_equal(seldnet(classes).label_matrix(table.static(), FRAMES_2018), expected)


@pytest.mark.parametrize("name", ["B_ov1", "B_ov2"])
def test_labels_of_2019_match_the_reference(name):
    table, expected = events("tau2019", name), np.load(golden.find(f"seldnet/labels/{name}_labels.npz"))
    np.testing.assert_array_equal(baseline().label_matrix(table, 3000), expected["labels"])
    cells = classification_labels(table, 11, STYLES["2019"], frame_s=0.02, clip_frames=3000, outside="skip")
    np.testing.assert_array_equal(np.argwhere(cells), expected["classif_nonzero"])
    rows = output_rows(table)
    found = np.stack([rows.frame, rows.class_index, rows.azimuth_deg, rows.elevation_deg], axis=1)
    np.testing.assert_array_equal(found, expected["output_format_rows"])


def test_rows_of_labels_keep_180_and_the_order_of_the_reference():
    table = IntervalTable.make(
        start_s=[0.5, 0.02, 0.5],
        end_s=[0.53, 0.05, 0.5],
        class_index=[3, 1, 2],
        azimuth_deg=[180, -180, 170],
        elevation_deg=[-40, 0, 10],
    )
    rows = output_rows(table)
    found = np.stack([rows.frame, rows.class_index, rows.azimuth_deg, rows.elevation_deg], axis=1)
    due = [[25, 3, 180, -40], [25, 2, 170, 10], [26, 3, 180, -40], [1, 1, -180, 0], [2, 1, -180, 0]]
    np.testing.assert_array_equal(found, due)
    assert len(output_rows(IntervalTable.make())) == 0


def test_any_stretch_of_a_clip_has_the_labels_of_the_whole():
    rng = np.random.default_rng(0)
    for name, dialect, format, clip in (
        ("A_mansim", "mansim", seldnet(), FRAMES_2018),
        ("B_ov2", "tau2019", baseline(), 3000),
    ):
        table = events(dialect, name)
        whole = format.convert(format.label_matrix(table, clip)).astype(np.float32)
        nothing = format.convert(format.label_matrix(IntervalTable.make(), 1)).astype(np.float32)
        padded = np.concatenate([whole, np.repeat(nothing, 700, axis=2)], axis=2)
        for first in [0, clip - 100, *rng.integers(0, clip, 8).tolist()]:
            frame = np.arange(first, first + 128)
            grid = Grid(np.where(frame < clip, frame, -1)[None], (Span(0, 0, 0, 128, clip),), format.frame_s)
            got = format.encode([SimpleNamespace(intervals=table)], grid)
            assert got.dtype == torch.float32 and got.shape == (1, format.outputs, 11, 128)
            np.testing.assert_array_equal(got[0], padded[:, :, first : first + 128])


@pytest.mark.parametrize("zero", [0, 1])
@pytest.mark.parametrize(("azimuth_only", "coordinates"), [(0, "xyz"), (1, "xy")])
def test_network_targets_of_2018_match_the_reference(azimuth_only, coordinates, zero):
    data = np.load(golden.find("seldnet/A_generator_layout.npz"))
    format = seldnet(coordinates=coordinates, default_zero=bool(zero))
    stream = np.concatenate([data[f"label{i}"] for i in range(3)])
    for batch in range(3):
        for item in range(2):
            first = (2 * batch + item) * 4
            target = format.convert(stream[first : first + 4])
            case = f"azi{azimuth_only}_zero{zero}"
            np.testing.assert_array_equal(target[0].T, data[f"out_sed_{case}"][batch, item])
            doa = data[f"out_doa_{case}"][batch, item]
            np.testing.assert_allclose(target[1:].transpose(2, 0, 1).reshape(4, -1), doa, rtol=0, atol=1e-12)


def test_network_targets_of_2019_match_the_reference():
    data = np.load(golden.find("seldnet/B_generator_layout.npz"))
    format = baseline()
    labels = [data[f"label{i}"] for i in range(3)]
    nothing = baseline().label_matrix(IntervalTable.make(), 2)
    stream = np.concatenate(labels)
    streams = [stream[first : first + 4] for first in range(0, 24, 4)]
    whole = [np.concatenate([label, nothing])[first : first + 4] for label in labels for first in range(0, 12, 4)]
    for case, sequences in (("perfile0", streams), ("perfile1", whole)):
        sed, doa = (data[f"{case}_{kind}"].reshape(len(sequences), 4, -1) for kind in ("sed", "doa"))
        for index, sequence in enumerate(sequences):
            target = format.convert(sequence)
            np.testing.assert_array_equal(target[0].T, sed[index])
            found = target[1:].transpose(2, 0, 1).reshape(4, -1)
            np.testing.assert_allclose(found, doa[index], rtol=0, atol=1e-12)


@pytest.mark.parametrize("axes", ["xyz", "xy"])
def test_scores_of_2018_match_the_reference(axes):
    data = np.load(golden.find("seldnet/labels/A_scores.npz"))
    columns = slice(0, 11 * len(axes))
    scores = seldnet2018(
        data["gt_sed"],
        data["pred_sed"],
        data["gt_doa"][:, columns],
        data["pred_doa"][:, columns],
        block=int(data["nb_frames_1s"]),
    )
    found = [
        scores.avg_accuracy,
        scores.doa_loss_gt,
        scores.doa_loss_pred,
        scores.doa_loss_gt_count,
        scores.doa_loss_pred_count,
        scores.good_frames,
    ]
    np.testing.assert_allclose(found, data[f"doa_{axes}"], rtol=0, atol=1e-9)
    np.testing.assert_allclose([scores.er, scores.f1], data["er_f1"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(scores.confusion_matrix, data[f"confmat_{axes}"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(scores.seld, data[f"seld_{axes}"], rtol=0, atol=1e-9)


def test_scores_and_result_rows_of_2019_match_the_reference():
    data = np.load(golden.find("seldnet/labels/B_scores.npz"))
    er_f1 = detection_on_blocks(data["gt_sed"], data["pred_sed"], int(data["nb_frames_1s"]))
    np.testing.assert_allclose(er_f1, data["er_f1"], rtol=0, atol=1e-9)
    doa = regressed_directions_2019(data["gt_sed"], data["pred_sed"], data["gt_doa_rad"], data["pred_doa_rad"])
    found = [doa.doa_error_deg, doa.frame_recall, doa.predicted, doa.good_frames, doa.surplus, doa.deficit]
    np.testing.assert_allclose(found, data["doa"], rtol=0, atol=1e-9)
    seld = np.mean([er_f1[0], 1 - er_f1[1], doa.doa_error_deg / 180, 1 - doa.frame_recall])
    np.testing.assert_allclose(seld, data["seld"], rtol=0, atol=1e-9)
    azimuth, elevation = np.split(np.rad2deg(data["pred_doa_rad"]), 2, axis=1)
    rows = result_rows(data["pred_sed"], azimuth, elevation, frame_s=0.02)
    found = np.stack([rows.frame, rows.class_index, rows.azimuth_deg, rows.elevation_deg], axis=1).astype(int)
    expected = golden.find("seldnet/labels/B_pred.csv").read_text().split()
    assert {",".join(map(str, row)) for row in found.tolist()} == set(expected) and len(found) == len(expected)


@pytest.mark.parametrize("name", ["A_xyz", "A_xy", "B"])
def test_loss_matches_the_reference(name):
    data = np.load(golden.find(f"seldnet/networks/{name}.npz"))

    def joined(suffix: str) -> torch.Tensor:
        sed, doa = (torch.from_numpy(data[kind + suffix]).mT for kind in ("sed", "doa"))
        return torch.cat([sed[:, None], doa.unflatten(1, (-1, 11))], dim=1)

    output, target = joined(""), joined("_target")
    format = seldnet(coordinates={"A_xyz": "xyz", "A_xy": "xy", "B": "polar"}[name])
    loss = format.loss(output, format.target(target, torch.device("cpu")))
    np.testing.assert_allclose(loss, data["loss_total"], rtol=1e-5)
    for weights, part in (((1, 0), "loss_bce"), ((0, 1), "loss_mse")):
        np.testing.assert_allclose(sed_doa.sed_doa_loss(output, target, weights), data[part], rtol=1e-5)
    apart = format.loss(output, target, reduction="window")
    assert apart.shape == (2,)
    np.testing.assert_allclose(apart.mean(), loss, rtol=1e-6)


def test_loss_of_certain_and_wrong_outputs_is_finite_and_has_a_gradient():
    output = torch.zeros(1, 4, 2, 3, requires_grad=True)
    target = torch.ones(1, 4, 2, 3)
    loss = seldnet(2).loss(output, target)
    assert torch.isclose(loss, torch.tensor(float(-np.log(1e-7)) + 50.0), rtol=1e-5)
    loss.backward()
    assert torch.allclose(output.grad[:, 1:], torch.tensor(-100.0 / 18))
    half = seldnet(2).loss(torch.full((1, 4, 2, 3), 0.5, dtype=torch.bfloat16), target)
    assert half.dtype == torch.float32
    with pytest.raises(ValueError, match="reduction"):
        seldnet(2).loss(output, target, reduction="sum")


def moving(rate: float = 50.0, **columns) -> IntervalTable:
    values = {"start_s": [1.0], "end_s": [3.0], "class_index": [0], "angular_velocity_deg_s": [rate]}
    return IntervalTable.make(**values, **{name: [value] for name, value in columns.items()})


def test_a_moving_event_runs_along_its_great_circle_at_its_speed():
    table = moving(azimuth_deg=20, elevation_deg=10, azimuth_direction_deg=60, elevation_direction_deg=30)
    matrix = seldnet(1).label_matrix(table, FRAMES_2018)
    where = np.flatnonzero(matrix[:, 2] != 60)
    assert where[0] == 172 and where[-1] == 516 and matrix[172:518, 0].all() and not matrix[518:, 0].any()
    vectors = direction_from_degrees(matrix[where, 1], matrix[where, 2])
    start, toward = direction_from_degrees(20, 10), direction_from_degrees(60, 30)
    turned = angle_between_deg(vectors, start)
    last = np.ceil(len(where) * FRAME_2018_S * 100 - 1) * 0.5  # the motion ends on the grid of 10 ms
    np.testing.assert_allclose(turned, np.linspace(0, last, len(where)), atol=2e-3)
    assert np.abs(vectors @ np.cross(start, toward)).max() < 1e-5  # on the great circle
    assert vectors[30] @ toward > vectors[0] @ toward  # towards it


def rotated(table: IntervalTable, row: int, frames: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Azimuth and elevation of a moving event on its frames, by rotation vectors on the grid of 10 ms."""
    start = direction_from_degrees(table.azimuth_deg[row], table.elevation_deg[row])
    toward = direction_from_degrees(table.azimuth_direction_deg[row], table.elevation_direction_deg[row])
    axis = np.cross(start, toward)
    steps = int(np.ceil(frames / rate * 100))
    turned = np.deg2rad(table.angular_velocity_deg_s[row]) * np.arange(steps)[:, None] / 100
    x, y, z = Rotation.from_rotvec(axis / np.linalg.norm(axis) * turned).apply(start).T
    at, times = np.linspace(0, 1, frames), np.linspace(0, 1, steps)
    elevation = np.rad2deg(np.arctan2(z, np.hypot(x, y)))
    return np.interp(at, times, np.rad2deg(np.arctan2(y, x))), np.interp(at, times, elevation)


@pytest.mark.parametrize("name", ["mansim", "mreal"])
def test_moving_labels_match_an_independent_formula(name):
    table, rate = events(name, f"A_{name}"), 44100 / 256
    classes = 8 if name == "mreal" else 11
    azimuth, elevation = np.full((FRAMES_2018, classes), 180.0), np.full((FRAMES_2018, classes), 60.0)
    for row in range(len(table)):
        start, end = int(table.start_s[row] * rate), min(int(np.ceil(table.end_s[row] * rate)), FRAMES_2018)
        if name == "mreal":
            swept_deg = table.angular_velocity_deg_s[row] * (end - start) / rate
            whole = np.floor(np.linspace(table.azimuth_deg[row], table.azimuth_deg[row] + swept_deg, end - start))
            places = 180 - np.mod(180 - whole, 360), table.elevation_deg[row]
        else:
            places = rotated(table, row, end - start, rate)
        azimuth[start:end, table.class_index[row]], elevation[start:end, table.class_index[row]] = places
    matrix = seldnet(classes).label_matrix(table, FRAMES_2018)
    np.testing.assert_allclose(matrix[:, classes:], np.concatenate([azimuth, elevation], axis=1), rtol=0, atol=1e-9)


def test_motion_crosses_the_back_and_keeps_still_without_an_axis():
    table = moving(azimuth_deg=170, elevation_deg=0, azimuth_direction_deg=-170, elevation_direction_deg=0)
    azimuth = seldnet(1).label_matrix(table, FRAMES_2018)[172:517, 1]
    assert (np.abs(azimuth) > 80).all() and azimuth[0] == 170 and azimuth[-1] <= -90
    for toward in ((20, 10), (-160, -10)):
        still = moving(
            azimuth_deg=20, elevation_deg=10, azimuth_direction_deg=toward[0], elevation_direction_deg=toward[1]
        )
        matrix = seldnet(1).label_matrix(still, FRAMES_2018)
        np.testing.assert_allclose(matrix[172:517, 1:], [[20, 10]] * 345, atol=1e-9)


def test_an_azimuth_that_moves_is_whole_and_wraps_to_180():
    table = moving(rate=51.0, azimuth_deg=150, elevation_deg=-10)
    azimuth = seldnet(1).label_matrix(table, FRAMES_2018)[172:517, 1]
    swept = 150 + 51 * (345 / (44100 / 256)) * np.arange(345) / 344
    np.testing.assert_array_equal(azimuth, 180 - np.mod(180 - np.floor(swept), 360))
    assert azimuth.max() == 180 and (azimuth > -180).all()


def test_rules_at_the_edges_of_clip_and_grid():
    # the last class wins, the activity is one frame longer than the direction, and 60 degrees is no direction
    table = IntervalTable.make(
        start_s=[0.0, 1.0, 5.0, 29.95, 31.0],
        end_s=[2.0, 1.5, 6.0, 40.0, 32.0],
        class_index=[0, 0, 1, 2, 3],
        azimuth_deg=[10.9, -20.9, 30, 40, 50],
        elevation_deg=[0, 0, 51, -60, 0],
    )
    matrix = seldnet(4).label_matrix(table, FRAMES_2018)
    active, azimuth, elevation = np.split(matrix, 3, axis=1)
    assert azimuth[100, 0] == 10 and azimuth[200, 0] == -20 and azimuth[300, 0] == 10
    assert active[345, 0] == 1 and active[346, 0] == 0 and azimuth[344, 0] == 10 and azimuth[345, 0] == 180
    assert active[900, 1] == 1 and (elevation[:, 1] == 60).all()  # off the grid
    assert active[-1, 2] == 1 and azimuth[-1, 2] == 40 and not active[:, 3].any()
    both = baseline().label_matrix(table[[0]], 3000)
    assert both[100, 0] == both[100, 11] / 10 == 1 and both[101, 0] == 0
    off = IntervalTable.make(start_s=[0], end_s=[1], class_index=[0], azimuth_deg=[180], elevation_deg=[50])
    with pytest.raises(InputError, match=r"event 1 .azimuth 180, elevation 50 degrees. lies off the grid of 2019"):
        classification_labels(off, 11, STYLES["2019"], frame_s=0.02, clip_frames=3000)
    with pytest.raises(ValueError, match=r"classes outside 0\.\.1"):
        seldnet(2).label_matrix(table, FRAMES_2018)


@pytest.mark.parametrize("format", [seldnet(), baseline(), seldnet(coordinates="xy")], ids=["xyz", "polar", "xy"])
def test_what_is_encoded_is_decoded(format):
    table = events("tau2019", "B_ov2")
    clip = 30 * 50 if format.style.name == "2019" else FRAMES_2018
    matrix = format.label_matrix(table, clip)
    found = format.candidates(format.convert(matrix))
    assert found.activity.shape == (clip, 11, 1) and found.frame_s == format.frame_s
    active, azimuth, elevation = np.split(matrix, 3, axis=1)
    np.testing.assert_array_equal(found.activity[..., 0], active)
    told = (active > 0) & (elevation != format.style.default_elevation_deg)
    assert told.any()
    np.testing.assert_allclose(found.azimuth_deg[..., 0][told], azimuth[told], atol=1e-9)
    expected = 0 * elevation[told] if format.coordinates == "xy" else elevation[told]
    np.testing.assert_allclose(found.elevation_deg[..., 0][told], expected, atol=1e-9)


def test_frames_are_pooled_by_the_time_of_their_centre():
    format = SedDoa(1, coordinates="polar", frame_s=0.02, style="2019")
    raw = np.zeros((3, 1, 12))
    raw[0, 0] = [1, 1, 0, 0, 0, 0.4, 0.2, 0, 0, 0, 0, 0]
    raw[1, 0] = np.deg2rad([179, -179, 90, 90, 90, 10, 40, 0, 0, 0, 30, 30])
    found = format.candidates(raw, frame_s=0.1)
    assert found.frame_s == 0.1
    rest = format.candidates(raw[..., 5:], frame_s=0.1, first=5)  # a stretch that begins with the second label frame
    np.testing.assert_array_equal(rest.azimuth_deg, found.azimuth_deg[1:])
    assert len(format.candidates(raw[..., 3:], frame_s=0.1, first=3).activity) == 3
    np.testing.assert_allclose(found.activity[:, 0, 0], [0.4, 0.12, 0])
    assert abs(found.azimuth_deg[0, 0, 0]) > 179.999  # across the back
    mean = np.angle(0.4 * np.exp(1j * np.deg2rad(10)) + 0.2 * np.exp(1j * np.deg2rad(40)), deg=True)
    np.testing.assert_allclose(found.azimuth_deg[1:, 0, 0], [mean, 30])
    uneven = SedDoa(2, frame_s=FRAME_2018_S).candidates(np.ones((4, 2, FRAMES_2018)), frame_s=0.1)
    assert uneven.activity.shape == (300, 2, 1) and (uneven.activity == 1).all()


def write_raw(folder: Path, raw: np.ndarray, **about) -> Path:
    folder.mkdir(parents=True)
    np.save(folder / "clip.npy", raw)
    (folder / "clip.json").write_text(json.dumps(about))
    return folder


def test_a_raw_file_is_decoded_from_its_description_alone(tmp_path, capsys):
    format = baseline()
    raw = np.zeros((3, 11, 50), dtype=np.float32)
    raw[0, 4, 20:30], raw[1, 4], raw[2, 4] = 0.9, np.deg2rad(-120), np.pi * 20 / 50
    about = {**format.description(), "classes": TUT_CLASSES, "thresholds": [0.5] * 11, "unification_deg": 15}
    about["label_frame_s"] = 0.1
    folder = write_raw(tmp_path / "raw", raw, **json.loads(json.dumps(about)))
    assert npy2csv.main([str(folder), "--out", str(tmp_path / "csv")]) == 0
    rows = np.loadtxt(tmp_path / "csv/clip.csv", delimiter=",")
    np.testing.assert_allclose(rows, [[4, 4, -120, 20], [5, 4, -120, 20]], atol=1e-4)
    same = OUTPUT_FORMATS["sed_doa"].from_description(about, 11)
    assert same.description() == format.description() and format.makes(0.1) and not format.makes(0.01)


def test_angles_beyond_the_circle_stand_in_the_file_of_2019_and_nowhere_else(tmp_path):
    """The network regresses angles; 207 degrees is scored as 170 there, and is -153 for everybody else."""
    raw = np.zeros((3, 11, 50), dtype=np.float32)
    for frame, azimuth, elevation in ((9, 207.9, 66.7), (10, -200.5, -95.2), (11, 45, 10.5)):
        raw[:, 4, frame] = 0.9, np.deg2rad(azimuth), np.pi * elevation / 50
    format = baseline()
    about = {**format.description(), "classes": TUT_CLASSES, "thresholds": [0.5] * 11, "unification_deg": 15}
    folder = write_raw(tmp_path / "raw", raw, **about)

    def lines(dialect: str) -> list[str]:
        npy2csv.main([str(folder), "--out", str(tmp_path / dialect), "--dialect", dialect])
        return (tmp_path / dialect / "clip.csv").read_text().splitlines()

    assert lines("dcase2019") == ["9,4,207,66", "10,4,-200,-95", "11,4,45,10"]
    elsewhere = np.array([line.split(",") for line in lines("dcase2023")], dtype=float)
    np.testing.assert_allclose(elsewhere[:, 2:], [[-152.1, 66.7], [159.5, -90], [45, 10.5]], atol=1e-3)
    read = read_events(tmp_path / "dcase2019" / "clip.csv", "dcase2019")
    np.testing.assert_array_equal(read.azimuth_deg, [207, -200, 45])
    # longer label frames, and vectors, are not what the baseline writes
    assert baseline(label_frame_s=0.1).published_rows(raw, 0.5) is None
    assert seldnet().published_rows(np.zeros((4, 11, 5)), 0.5) is None
    # a threshold per class
    assert len(format.published_rows(raw, np.where(np.arange(11) == 4, 0.95, 0.5))) == 0


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"coordinates": "cube"}, r"does not describe a raw output.*coordinates must be one of"),
        ({"style": "2030"}, r"does not describe a raw output.*unknown label style"),
        ({"label_frame_s": 0.001}, r"is no raw output of format sed_doa .*cannot be made of frames"),
        ({"frame_s": "soon"}, "does not describe a raw output"),
        ({"weights": [1]}, "does not describe a raw output"),
        ({"weights": 3}, "does not describe a raw output"),
        ({"coordinates": "xyz"}, r"is no raw output of format sed_doa .*1 \+ 3, classes, frames"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path, change, rule):
    about = {**baseline().description(), "classes": TUT_CLASSES, "thresholds": [0.5] * 11, "unification_deg": 15}
    folder = write_raw(tmp_path / "raw", np.zeros((3, 11, 50), dtype=np.float32), **{**about, **change})
    with pytest.raises(InputError, match=rule):
        npy2csv.main([str(folder), "--out", str(tmp_path / "csv")])
    without = {name: value for name, value in about.items() if name != "style"}
    (folder / "clip.json").write_text(json.dumps(without))
    with pytest.raises(InputError, match="does not describe a raw output"):
        npy2csv.main([str(folder), "--out", str(tmp_path / "csv")])
