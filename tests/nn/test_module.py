"""Module: names, state, modes, observers; parts wherever a Module keeps them; layers' arguments."""

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
from minran.errors import CheckpointError, MinranError, RecipeError, ShapeError
from minran.nn.module import is_observed

RNG = np.random.default_rng(3)


class Inner(nn.Module):
    def __init__(self) -> None:
        self.norm = nn.BatchNormReLU(4)
        self.conv = nn.Conv2d(4, 4, 3, padding=1, rng=np.random.default_rng(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.norm(x))


class Net(nn.Module):
    def __init__(self) -> None:
        self.conv = nn.Conv2d(3, 4, 1, bias=True, rng=np.random.default_rng(0))
        self.absent = None
        self.body = nn.Sequential(Inner(), nn.ReLU(), Inner())
        self.scale = nn.Parameter(np.ones(4, np.float32))
        self.fc = nn.Linear(4, 2, rng=np.random.default_rng(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(self.conv(x)) * self.scale
        return self.fc(ops.global_avg_pool(x))


def x_small() -> Tensor:
    return tensor(np.random.default_rng(5).standard_normal((2, 4, 4, 3)).astype(np.float32))


PARAMETERS = [
    *("scale", "conv.weight", "conv.bias"),
    *("body.0.norm.gamma", "body.0.norm.beta", "body.0.conv.weight"),
    *("body.2.norm.gamma", "body.2.norm.beta", "body.2.conv.weight"),
    *("fc.weight", "fc.bias"),
]
BUFFERS = [f"body.{i}.norm.running_{what}" for i in (0, 2) for what in ("mean", "var")]


def test_names_follow_the_attributes() -> None:
    net = Net()
    assert [name for name, _ in net.named_parameters()] == PARAMETERS
    assert [name for name, _ in net.named_buffers()] == BUFFERS
    assert [id(p) for p in net.parameters()] == [id(p) for _, p in net.named_parameters()]
    modules = dict(net.named_modules())
    assert list(modules)[:5] == ["", "conv", "body", "body.0", "body.0.norm"]
    assert modules["body.2.conv"] is net.body[2].conv
    assert modules[""] is net


def test_running_statistics_are_no_parameters() -> None:
    net = Net()
    parameters = {id(p.data) for p in net.parameters()}
    assert all(id(array) not in parameters for _, array in net.named_buffers())
    assert net.num_parameters() == 4 + 12 + 4 + 2 * (8 + 144) + 8 + 2


def test_parameters_are_leaves_that_require_a_gradient() -> None:
    for parameter in Net().parameters():
        assert isinstance(parameter, nn.Parameter)
        assert parameter.requires_grad
        assert parameter.op is None
        assert parameter.dtype == np.float32


def test_sequential() -> None:
    layers = [nn.ReLU(), nn.Sigmoid(), nn.ReLU()]
    chain = nn.Sequential(*layers)
    assert len(chain) == 3
    assert list(chain) == layers
    assert chain[1] is layers[1]
    assert chain[-1] is layers[2]
    x = tensor([-1.0, 2.0])
    np.testing.assert_array_equal(chain(x).numpy(), ops.sigmoid(ops.relu(x)).numpy())
    assert nn.Sequential()(x) is x


def test_train_and_eval_reach_every_module() -> None:
    net = Net()
    assert all(module.training for _, module in net.named_modules())
    assert net.eval() is net
    assert not any(module.training for _, module in net.named_modules())
    assert net.train() is net
    assert all(module.training for _, module in net.named_modules())


def test_only_training_moves_running_statistics() -> None:
    net = Net()
    before = net.state_dict()
    net.eval()(x_small())
    for name in BUFFERS:
        np.testing.assert_array_equal(net.state_dict()[name], before[name])
    net.train()(x_small())
    for name in BUFFERS:
        assert (net.state_dict()[name] != before[name]).any()


def test_state_dict_round_trip() -> None:
    net, other = Net(), Net()
    for parameter in net.parameters():
        parameter.data += RNG.standard_normal(parameter.shape).astype(np.float32)
    net(x_small())  # moves the running statistics
    state = net.state_dict()
    assert sorted(state) == sorted(PARAMETERS + BUFFERS)
    other.load_state_dict(state)
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    np.testing.assert_array_equal(other.eval()(x_small()).data, net.eval()(x_small()).data)


def test_state_dict_holds_copies() -> None:
    net = Net()
    state = net.state_dict()
    state["fc.weight"][:] = 7
    assert (net.fc.weight.data != 7).any()
    net.load_state_dict(state)
    state["fc.weight"][:] = 8
    assert (net.fc.weight.data == 7).all()


def test_load_state_dict_keeps_tensors_and_precision() -> None:
    """An optimiser holds on to the parameters: loading must fill them, not replace them."""
    net = Net()
    tensors, arrays = net.parameters(), [p.data for p in net.parameters()]
    net.load_state_dict({k: v.astype(np.float64) for k, v in net.state_dict().items()})
    assert all(a is b for a, b in zip(tensors, net.parameters(), strict=True))
    assert all(p.data is a and p.dtype == np.float32 for p, a in zip(tensors, arrays, strict=True))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"fc.bias": ...}, CheckpointError, r"missing fc\.bias$"),
        ({"extra": np.ones(1)}, CheckpointError, r"unknown extra$"),
        (
            dict.fromkeys(PARAMETERS + BUFFERS, ...) | {"a": 0, "b": 0, "c": 0, "d": 0},
            CheckpointError,
            r"missing .* and 12 more; unknown a, b, c and 1 more",
        ),
        ({"fc.bias": np.ones(3)}, ShapeError, r"fc\.bias: .* shape \(2,\), the state \(3,\)"),
        ({"fc.bias": None}, ShapeError, r"fc\.bias: the model has shape"),
        ({"fc.bias": np.array(["a", "b"])}, CheckpointError, "fractions, .* dtype <U1"),
        ({"fc.bias": np.ones(2, complex)}, CheckpointError, "fractions, .* dtype complex128"),
        ({"fc.bias": np.array([1, 2])}, CheckpointError, "fractions, .* dtype int64"),
        ({"fc.bias": np.array([True, False])}, CheckpointError, "fractions, .* dtype bool"),
        ({"fc.bias": np.array([np.nan, 1])}, CheckpointError, "not finite"),
        ({"fc.bias": np.array([1e300, 1])}, CheckpointError, "not finite in float32"),
        ({BUFFERS[0]: np.full(4, np.inf)}, CheckpointError, "not finite"),
        ({BUFFERS[1]: np.array([-1.0, 1, 1, 1])}, CheckpointError, "_var: .* negative variance"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(
    changed: dict[str, Any], error: type[MinranError], message: str
) -> None:
    """`...` stands for an entry that is missing."""
    net = Net()
    before = net.state_dict()
    state = {name: array + 1 for name, array in before.items()} | changed
    state = {name: array for name, array in state.items() if array is not ...}
    with pytest.raises(error, match=message.replace("fractions", "floating-point numbers")):
        net.load_state_dict(state)
    for name, array in net.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_zero_grad() -> None:
    net = Net()
    net(x_small()).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    net.zero_grad()
    assert all(parameter.grad is None for parameter in net.parameters())


def test_observers_see_every_call_children_first() -> None:
    net = Net()
    names = {id(module): name for name, module in net.named_modules()}
    seen: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((names[id(module)], inputs[0].shape, output.shape))

    assert not is_observed()
    with nn.observe(note):
        assert is_observed()
        net(x_small())
    assert not is_observed()
    net(x_small())
    expected = "conv body.0.norm body.0.conv body.0 body.1 body.2.norm body.2.conv body.2 body fc"
    assert [name for name, *_ in seen] == [*expected.split(), ""]
    assert seen[0][1:] == ((2, 4, 4, 3), (2, 4, 4, 4))
    assert seen[-1][1:] == ((2, 4, 4, 3), (2, 2))


def test_observers_nest_and_go_after_an_error() -> None:
    outer: list[nn.Module] = []
    inner: list[nn.Module] = []
    relu = nn.ReLU()

    def stop(module: nn.Module, *_: Any) -> None:
        inner.append(module)
        raise ZeroDivisionError

    with nn.observe(lambda module, *_: outer.append(module)):
        with pytest.raises(ZeroDivisionError), nn.observe(stop):
            relu(tensor([1.0]))
        relu(tensor([1.0]))
    relu(tensor([1.0]))
    assert (len(outer), len(inner)) == (2, 1)


def test_a_module_without_forward_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Module has no forward"):
        nn.Module()(tensor([1.0]))


LAYERS: list[tuple[nn.Module, Callable[[Tensor], Tensor]]] = [
    (nn.ReLU(), ops.relu),
    (nn.Sigmoid(), ops.sigmoid),
    (nn.ChannelAttention(), ops.channel_attention),
    (nn.SpatialAttention(), ops.spatial_attention),
    (nn.GlobalAvgPool(), ops.global_avg_pool),
    (nn.MaxPool2d(2), lambda x: ops.max_pool2d(x, 2)),
    (nn.MaxPool2d(3, 1, 1), lambda x: ops.max_pool2d(x, 3, 1, 1)),
    (nn.MaxPool2d(3, 2, ceil_mode=True), lambda x: ops.max_pool2d(x, 3, 2, 0, True)),
    (nn.UpsampleBilinear2d((5, 6)), lambda x: ops.upsample_bilinear2d(x, (5, 6))),
    (nn.UpsampleBilinear2d(7, False), lambda x: ops.upsample_bilinear2d(x, 7, False)),
]


@pytest.mark.parametrize(("layer", "op"), LAYERS, ids=lambda v: type(v).__name__)
def test_layers_without_parameters_call_their_op(
    layer: nn.Module, op: Callable[[Tensor], Tensor]
) -> None:
    assert layer.parameters() == []
    np.testing.assert_array_equal(layer(x_small()).numpy(), op(x_small()).numpy())


def test_layers_with_parameters_call_their_op() -> None:
    x = x_small()
    conv = nn.Conv2d(3, 6, (3, 2), (2, 1), (1, 0), groups=3, bias=True)
    conv.bias.data += 1
    assert conv.weight.shape == (3, 2, 1, 6)
    expected = ops.conv2d(x, conv.weight, conv.bias, (2, 1), (1, 0), 3)
    np.testing.assert_array_equal(conv(x).numpy(), expected.numpy())
    assert nn.Conv2d(3, 6, 3).bias is None

    for layer, op in ((nn.BatchNorm2d, ops.batch_norm), (nn.BatchNormReLU, ops.batch_norm_relu)):
        norm = layer(3, momentum=0.3, eps=0.1)
        mean, var = np.zeros(3, np.float32), np.ones(3, np.float32)
        expected = op(x, norm.gamma, norm.beta, mean, var, True, 0.3, 0.1)
        np.testing.assert_array_equal(norm(x).numpy(), expected.numpy())
        np.testing.assert_array_equal(norm.running_mean, mean)
        np.testing.assert_array_equal(norm.running_var, var)

    linear = nn.Linear(3, 5)
    pooled = ops.global_avg_pool(x)
    expected = ops.linear(pooled, linear.weight, linear.bias)
    np.testing.assert_array_equal(linear(pooled).numpy(), expected.numpy())
    assert nn.Linear(3, 5, bias=False).bias is None


def test_upsample_takes_the_size_of_another_tensor() -> None:
    up = nn.UpsampleBilinear2d()
    like = tensor(np.zeros((1, 6, 5, 1), np.float32))
    assert up(x_small(), like).shape == (2, 6, 5, 3)
    with pytest.raises(ShapeError, match="give a size"):
        up(x_small())


def test_conv_refuses_groups_that_do_not_divide() -> None:
    with pytest.raises(ShapeError, match=r"3 input and 4 output channels .* 2 groups"):
        nn.Conv2d(3, 4, 1, groups=2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_initial_weights(dtype: Any) -> None:
    conv = nn.Conv2d(64, 96, 3, rng=np.random.default_rng(0), dtype=dtype)
    assert conv.weight.dtype == dtype
    assert conv.weight.data.std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.02)
    assert abs(conv.weight.data.mean()) < 1e-3
    grouped = nn.Conv2d(64, 96, 3, groups=4, rng=np.random.default_rng(0), dtype=dtype)
    assert grouped.weight.data.std() == pytest.approx(np.sqrt(2 / (9 * 16)), rel=0.02)
    linear = nn.Linear(400, 50, rng=np.random.default_rng(0), dtype=dtype)
    assert abs(linear.weight.data).max() <= 1 / 20
    assert abs(linear.weight.data).max() > 0.99 / 20
    assert linear.weight.dtype == linear.bias.dtype == dtype
    norm = nn.BatchNorm2d(5, dtype=dtype)
    assert norm.gamma.dtype == norm.running_var.dtype == dtype


def test_layers_without_a_generator_differ() -> None:
    assert (nn.Linear(3, 3).weight.data != nn.Linear(3, 3).weight.data).any()


def test_a_limit_on_numbers_counts_all_layers_and_ends_with_its_block() -> None:
    with nn.init.at_most(30):
        nn.Linear(3, 5)  # 20 numbers
        with pytest.raises(RecipeError, match=r"more numbers.*\(3, 5\)"):
            nn.Linear(3, 5)
    nn.Linear(30, 50)


# Parts wherever a Module keeps them: found under a name, or refused


def names(net: nn.Module) -> list[str]:
    return [name for name, _ in net.named_parameters()]


Pair = collections.namedtuple("Pair", "left right")


class Keeper(nn.Module):
    def __init__(self) -> None:
        self.layers = [nn.Linear(2, 2, bias=False), nn.BatchNorm2d(2)]
        self.parts = {"a": nn.Linear(2, 2, bias=False), 3: [nn.Parameter(np.ones(2))]}
        self.pair = Pair(nn.Linear(2, 2, bias=False), (nn.ReLU(), "text"))
        self.ordered = collections.OrderedDict(x=nn.Parameter(np.ones(1)))
        self.scale = nn.Parameter(np.ones(1))


KEPT = [
    *("parts.3.0", "ordered.x", "scale", "layers.0.weight", "layers.1.gamma", "layers.1.beta"),
    *("parts.a.weight", "pair.0.weight"),
]
PAIR = ["pair.0", "pair.1.0"]


def test_lists_tuples_and_dicts_are_looked_into() -> None:
    net = Keeper()
    assert names(net) == KEPT
    assert net.num_parameters() == sum(p.size for p in net.parameters()) == 20
    assert [name for name, _ in net.children()] == ["layers.0", "layers.1", "parts.a", *PAIR]
    assert [name for name, _ in net.named_buffers()] == [
        "layers.1.running_mean",
        "layers.1.running_var",
    ]
    net.eval()
    assert not net.layers[1].training
    other = Keeper()
    other.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(other.layers[0].weight.data, net.layers[0].weight.data)
    assert names(copy.deepcopy(net)) == names(pickle.loads(pickle.dumps(net))) == KEPT


def test_lists_may_change_afterwards() -> None:
    net = Keeper()
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
    net = Keeper()
    net.me = net  # type: ignore[attr-defined]
    net.scale_again = net.scale  # type: ignore[attr-defined]
    net.layers.append(net.layers)  # type: ignore[arg-type]
    child = nn.Sequential(nn.ReLU())
    child.parent = net  # type: ignore[attr-defined]
    net.child = child  # type: ignore[attr-defined]
    assert names(net) == KEPT
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
    class Keeper(nn.Module):
        def __init__(self) -> None:
            self.layers = np.array([nn.Linear(2, 2), nn.ReLU()], dtype=object)

    with pytest.raises(ShapeError, match="layers is a ndarray, whose parts have no names"):
        Keeper().parameters()
