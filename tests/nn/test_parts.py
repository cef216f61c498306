"""Layers and parameters wherever a Module keeps them: found under a name, or refused."""

from __future__ import annotations

import collections
import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minran import Tensor, nn, ops, optim, tensor
from minran.errors import CheckpointError, ShapeError


def names(net: nn.Module) -> list[str]:
    return [name for name, _ in net.named_parameters()]


Pair = collections.namedtuple("Pair", "left right")


class Net(nn.Module):
    def __init__(self) -> None:
        self.layers = [nn.Linear(2, 2, bias=False), nn.BatchNorm2d(2)]
        self.parts = {"a": nn.Linear(2, 2, bias=False), 3: [nn.Parameter(np.ones(2))]}
        self.pair = Pair(nn.Linear(2, 2, bias=False), (nn.ReLU(), "text"))
        self.ordered = collections.OrderedDict(x=nn.Parameter(np.ones(1)))
        self.scale = nn.Parameter(np.ones(1))


NAMES = [
    *("parts.3.0", "ordered.x", "scale", "layers.0.weight", "layers.1.gamma", "layers.1.beta"),
    *("parts.a.weight", "pair.0.weight"),
]
PAIR = ["pair.0", "pair.1.0"]


def test_lists_tuples_and_dicts_are_looked_into() -> None:
    net = Net()
    assert names(net) == NAMES
    assert net.num_parameters() == sum(p.size for p in net.parameters()) == 20
    assert [name for name, _ in net.children()] == ["layers.0", "layers.1", "parts.a", *PAIR]
    assert [name for name, _ in net.named_buffers()] == [
        "layers.1.running_mean",
        "layers.1.running_var",
    ]
    net.eval()
    assert not net.layers[1].training
    other = Net()
    other.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(other.layers[0].weight.data, net.layers[0].weight.data)
    assert names(copy.deepcopy(net)) == names(pickle.loads(pickle.dumps(net))) == NAMES


def test_lists_may_change_afterwards() -> None:
    net = Net()
    net.layers.append(nn.Linear(2, 3))
    net.layers[0] = nn.ReLU()
    net.parts["b"] = nn.Linear(1, 1, bias=False)
    net.pair = None  # type: ignore[assignment]
    found = names(net)
    assert "layers.2.bias" in found
    assert "parts.b.weight" in found
    assert "layers.0.weight" not in found
    assert "pair.0.weight" not in found
    del net.layers
    assert not [name for name in names(net) if name.startswith("layers")]


def test_what_is_in_a_list_is_trained() -> None:
    class Chain(nn.Module):
        def __init__(self) -> None:
            self.layers: list[Any] = []
            for _ in range(3):
                self.layers.append(nn.Linear(2, 2))

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = layer(x)
            return x

    net = Chain()
    before = net.state_dict()
    net(tensor(np.ones((1, 2), np.float32))).sum().backward()
    optim.SGD(net.parameters(), lr=0.1).step()
    assert all((before[name] != array).any() for name, array in net.state_dict().items())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_shared_parts_count_once_under_their_first_name() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            self.first = nn.Linear(2, 2)
            self.second = nn.Linear(2, 2)
            self.second.weight = self.first.weight
            self.again = self.first
            self.listed = [self.first, self.second.bias]

    net = Tied()
    assert names(net) == ["listed.1", "first.weight", "first.bias"]
    assert sorted(map(id, net.parameters())) == sorted({id(p) for p in net.parameters()})
    assert len(net.parameters()) == 3
    assert net.num_parameters() == 8
    optim.SGD(net.parameters(), lr=0.1)
    assert len(net.state_dict()) == 3


def test_circles_end() -> None:
    net = Net()
    net.me = net  # type: ignore[attr-defined]
    net.scale_again = net.scale  # type: ignore[attr-defined]
    net.layers.append(net.layers)  # type: ignore[arg-type]
    child = nn.Sequential(nn.ReLU())
    child.parent = net  # type: ignore[attr-defined]
    net.child = child  # type: ignore[attr-defined]
    assert names(net) == NAMES
    net.eval().train()


