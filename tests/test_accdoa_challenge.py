"""Output formats of the DCASE baselines since 2022: labels, losses and rows against golden data; distance, onscreen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from output_format.accdoa import Accdoa
from output_format.candidates import Candidates, merge, merged_vectors
from output_format.frame_labels import frame_labels
from output_format.multi_accdoa import VECTOR, MultiAccdoa, slots
from tests import golden
from util.dialects import DIALECTS, format_events, read_events
from util.events import EventTable

WITH_DISTANCE, PLANE = (*VECTOR, "distance"), ("x", "y", "distance")
SEEN = (*PLANE, "onscreen")


def format_of(tracks: int, elements: tuple[str, ...]) -> MultiAccdoa:
    return MultiAccdoa(13, frame_s=0.1, tracks=tracks, elements=elements)


@pytest.mark.parametrize(
    "name, dialect, elements",
    [
        ("C22", "starss22", VECTOR),
        ("C23", "starss23", VECTOR),
        ("D24", "dcase2024", WITH_DISTANCE),
        ("D25", "dcase2025", SEEN),
    ],
)
def test_golden_labels(name: str, dialect: str, elements: tuple[str, ...]) -> None:
    data = np.load(golden.find(f"seldnet/labels/{name}_labels.npz"))
    events = read_events(golden.find(f"seldnet/labels/{name}.csv"), dialect)
    frames = int(data["nb_label_frames"]) if "nb_label_frames" in data else 50
    made = slots([events], np.zeros(1, dtype=int), frames, 13, elements=elements)[0]  # frames, slots, elements, classes
    due = data["adpit"]
    np.testing.assert_array_equal(made.any(axis=2), due[:, :, 0] > 0)
    np.testing.assert_allclose(made, due[:, :, 1:], atol=1e-6, rtol=1e-6)
    single = slots([events], np.zeros(1, dtype=int), frames, 13, elements=elements, tracks=1)[0, :, 0]
    key = "single" if "single" in data else "accdoa"
    due = data[key].reshape(frames, -1, 13)
    if name == "D24":
        due = due.copy()
        due[:, 4] /= 100  # a defect of the reference: centimetres here, metres in the labels of three tracks
    np.testing.assert_allclose(single, due[:, 1:] * due[:, :1], atol=1e-6, rtol=1e-6)
    if elements == VECTOR:
        np.testing.assert_allclose(
            frame_labels(events, 13, frames=frames).transpose(2, 0, 1).reshape(frames, -1), data[key], atol=1e-12
        )


@pytest.mark.parametrize(
    "name, elements",
    [("C22", VECTOR), ("D24", WITH_DISTANCE), ("D25_audio", PLANE), ("D25_audio_visual", SEEN)],
)
def test_golden_losses(name: str, elements: tuple[str, ...]) -> None:
    data = np.load(golden.find("seldnet/losses.npz"))
    if f"{name}_output" not in data:
        pytest.skip("this loss is in ../shared only")
    output = torch.from_numpy(data[f"{name}_output"]).requires_grad_()
    target = torch.from_numpy(data[f"{name}_target"])  # (1, L, 6, 1 + elements, 13)
    values = target[:, :, :, 1:] * target[:, :, :, :1]
    shaped = output.unflatten(2, (3, len(elements), 13)).permute(0, 2, 3, 4, 1)
    made = format_of(3, elements).loss(shaped, values.permute(0, 2, 3, 4, 1))
    assert made.item() == pytest.approx(float(data[f"{name}_loss"]), abs=1e-6)
    made.backward()
    np.testing.assert_allclose(output.grad, data[f"{name}_grad"], atol=1e-7, rtol=0)
    windows = format_of(3, elements).loss(shaped, values.permute(0, 2, 3, 4, 1), reduction="window")
    assert windows.shape == (1,) and windows.item() == pytest.approx(made.item(), abs=1e-6)


def raw_of(name: str, tracks: int, elements: int) -> np.ndarray:
    """(sequences, tracks, elements, 13, frames)."""
    output = np.load(golden.find(f"seldnet/postproc/{name}.npz"))["output"]
    return output.reshape(*output.shape[:2], tracks, elements, 13).transpose(0, 2, 3, 4, 1)


def csv_rows(name: str) -> np.ndarray:
    return np.loadtxt(golden.find(f"seldnet/postproc/{name}.csv"), delimiter=",", ndmin=2)


@pytest.mark.parametrize("name", ["C22_multi", "C23_multi", "D24_multi"])
def test_golden_rows_of_three_tracks(name: str) -> None:
    elements = WITH_DISTANCE if name == "D24_multi" else VECTOR
    raw = np.concatenate(list(raw_of(name, 3, len(elements))), axis=-1)  # both sequences are of one file
    candidates = format_of(3, elements).candidates(raw)
    frame, index, vector = merged_vectors(candidates, 0.5)
    due = csv_rows(name)
    np.testing.assert_array_equal(np.stack([frame, index], axis=1), due[:, :2])
    np.testing.assert_allclose(vector, due[:, 3:6], atol=1e-6, rtol=0)
    events = merge(candidates, 0.5)
    np.testing.assert_array_equal(events.frame, due[:, 0])
    if name == "D24_multi":
        np.testing.assert_allclose(events.distance_m, due[:, 6], atol=1e-6, rtol=0)
        assert (events.distance_m >= 0).all()
    azimuth = np.rad2deg(np.arctan2(due[:, 4], due[:, 3]))
    assert np.abs((events.azimuth_deg - azimuth + 180) % 360 - 180).max() < 1e-3


@pytest.mark.parametrize("name", ["C22_single", "C23_single"])
def test_golden_rows_of_one_track(name: str) -> None:
    raw = np.concatenate(list(raw_of(name, 1, 3)), axis=-1)
    rows, due = Accdoa(13, frame_s=0.1).vector_rows(raw[0], 0.5), csv_rows(name)
    np.testing.assert_array_equal(np.stack([rows.frame, rows.class_index], axis=1), due[:, :2])
    np.testing.assert_allclose(rows.vector, due[:, 3:6], atol=1e-6, rtol=0)
    frame, index, vector = merged_vectors(format_of(1, VECTOR).candidates(raw), 0.5)
    np.testing.assert_array_equal(np.stack([frame, index], axis=1), due[:, :2])
    np.testing.assert_allclose(vector, due[:, 3:6], atol=1e-6, rtol=0)


@pytest.mark.parametrize("item", [0, 1])
@pytest.mark.parametrize("kind", ["audio_multi", "audio_single", "audio_visual_multi", "audio_visual_single"])
def test_golden_rows_of_2025(kind: str, item: int) -> None:
    """The file as it is written; what is on the screen by the reference's integer part, then as it is meant."""
    tracks, elements = 3 if kind.endswith("multi") else 1, SEEN if "visual" in kind else PLANE
    raw = raw_of(f"D25_{kind}", tracks, len(elements))[item]
    events = merge(format_of(tracks, elements).candidates(raw), 0.5)
    if "visual" in kind:
        # values of this output go beyond 1, where the reference writes 1 as well
        reference = events.replace(onscreen=np.trunc(events.onscreen))
    else:
        reference = events.replace(onscreen=np.zeros(len(events)))
    due = golden.find(f"seldnet/postproc/D25_{kind}_item{item}.csv").read_text()
    assert format_events(reference, DIALECTS["dcase2025"]) == due.replace("\r", "")
    if "visual" in kind:
        last = [line.rsplit(",", 1)[1] for line in format_events(events, DIALECTS["dcase2025"]).splitlines()[1:]]
        assert last == [str(int(value > 0.5)) for value in events.onscreen]


