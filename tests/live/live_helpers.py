"""A server of the shipped quickstart network, and a browser that opens its page."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import minran
from minran.live import Server
from minran.live.server import first_pictures
from minran.train.weights import weights_file


@contextmanager
def serving() -> Iterator[Server]:
    """A server within the block, answering in a thread."""
    trained = minran.train.load_pretrained("quickstart")
    pictures, names, masks = first_pictures(32)
    networks = {"trained": trained.model, "random weights": random_one()}
    server = Server(
        networks, trained.preprocess, trained.class_names, pictures, names, masks, "quickstart"
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def random_one() -> minran.nn.Module:
    """The quickstart's network before any training."""
    with weights_file("quickstart") as file:
        recipe = minran.train.parse(minran.train.load_checkpoint(file).recipe)
    return minran.train.make_model(recipe, 10).eval()
