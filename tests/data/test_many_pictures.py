"""Pictures that are read when they are asked for: the same values, in bounded memory."""

from __future__ import annotations

import os
import re
import threading

import numpy as np
import pytest

from minran.data import Dataset, Loader, Pictures, Preprocess, load_folder
from minran.data import dataset as datasets
from minran.data.pictures import PictureFiles
from minran.errors import DataError

Image = pytest.importorskip("PIL.Image")


def write_many(root, count=12, side=(20, 28)):
    """Two classes of noise in every format and mode that there is; number 0 of each is turned."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for n in range(count):
            picture = Image.fromarray(rng.integers(0, 256, (*side, 3), dtype=np.uint8))
            kinds = [
                ("jpg", picture, {"exif": exif}),
                ("png", picture.convert("P"), {"transparency": 3}),
                ("jpg", picture.convert("CMYK"), {}),
                ("png", Image.fromarray(rng.integers(0, 65536, side, dtype=np.uint16)), {}),
                ("gif", picture, {"save_all": True, "append_images": [picture.rotate(90)]}),
                ("bmp", picture.convert("L"), {}),
                ("tif", picture, {}),
                ("webp", picture, {"lossless": True}),
                ("ppm", picture, {}),
                ("png", picture.convert("RGBA"), {}),
            ]
            ending, picture, options = kinds[n % len(kinds)]
            picture.save(root / name / f"{n:02}.{ending}", **options)
    return root


def from_files(root, **options):
    data = load_folder(root, 16, memory=0, **options)
    assert isinstance(data.images, PictureFiles)
    return data


@pytest.mark.parametrize("fit", ["cut", "pad", "stretch"])
def test_files_give_what_memory_gives(tmp_path, fit):
    held = load_folder(write_many(tmp_path), 16, fit=fit)
    data = from_files(tmp_path, fit=fit)
    assert isinstance(held.images, np.ndarray) and len(data) == len(held) == 24
    assert (data.labels == held.labels).all() and data.class_names == held.class_names
    assert (data.images.shape, data.images.size) == (held.images.shape, held.images.size)
    rng = np.random.default_rng(1)
    mask = rng.random(24) < 0.5
    order = rng.permutation(24)
    for index in (slice(None), slice(3, 20, 4), 5, -1, np.int64(7), [3, 3, 0], order, mask, []):
        index = np.array(index, int) if isinstance(index, list) else index
        np.testing.assert_array_equal(data.images[index], held.images[index])
        assert data.images[index].dtype == np.uint8
        if np.ndim(index) or isinstance(index, slice):
            part, expected = data.subset(index), held.subset(index)
            assert isinstance(part.images, PictureFiles)
            np.testing.assert_array_equal(part.images[:], expected.images)
            np.testing.assert_array_equal(part.labels, expected.labels)
    twice = data.subset(order).subset(slice(2, 9))
    np.testing.assert_array_equal(twice.images[:], held.images[order[2:9]])


def test_the_size_alone_decides(tmp_path):
    """24 squares of 16 pixels have 18,432 bytes."""
    write_many(tmp_path)
    for memory, held in ((18_432 / 2**30, True), (18_431 / 2**30, False), (1.0, True), (0, False)):
        images = load_folder(tmp_path, 16, memory=memory).images
        assert isinstance(images, np.ndarray) == held


class Numbered(Pictures):
    """Picture n is filled with the byte n; notes what is read."""

    def __init__(self, count, side=6):
        super().__init__((count, side, side, 3))
        self.asked = []

    def read(self, places):
        self.asked.append(places.tolist())
        return np.broadcast_to(places.astype(np.uint8)[:, None, None, None], (len(places), 6, 6, 3))


def numbered(count=50):
    pictures = Numbered(count)
    data = Dataset(pictures, np.arange(count) % 3, ("a", "b", "c"), "numbered")
    images = np.array(pictures[:])
    pictures.asked.clear()
    return data, Dataset(images, data.labels, data.class_names, "numbered")


RAW = Preprocess(np.zeros((6, 6, 3), np.float32), std=1.0)


def batches(data, epoch=1, start=0, **options):
    options = {"augment": True, "shuffle": True, "cutout": 2, "seed": 5} | options
    return list(Loader(data, 8, RAW, **options).epoch(epoch, start))


def same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        for x, y in zip(one, other, strict=True):
            assert x.dtype == y.dtype and x.tobytes() == y.tobytes()


@pytest.mark.parametrize("options", [{}, {"augment": "imagenet"}, {"mixup": 0.3}, {"prefetch": 0}])
def test_batches_are_those_of_memory_and_go_on_in_the_middle(options):
    data, held = numbered()
    expected = batches(held, **options)
    same(expected, batches(data, **options))
    same(expected[4:], batches(data, start=4, **options))


@pytest.mark.parametrize("augment", [False, "paper", "imagenet"])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_share_is_read_alone_and_has_the_same_values(augment, prefetch):
    data, held = numbered()
    whole = batches(held, augment=augment)
    for rank in range(3):

        def share(count, rank=rank):
            return slice(count * rank // 3, count * (rank + 1) // 3)

        data.images.asked.clear()
        found = batches(data, augment=augment, share=share, prefetch=prefetch)
        read = sorted(place for places in data.images.asked for place in places)
        order, wanted = Loader(data, 8, RAW, shuffle=True, seed=5).order(1), []
        for number, (one, other) in enumerate(zip(whole, found, strict=True)):
            mine = share(len(one[0]))
            assert one[0].shape == other[0].shape and (one[1] == other[1]).all()
            assert one[0][mine].tobytes() == other[0][mine].tobytes()
            wanted += order[number * 8 :][: len(one[0])][mine].tolist()
            rest = np.delete(other[0], mine, axis=0)
            assert not rest.any()
        assert read == sorted(wanted)


def test_with_mixup_a_share_needs_its_partners():
    data, held = numbered()
    found = batches(data, mixup=0.3, share=lambda count: slice(0, count // 2))
    same(batches(held, mixup=0.3), found)


def test_so_many_batches_are_read_at_one_time_and_no_more():
    """Three, with prefetch=2: none ends before three have begun."""
    data, _ = numbered(60)
    read, three = data.images.read, threading.Barrier(3, timeout=60)

    def together(places):
        pictures = read(places)
        three.wait()
        return pictures

    data.images.read = together
    for number, _ in enumerate(Loader(data, 4, RAW, prefetch=2).epoch(0), 1):
        assert len(data.images.asked) <= number + 3
    assert number == 15


@pytest.mark.parametrize("held", [True, False])
def test_statistics_of_a_sample(monkeypatch, held):
    """Of all up to a size, then of pictures at equal distances: the same, wherever they lie."""
    data = numbered(50)[held]
    assert data.sample().images[:, 0, 0, 0].tolist() == list(range(50))
    bytes_each = 6 * 6 * 3
    monkeypatch.setattr(datasets, "_ALL", 50 * bytes_each - 1)
    monkeypatch.setattr(datasets, "_SAMPLE", 7 * bytes_each + 1)
    part = data.sample()
    assert part.images[:, 0, 0, 0].tolist() == [0, 7, 14, 21, 28, 35, 42]
    assert part.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert isinstance(part.images, np.ndarray)
    monkeypatch.setattr(datasets, "_SAMPLE", 1)
    assert len(data.sample()) == 1


def test_a_source_of_ones_own_must_return_what_it_says():
    data, _ = numbered()
    data.images.read = lambda places: np.zeros((len(places), 6, 6, 3))
    with pytest.raises(DataError, match=r"must return \(2, 6, 6, 3\) uint8, got .* float64"):
        data.images[:2]
    with pytest.raises(DataError, match="indices do not fit"):
        data.subset([50])


# Files that are broken, or become so


def damage(root):
    """Files of every kind that are cut off, and one that is none: their names."""
    write_many(root, 10)
    broken = []
    for file in sorted((root / "cat").iterdir()):
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        broken.append(f"cat/{file.name}")
    (root / "dog" / "00.jpg").write_bytes(b"no image")
    os.truncate(root / "dog" / "01.png", 0)
    return [*broken, "dog/00.jpg", "dog/01.png"]


def test_broken_files_are_listed_at_the_start(tmp_path):
    broken = damage(tmp_path)
    for memory in (0, 1.0):
        with pytest.raises(DataError, match=r"12 of 20 images in .* cannot be read") as caught:
            load_folder(tmp_path, 16, memory=memory)
        assert all(f"{name}: " in str(caught.value) for name in broken)
    held, data = (load_folder(tmp_path, 16, skip_bad=True, memory=m) for m in (1.0, 0))
    np.testing.assert_array_equal(held.images, data.images[:])
    np.testing.assert_array_equal(held.labels, data.labels)


def test_the_survey_decodes_only_what_ends_oddly(tmp_path, monkeypatch):
    """Bytes behind the end are no damage; they are why a file is decoded at once."""
    write_many(tmp_path, 10)
    with (tmp_path / "cat" / "00.jpg").open("ab") as file:
        file.write(b"\0" * 9)
    decoded = []
    load = Image.Image.load
    monkeypatch.setattr(
        "PIL.ImageFile.ImageFile.load",
        lambda self: (decoded.append(os.path.basename(self.filename)), load(self))[1],
    )
    from_files(tmp_path)
    # What has no end of its own: BMP, TIFF, WEBP, PPM.
    odd = ["00.jpg", *(2 * ["05.bmp", "06.tif", "07.webp", "08.ppm"])]
    assert sorted(decoded) == sorted(odd)


def test_numbers_of_32_bits_are_refused_at_the_start(tmp_path):
    write_many(tmp_path, 2)
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "cat" / "f.tif")
    with pytest.raises(DataError, match=r"f\.tif: its pixels are numbers of 32 bits"):
        load_folder(tmp_path, 16, memory=0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda file: file.unlink(), "No such file"),
        (lambda file: os.truncate(file, 40), "it was changed meanwhile"),
        (lambda file: os.utime(file, ns=(0, 0)), "it was changed meanwhile"),
        (lambda file: (file.unlink(), os.mkfifo(file)), "a pipe|changed meanwhile"),
    ],
)
def test_a_file_that_changes_later_is_one_sentence(tmp_path, change, reason):
    write_many(tmp_path)
    data = from_files(tmp_path)
    change(tmp_path / "dog" / "03.png")
    assert data.images[:12].shape == (12, 16, 16, 3)
    loader = Loader(data, 6, Preprocess(np.zeros((16, 16, 3), np.float32)))
    with pytest.raises(DataError) as caught:
        list(loader.epoch(0))
    message = str(caught.value)
    assert "dog/03.png cannot be read as at the start: " in message and "\n" not in message
    assert re.search(reason, message)


def test_damage_in_the_middle_is_one_sentence_when_it_is_read(tmp_path):
    write_many(tmp_path, 2)
    file = tmp_path / "cat" / "01.png"
    content = bytearray(file.read_bytes())
    place = content.index(b"IDAT") + 20
    content[place : place + 8] = bytes(8)
    file.write_bytes(content)
    data = from_files(tmp_path)
    with pytest.raises(DataError, match=r"01\.png cannot be read as at the start: "):
        data.images[:]


def test_the_checksum_tells_files_from_others(tmp_path):
    """Their names, lengths and places; not where the folder lies or when they were written."""
    write_many(tmp_path / "one")
    write_many(tmp_path / "two")
    first, second = (from_files(tmp_path / name) for name in ("one", "two"))
    assert first.checksum() == second.checksum() != first.subset(range(1, 24)).checksum()
    (tmp_path / "two" / "cat" / "03.png").rename(tmp_path / "two" / "cat" / "03b.png")
    assert from_files(tmp_path / "two").checksum() != first.checksum()
    held = load_folder(tmp_path / "one", 16)
    assert held.checksum() != held.subset(range(1, 24)).checksum()
