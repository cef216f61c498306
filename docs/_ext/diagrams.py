"""The drawings of the documentation, made by minran's own drawing code.

`python docs/_ext/diagrams.py` writes them to `docs/images`; a test says when they are out of date.
"""

from __future__ import annotations

import sys
from pathlib import Path

from minran.inspect.graph import module_graph
from minran.inspect.graph.flow import Node
from minran.inspect.graph.labels import Label
from minran.inspect.graph.layout import layout
from minran.inspect.graph.svg import Svg, render
from minran.models import create_model

# name: (first line, second line, colour)
STEP = {
    "files": ("images", "CIFAR-10, shapes, a folder", "leaf"),
    "loader": ("data.Loader", "order, windows, mirrors; on a thread", "size"),
    "model": ("models: Module.forward", "stem, stages, tail, classifier", "unit"),
    "op": ("ops: Op.forward", "checks shapes, keeps what backward needs", "weights"),
    "kernels": ("backend: kernels", "naive, cpu, gpu: the same names", "mask"),
    "loss": ("ops.cross_entropy", "a Tensor knows its Op, an Op its inputs", "join"),
    "walk": ("autograd: Tensor.backward", "the newest Op first; gradients add up", "join"),
    "back": ("ops: Op.backward", "the gradient of each input", "weights"),
    "sgd": ("optim: SGD.step", "moves every parameter", "activation"),
    "save": ("train: History, Checkpoint", "runs/NAME", "leaf"),
}
# from, to, what goes along
ARROWS = [
    ("files", "loader", "uint8 (N, 32, 32, 3)"),
    ("loader", "model", "float32 (N, 32, 32, 3)"),
    ("model", "op", "Tensors"),
    ("op", "kernels", "arrays"),
    ("op", "loss", "logits (N, 10)"),
    ("loss", "walk", "one number"),
    ("walk", "back", "dL/dy"),
    ("back", "kernels", "arrays"),
    ("back", "sgd", "dL/dw"),
    ("sgd", "save", "parameters, velocities"),
]


def step_diagram() -> Svg:
    """One training step as it goes through the parts of the package."""
    root = Node()
    nodes, labels = {}, {}
    said = {start: words for start, _, words in reversed(ARROWS)}
    for name, (first, second, colour) in STEP.items():
        nodes[name] = root.add(Node(None, name))
        labels[nodes[name]] = Label(first, second, colour, said.get(name, ""), first)
    edges = [(nodes[start], nodes[end]) for start, end, _ in ARROWS]
    layout(root, edges, labels)
    return render(root, labels, "One training step")


def drawings() -> dict[str, Svg]:
    """Every drawing by the name of its file."""
    network = create_model("attention56_cifar")
    module = dict(network.named_modules())["stages.0.1"]
    return {
        "attention-module.svg": module_graph(module, image_size=(32, 32)),
        "attention56_cifar.svg": module_graph(network, depth=3),
        "training-step.svg": step_diagram(),
    }


def write_all(folder: Path) -> None:
    """Write every drawing that differs from its file."""
    for name, drawing in drawings().items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8") != drawing.text:
            drawing.save(file)


if __name__ == "__main__":
    write_all(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "images")
