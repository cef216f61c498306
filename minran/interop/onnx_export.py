"""A network as an ONNX file: to look at in Netron, to run where there is no minran.

The network is run once on a blank picture, and the graph that `backward` would walk is written
down op by op: what is exported is what was computed. The file takes pictures as minran does,
(N, H, W, 3); it turns them round once, because ONNX wants channels second inside.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from minran._version import __version__
from minran.data import Preprocess
from minran.errors import DataError, expect, import_extra
from minran.files import expect_ending, write_atomically
from minran.hints import checked
from minran.inspect import record
from minran.inspect.graph.flow import ops_behind
from minran.inspect.probe import Size, blank_picture, picture_size
from minran.interop.onnx_ops import Graph, add_op
from minran.nn import Module
from minran.nn.module import evaluating

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
) -> Path:
    """Write `model`, as it answers in evaluation mode, to an ONNX file; returns the path.

    Input "images": (N, H, W, 3) float32, prepared as for training; with `preprocess`, whose
    subtraction and division then become part of the file, (N, H, W, 3) uint8 pictures. Output
    "logits": (N, K) float32. N is free, H and W are fixed: `image_size` (one number or rows and
    columns), else the size the network was drawn for. `class_names` are kept as metadata.

    Weights are written in float32, and named as in `state_dict`. Raises BackendError without
    the onnx package, or for an operation that none of minran's own networks has; DataError
    for another ending than .onnx, or if the file cannot be written.
    """
    needs = "export_onnx needs the onnx package, which is not installed"
    onnx = import_extra("onnx", "onnx", needs)
    if preprocess is not None:
        size: tuple[int, int] = (preprocess.mean.shape[0], preprocess.mean.shape[1])
        expect(
            image_size is None or picture_size(model, image_size) == size,
            f"export_onnx: the preprocessing is for pictures of {size[0]}x{size[1]} pixels, "
            f"image_size says {image_size}",
        )
    else:
        size = picture_size(model, image_size)
    expect_ending(path, (".onnx",), "export_onnx: the file")
    x = blank_picture(model, size, requires_grad=True)
    with evaluating(model), record() as calls:
        y = model(x)
    expect(
        len(class_names) in (0, y.shape[-1]),
        f"export_onnx: {len(class_names)} class_names, but the network tells {y.shape[-1]} apart",
    )

    graph = Graph(onnx)
    for name, parameter in model.named_parameters():
        graph.names[id(parameter)] = name
    modules = {id(module): name for name, module in model.named_modules()}
    # Children report before their parents, so the innermost call gives an op its name.
    owners: dict[int, str] = {}
    for call in calls:
        owners.setdefault(id(call.output), modules.get(id(call.module), ""))

    graph.values[id(x)] = _input(graph, preprocess)
    for op, output in ops_behind(y):
        graph.values[id(output)] = add_op(graph, op, owners.get(id(output), ""))
    logits = graph.node("Identity", [graph.values[id(y)]], "logits")

    helper, types = onnx.helper, onnx.TensorProto
    kind = types.FLOAT if preprocess is None else types.UINT8
    shapes = ["N", *x.shape[1:]], ["N", *y.shape[1:]]
    written = helper.make_model(
        helper.make_graph(
            graph.nodes,
            type(model).__name__,
            [helper.make_tensor_value_info("images", kind, shapes[0])],
            [helper.make_tensor_value_info(logits, types.FLOAT, shapes[1])],
            list(graph.constants.values()),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="minran",
        producer_version=__version__,
    )
    if class_names:
        helper.set_model_props(written, {"class_names": json.dumps(list(class_names))})
    onnx.checker.check_model(written, full_check=True)
    write_atomically(Path(path), written.SerializeToString(), DataError)
    return Path(path)


def _input(graph: Graph, preprocess: Preprocess | None) -> str:
    """From the file's input to what the first layer reads, (N, C, H, W)."""
    value = "images"
    if preprocess is not None:
        value = graph.node("Cast", [value], "preprocess.cast", to=graph.onnx.TensorProto.FLOAT)
        mean = graph.constant("preprocess.mean", preprocess.mean)
        value = graph.node("Sub", [value, mean], "preprocess.centred")
        std = graph.constant("preprocess.std", preprocess.std)
        value = graph.node("Div", [value, std], "preprocess.scaled")
    return graph.node("Transpose", [value], "channels_second", perm=[0, 3, 1, 2])
