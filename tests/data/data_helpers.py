"""Small stand-ins for CIFAR's files, and a web server that can be told to misbehave."""

from __future__ import annotations

import hashlib
import http.server
import io
import pickle
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minran.data import cifar


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` at every path; counts requests and remembers their Range headers."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.cuts: list[int] = []  # for each request to come: break off after so many bytes
        self.knows_ranges = True
        self.status = 200
        self.ranges: list[str | None] = []
        self.paths: list[str] = []
        self.headers: dict[str, str] = {}  # what the server says besides, or instead
        self.repeat = 1  # how often it sends the content
        self.crawl = 0.0  # seconds between two thousand bytes

    def handle_error(self, request: object, client_address: object) -> None:
        """Who has gone away in the middle is no news."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range")
        server.ranges.append(wanted)
        server.paths.append(self.path)
        start = 0
        if server.status in range(300, 400):
            self.send_response(server.status)
            for name, value in server.headers.items():
                self.send_header(name, value)
            self.end_headers()
            return
        if server.status != 200:
            self.send_error(server.status)
            return
        if wanted and server.knows_ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(server.content):
                self.send_error(416)
                return
            self.send_response(206)
            last = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{last + 1}")
        else:
            self.send_response(200)
        body = server.content[start:]
        for name, value in ({"Content-Length": str(len(body))} | server.headers).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if server.cuts:
            body = body[: server.cuts.pop(0)]
        for _ in range(server.repeat):
            step = 1000 if server.crawl else max(1, len(body))
            for place in range(0, len(body), step):
                self.wfile.write(body[place : place + step])
                time.sleep(server.crawl)

    def log_message(self, *args: object) -> None:
        pass


def fake_records(count: int, label_bytes: int, seed: int) -> np.ndarray:
    """Random records in the official layout, (count, label_bytes + 3072) uint8."""
    rng = np.random.default_rng(seed)
    records = rng.integers(0, 256, (count, label_bytes + 3072), dtype=np.uint8)
    records[:, :label_bytes] %= 10
    return records


def pack(files: dict[str, bytes]) -> bytes:
    """A .tar.gz of plain files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def write_cifar10(folder: Path, files: dict[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, records in files.items():
        if "batch" in name:
            records.tofile(folder / name)
    return folder


def python_files(
    files: dict[str, np.ndarray], text: Callable[[str], str | bytes] = str
) -> dict[str, bytes]:
    """The pickles of CIFAR-10's Python edition that hold such records."""
    contents = {
        name: {text("data"): records[:, 1:], text("labels"): records[:, 0].tolist()}
        for name, records in files.items()
        if "batch" in name
    }
    return {k.removesuffix(".bin"): pickle.dumps(v, protocol=2) for k, v in contents.items()}


def archive_of(files: dict[str, np.ndarray], form: str = "binary") -> bytes:
    """CIFAR-10's archive of that edition."""
    if form == "python":
        return pack({f"cifar-10-batches-py/{k}": v for k, v in python_files(files).items()})
    return pack(
        {f"cifar-10-batches-bin/{k}": v.tobytes() for k, v in files.items() if "batch" in k}
    )


def expect_archives(monkeypatch: pytest.MonkeyPatch, **contents: bytes) -> None:
    """Make what is given as `binary` and `python` the published archives of CIFAR-10."""
    editions = []
    for edition in cifar.CIFAR10.editions:
        content = contents.get(edition.form, b"")
        md5 = hashlib.md5(content).hexdigest()
        editions.append(replace(edition, archive_size=len(content), md5=md5))
    monkeypatch.setattr(cifar, "CIFAR10", replace(cifar.CIFAR10, editions=tuple(editions)))
