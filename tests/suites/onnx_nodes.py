"""ONNX's nodes as minran's operations: an interpreter of one page for the cases that ONNX ships."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from suites.opinfo_ops import (
    adaptive_avg_pool2d,
    avg_pool2d,
    conv2d,
    data,
    max_pool2d,
    nchw,
    nhwc,
    only,
)

from minran import Tensor, ops, tensor


def padding(a: dict[str, Any]) -> tuple[int, int]:
    """Of a picture: above, left, below, right; minran pads alike on both sides."""
    only(a.get("auto_pad", "NOTSET") in ("NOTSET", "VALID"), "auto_pad")
    pads = a.get("pads") or [0, 0, 0, 0]
    only(pads[: len(pads) // 2] == pads[len(pads) // 2 :], "uneven padding")
    only(len(pads) == 4, "pictures of 1 or 3 dimensions")
    return pads[0], pads[1]


def conv(a, x, w, bias=None):
    only(x.ndim == 4, "pictures of 1 or 3 dimensions")
    options = a.get("strides", 1), padding(a), a.get("dilations", 1), a.get("group", 1)
    return conv2d(x, w, bias, *options)


def window(a, x):
    only(x.ndim == 4, "pictures of 1 or 3 dimensions")
    return a["kernel_shape"], a.get("strides", (1, 1)), padding(a)


def max_pool(a, x):
    only(a["outputs"] == 1, "positions of the maxima")
    return max_pool2d(x, *window(a, x), a.get("dilations", 1), bool(a.get("ceil_mode", 0)))


def average_pool(a, x):
    only(set(a.get("dilations", [1])) == {1}, "dilation")
    sizes = window(a, x)
    counts = bool(a.get("count_include_pad", 0)) or sizes[2] == (0, 0)
    return avg_pool2d(x, *sizes, bool(a.get("ceil_mode", 0)), counts)


def global_average(a, x):
    only(x.ndim == 4, "pictures of 1 or 3 dimensions")
    return adaptive_avg_pool2d(x, 1)


def norm(a, x, gamma, beta, mean, var):
    only(not a.get("training_mode", 0), "a running variance that is biased")
    only(x.ndim in (2, 4), "pictures of 1 or 3 dimensions")
    y = ops.batch_norm(nhwc(x), gamma, beta, mean.data, var.data, False, eps=a.get("epsilon", 1e-5))
    return nchw(y) if y.ndim == 4 else y


def resize(a, x, roi=None, scales=None, sizes=None):
    only(a.get("mode", "nearest") == "linear", "interpolation other than linear")
    only(x.ndim == 4 and "axes" not in a, "pictures of 1 or 3 dimensions")
    only(not a.get("antialias", 0), "antialias")
    only(a.get("keep_aspect_ratio_policy", "stretch") == "stretch", "keeping the aspect ratio")
    way = a.get("coordinate_transformation_mode", "half_pixel")
    only(way in ("half_pixel", "align_corners"), "coordinates other than of corners or half pixels")
    if sizes is None:
        exact = np.asarray(x.shape) * data(scales)
        only((exact == np.floor(exact)).all(), "a scale that is no ratio of sizes")
        sizes = tensor(np.floor(exact).astype(int))
    only(tuple(data(sizes)[:2]) == x.shape[:2], "new channels")
    size = tuple(int(n) for n in data(sizes)[2:])
    return nchw(ops.upsample_bilinear2d(nhwc(x), size, way == "align_corners"))


def gemm(a, x, y, z=None):
    x = x.transpose() if a.get("transA") else x
    y = y.transpose() if a.get("transB") else y
    product = x @ y * a.get("alpha", 1.0)
    return product if z is None else product + z * a.get("beta", 1.0)


def softmax(op: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    def run(a, x):
        axis = a.get("axis", -1 if a["opset"] >= 13 else 1)
        only(axis in (-1, x.ndim - 1), "softmax over other axes")
        return op(x)

    return run


def reduce(name: str) -> Callable[..., Tensor]:
    def run(a, x, axes=None):
        axes = a.get("axes") if axes is None else data(axes).tolist()
        only(axes != [] or not a.get("noop_with_empty_axes"), "a reduction over no axes")
        return getattr(x, name)(tuple(axes) if axes else None, bool(a.get("keepdims", 1)))

    return run


def power(a, x, exponent):
    only(exponent.size == 1, "exponents that are tensors")
    return x ** data(exponent).item()


def cross_entropy(a, x, target, weight=None):
    only(weight is None, "weights of classes")
    only("ignore_index" not in a, "ignore_index")
    only(a.get("reduction", "mean") == "mean", "reductions other")
    only(a["outputs"] == 1, "probabilities beside the loss")
    return ops.cross_entropy(x, data(target))


def flatten(a, x):
    axis = a.get("axis", 1)
    axis = axis % x.ndim if axis < 0 else axis
    rows = int(np.prod(x.shape[:axis]))
    return x.reshape(rows, x.size // rows)


NODES: dict[str, Callable[..., Tensor]] = {
    "Conv": conv,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average,
    "BatchNormalization": norm,
    "Resize": resize,
    "Gemm": gemm,
    "MatMul": lambda a, x, y: x @ y,
    "Relu": lambda a, x: ops.relu(x),
    "Sigmoid": lambda a, x: ops.sigmoid(x),
    "Softmax": softmax(ops.softmax),
    "LogSoftmax": softmax(ops.log_softmax),
    "SoftmaxCrossEntropyLoss": cross_entropy,
    "Add": lambda a, x, y: x + y,
    "Sub": lambda a, x, y: x - y,
    "Mul": lambda a, x, y: x * y,
    "Div": lambda a, x, y: x / y,
    "Neg": lambda a, x: -x,
    "Pow": power,
    "Exp": lambda a, x: x.exp(),
    "Log": lambda a, x: x.log(),
    "Sqrt": lambda a, x: x.sqrt(),
    "Reciprocal": lambda a, x: 1 / x,
    "ReduceSum": reduce("sum"),
    "ReduceMean": reduce("mean"),
    "ReduceMax": reduce("max"),
    "Concat": lambda a, *parts: ops.concat(parts, a["axis"]),
    "Transpose": lambda a, x: x.transpose(a.get("perm", ())),
    "Flatten": flatten,
}


def run(model: onnx.ModelProto, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a model, node by node."""
    graph = model.graph
    values: dict[str, Any] = {t.name: tensor(numpy_helper.to_array(t)) for t in graph.initializer}
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    free = (value.name for value in graph.input if value.name not in values)
    values.update(zip(free, map(tensor, inputs)))
    for node in graph.node:
        a = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        a = {name: v.decode() if isinstance(v, bytes) else v for name, v in a.items()}
        a |= {"opset": opset, "outputs": sum(map(bool, node.output))}
        if node.op_type == "Constant":
            values[node.output[0]] = tensor(numpy_helper.to_array(a["value"]))
            continue
        only(node.op_type in NODES, "an operation of that name")
        arguments = [values[name] if name else None for name in node.input]
        values[node.output[0]] = NODES[node.op_type](a, *arguments)
    return [values[value.name].numpy() for value in graph.output]
