"""ResNet-50 features of pictures: the network's form, what it is shown, files beside videos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from dataset.recordings import Boxes, Recording
from dataset.seen import PRODUCERS, RESNET50
from detection.resnet50 import Backbone, ensure_looks, look_at_times, weights_file
from net.resnet50 import ResNet50
from tests.formula_weights import fill
from tests.tiny import tiny_video
from util.errors import InputError
from util.looks import LookTrack, look_file, read_looks, write_looks
from util.microphone_arrays import ARRAYS


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A file of the form of the published one, its numbers drawn: those cannot be had without a network."""
    path = tmp_path_factory.mktemp("weights") / "drawn.pth"
    return drawn_weights(path)


def drawn_weights(path: Path) -> Path:
    torch.manual_seed(0)
    state = ResNet50().state_dict()
    torch.save({**state, "fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}, path)
    return path


def test_network_has_the_published_form():
    network = ResNet50()
    assert sum(parameter.numel() for parameter in network.parameters()) == 25557032 - 1000 * 2049
    names = network.state_dict()
    assert len(names) == 320 - 2 and names["layer4.2.conv3.weight"].shape == (2048, 512, 1, 1)
    assert names["layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
    with torch.inference_mode():
        assert network.eval()(torch.zeros(1, 3, 224, 224)).shape == (1, 2048, 7, 7)


def test_output_is_that_of_torchvision():
    """Recorded of torchvision 0.28.0, `resnet50` without pooling and classifier: the same to the last bit."""
    place = torch.arange(3 * 224 * 224, dtype=torch.float64)
    pictures = torch.sin(0.37 * place + 0.11 * torch.sin(0.013 * place)).reshape(1, 3, 224, 224).float()
    with torch.inference_mode():
        made = fill(ResNet50())(pictures)
    rows = made.mean(dim=1)[0, ::3].numpy()
    due = [
        [1687.1721, 2422.9199, 2799.8530, 2948.0808, 2923.5537, 2725.1172, 2156.4360],
        [2725.2866, 3954.7556, 4583.6318, 4810.5063, 4779.8315, 4408.9287, 3358.2542],
        [2204.6936, 3144.7253, 3650.5837, 3727.3740, 3700.6855, 3430.9561, 2671.7334],
    ]
    np.testing.assert_allclose(rows, due, rtol=1e-4)
    some = made[0, [0, 511, 1024, 2047], [0, 3, 6, 2], [6, 3, 1, 5]].numpy()
    np.testing.assert_allclose(some, [3496.4661, 8524.5020, 8194.8809, 4755.5679], rtol=1e-3)


def test_names_and_numbers_are_those_of_torchvision(weights):
    try:
        from torchvision.models import ResNet50_Weights, resnet50
    except (ImportError, RuntimeError):
        pytest.skip("torchvision is not there, or loads only beside another PyTorch")
    theirs = resnet50().eval()
    theirs.load_state_dict(torch.load(weights, weights_only=True))
    backbone, picture = Backbone(str(weights)), scene()
    backbone.crops = True
    shown = ResNet50_Weights.IMAGENET1K_V2.transforms()(Image.fromarray(cv2.resize(picture, (360, 180))))
    np.testing.assert_array_equal(backbone.prepared(picture), shown.numpy())
    with torch.inference_mode():
        due = torch.nn.Sequential(*list(theirs.children())[:-2])(shown[None]).mean(dim=1).numpy()
    np.testing.assert_allclose(backbone.look([picture]), due, atol=1e-5 * np.abs(due).max())


def scene() -> np.ndarray:
    """640 x 320: columns grow in red, rows in green."""
    column, row = np.arange(640) * 255 // 639, np.arange(320)[:, None] * 255 // 319
    return np.stack(np.broadcast_arrays(column, row, 0), axis=-1).astype(np.uint8)


def test_whole_picture_is_shown_unless_the_crop_of_the_baselines_is_asked_for(weights):
    backbone = Backbone(str(weights))
    scale, shift = np.array((0.229, 0.224, 0.225))[:, None, None], np.array((0.485, 0.456, 0.406))[:, None, None]
    whole = backbone.prepared(scene()) * scale + shift
    assert whole.shape == (3, 224, 224)
    assert whole[0].min() < 0.01 and whole[0].max() > 0.99 and whole[1].min() < 0.01 and whole[1].max() > 0.99
    backbone.crops = True
    cropped = backbone.prepared(scene()) * scale + shift
    # 464 columns are left of 640; the middle 224 of them are shown: 120 / 464 to 344 / 464 of the azimuth
    assert abs(cropped[0].min() - 120 / 464) < 0.01 and abs(cropped[0].max() - 344 / 464) < 0.01
    assert cropped[1].min() < 0.03 and cropped[1].max() > 0.97


def test_files_lie_beside_videos_and_are_made_once(weights, tmp_path, capsys):
    video = tmp_path / "clip.mp4"
    tiny_video(video, 0.4)
    (path,) = ensure_looks([video], str(weights))
    assert path == tmp_path / "clip.looks-drawn.npz" == look_file(video, str(weights))
    track, made = read_looks(path), path.stat().st_mtime_ns
    assert track.values.shape == (4, 7, 7) and track.values.any() and np.allclose(track.time_s, np.arange(4) / 10)
    assert track.meta["producer"] == "resnet50" and len(track.meta["model_sha256"]) == 64
    ensure_looks([video], str(weights))
    assert path.stat().st_mtime_ns == made
    tiny_video(video, 0.5)
    ensure_looks([video], str(weights))
    assert len(read_looks(path).time_s) == 5

    recording = Recording("clip", tmp_path / "clip.wav", None, video, ARRAYS["foa"], 24000, 24000)
    seen = Boxes(str(weights), producer=RESNET50)
    found = seen(recording, np.array([0.31, 5.0]))
    np.testing.assert_allclose(found, [track.values[3], np.zeros((7, 7))], rtol=1e-4)
    pairs = [(index / 10, np.full((32, 64, 3), 90, np.uint8)) for index in range(3)]
    found = look_at_times(pairs, Backbone(str(weights)), np.array([0.0, 0.15]))
    assert found.values.shape == (2, 7, 7) and found.values.any()


def test_bad_files_and_names_end_in_one_error(weights, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        weights_file(str(tmp_path / "none.pth"))
    with pytest.raises(InputError, match=r"resnet50_crop or the \.pth file"):
        weights_file("yolox_tiny")
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="holds no ResNet-50"):
        Backbone(str(tmp_path / "other.pth"))
    write_looks(tmp_path / "a.npz", LookTrack(np.arange(2.0), np.ones((2, 7, 7), np.float32), 2.0))
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:200])
    with pytest.raises(InputError, match="damaged"):
        read_looks(tmp_path / "b.npz")
    with pytest.raises(InputError, match="no such file"):
        read_looks(tmp_path / "c.npz")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(InputError) as caught:
        ensure_looks([tmp_path / "broken.mp4"], str(weights))
    assert str(caught.value.path).endswith("broken.mp4")


@pytest.mark.parametrize("producer", PRODUCERS.values(), ids=PRODUCERS)
def test_every_producer_sees_nothing_in_its_own_shape(producer):
    seen = producer.nothing(None, np.zeros(3))
    assert seen.shape == (3, *producer.shape) and seen.dtype == np.float32 and not seen.any()
