"""How each of minran's operations is written in ONNX; maps are (N, C, H, W) here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minran import backend
from minran.autograd import Array, Op, Tensor
from minran.errors import BackendError
from minran.ops.activation import ChannelAttention, ReLU, Sigmoid, SpatialAttention
from minran.ops.arithmetic import Add
from minran.ops.conv import Conv2d
from minran.ops.gate import Gate
from minran.ops.linear import Linear
from minran.ops.norm import BatchNorm
from minran.ops.pool import GlobalAvgPool, MaxPool2d
from minran.ops.resize import UpsampleBilinear2d
from minran.ops.shape import Concat


class Graph:
    """ONNX nodes and constants in the making.

    values: the ONNX name of each tensor computed so far, by `id`; names: of the parameters.
    """

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.values: dict[int, str] = {}
        self.names: dict[int, str] = {}
        self._taken: set[str] = set()

    def node(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        """Add a node with one output; returns the output's name, which is the node's too."""
        name = self._free(name)
        made = self.onnx.helper.make_node(kind, inputs, [name], name=name, **attributes)
        self.nodes.append(made)
        return name

    def constant(self, name: str, array: Any, dtype: Any = np.float32) -> str:
        """Add an array; returns its name."""
        name = self._free(name)
        # Not `ascontiguousarray`, which turns a number into an array of one.
        values = np.array(backend.to_host(array), dtype=dtype, order="C")
        self.constants[name] = self.onnx.numpy_helper.from_array(values, name)
        return name

    def value(self, tensor: Tensor) -> str:
        """The name of a tensor that was computed before."""
        return self.values[id(tensor)]

    def weight(self, tensor: Tensor, array: Array, at: str, kind: str) -> str:
        """A parameter, laid out as ONNX wants it in `array`, under minran's name for it."""
        return self.constant(self.names.get(id(tensor), f"{at}.{kind}"), array)

    def _free(self, name: str) -> str:
        """`name`, or with a number behind it if that name is taken."""
        free, number = name, 1
        while free in self._taken:
            number += 1
            free = f"{name}_{number}"
        self._taken.add(free)
        return free


Writer = Callable[[Graph, Any, tuple[Tensor, ...], str], str]


def add_op(graph: Graph, op: Op, at: str) -> str:
    """Add the nodes of an op that was run; returns the name of its output.

    at: the module that ran it, for the nodes' names. Raises BackendError for an operation that
    is not in the list.
    """
    for kind, writer in WRITERS.items():
        if type(op) is kind:
            inputs: Any = op.inputs
            return writer(graph, op, inputs, at or kind.__name__.lower())
    raise BackendError(
        f"export_onnx: {type(op).__name__} has no counterpart here; known: "
        f"{', '.join(kind.__name__ for kind in WRITERS)}"
    )


def _conv(graph: Graph, op: Any, inputs: tuple[Tensor, ...], at: str) -> str:
    """Conv; weight (KH, KW, C/g, K) -> (K, C/g, KH, KW)."""
    x, w, bias = inputs
    names = [graph.value(x), graph.weight(w, w.data.transpose(3, 2, 0, 1), at, "weight")]
    if bias is not None:
        names.append(graph.weight(bias, bias.data, at, "bias"))
    return graph.node(
        "Conv",
        names,
        at,
        kernel_shape=list(w.shape[:2]),
        strides=list(op.stride),
        pads=[*op.padding, *op.padding],
        group=op.groups,
    )


def _batch_norm(graph: Graph, op: Any, inputs: tuple[Tensor, ...], at: str) -> str:
    """BatchNormalization with the running statistics, and Relu where it was one kernel."""
    x, gamma, beta = inputs
    names = [
        graph.value(x),
        graph.weight(gamma, gamma.data, at, "gamma"),
        graph.weight(beta, beta.data, at, "beta"),
        graph.constant(f"{at}.running_mean", op.running[0]),
        graph.constant(f"{at}.running_var", op.running[1]),
    ]
    if not op.relu:
        return graph.node("BatchNormalization", names, at, epsilon=op.eps)
    normalised = graph.node("BatchNormalization", names, f"{at}.normalised", epsilon=op.eps)
    return graph.node("Relu", [normalised], at)


