"""Read picture files as they come from cameras, scanners, phones and strangers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minran.errors import DataError, expect, import_extra
from minran.files import expect_regular
from minran.hints import checked

PICTURE_SUFFIXES = frozenset(
    {
        *(".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff"),
        ".webp",
    }
)
# What those files hold. A file's content decides, not its name: without this list a file that is
# called x.png could start any of Pillow's readers, one of which runs another program.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

MAX_PIXELS = 89_478_485
"""Pictures of more pixels (9,459 x 9,459) are not decoded: a small file can hold a huge picture.
The number is the one at which Pillow begins to warn."""
_NAMED = 20
"""How many bad files a message names."""


@checked(DataError)
def read_pictures(files: Sequence[str | Path], size: int = 32) -> np.ndarray:
    """Read picture files as (N, size, size, 3) uint8, each cut to a square and resized.

    Raises DataError naming the files that cannot be read, or when Pillow is missing.
    """
    expect(len(files) > 0, "read_pictures: expected at least one file, got none", DataError)
    expect(size >= 1, f"read_pictures: size must be at least 1, got {size}", DataError)
    pictures, bad = [], []
    for file, picture in read_each(map(Path, files), size):
        if isinstance(picture, np.ndarray):
            pictures.append(picture)
        else:
            bad.append(f"{file} ({picture})")
    expect(not bad, f"could not read {some(bad, ', ')}", DataError)
    return np.stack(pictures)


def read_each(files: Iterable[Path], size: int) -> Iterator[tuple[Path, np.ndarray | str]]:
    """Yield every file with its picture, (size, size, 3) uint8, or with why it cannot be read.

    Raises DataError when Pillow is missing.
    """
    needs = "load_folder: reading pictures needs Pillow"
    pillow = import_extra("PIL", "images", needs, DataError)
    for file in files:
        try:
            yield file, _read_picture(file, size)
        except pillow.UnidentifiedImageError:
            yield file, f"it is no picture ({', '.join(_FORMATS)})"
        except Exception as error:  # A damaged picture can raise nearly anything.
            # The file's name stands beside the reason already.
            yield file, str(error).removeprefix(f"{file} ") or type(error).__name__


def some(items: Sequence[str], separator: str) -> str:
    """The first items, and how many more there are."""
    rest = f"{separator}and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return separator.join(items[:_NAMED]) + rest


def _read_picture(file: Path, size: int) -> np.ndarray:
    """Read one picture as (size, size, 3) uint8."""
    from PIL import Image, ImageOps

    expect_regular(file)
    with warnings.catch_warnings():
        # Below the check is sharper than Pillow's, which warns.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        opened = Image.open(file, formats=_FORMATS)
    with opened:
        width, height = opened.size
        expect(
            width * height <= MAX_PIXELS,
            f"it has {width} x {height} pixels, more than {MAX_PIXELS:,}: make it smaller",
            DataError,
        )
        ImageOps.exif_transpose(opened, in_place=True)
        picture: Any = opened
        if picture.mode.startswith(("I", "F")):
            picture = _eight_bits(opened)
        if "A" in picture.getbands() or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture)
        if picture.mode != "RGB":  # a copy less of what may be large
            picture = picture.convert("RGB")
        fitted = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    return np.asarray(fitted, dtype=np.uint8)


def _eight_bits(picture: Any) -> Any:
    """A grey picture of 16 bits with 8: white, which is 65535, becomes 255.

    Pillow's own conversion would cut every value above 255. PNG and PGM say what white is, and so
    does a TIFF of 16 bits without a sign; of numbers of 32 bits nobody knows.

    Raises DataError for those.
    """
    from PIL import Image

    expect(
        picture.mode.startswith("I;16")
        or (picture.mode == "I" and picture.format in ("PNG", "PPM")),
        f"its pixels are numbers of 32 bits (mode {picture.mode}), of which nobody knows which is "
        "white: save it with 8 or 16 bits",
        DataError,
    )
    values = np.asarray(picture)
    table = np.rint(np.arange(65536) / 257).astype(np.uint8)
    if getattr(picture, "tag_v2", {}).get(262) == 0:  # a TIFF in which 0 is white
        table = table[::-1]
    grey = Image.fromarray(table[values])
    if "transparency" in picture.info:  # one value that stands for "nothing here"
        there = values != picture.info["transparency"]
        grey.putalpha(Image.fromarray(np.where(there, np.uint8(255), np.uint8(0))))
    return grey
