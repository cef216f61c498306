"""Runs that begin with weights (`training.init`), and layers that stay (`training.freeze`)."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from train_helpers import TINY, assert_same_arrays, assert_same_run, tiny

from minran import create_model
from minran.errors import CheckpointError, RecipeError
from minran.train import (
    Run,
    build,
    load_checkpoint,
    load_model,
    make_model,
    parse,
    save_checkpoint,
    train,
)
from minran.train.weights import begin_with, freeze

FREEZE = "training.freeze=['stem', 'stages.0', 'stages.1.0.norm1', 'tail.0.norm2.gamma']"
SHORT = "training.iterations=4"
WHOLE = "268 of 268 arrays fit, 100.0% of the network's numbers"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose checkpoint has averaged weights, for the ten classes of the shapes."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    return train(tiny("seed=5", "training.ema=0.5", SHORT), folder, quiet=True)


@pytest.fixture
def plain(trained, tmp_path):
    """What somebody else may have saved: arrays by name, and nothing about classes."""

    def write(**changed):
        state = trained.model.state_dict() | {"extra": np.arange(3)} | changed
        save_file(state, tmp_path / "plain.safetensors", {"format": "pt"})
        return str(tmp_path / "plain.safetensors")

    return write


def begun(weights, classes, least=0.5):
    """The state before and after, and the sentence."""
    model = make_model(tiny(), len(classes))
    before = model.state_dict()
    said, _ = begin_with(model, str(weights), classes, least)
    return before, model.state_dict(), said


def test_a_run_a_checkpoint_and_a_file_are_loaded_with_their_statistics(trained, plain):
    run, classes = trained.run, trained.parts.class_names
    best = load_checkpoint(run.best_file)
    for weights in (run.folder, run.best_file):
        before, after, said = begun(weights, classes)
        assert said == f"weights of {weights}: {WHOLE}"
        assert_same_arrays(after, best.model)
    assert (before["norm.running_mean"] != after["norm.running_mean"]).all()
    _, after, said = begun(plain(), classes)
    assert said.endswith(f"{WHOLE}; not used: extra")
    assert_same_arrays(after, trained.model.state_dict())


@pytest.mark.parametrize("count", [3, 10])
def test_other_classes_get_a_fresh_classifier(trained, plain, count):
    names = [f"class {n}" for n in range(count)]
    before, after, said = begun(trained.run.folder, names)
    assert said.endswith("left fresh, as for other classes there: fc.weight, fc.bias")
    best = load_checkpoint(trained.run.best_file).model
    fresh = {name: before[name] for name in ("fc.weight", "fc.bias")}
    assert_same_arrays(after, best | fresh)
    _, _, said = begun(plain(), names)
    assert ("as of another shape there: fc.weight, fc.bias" in said) == (count == 3)


def test_shipped_weights_begin_a_run_which_says_so(tmp_path, capsys):
    small = "model.options={ stem_width = 16, widths = [16, 48, 96], tail_width = 96 }"
    still = ("model.name=attention_small_cifar", "optimizer.lr=0", "training.batch_size=24")
    recipe = tiny(small, *still, "training.init=quickstart", SHORT)
    result = train(recipe, tmp_path / "run")
    said = capsys.readouterr().out.splitlines()[0]
    assert said.startswith("weights of quickstart: 414 of 414 arrays fit, 100.0%")
    assert json.loads(result.run.environment_file.read_text())[0]["init"] == said
    assert result.run.recipe().training.init == "quickstart"
    assert result.history.epochs[0]["train_loss"] < 1.5, "a fresh network begins at log(10) = 2.3"


def test_too_little_that_fits_is_refused_unless_asked_for(trained):
    names, wider = trained.parts.class_names, create_model("attention_nano", t=1)
    before = wider.state_dict()
    with pytest.raises(CheckpointError) as caught:
        begin_with(wider, str(trained.run.folder), names, 0.5)
    for words in ("fits too little of the network (", "at least 50%", "set training.init_least"):
        assert words in str(caught.value)
    assert len(str(caught.value)) < 500
    assert_same_arrays(wider.state_dict(), before)
    said, _ = begin_with(wider, str(trained.run.folder), names, 0)
    assert "left fresh, as of another shape there: stem.0.weight, " in said
    with pytest.raises(RecipeError, match=r"--set training\.init_least would have no effect"):
        parse("", changes=["training.init_least=0.1"])
    with pytest.raises(RecipeError, match=r"training\.init_least = 0\.1 would have no effect"):
        build(parse(TINY + "init_least = 0.1"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fc.bias": np.full(10, np.nan, np.float32)}, "fc.bias has numbers that are not finite"),
        ({"norm.running_var": np.full(8, -1, np.float32)}, "has negative variances"),
        ({"fc.bias": np.zeros(10, np.int64)}, "the array fc.bias is I64, expected one of F16, F32"),
        ({"fc.bias": np.full(10, 1e300)}, "not finite in float32"),
    ],
)
def test_numbers_that_no_training_leaves(plain, changed, message):
    with pytest.raises(CheckpointError, match=message):
        begun(plain(**changed), ["a"] * 10)


def test_files_that_are_none(plain, tmp_path, trained):
    bad, content = tmp_path / "bad", Path(plain()).read_bytes()
    for damaged in (b"", b"x" * 99, content[:5000], (2**62).to_bytes(8, "little") + content):
        bad.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="bad is damaged or not a checkpoint"):
            begun(bad, ["a"] * 10)
    content = bytearray(trained.run.last_file.read_bytes())
    content[-1] ^= 1
    bad.write_bytes(content)
    with pytest.raises(CheckpointError, match="bad is damaged: its contents"):
        begun(bad, ["a"] * 10)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*last\.safetensors"):
        begun(tmp_path / "empty", ["a"] * 10)
    with pytest.raises(CheckpointError, match="weights 'quikstart'; did you mean 'quickstart'"):
        begun("quikstart", ["a"] * 10)


def test_weights_of_other_pixels_are_warned_of(trained):
    with pytest.warns(UserWarning, match=r"divided by 64, and data\.std is 1 now"):
        build(tiny(f"training.init={trained.run.folder}", "data.std=1"))


@pytest.mark.parametrize("more", [(), ("training.ema=0.5",)])
def test_frozen_layers_stay_bit_for_bit(trained, tmp_path, more):
    init = f"training.init={trained.run.folder}"
    recipe = tiny(init, FREEZE, SHORT, "optimizer.weight_decay=0.1", *more)
    result = train(recipe, tmp_path / "run", quiet=True)
    begin = load_checkpoint(trained.run.best_file).model
    frozen = ("stem.", "stages.0.", "stages.1.0.norm1.", "tail.0.norm2.gamma")
    for kept in (load_checkpoint(result.run.last_file).model, result.model.state_dict()):
        still = {name for name, array in kept.items() if np.array_equal(array, begin[name])}
        assert still == {name for name in begin if name.startswith(frozen)}
    last = load_checkpoint(result.run.last_file)
    parts = build(recipe)
    assert len(last.optimizer) == len(parts.optimizer.params) < len(parts.model.parameters())
    parts.train_mode()
    training = {name for name, module in parts.model.named_modules() if module.training}
    assert not training & {"stages.0.0.norm1", "stages.0.1.mask.head.0", "stages.1.0.norm1"}
    assert training >= {"tail.0.norm2", "norm", "stages.1.0.norm2"}


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["stem", "stage.0"], r"no weights in 'stage\.0'; did you mean stages\.0\?"),
        (["stages.0.0.conv4"], r"did you mean stages\.0\.0\.conv"),
        (["pool"], "did you mean"),
        (["0"], "did you mean stem or stages or tail or norm or fc"),
        ([""], "no weights in ''"),
        (["stem", "stages", "tail", "norm", "fc"], "no weights are left to train"),
    ],
)
def test_layers_that_cannot_be_frozen(layers, message):
    with pytest.raises(RecipeError, match=message):
        freeze(make_model(tiny(), 10), layers)


def test_a_run_goes_on_without_the_weights_it_began_with(trained, tmp_path):
    source = shutil.copytree(trained.run.folder, tmp_path / "source")
    recipe = tiny(f"training.init={source}", FREEZE, "training.ema=0.5")
    whole = train(recipe, tmp_path / "whole", quiet=True)
    # Stopped before its first checkpoint, it begins with them once more.
    Run(tmp_path / "cut").create(recipe)
    result = train(recipe, tmp_path / "cut", resume=True, quiet=True)
    assert_same_run(result.run.folder, whole.run.folder)
    stopped = train(recipe, tmp_path / "late", quiet=True, on_row=lambda row: press(row))
    assert not stopped.finished
    shutil.rmtree(source)
    assert_same_run(
        train(recipe, tmp_path / "late", resume=True, quiet=True).run.folder, whole.run.folder
    )
    with pytest.raises(CheckpointError, match="there is no run, file or shipped weights"):
        train(recipe, tmp_path / "new", quiet=True)
    assert not (tmp_path / "new").exists()
    with pytest.raises(CheckpointError, match=r"training\.freeze was \['stem'"):
        train(tiny(f"training.init={source}"), tmp_path / "cut", resume=True, quiet=True)


def press(row):
    if row["step"] == 4:
        signal.raise_signal(signal.SIGINT)


def test_runs_from_before_know_neither_entry_and_go_on(tmp_path):
    folder = tmp_path / "run"
    run = train(tiny(SHORT), folder, quiet=True).run
    checkpoint = load_checkpoint(run.last_file)
    lines = checkpoint.recipe.splitlines(keepends=True)
    checkpoint.recipe = "".join(line for line in lines if not line.startswith(("init", "freeze")))
    assert len(checkpoint.recipe.splitlines()) == len(lines) - 3
    save_checkpoint(run.last_file, checkpoint)
    run.recipe_file.write_text(checkpoint.recipe)
    longer = tiny("training.iterations=6")
    assert train(longer, folder, resume=True, quiet=True).finished
    assert load_model(run.last_file)
