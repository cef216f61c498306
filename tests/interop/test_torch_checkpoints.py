"""What `torch.load` returns, as people have it, loads; what cannot be loaded is a sentence."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch

import minran
from minran import interop
from minran.errors import MinranError

SMALL: dict[str, Any] = {"stem_width": 4, "widths": [4, 4], "tail_width": 4, "t": 1}


@pytest.fixture(scope="module")
def twin() -> Any:
    return interop.create_twin("attention_nano", 3, **SMALL)


def load(found: Any, **options: Any) -> dict[str, np.ndarray]:
    model = minran.create_model("attention_nano", 3, **SMALL, **options)
    return interop.load_torch(model, found).state_dict()


def converted(state: Any, dtype: Any) -> Any:
    return {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}


FORMS = {
    "itself": lambda twin, state: state,
    "ordered": lambda twin, state: OrderedDict(state),
    "module": lambda twin, state: twin,
    "state_dict": lambda twin, state: {"state_dict": state, "epoch": 3},
    "lightning": lambda twin, state: {
        "state_dict": state,
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}}],
        "hparams": {"lr": 0.1},
    },
    "model": lambda twin, state: {
        "model": state,
        "optimizer": {"state": {0: {"exp": torch.ones(2)}}, "param_groups": []},
        "ema": state,
    },
    "a module in a dict": lambda twin, state: {"model": twin, "epoch": 1},
    "twice nested": lambda twin, state: {"checkpoint": {"weights": state}, "args": None},
    "an odd name": lambda twin, state: {"resnet_ours": state, "acc": 0.9},
    "DataParallel": lambda twin, state: {f"module.{k}": v for k, v in state.items()},
    "wrapped module": lambda twin, state: torch.nn.DataParallel(twin),
    "compiled": lambda twin, state: {f"_orig_mod.{k}": v for k, v in state.items()},
    "both": lambda twin, state: {f"module._orig_mod.{k}": v for k, v in state.items()},
    "half compiled": lambda twin, state: {
        k.replace(".", "._orig_mod.", 1): v for k, v in state.items()
    },
    "parameters": lambda twin, state: {**state, **dict(twin.named_parameters())},
    "no counters": lambda twin, state: {
        k: v for k, v in state.items() if "num_batches_tracked" not in k
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_the_forms(form: str, twin: Any) -> None:
    expected = load(twin.state_dict())
    for name, array in load(FORMS[form](twin, twin.state_dict())).items():
        np.testing.assert_array_equal(array, expected[name])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_the_dtypes(dtype: str, twin: Any) -> None:
    kind = getattr(torch, dtype)
    expected = load(converted(converted(twin.state_dict(), kind), torch.float32))
    for name, array in load(converted(twin.state_dict(), kind)).items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, expected[name])


def changed(change: Any) -> Any:
    def form(twin: Any, state: Any) -> Any:
        name = next(key for key in state if key.endswith("weight"))
        return {**state, name: change(state[name])}

    return form


WRONG: dict[str, tuple[Any, str]] = {
    "None": (lambda twin, state: None, "got NoneType"),
    "a list": (lambda twin, state: [state], "got list"),
    "a path": (lambda twin, state: "model.pth", "got str"),
    "empty": (lambda twin, state: {}, "no entry holds"),
    "nothing": (lambda twin, state: {"epoch": 3, "lr": 0.1}, "'epoch', 'lr'"),
    "two": (lambda twin, state: {"first": state, "second": state}, "'first', 'second'"),
    "numbers": (lambda twin, state: dict(enumerate(state.values())), "names must be text"),
    "sparse": (changed(lambda t: t.to_sparse()), "sparse"),
    "meta": (changed(lambda t: t.to("meta")), "meta"),
    "complex": (changed(lambda t: t.to(torch.complex64)), "complex"),
    "quantized": (
        changed(lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8)),
        "quantized",
    ),
    "an array": (changed(lambda t: t.numpy()), "ndarray"),
    "a gradient that is None": (changed(lambda t: None), "NoneType"),
    "NaN": (changed(lambda t: torch.full_like(t, float("nan"))), "weight"),
    "missing": (lambda twin, state: dict(list(state.items())[1:]), "missing"),
    "extra": (lambda twin, state: {**state, "more.weight": torch.ones(2, 2)}, "more.weight"),
    "shape": (changed(lambda t: t[:1]), "shape"),
    "3-D": (changed(lambda t: torch.ones(2, 2, 2)), "(2, 2, 2)"),
}


@pytest.mark.parametrize("form", WRONG)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_what_cannot_be_loaded_is_a_sentence(form: str, twin: Any) -> None:
    make, words = WRONG[form]
    model = minran.create_model("attention_nano", 3, **SMALL)
    before = model.state_dict()
    with pytest.raises(MinranError) as caught:
        interop.load_torch(model, make(twin, twin.state_dict()))
    assert words in str(caught.value)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
