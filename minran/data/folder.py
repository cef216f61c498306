"""Your own pictures: a folder with one sub-folder for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from minran.data.dataset import Dataset, check_split
from minran.errors import DataError, expect

PICTURE_SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


def load_folder(
    path: str | os.PathLike[str],
    size: int = 32,
    skip_bad: bool = False,
    split: str | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """Load PATH/CLASS/*.jpg (or png, ...) as square pictures of `size` pixels a side.

    The sorted names of the sub-folders are the classes. A picture is turned as its EXIF entry says,
    cut to the central square and resized; transparent parts become white. Hidden files and files
    that do not end like pictures are passed over. split: None for all pictures; "train" or "test"
    for one part of each class, `test_fraction` of it for testing, drawn with `seed` from the file
    names (at least one picture on either side). If PATH has exactly the sub-folders train and test
    and these have sub-folders, they are the splits. images: (N, size, size, 3) uint8, in the order
    of classes and names; labels: (N,) int64.

    Raises DataError when Pillow is missing, the folder has no classes, a class has too few
    pictures, or pictures cannot be read: all of them are named, or left out if `skip_bad`.
    """
    if split is not None:
        check_split(split)
    expect(size >= 1, f"load_folder: size must be at least 1, got {size}", DataError)
    expect(
        0 < test_fraction < 1,
        f"load_folder: test_fraction must lie between 0 and 1, got {test_fraction}",
        DataError,
    )
    expect(seed >= 0, f"load_folder: seed must not be negative, got {seed}", DataError)
    pillow = _import_pillow()
    root = Path(path).expanduser()
    class_names, files = _list_split(root, split, test_fraction, seed)

    pictures, labels, bad = [], [], []
    for label, file in tqdm(files, desc=root.name, unit="picture", disable=None, leave=False):
        try:
            pictures.append(_read_picture(pillow, file, size))
            labels.append(label)
        except (OSError, ValueError, SyntaxError, pillow.Image.DecompressionBombError) as error:
            bad.append(f"{file.relative_to(root)}: {error}")
    expect(
        not bad or skip_bad,
        f"load_folder: {len(bad)} of {len(files)} pictures in {root} cannot be read "
        f"(skip_bad=True leaves them out): " + "; ".join(bad),
        DataError,
    )
    expect(
        len(pictures) > 0, f"load_folder: no picture in {root} can be read: {bad[:1]}", DataError
    )
    return Dataset(np.stack(pictures), np.array(labels, dtype=np.int64), class_names, root.name)


def _list_split(
    root: Path, split: str | None, test_fraction: float, seed: int
) -> tuple[tuple[str, ...], list[tuple[int, Path]]]:
    """Return the class names, and (label, file) of every picture of the split."""
    expect(root.is_dir(), f"load_folder: {root} is not a folder", DataError)
    ready_made = {name: root / name for name in ("train", "test")}
    if _folder_names(root) == ("test", "train") and all(map(_folder_names, ready_made.values())):
        class_names = _folder_names(ready_made["train"])
        test_names = _folder_names(ready_made["test"])
        expect(
            class_names == test_names,
            f"load_folder: {root}/train and {root}/test must have the same classes, "
            f"only one has {sorted(set(class_names) ^ set(test_names))}",
            DataError,
        )
        wanted = ("train", "test") if split is None else (split,)
        return class_names, [pair for name in wanted for pair in _list_pictures(ready_made[name])]

    class_names = _folder_names(root)
    expect(
        len(class_names) > 0,
        f"load_folder: {root} must have one sub-folder for each class, found none",
        DataError,
    )
    pairs = _list_pictures(root)
    if split is None:
        return class_names, pairs
    chosen = []
    for label, name in enumerate(class_names):
        of_class = [pair for pair in pairs if pair[0] == label]
        count = len(of_class)
        expect(
            count >= 2,
            f"load_folder: {root / name} needs at least 2 pictures to be split, has {count}",
            DataError,
        )
        test_count = min(max(round(test_fraction * count), 1), count - 1)
        shuffled = np.random.default_rng([seed, label]).permutation(count)
        part = shuffled[:test_count] if split == "test" else shuffled[test_count:]
        chosen += [of_class[i] for i in np.sort(part)]
    return class_names, chosen


def _folder_names(root: Path) -> tuple[str, ...]:
    """Return the sorted names of the sub-folders that are not hidden."""
    return tuple(
        sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    )


def _list_pictures(root: Path) -> list[tuple[int, Path]]:
    """Return (label, file) of every picture below the class folders of `root`, sorted."""
    pairs: list[tuple[int, Path]] = []
    for label, name in enumerate(_folder_names(root)):
        files = [
            file
            for file in sorted((root / name).rglob("*"))
            if file.suffix.lower() in PICTURE_SUFFIXES and not file.name.startswith(".")
        ]
        expect(
            len(files) > 0,
            f"load_folder: the class folder {root / name} has no pictures "
            f"({', '.join(sorted(PICTURE_SUFFIXES))})",
            DataError,
        )
        pairs += [(label, file) for file in files]
    return pairs


def read_pictures(files: Sequence[str | Path], size: int = 32) -> np.ndarray:
    """Read picture files as (N, size, size, 3) uint8, each cut to a square and resized.

    Raises DataError naming the files that cannot be read, or when Pillow is missing.
    """
    pillow = _import_pillow()
    pictures, bad = [], []
    for file in map(Path, files):
        try:
            pictures.append(_read_picture(pillow, file, size))
        except (OSError, ValueError, SyntaxError, pillow.Image.DecompressionBombError) as error:
            bad.append(f"{file} ({error})")
    expect(not bad, f"could not read {', '.join(bad)}", DataError)
    return np.stack(pictures)


def _import_pillow() -> Any:
    """Return the PIL package, or raise DataError that says how to install it."""
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise DataError(
            'load_folder: reading pictures needs Pillow: pip install "minran[images]"'
        ) from error
    return PIL


def _read_picture(pillow: Any, file: Path, size: int) -> np.ndarray:
    """Read one picture as (size, size, 3) uint8."""
    with pillow.Image.open(file) as opened:
        picture = pillow.ImageOps.exif_transpose(opened)
        if "A" in picture.getbands() or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            white = pillow.Image.new("RGBA", picture.size, "white")
            picture = pillow.Image.alpha_composite(white, picture)
        picture = picture.convert("RGB")
        fitted = pillow.ImageOps.fit(picture, (size, size), pillow.Image.Resampling.LANCZOS)
    return np.asarray(fitted, dtype=np.uint8)
