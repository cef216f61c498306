"""Wrong calls of `minran.course`: expression | error | a word in it."""

ROWS = """
course.check(<<3; None>>, None) | DataError | task
course.check(<<'3.1'; 'one'; ''>>, None) | DataError | named like
course.check('03.9', None) | DataError | 03.1, 03.2
course.check('77.1', None) | DataError | none
course.framed_signs(<<0; -1; 2.5; None; 'two'>>) | DataError | count
course.framed_signs(1, <<-1; 2.5; None; 'a'>>) | DataError | seed
course.compare(<<3; None>>, 1.0, 1.0) | ShapeError | name
course.compare('y', 1.0, 1.0, hint=3) | ShapeError | hint
course.compare('y', 1.0, 1.0, tol=<<'a'; None; np.nan>>) | ShapeError | tol
course.compare('y', 1.0, 1.0, where=3) | ShapeError | where
course.compare('y', 1.0, {}) | MinranError | numbers
course.compare('y', {}, 1.0) | MinranError | numbers
course.compare_gradients('f', <<3; None>>, np.ones(3)) | GradientError | function
course.compare_gradients(3, tensor, np.ones(3)) | GradientError | name
course.compare_gradients('f', tensor) | GradientError | input
course.compare_gradients('f', tensor, 'a') | GradientError | input
course.compare_gradients('f', lambda x: 3, np.ones(2)) | GradientError | Tensor
course.compare_gradients('f', tensor, np.ones(2), hint=3) | GradientError | hint
course.expect_function(<<3; None>>, len) | ShapeError | name
course.unpack(<<3; None>>, (1, 2), 'a', 'b') | ShapeError | name
course.frames(<<None; 3; 'a'>>, ['a']) | ShapeError | pictures
course.frames(['<svg/>'], <<None; 3; 'a'; [3]>>) | ShapeError | captions
course.frames(['<svg/>'], []) | ShapeError | 1 figures and 0 captions
course.frames([], []) | ShapeError | 0 figures
course.explore(<<3; None>>, a=[1]) | ShapeError | draw
course.explore(len, a=<<[]; 3; None>>) | ShapeError | a must list
course.show_source(<<len; 3; None; 'ops.gate'; np.add>>) | MinranError | no Python source
course.show_source(ops.gate, docstring='no') | ShapeError | docstring
course.show_kernel(<<3; None>>, 'gate') | ShapeError | file
course.show_kernel('pools.cu', 'gate') | MinranError | pool.cu
course.show_kernel('elementwise.cu', 3) | ShapeError | name
course.show_kernel('elementwise.cu', 'gates') | MinranError | gate
course.show_kernel('elementwise.cu', 'gate', <<3; {3: 'a'}; {'a': 3}>>) | ShapeError | notes
course.train_mine(<<3; None; 'gated'>>) | DataError | borrow
course.train_mine(['gate']) | DataError | unknown piece 'gate'
course.train_mine([3]) | DataError | borrow
course.backward_steps(<<None; 3; 'a'>>) | GradientError | loss
course.backward_steps(x) | GradientError | one number
course.healthy(<<'a'; None; 1.5>>) | RecipeError | channels
course.healthy(seed='a') | RecipeError | seed
course.patient(<<3; None; 'x'>>) | RecipeError | nearest
course.trace(<<3; None>>, x) | ShapeError | module
course.trace(nn.ReLU(), <<3; None>>) | ShapeError | x
course.ablation(<<3; None; 'table2'>>) | DataError | table1
"""
