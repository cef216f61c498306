"""An archive from the web, with care: downloaded, resumed where it was cut, checked, unpacked."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from minran.data.dataset import need
from minran.errors import DataError
from minran.files import expect_regular
from minran.streams import progress_bar

MAX_BYTES = 1 << 29  # the published archives hold up to 187 million bytes, in 12 entries at most
MAX_ENTRIES = 1000
_CHUNK = 1 << 16
_NETWORK_ERRORS = (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException)


class _ConnectionCutError(Exception):
    """The connection ended before the whole file had come."""


def fetch(
    url: str,
    path: Path,
    md5: str,
    progress: bool | None = None,
    size: int | None = None,
    timeout: float = 30.0,
    attempts: int = 3,
) -> None:
    """Download `url` to `path`, which appears only once it is complete and its MD5 is right.

    The bytes go to `path` + ".part"; where an earlier call left that file, the download goes on
    (an HTTP Range request). A connection that is cut is taken up again, `attempts` times in all.
    progress: show a bar; None shows it only in a terminal. size: no more bytes are taken.

    Raises DataError when the server cannot be reached, refuses, keeps breaking off, or sends a
    file that is longer than `size` or has another checksum (which is then deleted).
    """
    part = path.with_name(path.name + ".part")
    for attempt in range(1, attempts + 1):
        try:
            _stream(url, part, progress, timeout, size)
            break
        except _ConnectionCutError as error:
            if attempt == attempts:
                raise DataError(f"{url}: {error}; run again to go on from there") from None
        except _NETWORK_ERRORS as error:
            reason = getattr(error, "reason", None) or error
            raise DataError(f"{url}: {reason or type(error).__name__}") from error
    came, actual = part.stat().st_size, md5_of(part)
    if actual != md5:
        with part.open("rb") as file:
            page = file.read(200).lstrip().lower().startswith((b"<!doctype", b"<html"))
        part.unlink()  # Otherwise the next call would resume from the wrong bytes, for ever.
        raise DataError(
            f"{url}: wrong checksum: expected MD5 {md5}, got {actual} ({came} bytes"
            f"{', a web page instead of the file' if page else ''}); the download was deleted"
        )
    part.replace(path)


def md5_of(path: Path) -> str:
    """Return the MD5 of a file as 32 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def _stream(url: str, part: Path, progress: bool | None, timeout: float, size: int | None) -> None:
    """Append to `part` what is missing of `url`; raise _ConnectionCutError if it is cut short."""
    have = expect_regular(part) if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "minran"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 416 or not have:
            raise
        # Nothing lies beyond the bytes that we have: they are the whole file, or a wrong one,
        # which the checksum decides.
        return
    with response:
        # 206 is "Partial Content"; a 200 sends the file from its beginning.
        done = have if response.status == 206 else 0
        sent = response.headers.get("Content-Range", "")
        if response.status == 206 and not sent.startswith(f"bytes {have}-"):
            asked = f"asked for the bytes from {have} on"
            raise http.client.HTTPException(f"{asked}, the server sent {sent!r}")
        # The length is None if the server did not say, or said nonsense.
        total = None if response.length is None else done + response.length
        bar = progress_bar(
            total=total, initial=done, desc=part.stem, unit="B", unit_scale=True, show=progress
        )
        with bar, part.open("r+b" if done else "wb") as file:
            file.seek(done)
            while size is None or done <= size:
                try:
                    chunk = response.read(_CHUNK)
                except (OSError, http.client.IncompleteRead) as error:
                    broke = f"the connection broke after {done} bytes ({type(error).__name__})"
                    raise _ConnectionCutError(broke) from error
                if not chunk:
                    break
                file.write(chunk)
                done += len(chunk)
                bar.update(len(chunk))
    if size is not None and done > size:
        part.unlink()
        raise DataError(f"{url}: more than {size} bytes came; the download was deleted")
    if total is not None and done < total:
        raise _ConnectionCutError(f"the connection ended after {done} of {total} bytes")


def extract(archive: Path, folder: str) -> Path:
    """Unpack the .tar.gz `archive`, whose content is one `folder`, beside it; return the folder.

    Only plain files and folders are written, below a temporary folder that is renamed at the end,
    so a half-unpacked folder is never seen.

    Raises DataError for an entry that is a link, a device or a file with holes, or whose name
    leads outside, and for more than MAX_ENTRIES entries or MAX_BYTES unpacked bytes.
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
            # No owners, sane rights: from Python 3.11.4 on.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            for number, entry in enumerate(tar, 1):
                need(number <= MAX_ENTRIES, f"{archive}: more than {MAX_ENTRIES} entries")
                _expect_harmless(entry, archive.name)
                tar.extract(entry, temporary)
        there = (temporary / folder).is_dir()
        need(there, f"{archive}: expected a folder {folder} in it, found none")
        (temporary / folder).rename(target)
    except DataError:
        raise
    except Exception as error:  # A damaged archive can raise nearly anything.
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise DataError(f"{archive}: cannot be unpacked to {target}: {error}") from error
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{archive}: not a complete .tar.gz archive ({reason})") from error
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
        need(self.left >= 0, f"the archive holds more than {MAX_BYTES:,} bytes")
        return content


def _expect_harmless(entry: tarfile.TarInfo, archive: str) -> None:
    """Raise DataError unless the entry is a plain file or a folder within the archive's folder."""
    # Sharper than tarfile's own filter: that unpacks links, and files of holes only. "\\" and ":"
    # mean nothing in a tar, but separate folders and drives on Windows.
    name, named = entry.name, f"{archive}: entry {entry.name!r}"
    outside = name.startswith("/") or ".." in PurePosixPath(name).parts or set(name) & set("\\:")
    need(not outside, f"{named} leads outside the archive's folder")
    plain = (entry.isfile() or entry.isdir()) and not entry.issparse()
    need(plain, f"{named} is neither a plain file nor a folder")
