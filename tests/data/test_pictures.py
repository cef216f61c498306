from __future__ import annotations

import io
import os
import socket
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest

from minran.data import load_folder, read_pictures
from minran.data import pictures as folders
from minran.errors import DataError

Image = pytest.importorskip("PIL.Image")

RAMP = np.tile(np.linspace(0, 65535, 16).astype(np.uint16), (16, 1))
GREYS = np.rint(RAMP[0] / 257).astype(int)


def read_row(path):
    picture = read_pictures([path], 16)[0]
    assert (picture == picture[:1]).all() and (picture == picture[:, :, :1]).all()
    return picture[0, :, 0].astype(int)


@pytest.mark.parametrize("turned", [False, True])
def test_a_picture_of_another_shape_becomes_a_square_in_three_ways(tmp_path, turned):
    """Three squares beside each other, dark to light: the middle, all of it, or bent."""
    tones = np.repeat(np.array([60, 120, 180], np.uint8), 8)
    wide = np.broadcast_to(tones[:, None], (8, 24, 3)).copy()
    Image.fromarray(wide.swapaxes(0, 1) if turned else wide).save(tmp_path / "a.png")
    rows = {}
    for fit in ("cut", "pad", "stretch"):
        picture = read_pictures([tmp_path / "a.png"], 24, fit)[0, ..., 0]
        rows[fit] = picture.T if turned else picture
    assert (abs(rows["cut"].astype(int) - 120) < 30).all()
    assert (rows["pad"][:8] == 0).all() and (rows["pad"][16:] == 0).all()
    np.testing.assert_array_equal(rows["pad"][8:16], wide[..., 0])
    np.testing.assert_array_equal(rows["stretch"], np.broadcast_to(tones, (24, 24)))


@pytest.mark.parametrize("name", ["a.png", "a.pgm", "a.tif"])
def test_sixteen_bits_become_eight(tmp_path, name):
    Image.fromarray(RAMP).save(tmp_path / name)
    np.testing.assert_array_equal(read_row(tmp_path / name), GREYS)


def test_sixteen_bits_of_other_kinds(tmp_path):
    """The other order of bytes; 0 for white; one value that is transparent; a turned picture."""
    exif = Image.Exif()
    exif[0x0112] = 3  # by 180 degrees
    Image.fromarray(RAMP).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(RAMP).save(tmp_path / "turned.tif", exif=exif)
    for name in ("turned.png", "turned.tif"):
        np.testing.assert_array_equal(read_row(tmp_path / name), GREYS[::-1])
    Image.fromarray(RAMP).save(tmp_path / "clear.png", transparency=int(RAMP[0, 3]))
    cleared = np.where(np.arange(16) == 3, 255, GREYS)
    np.testing.assert_array_equal(read_row(tmp_path / "clear.png"), cleared)
    for order, white, expected in ((">", 1, GREYS), ("<", 0, 255 - GREYS)):
        (tmp_path / "a.tif").write_bytes(tiff(RAMP, order, white))
        np.testing.assert_array_equal(read_row(tmp_path / "a.tif"), expected)


def tiff(values, order, photometric, sample_format=1):
    """A plain TIFF of 16 bits: photometric 0 says that 0 is white."""
    height, width = values.shape
    entries = {256: width, 257: height, 258: 16, 259: 1, 262: photometric}
    entries |= {273: 8 + 2 + 12 * 10 + 4, 277: 1, 278: height, 279: values.nbytes}
    entries |= {339: sample_format}
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "IH", 8, len(entries))
    for tag, value in sorted(entries.items()):
        head += struct.pack(order + "HHIHH", tag, 3, 1, value, 0)
    return head + bytes(4) + values.astype(order + "u2").tobytes()


