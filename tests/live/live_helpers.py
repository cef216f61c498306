"""A server of the shipped small networks, and a browser that opens its page."""

from __future__ import annotations

import functools
import http.server
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minran.live import Server, load_network
from minran.live.server import COMPARED, first_pictures


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words: Any) -> None:
        pass


@contextmanager
def serving(*names: str) -> Iterator[Server]:
    """A server of these networks, or those that are compared, answering in a thread."""
    networks = {name: load_network(name) for name in names or COMPARED}
    server = Server(networks, *first_pictures(32), "quickstart")
    with answering(server):
        yield server


@contextmanager
def files_served(folder: Path) -> Iterator[str]:
    """The address under which a folder is served within the block."""
    handler = functools.partial(Quiet, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with answering(server):
        yield f"http://127.0.0.1:{server.server_port}/"


@contextmanager
def answering(server: socketserver.BaseServer) -> Iterator[None]:
    """A server answers in a thread within the block, and is closed after it."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
