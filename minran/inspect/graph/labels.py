"""What the boxes of a drawing say, and in which colour."""

from __future__ import annotations

from dataclasses import dataclass

from minran import nn
from minran.autograd import Op
from minran.inspect.graph.flow import Node
from minran.nn import Module, Parameter
from minran.ops.activation import Gate

OPS = {
    "Add": ("+", "join"),
    "Sub": ("−", "join"),
    "Mul": ("×", "join"),
    "Div": ("÷", "join"),
    "Concat": ("concat", "join"),
    "Gate": ("gate", "join"),
    "Conv2d": ("conv2d", "weights"),
    "Linear": ("linear", "weights"),
    "MatMul": ("@", "weights"),
    "BatchNorm": ("batch norm", "norm"),
    "BatchNorm2d": ("batch norm", "norm"),
    "MaxPool2d": ("max pool", "size"),
    "AvgPool2d": ("average pool", "size"),
    "GlobalAvgPool": ("global average pool", "size"),
    "UpsampleBilinear2d": ("interpolate", "size"),
    "ReLU": ("relu", "activation"),
    "Sigmoid": ("sigmoid", "activation"),
    "ChannelAttention": ("channel attention", "activation"),
    "SpatialAttention": ("spatial attention", "activation"),
    "MaskBranch": ("mask", "mask"),
    "CrossEntropy": ("cross entropy", "join"),
}
"""What the boxes of ops say (others: the name of their class), and the colour of ops and layers."""


@dataclass(frozen=True)
class Label:
    """Two lines of text, a colour of the palette, the tensor's shape and a hint for the mouse."""

    first: str
    second: str
    colour: str
    shape: str
    hint: str

    def size(self, open_box: bool) -> tuple[float, float]:
        """(width, height) of a closed box with this text; of an open one's title."""
        # Letters are 0.6 of the font size wide on the average, bold ones a little more.
        first, second = 7.6 * len(self.first), 6.6 * len(self.second)
        if open_box:
            return first + second + 30, 0
        return max(first, second, 34) + 18, 38 if second else 28


def label(node: Node, skip: int) -> Label:
    """The label of a node; shapes are written without their first `skip` axes."""
    shape = "×".join(map(str, node.shape[skip:])) or "scalar"
    content = node.content
    name = node.title or node.last_name
    kind = type(content).__name__
    if isinstance(content, Module):
        detail = kind + _options(content)
        count = content.num_parameters()
        hint = f"{node.name or kind}: {detail} -> {shape}"
        hint += f", {count:,} parameters" if count else ""
        # That a box with boxes inside runs them in sequence shows; its name is enough.
        plain = not name or (node.open and isinstance(content, nn.Sequential))
        return Label(name or detail, "" if plain else detail, _colour(node), shape, hint)
    if isinstance(content, Op):
        first, colour = OPS.get(kind, (kind.lower(), "norm"))
        formula = ""
        if isinstance(content, Gate):
            formula = "(1 + M) T" if content.residual else "M T"
        return Label(first, formula, colour, shape, f"{first} -> {shape}")
    kind = "parameter" if isinstance(content, Parameter) else "tensor"
    return Label(name or kind, shape, "leaf", shape, f"{node.name or kind}: {shape}")


def _colour(node: Node) -> str:
    """The palette entry of a module's box: that of its class, or of the layer it is made from."""
    for kind in type(node.content).__mro__:
        if kind.__name__ in OPS:
            return OPS[kind.__name__][1]
    if node.last_name == "trunk" and node.open:
        return "trunk"
    return "plain" if node.open else "unit"


def _options(module: Module) -> str:
    """What tells this layer from others of its kind: window, stride where it is not 1, groups."""
    if isinstance(module, nn.Conv2d):
        size, stride, groups = module.weight.shape, module.stride, module.groups
    elif isinstance(module, nn.MaxPool2d):
        size, stride, groups = module.kernel_size, module.stride or module.kernel_size, 1
    else:
        return ""
    step = f" /{stride[0]}" if stride[0] == stride[1] else f" /{stride}"
    step = "" if stride == (1, 1) else step
    return f" {size[0]}×{size[1]}{step}" + (f", {groups} groups" if groups > 1 else "")
