"""Files that are written whole or not at all, and files that may be anything when they are read."""

from __future__ import annotations

import glob
import os
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from minran.errors import CheckpointError, DataError, MinranError, expect

TEMPORARY = ".minran-tmp"
PICTURES = (".png", ".svg", ".pdf")
"""The endings of figures."""


def write_atomically(
    path: str | Path, data: bytes | str, error: type[MinranError] = CheckpointError
) -> None:
    """Write `data` beside `path`, force it to the disk, then put it in place in one move.

    A folder that is missing is not made: it may have been removed while its owner was at work.

    Raises `error` if that fails; then what was there before is still there. A process that is
    killed here leaves a temporary file (`is_temporary`), which nobody reads, and which goes when
    `path` is written an hour later.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with open(temporary, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _clear_leftovers(path)
    except OSError as problem:
        raise error(
            f"could not write {path} ({problem.strerror or problem}); what was there before is "
            "unchanged"
        ) from problem
    finally:
        # Gone already if all went well; and a failure to clean up is not the news.
        with suppress(OSError):
            temporary.unlink()


def _clear_leftovers(path: Path) -> None:
    """Remove what processes that are gone left when they wrote `path`."""
    with suppress(OSError):
        for left in path.parent.glob(f".{glob.escape(path.name)}.*{TEMPORARY}"):
            process = left.name.removesuffix(TEMPORARY).rpartition(".")[2]
            # A process that is not known here may be at work on another machine, but not for long.
            old = left.stat().st_mtime < time.time() - 3600
            if old and process.isdigit() and not is_running(int(process)):
                left.unlink()


def is_running(process: int) -> bool:
    """Whether there is a process of that number on this machine."""
    if os.name != "posix":
        return True  # os.kill would end it there
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # another user's, or no number of a process
    return True


def make_folder(path: Path, error: type[MinranError] = DataError) -> None:
    """Make a folder and those above it, unless it is there. Raises `error` if that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise error(f"could not make {path} ({problem.strerror or problem})") from problem


def is_temporary(path: Path) -> bool:
    """Whether `path` is what a killed process left of `write_atomically`."""
    return path.name.startswith(".") and path.name.endswith(TEMPORARY)


def expect_ending(path: str | Path, endings: Sequence[str], what: str) -> Path:
    """`path`, if its ending agrees with what the file will hold: one of `endings`, such as
    (".png", ".svg"); capitals are as good. what: names the option in the message ("--out").

    Raises DataError if the ending is another.
    """
    found = Path(path)
    expect(
        found.suffix.lower() in endings,
        f"{what} must end in {' or '.join(endings)}, which says what the file holds; got "
        f"{str(path)!r}",
        DataError,
    )
    return found


def expect_writable(path: str | Path, endings: Sequence[str], what: str) -> Path:
    """`path`, if a file of one of `endings` can be written there: asked before any work is done.

    Raises DataError as `expect_ending`, and if the folder is missing or a folder is there.
    """
    found = Path(path)
    expect(not found.is_dir(), f"{what}: {str(path)!r} is a folder, not a file", DataError)
    expect_ending(path, endings, what)
    expect(
        found.parent.is_dir(), f"{what}: there is no folder {found.parent} for {found}", DataError
    )
    return found


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
