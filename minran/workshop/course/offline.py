"""Refuse connections to other machines, so that a notebook cannot lean on the network."""

from __future__ import annotations

import socket
from typing import Any

LOCAL = ("127.0.0.1", "::1", "localhost", "")


def go_offline() -> None:
    """From now on, Python sockets of this process reach this machine only."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
    look_up = socket.getaddrinfo

    def checked(self: socket.socket, address: Any) -> None:
        _expect_local(address)
        return connect(self, address)

    def checked_ex(self: socket.socket, address: Any) -> int:
        _expect_local(address)
        return connect_ex(self, address)

    def checked_look_up(host: Any, *args: Any, **options: Any) -> Any:
        _expect_local((host,))
        return look_up(host, *args, **options)

    kind: Any = socket.socket
    kind.connect, kind.connect_ex = checked, checked_ex
    socket.getaddrinfo = checked_look_up


def _expect_local(address: Any) -> None:
    host = address[0] if isinstance(address, tuple) else ""
    if host is not None and str(host) not in LOCAL:
        raise OSError(f"the course's notebooks run offline; {host} was asked for")
