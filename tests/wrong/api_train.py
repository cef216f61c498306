"""Wrong calls of `minran.train`: expression | error | a word in it."""

ROWS = """
train.<<load_checkpoint; load_model; read_history>>(<<None; 3; ['a']>>) | CheckpointError | path
train.<<load_checkpoint; load_model; read_history>>('nowhere') | CheckpointError | nowhere
train.<<load_checkpoint; load_model; read_history>>('a' * 300) | CheckpointError | aaa
train.<<load_checkpoint; load_model; read_history; History>>(here) | CheckpointError | empty
train.<<load_checkpoint; load_model; read_history; list_runs>>(a_file) | CheckpointError | a_file
train.History(a_file) | CheckpointError | a_file
train.train(recipe, 'new', resume=<<'no'; None; 1>>) | RecipeError | resume
train.train(recipe, 'new', force=<<'no'; None; 1>>) | RecipeError | force
train.train(recipe, 'new', quiet=<<'no'; None; 1>>) | RecipeError | quiet
train.train(recipe, 'new', capture=<<'no'; None; 1>>) | RecipeError | capture
train.train(<<None; 'quickstart'; {}>>, 'new') | RecipeError | recipe
train.build(<<None; 'quickstart'>>) | RecipeError | recipe
train.build(recipe, begin=<<'no'; None; 1>>) | RecipeError | begin
train.load_data('quickstart') | RecipeError | recipe
train.make_model(None, 10) | RecipeError | recipe
train.use_precision('tf32') | RecipeError | recipe
train.make_model(recipe, <<None; '3'; 2.5; 0; -1; True>>) | RecipeError | num_classes
train.parse(<<None; 3; b'a'>>) | RecipeError | text
train.parse(<<'a'; 'a = ='>>) | RecipeError | recipe
train.parse('colour = 3') | RecipeError | colour
train.parse('seed = -1') | RecipeError | seed
train.load_recipe(<<None; 3>>) | RecipeError | name_or_file
train.load_recipe("cifar") | RecipeError | cifar
train.load_recipe("") | RecipeError | recipe
train.load_recipe("nowhere.toml") | RecipeError | nowhere.toml
train.load_recipe(here) | RecipeError | recipe
train.load_recipe(a_file) | RecipeError | a_file
train.load_recipe("quickstart", <<"seed=3"; None>>) | RecipeError | changes
train.load_recipe("quickstart", [3]) | RecipeError | 3
train.load_recipe("quickstart", <<["seed"]; ["seed=a"]; ["seed=-1"]>>) | RecipeError | seed
train.load_recipe("quickstart", ["seed.a=1"]) | RecipeError | seed
train.load_recipe("quickstart", ["colour=1"]) | RecipeError | colour
train.load_recipe("quickstart", ["optimizer.lr=nan"]) | RecipeError | lr
train.load_recipe("quickstart", ["training.batch_size=0"]) | RecipeError | batch_size
train.load_recipe("quickstart", ["training.precise_norm=<<-1; all>>"]) | RecipeError | precise_norm
train.load_recipe("quickstart", ["training.epochs=2.5"]) | RecipeError | epochs
train.parse("", source=3) | RecipeError | source
train.parse("", changes=3) | RecipeError | changes
train.Recipe(seed=-1).to_toml() and train.train(train.Recipe(seed=-1), "new") | RecipeError | seed
train.train(train.Recipe(model="nano"), "new") | RecipeError | model
train.train(train.Recipe(seed=<<None; "a">>), "new") | RecipeError | seed
train.train(recipe, <<None; 3>>) | RecipeError | folder
train.train(recipe, a_file) | CheckpointError | a_file
train.train(recipe, full) | CheckpointError | no run
train.train(recipe, "nowhere", resume=True) | CheckpointError | nowhere
train.train(recipe, "new", resume=True, force=True) | RecipeError | resume
train.train(recipe, "new", data_dir=3) | RecipeError | data_dir
train.train(recipe, "new", on_row=3) | RecipeError | on_row
train.<<build; load_data>>(recipe, data_dir=3) | RecipeError | data_dir
train.<<list_runs; Run>>(<<None; 3>>) | CheckpointError | folder
train.compare(<<None; "runs">>) | CheckpointError | runs
train.compare(["a"]) | CheckpointError | RunSummary
train.Run("nowhere").recipe() | CheckpointError | nowhere
train.Run("nowhere").checkpoint() | CheckpointError | nowhere
train.Run("nowhere").continued(recipe) | CheckpointError | nowhere
train.Run(full).create(<<recipe; recipe, force=True>>) | CheckpointError | no run
train.History(None) | CheckpointError | path
train.History(here / "new.jsonl", keep=1) | CheckpointError | rows
train.History(here / "new.jsonl", keep="a") | CheckpointError | keep
train.load_pretrained(<<None; 3>>) | CheckpointError | name
train.load_pretrained("resnet50") | CheckpointError | resnet50
train.load_pretrained("") | CheckpointError | weights
train.export_weights(None, "new") | CheckpointError | checkpoint
train.export_weights("nowhere", "new") | CheckpointError | nowhere
train.export_weights(a_file, "new") | CheckpointError | a_file
train.export_weights(a_file, None) | CheckpointError | target
train.save_checkpoint(None, held(1)) | CheckpointError | path
train.save_checkpoint(here / "new", <<None; {}>>) | CheckpointError | checkpoint
train.Checkpoint(None, {}, {}, []) | CheckpointError | recipe
train.Checkpoint("", <<None; {"a": 1}>>, {}, []) | CheckpointError | model
train.Checkpoint("", {}, {}, <<"ab"; [1]>>) | CheckpointError | class_names
train.evaluate(None, loader) | ShapeError | model
train.evaluate(net, <<None; shapes>>) | ShapeError | loader
train.evaluate(net, loader, 3) | ShapeError | confusion
train.precise_norm(None, loader, 3) | RecipeError | model
train.precise_norm(net, None, 3) | RecipeError | loader
train.precise_norm(net, loader, <<0; 1.5; None>>) | RecipeError | count
train.train_step(None, sgd, batch) | ShapeError | model
train.train_step(net, <<None; "sgd">>, batch) | ShapeError | optimizer
train.train_step(net, sgd, <<None; (images,); (images[0], labels)>>) | ShapeError | batch
train.train_step(net, sgd, (pixels, labels)) | ShapeError | images
train.train_step(net, sgd, batch, <<2; "a"; np.nan>>) | ShapeError | label_smoothing
train.LiveCurves(<<3; "a">>) | ShapeError | rows
train.LiveCurves(every=<<"a"; None>>) | ShapeError | every
train.LiveCurves(colour=3) | ShapeError | colour
train.CapturedStep(None, []) | ShapeError | step
train.CapturedStep(print, []) | BackendError | GPU
train.capture_step(None, sgd, images, labels) | ShapeError | model
train.capture_step(net, None, images, labels) | ShapeError | optimizer
"""
