"""Wrong calls of `minran.ablate`, `bench` and `distributed`: expression | error | a word in it."""

ROWS = """
ablate.<<make_cells; measure>>(<<None; 3; 'table1'>>, scale, 1, 'new') | RecipeError | ablation
ablate.<<make_cells; measure>>(table, <<None; 3; 'nano'>>, 1, 'new') | RecipeError | scale
ablate.make_cells(table, scale, 0, 'new') | RecipeError | seed
ablate.make_cells(table, scale, <<'3'; 1.5; None>>, 'new') | RecipeError | seeds
ablate.make_cells(table, scale, 1, <<None; 3>>) | RecipeError | folder
ablate.make_cells(table, scale, 1, 'new', <<'seed=1'; 3; [3]>>) | RecipeError | changes
ablate.make_cells(table, scale, 1, 'new', ['seed=1']) | RecipeError | --seeds
ablate.make_cells(table, scale, 1, 'new', ['colour=1']) | RecipeError | colour
ablate.make_cells(table, scale, 1, 'new', ['optimizer.lr=nan']) | RecipeError | lr
ablate.<<train_cells(; measure(table, scale, >><<None; 3; 'table1'>>) | RecipeError | cells
ablate.<<train_cells(; measure(table, scale, >>[<<None; 3; 'table1'>>]) | RecipeError | Cell
ablate.<<train_cells(; measure(table, scale, >>cells, 3) | RecipeError | data_dir
ablate.train_cells(cells, force='no') | RecipeError | force
ablate.train_cells(cells, quiet='no') | RecipeError | quiet
ablate.train_cells(cells, say=3) | RecipeError | say
ablate.<<text; markdown; to_json; ablation_figure>>(<<None; 3; 'a'>>) | RecipeError | results
ablate.write(<<None; 3; 'a'>>, 'new') | RecipeError | results
ablate.markdown(results, 3) | RecipeError | figure
ablate.ablation_figure(results, 'dark') | RecipeError | dark
ablate.write(results, <<None; 3>>) | RecipeError | folder
ablate.write(results, <<a_file; a_file / 'new'>>) | DataError | a_file
ablate.<<summarise(; compare([1.0], >><<None; 3; '12'>>) | ShapeError | list
ablate.<<summarise(; compare([1.0], >>[<<'a'; np.nan; True>>]) | ShapeError | number
ablate.<<summarise(; compare([1.0], >>[]) | ShapeError | no values
ablate.compare(<<None; 3; '12'>>, [1.0]) | ShapeError | first
ablate.compare([], [1.0]) | ShapeError | no values
ablate.student_t(<<0; -1; np.nan; '3'; None>>) | ShapeError | freedom
ablate.student_t(3, <<1; -0.5; None>>) | ShapeError | confidence
ablate.Line(3) | RecipeError | label
ablate.Line('a', <<'seed=1'; 3; [3]>>) | RecipeError | changes
ablate.Line('a', modules='2') | RecipeError | modules
ablate.Line('a', resnet='yes') | RecipeError | resnet
ablate.Scale(None, 'ablation-nano', 'small', 2, (), '', (1, 1)) | RecipeError | name
ablate.Scale('a', None, 'small', 2, (), '', (1, 1)) | RecipeError | recipe
ablate.Scale('a', 'ablation-nano', 'small', '2', (), '', (1, 1)) | RecipeError | stages
ablate.Scale('a', 'ablation-nano', 'small', 2, 'mask', '', (1, 1)) | RecipeError | resnet
ablate.Scale('a', 'ablation-nano', 'small', 2, (), '', 'one') | RecipeError | equal
ablate.Ablation(3, 't', 'q', table.rows, table.columns) | RecipeError | name
ablate.Ablation('a', 't', 'q', <<table; ['a']>>, table.columns) | RecipeError | rows
ablate.Ablation('a', 't', 'q', (), table.columns) | RecipeError | missing
ablate.Ablation('a', '', '', table.rows, table.columns, <<[[1]]; [['a']]>>) | RecipeError | paper
ablate.Ablation('a', 't', 'q', table.rows, table.columns, kind='loss') | RecipeError | kind
bench.add_arguments(<<None; []>>) | RecipeError | parser
bench.run(<<None; ['--ops']>>) | RecipeError | args
bench.run(asked().__class__()) | RecipeError | --model
bench.run(asked('--<<rounds; threads; warmup; processes; batch>>', '0')) | RecipeError | at least 1
bench.run(asked('--model', 'attention57')) | RecipeError | attention57
bench.run(asked('--only', 'caffe', '--jobs', 'step')) | RecipeError | caffe
bench.run(asked('--json', 'new.txt')) | DataError | .json
bench.run(asked('--plot', 'new.json')) | DataError | .png
distributed.share(<<None; '64'; 2.5; -1>>) | ShapeError | count
distributed.weight(<<None; '64'; 2.5; 0>>) | ShapeError | count
distributed.sum_gradients(<<None; q; [q.data]; 'ab'>>) | ShapeError | parameters
distributed.sum_numbers(<<'3'; None; [1, 2]; q>>) | ShapeError | number
distributed.from_leader(<<None; 3>>) | ShapeError | function
distributed.expect_alike(<<None; [3]; 'seed'>>) | ShapeError | facts
distributed.fail(3, 1) | ShapeError | message
distributed.fail('a', <<'b'; None>>) | ShapeError | status
"""
