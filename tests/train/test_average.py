"""Averaged weights (`training.ema`) are tested and saved; training goes on from its own."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from train_helpers import assert_same_arrays, tiny

from minran import nn, no_grad, optim, tensor
from minran.errors import CheckpointError
from minran.train import (
    build,
    evaluate,
    export_weights,
    load_checkpoint,
    load_model,
    save_checkpoint,
    train,
    train_step,
)

DECAY = 0.8
EMA = f"training.ema={DECAY}"


def weighted(states):
    """The mean that the docstring of `Average` defines, in float64."""
    weights = DECAY ** np.arange(len(states))[::-1]
    return {
        name: np.tensordot(weights, [state[name] for state in states], 1) / weights.sum()
        for name in states[0]
    }


def test_the_average_is_the_weighted_mean_and_comes_and_goes():
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm2d(2))
    average = optim.Average(net, optim.SGD(net.parameters(), 0.1), DECAY)
    rng, states = np.random.default_rng(0), []
    for step in range(1, 8):
        states.append({k: rng.random(v.shape).astype("f") for k, v in net.state_dict().items()})
        net.load_state_dict(states[-1])
        average.update(step)
        with suppress(KeyError), average.applied():
            found = net.state_dict()
            raise KeyError
        for name, mean in weighted(states).items():
            np.testing.assert_allclose(found[name], mean, rtol=1e-5, err_msg=name)
        assert_same_arrays(net.state_dict(), states[-1])


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """A run with an average, and its states after every step, from a loop by hand."""
    # Running statistics are those of the steps: `test_precise` is about others.
    recipe = tiny(EMA, "training.log_every=1", "training.precise_norm=0")
    result = train(recipe, tmp_path_factory.mktemp("averaged") / "run", quiet=True)
    parts, states = build(recipe), []
    for epoch in range(2):
        for batch in parts.train.epoch(epoch):
            parts.optimizer.lr = parts.schedule(len(states))
            train_step(parts.model, parts.optimizer, batch)
            states.append(parts.model.state_dict())
    return result, states


def test_training_goes_on_from_the_weights_themselves(averaged, tmp_path):
    result, states = averaged
    assert_same_arrays(load_checkpoint(result.run.last_file).raw, states[-1])
    without = train(tiny("training.log_every=1"), tmp_path / "run", quiet=True)
    losses = [
        [row["loss"] for row in run.history.rows if row["kind"] == "step"]
        for run in (result, without)
    ]
    assert losses[0] == losses[1]
    assert load_checkpoint(without.run.last_file).raw == {}


def test_the_average_is_tested_saved_exported_and_loaded(averaged, tmp_path):
    result, states = averaged
    model, preprocess, checkpoint = load_model(result.run.last_file)
    for name, mean in weighted(states).items():
        np.testing.assert_allclose(checkpoint.model[name], mean, 1e-4, 1e-6, err_msg=name)
    parts = build(tiny())
    loss, accuracy = evaluate(model, parts.test)
    last = result.history.epochs[-1]
    assert (loss, accuracy) == (last["test_loss"], last["test_accuracy"])
    export_weights(result.run.last_file, tmp_path / "exported.safetensors")
    exported = load_checkpoint(tmp_path / "exported.safetensors")
    assert_same_arrays(exported.model, checkpoint.model)
    assert exported.raw == {}
    x = tensor(preprocess(parts.test.dataset.images))
    with no_grad():
        np.testing.assert_array_equal(model(x).numpy(), result.model(x).numpy())


def test_weights_that_training_goes_on_from_must_fit(averaged, tmp_path):
    result, _ = averaged
    checkpoint = load_checkpoint(result.run.last_file)
    checkpoint.raw = {}
    parts = build(tiny(EMA))
    with pytest.raises(CheckpointError, match="does not belong to this model: missing"):
        parts.restore(checkpoint)
    checkpoint.raw = {"fc.weight": np.full(1, np.nan, np.float32)}
    save_checkpoint(tmp_path / "bad.safetensors", checkpoint)
    with pytest.raises(CheckpointError, match=r"raw/fc\.weight has numbers that are not finite"):
        load_checkpoint(tmp_path / "bad.safetensors")


def test_a_run_does_not_change_its_average(averaged):
    result, _ = averaged
    changes = "training.log_every=1", "training.precise_norm=0"
    with pytest.raises(CheckpointError, match=r"training\.ema was 0\.8 and is 0\.0 now"):
        train(tiny(*changes), result.run.folder, resume=True, quiet=True)
