from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from train_helpers import tiny

from minran.errors import RecipeError
from minran.train import Recipe, build, list_recipes, load_recipe, make_model, parse
from minran.train.recipe import (
    AugmentRecipe,
    DataRecipe,
    ModelRecipe,
    OptimizerRecipe,
    ScheduleRecipe,
    TrainingRecipe,
)

CLASSES = {"cifar10": 10, "cifar100": 100, "shapes": 10, "folder:imagenet": 1000}


@pytest.mark.parametrize("name", list_recipes())
def test_shipped_recipes_build_their_network(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    model = make_model(recipe, CLASSES[recipe.data.name])
    assert model.fc.bias.shape == (CLASSES[recipe.data.name],)
    assert parse(recipe.to_toml()) == recipe


def test_the_papers_recipe_is_the_papers():
    """Section 4.1: batch 64, Nesterov momentum 0.9, weight decay 1e-4, 0.1 cut at 64k and 96k."""
    for name in ("cifar10-attention56", "cifar10-attention92", "cifar100-attention92"):
        recipe = load_recipe(name)
        assert recipe.optimizer == OptimizerRecipe(0.1, 0.9, True, 1e-4)
        assert recipe.schedule.kind == "multistep"
        assert recipe.schedule.milestones == [64_000, 96_000]
        assert (recipe.training.iterations, recipe.training.batch_size) == (160_000, 64)
        assert recipe.augment == AugmentRecipe(pad_crop_flip=True, cutout=0, mixup=0.0)
        assert recipe.training.label_smoothing == 0
        assert (recipe.data.train_count, recipe.data.test_count) == (0, 0)  # all pictures


@pytest.mark.parametrize("network", ["attention56", "attention92", "attentionnext56"])
def test_the_recipes_for_imagenet_are_the_papers(network):
    """Section 4.2 and the authors' notes: docs/paper/authors.md says what each of them says."""
    recipe = load_recipe(f"imagenet-{network}")
    assert recipe.model == ModelRecipe(network)
    assert (recipe.data.size, recipe.data.mean) == (224, "channel")
    assert recipe.augment == AugmentRecipe(kind="imagenet")
    assert recipe.optimizer == OptimizerRecipe(0.1, 0.9, False, 1e-4)
    assert recipe.schedule.milestones == [200_000, 400_000, 500_000]
    assert (recipe.schedule.kind, recipe.schedule.factor) == ("multistep", 0.1)
    assert (recipe.training.iterations, recipe.training.batch_size) == (530_000, 64)


shares = st.floats(0, 1, exclude_max=True)
amounts = st.floats(0, allow_infinity=False)
whole = st.integers(-(2**63) + 1, 2**63 - 1)  # what TOML has
counts = st.integers(0, 10**12)
sizes = st.integers(1, 10**12)
pixels, fits = st.integers(1, 4096), st.sampled_from(["cut", "pad", "stretch"])
values = st.recursive(
    st.booleans() | whole | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
recipes = st.builds(
    Recipe,
    name=st.text(),
    description=st.text(),
    seed=counts,
    precision=st.sampled_from(["fp32", "tf32"]),
    model=st.builds(
        ModelRecipe, name=st.text(), options=st.dictionaries(st.text(), values, max_size=4)
    ),
    data=st.builds(
        DataRecipe,
        st.text(),
        counts,
        counts,
        shares,
        amounts,
        pixels,
        fits,
        st.just("channel"),
        amounts,
    ),
    augment=st.builds(AugmentRecipe, st.booleans(), counts, amounts, st.just("imagenet")),
    optimizer=st.builds(OptimizerRecipe, amounts, shares, st.booleans(), amounts),
    schedule=st.builds(
        ScheduleRecipe,
        st.sampled_from(["constant", "multistep", "cosine", "one_cycle"]),
        st.lists(whole),
        amounts,
        shares,
    ),
    training=st.builds(
        TrainingRecipe, counts, counts, sizes, shares, shares, sizes, sizes, sizes, counts
    ),
)


@settings(max_examples=60, deadline=None)
@given(recipes)
def test_any_recipe_survives_the_file(recipe):
    assert parse(recipe.to_toml(), "elsewhere") == recipe


@pytest.mark.parametrize("text", ["\U0001f600", "\x7f", "\x00", "\r\n", '"\\', "#", "a = 1", "é"])
def test_awkward_text_survives_the_file(text):
    recipe = Recipe(description=text, model=ModelRecipe(options={text: text}))
    assert parse(recipe.to_toml()) == recipe


def test_what_toml_cannot_hold_is_named():
    with pytest.raises(RecipeError, match=r"options\.p cannot be written into a recipe: None"):
        Recipe(model=ModelRecipe(options={"p": None})).to_toml()


def test_set():
    recipe = load_recipe(
        "cifar10-small",
        [
            "optimizer.lr=1",
            "seed = 7",
            "augment.pad_crop_flip=false",
            "schedule.kind=multistep",
            "schedule.milestones=[3, 5]",
            "data.name=folder:/my pictures",
            'description="a = b"',
            "model.options.learning=naive",
            "model.options.widths=[8, 16, 32]",
        ],
    )
    assert recipe.optimizer.lr == 1.0 and type(recipe.optimizer.lr) is float
    assert recipe.seed == 7
    assert recipe.augment.pad_crop_flip is False
    assert recipe.schedule.kind == "multistep"
    assert recipe.schedule.milestones == [3, 5]
    assert recipe.data.name == "folder:/my pictures"
    assert recipe.description == "a = b"
    assert recipe.model.options == {"learning": "naive", "widths": [8, 16, 32]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # An unknown entry: the nearest right one, beside it or in another section.
        ("optimiser.lr=1", "unknown entry 'optimiser'; did you mean 'optimizer'?"),
        ("optimizer.learning_rate=1", "unknown entry 'optimizer.learning_rate'; known: "),
        ("optimizer.momentun=1", "did you mean 'optimizer.momentum'?"),
        ("optimizer.LR=1", "did you mean 'optimizer.lr'?"),
        ("lr=1", "unknown entry 'lr'; did you mean 'optimizer.lr'?"),
        ("optimizer.epochs=1", "did you mean 'training.epochs'?"),
        ("model.learning=naive", "options are entries of model.options"),
        ("=1", "unknown entry ''"),
        # A wrong kind: what was expected, what came.
        ("optimizer.lr=fast", "optimizer.lr must be a number, got 'fast'"),
        ("optimizer.lr=", "optimizer.lr must be a number, got ''"),
        ("optimizer.lr=true", "optimizer.lr must be a number, got True"),
        ("optimizer.lr=inf", "optimizer.lr must be a number, got inf"),
        ("optimizer.lr=nan", "optimizer.lr must be a number, got nan"),
        ("optimizer.nesterov=1", "optimizer.nesterov must be true or false, got 1"),
        ("training.epochs=2.5", "training.epochs must be a whole number, got 2.5"),
        ("training.epochs=true", "training.epochs must be a whole number, got True"),
        ("data.name=3", "data.name must be text, got 3"),
        ("schedule.milestones=3", "schedule.milestones must be a list of whole numbers, got 3"),
        ("schedule.milestones=[1, true]", "must be a list of whole numbers"),
        ("schedule.milestones=[1.5]", "must be a list of whole numbers"),
        ("optimizer=3", "optimizer must be a table, got 3"),
        ("model.options=3", "model.options must be a table, got 3"),
        ("seed.x=3", "--set seed.x: 'seed' is no table"),
        ("seed", "--set wants KEY=VALUE, got 'seed'"),
        # A value that cannot be meant.
        ("seed=-1", "seed must be at least 0, got -1"),
        ("training.log_every=0", "training.log_every must be at least 1, got 0"),
        ("training.label_smoothing=1", "must be at least 0 and below 1, got 1.0"),
        ("optimizer.lr=-0.1", "optimizer.lr must be at least 0, got -0.1"),
        ("schedule.kind=step", "schedule.kind must be 'constant' or 'multistep' or"),
        ("precision=fp16", "precision must be 'fp32' or 'tf32' or 'bf16', got 'fp16'"),
    ],
)
def test_wrong_entries_are_named(change, message):
    with pytest.raises(RecipeError) as caught:
        tiny(change)
    assert message in str(caught.value)


def test_every_number_that_could_hurt_has_a_range():
    for name, value in Recipe().entries().items():
        # Preprocess itself checks the scale of the pixels.
        if type(value) in (int, float) and name != "data.std":
            with pytest.raises(RecipeError, match=f"{name} must be at least [01]"):
                tiny(f"{name}=-1")


def test_a_name_comes_from_the_file_unless_the_recipe_says_one(tmp_path):
    file = tmp_path / "my-run.toml"
    file.write_text("seed = 3")
    assert load_recipe(file).name == "my-run"
    assert load_recipe(str(file), ["name=other"]).name == "other"
    assert parse(Recipe().to_toml(), "elsewhere.toml").name == Recipe().name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("quikstart", "unknown recipe 'quikstart'; did you mean 'quickstart'?"),
        ("zzz", "known: ablation-nano, "),
        ("nowhere/x.toml", "there is no recipe file nowhere/x.toml"),
    ],
)
def test_unknown_recipes(name, message):
    with pytest.raises(RecipeError) as caught:
        load_recipe(name)
    assert message in str(caught.value)


