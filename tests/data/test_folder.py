from __future__ import annotations

import builtins

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
    (write_pictures(tmp_path) / "cat" / "notes.txt").write_text("not a picture")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "cat" / "._3.png").write_bytes(b"junk of an archive")
    data = load_folder(tmp_path, size=16)
    assert data.class_names == ("cat", "dog") and data.labels.tolist() == [0] * 5 + [1] * 5
    assert data.images.shape == (10, 16, 16, 3) and data.images.dtype == np.uint8
    np.testing.assert_array_equal(data.images[7], np.broadcast_to((20, 20, 248), (16, 16, 3)))
    same = load(f"folder:{tmp_path}", "train", size=16, test_fraction=0.2)
    assert len(same) == 8


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
    (tmp_path / "cat" / "2.png").write_bytes(b"no picture")
    whole = (tmp_path / "dog" / "3.png").read_bytes()
    (tmp_path / "dog" / "3.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError) as caught:
        load_folder(tmp_path)
    message = str(caught.value)
    assert "2 of 10 pictures" in message and "cat/2.png" in message and "dog/3.png" in message
    assert load_folder(tmp_path, skip_bad=True).labels.tolist() == [0] * 4 + [1] * 4
    for file in tmp_path.rglob("*.png"):
        file.write_bytes(b"no picture")
    with pytest.raises(DataError, match="no picture"):
        load_folder(tmp_path, skip_bad=True)


def contents(data):
    return {image.tobytes() for image in data.images}


def test_split_is_deterministic_complete_and_by_class(tmp_path):
    write_pictures(tmp_path, count=10)
    parts = [load_folder(tmp_path, split=s, test_fraction=0.3) for s in ("train", "test")]
    assert [np.bincount(part.labels).tolist() for part in parts] == [[7, 7], [3, 3]]
    assert not contents(parts[0]) & contents(parts[1])
    assert contents(parts[0]) | contents(parts[1]) == contents(load_folder(tmp_path))
    again = load_folder(tmp_path, split="test", test_fraction=0.3)
    np.testing.assert_array_equal(parts[1].images, again.images)
    other = [load_folder(tmp_path, split="test", test_fraction=0.3, seed=s) for s in range(1, 4)]
    assert any(contents(o) != contents(again) for o in other)


def test_a_bad_picture_does_not_move_the_split(tmp_path):
    write_pictures(tmp_path, count=10)
    before = load_folder(tmp_path, split="test")
    victim = tmp_path / "cat" / "0.png"
    kept = contents(before) - {np.asarray(Image.open(victim).resize((32, 32))).tobytes()}
    victim.write_bytes(b"no picture")
    assert contents(load_folder(tmp_path, split="test", skip_bad=True)) == kept


def test_both_sides_of_a_split_get_a_picture(tmp_path):
    write_pictures(tmp_path, count=2)
    for fraction in (0.01, 0.99):
        for split in ("train", "test"):
            part = load_folder(tmp_path, split=split, test_fraction=fraction)
            assert part.labels.tolist() == [0, 1]
    (tmp_path / "dog" / "0.png").unlink()
    with pytest.raises(DataError, match="dog needs at least 2 pictures"):
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


def test_train_and_test_can_be_classes(tmp_path):
    for name in ("test", "train"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (8, 8)).save(tmp_path / name / "x.png")
    assert load_folder(tmp_path).class_names == ("test", "train")


def test_errors(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="found none"):
        load_folder(tmp_path)
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="has no pictures"):
        load_folder(tmp_path)
    for name, options in {
        "size": {"size": 0},
        "test_fraction": {"test_fraction": 1.0},
        "split": {"split": "valid"},
        "seed": {"seed": -1},
    }.items():
        with pytest.raises(DataError, match=name):
            load_folder(tmp_path, **options)


def test_missing_pillow_says_what_to_install(tmp_path, monkeypatch):
    write_pictures(tmp_path)
    real_import = builtins.__import__

    def without_pillow(name, *args, **kwargs):
        if name.split(".")[0] == "PIL":
            raise ImportError("No module named 'PIL'")
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pillow)
    with pytest.raises(DataError, match=r'pip install "minran\[images\]"'):
        load_folder(tmp_path)
