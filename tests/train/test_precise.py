"""`training.precise_norm`: batch norm's statistics are exact averages under the weights tested."""

from __future__ import annotations

import signal

import numpy as np
import pytest
from train_helpers import assert_same_arrays, assert_same_run, rows_of, tiny

from minran import no_grad, tensor
from minran.errors import CheckpointError, ShapeError
from minran.nn import BatchNorm2d, observe
from minran.train import (
    build,
    load_checkpoint,
    load_model,
    precise_norm,
    save_checkpoint,
    train,
)
from minran.train.settle import settled

FLOAT64 = ("model.options.dtype=float64",)
NONE = "training.precise_norm=0"


def norms(model):
    return {name: m for name, m in model.named_modules() if isinstance(m, BatchNorm2d)}


def by_hand(parts, batches):
    """The docstring's equation, from what goes into each batch norm."""
    seen = {id(norm): [] for norm in norms(parts.model).values()}

    def note(module, inputs, output):
        if id(module) in seen:
            x = inputs[0].numpy()
            seen[id(module)].append((x.mean((0, 1, 2)), x.var((0, 1, 2), ddof=1)))

    for (images, _), _ in zip(parts.plain.epoch(0), range(batches)):
        with no_grad(), observe(note):
            parts.model(tensor(images, dtype="float64"))
    found = {}
    for name, norm in norms(parts.model).items():
        means, variances = map(np.array, zip(*seen[id(norm)], strict=True))
        mean = sum(means) / batches
        found[name] = mean, sum(variances + (means - mean) ** 2) / batches
    return found


@pytest.mark.parametrize(("count", "batches"), [(1, 1), (8, 2), (9, 3), (1000, 6)])
def test_statistics_are_exact_averages_over_batches(count, batches):
    parts = build(tiny(*FLOAT64))
    parts.train_mode()
    expected = by_hand(parts, batches)
    for norm in norms(parts.model).values():
        norm.running_mean[...], norm.running_var[...] = 7, 9  # nothing of what was there stays
    precise_norm(parts.model, parts.plain, count)
    for name, norm in norms(parts.model).items():
        np.testing.assert_allclose(norm.running_mean, expected[name][0], 1e-9, 1e-11, err_msg=name)
        np.testing.assert_allclose(norm.running_var, expected[name][1], 1e-9, err_msg=name)
        assert norm.momentum == 0.1 and norm.training


def test_batch_norms_in_evaluation_keep_theirs():
    parts = build(tiny())
    frozen = parts.model.stem.eval()
    before = parts.model.state_dict()
    precise_norm(parts.model, parts.plain, 24)
    after = parts.model.state_dict()
    kept = {name for name in before if np.array_equal(before[name], after[name])}
    running = {name for name in before if "running" in name}
    inside = {f"stem.{name}" for name, _ in frozen.named_buffers()}
    assert running - kept == running - inside and before.keys() - running <= kept
    precise_norm(parts.model.eval(), parts.plain, 24)
    assert_same_arrays(parts.model.state_dict(), after)


def test_a_batch_that_fails_leaves_the_momentum():
    parts = build(tiny())
    parts.plain.preprocess = lambda images: np.zeros((4, 32, 32, 5), np.float32)
    with pytest.raises(ShapeError):
        precise_norm(parts.model, parts.plain, 24)
    assert {norm.momentum for norm in norms(parts.model).values()} == {0.1}


def test_training_is_the_same_and_what_is_tested_is_not(tmp_path):
    with_it = train(tiny(), tmp_path / "with", quiet=True)
    without = train(tiny(NONE), tmp_path / "without", quiet=True)
    assert with_it.run.recipe().training.precise_norm == 24
    pairs = list(zip(rows_of(with_it.run.folder), rows_of(without.run.folder), strict=True))
    for one, other in pairs:
        tests = [{k: v for k, v in row.items() if k.startswith("test")} for row in (one, other)]
        assert one | other == one | tests[1], "but for the tests every row is the same"
    assert any(one != other for one, other in pairs)
    saved = [load_checkpoint(result.run.last_file) for result in (with_it, without)]
    for name, array in saved[0].model.items():
        assert np.array_equal(array, saved[1].model[name]) == ("running" not in name), name
    assert_same_arrays(saved[0].optimizer, saved[1].optimizer)


