"""A network as an ONNX file: to look at in Netron, to run where there is no minran.

The network is run once on a blank image, and the graph that `backward` would walk is written
down op by op: what is exported is what was computed. The file takes images as minran does,
(N, H, W, 3); it turns them round once, because ONNX wants channels second inside: maps are
(N, C, H, W) there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minran import backend
from minran._version import __version__
from minran.autograd import Op, Tensor
from minran.data import Preprocess
from minran.errors import BackendError, DataError, expect, import_extra
from minran.files import expect_ending, write_atomically
from minran.hints import checked
from minran.inspect.graph.flow import ops_behind
from minran.inspect.probe import (
    Size,
    attention_modules,
    blank_picture,
    names_by_id,
    picture_size,
    record,
)
from minran.live.network import steps
from minran.nn import Module
from minran.nn.module import evaluating
from minran.ops.activation import ChannelAttention, Gate, ReLU, Sigmoid, SpatialAttention
from minran.ops.arithmetic import Add
from minran.ops.conv import Conv2d, Linear
from minran.ops.norm import BatchNorm
from minran.ops.pool import GlobalAvgPool, MaxPool2d, UpsampleBilinear2d
from minran.ops.shape import Concat

# Known to onnx from 1.17 and onnxruntime from 1.21 on: new, and open almost everywhere.
OPSET = 22
IR_VERSION = 10


@checked()
def export_onnx(
    model: Module,
    path: str | Path,
    image_size: Size = None,
    preprocess: Preprocess | None = None,
    class_names: Sequence[str] = (),
    maps: bool = False,
) -> Path:
    """Write `model`, as it answers in evaluation mode, to an ONNX file; returns the path.

    Input "images": (N, H, W, 3) float32, prepared as for training; with `preprocess`, whose
    subtraction and division then become part of the file, (N, H, W, 3) uint8 images. Output
    "logits": (N, K) float32. N is free, H and W are fixed: `image_size` (one number or rows and
    columns), else the size the network was drawn for. `class_names` are kept as metadata.

    maps: also every step of each attention module, as `minran.live` shows them: outputs such as
    "stages.0.1/M", (N, h, w, C), and two inputs a module with a mask, "stages.0.1/painted"
    (1, 1, h, w) and "stages.0.1/use", a number a: the mask is (1 - a) M + a painted.

    Weights are written in float32, and named as in `state_dict`. Raises BackendError without
    the onnx package, or for an operation that none of minran's own networks has; DataError
    for another ending than .onnx, or if the file cannot be written.
    """
    needs = "export_onnx needs the onnx package, which is not installed"
    onnx = import_extra("onnx", "onnx", needs)
    size = picture_size(model, image_size) if preprocess is None else preprocess.mean.shape[:2]
    expect(
        image_size is None or picture_size(model, image_size) == size,
        f"export_onnx: the preprocessing is for images of {size[0]}x{size[1]} pixels, "
        f"image_size says {image_size}",
    )
    target = expect_ending(path, (".onnx",), "export_onnx: the file")
    x = blank_picture(model, size, requires_grad=True)
    with evaluating(model), record() as calls:
        y = model(x)
    expect(
        len(class_names) in (0, y.shape[-1]),
        f"export_onnx: {len(class_names)} class_names, but the network tells {y.shape[-1]} apart",
    )

    modules = attention_modules(model, "export_onnx: maps", masked=False) if maps else []
    after = {id(module.after): name for name, module in modules}
    seen = {id(c.module): c.inputs[0] if id(c.module) in after else c.output for c in calls}

    graph = Graph(onnx, names_by_id(model))
    masked = [module for _, module in modules if module.mask is not None]
    graph.painted = {id(seen[id(m.after)]): after[id(m.after)] for m in masked}
    # Parents report after their children, so that the innermost call gives an op its name.
    owners = {id(call.output): graph.names.get(id(call.module)) for call in reversed(calls)}
    graph.add_input(x, preprocess)
    for op, output in ops_behind(y):
        graph.add(op, output, owners.get(id(output)) or type(op).__name__.lower())
    graph.node("Identity", graph.values[id(y)])
    graph.end("logits")

    helper, types = onnx.helper, onnx.TensorProto

    def end(name: str, shape: Sequence[Any], kind: int = types.FLOAT) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    kind = types.FLOAT if preprocess is None else types.UINT8
    inputs = [end("images", ["N", *x.shape[1:]], kind)]
    outputs = [end("logits", ["N", *y.shape[1:]])]
    for name, module in modules:
        parts = {key: value for key, _, value in steps(module, seen)}
        if module.mask is not None:
            inputs.append(end(f"{name}/painted", [1, 1, *parts["M"].shape[1:3]]))
            inputs.append(end(f"{name}/use", []))
        for key, value in parts.items():
            graph.node("Transpose", graph.values[id(value)], perm=[0, 2, 3, 1])
            outputs.append(end(graph.end(f"{name}/{key}"), ["N", *value.shape[1:]]))
    written = helper.make_model(
        helper.make_graph(graph.nodes, type(model).__name__, inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="minran",
        producer_version=__version__,
    )
    if class_names:
        helper.set_model_props(written, {"class_names": json.dumps(list(class_names))})
    onnx.checker.check_model(written, full_check=True)
    write_atomically(target, written.SerializeToString(), DataError)
    return target


class Graph:
    """ONNX nodes and constants in the making; `values` names each tensor so far, by `id`.

    What is added belongs to the module called `at`, and gets its name from there.
    """

    def __init__(self, onnx: Any, names: dict[int, str]) -> None:
        self.onnx, self.names, self.at = onnx, names, "preprocess"
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.values: dict[int, str] = {}
        self.painted: dict[int, str] = {}  # gated features, by `id`, whose mask may be painted
        self._taken: set[str] = set()

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output; returns the output's name, which is the node's too."""
        name = self._free(f"{self.at}.{kind.lower()}")
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def constant(self, part: str, array: Any, dtype: Any = np.float32, name: str = "") -> str:
        """Add an array; returns its name."""
        name = self._free(name or f"{self.at}.{part}")
        # Not `ascontiguousarray`, which turns a number into an array of one.
        values = np.array(backend.to_host(array), dtype=dtype, order="C")
        self.constants.append(self.onnx.numpy_helper.from_array(values, name))
        return name

    def end(self, name: str) -> str:
        """Give the last node, which nothing has read yet, this name; returns it."""
        name = self._free(name)
        self.nodes[-1].name = self.nodes[-1].output[0] = name
        return name

    def _free(self, name: str) -> str:
        """`name`, or with a number after it if that name is taken."""
        free, number = name, 1
        while free in self._taken:
            number += 1
            free = f"{name}_{number}"
        self._taken.add(free)
        return free

    def add_input(self, x: Tensor, preprocess: Preprocess | None) -> None:
        """From the file's input to what the first layer reads, (N, C, H, W)."""
        value = "images"
        if preprocess is not None:
            value = self.node("Cast", value, to=self.onnx.TensorProto.FLOAT)
            value = self.node("Sub", value, self.constant("mean", preprocess.mean))
            value = self.node("Div", value, self.constant("std", preprocess.std))
        self.node("Transpose", value, perm=[0, 3, 1, 2])
        self.values[id(x)] = self.end("channels_second")

    def add(self, op: Op, output: Tensor, at: str) -> None:
        """Add the nodes of an op that was run by the module called `at`.

        Raises BackendError for an operation that is not in the list.
        """
        if type(op) not in WRITERS:
            raise BackendError(
                f"export_onnx: {type(op).__name__} has no counterpart here; known: "
                f"{', '.join(kind.__name__ for kind in WRITERS)}"
            )
        self.at = at
        inputs = op.inputs or ()
        parameters = PARAMETERS.get(type(op), ())
        names = [self.values[id(x)] for x in inputs[: 1 if parameters else None] if x is not None]
        for part, tensor in zip(parameters, inputs[1:], strict=False):
            if tensor is not None:
                array = tensor.data
                if tensor.ndim == 4:  # (KH, KW, C/g, K) -> (K, C/g, KH, KW)
                    array = array.transpose(3, 2, 0, 1)
                names.append(self.constant(part, array, name=self.names.get(id(tensor), "")))
        if id(output) in self.painted:
            module, mask = self.painted[id(output)], names[0]
            painted, use = f"{module}/painted", f"{module}/use"
            own = self.node("Mul", mask, self.node("Sub", self.constant("one", 1.0), use))
            names[0] = self.node("Add", own, self.node("Mul", painted, use))
            self.values[id(inputs[0])] = names[0]
        WRITERS[type(op)](self, op, *names)
        self.values[id(output)] = self.end(at)


