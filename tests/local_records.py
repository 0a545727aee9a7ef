"""A server on this machine that serves records and files as Zenodo does, and misbehaves where it is told to."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


@dataclass
class Records:
    """What is served, and how.

    Attributes
    ----------
    files : record -> name -> bytes
    breaks : name -> the transfers of it that break off, each after so many bytes
    ranges : "yes", "ignored" (all comes again), "refused" (416), "shifted" (another range than asked for)
    listed : whether there is a json of the records; checksums: what it says of files instead of the truth
    asked : (name, Range header) of each request for a file
    """

    files: dict[int, dict[str, bytes]]
    breaks: dict[str, list[int]] = field(default_factory=dict)
    ranges: str = "yes"
    listed: bool = True
    checksums: dict[str, str | None] = field(default_factory=dict)
    status: dict[str, list[int]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def record(self, number: int) -> dict:
        rows = []
        for name, content in self.files[number].items():
            checksum = self.checksums.get(name, "md5:" + hashlib.md5(content).hexdigest())
            rows.append({"key": name, "size": len(content), "checksum": checksum})
        return {"id": number, "files": rows}


@contextmanager
def served(records: Records) -> Iterator[Records]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_) -> None:
            pass

        def do_GET(self) -> None:
            file = re.fullmatch(r"/api/records/(\d+)/files/([^/]+)/content|/plain/(\d+)/([^/]+)", self.path)
            about = re.fullmatch(r"/api/records/(\d+)", self.path)
            number, name = ("0", "") if file is None else [one for one in file.groups() if one is not None]
            if file is not None and unquote(name) in records.files.get(int(number), {}):
                self.send_file(int(number), unquote(name))
            elif about is not None and records.listed and int(about[1]) in records.files:
                self.send(200, json.dumps(records.record(int(about[1]))).encode())
            else:
                self.send(404, b"nothing here")

        def send(self, status: int, content: bytes, **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(content)

        def send_file(self, number: int, name: str) -> None:
            content, asked = records.files[number][name], self.headers.get("Range")
            records.asked.append((name, asked))
            if records.status.get(name):
                self.send(records.status[name].pop(0), b"not now")
                return
            first, status, headers = 0, 200, {}
            if asked is not None and records.ranges != "ignored":
                first = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
                if records.ranges == "refused" or first >= len(content):
                    self.send(416, b"", Content_Range=f"bytes */{len(content)}")
                    return
                told = first + (5 if records.ranges == "shifted" else 0)
                status, headers = 206, {"Content-Range": f"bytes {told}-{len(content) - 1}/{len(content)}"}
            self.send_response(status)
            self.send_header("Content-Length", str(len(content) - first))
            for key, value in headers.items():
                self.send_header(key, value)
            self.end_headers()
            cut = records.breaks[name].pop(0) if records.breaks.get(name) else None
            self.wfile.write(content[first:] if cut is None else content[first : first + cut])
            if cut is not None:
                self.wfile.flush()
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    records.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield records
    finally:
        server.shutdown()
        server.server_close()
