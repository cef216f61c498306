from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from data_helpers import archive_of, expect_archives, python_files, write_cifar10

from minran.data import cifar, load_cifar10, load_cifar100
from minran.errors import DataError


def write_cifar100(folder, files):
    folder.mkdir(parents=True)
    for name in ("train.bin", "test.bin"):
        files[name].tofile(folder / name)
    return folder


def write_python(folder, files, text=str):
    folder.mkdir(parents=True)
    for name, content in python_files(files, text).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("tried to download")

    monkeypatch.setattr(cifar, "fetch_first", refuse)


def test_layout_of_a_record(tmp_path, small, no_network):
    """Pixel (row, column, channel) is byte 1 + 1024 channel + 32 row + column of its record."""
    write_cifar10(tmp_path / "cifar-10-batches-bin", small)
    data = load_cifar10(tmp_path, "train")
    assert data.images.shape == (20, 32, 32, 3) and data.images.dtype == np.uint8
    assert data.labels.dtype == np.int64 and data.num_classes == 10 and len(data) == 20
    assert data.images.flags.c_contiguous
    record = small["data_batch_2.bin"][1]  # picture 5 of the training set
    assert data.labels[5] == record[0]
    for row, column, channel in [(0, 0, 0), (0, 1, 2), (7, 30, 1), (31, 31, 2)]:
        assert (
            data.images[5, row, column, channel] == record[1 + 1024 * channel + 32 * row + column]
        )


def test_cifar100_fine_and_coarse(tmp_path, small, no_network):
    write_cifar100(tmp_path / "cifar-100-binary", small)
    fine = load_cifar100(tmp_path, "test")
    coarse = load_cifar100(tmp_path, "test", label_kind="coarse")
    np.testing.assert_array_equal(fine.labels, small["test.bin"][:, 1])
    np.testing.assert_array_equal(coarse.labels, small["test.bin"][:, 0])
    assert (fine.num_classes, coarse.num_classes) == (100, 20)
    np.testing.assert_array_equal(fine.images[2, 0, :, 0], small["test.bin"][2, 2:34])


def test_class_names_are_those_of_the_data_set():
    counts = {"labels": 10, "coarse_labels": 20, "fine_labels": 100}
    for key, names in (cifar.CIFAR10.classes | cifar.CIFAR100.classes).items():
        assert len(set(names)) == counts[key] and list(names) == sorted(names)


@pytest.mark.parametrize("text", [str, str.encode])
def test_python_edition_gives_the_same(tmp_path, small, no_network, text):
    write_cifar10(tmp_path / "b" / "cifar-10-batches-bin", small)
    write_python(tmp_path / "p" / "cifar-10-batches-py", small, text)
    binary, python = load_cifar10(tmp_path / "b"), load_cifar10(tmp_path / "p")
    np.testing.assert_array_equal(binary.images, python.images)
    np.testing.assert_array_equal(binary.labels, python.labels)


def test_python_edition_of_cifar100_gives_the_same(tmp_path, small, no_network):
    write_cifar100(tmp_path / "b" / "cifar-100-binary", small)
    (tmp_path / "p" / "cifar-100-python").mkdir(parents=True)
    for name in ("train", "test"):
        coarse, fine = small[name + ".bin"][:, :2].T.tolist()
        content = {b"data": small[name + ".bin"][:, 2:]}
        content |= {b"coarse_labels": coarse, b"fine_labels": fine}
        (tmp_path / "p" / "cifar-100-python" / name).write_bytes(pickle.dumps(content, protocol=2))
    for kind in ("fine", "coarse"):
        binary, python = (load_cifar100(tmp_path / k, "test", label_kind=kind) for k in "bp")
        np.testing.assert_array_equal(binary.images, python.images)
        np.testing.assert_array_equal(binary.labels, python.labels)


@pytest.mark.parametrize(
    "change",
    [
        {"data": np.zeros((4, 3072), np.int16)},
        {"data": np.zeros((3, 3072), np.uint8)},
        {"data": [1, 2]},
        {"labels": [0, 1, 2]},
        {"labels": [0, 1, 2, "x"]},
        {"labels": None},
    ],
)
def test_python_edition_with_wrong_content(tmp_path, small, no_network, change):
    folder = write_python(tmp_path / "cifar-10-batches-py", small)
    right = {"data": np.zeros((4, 3072), np.uint8), "labels": [0, 1, 2, 3]}
    (folder / "data_batch_3").write_bytes(pickle.dumps(right | change, protocol=2))
    with pytest.raises(DataError, match=rf"data_batch_3: {next(iter(change))} must be"):
        load_cifar10(tmp_path)


