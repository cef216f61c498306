"""Attention, live: a page in the browser where a trained network runs under the reader's hand.

`look` is one pass with everything that the page shows of it; `Server` hands the page and its
answers to this machine's own browser, and to nobody else.
"""

from minran.live.network import Shown, Step, look
from minran.live.server import Network, Server, load_network

__all__ = ["Network", "Server", "Shown", "Step", "load_network", "look"]
