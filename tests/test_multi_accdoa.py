"""Multi-ACCDOA: labels, loss, decoding and merging against the reference, and where the reference is mended."""

import itertools

import numpy as np
import pytest
import soundfile
import torch

from feature.phasediff import AmplitudePhaseDifference
from output_format.candidates import Candidates, merge
from output_format.multi_accdoa import adpit_loss, decode, slots
from tests import golden
from tests.test_net import load
from tests.windows import At, grid_of, labels_on
from util.dialects import read_events
from util.events import EventTable

LABELS = ["basic", "sameclass", "dense5col"]


@pytest.mark.parametrize("name", LABELS)
def test_golden_labels(name: str) -> None:
    data = np.load(golden.find("av_baseline/labels.npz"))
    events = read_events(golden.find(f"av_baseline/label_{name}.csv"), class_count=13)
    windows = labels_on(At(data["starts_sec"]), len(data["starts_sec"]), events, 13)
    assert windows.dtype == np.float32
    np.testing.assert_allclose(windows, data[f"{name}_label"], atol=1e-6, rtol=0)
    np.testing.assert_array_equal(windows == 0, data[f"{name}_label"] == 0)
    for duration in (1.5, 3.0):
        whole = data[f"{name}_full_{duration}"]
        padded = np.pad(whole, ((0, 0),) * 3 + ((4, 128),))
        plan = grid_of([round(24000 * duration)])
        for index, ours in enumerate(labels_on(plan, plan.count, events, 13)):
            np.testing.assert_allclose(ours, padded[..., 120 * index : 120 * index + 128], atol=1e-6, rtol=0)


def test_slots_by_the_number_of_sources() -> None:
    """One source: A0; two: B0, B1; three and more: C0, C1, C2 in the order of the rows."""
    sources = [1, 2, 3, 4]
    frame = np.repeat([5, 6, 7, 8], sources)
    azimuth = np.concatenate([10 * np.arange(n) for n in sources])
    table = EventTable.make(
        frame=frame, class_index=np.ones(len(frame)), azimuth_deg=azimuth, elevation_deg=0 * azimuth
    )
    made = slots([table, table[:0], table], np.array([5, 5, 7]), 3, 2)
    assert made.shape == (3, 3, 6, 3, 2) and not made[..., 0].any() and not made[1].any()
    found = np.rad2deg(np.arctan2(made[:, :, :, 1, 1], made[:, :, :, 0, 1]))
    used = np.linalg.norm(made[..., 1], axis=3) > 0.5
    np.testing.assert_array_equal(used[0], [[1, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]])
    np.testing.assert_array_equal(used[2], [[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0]])
    np.testing.assert_allclose(found[0, 1, 1:3], [0, 10], atol=1e-4)
    np.testing.assert_allclose(found[2, 1, 3:], [0, 10, 20], atol=1e-4)


def test_labels_of_the_wrong_kind_are_refused() -> None:
    table = EventTable.make(frame=[0], class_index=[3], azimuth_deg=[0], elevation_deg=[0])
    with pytest.raises(ValueError, match="classes outside"):
        slots([table], np.zeros(1, dtype=int), 1, 3)
    with pytest.raises(ValueError, match=r"0\.02 s"):
        slots([EventTable.make(frame_s=0.02, frame=[0], class_index=[0])], np.zeros(1, dtype=int), 1, 3)


@pytest.mark.parametrize("name", ["random", "near", "silence", "tie_value_only"])
def test_golden_loss(name: str) -> None:
    data = np.load(golden.find("av_baseline/loss.npz"))
    output = torch.from_numpy(data[f"{name}_output"]).requires_grad_()
    target = torch.from_numpy(data[f"{name}_target"])
    loss = adpit_loss(output, target)
    loss.backward()
    np.testing.assert_allclose(loss.item(), data[f"{name}_loss"], rtol=1e-6)
    if name != "tie_value_only":
        np.testing.assert_allclose(output.grad.numpy(), data[f"{name}_grad"], atol=1e-7, rtol=0)
    np.testing.assert_allclose(adpit_loss(output, target, reduction="window").mean().item(), loss.item(), rtol=1e-6)