@pytest.mark.parametrize("kind", ["i4", "f4", "signed"])
def test_numbers_without_a_white_are_refused(tmp_path, kind):
    if kind == "signed":
        (tmp_path / "a.tif").write_bytes(tiff(RAMP, "<", 1, sample_format=2))
    else:
        Image.fromarray(RAMP.astype(kind)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif \(its pixels are numbers of 32 bits"):
        read_pictures([tmp_path / "a.tif"])


def test_pictures_of_every_mode(tmp_path):
    """A colour of each: of 8 bits all come out as they went in."""
    colour, grey = (200, 100, 50), (90, 90, 90)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, *colour])
    white = (255, 255, 255)
    cases = [
        (Image.new("1", (4, 4), 1), {}, white),
        (Image.new("L", (4, 4), 90), {}, grey),
        (Image.new("LA", (4, 4), (90, 255)), {}, grey),
        (Image.new("LA", (4, 4), (90, 0)), {}, white),
        (Image.new("L", (4, 4), 90), {"transparency": 90}, white),
        (palette, {}, colour),
        (palette, {"transparency": 1}, white),
        (Image.new("RGB", (4, 4), colour), {}, colour),
        (Image.new("RGB", (4, 4), colour), {"transparency": colour}, white),
        (Image.new("RGBA", (4, 4), (*colour, 255)), {}, colour),
        (Image.new("RGBA", (4, 4), (*colour, 0)), {}, white),
    ]
    for picture, options, expected in cases:
        picture.save(tmp_path / "a.png", **options)
        read = read_pictures([tmp_path / "a.png"], 4)[0]
        assert (read == expected).all(), (picture.mode, options, read[0, 0])
    Image.new("CMYK", (8, 8), (0, 0, 0, 255)).save(tmp_path / "a.jpg")
    assert read_pictures([tmp_path / "a.jpg"], 4).max() < 10
    frames = [Image.new("RGB", (4, 4), c) for c in (colour, grey)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (read_pictures([tmp_path / "a.gif"], 4) == colour).all()  # the first frame


# What is no picture


def png(width, height, rows=b""):
    """A PNG of one bit a pixel that says it has this size."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


BOMBS = {
    "a.png": png(13_000, 13_000, bytes(13_000 * (1 + 13_000 // 8))),
    "b.png": png(2**31 - 1, 2**31 - 1),
    "c.pgm": b"P5 100000 100000 255\n\0",
    "d.bmp": b"BM"
    + struct.pack("<IHHIIIIHHIIIIII", 54, 0, 0, 54, 40, 60000, 60000, 1, 24, *[0] * 6),
    "e.gif": b"GIF89a"
    + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0)
    + (b"\x2c" + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x08\0\x3b"),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("pillows_limit", [89_478_485, None])
def test_a_small_file_that_says_it_is_huge(tmp_path, monkeypatch, name, pillows_limit, recwarn):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillows_limit)
    (tmp_path / name).write_bytes(BOMBS[name])
    with pytest.raises(DataError, match=rf"{name[0]}\.{name[2:]} \(.*pixels"):
        read_pictures([tmp_path / name])
    assert not recwarn.list


def test_the_largest_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "MAX_PIXELS", 64)
    Image.new("L", (8, 8), 90).save(tmp_path / "a.png")
    assert (read_pictures([tmp_path / "a.png"]) == 90).all()
    Image.new("L", (5, 13), 90).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="it has 5 x 13 pixels, more than 64: make it smaller"):
        read_pictures([tmp_path / "a.png"])


def test_only_pictures_are_opened(tmp_path):
    """By their content: PostScript under another name would start a program, an icon nests."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
    Image.new("L", (16, 16)).save(tmp_path / "icon.ico")
    (tmp_path / "b.png").write_bytes((tmp_path / "icon.ico").read_bytes())
    (tmp_path / "c.png").write_bytes(b"")
    for name in "abc":
        with pytest.raises(DataError, match=rf"{name}\.png \(it is no image \(BMP, GIF, JPEG"):
            read_pictures([tmp_path / f"{name}.png"])


def test_pipes_sockets_devices_and_what_is_missing_are_never_opened(tmp_path):
    folder = tmp_path / "cat"
    folder.mkdir()
    Image.new("L", (4, 4)).save(folder / "good.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "device.png").symlink_to("/dev/zero")
    (folder / "gone.png").symlink_to(folder / "nowhere")
    with socket.socket(socket.AF_UNIX) as waiting:
        here = os.getcwd()
        try:
            os.chdir(folder)  # the name of a socket must be short
            waiting.bind("socket.png")
        finally:
            os.chdir(here)
        kinds = {"pipe": "a pipe", "socket": "a pipe", "device": "a pipe", "gone": "cannot be read"}
        for name, word in kinds.items():
            with pytest.raises(DataError, match=rf"{name}\.png \(.*{word}"):
                read_pictures([folder / f"{name}.png"])
        with pytest.raises(DataError, match="4 of 5 images") as caught:
            load_folder(tmp_path)
    assert all(f"cat/{name}.png: " in str(caught.value) for name in kinds)


def test_a_long_list_of_bad_pictures_is_cut(tmp_path):
    (tmp_path / "cat").mkdir()
    for i in range(300):
        (tmp_path / "cat" / f"{i:03}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"300 of 300 .*cat/019\.png.*; and 280 more$") as caught:
        load_folder(tmp_path)
    assert "020.png" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "ppm", "webp"])
def test_damaged_pictures_are_read_or_refused(tmp_path, suffix):
    """Bytes changed, cut and put in, with a fixed seed: nothing but a DataError comes out."""
    rng = np.random.default_rng(0)
    whole = io.BytesIO()
    picture = Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8))
    formats = {"jpg": "JPEG", "tif": "TIFF", "ppm": "PPM"}
    picture.save(whole, formats.get(suffix, suffix.upper()))
    for _ in range(40):
        content = bytearray(whole.getvalue())
        for _ in range(rng.integers(1, 6)):
            # Half of the changes go to the first bytes, where what matters is written.
            at = int(rng.integers(0, len(content) if rng.random() < 0.5 else 60))
            content[at] = int(rng.integers(0, 256))
        if rng.random() < 0.3:
            del content[int(rng.integers(0, len(content))) :]
        (tmp_path / f"a.{suffix}").write_bytes(content)
        with suppress(DataError):
            assert read_pictures([tmp_path / f"a.{suffix}"], 8).shape == (1, 8, 8, 3)
