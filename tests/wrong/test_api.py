"""Wrong calls of the public API: each answers with a sentence, and nothing on the disk changes.

The calls are rows in `api_*.py` beside this file. What is accepted on purpose stands in
docs/reference/errors.md.
"""

from __future__ import annotations

import importlib.util
import re
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import minran
from minran import (
    Op,
    Tensor,
    backend,
    data,
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

HERE = Path(__file__).parent


def rows() -> list[tuple[str, str, str]]:
    found = []
    for file in sorted(HERE.glob("api_*.py")):
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for line in filter(None, map(str.strip, module.ROWS.splitlines())):
            expression, error, word = (part.strip() for part in line.rsplit(" | ", 2))
            found.append((expression, error, word))
    return found


ROWS = rows()
NET = minran.create_model("attention_nano", 2)
SHAPES = data.load_shapes(count=20)


class Twice(Op):
    def forward(self, x: Any) -> Any:
        return x * 2

    def backward(self, gy: Any) -> tuple[Any]:
        return (gy * 2,)


def t(*shape: int, dtype: Any = np.float32, grad: bool = True) -> Tensor:
    return tensor(np.ones(shape, dtype), grad)


def pictures() -> dict[str, Any]:
    """Two pictures with what belongs to them, a network, and a folder with files in it."""
    images = np.ones((2, 8, 8, 3), np.float32)
    labels = np.array([0, 1])
    mask = np.arange(2 * 4 * 4 * 2, dtype=np.float32).reshape(2, 4, 4, 2) / 64
    return {
        "images": images,
        "photos": images / 2,
        "pixels": images.astype(np.uint8),
        "labels": labels,
        "batch": (images, labels),
        "mean": images[0],
        "shapes": SHAPES,
        "loader": data.Loader(SHAPES, 4),
        "mask": mask,
        "truth": np.ones((2, 8, 8), np.bool_),
        "attention": inspect.Attention("stages.0.1", mask, mask, mask),
        "net": NET,
        "sgd": optim.SGD(NET.parameters(), 0.1),
        "recipe": train.Recipe(),
        "rng": np.random.default_rng(0),
        "here": Path.cwd(),
        "full": Path.cwd().parent / "full",
        "a_file": Path.cwd().parent / "full" / "a_file.txt",
    }


def names() -> dict[str, Any]:
    """What the expressions may name, made anew for each."""

    def norm(channels: int) -> tuple[Any, ...]:
        return (
            t(channels),
            t(channels),
            np.zeros(channels, np.float32),
            np.ones(channels, np.float32),
        )

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

    twice = Twice()
    twice(t(2))
    return {
        **{name: getattr(minran, name) for name in (*minran.__all__, *minran._SUBPACKAGES)},
        **{
            "np": np,
            "nn": nn,
            "ops": ops,
            "backend": backend,
            "check_op": check_op,
            "t": t,
            "train": train,
            "interop": interop,
            "inspect": inspect,
            "data": data,
        },
        **{"Twice": Twice, "twice": twice, "held": held, "observed": observed},
        **{"ungraded": ungraded, "bn2": norm(2), "bn3": norm(3)},
        **pictures(),
        "x": t(2, 3),
        "c": t(2, 3, grad=False),
        "n": tensor(np.ones((1, 4), int)),
        "b": tensor(np.array([True])),
        "p": t(1, 4, 4, 3),
        "q": nn.Parameter(np.ones(2, np.float32)),
        "v": t(3, 2),
        "v64": t(3, 2, dtype=np.float64),
        "w": t(1, 1, 3, 2),
        "w64": t(1, 1, 3, 2, dtype=np.float64),
    }


@pytest.mark.parametrize(("expression", "error", "word"), ROWS, ids=[row[0] for row in ROWS])
def test_a_wrong_call_is_a_sentence(
    expression: str, error: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a_file.txt").write_text("neither a picture nor a run\n")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    before = backend.current()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(getattr(errors, error)) as caught:
            eval(expression, names())
    message = str(caught.value)
    assert word in message
    assert "\n" not in message.strip()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == files
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
        *("Attention", "Channels", "Reach", "Row", "Scores", "Summary", "Svg"),
    },
}
"""Functions without arguments, and what functions return: nobody else makes those."""


@pytest.mark.parametrize("part", [data, train, inspect, interop])
def test_every_public_function_has_rows(part: ModuleType) -> None:
    short = part.__name__.removeprefix("minran.")
    text = "\n".join(expression for expression, *_ in ROWS)
    calls = set(re.findall(rf"\b{short}\.(\w+)[(.]", text))
    public = {name for name in part.__all__ if callable(getattr(part, name))} - {"Batch"}
    missing = public - calls - NO_WRONG_CALL.get(short, set())
    assert not missing, f"no wrong call in tests/wrong for {sorted(missing)}"
    assert not NO_WRONG_CALL.get(short, set()) & calls


def test_the_table_is_long() -> None:
    assert len(ROWS) >= 1000
    assert len({expression for expression, *_ in ROWS}) == len(ROWS)
