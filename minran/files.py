"""Files that are written whole or not at all, and files that may be anything when they are read."""

from __future__ import annotations

import glob
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from minran.errors import CheckpointError, DataError, MinranError, expect

TEMPORARY = ".minran-tmp"
PICTURES = (".png", ".svg", ".pdf")  # the endings of figures


@contextmanager
def explained(
    error: type[MinranError], before: str, after: str = "", kinds: Any = OSError
) -> Iterator[None]:
    """Raise `error` for what fails in the block, if it is of these `kinds`.

    Its message is `before`, the reason, `after`; what is an `error` already passes as it is.
    """
    try:
        yield
    except kinds as problem:
        if isinstance(problem, error):
            raise
        why = getattr(problem, "strerror", None) or str(problem)
        why = why if isinstance(problem, MinranError) else why[:300]
        deep = isinstance(problem, RecursionError)
        raise error(f"{before}{'it is nested too deeply' if deep else why}{after}") from problem


def write_atomically(
    path: str | Path, data: bytes | str, error: type[MinranError] = CheckpointError
) -> None:
    """Write `data` next to `path`, force it to the disk, then put it in place in one move.

    A folder that is missing is not made: it may have been removed while its owner was at work.
    Raises `error` if that fails; then what was there before is still there. A process that is
    killed here leaves a temporary file (`is_temporary`), which nobody reads, and which goes when
    `path` is written an hour later.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with explained(error, f"could not write {path} (", "); what was there before is unchanged"):
            with open(temporary, "wb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _clear_leftovers(path)
    finally:
        # Gone already if all went well; and a failure to clean up is not the news.
        with suppress(OSError):
            temporary.unlink()


def append_line(path: Path, line: str, error: type[MinranError] = CheckpointError) -> None:
    """Add a line to a file, and force it to the disk. Raises `error` if that fails."""
    refused = explained(error, f"could not write {path} (", ")")
    with refused, open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def _clear_leftovers(path: Path) -> None:
    """Remove what processes that are gone left when they wrote `path`."""
    with suppress(OSError):
        for left in path.parent.glob(f".{glob.escape(path.name)}.*{TEMPORARY}"):
            process = left.name.removesuffix(TEMPORARY).rpartition(".")[2]
            # A process that is not known here may be at work on another machine, but not for long.
            old = left.stat().st_mtime < time.time() - 3600
            if old and process.isdigit() and not _is_running(int(process)):
                left.unlink()


def _is_running(process: int) -> bool:
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
    with explained(error, f"could not make {path} (", ")"):
        path.mkdir(parents=True, exist_ok=True)


def is_temporary(path: Path) -> bool:
    """Whether `path` is what a killed process left of `write_atomically`."""
    return path.name.startswith(".") and path.name.endswith(TEMPORARY)


def expect_ending(path: str | Path, endings: Sequence[str], what: str) -> Path:
    """`path`, if its ending agrees with what the file will hold: one of `endings`, such as
    (".png", ".svg"); capitals are as good. what: names the option in the message ("--out").

    Raises DataError if the ending is another.
    """
    found, known = Path(path), " or ".join(endings)
    message = f"{what} must end in {known}, which says what the file holds; got {str(path)!r}"
    expect(found.suffix.lower() in endings, message, DataError)
    return found


def expect_writable(path: str | Path, endings: Sequence[str], what: str) -> Path:
    """`path`, if a file of one of `endings` can be written there: asked before any work is done.

    Raises DataError as `expect_ending`, and if the folder is missing or a folder is there.
    """
    folder = Path(path).parent
    expect(not Path(path).is_dir(), f"{what}: {str(path)!r} is a folder, not a file", DataError)
    found = expect_ending(path, endings, what)
    expect(folder.is_dir(), f"{what}: there is no folder {folder} for {found}", DataError)
    return found


def expect_regular(path: Path, error: type[MinranError] = DataError) -> int:
    """Return the size in bytes of the file at `path`, without opening it.

    Opening a named pipe waits for whoever writes into it, perhaps for ever. Raises `error` naming
    the path if it is missing or anything but a plain file (links are followed).
    """
    # ValueError: a name with a NUL in it
    with explained(error, f"{path} cannot be read: ", "", (OSError, ValueError)):
        status = path.stat()
    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, a socket or a device"
    expect(stat.S_ISREG(status.st_mode), f"{path} is no file but {kind}", error)
    return status.st_size


def read_bytes(path: Path, limit: int, error: type[MinranError] = DataError) -> bytes:
    """Return the whole content of the plain file at `path`.

    Raises `error` naming the path if that fails, or there are more than `limit` bytes.
    """
    expect_regular(path, error)
    with explained(error, f"{path} cannot be read: "), path.open("rb") as file:
        content = file.read(limit + 1)
    message = f"{path} has more than {limit:,} bytes, which no such file needs"
    expect(len(content) <= limit, message, error)
    return content
