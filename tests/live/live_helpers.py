"""A server of the shipped small networks, and a browser that opens its page."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from minran.live import Server, load_network
from minran.live.server import COMPARED, first_pictures


@contextmanager
def serving() -> Iterator[Server]:
    """A server within the block, answering in a thread."""
    networks = {name: load_network(name) for name in COMPARED}
    server = Server(networks, *first_pictures(32), "quickstart")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
