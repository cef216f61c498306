"""Wrong calls of `minran.train`: expression | error | a word in it."""

_PATHS = (
    *(("None", "path"), ("3", "path"), ("['a']", "path"), ("'nowhere'", "nowhere")),
    *(("'a' * 300", "aaa"), ("here", "empty"), ("a_file", "a_file")),
)
_READERS = ("load_checkpoint", "load_model", "read_history")

ROWS = (
    "\n".join(
        [
            f"train.{call}({path}) | CheckpointError | {word}"
            for call in _READERS
            for path, word in _PATHS
        ]
        + [
            f"train.train(recipe, 'new', {name}={value}) | RecipeError | {name}"
            for name in ("resume", "force", "quiet", "capture")
            for value in ("'no'", "None", "1")
        ]
        + [
            f"train.{call} | RecipeError | recipe"
            for call in (
                "train(None, 'new')",
                "train('quickstart', 'new')",
                "train({}, 'new')",
                "build(None)",
                "build('quickstart')",
                "load_data('quickstart')",
                "make_model(None, 10)",
                "use_precision('tf32')",
            )
        ]
        + [
            f"train.make_model(recipe, {classes}) | {error} | num_classes"
            for classes, error in (
                *(("None", "RecipeError"), ("'3'", "RecipeError"), ("2.5", "RecipeError")),
                *(("0", "RecipeError"), ("-1", "RecipeError"), ("True", "RecipeError")),
            )
        ]
        + [
            f"train.parse({text}) | RecipeError | {word}"
            for text, word in (
                *(("None", "text"), ("3", "text"), ("b'a'", "text"), ("'a'", "recipe")),
                *(("'a = ='", "recipe"), ("'colour = 3'", "colour"), ("'seed = -1'", "seed")),
            )
        ]
    )
    + """
train.load_recipe(None) | RecipeError | name_or_file
train.load_recipe(3) | RecipeError | name_or_file
train.load_recipe("cifar") | RecipeError | cifar
train.load_recipe("") | RecipeError | recipe
train.load_recipe("nowhere.toml") | RecipeError | nowhere.toml
train.load_recipe(here) | RecipeError | recipe
train.load_recipe(a_file) | RecipeError | a_file
train.load_recipe("quickstart", "seed=3") | RecipeError | changes
train.load_recipe("quickstart", None) | RecipeError | changes
train.load_recipe("quickstart", [3]) | RecipeError | 3
train.load_recipe("quickstart", ["seed"]) | RecipeError | seed
train.load_recipe("quickstart", ["seed=a"]) | RecipeError | seed
train.load_recipe("quickstart", ["seed=-1"]) | RecipeError | seed
train.load_recipe("quickstart", ["seed.a=1"]) | RecipeError | seed
train.load_recipe("quickstart", ["colour=1"]) | RecipeError | colour
train.load_recipe("quickstart", ["optimizer.lr=nan"]) | RecipeError | lr
train.load_recipe("quickstart", ["training.batch_size=0"]) | RecipeError | batch_size
train.load_recipe("quickstart", ["training.epochs=2.5"]) | RecipeError | epochs
train.parse("", source=3) | RecipeError | source
train.parse("", changes=3) | RecipeError | changes
train.Recipe(seed=-1).to_toml() and train.train(train.Recipe(seed=-1), "new") | RecipeError | seed
train.train(train.Recipe(model="nano"), "new") | RecipeError | model
train.train(train.Recipe(seed=None), "new") | RecipeError | seed
train.train(train.Recipe(seed="a"), "new") | RecipeError | seed
train.train(recipe, None) | RecipeError | folder
train.train(recipe, 3) | RecipeError | folder
train.train(recipe, a_file) | CheckpointError | a_file
train.train(recipe, full) | CheckpointError | no run
train.train(recipe, "nowhere", resume=True) | CheckpointError | nowhere
train.train(recipe, "new", resume=True, force=True) | RecipeError | resume
train.train(recipe, "new", data_dir=3) | RecipeError | data_dir
train.train(recipe, "new", on_row=3) | RecipeError | on_row
train.build(recipe, data_dir=3) | RecipeError | data_dir
train.load_data(recipe, data_dir=3) | RecipeError | data_dir
train.list_runs(None) | CheckpointError | folder
train.list_runs(3) | CheckpointError | folder
train.list_runs(a_file) | CheckpointError | a_file
train.compare(None) | CheckpointError | runs
train.compare("runs") | CheckpointError | runs
train.compare(["a"]) | CheckpointError | RunSummary
train.Run(None) | CheckpointError | folder
train.Run(3) | CheckpointError | folder
train.Run("nowhere").recipe() | CheckpointError | nowhere
train.Run("nowhere").checkpoint() | CheckpointError | nowhere
train.Run("nowhere").continued(recipe) | CheckpointError | nowhere
train.Run(full).create(recipe) | CheckpointError | no run
train.Run(full).create(recipe, force=True) | CheckpointError | no run
train.History(None) | CheckpointError | path
train.History(a_file) | CheckpointError | a_file
train.History(here) | CheckpointError | empty
train.History(here / "new.jsonl", keep=1) | CheckpointError | rows
train.History(here / "new.jsonl", keep="a") | CheckpointError | keep
train.load_pretrained(None) | CheckpointError | name
train.load_pretrained(3) | CheckpointError | name
train.load_pretrained("resnet50") | CheckpointError | resnet50
train.load_pretrained("") | CheckpointError | weights
train.export_weights(None, "new") | CheckpointError | checkpoint
train.export_weights("nowhere", "new") | CheckpointError | nowhere
train.export_weights(a_file, "new") | CheckpointError | a_file
train.export_weights(a_file, None) | CheckpointError | target
train.save_checkpoint(None, held(1)) | CheckpointError | path
train.save_checkpoint(here / "new", None) | CheckpointError | checkpoint
train.save_checkpoint(here / "new", {}) | CheckpointError | checkpoint
train.Checkpoint(None, {}, {}, []) | CheckpointError | recipe
train.Checkpoint("", None, {}, []) | CheckpointError | model
train.Checkpoint("", {"a": 1}, {}, []) | CheckpointError | model
train.Checkpoint("", {}, {}, "ab") | CheckpointError | class_names
train.Checkpoint("", {}, {}, [1]) | CheckpointError | class_names
train.evaluate(None, loader) | ShapeError | model
train.evaluate(net, None) | ShapeError | loader
train.evaluate(net, shapes) | ShapeError | loader
train.train_step(None, sgd, batch) | ShapeError | model
train.train_step(net, None, batch) | ShapeError | optimizer
train.train_step(net, "sgd", batch) | ShapeError | optimizer
train.train_step(net, sgd, None) | ShapeError | batch
train.train_step(net, sgd, (images,)) | ShapeError | batch
train.train_step(net, sgd, (images[0], labels)) | ShapeError | batch
train.train_step(net, sgd, (pixels, labels)) | ShapeError | images
train.train_step(net, sgd, batch, 2) | ShapeError | label_smoothing
train.train_step(net, sgd, batch, "a") | ShapeError | label_smoothing
train.train_step(net, sgd, batch, np.nan) | ShapeError | label_smoothing
train.LiveCurves(3) | ShapeError | rows
train.LiveCurves("a") | ShapeError | rows
train.LiveCurves(every="a") | ShapeError | every
train.LiveCurves(every=None) | ShapeError | every
train.LiveCurves(colour=3) | ShapeError | colour
train.CapturedStep(None, []) | ShapeError | step
train.CapturedStep(print, []) | BackendError | GPU
train.capture_step(None, sgd, images, labels) | ShapeError | model
train.capture_step(net, None, images, labels) | ShapeError | optimizer
"""
)
