"""The graph behind a tensor, its sorting into modules, its layout and its SVG."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from xml.dom.minidom import parseString

import numpy as np
import pytest

from minran import create_model, no_grad, ops, tensor
from minran.errors import GradientError, MinranError
from minran.inspect import graph, module_graph, record
from minran.inspect.graph.flow import Flow, Node, flow
from minran.inspect.graph.labels import label
from minran.inspect.graph.layout import layout, split_at_borders
from minran.inspect.probe import names_by_id
from minran.models import AttentionModule
from minran.models.units import Build


def attention_flow(learning: str = "residual") -> tuple[AttentionModule, Node, Flow]:
    module = AttentionModule(Build(np.random.default_rng(0)), 16, depth=2, learning=learning)
    x = tensor(np.zeros((1, 8, 8, 16), np.float32), requires_grad=True)
    with record() as calls:
        y = module.eval()(x)
    return module, *flow(y, calls, names_by_id(module), leaves=False)


def everything(node: Node) -> list[Node]:
    return [node, *(below for child in node.children for below in everything(child))]


def test_ops_are_sorted_into_the_calls_that_made_them() -> None:
    module, root, _ = attention_flow()
    (top,) = [node for node in root.children if node.children]
    assert top.content is module
    assert [child.name or type(child.content).__name__ for child in top.children] == [
        "before",
        "trunk",
        "mask",
        "Gate",
        "after",
    ]
    by_name = {node.name: node for node in everything(root) if node.name}
    assert {name for name, _ in module.named_modules()} - {""} == set(by_name)
    # Every module's node lies in the node of the module that holds it.
    for name, node in by_name.items():
        if "." in name:
            assert node.parent is by_name[name.rpartition(".")[0]]
    inside = by_name["mask.body"]
    assert [type(n.content).__name__ for n in inside.children if not n.children] == ["Add"]


def test_edges_between_the_parts_of_an_attention_module() -> None:
    _, root, edges = attention_flow()
    (top,) = [node for node in root.children if node.children]
    for child in top.children:
        child.closed = True
    split_at_borders(edges)
    names = {node: node.name or "gate" for node in top.children}
    drawn = {(names.get(a, a.kind), names.get(b, b.kind)) for a, b, _ in top.edges}
    assert drawn == {
        ("in", "before"),
        ("before", "trunk"),
        ("before", "mask"),
        ("trunk", "gate"),
        ("mask", "gate"),
        ("gate", "after"),
    }


def test_layout_trunk_and_mask_are_columns_and_nothing_overlaps() -> None:
    _, root, edges = attention_flow()
    nodes = [node for node in everything(root) if node is not root]
    layout(root, edges, {node: label(node, 1) for node in nodes})
    for place in filter(lambda node: node.open, [root, *nodes]):
        for layer in range(len(place.top)):
            row = sorted((i for i in place.items if i.layer == layer), key=lambda i: i.x)
            for a, b in pairwise(row):
                assert a.x + a.width / 2 < b.x - b.width / 2
        assert all(top <= bottom for top, bottom in zip(place.top, place.bottom, strict=True))
        for item in place.items:
            assert item.x - item.width / 2 >= 0 and item.x + item.width / 2 <= place.width + 1e-6
        assert all(edge.start.layer + 1 == edge.end.layer for edge in place.edges)
    (top,) = [node for node in root.children if node.children]
    at = {item.name: item for item in top.items}
    assert at["trunk"].layer == at["mask"].layer and at["trunk"].x < at["mask"].x


def test_module_graph_svg(tmp_path: Path) -> None:
    model = create_model("attention_nano")
    drawing = module_graph(model)
    document = parseString(drawing.text)
    assert document.documentElement.tagName == "svg"
    for words in ("mask", "trunk", "gate", "(1 + M) T", "16×16×16", "prefers-color-scheme:dark"):
        assert words in drawing.text
    assert "<script" not in drawing.text
    assert drawing._repr_svg_() == drawing.text
    assert drawing.save(tmp_path / "net.svg").read_text(encoding="utf-8") == drawing.text
    assert drawing.text == module_graph(model).text
    opened = module_graph(model, collapse=()).text
    assert opened.count("Conv2d 3×3") > drawing.text.count("Conv2d 3×3")
    closed = module_graph(model, depth=1).text
    assert "MaskBranch" not in closed and "stages" in closed
    assert "M T" in module_graph(create_model("attention_nano", learning="naive")).text
    assert all(module.training for _, module in model.named_modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_an_arrowhead_points_down() -> None:
    """The last line of an edge gives its arrowhead a direction: it has a length."""
    network = create_model("attention_small_cifar")
    part = dict(network.named_modules())["stages.0.1"]
    ways = re.findall(r'd="(M\S+ V\S+ C[^"]+)"[^>]*marker-end', module_graph(part, (16, 16)).text)
    assert ways, "edges that merge are curves"
    for way in ways:
        *_, curve, last = way.split()
        assert float(last.removeprefix("V")) - float(curve.split(",")[1]) >= 6 - 0.11


@pytest.mark.parametrize("unit", ["resnext", "inception"])
def test_module_graph_of_other_units(unit: str) -> None:
    model = create_model("attention_nano", unit=unit, groups=4)
    parseString(module_graph(model, collapse=()).text)


def test_graph_of_plain_arithmetic() -> None:
    a, b = tensor(2.0, requires_grad=True), tensor(3.0, requires_grad=True)
    text = graph((a * b + a).exp()).text
    parseString(text)
    assert text.count("fill-opacity") == 5  # two leaves, three ops, no frames
    assert "×" in text and "exp" in text


def test_graph_groups_by_recorded_modules_with_names_of_parameters() -> None:
    model = create_model("attention_nano")
    x = tensor(np.zeros((2, 32, 32, 3), np.float32))
    with record() as calls:
        loss = ops.cross_entropy(model(x), np.array([1, 2]))
    text = graph(loss, calls, model).text
    parseString(text)
    assert "gamma" in text and "cross entropy" in text and "2×32×32×16" in text
    short = graph(loss, calls, model, collapse=["PreActUnit", "stages.0.1.mask"]).text
    assert len(short) < len(text) and "MaskBranch" in short
    assert len(graph(loss, calls, model, depth=0).text) < 6000


def test_a_long_chain_is_walked_without_recursion() -> None:
    x = tensor(np.ones(1, np.float32), requires_grad=True)
    y = x
    for _ in range(2500):
        y = y * 1.0
    with pytest.raises(MinranError, match="too many to read"):
        graph(y)


def test_errors_of_graph() -> None:
    x = tensor(np.ones(3, np.float32), requires_grad=True)
    with pytest.raises(GradientError, match="so it has no graph"):
        graph(x)
    with no_grad():
        y = x * 2.0
    with pytest.raises(GradientError, match="no_grad"):
        graph(y)
    loss = (x * x).sum()
    loss.backward()
    with pytest.raises(GradientError, match="has freed this graph"):
        graph(loss)
