"""Open files that may be anything: a pipe without an end, a device, far too many bytes."""

from __future__ import annotations

import stat
from pathlib import Path

from minran.errors import DataError, MinranError


def expect_regular(path: Path, error: type[MinranError] = DataError) -> int:
    """Return the size in bytes of the file at `path`, without opening it.

    Opening a named pipe waits for whoever writes into it, perhaps for ever. Raises `error` naming
    the path if it is missing or anything but a plain file (links are followed).
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as reason:  # ValueError: a name with a NUL in it
        text = getattr(reason, "strerror", None) or reason
        raise error(f"{path} cannot be read: {text}") from reason
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, a socket or a device"
        raise error(f"{path} is no file but {kind}")
    return status.st_size


def read_bytes(path: Path, limit: int, error: type[MinranError] = DataError) -> bytes:
    """Return the whole content of the plain file at `path`.

    Raises `error` naming the path if that is no plain file, cannot be read or has more than
    `limit` bytes.
    """
    expect_regular(path, error)
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as reason:
        raise error(f"{path} cannot be read: {reason.strerror or reason}") from reason
    if len(content) > limit:
        raise error(f"{path} has more than {limit:,} bytes, which no such file needs")
    return content