def test_where_it_looks(tmp_path, small, no_network, monkeypatch):
    write_cifar10(tmp_path / "env" / "cifar-10-batches-bin", small)
    small["test_batch.bin"][:, 0] = 7
    write_cifar10(tmp_path / "named" / "cifar-10-batches-bin", small)
    small["test_batch.bin"][:, 0] = 8
    write_cifar10(tmp_path / "cache" / "cifar-10-batches-bin", small)
    assert load_cifar10(split="test").labels[0] == 8
    monkeypatch.setenv("MINRAN_DATA", str(tmp_path / "env"))
    assert load_cifar10(split="test").labels[0] not in (7, 8)
    assert load_cifar10(tmp_path / "named", "test").labels[0] == 7
    assert load_cifar10(tmp_path / "named" / "cifar-10-batches-bin", "test").labels[0] == 7
    (tmp_path / "named" / "cifar-10-batches-bin").rename(tmp_path / "other")
    assert load_cifar10(tmp_path / "other", "test").labels[0] == 7


def test_a_named_folder_never_falls_back_to_the_cache(tmp_path, small, monkeypatch):
    write_cifar10(tmp_path / "cache" / "cifar-10-batches-bin", small)
    with pytest.raises(DataError, match="downloading was not allowed"):
        load_cifar10(tmp_path / "elsewhere", download=False)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("change", [-1, 1, -3073])
def test_wrong_size_is_named_with_both_sizes(tmp_path, small, no_network, change):
    folder = write_cifar10(tmp_path / "cifar-10-batches-bin", small)
    content = (folder / "data_batch_4.bin").read_bytes() + b"\0"
    size = 4 * 3073 + change
    (folder / "data_batch_4.bin").write_bytes(content[:size])
    with pytest.raises(
        DataError, match=rf"data_batch_4.bin: expected {4 * 3073} bytes.* got {size}"
    ):
        load_cifar10(tmp_path)
    assert len(load_cifar10(tmp_path, "test")) == 3


@pytest.mark.parametrize(
    ("split", "name"), [("train", "data_batch_3.bin"), ("test", "test_batch.bin")]
)
@pytest.mark.parametrize("direct", [False, True])
def test_renamed_file_is_named(tmp_path, small, no_network, split, name, direct):
    folder = write_cifar10(tmp_path / ("x" if direct else "cifar-10-batches-bin"), small)
    (folder / name).rename(folder / "batch (1).bin")
    with pytest.raises(DataError) as caught:
        load_cifar10(folder if direct else tmp_path, split)
    size = len(small[name]) * 3073
    assert f"lacks {name}" in str(caught.value)
    assert f"batch (1).bin ({size} bytes)" in str(caught.value)


def test_empty_edition_folder_is_not_taken_for_no_data(tmp_path, small, no_network):
    (tmp_path / "cifar-10-batches-bin").mkdir()
    with pytest.raises(DataError, match=r"lacks data_batch_1\.bin.*unknown files there: none"):
        load_cifar10(tmp_path)


def test_label_out_of_range_is_named(tmp_path, small, no_network):
    small["data_batch_2.bin"][3, 0] = 10
    write_cifar10(tmp_path / "cifar-10-batches-bin", small)
    with pytest.raises(DataError, match=r"data_batch_2\.bin: label 10 of record 3 .*0\.\.9"):
        load_cifar10(tmp_path)


@pytest.mark.parametrize("form", ["binary", "python"])
def test_archive_lying_there_is_unpacked_and_kept(tmp_path, small, no_network, monkeypatch, form):
    content = archive_of(small, form)
    expect_archives(monkeypatch, **{form: content})
    (tmp_path / f"cifar-10-{form}.tar.gz").write_bytes(content)
    assert len(load_cifar10(tmp_path)) == 20
    folder = {"binary": "cifar-10-batches-bin", "python": "cifar-10-batches-py"}[form]
    assert sorted(p.name for p in tmp_path.iterdir()) == [folder, f"cifar-10-{form}.tar.gz"]


