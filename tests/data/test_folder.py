from __future__ import annotations

import sys

import numpy as np
import pytest

from minran.data import load, load_folder
from minran.errors import DataError

Image = pytest.importorskip("PIL.Image")

COLOURS = {"cat": (250, 20, 20), "dog": (20, 20, 250)}


def write_pictures(root, count=5, size=(40, 30)):
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", size, (*colour[:2], colour[2] - i)).save(root / name / f"{i}.png")
    return root


def test_classes_order_and_size(tmp_path):
    (write_pictures(tmp_path) / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "cat" / "._3.png").write_bytes(b"junk of an archive")
    data = load_folder(tmp_path, size=16)
    assert data.class_names == ("cat", "dog") and data.labels.tolist() == [0] * 5 + [1] * 5
    assert data.images.shape == (10, 16, 16, 3) and data.images.dtype == np.uint8
    np.testing.assert_array_equal(data.images[7], np.broadcast_to((20, 20, 248), (16, 16, 3)))
    same = load(f"folder:{tmp_path}", "train", size=16, test_fraction=0.2)
    assert len(same) == len(load_folder(tmp_path, split="train"))


def test_pictures_keep_their_aspect(tmp_path):
    """A wide picture is cut at both sides, not squeezed."""
    picture = np.zeros((20, 60, 3), np.uint8)
    picture[:, 20:40] = 255
    (tmp_path / "a").mkdir()
    Image.fromarray(picture).save(tmp_path / "a" / "x.png")
    assert (load_folder(tmp_path, size=20).images == 255).all()


def test_orientation_and_transparency(tmp_path):
    (tmp_path / "a").mkdir()
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    Image.fromarray(picture).save(tmp_path / "a" / "1.png", exif=exif)
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "a" / "2.png")
    Image.new("L", (8, 8), 90).save(tmp_path / "a" / "3.png")
    turned, clear, grey = load_folder(tmp_path, size=8).images
    np.testing.assert_array_equal(turned, picture[::-1])
    assert (clear == 255).all() and (grey == 90).all()


