"""Backward, one op at a time, on the drawn graph: `backward_steps(loss, a=a, b=b)`."""

from __future__ import annotations

import numpy as np

from minran.autograd import Array, Op, Tensor
from minran.backend import to_host
from minran.errors import GradientError, expect
from minran.hints import checked
from minran.inspect.graph.flow import Node, flow, ops_behind
from minran.inspect.graph.labels import OPS, Label
from minran.inspect.graph.layout import layout
from minran.inspect.graph.svg import Svg, render
from minran.workshop.course.show import Frames, frames

MOST_OPS = 40


@checked(GradientError)
def backward_steps(loss: Tensor, **names: Tensor) -> Frames:
    """Pictures of the graph behind the number `loss` while gradients flow back through it.

    names: what to call the tensors. Nothing is changed: no `grad` is written, the graph is not
    freed. Raises GradientError for a loss that is no scalar or has more than 40 ops behind it.
    """
    expect(
        loss.size == 1,
        f"backward_steps: expected a tensor of one number, got shape {loss.shape}",
        GradientError,
    )
    called = {id(t): name for name, t in names.items()}
    root, edges = flow(loss, [], called, leaves=True)
    outputs = dict(ops_behind(loss))
    expect(
        len(outputs) <= MOST_OPS,
        f"backward_steps: {len(outputs)} ops are too many to follow (at most {MOST_OPS})",
        GradientError,
    )
    gradients: dict[int, Array] = {id(loss): np.ones_like(to_host(loss.data))}
    moments: list[tuple[Op | None, dict[int, Array], str]] = [
        (None, {}, "Forward: every op has its value. Backward begins at the end."),
        (None, dict(gradients), f"dL/dL = 1 for L = {called.get(id(loss), 'the result')}."),
    ]
    for op, output in reversed(outputs.items()):
        for source, gradient in zip(op.inputs or (), op.backward(gradients[id(output)])):
            if source is not None and gradient is not None and source.requires_grad:
                earlier = gradients.get(id(source))
                gradients[id(source)] = gradient if earlier is None else earlier + gradient
        moments.append((op, dict(gradients), _sentence(op, called, gradients)))

    def labels(at: Op | None, known: dict[int, Array]) -> dict[Node, Label]:
        return {node: _label(node, outputs, called, known, at) for node in root.children}

    # Every picture has the boxes of the last one, whose texts are the longest.
    layout(root, edges, labels(None, gradients))
    pictures: list[Svg] = [
        render(root, labels(at, known), "backward, step by step") for at, known, _ in moments
    ]
    return frames(pictures, [text for _, _, text in moments])


def _label(
    node: Node,
    outputs: dict[Op, Tensor],
    called: dict[int, str],
    known: dict[int, Array],
    at: Op | None,
) -> Label:
    """The name, the value, and the gradient as far as it is known."""
    if isinstance(node.content, Op):
        tensor = outputs[node.content]
        sign = OPS.get(type(node.content).__name__, (type(node.content).__name__.lower(), ""))[0]
        name = called.get(id(tensor))
        first = f"{name} = {sign}" if name else sign
    else:
        tensor = node.content if isinstance(node.content, Tensor) else Tensor(np.zeros(()))
        first = called.get(id(tensor), "constant")
    gradient = known.get(id(tensor))
    second = f"value {_text(tensor.data)}"
    if gradient is not None:
        second += f" · gradient {_text(gradient)}"
    colour = "norm"
    if at is not None and node.content is at:
        colour = "join"
    elif isinstance(node.content, Tensor):
        colour = "leaf"
    elif gradient is not None:
        colour = "activation"
    return Label(first, second, colour, "", f"{first}: {second}")


def _sentence(op: Op, called: dict[int, str], gradients: dict[int, Array]) -> str:
    """What a step did, in words."""
    parts = []
    for source in dict.fromkeys(op.inputs or ()):
        if source is not None and source.requires_grad:
            name = called.get(id(source), "its input")
            parts.append(f"{name} has {_text(gradients[id(source)])} so far")
    sign = OPS.get(type(op).__name__, (type(op).__name__.lower(), ""))[0]
    return f"{sign} passes its gradient on: {'; '.join(parts)}."


def _text(array: Array) -> str:
    """A number in four digits, or the shape of an array."""
    host = to_host(array)
    return f"{host.item():.4g}" if host.size == 1 else "×".join(map(str, host.shape))
