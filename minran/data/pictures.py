"""Image files: how one is read, and how many are, ahead of the step and in bounded memory."""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from minran import backend
from minran.data.dataset import Pictures, need
from minran.errors import DataError, import_extra, some
from minran.files import expect_regular
from minran.hints import checked
from minran.streams import progress_bar

# What is read, and how it is called. A file's content decides, not its name: without this list a
# file that is called x.png could start any of Pillow's readers, one of which runs another program.
_FORMATS = {
    "BMP": [".bmp"],
    "GIF": [".gif"],
    "JPEG": [".jfif", ".jpeg", ".jpg"],
    "PNG": [".png"],
    "PPM": [".pgm", ".ppm"],
    "TIFF": [".tif", ".tiff"],
    "WEBP": [".webp"],
}
SUFFIXES = sorted(ending for endings in _FORMATS.values() for ending in endings)

# Larger pictures are not decoded: a small file can hold a huge one. Pillow warns from here on.
MAX_PIXELS = 89_478_485
FITS = ("cut", "pad", "stretch")
"""How an image of another shape becomes a square."""
NAMED = 20  # how many bad files a message names
_BLOCK = 1024  # files that wait for the reading threads at one time
_ENDS = {"GIF": b";", "JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
"""How a whole file ends. What ends in another way may still be whole."""


@checked(DataError, size=1, fit=FITS)
def read_pictures(files: Sequence[str | Path], size: int = 32, fit: str = "cut") -> np.ndarray:
    """Read image files as (N, size, size, 3) uint8, made square as `load_folder` does it.

    Raises DataError naming the files that cannot be read, or when Pillow is missing.
    """
    need(len(files) > 0, "read_pictures: expected at least one file, got none")
    pictures, bad = read_all(list(map(str, files)), size, fit)
    named = [f"{files[place]} ({reason})" for place, reason in bad.items()]
    need(not bad, f"could not read {some(named, NAMED)}")
    return pictures


class PictureFiles(Pictures):
    """Image files as an array (N, size, size, 3) uint8 that is read as it is needed.

    stamps: (N, 2) int64, length and time of each file as `survey` found them. Threads decode the
    images that are asked for, as many as the kernels of a CPU use (`MINRAN_NUM_THREADS`); none
    is kept. Raises DataError, when it is read, for a file that has changed or broken since.
    """

    def __init__(self, files: Sequence[str], stamps: np.ndarray, size: int, fit: str) -> None:
        super().__init__((len(files), size, size, 3))
        self.files, self.stamps, self.fit = files, stamps, fit

    def read(self, places: np.ndarray) -> np.ndarray:
        """The images of the files at `places`, decoded now."""
        pictures = np.empty((len(places), *self.shape[1:]), np.uint8)

        def read(place: int) -> np.ndarray:
            same = np.array_equal(_stamp(self.files[place]), self.stamps[place])
            need(same, "it was changed meanwhile")
            return _read_picture(self.files[place], self.shape[1], self.fit)

        which = places.tolist()
        for row, found in enumerate(_on_threads(read, which, self.files)):
            bad = f"{self.files[which[row]]} cannot be read as at the start: {found}"
            need(not isinstance(found, str), bad)
            pictures[row] = found
        return pictures

    def checksum(self) -> int:
        """Of the names of files and folders of classes, and of the files' lengths."""
        crc = 0
        for place in self.places.tolist():
            file, (length, _) = self.files[place], self.stamps[place]
            name = "/".join(file.split(os.sep)[-2:])
            crc = zlib.crc32(f"{name} {length}\n".encode(errors="surrogateescape"), crc)
        return crc


def read_all(
    files: Sequence[str], size: int, fit: str, name: str = ""
) -> tuple[np.ndarray, dict[int, str]]:
    """The images that can be read, and by their places in `files` why the others cannot.

    name: what a progress bar is about; no bar without one.
    """
    pictures = np.empty((len(files), size, size, 3), np.uint8)
    return _filled(pictures, lambda file: _read_picture(file, size, fit), files, name)


def survey(files: Sequence[str], name: str) -> tuple[np.ndarray, dict[int, str]]:
    """Length and time of each file that can be read, (n, 2) int64; by place why others cannot.

    Of each file the beginning is read, which says what image it is and how large, and the end;
    one that does not end as whole files of its format do is decoded. So damage in the middle,
    where both ends are good, is not seen.
    """
    return _filled(np.empty((len(files), 2), np.int64), _survey, files, name)


def _filled(
    found: np.ndarray, work: Callable[[str], np.ndarray], files: Sequence[str], name: str
) -> tuple[np.ndarray, dict[int, str]]:
    """The results of all files that can be read, in `found`; of the others why not."""
    bad: dict[int, str] = {}
    for place, one in enumerate(_loudly(work, files, name)):
        if isinstance(one, str):
            bad[place] = one
        else:
            found[place - len(bad)] = one
    return found[: len(files) - len(bad)], bad


def _survey(file: str) -> np.ndarray:
    """The stamp of a file that looks whole."""
    stamp = _stamp(file)
    with _opened(file) as picture, open(file, "rb") as stream:
        if picture.mode.startswith(("I", "F")):
            _expect_white(picture)
        stream.seek(-min(int(stamp[0]), 8), os.SEEK_END)
        end = _ENDS.get(picture.format)
        whole = end is not None and stream.read().endswith(end)
        if not whole:
            picture.load()
    return stamp


def _stamp(file: str) -> np.ndarray:
    """Length in bytes and time of the last change in nanoseconds."""
    status = os.stat(file)
    return np.array([status.st_size, status.st_mtime_ns])


def _loudly(work: Callable[[Any], Any], files: Sequence[str], name: str) -> Iterator[Any]:
    """`_on_threads`, with a progress bar if it has a name, and without Pillow's warnings."""
    options: Any = {"show": None if name else False, "desc": name, "leave": False}
    # Ours is sharper than the check of which Pillow warns. Filters are of the whole process.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", _pillow().DecompressionBombWarning)
        results = _on_threads(work, files, files)
        yield from progress_bar(results, unit="picture", total=len(files), **options)


def _on_threads(
    work: Callable[[Any], Any], items: Sequence[Any], files: Sequence[str]
) -> Iterator[Any]:
    """`work` of each item in order, or the reason, as text, why that file cannot be read."""
    unknown = import_extra("PIL", "images", "", DataError).UnidentifiedImageError

    def attempt(item: Any) -> Any:
        try:
            return work(item)
        except unknown:
            return f"it is no image ({', '.join(_FORMATS)})"
        except Exception as error:  # A damaged picture can raise nearly anything.
            # The file's name stands beside the reason already.
            file = item if isinstance(item, str) else files[item]
            return str(error).removeprefix(f"{file} ") or type(error).__name__

    threads = ThreadPoolExecutor(backend.load("numpy").threads(), "minran-reader")
    try:
        for start in range(0, len(items), _BLOCK):
            yield from threads.map(attempt, items[start : start + _BLOCK])
    finally:
        threads.shutdown(cancel_futures=True)


def _pillow() -> Any:
    needs = "load_folder: reading images needs Pillow"
    import_extra("PIL", "images", needs, DataError)
    return import_extra("PIL.Image", "images", needs, DataError)


@contextmanager
def _opened(file: str) -> Iterator[Any]:
    """An image whose beginning is read: its kind and its size."""
    expect_regular(Path(file))
    with _pillow().open(file, formats=list(_FORMATS)) as opened:
        width, height = opened.size
        many = f"it has {width} x {height} pixels, more than {MAX_PIXELS:,}: make it smaller"
        need(width * height <= MAX_PIXELS, many)
        yield opened


def _read_picture(file: str, size: int, fit: str) -> np.ndarray:
    """Read one image as (size, size, 3) uint8."""
    from PIL import Image, ImageOps

    with _opened(file) as opened:
        ImageOps.exif_transpose(opened, in_place=True)
        picture: Any = opened
        if picture.mode.startswith(("I", "F")):
            _expect_white(opened)
            picture = _eight_bits(opened)
        if "A" in picture.getbands() or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture)
        if picture.mode != "RGB":  # a copy less of what may be large
            picture = picture.convert("RGB")
        ways: Any = {"cut": ImageOps.fit, "pad": ImageOps.pad, "stretch": Image.Image.resize}
        fitted = ways[fit](picture, (size, size), Image.Resampling.LANCZOS)
    return np.asarray(fitted, dtype=np.uint8)


def _expect_white(picture: Any) -> None:
    """Raise DataError for numbers of 32 bits, unless PNG or PGM says what white is."""
    mode = picture.mode
    need(
        mode.startswith("I;16") or (mode == "I" and picture.format in ("PNG", "PPM")),
        f"its pixels are numbers of 32 bits (mode {mode}), of which nobody knows which is "
        "white: save it with 8 or 16 bits",
    )


def _eight_bits(picture: Any) -> Any:
    """A grey image of 16 bits with 8: white, 65535, becomes 255 (Pillow would cut it)."""
    from PIL import Image

    values = np.asarray(picture)
    table = np.rint(np.arange(65536) / 257).astype(np.uint8)
    if getattr(picture, "tag_v2", {}).get(262) == 0:  # a TIFF in which 0 is white
        table = table[::-1]
    grey = Image.fromarray(table[values])
    if "transparency" in picture.info:  # one value that stands for "nothing here"
        there = values != picture.info["transparency"]
        grey.putalpha(Image.fromarray(np.where(there, np.uint8(255), np.uint8(0))))
    return grey
