"""minran and its PyTorch twin, trained on the same batches, have the same losses."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from minran import create_model, optim
from minran.data import Loader, Preprocess, load_cifar10, load_shapes
from minran.interop import create_twin, to_torch_state_dict
from minran.optim import SGD
from minran.train import train_step

RECIPE = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}


def losses_of_both(loader, steps, dtype, lr, stop=None):
    """The losses of the first `stop` of `steps` steps of attention_small_cifar: ours, the twin's.

    Higher rates would only show chaos: at 0.1, a difference of 1e-15 grows fourfold every step.
    """
    model = create_model("attention_small_cifar", seed=0, dtype=dtype)
    twin = create_twin("attention_small_cifar").to(getattr(torch, dtype))
    twin.load_state_dict(to_torch_state_dict(model.state_dict()))
    optimizer = SGD(model.parameters(), **RECIPE)
    twin_optimizer = torch.optim.SGD(twin.parameters(), **RECIPE)
    schedule = optim.one_cycle(lr, steps)
    twin.to(memory_format=torch.channels_last)
    ours, theirs = [], []
    batches = (batch for epoch in range(steps) for batch in loader.epoch(epoch))
    for step, (images, labels) in zip(range(stop or steps), batches, strict=False):
        optimizer.lr = twin_optimizer.param_groups[0]["lr"] = schedule(step)
        loss, _ = train_step(model, optimizer, (images, labels))
        ours.append(loss)

        x = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(dtype))
        twin_optimizer.zero_grad()
        twin_loss = F.cross_entropy(twin(x), torch.from_numpy(labels))
        twin_loss.backward()
        twin_optimizer.step()
        theirs.append(twin_loss.item())
    return np.array(ours), np.array(theirs)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def shapes_loader():
    return Loader(load_shapes("train", 320), 32, augment=True, shuffle=True, drop_last=True)


@pytest.fixture(scope="module")
def exact():
    """Twenty steps in float64: ours, and the twin's."""
    return losses_of_both(shapes_loader(), 20, "float64", lr=0.02)


def test_float64(exact):
    """Only rounding differs, and 20 steps do not blow it up."""
    ours, theirs = exact
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    assert np.ptp(ours) > 0.01  # something was learnt, or unlearnt


def test_float32(exact):
    """The first steps agree; then rounding flips single relus and maxima, and our losses stray
    from the exact ones as PyTorch's do, no further.
    """
    ours, theirs = losses_of_both(shapes_loader(), 20, "float32", lr=0.02, stop=8)
    np.testing.assert_allclose(ours[:2], theirs[:2], rtol=1e-4)
    strayed, twin_strayed = abs(ours - exact[0][:8]), abs(theirs - exact[0][:8])
    assert strayed.mean() < 4 * twin_strayed.mean()


@pytest.mark.slow
@pytest.mark.skipif("MINRAN_DATA" not in os.environ, reason="needs CIFAR-10 in MINRAN_DATA")
def test_the_first_epoch_of_cifar10():
    data = load_cifar10(split="train", download=False)
    loader = Loader(
        data, 128, Preprocess.fit(data.images), augment=True, shuffle=True, drop_last=True
    )
    ours, theirs = losses_of_both(loader, len(loader), "float32", lr=0.2)
    # Each step multiplies the difference of two roundings by about five (measured: 4e-7, 3e-5,
    # 2e-4, 2e-4, 6e-4); a mistake differs from the first step on.
    np.testing.assert_allclose(ours[:2], theirs[:2], rtol=1e-4)
    np.testing.assert_allclose(ours[:5], theirs[:5], rtol=3e-3)
    # Two runs whose roundings differ part, but learn alike.
    assert abs(ours[-100:].mean() - theirs[-100:].mean()) < 0.05
    assert ours[-100:].mean() < 1.6
