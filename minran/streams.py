"""What a person sees of a program's work, where there is a person: it never ends the work.

A terminal may be closed, a reader (`head`, `less`) may have seen enough, a service may have no
streams at all, a console may lack a letter. `Output` stands before such a stream and never raises.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from minran.errors import OutputError

READER_GONE = (errno.EPIPE, errno.EIO, errno.ECONNRESET)  # nobody reads at the other end any more


class Output:
    """A text stream that never raises: after a failure, what is written is dropped.

    A letter that the stream's encoding lacks is written as its number. `stream` may be None, or
    anything with `write`. `failure` is what came, if something did.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.failure: Exception | None = None

    def write(self, text: str) -> int:
        """Write `text` if the stream takes it."""
        try:
            self._try("write", text)
        except UnicodeEncodeError as error:
            known = text.encode(error.encoding, "backslashreplace").decode(error.encoding)
            self._try("write", known)
        return len(text)

    def flush(self) -> None:
        """Hand on what was written, if the stream takes it."""
        if hasattr(self.stream, "flush"):
            self._try("flush")

    def isatty(self) -> bool:
        """Whether a person sits there."""
        try:
            return self.failure is None and bool(self.stream.isatty())
        except Exception:  # there is none, it is closed, or a writer that cannot say
            return False

    def _try(self, method: str, *arguments: str) -> None:
        if self.stream is None or self.failure is not None:
            return
        try:
            getattr(self.stream, method)(*arguments)
        except UnicodeEncodeError:
            raise
        except (RuntimeError, BlockingIOError):
            pass  # within another write (a signal came), or a reader who is slow: the next may pass
        except Exception as error:
            self.failure = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def sturdy() -> Iterator[None]:
    """Within the block, nothing that is printed raises, and a closed descriptor is no trap.

    Raises OutputError after it if standard output lost something, unless a reader went away.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # Else the next file that is opened gets this number, and what is meant for the
            # stream, by a library or a child, is written into it.
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    output, errors = Output(sys.stdout), Output(sys.stderr)
    sys.stdout, sys.stderr = output, errors  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in (output, errors):
            stream.flush()
            if stream.failure is not None:
                _divert(stream.stream)
        lost = output.failure
        if isinstance(lost, OSError) and lost.errno not in READER_GONE:
            raise OutputError(f"standard output is not complete: {lost.strerror}") from lost


def _divert(stream: Any) -> None:
    """What the stream still holds goes nowhere: when Python ends, it would try once more."""
    with suppress(AttributeError, ValueError, OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def visible(text: str) -> str:
    """The text with escapes for what cannot be seen, such as a line break."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def text_table(rows: Sequence[Sequence[str]], right: Collection[int]) -> list[str]:
    """Rows of cells as lines in columns, of which those in `right` are flush to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def progress_bar(
    iterable: Iterable[Any] | None = None,
    *,
    show: bool | None = None,
    output: Output | None = None,
    **options: Any,
) -> Any:
    """tqdm's progress bar on standard error; by default only where a person sits there."""
    from tqdm import tqdm

    output = output or Output(sys.stderr)
    shown = output.isatty() if show is None else show
    return tqdm(iterable, file=output, disable=not shown, dynamic_ncols=True, **options)
