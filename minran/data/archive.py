"""An archive from the web, with care: downloaded, resumed where it was cut, checked, unpacked."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from minran.data.dataset import need
from minran.errors import DataError
from minran.files import expect_regular
from minran.streams import progress_bar

MAX_BYTES = 1 << 29  # the published archives hold up to 187 million bytes, in 12 entries at most
MAX_ENTRIES = 1000
WINDOW = 10.0  # the seconds over which a rate is taken
_CHUNK = 1 << 16
# ValueError: what is no address.
_NETWORK_ERRORS = (OSError, http.client.HTTPException, ValueError)


@dataclass(frozen=True)
class Source:
    """An address, the file that its content becomes, and what that content must be."""

    url: str
    path: Path
    md5: str
    size: int


class SlowError(DataError):
    """A server sends, but slowly: `rate` bytes a second."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        super().__init__(f"only {rate / 1000:.0f} kB/s in the last {WINDOW:.0f} s")


class _ConnectionCutError(Exception):
    """The connection ended before the whole file had come."""


def fetch_first(sources: Sequence[Source], least_rate: float = 0.0) -> Source:
    """Download the first of `sources` that can be had, in their order (`fetch`); return it.

    A warning says why one is left for the next. One that is slower than `least_rate` is left too,
    but where no other has the file, the fastest of the slow ones goes on from where it was.

    Raises DataError with the reasons of all.
    """
    reasons: dict[str, str] = {}
    slow: list[tuple[float, Source]] = []
    waiting = list(sources)
    while waiting:
        source = waiting.pop(0)
        try:
            fetch(source.url, source.path, source.md5, size=source.size, least_rate=least_rate)
            for other in sources:  # What came from the others is of no use any more.
                with suppress(OSError):
                    _part_of(other.path).unlink()
            return source
        except SlowError as error:
            slow.append((error.rate, source))
            reasons[source.url] = str(error)
        except DataError as error:
            reasons[source.url] = str(error)
        if not waiting:
            least_rate, slow = 0.0, sorted(slow, key=lambda pair: pair[0])
            waiting = [slow.pop()[1]] if slow else []
        if waiting:
            left = f"{source.url}: {reasons[source.url]}; trying {waiting[0].url}"
            warnings.warn(left, stacklevel=2)
    raise DataError("; ".join(f"{url}: {reason}" for url, reason in reasons.items()))


def fetch(
    url: str,
    path: Path,
    md5: str,
    progress: bool | None = None,
    size: int | None = None,
    timeout: float = 30.0,
    attempts: int = 3,
    least_rate: float = 0.0,
) -> None:
    """Download `url` to `path`, which appears only once it is complete and its MD5 is right.

    The bytes go to `path` + ".part"; where an earlier call left that file, the download goes on
    (an HTTP Range request), and begins anew if those bytes were wrong. A connection that is cut
    is taken up again, `attempts` times in all. progress: show a bar; None shows it only in a
    terminal. size: no more bytes are taken.

    Raises DataError when the server cannot be reached, refuses, keeps breaking off, or sends a
    file that is longer than `size` or has another checksum (which is then deleted), and SlowError
    when it sends less than `least_rate` bytes a second over WINDOW seconds.
    """
    part = _part_of(path)
    resumed = part.exists()
    for attempt in range(1, attempts + 1):
        try:
            _stream(url, part, progress, timeout, size, least_rate)
            break
        except _ConnectionCutError as error:
            need(attempt < attempts, f"{error}; run again to go on from there")
    came, actual = part.stat().st_size, md5_of(part)
    if actual == md5:
        part.replace(path)
        return
    with part.open("rb") as file:
        page = file.read(200).lstrip().lower().startswith((b"<!doctype", b"<html"))
    part.unlink()  # Otherwise the next call would resume from the wrong bytes, for ever.
    wrong = f"wrong checksum: expected MD5 {md5}, got {actual} ({came} bytes"
    wrong += f"{', a web page instead of the file' if page else ''}); the download was deleted"
    need(resumed, wrong)
    fetch(url, path, md5, progress, size, timeout, attempts, least_rate)


def _part_of(path: Path) -> Path:
    """The file that grows until it is the whole of `path`."""
    return path.with_name(path.name + ".part")


def md5_of(path: Path) -> str:
    """Return the MD5 of a file as 32 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).hexdigest()


def _stream(
    url: str, part: Path, progress: bool | None, timeout: float, size: int | None, least_rate: float
) -> None:
    """Append to `part` what is missing of `url`; raise _ConnectionCutError if it is cut short."""
    have = expect_regular(part) if part.exists() else 0
    response = _request(url, have, min(timeout, WINDOW) if least_rate else timeout)
    if response is None:
        return
    with response:
        # 206 is "Partial Content"; a 200, or a file, comes from its beginning.
        done = have if response.status == 206 else 0
        sent = response.headers.get("Content-Range", "")
        good = response.status != 206 or sent.startswith(f"bytes {have}-")
        need(good, f"asked for the bytes from {have} on, the server sent {sent!r}")
        # None where the server did not say, or said nonsense, and for a file.
        length = getattr(response, "length", None)
        total = None if length is None else done + length
        known: Any = {"total": total or size, "initial": done}
        bar = progress_bar(desc=part.stem, unit="B", unit_scale=True, show=progress, **known)
        with bar, part.open("r+b" if done else "wb") as file:
            file.seek(done)
            for chunk in _chunks(response, least_rate):
                file.write(chunk)
                done += len(chunk)
                bar.update(len(chunk))
                if size is not None and done > size:
                    break
    if size is not None and done > size:
        part.unlink()
        raise DataError(f"more than {size} bytes came; the download was deleted")
    if total is not None and done < total:
        raise _ConnectionCutError(f"the connection ended after {done} of {total} bytes")


def _request(url: str, have: int, timeout: float) -> Any:
    """The response to a request for what follows the first `have` bytes; None: nothing does."""
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "minran"})
        if request.type == "file":
            expect_regular(Path(urllib.request.url2pathname(request.selector)))
        if have:
            request.add_header("Range", f"bytes={have}-")
        return urllib.request.urlopen(request, timeout=timeout)
    except DataError:
        raise
    except _NETWORK_ERRORS as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
            if error.code == 416 and have:
                return None  # The bytes are the whole file, or wrong ones: the checksum decides.
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise DataError(reason or type(error).__name__) from error


def _chunks(response: Any, least_rate: float) -> Iterator[bytes]:
    """The content as it comes. Raises SlowError, or _ConnectionCutError where it breaks off."""
    since, came = time.monotonic(), 0
    while True:
        try:
            # What is there by now: until a whole chunk is, hours may pass.
            chunk = response.read1(_CHUNK)
        except (OSError, http.client.IncompleteRead) as error:
            if least_rate and isinstance(error, TimeoutError):
                raise SlowError(came / (time.monotonic() - since)) from error
            broke = f"the connection broke ({type(error).__name__})"
            raise _ConnectionCutError(broke) from error
        if not chunk:
            return
        yield chunk
        came += len(chunk)
        seconds = time.monotonic() - since
        if seconds >= WINDOW:
            if came < least_rate * seconds:
                raise SlowError(came / seconds)
            since, came = time.monotonic(), 0


def extract(archive: Path, folder: str) -> Path:
    """Unpack the .tar.gz `archive`, whose content is one `folder`, next to it; return the folder.

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
