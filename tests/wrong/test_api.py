"""Wrong calls of the public API: each answers with a sentence, and nothing on the disk changes.

The calls are rows in `api_*.py` beside this file. What is accepted on purpose stands in
docs/reference/errors.md.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from wrong_rows import rows

import minran
from minran import (
    Op,
    Tensor,
    ablate,
    backend,
    bench,
    course,
    data,
    distributed,
    errors,
    inspect,
    interop,
    nn,
    no_grad,
    ops,
    optim,
    tensor,
    train,
)
from minran.gradcheck import check_op
from minran.nn import layers

ROWS: list[tuple[str, str, str]] = [
    tuple(part.strip() for part in line.rsplit(" | ", 2))  # type: ignore[misc]
    for file in sorted(Path(__file__).parent.glob("api_*.py"))
    for line in rows(importlib.import_module(file.stem).ROWS)
]
NET = minran.create_model("attention_nano", 2)
SHAPES = data.load_shapes(count=20)
IMAGES = np.ones((2, 8, 8, 3), np.float32)
TABLE, SCALE = ablate.ABLATIONS["table1"], ablate.SCALES["nano"]
CELLS = ablate.make_cells(TABLE, SCALE, 1, "nowhere")
RESULTS = ablate.measure(TABLE, SCALE, CELLS)
MASK = np.arange(2 * 4 * 4 * 2, dtype=np.float32).reshape(2, 4, 4, 2) / 64


class Twice(Op):
    def forward(self, x: Any) -> Any:
        return x * 2

    def backward(self, gy: Any) -> tuple[Any]:
        return (gy * 2,)


def used() -> Op:
    """An operation that was called already."""
    twice = Twice()
    twice(t(2))
    return twice


def t(*shape: int, dtype: Any = np.float32, grad: bool = True) -> Tensor:
    return tensor(np.ones(shape, dtype), grad)


def asked(*options: str) -> argparse.Namespace:
    """What the bench is asked for."""
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return parser.parse_args(options)


def norm(channels: int) -> tuple[Any, ...]:
    ones = np.ones(channels, np.float32)
    return t(channels), t(channels), 0 * ones, ones


def held(part: Any) -> nn.Module:
    net = nn.Module()
    net.part = part  # type: ignore[attr-defined]
    return net


def observed(callback: Any) -> None:
    with nn.observe(callback):
        pass


def ungraded(call: Any) -> Any:
    with no_grad():
        return call()


KNOWN: dict[str, Any] = {
    **{name: getattr(minran, name) for name in (*minran.__all__, *minran._SUBPACKAGES)},
    **{"np": np, "backend": backend, "check_op": check_op, "Twice": Twice, "net": NET},
    **{"t": t, "held": held, "observed": observed, "ungraded": ungraded, "shapes": SHAPES},
    **{"ablate": ablate, "bench": bench, "distributed": distributed, "asked": asked},
    **{"course": course},
    **{"table": TABLE, "scale": SCALE, "cells": CELLS, "results": RESULTS},
}
"""What the expressions may name."""

FRESH: dict[str, Callable[[], Any]] = {
    "images": IMAGES.copy,
    "photos": lambda: IMAGES / 2,
    "pixels": lambda: IMAGES.astype(np.uint8),
    "labels": lambda: np.array([0, 1]),
    "batch": lambda: (IMAGES.copy(), np.array([0, 1])),
    "mean": IMAGES[0].copy,
    "loader": lambda: data.Loader(SHAPES, 4),
    "mask": MASK.copy,
    "truth": lambda: np.ones((2, 8, 8), np.bool_),
    "attention": lambda: inspect.Attention("stages.0.1", MASK, MASK, MASK),
    "sgd": lambda: optim.SGD(NET.parameters(), 0.1),
    "recipe": train.Recipe,
    "rng": lambda: np.random.default_rng(0),
    "here": Path.cwd,
    "full": lambda: Path.cwd().parent / "full",
    "a_file": lambda: Path.cwd().parent / "full" / "a_file.txt",
    "twice": used,
    "bn2": lambda: norm(2),
    "bn3": lambda: norm(3),
    "x": lambda: t(2, 3),
    "c": lambda: t(2, 3, grad=False),
    "n": lambda: tensor(np.ones((1, 4), int)),
    "b": lambda: tensor(np.array([True])),
    "p": lambda: t(1, 4, 4, 3),
    "q": lambda: nn.Parameter(np.ones(2, np.float32)),
    "v": lambda: t(3, 2),
    "v64": lambda: t(3, 2, dtype=np.float64),
    "w": lambda: t(1, 1, 3, 2),
    "w64": lambda: t(1, 1, 3, 2, dtype=np.float64),
}
"""And what is made anew for each expression that names it."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder, in which the calls are made, beside one with a file."""
    folder, before = tmp_path_factory.mktemp("wrong"), Path.cwd()
    (folder / "full").mkdir()
    (folder / "full" / "a_file.txt").write_text("neither a picture nor a run\n")
    (folder / "empty").mkdir()
    os.chdir(folder / "empty")
    yield folder
    os.chdir(before)


