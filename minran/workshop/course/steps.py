"""Backward, one op at a time, on the drawn graph: `backward_steps(loss, a=a, b=b)`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minran.autograd import Array, Op, Tensor
from minran.backend import to_host
from minran.errors import GradientError, expect
from minran.hints import checked
from minran.inspect.graph.flow import flow, ops_behind
from minran.inspect.graph.labels import OPS, Label
from minran.inspect.graph.layout import layout
from minran.inspect.graph.svg import render
from minran.workshop.course.show import Frames, frames

MOST_OPS = 40


@checked(GradientError)
def backward_steps(loss: Tensor, **names: Tensor) -> Frames:
    """Drawings of the graph of the number `loss` while gradients flow back through it.

    names: what to call the tensors. Nothing is changed: no `grad` is written, the graph is not
    freed. Raises GradientError for a loss that is no scalar or has more than 40 ops in it.
    """
    number = f"expected a tensor of one number, got shape {loss.shape}"
    expect(loss.size == 1, f"backward_steps: {number}", GradientError)
    called = {id(t): name for name, t in names.items()}
    root, edges = flow(loss, [], called, leaves=True)
    outputs = dict(ops_behind(loss))
    many = f"{len(outputs)} ops are too many to follow (at most {MOST_OPS})"
    expect(len(outputs) <= MOST_OPS, f"backward_steps: {many}", GradientError)
    gradients: dict[int, Array] = {id(loss): np.ones_like(to_host(loss.data))}
    moments: list[tuple[Op | None, dict[int, Array], str]] = [
        (None, {}, "Forward: every op has its value. Backward begins at the end."),
        (None, dict(gradients), f"dL/dL = 1 for L = {called.get(id(loss), 'the result')}."),
    ]
    for op, output in reversed(outputs.items()):
        told = {}
        for source, gradient in zip(op.inputs or (), op.backward(gradients[id(output)])):
            if source is not None and gradient is not None and source.requires_grad:
                earlier = gradients.get(id(source))
                gradients[id(source)] = gradient if earlier is None else earlier + gradient
                now = _text(gradients[id(source)])
                told[id(source)] = f"{called.get(id(source), 'its input')} has {now} so far"
        sentence = f"{_sign(op)} passes its gradient on: {'; '.join(told.values())}."
        moments.append((op, dict(gradients), sentence))

    def labels(at: Op | None, known: dict[int, Array]) -> dict[Any, Label]:
        return {
            node: _label(
                node.content, outputs, called, known, at is not None and node.content is at
            )
            for node in root.children
        }

    # Every picture has the boxes of the last one, whose texts are the longest.
    layout(root, edges, labels(None, gradients))
    title = "backward, step by step"
    pictures = [render(root, labels(at, known), title) for at, known, _ in moments]
    return frames(pictures, [text for _, _, text in moments])


def _label(
    content: Any,
    outputs: dict[Op, Tensor],
    called: dict[int, str],
    known: dict[int, Array],
    working: bool,
) -> Label:
    """The name, the value, and the gradient as far as it is known."""
    leaf = isinstance(content, Tensor)
    if isinstance(content, Op):
        tensor = outputs[content]
        name = called.get(id(tensor))
        first = f"{name} = {_sign(content)}" if name else _sign(content)
    else:
        tensor = content if leaf else Tensor(np.zeros(()))
        first = called.get(id(tensor), "constant")
    gradient = known.get(id(tensor))
    second = f"value {_text(tensor.data)}"
    if gradient is not None:
        second += f" · gradient {_text(gradient)}"
    given = "norm" if gradient is None else "activation"
    colour = "join" if working else "leaf" if leaf else given
    return Label(first, second, colour, "", f"{first}: {second}")


def _sign(op: Op) -> str:
    name = type(op).__name__
    return OPS.get(name, (name.lower(), ""))[0]


def _text(array: Array) -> str:
    """A number in four digits, or the shape of an array."""
    host = to_host(array)
    return f"{host.item():.4g}" if host.size == 1 else "×".join(map(str, host.shape))
