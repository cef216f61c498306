"""Checkpoints that were damaged or forged: each is refused by a CheckpointError, or it is right.

MINRAN_FUZZ multiplies the number of random changes and draws others with it; more than 1 also tries
every array where the default tries some.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from minran.errors import CheckpointError
from minran.train import Checkpoint, Progress, load_checkpoint, load_model, parse, save_checkpoint
from minran.train.checkpoint import FIRST_FORMAT, _checksum, load_progress
from minran.train.setup import make_model

FUZZ = int(os.environ.get("MINRAN_FUZZ", "1"))
RECIPE = """
[model]
name = "attention_nano"
options = { stem_width = 8, widths = [8, 8], tail_width = 8, t = 1 }
"""


@pytest.fixture(scope="module")
def good() -> Checkpoint:
    model = make_model(parse(RECIPE), 2)
    return Checkpoint(
        recipe=RECIPE,
        model=model.state_dict(),
        preprocess={"mean": np.full((32, 32, 3), 99, np.float32), "std": np.array(64.0)},
        class_names=["cat", "dog"],
        progress=Progress(7, 1, 2, 0.3, 3, 8, 1 / 3, 12.5, 4, 12),
        optimizer={f"velocity.{i}": p.data for i, p in enumerate(model.parameters())},
        data={"labels": np.array(7, np.uint32), "class_means": np.ones((2, 32, 3), np.float32)},
    )


@pytest.fixture(scope="module")
def content(good, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "last.safetensors"
    save_checkpoint(path, good)
    assert load_model(path)[2].class_names == ["cat", "dog"]
    return path.read_bytes()


def split(content):
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join(header, body):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def refused(path, content, match=""):
    path.write_bytes(content)
    for load in (load_checkpoint, load_model):
        with pytest.raises(CheckpointError, match=match) as caught:
            load(path)
        assert str(path) in str(caught.value) and len(str(caught.value)) < 2000


def test_random_damage(tmp_path, content):
    """Bits turned, stretches overwritten, cut out, doubled: half of them in the header."""
    rng = np.random.default_rng(FUZZ)
    header = 8 + int.from_bytes(content[:8], "little")
    for _ in range(400 * FUZZ):
        damaged = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            end = header if rng.random() < 0.5 else len(damaged)
            at, length = int(rng.integers(0, end)), int(rng.integers(1, 20))
            kind = rng.integers(4)
            if kind == 0:
                damaged[at] ^= 1 << int(rng.integers(8))
            elif kind == 1:
                damaged[at : at + length] = rng.bytes(length)
            elif kind == 2:
                del damaged[at : at + length]
            else:
                damaged[at:at] = damaged[at : at + length]
        if damaged != content:
            (tmp_path / "x").write_bytes(damaged)
            with pytest.raises(CheckpointError):
                load_checkpoint(tmp_path / "x")
            with suppress(CheckpointError):
                load_progress(tmp_path / "x")


@pytest.mark.parametrize("dtype", ["I32", "U32", "F16", "BF16", "I64", "F64", "BOOL", "F8_E4M3", 5])
def test_another_dtype_in_the_header(tmp_path, content, dtype):
    """The bytes stay as they are, four each: weights would become whole numbers of a billion."""
    header, body = split(content)
    names = [name for name in header if name != "__metadata__"]
    for name in names if FUZZ > 1 else names[:: 5 if dtype == "I32" else 50]:
        if header[name]["dtype"] != dtype:
            changed = {**header, name: {**header[name], "dtype": dtype}}
            refused(tmp_path / "x", join(changed, body))


def test_another_shape_or_place_in_the_header(tmp_path, content):
    header, body = split(content)
    weight = next(name for name in header if name.endswith("weight") and name.startswith("model"))
    entry = header[weight]
    for change in (
        {"shape": entry["shape"][::-1]},
        {"shape": [int(np.prod(entry["shape"]))]},
        {"shape": [2**40, 2**40]},
        {"shape": [-1]},
        {"data_offsets": [0, 2**60]},
        {"data_offsets": [entry["data_offsets"][0] - 4, entry["data_offsets"][1] - 4]},
    ):
        refused(tmp_path / "x", join({**header, weight: {**entry, **change}}, body))


def test_headers_that_are_none(tmp_path, content):
    header, body = split(content)
    text = json.dumps(header).encode()
    twice = b'{"__metadata__": {"format": "x"}, ' + text[1:]
    for odd in (
        twice,
        text[:-1] + b', "__metadata__": ' + json.dumps(header["__metadata__"]).encode() + b"}",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": ' + b"9" * 5000 + b"}",
        b"NaN",
        b"[]",
        b'{"__metadata__": 5}',
        b'{"__metadata__": {"a": 5}}',
        b"\xff\xfe{}",
    ):
        refused(tmp_path / "x", join(odd, body), "damaged or not a checkpoint")
    for length in (2**63, 2**64 - 1, 1 << 30, 5_000_000):
        refused(tmp_path / "x", length.to_bytes(8, "little") + content[8:], "damaged or not")
    refused(tmp_path / "x", b"\0\0", "damaged or not a checkpoint")


def forge(content, texts=None, arrays=None, first=False):
    """The file with other texts (None takes one out) or arrays, and a checksum that is right."""
    header, body = split(content)
    metadata = {**header.pop("__metadata__"), **(texts or {})}
    found = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        dtype = {"F32": "f4", "F64": "f8", "U32": "u4"}[entry["dtype"]]
        found[name] = np.frombuffer(body[start:end], dtype).reshape(entry["shape"])
    found |= arrays or {}
    metadata = {key: text for key, text in metadata.items() if text is not None}
    del metadata["checksum"]
    if first:
        metadata["format"] = FIRST_FORMAT
        found = {name: a for name, a in found.items() if not name.startswith("data/")}
    found = {name: array for name, array in found.items() if array is not None}
    metadata["crc32" if first else "checksum"] = _checksum(found, metadata)
    return save(found, metadata)


def test_files_of_the_first_format_still_open(tmp_path, content, good):
    old = forge(content, first=True)
    (tmp_path / "x").write_bytes(old)
    assert load_checkpoint(tmp_path / "x").progress == good.progress
    assert load_checkpoint(tmp_path / "x").data == {}
    load_model(tmp_path / "x")
    header, body = split(old)
    name = next(name for name in header if name.startswith("model"))
    changed = {**header, name: {**header[name], "dtype": "I32"}}
    refused(tmp_path / "x", join(changed, body), "cannot be what minran wrote")


ODD_PROGRESS = [
    *({"step": step} for step in (-1, 1e30, None, "a", True, 7.5, 10**20, [7], 1, 13)),
    *({"epoch": epoch} for epoch in (-1, 6, None, 1e30)),
    *({"batch": batch} for batch in (-1, 7, "2", 0)),
    *({"correct": 9}, {"correct": -1}, {"seen": 0}, {"rows": 100}, {"rows": -1}),
    *({"best_accuracy": share} for share in (-0.5, 1.5, float("nan"), None)),
    *({"seconds": value} for value in (-1, float("inf"), "1", True)),
    *({"loss_sum": float("nan")}, {"total_steps": 5}, {"total_steps": -1}, {"surprise": 1}),
]


@pytest.mark.parametrize("accuracy", [-1, 0, 1])
def test_positions_that_can_be(good, accuracy):
    assert not replace(good.progress, best_accuracy=accuracy).problem()


@pytest.mark.parametrize("change", ODD_PROGRESS, ids=str)
def test_a_position_that_cannot_be(tmp_path, content, good, change):
    progress = json.dumps({**vars(good.progress), **change})
    refused(tmp_path / "x", forge(content, {"progress": progress}), "does not say where its run")
    with pytest.raises(CheckpointError, match="does not say where its run"):
        load_progress(tmp_path / "x")


@pytest.mark.parametrize(
    "texts",
    [
        *({"progress": text} for text in (None, "", "{", "[]", "3", "null", "[" * 99_999)),
        *({"progress": '{"step": ' + "9" * 5000 + "}"}, {"recipe": None}),
        *({"class_names": t} for t in (None, "{", "3", "[[[", "[]", "[3]", '"cat"', "[" * 99_999)),
        *({"class_names": t} for t in ('{"a": 1}', "null", "[null]", "NaN")),
        *({"format": t} for t in (None, "", "minran-checkpoint-9")),
    ],
    ids=lambda texts: f"{texts!s:.40}",
)
def test_forged_texts(tmp_path, content, texts):
    refused(tmp_path / "x", forge(content, texts))


def test_forged_arrays(tmp_path, content, good):
    weight = "model/" + next(name for name in good.model if name.endswith("weight"))
    array = good.model[weight.removeprefix("model/")]
    variance = "model/" + next(name for name in good.model if name.endswith("running_var"))
    broken, mean = array.copy(), good.preprocess["mean"]
    for number in (np.nan, np.inf, -np.inf):
        broken.flat[3] = number
        refused(tmp_path / "x", forge(content, arrays={weight: broken}), "not finite")
    for arrays in (
        {weight: array.astype(np.int32)},
        {weight: array.astype(np.float16)},
        {weight: array > 0},
        {variance: -np.ones_like(good.model[variance.removeprefix("model/")])},
        {"preprocess/std": np.ones(3)},
        {"preprocess/std": np.array(0.0)},
        {"preprocess/std": np.array(-1.0)},
        {"preprocess/std": np.array(np.nan)},
        {"preprocess/std": None},
        {"preprocess/mean": mean[0]},
        {"preprocess/mean": None},
        {"optimizer/velocity.0": good.optimizer["velocity.0"] * np.float32(np.nan)},
        {"data/labels": np.array(7, np.int64)},
        {"surprise/x": np.ones(3, np.float32)},
        {"x": np.ones(3, np.float32)},
    ):
        refused(tmp_path / "x", forge(content, arrays=arrays), "cannot be what minran wrote")
    for arrays in ({weight: None}, {"model/surprise": array}, {weight: array[:1]}):
        (tmp_path / "x").write_bytes(forge(content, arrays=arrays))
        with pytest.raises(CheckpointError, match=r"does not (fit|belong)"):
            load_model(tmp_path / "x")


@pytest.mark.parametrize(
    "options",
    [
        "t = 1000000000",
        "t = 10000, widths = [1, 1]",
        "p = 100000",
        "widths = [1000000, 1000000]",
        "stem_width = 9223372036854775807",
        "tail_width = 100000000",
        "modules = [100000, 1]",
        "depths = [1000000, 1]",
        "tail_units = 1000000",
    ],
)
def test_a_recipe_that_asks_for_more_than_the_file_holds(tmp_path, content, options):
    """No memory of that size is taken, and no time: the arrays are looked at first."""
    recipe = f'[model]\nname = "attention_nano"\noptions = {{ {options} }}\n'
    (tmp_path / "x").write_bytes(forge(content, {"recipe": recipe}))
    start = time.process_time()
    with pytest.raises(CheckpointError, match="does not fit this version of minran"):
        load_model(tmp_path / "x")
    assert time.process_time() - start < 20


@pytest.mark.parametrize(
    "recipe",
    [
        "x = " + "[" * 50_000,
        "seed = " + "9" * 5000,
        "a." * 30_000 + "b = 1",
        "\0",
        "seed = 'x'",
        "{",
    ],
    ids=lambda recipe: f"{recipe:.9}",
)
def test_a_recipe_that_is_none(tmp_path, content, recipe):
    (tmp_path / "x").write_bytes(forge(content, {"recipe": recipe}))
    with pytest.raises(CheckpointError, match="does not fit this version of minran"):
        load_model(tmp_path / "x")