def test_all_bad_pictures_are_named_or_left_out_on_request(tmp_path):
    write_pictures(tmp_path)
    (tmp_path / "cat" / "2.png").write_bytes(b"no image")
    whole = (tmp_path / "dog" / "3.png").read_bytes()
    (tmp_path / "dog" / "3.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError) as caught:
        load_folder(tmp_path)
    message = str(caught.value)
    assert "2 of 10 images" in message and "cat/2.png" in message and "dog/3.png" in message
    assert load_folder(tmp_path, skip_bad=True).labels.tolist() == [0] * 4 + [1] * 4
    for file in tmp_path.rglob("*.png"):
        file.write_bytes(b"no image")
    with pytest.raises(DataError, match="no image"):
        load_folder(tmp_path, skip_bad=True)


def contents(data):
    return {image.tobytes() for image in data.images}


def write_class(folder, names, first=0):
    """One-pixel-high pictures that differ: number n of the class has the grey value first + n."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, name in enumerate(names, first):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("L", (1, 1), n).save(folder / name)


def greys(root, split, **options):
    data = load_folder(root, 1, split=split, **options)
    return [set(data.images[data.labels == k, 0, 0, 0].tolist()) for k in range(data.num_classes)]


def test_split_is_deterministic_complete_and_by_class(tmp_path):
    write_class(tmp_path / "cat", [f"{i}.png" for i in range(200)])
    write_class(tmp_path / "dog", [f"{i:03}.png" for i in range(100)])
    parts = [greys(tmp_path, s, test_fraction=0.3) for s in ("train", "test")]
    for train, test, count in zip(*parts, (200, 100), strict=True):
        assert not train & test and train | test == set(range(count))
        # Each is drawn by itself: three standard deviations of the binomial distribution.
        assert abs(len(test) - 0.3 * count) < 3 * (0.3 * 0.7 * count) ** 0.5
    assert greys(tmp_path, "test", test_fraction=0.3) == parts[1]
    assert greys(tmp_path, "test", test_fraction=0.3, seed=1) != parts[1]
    # A larger part contains the smaller one; classes are drawn independently of each other.
    assert all(a < b for a, b in zip(parts[1], greys(tmp_path, "test", test_fraction=0.6)))


def test_the_split_is_that_of_other_days_and_machines(tmp_path):
    """Whoever changes it puts pictures into the test that earlier runs were trained on."""
    write_class(tmp_path / "cat", [f"{i}.png" for i in range(20)])
    assert greys(tmp_path, "test") == [{0, 9, 15}]


@pytest.mark.parametrize("count", [2, 5, 40])
def test_pictures_that_come_do_not_move_the_others(tmp_path, count):
    """No picture that was trained on is ever tested on later."""
    write_class(tmp_path / "cat", [f"{i:02}.png" for i in range(count)])
    trained = greys(tmp_path, "train")[0]
    names = ["00b.png", "000.png", "zz.png", "new/00.png", "IMG 1.JPG", "\u00e9.png"]
    for n, name in enumerate(names, 100):
        write_class(tmp_path / "cat", [name], n)
        assert not greys(tmp_path, "test")[0] & trained
        trained |= greys(tmp_path, "train")[0]
    write_class(tmp_path / "ant", ["0.png", "1.png"])  # a class before it: labels move
    assert not greys(tmp_path, "test")[1] & trained


def test_pictures_that_go_do_not_move_the_others(tmp_path):
    write_class(tmp_path / "cat", [f"{i:02}.png" for i in range(40)])
    train, test = greys(tmp_path, "train")[0], greys(tmp_path, "test")[0]
    assert len(test) > 2
    for gone in (min(train), min(test)):
        (tmp_path / "cat" / f"{gone:02}.png").unlink()
        assert greys(tmp_path, "train")[0] == train - {gone}
        assert greys(tmp_path, "test")[0] == test - {gone}
        train, test = train - {gone}, test - {gone}


def test_the_split_does_not_ask_where_the_folder_lies_or_how_a_name_is_composed(tmp_path):
    names = [f"\u00e9{i}.png" for i in range(30)]
    write_class(tmp_path / "one" / "caf\u00e9", names)
    composed = greys(tmp_path / "one", "test")
    write_class(
        tmp_path / "x" / "y" / "cafe\u0301", [n.replace("\u00e9", "e\u0301") for n in names]
    )
    assert greys(tmp_path / "x" / "y", "test") == greys(tmp_path / "x", "test") == composed
    assert load_folder(tmp_path / "x" / "y").class_names == ("caf\u00e9",)


def test_a_bad_picture_does_not_move_the_split(tmp_path):
    write_pictures(tmp_path, count=10)
    before = load_folder(tmp_path, split="test")
    victim = tmp_path / "cat" / "0.png"
    kept = contents(before) - {np.asarray(Image.open(victim).resize((32, 32))).tobytes()}
    victim.write_bytes(b"no image")
    assert contents(load_folder(tmp_path, split="test", skip_bad=True)) == kept


def test_both_sides_of_a_split_get_a_picture(tmp_path):
    write_pictures(tmp_path, count=2)
    for fraction in (0.01, 0.99):
        for split in ("train", "test"):
            part = load_folder(tmp_path, split=split, test_fraction=fraction)
            assert part.labels.tolist() == [0, 1]
    (tmp_path / "dog" / "0.png").unlink()
    with pytest.raises(DataError, match="dog needs at least 2 images"):
        load_folder(tmp_path, split="train")


def test_ready_made_splits(tmp_path):
    write_pictures(tmp_path / "train", 4)
    write_pictures(tmp_path / "test", 3)
    assert len(load_folder(tmp_path, split="train")) == 8
    assert len(load_folder(tmp_path, split="test")) == 6
    assert load_folder(tmp_path).class_names == ("cat", "dog")
    (tmp_path / "test" / "dog").rename(tmp_path / "test" / "dogs")
    with pytest.raises(DataError, match=r"same classes.*'dog', 'dogs'"):
        load_folder(tmp_path, split="train")


CLASSES = ("cat", "dog")


def write_tree(root, *places):
    """Three pictures in each of the folders."""
    for number, place in enumerate(places):
        write_class(root / place, ["1.png", "2.png", "3.png"], 10 * number)


def split_tree(*parts):
    return [f"{part}/{name}" for part in parts for name in CLASSES]


@pytest.mark.parametrize(
    ("parts", "train", "test"),
    [
        (["train", "val"], "train", "val"),
        (["Train", "Test"], "Train", "Test"),
        (["TRAINING", "Testing"], "TRAINING", "Testing"),
        (["training_set", "test_set"], "training_set", "test_set"),
        (["train", "valid"], "train", "valid"),
        (["train1", "validation"], "train1", "validation"),
        (["train", "val", "test"], "train", "test"),
        (["seg_train", "seg_test"], "seg_train", "seg_test"),
        (
            ["dogs-train/dogs-train", "dogs-val/dogs-val"],
            *(f"dogs-{part}/dogs-{part}" for part in ("train", "val")),
        ),
    ],
)
@pytest.mark.parametrize("outer", [".", "archive", "archive/archive"])
@pytest.mark.filterwarnings("ignore:.*is left out")
def test_splits_as_people_call_them(tmp_path, parts, train, test, outer):
    root = tmp_path / outer
    write_tree(root, *split_tree(*parts))
    write_class(tmp_path / "__MACOSX" / "._train", ["1.png"])
    for split, part in (("train", train), ("test", test)):
        loaded, direct = load_folder(tmp_path, 1, split=split), load_folder(root / part, 1)
        assert loaded.class_names == CLASSES
        np.testing.assert_array_equal(loaded.images, direct.images)
    assert len(load_folder(tmp_path, 1)) == 12


def test_a_third_part_is_left_out_aloud(tmp_path):
    write_tree(tmp_path, *split_tree("train", "val", "test"))
    with pytest.warns(UserWarning, match=r"val is left out: .*test is there"):
        load_folder(tmp_path, split="train")


@pytest.mark.parametrize("outer", ["train", "Training", "my-pictures", "a/b/c"])
def test_one_folder_around_everything(tmp_path, outer):
    write_tree(tmp_path / outer, *CLASSES)
    assert load_folder(tmp_path).class_names == CLASSES
    assert greys(tmp_path, "test") == greys(tmp_path / outer, "test")


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([*split_tree("train"), "test"], r"no class folders in test\. Leave .* or name \S*train "),
        ([*split_tree("train"), "val", "test"], "no class folders in test and val"),
        (["train", "test"], "no class folders in test and train"),
        (["train"], "no class folders in train"),
        ([*split_tree("train", "test"), "notes"], "train of a split and next to them notes"),
        ([*split_tree("train"), "extra"], "train of a split and next to them extra"),
        (["test", "cat", "dog"], "the folders test of a split and next to them cat, dog"),
        (split_tree("train", "Train", "test"), "Train, test, train, not one to train on"),
        (split_tree("train", "training"), "not one to train on and one to test on"),
        (split_tree("val", "test"), "not one to train on"),
        (split_tree("test"), "has the folder test and none to train on"),
        ([*split_tree("train"), "val/cat"], "same classes, only one has .'dog'"),
        (["train/cat", "val/Cat"], "same classes, only one has .'Cat', 'cat'"),
        (["caf\u00e9", "cafe\u0301"], r"two folders called .*'cafe\\u0301', 'caf\\xe9'"),
        (["cat", "d\nog"], r"name is no text: 'd\\nog'"),
    ],
)
def test_trees_that_may_be_meant_in_two_ways(tmp_path, places, message):
    write_tree(tmp_path, *places)
    with pytest.raises(DataError, match=message):
        load_folder(tmp_path, split="train")


def test_a_train_can_be_a_vehicle(tmp_path):
    write_tree(tmp_path, "bus", "train", "steam-train", "valid", "Bus", "CAT")
    names = ("Bus", "CAT", "bus", "steam-train", "train", "valid")
    assert load_folder(tmp_path).class_names == names


def test_what_systems_leave_in_folders_is_passed_over(tmp_path):
    write_tree(tmp_path, "cat", "dog", "cat/deeper/still", ".ipynb_checkpoints", "__MACOSX/cat")
    write_tree(tmp_path, "cat/.ipynb_checkpoints", "dog/@eaDir", "lost+found")
    for litter in (".DS_Store", "Thumbs.db", "cat/desktop.ini", "dog/._1.png"):
        (tmp_path / litter).write_bytes(b"no image")
    assert load_folder(tmp_path).labels.tolist() == [0] * 6 + [1] * 3


def test_links_are_followed_but_not_in_circles(tmp_path):
    write_tree(tmp_path / "elsewhere", "one", "two")
    root = tmp_path / "root"
    write_tree(root, "cat", "dog")
    (root / "cat" / "linked").symlink_to(tmp_path / "elsewhere" / "one")
    (root / "cat" / "again").symlink_to(tmp_path / "elsewhere" / "one")
    (root / "cat" / "itself").symlink_to(root / "cat")
    (root / "cat" / "up").symlink_to(root)
    (root / "cat" / "file.png").symlink_to(tmp_path / "elsewhere" / "two" / "1.png")
    (root / "emu").symlink_to(tmp_path / "elsewhere" / "two")
    assert load_folder(root).labels.tolist() == [0] * 7 + [1] * 3 + [2] * 3
    (tmp_path / "circle").mkdir()
    (tmp_path / "circle" / "round").symlink_to(tmp_path / "circle")
    with pytest.raises(DataError, match="round has no images"):
        load_folder(tmp_path / "circle")


def test_a_class_without_pictures(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="has no images"):
        load_folder(tmp_path)


def test_missing_pillow_says_what_to_install(tmp_path, monkeypatch):
    write_pictures(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match=r'pip install "minran\[images\]"'):
        load_folder(tmp_path)
