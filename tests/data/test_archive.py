from __future__ import annotations

import io
import pickle
import tarfile

import numpy as np
import pytest
from data_helpers import pack

from minran.data.archive import extract, load_pickle
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
    with pytest.raises(DataError, match="'top/x' is neither a file nor a folder"):
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


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("module", [b"numpy._core.multiarray", b"numpy.core.multiarray"])
def test_arrays_lists_and_bytes_load(tmp_path, protocol, module):
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 6)
    content = {b"data": pixels, "labels": [1, 2], b"names": [b"a", b"\xff"]}
    text = pickle.dumps(content, protocol=protocol)
    if protocol < 4:  # NumPy 1 wrote another module name; length-prefixed from protocol 4 on.
        text = text.replace(b"numpy._core.multiarray", module)
    (tmp_path / "batch").write_bytes(text)
    loaded = load_pickle(tmp_path / "batch")
    assert list(loaded) == ["data", "labels", "names"]
    np.testing.assert_array_equal(loaded["data"], pixels)
    assert loaded["labels"] == [1, 2] and loaded["names"] == [b"a", b"\xff"]


class Evil:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_else_is_called(tmp_path, protocol):
    import os

    for function, argument in [(os.mkdir, str(tmp_path / "made")), (eval, "1 + 1"), (np.load, "x")]:
        (tmp_path / "batch").write_bytes(pickle.dumps({"data": Evil(function, argument)}, protocol))
        with pytest.raises(DataError, match=r"batch: refused: the pickle asks for \S+, which"):
            load_pickle(tmp_path / "batch")
    assert not (tmp_path / "made").exists()


def test_dotted_names_do_not_reach_attributes(tmp_path):
    # Protocol 4 looks "ndarray.tofile" up attribute by attribute in a plain unpickler.
    text = b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93."
    assert pickle.loads(text) is np.ndarray.tofile
    (tmp_path / "batch").write_bytes(text)
    with pytest.raises(DataError, match="refused"):
        load_pickle(tmp_path / "batch")


@pytest.mark.parametrize("text", [b"", b"garbage", pickle.dumps({"a": [1] * 99})[:-20]])
def test_damaged_pickle_is_named(tmp_path, text):
    (tmp_path / "batch").write_bytes(text)
    with pytest.raises(DataError, match="batch: not a readable pickle"):
        load_pickle(tmp_path / "batch")


def test_not_a_dictionary(tmp_path):
    (tmp_path / "batch").write_bytes(pickle.dumps([1]))
    with pytest.raises(DataError, match="expected a dictionary, got list"):
        load_pickle(tmp_path / "batch")


def python2_string(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text if len(text) < 256 else b"T" + _int4(len(text)) + text


def _int4(number: int) -> bytes:
    return number.to_bytes(4, "little")


def test_a_batch_as_python_2_wrote_it(tmp_path):
    """The opcodes of cPickle's protocol 2, as in the published files."""
    pixels = np.arange(2 * 300, dtype=np.uint16).astype(np.uint8).reshape(2, 300)
    out = io.BytesIO()
    out.write(b"\x80\x02}(" + python2_string(b"data"))
    out.write(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R")
    out.write(b"(K\x01K\x02M" + (300).to_bytes(2, "little") + b"\x86")
    out.write(
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
    )
    out.write(b"K\x00tb\x89" + python2_string(pixels.tobytes()) + b"tb")
    out.write(python2_string(b"labels") + b"](K\x03K\x09eu.")
    (tmp_path / "batch").write_bytes(out.getvalue())
    loaded = load_pickle(tmp_path / "batch")
    np.testing.assert_array_equal(loaded["data"], pixels)
    assert loaded["labels"] == [3, 9]
