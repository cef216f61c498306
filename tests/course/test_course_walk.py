"""One image through one attention module: the maps are the network's, the gradients the rules'."""

from __future__ import annotations

import numpy as np
import pytest

from minran import create_model, ops, tensor
from minran.course import walk_frames, walk_through
from minran.errors import ShapeError
from minran.workshop.course.walk import Walk

NAME = "stages.0.1"


@pytest.fixture(scope="module")
def walk() -> Walk:
    rng = np.random.default_rng(0)
    network = create_model("attention_small_cifar", dtype="float64").train()
    network(tensor(rng.standard_normal((8, 32, 32, 3))))  # one pass, for the running statistics
    found = walk_through(network, np.zeros((32, 32, 3)), rng.standard_normal((32, 32, 3)), 3, NAME)
    assert network.training and all(p.grad is None for p in network.parameters())
    return found


def test_every_step_is_there_and_every_rule_holds(walk: Walk) -> None:
    values = {step.key: step.values for step in walk.steps}
    way = ["u", "pool 1", "pool 2", "smallest", "up 1", "up 2", "logits", "M", "T", "H"]
    assert list(values) == list(walk.gradients) == way
    mask, trunk, g = values["M"], values["T"], walk.gradients
    close = np.testing.assert_allclose
    close(mask, ops.sigmoid(tensor(values["logits"])).numpy(), rtol=1e-12)
    close(values["H"], (1 + mask) * trunk, rtol=1e-12)
    close(g["T"], g["H"] * (1 + mask), rtol=1e-12)
    close(g["M"], g["H"] * trunk, rtol=1e-12)
    close(g["logits"], g["M"] * mask * (1 - mask), rtol=1e-10)
    scale = np.abs(g["u"]).max()
    close(walk.trunk + walk.mask, g["u"], rtol=0, atol=1e-12 * scale)
    assert np.abs(walk.mask).max() > 1e-3 * scale
    # The interpolation's backward is its transpose: all of a channel's gradient arrives.
    close(g["smallest"].sum(axis=(0, 1)), g["up 1"].sum(axis=(0, 1)), rtol=1e-10)


def test_the_gradient_is_that_of_the_loss() -> None:
    """Moving u's gate by a small step changes the loss as g_H says."""
    network = create_model("attention_small_cifar", dtype="float64").eval()
    image = np.random.default_rng(1).standard_normal((32, 32, 3))
    found = walk_through(network, image, image, 3, NAME)
    after = network.stages[0][1].after  # the rest of the network reads H here
    h = found.steps[-1].values[None]
    way = np.random.default_rng(2).standard_normal(h.shape)

    def loss(values: np.ndarray) -> float:
        x = after(tensor(values))
        for stage in list(network.stages)[1:]:
            x = stage(x)
        logits = network.fc(network.pool(network.norm(network.tail(x))))
        return ops.cross_entropy(logits, np.array([3])).item()

    slope = (loss(h + 1e-6 * way) - loss(h - 1e-6 * way)) / 2e-6
    assert slope == pytest.approx((found.gradients["H"] * way[0]).sum(), rel=1e-5)


def test_frames_forward_and_backward(walk: Walk) -> None:
    channel = walk.channel()
    spread = [walk.steps[7].values[..., c].std() for c in range(walk.steps[7].values.shape[2])]
    assert channel == int(np.argmax(spread))
    forward = walk_frames(walk, channel)
    assert len(forward.pictures) == 11
    assert forward.captions[2] == "pool 1: max over 3 x 3, stride 2; 8x8x32"
    backward = walk_frames(walk, channel, backward=True)
    starts = [words.partition(":")[0] for words in backward.captions[1:]]
    ways = ["H", "T", "M", "logits", "up 2", "up 1", "smallest", "pool 2", "pool 1", "u", "u", "u"]
    assert starts == ways
    titles = [axes.get_title() for axes in backward.pictures[3].axes]
    assert "gradient of M" in titles and "logits" in titles
    limits = {axes.get_title(): axes.images[0].get_clim() for axes in forward.pictures[-1].axes[2:]}
    assert limits.pop("M") == (0, 1) and len(set(limits.values())) == 1
    (low, high), *_ = limits.values()
    assert low == -high
    assert "data:image/png" in forward._repr_html_()


def test_what_is_not_there_is_named(walk: Walk) -> None:
    with pytest.raises(ShapeError, match=r"no attention module 'stages\.7'"):
        walk_through(
            create_model("attention_nano"), np.zeros((2, 2)), np.zeros((32, 32, 3)), 0, "stages.7"
        )
    with pytest.raises(ShapeError, match="channel must be 0 to 31, got 32"):
        walk_frames(walk, 32)