HIDING: dict[str, Callable[[], Any]] = {
    "set": lambda: {nn.Linear(1, 1)},
    "frozenset": lambda: frozenset([nn.Parameter(np.ones(1))]),
    "deque": lambda: collections.deque([nn.Linear(1, 1)]),
    "generator": lambda: (nn.Linear(1, 1) for _ in range(2)),
    "map": lambda: map(nn.Linear, [1], [1]),
    "dict_values": lambda: {"a": nn.Linear(1, 1)}.values(),
    "UserList": lambda: collections.UserList([nn.Linear(1, 1)]),
}


@pytest.mark.parametrize("kind", HIDING)
@pytest.mark.parametrize("within", [False, True])
def test_collections_without_names_are_refused(kind: str, within: bool) -> None:
    net = nn.Module()
    net.layers = [HIDING[kind]()] if within else HIDING[kind]()  # type: ignore[attr-defined]
    for ask in (net.parameters, net.eval, net.state_dict, net.num_parameters):
        with pytest.raises(ShapeError, match=f"is a {kind}, whose parts have no names"):
            ask()


def test_other_collections_are_nobodys_business() -> None:
    net = nn.Module()
    net.table = {1, 2}  # type: ignore[attr-defined]
    net.words = ["a", ("b", None)]  # type: ignore[attr-defined]
    net.array = np.array([None, 1])  # type: ignore[attr-defined]
    net.text = "layers"  # type: ignore[attr-defined]
    assert net.parameters() == []


def test_two_parts_of_one_name() -> None:
    net = nn.Module()
    net.parts = {1: nn.Linear(1, 1), "1": nn.Linear(1, 1)}  # type: ignore[attr-defined]
    with pytest.raises(ShapeError, match=r"two parts of this Module are named parts\.1\.weight"):
        net.state_dict()


def test_layers_on_the_class_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"Shared\.fc belongs to the class"):

        class Shared(nn.Module):
            fc = nn.Linear(2, 2)

    with pytest.raises(ShapeError, match=r"Listed\.layers\.0 belongs to the class"):

        class Listed(nn.Module):
            layers = [nn.Linear(2, 2)]  # noqa: RUF012 - what is tested


def test_sequential_takes_modules_only() -> None:
    linear = nn.Linear(2, 2)
    for wrong, words in (
        ([linear, linear], r"got a list; give its modules one by one: Sequential\(\*layers\)"),
        (ops.relu, r"got the function relu; use a layer, as nn\.ReLU\(\)"),
        (lambda x: x, "got the function <lambda>"),
        (nn.ReLU, r"got the class ReLU; make an instance: ReLU\(\)"),
        (None, "got None"),
        ("relu", "got 'relu'"),
        (tensor([1.0]), "got tensor"),
    ):
        with pytest.raises(ShapeError, match=f"Sequential: place 1 is for a Module, {words}"):
            nn.Sequential(linear, wrong)  # type: ignore[arg-type]
        net = nn.Sequential(linear, nn.ReLU())
        with pytest.raises(ShapeError, match="place 1 is for a Module"):
            setattr(net, "1", wrong)
        assert len(net) == 2


def test_a_module_may_stand_in_a_sequential_twice() -> None:
    double = nn.Linear(1, 1, bias=False)
    double.weight.data = np.full((1, 1), 2, np.float32)
    net = nn.Sequential(double, double, double)
    assert len(net) == 3
    assert net(tensor([[1.0]])).item() == 8
    assert names(net) == ["0.weight"]


def test_arguments_of_other_kinds_are_refused() -> None:
    net = nn.BatchNorm2d(2)
    for wrong in (None, "model.safetensors", [("gamma", 1)]):
        with pytest.raises(CheckpointError, match="expected a dict of arrays"):
            net.load_state_dict(wrong)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="mode must be True or False"):
        net.train("eval")  # type: ignore[arg-type]


def test_observers_see_their_own_thread_only() -> None:
    relu, seen = nn.ReLU(), []
    with nn.observe(lambda *_: seen.append(1)):
        thread = threading.Thread(target=lambda: relu(tensor([1.0])))
        thread.start()
        thread.join()
        assert not seen
        relu(tensor([1.0]))
    assert seen == [1]
    with pytest.raises(ShapeError, match="observe: expected a function, got 3"), nn.observe(3):  # type: ignore[arg-type]
        pass


def test_parts_in_an_array_of_objects_are_refused() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            self.layers = np.array([nn.Linear(2, 2), nn.ReLU()], dtype=object)

    with pytest.raises(ShapeError, match="layers is a ndarray, whose parts have no names"):
        Net().parameters()
