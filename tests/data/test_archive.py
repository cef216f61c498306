from __future__ import annotations

import gzip
import io
import os
import tarfile

import numpy as np
import pytest
from data_helpers import pack

from minran.data import archive
from minran.data.archive import extract
from minran.errors import DataError


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_plain_archive(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(pack({"top/x": b"1", "./top/deep/y": b"22"}))
    assert extract(tmp_path / "a.tar.gz", "top") == tmp_path / "top"
    assert names(tmp_path) == ["a.tar.gz", "top", "top/deep", "top/deep/y", "top/x"]
    assert (tmp_path / "top/deep/y").read_bytes() == b"22"


@pytest.mark.parametrize("name", ["../evil", "top/../../evil", "/evil", "top\\..\\evil", "C:evil"])
def test_paths_that_lead_outside(tmp_path, name):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "a.tar.gz").write_bytes(pack({"top/x": b"1", name: b"2"}))
    with pytest.raises(DataError, match="leads outside"):
        extract(inner / "a.tar.gz", "top")
    assert names(tmp_path) == ["inner", "inner/a.tar.gz"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_devices(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("top/x")
        entry.type, entry.linkname = kind, "/etc/passwd"
        tar.addfile(entry)
    with pytest.raises(DataError, match="'top/x' is neither a plain file nor a folder"):
        extract(tmp_path / "a.tar.gz", "top")
    assert names(tmp_path) == ["a.tar.gz"]


@pytest.mark.parametrize("damage", ["truncated", "not gzip", "empty"])
def test_damaged_archive(tmp_path, damage):
    whole = pack({"top/x": np.random.default_rng(0).bytes(10_000)})
    content = {"truncated": whole[:5000], "not gzip": b"hello" * 100, "empty": b""}[damage]
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tar\.gz"):
        extract(tmp_path / "a.tar.gz", "top")
    assert names(tmp_path) == ["a.tar.gz"]


def test_archive_without_the_folder(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(pack({"other/x": b"1"}))
    with pytest.raises(DataError, match="expected a folder top"):
        extract(tmp_path / "a.tar.gz", "top")


def write_entry(path, entry, content=b""):
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT) as tar:
        tar.addfile(entry, io.BytesIO(content))


def test_a_file_with_holes_is_refused(tmp_path):
    """A header of 512 bytes that claims a file of 8 GB, all of it holes."""
    entry = tarfile.TarInfo("top/x")
    entry.type, entry.size = tarfile.GNUTYPE_SPARSE, 0
    header = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"77777777777\0"  # the size with its holes
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(bytes(header) + bytes(1024)))
    with pytest.raises(DataError, match="'top/x' is neither a plain file"):
        extract(tmp_path / "a.tar.gz", "top")
    assert names(tmp_path) == ["a.tar.gz"]


@pytest.mark.parametrize("kind", ["file", "long name", "pax"])
def test_an_archive_that_grows_without_end(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(archive, "MAX_BYTES", 1 << 20)
    entry = tarfile.TarInfo("top/x")
    entry.size = 20 << 20
    entry.type = {
        "file": tarfile.REGTYPE,
        "long name": tarfile.GNUTYPE_LONGNAME,
        "pax": tarfile.XHDTYPE,
    }[kind]
    write_entry(tmp_path / "a.tar.gz", entry, bytes(entry.size))
    assert (tmp_path / "a.tar.gz").stat().st_size < 100_000
    with pytest.raises(DataError, match="holds more than 1,048,576 bytes"):
        extract(tmp_path / "a.tar.gz", "top")
    assert names(tmp_path) == ["a.tar.gz"]


def test_an_archive_of_too_many_entries(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(pack({f"top/{i}": b"" for i in range(1001)}))
    with pytest.raises(DataError, match="more than 1000 entries"):
        extract(tmp_path / "a.tar.gz", "top")
    assert names(tmp_path) == ["a.tar.gz"]


def test_a_chain_of_headers_and_odd_names(tmp_path):
    """Each long name stands before the next header: tarfile reads them by recursion."""
    entry = tarfile.TarInfo("x")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 1
    block = entry.tobuf(tarfile.GNU_FORMAT) + b"y" + bytes(511)
    (tmp_path / "chain.tar.gz").write_bytes(gzip.compress(block * 5000 + bytes(1024)))
    with tarfile.open(tmp_path / "nul.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("top/x")
        entry.pax_headers = {"path": "top/a\0b"}
        tar.addfile(entry)
    (tmp_path / "long.tar.gz").write_bytes(pack({"top/" + "n" * 5000: b""}))
    for name in ("chain", "nul", "long"):
        with pytest.raises(DataError, match=rf"{name}\.tar\.gz: "):
            extract(tmp_path / f"{name}.tar.gz", "top")
    assert names(tmp_path) == ["chain.tar.gz", "long.tar.gz", "nul.tar.gz"]


def test_no_file_at_all(tmp_path):
    os.mkfifo(tmp_path / "pipe.tar.gz")
    (tmp_path / "folder.tar.gz").mkdir()
    for name, word in {"pipe": "a pipe", "folder": "a folder", "none": "cannot be read"}.items():
        with pytest.raises(DataError, match=rf"{name}\.tar\.gz .*{word}"):
            extract(tmp_path / f"{name}.tar.gz", "top")
