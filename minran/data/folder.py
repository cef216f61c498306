"""Your own images, in a folder with one sub-folder for each class."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
import warnings
from pathlib import Path

import numpy as np

from minran.data.dataset import SPLITS, Dataset, need
from minran.data.pictures import FITS, NAMED, SUFFIXES, PictureFiles, read_all, survey
from minran.errors import DataError, some
from minran.hints import checked

_DEPTH = 8  # how many single folders around everything are stepped into (a link may go in a circle)

# Parts of a split as people call them: Train, training_set, seg_test, test1, validation, ...
_PART = re.compile(
    r"(\w+[-_ ])?((?P<train>train(ing)?)|(?P<test>test(ing)?)|(?P<val>val(id|idation)?))"
    r"([-_ ]?(set|data|images|pictures))?[-_ ]?\d*",
    re.IGNORECASE,
)
# What systems leave beside people's folders; other such names begin with a dot.
_LITTER = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")


@checked(DataError, size=1, seed=0, memory=0, split=SPLITS, fit=FITS)
def load_folder(
    path: str | os.PathLike[str],
    size: int = 32,
    skip_bad: bool = False,
    split: str | None = None,
    test_fraction: float = 0.2,
    seed: int = 0,
    fit: str = "cut",
    memory: float = 1.0,
) -> Dataset:
    """Load PATH/CLASS/*.jpg (or png, ...) as square images of `size` pixels a side.

    The sorted names of the sub-folders are the classes, with all that lies deeper in them; a
    single folder in the way is stepped into. Hidden files and folders, and files that do not end
    like images, are passed over; links are followed. An image is turned as its EXIF entry
    says, made square and resized; transparent parts become white, 16 bits become 8.
    images: (N, size, size, 3) uint8, in the order of classes and names; labels: (N,) int64.

    memory: if the squares, N size^2 3 bytes, take at most so many GiB, all are decoded now and
    held in memory. More are `Pictures`: decoded each time that they are asked for, with the
    same values. Then only both ends of each file are read now, to find those that are broken.

    fit: "cut" takes the central square; "pad" shows the whole image between black borders;
    "stretch" shows it in another shape.

    split: None for all images, "train" or "test" for a part. Each image's own name decides
    with `seed` which part it is in, `test_fraction` of them "test", so other images may come
    and go; only where a class would have none on one side, one is taken over. Where the
    sub-folders are called train and test or val (Training, test_set, validation, ...), these are
    the parts, and hold the class folders; val is left out where test is there too.

    Raises DataError when Pillow is missing, the folder has no classes or may be meant in two ways,
    a class has too few images, or (unless `skip_bad`) naming images that cannot be read.
    """
    between = 0 < test_fraction < 1
    need(between, f"load_folder: test_fraction must lie between 0 and 1, got {test_fraction}")
    root = Path(path).expanduser()
    try:
        class_names, pairs = _list_split(root, split, test_fraction, seed)
    except OSError as error:
        raise DataError(f"load_folder: {root} cannot be listed: {error}") from error
    files, name = [str(file) for _, file in pairs], root.resolve().name
    if held := len(files) * size**2 * 3 <= memory * 2**30:
        images, bad = read_all(files, size, fit, name)
    else:
        stamps, bad = survey(files, name)
    named = [f"{pairs[place][1].relative_to(root)}: {reason}" for place, reason in bad.items()]
    which = f"{len(bad)} of {len(files)} images in {root} cannot be read"
    advice = "(skip_bad=True leaves them out)"
    need(not bad or skip_bad, f"load_folder: {which} {advice}: {some(named, NAMED, '; ')}")
    need(len(bad) < len(files), f"load_folder: no image in {root} can be read: {named[:1]}")
    good = [place for place in range(len(files)) if place not in bad]
    labels = np.array([pairs[place][0] for place in good], dtype=np.int64)
    if held:
        return Dataset(images, labels, class_names, name)
    found = PictureFiles([files[place] for place in good], stamps, size, fit)
    return Dataset(found, labels, class_names, name)


def _list_split(
    root: Path, split: str | None, test_fraction: float, seed: int
) -> tuple[tuple[str, ...], list[tuple[int, Path]]]:
    """Return the class names, and (label, file) of every image of the split."""
    need(root.is_dir(), f"load_folder: {root} is not a folder")
    for _ in range(_DEPTH):
        root = _single_folder(root) or root
    if parts := _ready_made(root):
        train, test = map(_sub_folders, parts)
        same, both = list(train) == list(test), f"{parts[0]} and {parts[1]}"
        odd = f"only one has {sorted(set(train) ^ set(test))}"
        need(same, f"load_folder: {both} must have the same classes, {odd}")
        chosen = {"train": [train], "test": [test], None: [train, test]}[split]
        return tuple(train), [pair for classes in chosen for pair in _list_pictures(classes)]
    classes = _sub_folders(root)
    none = f"load_folder: {root} must have one sub-folder for each class, found none"
    need(len(classes) > 0, none)
    return tuple(classes), _list_pictures(classes, split, test_fraction, seed)


def _single_folder(root: Path) -> Path | None:
    """The one sub-folder of `root`, where it is the only one and holds folders itself, no images.

    Archives often put a folder around everything, and a data set of one class would be no use.
    """
    folders = list(_sub_folders(root).items())
    if len(folders) != 1:
        return None
    name, inner = folders[0]
    alone = _part_of(name) in ("", "train")
    need(alone, f"load_folder: {root} has the folder {name} and none to train on")
    return inner if _sub_folders(inner) and not any(map(_is_picture, inner.iterdir())) else None


def _part_of(name: str) -> str:
    """Which part of a split a folder's name says it is: "train", "test", "val", or ""."""
    match = _PART.fullmatch(name)
    return next(part for part, text in match.groupdict().items() if text) if match else ""


def _ready_made(root: Path) -> tuple[Path, Path] | None:
    """The folders that somebody has split into train and test, or None if `root` holds classes.

    Raises DataError where it cannot be told, or where one of the two is missing.
    """
    folders = _sub_folders(root)
    splits = {name: _part_of(name) for name in folders if _part_of(name)}
    with_classes = [name for name in splits if _sub_folders(folders[name])]
    others = [name for name in folders if name not in splits]
    parts = sorted(splits.values())
    # Beside bus and car, train is a vehicle; but not if it has class folders of its own.
    vehicle = others and "test" not in parts and "train" not in map(_part_of, with_classes)
    if vehicle or not splits:
        return None
    flat = [name for name in splits if name not in with_classes]
    problem, named = "", ", ".join(splits)
    if others:
        problem = f"the folders {named} of a split and next to them {', '.join(others)}"
    elif flat:
        problem = f"no class folders in {' and '.join(flat)}"
    elif len(set(parts)) < len(parts) or "train" not in parts or len(parts) < 2:
        problem = f"the folders {named}, not one to train on and one to test on"
    advice = "Leave train and test there, with one folder in each for each class"
    if with_classes:
        advice += f", or name {folders[with_classes[0]]} alone to have it split"
    need(not problem, f"load_folder: {root} has {problem}. {advice}")
    found = {part: folders[name] for name, part in splits.items()}
    if len(found) == 3:
        warnings.warn(f"{found['val']} is left out: {found['test']} is there", stacklevel=4)
    return _inside(found["train"]), _inside(found["test"] if "test" in found else found["val"])


def _inside(part: Path) -> Path:
    """A part of a split, or the folder of the same name that an archive put inside it."""
    inner = part / part.name
    return inner if list(_sub_folders(part).values()) == [inner] else part


def _sub_folders(root: Path) -> dict[str, Path]:
    """The sub-folders of `root` that people made, sorted, by their names in one Unicode form.

    Raises DataError if two names differ in nothing that can be seen, or cannot be printed.
    """
    found: dict[str, Path] = {}
    for path in sorted(root.iterdir()):
        if _is_litter(path.name) or not path.is_dir():
            continue
        name = unicodedata.normalize("NFC", path.name)
        pair = f"({found[name].name!a}, {path.name!a})" if name in found else ""
        twice = f"two folders called {name}, written with other characters {pair}"
        need(not pair, f"load_folder: {root} has {twice}: put them together")
        printed = all(unicodedata.category(character) not in ("Cc", "Cs") for character in name)
        need(printed, f"load_folder: {root} has a folder whose name is no text: {name!a}")
        found[name] = path
    return found


def _list_pictures(
    classes: dict[str, Path], split: str | None = None, test_fraction: float = 0, seed: int = 0
) -> list[tuple[int, Path]]:
    """Return (label, file) of every image, or of a split's, below the class folders, sorted."""
    pairs = []
    for label, (name, folder) in enumerate(classes.items()):
        files, kinds = _files(folder), ", ".join(SUFFIXES)
        need(bool(files), f"load_folder: the class folder {folder} has no images ({kinds})")
        if split is not None:
            tested = _test_part(files, folder, name, test_fraction, seed)
            files = [file for file in files if (file in tested) == (split == "test")]
        pairs += [(label, file) for file in files]
    return pairs


def _files(folder: Path) -> list[Path]:
    """The images in `folder` and below it, each once, in the order of their names."""
    # A link may lead back to where we came from, or twice to one place.
    seen = set(folder.resolve().parents)
    files, waiting = [], [folder]
    while waiting:
        place = waiting.pop()
        if (real := place.resolve()) in seen:
            continue
        seen.add(real)
        for path in sorted(place.iterdir(), reverse=True):
            if path.is_dir() and not _is_litter(path.name):
                waiting.append(path)
            elif _is_picture(path):
                files.append(path)
    return sorted(files)


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not _is_litter(path.name)


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _LITTER


def _test_part(
    files: list[Path], folder: Path, name: str, test_fraction: float, seed: int
) -> set[Path]:
    """The images of one class that are for testing, by their names alone."""
    few = f"load_folder: {folder} needs at least 2 images to be split, has {len(files)}"
    need(len(files) >= 2, few)
    ranks = {}
    for file in files:
        inner = unicodedata.normalize("NFC", file.relative_to(folder).as_posix())
        text = f"{seed}/{name}/{inner}".encode(errors="surrogateescape")
        ranks[file] = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) / 2**64
    count = sum(rank < test_fraction for rank in ranks.values())
    return set(sorted(files, key=ranks.__getitem__)[: min(max(count, 1), len(files) - 1)])