def candidates(vectors, **others) -> Candidates:
    """One frame, one class, three tracks."""
    vector = np.asarray(vectors, dtype=np.float32)[None, None]
    activity = np.linalg.norm(vector, axis=-1)
    none = np.zeros_like(activity)
    shaped = {name: np.asarray(value)[None, None] for name, value in others.items()}
    return Candidates(activity, none, none, vector=vector, **shaped)


def test_tracks_are_merged_as_vectors() -> None:
    """Of a pair: the third track first, then the mean; distances evenly, the screen by the pair's first track."""
    at = [[0.9, 0.0], [-0.8, 0.0], [0.6, 0.06]]
    made = merge(candidates(at, distance_m=[2.0, 5.0, 4.0], onscreen=[0.1, 0.9, 0.7]), 0.5)
    np.testing.assert_allclose(made.azimuth_deg, [-180, np.rad2deg(np.arctan2(0.03, 0.75))], atol=1e-3)
    np.testing.assert_allclose(made.distance_m, [5, 3])
    np.testing.assert_allclose(made.onscreen, [0.9, 0.7])  # pair (2, 0)
    chain = merge(candidates([[1, 0.2], [1, 0], [1, -0.2]], distance_m=[1.0, 2.0, 6.0], onscreen=[0.2, 0.9, 0.9]), 0.5)
    assert len(chain) == 1 and chain.distance_m[0] == pytest.approx(3) and chain.onscreen[0] == pytest.approx(0.2)
    apart = merge(candidates([[1, 0], [0, 1], [-1, 0]], distance_m=[1.0, 2.0, 3.0]), 0.5)
    np.testing.assert_allclose(apart.azimuth_deg, [0, 90, -180], atol=1e-5)
    np.testing.assert_allclose(apart.distance_m, [1, 2, 3])


