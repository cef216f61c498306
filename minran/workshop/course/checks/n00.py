"""Checks of notebook 00: names of modules, and the gate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minran import create_model, ops, tensor
from minran.workshop.course.checking import Wrong, compare, expect_function, generator

MODULES = {
    "mask of the second stage": "stages.1.1.mask",
    "trunk of the third stage": "stages.2.1.trunk",
    "first max-pool of the first stage's mask": "stages.0.1.mask.body.pool",
    "logits": "fc",
}


def check_0_1(answer: Any) -> None:
    """names: what -> the dotted name of a module."""
    if not isinstance(answer, dict):
        raise Wrong(
            f"names must be a dictionary, got {type(answer).__name__}",
            hint=f"with the keys {', '.join(MODULES)}",
        )
    known = dict(create_model("attention_small_cifar").named_modules())
    for what, right in MODULES.items():
        if what not in answer:
            raise Wrong(f"{what!r} has no name yet", f"names has {', '.join(map(str, answer))}")
        name = answer[what]
        if name is ...:
            raise NotImplementedError(what)
        where = f"names[{what!r}] = {name!r}"
        if not isinstance(name, str) or name not in known:
            raise Wrong(
                f"the network has no module {name!r}",
                where,
                "stages are counted from 0, and so are places in a stage: stages.0.1 is the "
                "attention module of the first stage",
            )
        kind, wanted = type(known[name]).__name__, type(known[right]).__name__
        if name != right:
            hint = "follow the boxes from the outside to the inside, and write their names"
            if kind == wanted:
                hint = "it is a module of the right kind at another place; count stages from 0"
            raise Wrong(f"this is not the {what}: it is a {kind}", where, hint)


def check_0_2(answer: Callable[..., Any]) -> None:
    """gated(M, T) -> H."""
    expect_function("gated", answer)
    rng = generator(2)
    mask, trunk = rng.uniform(0, 1, (2, 3, 3, 4)), rng.standard_normal((2, 3, 3, 4))
    expected = ops.gate(tensor(mask), tensor(trunk)).numpy()
    got = answer(mask.copy(), trunk.copy())
    hint = "where M is 0, H must be T itself; where M is 1, twice T (Eq. 3)"
    compare("H", got, expected, hint)
