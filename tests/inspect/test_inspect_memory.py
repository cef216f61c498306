"""The memory of a step, counted without taking it: by hand, and beside what a process takes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from minran import backend, create_model, inspect, nn, ops, tensor
from minran.autograd import watch_forward
from minran.backend import contract, shapes
from minran.errors import ShapeError

STEP = """
import numpy as np, minran
from minran import machine, optim, train
minran.backend.current().set_threads(1)
model = minran.create_model({name!r}, num_classes=10).train()
sgd = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
images = np.zeros(({batch}, {size}, {size}, 3), np.float32)
for _ in range(2):
    train.train_step(model, sgd, (images, np.arange({batch}) % 10))
print(machine.peak_bytes())
"""


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.GlobalAvgPool(), nn.Linear(4, 10))


def test_by_hand() -> None:
    said = inspect.memory(small(), 2, image_size=8)
    # What the convolution, ReLU and the pool put out are inputs that the tape holds; the loss
    # keeps the logarithms of (2, 10) probabilities.
    assert said.maps == {"0": 4 * (2 * 8 * 8 * 4 * 2 + 2 * 4), "3": 4 * 2 * 10}
    assert said.weights == 3 * 4 * (3 * 4 + 4 * 10 + 10)
    assert said.batches == 5 * 2 * 8 * 8 * 3 * 4
    parts = said.moving, said.buffers, said.weights, said.batches, said.program
    assert said.total == sum(said.maps.values()) + sum(parts)


@pytest.mark.parametrize(
    ("name", "batch", "size"), [("attention_small_cifar", 128, 32), ("attentionnext56", 2, 96)]
)
def test_within_15_percent_of_what_a_process_takes(
    name: str, batch: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minran.backend.cpu.blocks._threads", 1)
    code = STEP.format(name=name, batch=batch, size=size)
    took = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = inspect.memory(create_model(name, num_classes=10), batch, size).total
    assert 0.85 < said / int(took.stdout) < 1.15


def outputs(model: nn.Module, batch: int) -> list[tuple[Any, ...]]:
    """Shape and dtype of what every operation of a step makes, and of every gradient."""
    found: list[tuple[Any, ...]] = []

    def watch(op: Any, arrays: tuple[Any, ...]) -> Any:
        y = op.forward(*arrays)
        found.append((type(op).__name__, tuple(y.shape), y.dtype))
        return y

    token = watch_forward.set(watch)
    try:
        logits = model(tensor(np.ones((batch, 16, 16, 3), np.float32)))
    finally:
        watch_forward.reset(token)
    ops.cross_entropy(logits, np.zeros(batch, int)).backward()
    found += [(name, p.grad.shape, p.grad.dtype) for name, p in model.named_parameters()]
    model.zero_grad()
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"unit": "resnext", "groups": 2},
        {"unit": "inception", "widths": (16, 16)},
        {"attention": "channel"},
        {"attention": "spatial", "learning": "naive"},
        {"mask": "local"},
        {"mask": "none"},
    ],
)
def test_shapes_are_those_of_the_numpy_backend(options: dict[str, Any]) -> None:
    model = create_model("attention_nano", **options).train()
    real = outputs(model, 2)
    with shapes.counted(gpu=False) as ledger:
        assert outputs(model, 2) == real
    assert ledger.held == 0 and ledger.most > 0


def test_every_kernel_that_a_backend_must_have() -> None:
    names = {signature.partition("(")[0] for signature in contract.REQUIRED}
    assert not [name for name in names if not hasattr(shapes, name)]


def test_the_model_stays_as_it_was() -> None:
    model = create_model("attention_nano").eval()
    model.fc.weight.grad = np.ones_like(model.fc.weight.data)
    before, mode = model.state_dict(), model.stages.training
    said = inspect.memory(model, 4, test_batch=50)
    assert str(said) == str(inspect.memory(model, 4, test_batch=50))
    assert model.stages.training == mode and backend.current().name == "numpy"
    assert model.fc.weight.grad.sum() == model.fc.weight.size
    assert model.fc.bias.grad is None
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_twice_the_batch_takes_twice_the_maps() -> None:
    model = create_model("attention56")
    one, two = (inspect.memory(model, batch, device="gpu") for batch in (16, 32))
    # The classifier's own are the only ones that are no maps.
    assert sum(two.maps.values()) == 2 * sum(one.maps.values())
    assert list(one.maps) == ["stem", "stages.0", "stages.1", "stages.2", "tail", "norm", "fc"]
    assert one.weights == 4 * 4 * model.num_parameters() and one.buffers == one.program == 0
    averaged = inspect.memory(model, 16, device="gpu", averaged=True)
    assert averaged.total == one.total + 4 * model.num_parameters()


def test_after_an_error_the_backend_is_back() -> None:
    with pytest.raises(ShapeError, match="window"):
        inspect.memory(create_model("attention56"), 2, image_size=16)
    assert backend.current().name == "numpy"


def test_the_table() -> None:
    text = str(inspect.memory(create_model("attention_nano"), 8))
    assert text.splitlines()[0].startswith("a training step of 8 images of 32x32x3, cpu")
    assert "maps of stages.1" in text and "columns and blocks" in text