@pytest.mark.parametrize(
    "changes",
    [(), ("training.ema=0.5",), ("training.keep_every=1", "training.test_every=2")],
    ids=["weights", "average", "kept"],
)
def test_saved_statistics_belong_to_saved_weights(tmp_path, changes):
    """Taken once more from the file they are the same, bit for bit."""
    run = train(tiny(*changes), tmp_path / "run", quiet=True).run
    parts = build(tiny())
    for file in (run.last_file, run.best_file, *run.epoch_files()):
        model = load_model(file)[0].train()
        before = model.state_dict()
        precise_norm(model, parts.plain, 24)
        assert_same_arrays(model.state_dict(), before)
    assert len(run.epoch_files()) == (2 if "training.keep_every=1" in changes else 0)


@pytest.mark.parametrize("changes", [(), ("training.ema=0.5",)], ids=["weights", "average"])
@pytest.mark.parametrize("step", [2, 8, 10])
def test_an_interrupted_run_is_that_of_one_that_was_not(tmp_path, changes, step):
    changes = (*changes, "training.precise_norm=16")
    train(tiny(*changes), tmp_path / "whole", quiet=True)

    def interrupt(row):
        if row["step"] == step:
            signal.raise_signal(signal.SIGINT)

    parts = tmp_path / "parts"
    assert not train(tiny(*changes), parts, quiet=True, on_row=interrupt).finished
    assert train(tiny(*changes), parts, resume=True, quiet=True).finished
    assert_same_run(parts, tmp_path / "whole")


def test_a_run_of_an_earlier_version_goes_on_without(tmp_path):
    """Its recipe does not know the entry: it is not switched on in the middle."""
    train(tiny(NONE), tmp_path / "whole", quiet=True)

    def interrupt(row):
        if row["step"] == 4:
            signal.raise_signal(signal.SIGINT)

    run = train(tiny(NONE), tmp_path / "parts", quiet=True, on_row=interrupt).run
    checkpoint = load_checkpoint(run.last_file)
    checkpoint.recipe = checkpoint.recipe.replace("precise_norm = 0\n", "")
    save_checkpoint(run.last_file, checkpoint)
    run.recipe_file.write_text(checkpoint.recipe)
    assert run.recipe().training.precise_norm is None
    with pytest.raises(CheckpointError, match=r"precise_norm was 0 and is 24 now"):
        train(tiny("training.precise_norm=24"), run.folder, resume=True, quiet=True)
    assert train(run.recipe(), run.folder, resume=True, quiet=True).finished
    assert_same_run(run.folder, tmp_path / "whole")


@pytest.mark.parametrize(
    ("changes", "pictures", "precise"),
    [
        ((), 24, 24),  # 6 steps before the first test
        ((), 175, 175),  # 43
        ((), 176, 0),  # 44: 0.9^44 < 1%
        (("training.test_every=8",), 24, 24),  # 12 steps in all
        (("training.test_every=8", "training.epochs=9"), 24, 0),
        (("training.iterations=43",), 10_000, 1024),
        (("training.iterations=44",), 10_000, 0),
        ((NONE,), 24, 0),
        (("training.precise_norm=5",), 10_000, 5),
    ],
)
def test_it_is_on_where_few_steps_come_before_a_test(changes, pictures, precise):
    recipe, line = settled(tiny(*changes), pictures)
    assert recipe.training.precise_norm == precise
    said = f"statistics taken over {precise:,} before each test" in line
    assert said == (precise > 0 and "precise_norm" not in "".join(changes))