def test_loss_is_the_least_of_the_thirteen_assignments() -> None:
    """Against the definition written out, on labels with 0 to 3 sources per class."""
    generator = torch.Generator().manual_seed(3)
    output = torch.randn(4, 3, 3, 5, 20, generator=generator, dtype=torch.float64)
    target = torch.zeros(4, 6, 3, 5, 20, dtype=torch.float64)
    for b, c, t in itertools.product(range(4), range(5), range(20)):
        sources = int(torch.randint(0, 4, (1,), generator=generator))
        slots = {0: [], 1: [0], 2: [1, 2], 3: [3, 4, 5]}[sources]
        target[b, slots, :, c, t] = torch.randn(len(slots), 3, generator=generator, dtype=torch.float64)
    a, bs, cs = target[:, 0], target[:, 1:3], target[:, 3:]
    duplicated = [p for p in itertools.product((0, 1), repeat=3) if len(set(p)) == 2]
    permuted = list(itertools.permutations(range(3)))
    stack = [torch.stack([s[:, i] for i in p], 1) for s, p in [(bs, p) for p in duplicated]]
    stack_c = [torch.stack([cs[:, i] for i in p], 1) for p in permuted]
    a3 = a[:, None].expand(-1, 3, -1, -1, -1)
    every = [a3 + stack[0] + stack_c[0]]
    every += [b + a3 + stack_c[0] for b in stack] + [c + a3 + stack[0] for c in stack_c]
    expected = torch.stack([((output - p) ** 2).mean(dim=(1, 2)) for p in every]).amin(dim=0).mean()
    np.testing.assert_allclose(adpit_loss(output, target).item(), expected.item(), rtol=1e-12)
    with pytest.raises(ValueError, match="reduction"):
        adpit_loss(output, target, reduction="sum")


def rows(events: EventTable) -> np.ndarray:
    """Rows (frame, class, azimuth, elevation), in the order of the golden rows."""
    table = np.stack([events.frame, events.class_index, events.azimuth_deg, events.elevation_deg], axis=1)
    return table[np.lexsort(table.T[::-1])]


def same_rows(ours: np.ndarray, theirs: np.ndarray, atol: float = 1e-6) -> None:
    np.testing.assert_array_equal(ours[:, :2], theirs[:, :2])
    turn = np.abs(ours[:, 2] - theirs[:, 2])
    assert np.minimum(turn, np.abs(turn - 360)).max(initial=0) <= atol
    np.testing.assert_allclose(ours[:, 3], theirs[:, 3], atol=atol, rtol=0)


@pytest.mark.parametrize("name", ["a", "b"])
def test_golden_rows(name: str) -> None:
    data = np.load(golden.find("av_baseline/detector.npz"))
    raw = data[f"{name}_raw"]
    wrapped = {tuple(cell) for cell in data[f"{name}_wrapcells"].tolist()}  # (class, frame)

    def split(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inside = np.array([(int(c), int(f)) in wrapped for f, c, *_ in table], dtype=bool)
        return table[~inside], table[inside]

    mended = split(rows(merge(decode(raw), np.full(raw.shape[2], 0.3), 15)))
    same_rows(mended[0], data[f"{name}_rows"])
    parity = decode(raw, reference_azimuth=True)
    reference = split(rows(merge(parity, 0.3, 15, reference_azimuth=True)))
    same_rows(reference[0], data[f"{name}_rows"])
    same_rows(reference[1], data[f"{name}_rows_wrapcells_REFERENCE_DEFECT"])


def test_golden_rows_grid_and_threshold() -> None:
    data = np.load(golden.find("av_baseline/detector.npz"))
    same_rows(rows(merge(decode(data["grid_raw"]), 0.3, 15)), data["grid_rows"])
    same_rows(rows(merge(decode(data["thresh_raw"]), 0.3, 15)), data["thresh_rows"])
    parity = merge(decode(data["wrap_raw"], reference_azimuth=True), 0.3, 15, reference_azimuth=True)
    same_rows(rows(parity), data["wrap_rows_REFERENCE_DEFECT"])


def test_sources_near_180_degrees_stay_there() -> None:
    data = np.load(golden.find("av_baseline/detector.npz"))
    raw = data["wrap_raw"].astype(np.float64)
    x, y = raw[:, 0], raw[:, 1]
    azimuth = np.abs(np.rad2deg(np.arctan2(y, x)))[np.hypot(x, y) > 0.2]
    events = merge(decode(data["wrap_raw"]), 0.3, 15)
    assert len(events) and np.abs(events.azimuth_deg).min() >= azimuth.min() - 1e-9
    assert events.azimuth_deg.min() >= -180 and events.azimuth_deg.max() < 180


def candidate(azimuths: list[float], activities: list[float]) -> Candidates:
    shape = (1, 1, len(azimuths))
    return Candidates(np.reshape(activities, shape), np.reshape(azimuths, shape).astype(float), np.zeros(shape))


@pytest.mark.parametrize(
    "azimuths, activities, expected",
    [
        ([10, 50, 90], [0.5, 0.5, 0.5], [(10, 0.5), (50, 0.5), (90, 0.5)]),
        ([10, 50, 90], [0.5, 0.1, 0.5], [(10, 0.5), (90, 0.5)]),
        ([10, 20, 90], [0.6, 0.4, 0.5], [(90, 0.5), (14, 0.6)]),
        ([90, 10, 20], [0.5, 0.6, 0.4], [(90, 0.5), (14, 0.6)]),
        ([20, 90, 10], [0.4, 0.5, 0.6], [(90, 0.5), (14, 0.6)]),
        ([10, 20, 90], [0.6, 0.4, 0.2], [(14, 0.6)]),
        ([0, 10, 20], [0.5, 0.5, 0.5], [(10, 0.5)]),
        ([179, -179], [0.5, 0.5], [(-180, 0.5)]),
        ([175, -179, -176], [0.5, 0.5, 0.5], [(-180, 0.5)]),
        ([30], [0.4], [(30, 0.4)]),
        ([30, 60, 90], [0.1, 0.3, 0.2], []),
    ],
)
def test_merging(azimuths: list[float], activities: list[float], expected: list[tuple[float, float]]) -> None:
    events = merge(candidate(azimuths, activities), np.array([0.3]), 15)
    found = list(zip(events.azimuth_deg, events.activity))
    np.testing.assert_allclose(np.reshape(found, (-1, 2)), np.reshape(expected, (-1, 2)), atol=1e-9)


def test_thresholds_are_per_class_and_distance_is_carried() -> None:
    shape = (2, 3, 2)
    activity = np.full(shape, 0.5)
    candidates = Candidates(
        activity, np.zeros(shape) + [0.0, 4.0], np.zeros(shape), distance_m=np.zeros(shape) + [1, 3]
    )
    events = merge(candidates, np.array([0.4, 0.5, 0.6]), 15)
    np.testing.assert_array_equal(events.class_index, [0, 0])
    np.testing.assert_array_equal(events.frame, [0, 1])
    np.testing.assert_allclose(events.azimuth_deg, 2)
    np.testing.assert_allclose(events.distance_m, 2)
    with pytest.raises(ValueError, match="tracks"):
        merge(Candidates(np.zeros((1, 1, 4)), np.zeros((1, 1, 4)), np.zeros((1, 1, 4))), 0.3)


def test_raw_output_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="raw output"):
        decode(np.zeros((3, 3, 2, 125)))