PARAMETERS: dict[type[Op], tuple[str, ...]] = {
    Conv2d: ("weight", "bias"),
    Linear: ("weight", "bias"),
    BatchNorm: ("gamma", "beta"),
}
"""What the inputs after the first one are."""


def _one(kind: str, attributes: Callable[[Any], dict[str, Any]] = lambda op: {}) -> Any:
    """An op that ONNX has too."""
    return lambda graph, op, *inputs: graph.node(kind, *inputs, **attributes(op))


def _window(op: Any, kernel: tuple[int, ...]) -> dict[str, Any]:
    pads = [*op.padding, *op.padding]
    return {"kernel_shape": list(kernel), "strides": list(op.stride), "pads": pads}


def _batch_norm(graph: Graph, op: Any, *inputs: str) -> None:
    """BatchNormalization with the running statistics, and Relu where it was one kernel."""
    mean, variance = map(graph.constant, ("running_mean", "running_var"), op.running)
    y = graph.node("BatchNormalization", *inputs, mean, variance, epsilon=op.eps)
    if op.relu:
        graph.node("Relu", y)


def _upsample(graph: Graph, op: Any, x: str) -> None:
    """Resize of the last two axes."""
    size = graph.constant("size", op.size, np.int64)
    way = "align_corners" if op.align_corners else "half_pixel"
    look = {"mode": "linear", "axes": [2, 3], "coordinate_transformation_mode": way}
    graph.node("Resize", x, "", "", size, **look)