@pytest.mark.parametrize(("expression", "error", "word"), ROWS, ids=[row[0] for row in ROWS])
def test_a_wrong_call_is_a_sentence(expression: str, error: str, word: str, place: Path) -> None:
    if any(word in expression.lower() for word in ("torch", "twin", ".pt")):
        pytest.importorskip("torch")  # which some Pythons have not yet
    names = KNOWN | {name: FRESH[name]() for name in FRESH.keys() & re.findall(r"\w+", expression)}
    files = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    before = backend.current()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(getattr(errors, error)) as caught:
            eval(expression, names)
    message = str(caught.value)
    assert word in message
    assert "\n" not in message.strip()
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == files
    assert backend.current() is before


def test_every_operation_and_layer_has_rows() -> None:
    text = "\n".join(expression for expression, *_ in ROWS)
    calls = set(re.findall(r"\bops\.(\w+)\(", text)) | set(re.findall(r"\bnn\.(\w+)\(", text))
    public = {name for name in ops.__all__ if name.islower()}
    public |= {
        name
        for name, thing in vars(layers).items()
        if isinstance(thing, type) and issubclass(thing, nn.Module) and name != "Module"
    }
    assert not public - calls, f"no wrong call in tests/wrong for {sorted(public - calls)}"


NO_WRONG_CALL = {
    "train": {
        *("environment", "list_pretrained", "list_recipes"),
        *("CaptureError", "Parts", "Pretrained", "Progress", "Result", "RunSummary"),
    },
    "inspect": {
        "record",
        *("Attention", "Channels", "Reach", "Row", "Scores", "Memory", "Summary", "Svg"),
    },
    "ablate": {"Cell", "Difference", "Results", "Sample"},
    "bench": {"main"},
    "course": {"Wrong"},
    "distributed": {"leader_first", "leads", "start", "MPIWorld", "NCCLWorld"},
}
"""Functions without arguments, and what functions return: nobody else makes those."""


@pytest.mark.parametrize(
    "part", [data, train, inspect, interop, ablate, bench, course, distributed]
)
def test_every_public_function_has_rows(part: ModuleType) -> None:
    short = part.__name__.removeprefix("minran.")
    text = "\n".join(expression for expression, *_ in ROWS)
    calls = set(re.findall(rf"\b{short}\.(\w+)[(.]", text))
    names = getattr(part, "__all__", None) or [
        name
        for name, thing in vars(part).items()
        if name[0] != "_" and getattr(thing, "__module__", "") == part.__name__
    ]
    public = {name for name in names if callable(getattr(part, name))} - {"Batch"}
    missing = public - calls - NO_WRONG_CALL.get(short, set())
    assert not missing, f"no wrong call in tests/wrong for {sorted(missing)}"
    assert not NO_WRONG_CALL.get(short, set()) & calls


def test_the_table_is_long() -> None:
    assert len(ROWS) >= 1000
    assert len({expression for expression, *_ in ROWS}) == len(ROWS)
