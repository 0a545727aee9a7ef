"""Downloads of the official detectors, from a server of our own: cut short, wrong, missing, good."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import object_detection
from detection import models
from util.cache import VARIABLE, cache_folder
from util.cli import run_main
from util.errors import InputError

CONTENT = bytes(range(256)) * 800


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT in the way that the first folder of the path says."""

    requests = 0

    def do_GET(self):
        Handler.requests += 1
        way = self.path.split("/")[1]
        if way == "missing":
            self.send_error(404)
            return
        body = {"wrong": CONTENT[:-1] + b"?", "long": CONTENT + b"more", "short": CONTENT[:50000]}.get(way, CONTENT)
        self.send_response(200)
        if way != "short":
            self.send_header("Content-Length", str(len(CONTENT) if way == "cut" else len(body)))
        self.end_headers()
        self.wfile.write(body[: 100_000 if way == "cut" else None])

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "cache"))
    wanted = models.OfficialFile("yolox_tiny.onnx", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setitem(models.OFFICIAL, "yolox_tiny", wanted)
    return tmp_path / "cache"


def test_a_file_is_downloaded_once(server, cache, monkeypatch):
    monkeypatch.setenv(models.URL_VARIABLE, f"{server}/good/")
    before = Handler.requests
    path = models.model_path("yolox_tiny", progress=False)
    assert path == cache / "yolox_tiny.onnx" and path.read_bytes() == CONTENT
    assert models.model_path("yolox_tiny", progress=False) == path
    assert Handler.requests == before + 1
    assert list(cache.iterdir()) == [path]


@pytest.mark.parametrize(
    "way, message",
    [
        ("cut", "broke off after 100000 of 204800 bytes"),
        ("short", "broke off after 50000 of 204800 bytes"),
        ("wrong", "is not the official file: 204800 bytes, sha256"),
        ("long", "is not the official file"),
        ("missing", "cannot be downloaded (Not Found)"),
    ],
)
def test_bad_downloads_leave_nothing_and_say_how_to_help_oneself(server, cache, monkeypatch, capsys, way, message):
    monkeypatch.setenv(models.URL_VARIABLE, f"{server}/{way}")
    assert run_main(object_detection.main, ["a.mp4", "--detector", "yolox_tiny", "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error
    assert f"place the file at {cache / 'yolox_tiny.onnx'} by hand" in error and "--detector builtin" in error
    assert list(cache.iterdir()) == []


def test_no_network(cache, monkeypatch):
    monkeypatch.setenv(models.URL_VARIABLE, "http://127.0.0.1:9")  # the discard port: nobody listens
    with pytest.raises(InputError, match=r"cannot be downloaded .*place the file at"):
        models.model_path("yolox_tiny", progress=False)
    monkeypatch.setenv(models.URL_VARIABLE, "no url")
    with pytest.raises(InputError, match="cannot be downloaded"):
        models.model_path("yolox_tiny", progress=False)
    assert list(cache.iterdir()) == []


def test_a_file_placed_by_hand_is_checked(cache):
    cache.mkdir()
    (cache / "yolox_tiny.onnx").write_bytes(CONTENT)
    assert models.model_path("yolox_tiny").read_bytes() == CONTENT
    (cache / "yolox_tiny.onnx").write_bytes(CONTENT[::-1])
    with pytest.raises(InputError, match=r"is not the official file .*delete it"):
        models.model_path("yolox_tiny")


def test_the_official_files_and_the_folder(monkeypatch, tmp_path):
    assert {name: (one.file, one.size) for name, one in models.OFFICIAL.items()} == {
        "yolox_nano": ("yolox_nano.onnx", 3659407),
        "yolox_tiny": ("yolox_tiny.onnx", 20219662),
        "yolox_s": ("yolox_s.onnx", 35858002),
    }
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "audio-visual-seld"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "audio-visual-seld"