def test_damaged_toml_names_the_file(tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text("seed = = 3")
    with pytest.raises(RecipeError, match=r"bad\.toml is not valid TOML.*line 1"):
        load_recipe(file)
    file.write_bytes(b"name = '\xff'")
    with pytest.raises(RecipeError, match=r"bad\.toml is no text in UTF-8"):
        load_recipe(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.name=attention_nan", "did you mean 'attention_nano'?"),
        ("model.options.lerning=naive", "unknown option 'lerning'; did you mean 'learning'?"),
        ("model.options.p=two", "option 'p' must be a whole number"),
        ("model.options.seed=3", "model.options.seed must not be set: it comes from the recipe"),
        ("model.options.num_classes=3", "num_classes must not be set: it comes from the data"),
        ("model.options.dtype=float16", "dtype must be float32 or float64"),
        ("training.epochs=0", "training.epochs or training.iterations must be positive"),
    ],
)
def test_what_only_the_network_can_refuse(change, message):
    with pytest.raises(RecipeError) as caught:
        build(tiny(change))
    assert message in str(caught.value)


TOO_MUCH = {
    "deep": "x = " + "[" * 50_000,
    "deep tables": "[" + "a." * 150 + "a]\nb = 1",
    "many dots": "a." * 30_000 + "b = 1",
    "a long number": "seed = " + "9" * 5000,
    "a wide number": "seed = 0x" + "f" * 5000,
    "a wide number inside": "[model]\noptions = { a = [1, 99999999999999999999] }",
    "endless": "#" * 70_000,
    "NUL": "seed\0 = 1",
    "a control character": 'description = "\x07"',
}


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_texts_that_take_memory_or_time_or_cannot_be_written_again(tmp_path, kind):
    file = tmp_path / "x.toml"
    file.write_text(TOO_MUCH[kind])
    for read in (lambda: parse(TOO_MUCH[kind]), lambda: load_recipe(file)):
        with pytest.raises(RecipeError) as caught:
            read()
        assert len(str(caught.value)) < 500


def test_recipes_as_windows_writes_them(tmp_path):
    file = tmp_path / "x.toml"
    file.write_bytes(b"\xef\xbb\xbfname = 'a'\r\nseed = 5\r\n")
    assert (load_recipe(file).name, load_recipe(file).seed) == ("a", 5)
    file.write_bytes("name = 'a'".encode("utf-16"))
    with pytest.raises(RecipeError, match="is no text in UTF-8"):
        load_recipe(file)


@pytest.mark.parametrize(
    "value", ["9" * 5000, "0x" + "f" * 99, "[" * 50_000, "[1, " + "9" * 30 + "]", "\udcff"]
)
def test_values_of_set_that_no_recipe_can_have(value):
    for key in ("seed", "name", "model.options.t", "schedule.milestones"):
        with pytest.raises(RecipeError) as caught:
            parse("", changes=[f"{key}={value}"])
        assert key in str(caught.value) and len(str(caught.value)) < 500