def test_archive_with_wrong_size_or_checksum(tmp_path, small, no_network, monkeypatch):
    content = archive_of(small)
    expect_archives(monkeypatch, binary=content)
    archive = tmp_path / "cifar-10-binary.tar.gz"
    archive.write_bytes(content[:-1])
    with pytest.raises(DataError, match=f"expected {len(content)} bytes, got {len(content) - 1}"):
        load_cifar10(tmp_path)
    archive.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(DataError, match="expected MD5"):
        load_cifar10(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [archive.name]


@pytest.mark.parametrize("named", [False, True])
def test_download(tmp_path, small, server, monkeypatch, named):
    server.content = archive_of(small)
    server.cuts = [1000]
    expect_archives(monkeypatch, binary=server.content)
    monkeypatch.setitem(cifar.ADDRESSES, "binary", server.url + "{}")
    chosen = tmp_path / "mine" if named else None
    data = load_cifar10(chosen, "test")
    np.testing.assert_array_equal(data.labels, small["test_batch.bin"][:, 0])
    root = chosen or tmp_path / "cache"
    assert [p.name for p in root.iterdir()] == ["cifar-10-batches-bin"]
    assert [p.name for p in tmp_path.iterdir()] == [root.name]
    requests = len(server.ranges)
    load_cifar10(chosen, "train")
    assert len(server.ranges) == requests


def test_the_python_edition_from_the_next_address(tmp_path, small, server, second, monkeypatch):
    server.status, second.content = 503, archive_of(small, "python")
    expect_archives(monkeypatch, python=second.content)
    monkeypatch.setitem(cifar.ADDRESSES, "binary", server.url + "{}")
    monkeypatch.setitem(cifar.ADDRESSES, "python", second.url + "files/{}?download=1")
    with pytest.warns(UserWarning, match="cifar-10-binary.tar.gz: Service Unavailable; trying"):
        data = load_cifar10(tmp_path / "python")
    assert second.paths == ["/files/cifar-10-python.tar.gz?download=1"]
    assert [p.name for p in (tmp_path / "python").iterdir()] == ["cifar-10-batches-py"]
    write_cifar10(tmp_path / "cifar-10-batches-bin", small)
    np.testing.assert_array_equal(data.images, load_cifar10(tmp_path).images)
    np.testing.assert_array_equal(data.labels, load_cifar10(tmp_path).labels)


@pytest.mark.parametrize("form", ["binary", "python"])
@pytest.mark.parametrize("kind", ["server", "folder"])
def test_a_class_has_a_server_of_its_own(tmp_path, small, server, monkeypatch, form, kind):
    """It need have only one of the editions; the public addresses are left alone."""
    content = server.content = archive_of(small, form)
    expect_archives(monkeypatch, **{form: content})
    (tmp_path / "share").mkdir()
    (tmp_path / "share" / f"cifar-10-{form}.tar.gz").write_bytes(content)
    monkeypatch.setattr(cifar, "ADDRESSES", {})
    own = (tmp_path / "share").as_uri() if kind == "folder" else server.url + "pub/"
    monkeypatch.setenv("MINRAN_CIFAR_URL", own)
    server.crawl = 1e-6  # and may be slow
    monkeypatch.setattr(cifar, "LEAST_RATE", 1e12)
    with warnings.catch_warnings(record=True):
        data = load_cifar10(tmp_path / "data", "test")
    np.testing.assert_array_equal(data.labels, small["test_batch.bin"][:, 0])
    assert server.paths[-1:] == [f"/pub/cifar-10-{form}.tar.gz"] * (kind == "server")
    assert [p.name for p in (tmp_path / "share").iterdir()] == [f"cifar-10-{form}.tar.gz"]


@pytest.mark.parametrize("own", ["server", "/srv/cifar", "ftp://server/", "c:\\cifar"])
def test_what_is_no_address_of_a_server(tmp_path, small, monkeypatch, own):
    monkeypatch.setenv("MINRAN_CIFAR_URL", own)
    with pytest.raises(DataError, match="MINRAN_CIFAR_URL or --mirror: expected an address"):
        load_cifar10(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_no_network_is_one_helpful_message(tmp_path, small, server, second, monkeypatch):
    server.status, second.status = 503, 404
    for form, one in (("binary", server), ("python", second)):
        monkeypatch.setitem(cifar.ADDRESSES, form, one.url + "{}")
    with pytest.warns(UserWarning, match="trying"), pytest.raises(DataError) as caught:
        load_cifar10(tmp_path)
    message = str(caught.value)
    for part in (
        str(tmp_path),
        server.url + "cifar-10-binary.tar.gz: Service Unavailable",
        second.url + "cifar-10-python.tar.gz: Not Found",
        "Put cifar-10-binary.tar.gz or cifar-10-python.tar.gz",
        "--data-dir",
        "MINRAN_DATA",
        "--mirror",
        "MINRAN_CIFAR_URL",
        "--data shapes",
    ):
        assert part in message


REAL = os.environ.get("MINRAN_DATA", "")


@pytest.mark.skipif(
    not (Path(REAL) / "cifar-10-batches-bin").is_dir() or not REAL,
    reason="MINRAN_DATA names no folder with CIFAR-10",
)
def test_the_real_files():
    for split, count in [("train", 5000), ("test", 1000)]:
        data = load_cifar10(split=split, download=False)
        assert np.bincount(data.labels).tolist() == [count] * 10
        # Neighbouring pixels of photographs are alike; in a wrong layout they are not.
        sample = data.images[:500].astype(float)
        for axis in (1, 2):
            assert np.abs(np.diff(sample, axis=axis)).mean() < 0.3 * sample.std()
    assert data.class_names[data.labels[0]] == "cat" or data.images.shape[0] == 10_000