def test_silence_has_no_events() -> None:
    assert len(merge(decode(np.zeros((3, 3, 4, 240), dtype=np.float32)), 0.0)) == 0


def test_golden_end_to_end() -> None:
    """wav -> features -> network -> raw output -> rows and losses of a whole clip."""
    data = np.load(golden.find("av_baseline/e2e.npz"))
    waveform, _ = soundfile.read(golden.find_audio("av_baseline/e2e"), dtype="float32")
    network = load("net_crnn_bin3", "crnn")[0].eval()
    feature = AmplitudePhaseDifference(2)
    frames = len(waveform) // 240
    windows = np.arange(int(data["n_windows"]))
    assert len(windows) == -(-frames // 120)
    with torch.inference_mode():
        network.fc_xyz.weight.mul_(float(data["fc_weight_scale"]))
        features = feature.clip(torch.from_numpy(waveform.T.copy())[None])[0]
        audio = torch.stack([features[:, 120 * i : 120 * i + 128] for i in windows])
        output = network(audio, torch.from_numpy(data["visual_dist"]))
        items = grid_of([240 * frames], whole_windows=True).items(windows)
        raw = np.concatenate([row[..., slice(*item.keep)] for row, item in zip(output.numpy(), items)], axis=-1)
        np.testing.assert_allclose(raw, data["raw_output"], atol=3e-5, rtol=0)
        same_rows(rows(merge(decode(raw), np.full(3, 0.3), 15)), data["rows"], atol=5e-3)

        events = read_events(golden.find("av_baseline/e2e.csv"), class_count=3)
        target = torch.from_numpy(labels_on(grid_of([240 * frames]), len(windows), events, 3))
        # The reference fills the last batch with silent windows and counts them.
        silent = network(torch.zeros(1, *audio.shape[1:]), torch.zeros(1, 2, 6, 37))
        filler = adpit_loss(silent, torch.zeros(1, 6, 3, 3, 128)).item()
        each = adpit_loss(output, target, reduction="window").tolist()
        batch = int(data["batch_size"])
        each += [filler] * (-len(each) % batch)
        losses = np.reshape(each, (-1, batch)).mean(axis=1)
        np.testing.assert_allclose(losses, data["minibatch_losses"], rtol=1e-4)
        np.testing.assert_allclose(np.mean(losses), data["wav_loss"], rtol=1e-4)
