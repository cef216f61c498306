from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from data_helpers import archive_of, expect_archive, write_cifar10

from minran.data import cifar, load_cifar10, load_cifar100
from minran.errors import DataError


def write_cifar100(folder, files):
    folder.mkdir(parents=True)
    for name in ("train.bin", "test.bin"):
        files[name].tofile(folder / name)
    return folder


def write_python(folder, files, text=str):
    folder.mkdir(parents=True)
    for name, records in files.items():
        if "batch" in name:
            content = {text("data"): records[:, 1:], text("labels"): records[:, 0].tolist()}
            (folder / name.removesuffix(".bin")).write_bytes(pickle.dumps(content, protocol=2))
    return folder


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("tried to download")

    monkeypatch.setattr(cifar, "fetch", refuse)


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


def test_archive_lying_there_is_unpacked_and_kept(tmp_path, small, no_network, monkeypatch):
    content = archive_of(small)
    expect_archive(monkeypatch, content)
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(content)
    assert len(load_cifar10(tmp_path)) == 20
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "cifar-10-batches-bin",
        "cifar-10-binary.tar.gz",
    ]


def test_archive_with_wrong_size_or_checksum(tmp_path, small, no_network, monkeypatch):
    content = archive_of(small)
    expect_archive(monkeypatch, content)
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
    expect_archive(monkeypatch, server.content)
    monkeypatch.setattr(cifar, "BASE_URL", server.url)
    chosen = tmp_path / "mine" if named else None
    data = load_cifar10(chosen, "test")
    np.testing.assert_array_equal(data.labels, small["test_batch.bin"][:, 0])
    root = chosen or tmp_path / "cache"
    assert [p.name for p in root.iterdir()] == ["cifar-10-batches-bin"]
    assert [p.name for p in tmp_path.iterdir()] == [root.name]
    requests = len(server.ranges)
    load_cifar10(chosen, "train")
    assert len(server.ranges) == requests


def test_no_network_is_one_helpful_message(tmp_path, small, server, monkeypatch):
    server.status = 503
    monkeypatch.setattr(cifar, "BASE_URL", server.url)
    with pytest.raises(DataError) as caught:
        load_cifar10(tmp_path)
    message = str(caught.value)
    for part in (
        str(tmp_path),
        server.url + "cifar-10-binary.tar.gz",
        "Service Unavailable",
        "Put cifar-10-binary.tar.gz",
        "--data-dir",
        "MINRAN_DATA",
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
