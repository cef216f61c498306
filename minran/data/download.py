"""Download one file over HTTP: with progress, resuming what was cut, checked by MD5."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import BinaryIO

from minran.errors import DataError
from minran.files import expect_regular
from minran.streams import progress_bar

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

    The bytes go to `path` + ".part"; if that file is there already, from an earlier call that was
    cut, the download goes on where it ends (an HTTP Range request; a server that does not know
    ranges sends the whole file again). A connection that is cut is taken up again, `attempts`
    times in all. progress: show a bar; None shows it only in a terminal. size: no more bytes are
    taken.

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
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


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
        start, total = _extent(response, have)
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            done = _copy(response, file, start, total, part.stem, progress, size)
    if size is not None and done > size:
        part.unlink()
        raise DataError(f"{url}: more than {size} bytes came; the download was deleted")
    if total is not None and done < total:
        raise _ConnectionCutError(f"the connection ended after {done} of {total} bytes")


def _extent(response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
    """Return where the body of `response` starts in the file, and the file's whole size."""
    length = response.length  # None if the server did not say, or said nonsense
    start = 0
    if response.status == 206:  # "Partial Content"; a 200 sends the file from its beginning.
        content_range = response.headers.get("Content-Range", "")
        if not content_range.startswith(f"bytes {have}-"):
            raise http.client.HTTPException(
                f"asked for the bytes from {have} on, the server sent {content_range!r}"
            )
        start = have
    return start, None if length is None else start + length


def _copy(
    response: http.client.HTTPResponse,
    file: BinaryIO,
    done: int,
    total: int | None,
    name: str,
    progress: bool | None,
    size: int | None,
) -> int:
    """Copy the body to `file` under a progress bar; return the size that the file has reached.

    Of a body that goes beyond `size` the rest is left where it is.
    """
    with progress_bar(
        total=total,
        initial=done,
        desc=name,
        unit="B",
        unit_scale=True,
        show=progress,
    ) as bar:
        while True:
            try:
                chunk = response.read(_CHUNK)
            except (OSError, http.client.IncompleteRead) as error:
                raise _ConnectionCutError(
                    f"the connection broke after {done} bytes ({type(error).__name__})"
                ) from error
            if not chunk:
                return done
            file.write(chunk)
            done += len(chunk)
            bar.update(len(chunk))
            if size is not None and done > size:
                return done