def _max_pool(graph: Graph, op: Any, inputs: tuple[Tensor, ...], at: str) -> str:
    return graph.node(
        "MaxPool",
        [graph.value(inputs[0])],
        at,
        kernel_shape=list(op.kernel),
        strides=list(op.stride),
        pads=[*op.padding, *op.padding],
        ceil_mode=int(op.ceil_mode),
    )


def _global_avg_pool(graph: Graph, op: Any, inputs: tuple[Tensor, ...], at: str) -> str:
    """GlobalAveragePool keeps two axes of size 1, which Flatten takes away."""
    mean = graph.node("GlobalAveragePool", [graph.value(inputs[0])], f"{at}.mean")
    return graph.node("Flatten", [mean], at)


def _upsample(graph: Graph, op: Any, inputs: tuple[Tensor, ...], at: str) -> str:
    """Resize of the last two axes."""
    size = graph.constant(f"{at}.size", op.size, np.int64)
    return graph.node(
        "Resize",
        [graph.value(inputs[0]), "", "", size],
        at,
        mode="linear",
        axes=[2, 3],
        coordinate_transformation_mode="align_corners" if op.align_corners else "half_pixel",
    )


def _channel_attention(graph: Graph, op: Any, inputs: tuple[Tensor, ...], at: str) -> str:
    """x / sqrt(sum_c x^2 + eps)."""
    x = graph.value(inputs[0])
    channels = graph.constant(f"{at}.axis", [1], np.int64)
    square = graph.node("ReduceSumSquare", [x, channels], f"{at}.square")
    safe = graph.node("Add", [square, graph.constant(f"{at}.eps", op.eps)], f"{at}.safe")
    return graph.node("Div", [x, graph.node("Sqrt", [safe], f"{at}.norm")], at)


def _spatial_attention(graph: Graph, op: Any, inputs: tuple[Tensor, ...], at: str) -> str:
    """sigmoid((x - mean) / std) over each map: what ONNX calls InstanceNormalization."""
    channels = inputs[0].shape[3]
    scale = graph.constant(f"{at}.ones", np.ones(channels))
    shift = graph.constant(f"{at}.zeros", np.zeros(channels))
    names = [graph.value(inputs[0]), scale, shift]
    normalised = graph.node("InstanceNormalization", names, f"{at}.normalised", epsilon=op.eps)
    return graph.node("Sigmoid", [normalised], at)


def _gate(graph: Graph, op: Any, inputs: tuple[Tensor, ...], at: str) -> str:
    """(1 + M) T = T + M T, or M T."""
    mask, trunk = map(graph.value, inputs)
    if not op.residual:
        return graph.node("Mul", [mask, trunk], at)
    return graph.node("Add", [trunk, graph.node("Mul", [mask, trunk], f"{at}.weighted")], at)


def _linear(graph: Graph, op: Any, inputs: tuple[Tensor, ...], at: str) -> str:
    x, w, bias = inputs
    names = [graph.value(x), graph.weight(w, w.data, at, "weight")]
    if bias is not None:
        names.append(graph.weight(bias, bias.data, at, "bias"))
    return graph.node("Gemm", names, at)


def _concat(graph: Graph, op: Any, inputs: tuple[Tensor, ...], at: str) -> str:
    """Maps are (N, H, W, C) in minran: its last axis is axis 1 here."""
    axis = (0, 2, 3, 1)[op.axis] if inputs[0].ndim == 4 else op.axis
    return graph.node("Concat", [graph.value(x) for x in inputs], at, axis=axis)


def _plain(kind: str) -> Writer:
    """An op without options that ONNX has too."""

    def write(graph: Graph, op: Any, inputs: tuple[Tensor, ...], at: str) -> str:
        return graph.node(kind, [graph.value(x) for x in inputs], at)

    return write


WRITERS: dict[type[Op], Writer] = {
    Conv2d: _conv,
    BatchNorm: _batch_norm,
    MaxPool2d: _max_pool,
    GlobalAvgPool: _global_avg_pool,
    UpsampleBilinear2d: _upsample,
    ChannelAttention: _channel_attention,
    SpatialAttention: _spatial_attention,
    ReLU: _plain("Relu"),
    Sigmoid: _plain("Sigmoid"),
    Gate: _gate,
    Linear: _linear,
    Add: _plain("Add"),
    Concat: _concat,
}
