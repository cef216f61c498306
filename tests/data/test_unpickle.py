from __future__ import annotations

import io
import os
import pickle

import numpy as np
import pytest

from minran.data import unpickle
from minran.data.unpickle import load_pickle
from minran.errors import DataError


@pytest.mark.parametrize("protocol", range(6))
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


def load(tmp_path, program):
    (tmp_path / "batch").write_bytes(program)
    return load_pickle(tmp_path / "batch")


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_and_every_plain_array(tmp_path, protocol):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8), dtype=np.uint8)
    values = [1, 300, -5, 70_000, 2**40, -(2**70), True, False, None, 1.5, "\u00fc", b"\xff\0", ()]
    content = {
        b"pixels": pixels,
        "columns first": np.asfortranarray(pixels),
        "big end first": pixels.astype(">i8"),
        "floats": pixels.astype(np.float32),
        "bools": pixels > 99,
        "no axis": np.array(7.0),
        "values": [values, tuple(values), {"a": values}],
    }
    loaded = load(tmp_path, pickle.dumps(content, protocol))
    assert loaded.pop("values") == content.pop("values")
    for key, expected in content.items():
        array = loaded[key.decode() if isinstance(key, bytes) else key]
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)


def test_text_as_python_2_wrote_it_in_protocol_0(tmp_path):
    assert load(tmp_path, b"(dp0\nS'a\\xff\\n'\np1\nS\"it's\"\np2\ns.") == {"a\xff\n": b"it's"}
    for text in (b"S\n", b"S'\n", b"S'a\"\n", b"Sabc\n", b"S'abc"):
        with pytest.raises(DataError, match="not a readable pickle"):
            load(tmp_path, text + b".")


DTYPE = b"cnumpy\ndtype\n(X\x02\0\0\0%sK\0K\x01tR"
ARRAY = (
    b"}X\x04\0\0\0datacnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85C\x01btR"
    b"(K\x01%s%s\x89%stbs."
)
EIGHT = b"C\x10" + bytes(range(16))


@pytest.mark.parametrize(
    ("shape", "dtype", "content"),
    [
        (b"K\x02\x85", DTYPE % b"O8", EIGHT),  # the file's bytes would become addresses
        (
            b"K\x02\x85",
            DTYPE % b"i8" + b"(K\x03X\x01\0\0\0|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb",
            EIGHT,
        ),
        (b"K\x02\x85", DTYPE % b"V8", EIGHT),
        (b"K\x02\x85", DTYPE % b"i3", EIGHT),
        (b"K\x03\x85", DTYPE % b"i8", EIGHT),  # more numbers than bytes
        (b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", DTYPE % b"i8", EIGHT),
        (b"K\x02\x85", b"N", EIGHT),
        (b"K\x02\x85", DTYPE % b"i8", b"]K\x01a"),  # the list that crashed while loading
        (b"N", DTYPE % b"i8", EIGHT),
    ],
    ids=repr,
)
def test_an_array_that_cannot_be(tmp_path, shape, dtype, content):
    if b"K?tb" in dtype:
        # Flags that say "these are objects": they are not read, the numbers are numbers.
        assert load(tmp_path, ARRAY % (shape, dtype, content))["data"].dtype == np.int64
        return
    with pytest.raises(DataError, match=r"batch: (refused|not a readable)"):
        load(tmp_path, ARRAY % (shape, dtype, content))
    good = load(tmp_path, ARRAY % (b"K\x02\x85", DTYPE % b"i8", EIGHT))
    assert good["data"].tolist() == np.frombuffer(bytes(range(16)), np.int64).tolist()


@pytest.mark.parametrize(
    "program",
    [
        b"}cnumpy\ndtype\nK\x01\x86.",  # a tuple
        b"}X\x01\0\0\0acnumpy\ndtype\ns.",  # a function where a value belongs
        b"}X\x01\0\0\0acnumpy\ndtype\n(X\x02\0\0\0u1tRs.",  # a dtype alone
        b"}X\x01\0\0\0a]K\x01Rs.",  # a list that is called
        b"}X\x01\0\0\0a]}bs.",  # a list whose attributes are set
        b"}K\x01K\x02s.",  # a number for a key
        b"}]K\x02s.",
        b"]K\x01K\x02s.",  # an entry for a list
        b"K\x01K\x02a.",  # an item for a number
        b"}(K\x01u.",
        b"\x85.",
        b"s.",
        b"u.",
        b"h\x05.",
        b"P1\n.",
        b"\x82\x01.",
        b"(icollections\nOrderedDict\n.",
        b"\x97.",
        b"\x8f.",
        b"]]\x93.",
        b"c\n\n.",
        b"cnumpy\n.",
    ],
    ids=repr,
)
def test_programs_that_make_no_sense(tmp_path, program):
    with pytest.raises(DataError, match="batch: "):
        load(tmp_path, program)


def test_a_program_or_a_file_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(unpickle, "MAX_STEPS", 1000)
    assert load(tmp_path, b"}" + b"N" * 997 + b"}.") == {}
    with pytest.raises(DataError, match="more than 1,000 steps"):
        load(tmp_path, b"}" + b"N" * 998 + b"}.")
    monkeypatch.setattr(unpickle, "MAX_BYTES", 50)
    with pytest.raises(DataError, match="more than 50 bytes"):
        load(tmp_path, b"}" + b"N" * 50)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="is no file but a pipe"):
        load_pickle(tmp_path / "pipe")