def test_stretches_join() -> None:
    raw = np.random.default_rng(0).standard_normal((3, 4, 13, 20)).astype(np.float32)
    made = format_of(3, SEEN)
    joined = Candidates.joined([made.candidates(raw[..., :7]), made.candidates(raw[..., 7:])])
    whole = made.candidates(raw)
    for name in ("activity", "azimuth_deg", "distance_m", "onscreen", "vector"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))


@pytest.mark.parametrize("tracks, elements", [(3, SEEN), (1, WITH_DISTANCE), (3, VECTOR)])
def test_descriptions_come_back(tracks: int, elements: tuple[str, ...]) -> None:
    about = format_of(tracks, elements).description()
    again = MultiAccdoa.from_description(about, 13)
    assert (again.tracks, again.elements, again.frame_s) == (tracks, elements, 0.1) and again.threshold == 0.5
    older = {name: value for name, value in MultiAccdoa(13).description().items() if name not in ("tracks", "elements")}
    assert MultiAccdoa.from_description(older, 13).elements == VECTOR


def test_refused() -> None:
    for how in ({"tracks": 2}, {"elements": ("x", "z")}, {"elements": ("x", "y", "onscreen", "distance")}):
        with pytest.raises(ValueError, match="tracks of"):
            MultiAccdoa(13, frame_s=0.1, **how)
    with pytest.raises(ValueError, match="shorter than label frames"):
        MultiAccdoa(13, elements=WITH_DISTANCE)
    with pytest.raises(ValueError, match="raw output must be"):
        format_of(3, SEEN).candidates(np.zeros((3, 3, 13, 5)))
    with pytest.raises(ValueError, match="no vectors"):
        merged_vectors(Candidates(np.ones((1, 1, 1)), np.zeros((1, 1, 1)), np.zeros((1, 1, 1))), 0.5)


def test_more_than_three_sources_of_a_class() -> None:
    """The first three are taught, as published; of one track the last."""
    azimuth = np.arange(5) * 10.0
    table = EventTable.make(
        frame=np.zeros(5), class_index=np.zeros(5), azimuth_deg=azimuth, elevation_deg=0 * azimuth,
        distance_m=1 + azimuth,
    )  # fmt: skip
    many = slots([table], np.zeros(1, dtype=int), 1, 1, elements=PLANE)[0, 0, :, :, 0]
    np.testing.assert_allclose(many[3:, 2], [1, 11, 21])
    assert not many[:3].any()
    assert slots([table], np.zeros(1, dtype=int), 1, 1, elements=PLANE, tracks=1)[0, 0, 0, 2, 0] == 41