def _channel_attention(graph: Graph, op: Any, x: str) -> None:
    """x / sqrt(sum_c x^2 + eps)."""
    square = graph.node("ReduceSumSquare", x, graph.constant("axis", [1], np.int64))
    safe = graph.node("Add", square, graph.constant("eps", op.eps))
    graph.node("Div", x, graph.node("Sqrt", safe))


def _spatial_attention(graph: Graph, op: Any, x: str) -> None:
    """sigmoid((x - mean) / std) over each map: what ONNX calls InstanceNormalization."""
    channels = op.inputs[0].shape[3]
    ends = graph.constant("ones", np.ones(channels)), graph.constant("zeros", np.zeros(channels))
    graph.node("Sigmoid", graph.node("InstanceNormalization", x, *ends, epsilon=op.eps))


def _gate(graph: Graph, op: Any, mask: str, trunk: str) -> None:
    """(1 + M) T = T + M T, or M T."""
    weighted = graph.node("Mul", mask, trunk)
    if op.residual:
        graph.node("Add", trunk, weighted)


def _axis(op: Any) -> dict[str, Any]:
    """Maps are (N, H, W, C) in minran: its last axis is axis 1 here."""
    return {"axis": (0, 2, 3, 1)[op.axis] if op.inputs[0].ndim == 4 else op.axis}


WRITERS: dict[type[Op], Callable[..., Any]] = {
    Conv2d: _one("Conv", lambda op: _window(op, op.inputs[1].shape[:2]) | {"group": op.groups}),
    BatchNorm: _batch_norm,
    MaxPool2d: _one(
        "MaxPool", lambda op: _window(op, op.kernel) | {"ceil_mode": int(op.ceil_mode)}
    ),
    # GlobalAveragePool keeps two axes of size 1.
    GlobalAvgPool: lambda graph, op, x: graph.node("Flatten", graph.node("GlobalAveragePool", x)),
    UpsampleBilinear2d: _upsample,
    ChannelAttention: _channel_attention,
    SpatialAttention: _spatial_attention,
    ReLU: _one("Relu"),
    Sigmoid: _one("Sigmoid"),
    Gate: _gate,
    Linear: _one("Gemm"),
    Add: _one("Add"),
    Concat: _one("Concat", _axis),
}
"""What adds the nodes of each of minran's operations, whose inputs have these names."""
