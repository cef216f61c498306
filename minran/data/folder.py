"""Your own pictures: a folder with one sub-folder for each class."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
import warnings
from pathlib import Path

import numpy as np

from minran.data.dataset import Dataset, check_split
from minran.data.pictures import PICTURE_SUFFIXES, read_each, some
from minran.errors import DataError, expect
from minran.hints import checked
from minran.streams import progress_bar

_DEPTH = 8
"""How many single folders around everything are stepped into (a link may go in a circle)."""

Pair = tuple[int, Path]
"""A label and a file."""

# Parts of a split as people call them: Train, training_set, seg_test, test1, validation, ...
_PARTS = {
    part: re.compile(rf"(\w+[-_ ])?({names})([-_ ]?(set|data|images|pictures))?[-_ ]?\d*", re.I)
    for part, names in {
        "train": "train(ing)?",
        "test": "test(ing)?",
        "val": "val(id|idation)?",
    }.items()
}
# What systems leave beside people's folders; other such names begin with a dot.
_LITTER = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")


@checked(DataError)
def load_folder(
    path: str | os.PathLike[str],
    size: int = 32,
    skip_bad: bool = False,
    split: str | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """Load PATH/CLASS/*.jpg (or png, ...) as square pictures of `size` pixels a side.

    The sorted names of the sub-folders are the classes; what lies deeper belongs to the class it
    is in. A single folder in the way is stepped into. Hidden files and folders, and files that do
    not end like pictures, are passed over; links are followed.

    A picture is turned as its EXIF entry says, cut to the central square and resized; transparent
    parts become white, 16 bits become 8. images: (N, size, size, 3) uint8, in the order of
    classes and names; labels: (N,) int64.

    split: None for all pictures, "train" or "test" for a part. Each picture's own name, below its
    class folder, decides with `seed` which part it is in, `test_fraction` of them "test"; so other
    pictures may come and go. Only where a class would have none on one side, one is taken over.
    Where the sub-folders are called train and test or val (Training, test_set, validation, ...),
    these are the parts, and hold the class folders; val is left out where test is there too.

    Raises DataError when Pillow is missing, the folder has no classes or may be meant in two ways,
    a class has too few pictures, or pictures cannot be read: they are named, or left out if
    `skip_bad`.
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
    root = Path(path).expanduser()
    try:
        class_names, pairs = _list_split(root, split, test_fraction, seed)
    except OSError as error:
        raise DataError(f"load_folder: {root} cannot be listed: {error}") from error

    pictures, labels, bad = [], [], []
    files = [file for _, file in pairs]
    name = root.resolve().name
    bar = progress_bar(
        read_each(files, size), desc=name, total=len(files), leave=False, unit="picture"
    )
    for (label, _), (file, picture) in zip(pairs, bar, strict=True):
        if isinstance(picture, np.ndarray):
            pictures.append(picture)
            labels.append(label)
        else:
            bad.append(f"{file.relative_to(root)}: {picture}")
    expect(
        not bad or skip_bad,
        f"load_folder: {len(bad)} of {len(files)} pictures in {root} cannot be read "
        f"(skip_bad=True leaves them out): " + some(bad, "; "),
        DataError,
    )
    expect(
        len(pictures) > 0, f"load_folder: no picture in {root} can be read: {bad[:1]}", DataError
    )
    return Dataset(np.stack(pictures), np.array(labels, dtype=np.int64), class_names, name)


def _list_split(
    root: Path, split: str | None, test_fraction: float, seed: int
) -> tuple[tuple[str, ...], list[Pair]]:
    """Return the class names, and (label, file) of every picture of the split."""
    expect(root.is_dir(), f"load_folder: {root} is not a folder", DataError)
    for _ in range(_DEPTH):
        root = _single_folder(root) or root
    parts = _ready_made(root)
    if parts is not None:
        parts = {part: _inside(folder) for part, folder in parts.items()}
        train, test = (_sub_folders(parts[name]) for name in ("train", "test"))
        expect(
            list(train) == list(test),
            f"load_folder: {parts['train']} and {parts['test']} must have the same classes, "
            f"only one has {sorted(set(train) ^ set(test))}",
            DataError,
        )
        wanted = ("train", "test") if split is None else (split,)
        return tuple(train), [pair for name in wanted for pair in _list_pictures(parts[name])]
    classes = _sub_folders(root)
    expect(
        len(classes) > 0,
        f"load_folder: {root} must have one sub-folder for each class, found none",
        DataError,
    )
    pairs = _list_pictures(root)
    if split is not None:
        tested = {
            file
            for label, name in enumerate(classes)
            for file in _test_part(classes[name], name, pairs, label, test_fraction, seed)
        }
        pairs = [pair for pair in pairs if (pair[1] in tested) == (split == "test")]
    return tuple(classes), pairs


def _single_folder(root: Path) -> Path | None:
    """The one sub-folder of `root`, where it is the only one and holds folders itself, no pictures.

    Archives often put a folder around everything, and a data set of one class would be no use.
    """
    folders = list(_sub_folders(root).items())
    if len(folders) != 1:
        return None
    name, inner = folders[0]
    expect(
        _part_of(name) in ("", "train"),
        f"load_folder: {root} has the folder {name} and none to train on",
        DataError,
    )
    return inner if _sub_folders(inner) and not any(map(_is_picture, inner.iterdir())) else None


def _inside(part: Path) -> Path:
    """A part of a split, or the folder of the same name that an archive put inside it."""
    inner = part / part.name
    return inner if list(_sub_folders(part).values()) == [inner] else part


def _part_of(name: str) -> str:
    """Which part of a split a folder's name says it is: "train", "test", "val", or ""."""
    return next((part for part, pattern in _PARTS.items() if pattern.fullmatch(name)), "")


def _ready_made(root: Path) -> dict[str, Path] | None:
    """The folders that somebody has split into train and test, or None if `root` holds classes.

    Raises DataError where it cannot be told, or where one of the two is missing.
    """
    folders = _sub_folders(root)
    splits = {name: _part_of(name) for name in folders if _part_of(name)}
    with_classes = [name for name in splits if _sub_folders(folders[name])]
    others = [name for name in folders if name not in splits]
    parts = sorted(splits.values())
    # Beside bus and car, train is a vehicle; but not if it has class folders of its own.
    if others and "test" not in parts and "train" not in map(_part_of, with_classes):
        return None
    if not splits:
        return None
    flat = [name for name in splits if name not in with_classes]
    problem = ""
    if others:
        problem = f"the folders {', '.join(splits)} of a split and beside them {', '.join(others)}"
    elif flat:
        problem = f"no class folders in {' and '.join(flat)}"
    elif len(set(parts)) < len(parts) or "train" not in parts or len(parts) < 2:
        problem = f"the folders {', '.join(splits)}, not one to train on and one to test on"
    advice = f", or name {folders[with_classes[0]]} alone to have it split" if with_classes else ""
    expect(
        not problem,
        f"load_folder: {root} has {problem}. Leave train and test there, with one folder in each "
        f"for each class{advice}",
        DataError,
    )
    found = {part: folders[name] for name, part in splits.items()}
    if len(found) == 3:
        warnings.warn(f"{found['val']} is left out: {found['test']} is there", stacklevel=4)
    return {"train": found["train"], "test": found.get("test") or found["val"]}


def _sub_folders(root: Path) -> dict[str, Path]:
    """The sub-folders of `root` that people made, sorted, by their names in one Unicode form.

    Raises DataError if two names differ in nothing that can be seen, or cannot be printed.
    """
    found: dict[str, Path] = {}
    for path in sorted(root.iterdir()):
        if _is_litter(path.name) or not path.is_dir():
            continue
        name = _normal(path.name)
        if name in found:
            raise DataError(
                f"load_folder: {root} has two folders called {name}, written with other characters "
                f"({found[name].name!a}, {path.name!a}): put them together"
            )
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
            raise DataError(f"load_folder: {root} has a folder whose name is no text: {name!a}")
        found[name] = path
    return dict(sorted(found.items()))


def _files(folder: Path) -> list[Path]:
    """The pictures in `folder` and below it, each once, in the order of their names."""
    # A link may lead back to where we came from, or twice to one place.
    seen = {_identity(place) for place in folder.resolve().parents}
    files = []
    for place, inner, names in os.walk(folder, onerror=_raise, followlinks=True):
        if _identity(place) in seen:
            inner.clear()
            continue
        seen.add(_identity(place))
        inner[:] = sorted(name for name in inner if not _is_litter(name))
        files += [Path(place, name) for name in names]
    return sorted(filter(_is_picture, files))


def _identity(folder: str | Path) -> tuple[int, int]:
    """What a folder is, whatever it is called."""
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _raise(error: OSError) -> None:
    raise error


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and not _is_litter(path.name)


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _LITTER


def _normal(name: str) -> str:
    """`name` with composed characters: a Mac may write an accent as a character of its own."""
    return unicodedata.normalize("NFC", name)


def _list_pictures(root: Path) -> list[Pair]:
    """Return (label, file) of every picture below the class folders of `root`, sorted."""
    pairs: list[Pair] = []
    for label, folder in enumerate(_sub_folders(root).values()):
        files = _files(folder)
        expect(
            len(files) > 0,
            f"load_folder: the class folder {folder} has no pictures "
            f"({', '.join(sorted(PICTURE_SUFFIXES))})",
            DataError,
        )
        pairs += [(label, file) for file in files]
    return pairs


def _test_part(
    folder: Path, name: str, pairs: list[Pair], label: int, test_fraction: float, seed: int
) -> set[Path]:
    """The pictures of one class that are for testing, by their names alone."""
    files = [file for other, file in pairs if other == label]
    expect(
        len(files) >= 2,
        f"load_folder: {folder} needs at least 2 pictures to be split, has {len(files)}",
        DataError,
    )
    ranks = {}
    for file in files:
        inner = _normal(file.relative_to(folder).as_posix())
        text = f"{seed}/{name}/{inner}".encode(errors="surrogateescape")
        ranks[file] = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) / 2**64
    files.sort(key=lambda file: ranks[file])
    count = sum(rank < test_fraction for rank in ranks.values())
    return set(files[: min(max(count, 1), len(files) - 1)])
