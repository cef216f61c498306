"""Unpack a .tar.gz archive with care."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from minran.errors import DataError
from minran.files import expect_regular

MAX_BYTES = 1 << 29
"""The published archives hold up to 187 million bytes, in 12 entries at most."""
MAX_ENTRIES = 1000


def extract(archive: Path, folder: str) -> Path:
    """Unpack the .tar.gz `archive`, whose content is one `folder`, beside it; return the folder.

    Only plain files and folders are written, below a temporary folder that is renamed at the end,
    so a half-unpacked folder is never seen. An entry that is a link, a device or a file with
    holes, or whose name leads outside, stops everything, and so does an archive of more than
    MAX_ENTRIES entries or of more than MAX_BYTES bytes when it is unpacked.

    Raises DataError naming the archive and the entry.
    """
    target = archive.parent / folder
    expect_regular(archive)
    temporary = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=archive.parent))
    try:
        # "r|": a stream, of which no more is ever read than `_Bounded` lets through.
        with (
            gzip.open(archive) as content,
            tarfile.open(fileobj=cast(BinaryIO, _Bounded(content)), mode="r|") as tar,
        ):
            for number, entry in enumerate(tar, 1):
                if number > MAX_ENTRIES:
                    raise DataError(f"{archive}: more than {MAX_ENTRIES} entries")
                _write_entry(tar, entry, temporary, archive.name)
        if not (temporary / folder).is_dir():
            raise DataError(f"{archive}: expected a folder {folder} in it, found none")
        (temporary / folder).rename(target)
    except DataError:
        raise
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            raise DataError(f"{archive}: not a complete .tar.gz archive ({error})") from error
        raise DataError(f"{archive}: cannot be unpacked to {target}: {error}") from error
    except Exception as error:  # A damaged archive can raise nearly anything.
        raise DataError(
            f"{archive}: not a complete .tar.gz archive ({type(error).__name__}: {error})"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


class _Bounded:
    """A stream that ends with a DataError after MAX_BYTES bytes."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self.stream = stream
        self.left = MAX_BYTES

    def read(self, size: int) -> bytes:
        content = self.stream.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise DataError(f"the archive holds more than {MAX_BYTES:,} bytes")
        return content


def _write_entry(
    tar: tarfile.TarFile, entry: tarfile.TarInfo, destination: Path, archive: str
) -> None:
    """Write one file or folder of an archive below `destination`, or raise DataError."""
    parts = PurePosixPath(entry.name).parts
    # "\\" and ":" mean nothing in a tar, but separate folders and drives on Windows.
    escapes = entry.name.startswith("/") or ".." in parts or any(c in entry.name for c in "\\:")
    if escapes:
        raise DataError(f"{archive}: entry {entry.name!r} leads outside the archive's folder")
    if not (entry.isfile() or entry.isdir()) or entry.issparse():
        raise DataError(f"{archive}: entry {entry.name!r} is neither a plain file nor a folder")
    path = destination.joinpath(*parts)
    if entry.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(entry)
    if content is None:
        raise DataError(f"{archive}: entry {entry.name!r} has no content")
    with content, path.open("xb") as file:
        shutil.copyfileobj(content, file)
