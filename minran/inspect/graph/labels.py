"""What the boxes of a drawing say, and in which colour."""

from __future__ import annotations

from dataclasses import dataclass

from minran import nn
from minran.autograd import Op
from minran.inspect.graph.flow import Node
from minran.models import MaskBranch
from minran.nn import Module, Parameter

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
    "MaxPool2d": ("max pool", "size"),
    "AvgPool2d": ("average pool", "size"),
    "GlobalAvgPool": ("global average pool", "size"),
    "UpsampleBilinear2d": ("interpolate", "size"),
    "Relu": ("relu", "activation"),
    "ReLU": ("relu", "activation"),
    "Sigmoid": ("sigmoid", "activation"),
    "ChannelAttention": ("channel attention", "activation"),
    "SpatialAttention": ("spatial attention", "activation"),
    "CrossEntropy": ("cross entropy", "join"),
}
"""What the boxes of ops say; the others say the name of their class."""

LAYERS: list[tuple[type[Module], str]] = [
    (nn.Conv2d, "weights"),
    (nn.Linear, "weights"),
    (nn.BatchNorm2d, "norm"),
    (nn.MaxPool2d, "size"),
    (nn.GlobalAvgPool, "size"),
    (nn.UpsampleBilinear2d, "size"),
    (nn.ReLU, "activation"),
    (nn.Sigmoid, "activation"),
    (nn.ChannelAttention, "activation"),
    (nn.SpatialAttention, "activation"),
    (MaskBranch, "mask"),
]


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
    name = node.title or node.name.rpartition(".")[2]
    if isinstance(content, Module):
        kind = type(content).__name__
        detail = kind + _options(content)
        count = content.num_parameters()
        hint = f"{node.name or kind}: {detail} -> {shape}" + (
            f", {count:,} parameters" if count else ""
        )
        if not name:
            return Label(detail, "", module_colour(node), shape, hint)
        # That a box with boxes inside runs them in sequence shows; its name is enough.
        plain = node.open and isinstance(content, nn.Sequential)
        return Label(name, "" if plain else detail, module_colour(node), shape, hint)
    if isinstance(content, Op):
        first, colour = OPS.get(type(content).__name__, (type(content).__name__.lower(), "norm"))
        second = _formula(content)
        return Label(first, second, colour, shape, f"{first} -> {shape}")
    kind = "parameter" if isinstance(content, Parameter) else "tensor"
    return Label(name or kind, shape, "leaf", shape, f"{node.name or kind}: {shape}")


def module_colour(node: Node) -> str:
    """The palette entry of a module's box."""
    for kind, colour in LAYERS:
        if isinstance(node.content, kind):
            return colour
    if node.name.rpartition(".")[2] == "trunk" and node.open:
        return "trunk"
    return "plain" if node.open else "unit"


def _options(module: Module) -> str:
    """What tells this layer from others of its kind."""
    if isinstance(module, nn.Conv2d):
        rows, columns = module.weight.shape[:2]
        groups = f", {module.groups} groups" if module.groups > 1 else ""
        return f" {rows}×{columns}{_stride(module.stride)}{groups}"
    if isinstance(module, nn.MaxPool2d):
        size = module.kernel_size
        rows, columns = (size, size) if isinstance(size, int) else size
        return f" {rows}×{columns}{_stride(module.stride or size)}"
    return ""


def _stride(stride: int | tuple[int, int]) -> str:
    rows, columns = (stride, stride) if isinstance(stride, int) else stride
    if rows == columns:
        return "" if rows == 1 else f" /{rows}"
    return f" /({rows}, {columns})"


def _formula(op: Op) -> str:
    """The gate says which of the two equations it computes."""
    if type(op).__name__ != "Gate":
        return ""
    inputs = op.inputs or ()
    residual = getattr(op, "residual", None)
    if residual is None and len(inputs) == 2:
        return "mask, trunk"
    return "(1 + M) T" if residual else "M T"
