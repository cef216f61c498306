"""Wrong calls of tensors, operations and gradient checks: expression | error | a word in it."""

ROWS = """
tensor("abc") | ShapeError | 'abc'
tensor(None) | ShapeError | None
tensor(<<{"a": 1}; [[1.0], [1.0, 2.0]]>>) | ShapeError | number
tensor(1j) | ShapeError | complex
tensor([1.0], dtype="flaot") | ShapeError | flaot
tensor([1.0], dtype=complex) | ShapeError | complex
tensor([1.0], "float64") | ShapeError | requires_grad
tensor([1, 2], requires_grad=True) | GradientError | floating-point
tensor(np.ma.array([1.0], mask=[True])) | ShapeError | masked
tensor(object()) | ShapeError | number
Tensor([1.0]) | ShapeError | list
Tensor(3) | ShapeError | int
Tensor(None) | ShapeError | NoneType
Tensor(np.array(["a"])) | ShapeError | real numbers
Tensor(np.ones(2), "yes") | ShapeError | requires_grad
x.backward() | GradientError | scalar
x.backward(np.ones(5)) | GradientError | shape
x.backward("one") | GradientError | number
c.backward() | GradientError | requires
c.retain_grad() | GradientError | retain_grad
x.item() | ShapeError | item
bool(x) | ShapeError | neither
float(x) | ShapeError | item
int(x) | ShapeError | item
np.asarray(x) | GradientError | gradient
np.stack([x, x]) | GradientError | gradient
setattr(x, "data", [1.0]) | ShapeError | list
setattr(x, "data", None) | ShapeError | NoneType
setattr(x, "data", np.ones(2, int)) | GradientError | int64
x + None | ShapeError | expected a number or numbers, got None
x + "a" | ShapeError | expected a number or numbers, got 'a'
x + [[1.0], [1.0, 2.0]] | ShapeError | number
x + np.ones((2, 5)) | ShapeError | add: shapes (2, 3) and (2, 5) do not
x - np.ones((2, 5)) | ShapeError | sub: shapes (2, 3) and (2, 5) do not
x * np.ones((2, 5)) | ShapeError | mul: shapes (2, 3) and (2, 5) do not
x / np.ones((2, 5)) | ShapeError | div: shapes (2, 3) and (2, 5) do not
1j * x | ShapeError | complex
x * np.ma.array(np.ones((2, 3))) | ShapeError | masked
x @ x | ShapeError | matmul: expected (M, K) @ (K, N), got (2, 3) @ (2, 3)
x @ np.ones(3) | ShapeError | matmul: expected (M, K) @ (K, N), got (2, 3) @ (3,)
x @ None | ShapeError | None
np.ones((4, 4)) @ x | ShapeError | matmul
x ** x | ShapeError | the exponent must be a number, got Tensor
x ** "2" | ShapeError | exponent
x ** None | ShapeError | exponent
n ** -1 | ShapeError | pow
-b | ShapeError | neg
b - b | ShapeError | sub
n.exp() | ShapeError | Exp
n.log() | ShapeError | Log
n.sqrt() | ShapeError | Sqrt
n @ n | ShapeError | MatMul
x.sum(<<2; "0"; [0]; (0, 0)>>) | ShapeError | does not fit a tensor of shape (2, 3)
x.mean(5) | ShapeError | mean: axis 5 does not fit a tensor of shape (2, 3)
x.max(0.5) | ShapeError | max: axis 0.5 does not fit a tensor of shape (2, 3)
x[:0].mean() | ShapeError | mean: there is nothing to average in shape (0, 3)
x[:0].max() | ShapeError | max: there is no maximum in shape (0, 3)
x.reshape(<<4, 4; -1, -1>>) | ShapeError | reshape: cannot arrange (2, 3) as
x.reshape(<<"a"; 2.0, 3>>) | ShapeError | reshape: no sizes
x.reshape() | ShapeError | reshape
x.transpose(<<0, 0; 2; "ab">>) | ShapeError | are no order of the 2 axes of (2, 3)
x[7] | NoEntryError | index
x["a"] | NoEntryError | index
x[0, 0, 0] | NoEntryError | index
x[1.5] | NoEntryError | index
x[[0, 9]] | NoEntryError | index
x[np.ones(5, bool)] | NoEntryError | index
no_grad(3) | GradientError | no_grad
no_grad()("f") | GradientError | no_grad
Op()(x) | GradientError | forward
Twice()(x, x) | ShapeError | Twice
Twice()(<<3.0; np.ones(3)>>) | ShapeError | Tensor
Twice()(n) | ShapeError | fractions
twice(x) | GradientError | one call
gradcheck(None, 1.0) | GradientError | function
gradcheck(ops.relu) | GradientError | input
gradcheck(ops.relu, "a") | GradientError | input 0
gradcheck(ops.relu, [1, 2]) | GradientError | floating
gradcheck(ops.relu, np.nan) | GradientError | finite
gradcheck(ops.relu, 1.0, eps=<<0; -1e-6; "small"; 1e-30>>) | GradientError | eps
gradcheck(ops.relu, 1.0, tolerance=np.nan) | GradientError | tolerance
gradcheck(ops.relu, 1.0, directions=-1) | GradientError | directions
gradcheck(ops.relu, 1.0, max_entries=0) | GradientError | max_entries
gradcheck(ops.relu, 1.0, seed=<<-1; "a">>) | GradientError | seed
gradcheck(lambda x: 3, 1.0) | GradientError | Tensor
gradcheck(lambda x: x * np.inf, 1.0) | GradientError | finite
check_op("rleu") | RecipeError | relu
check_op(None) | RecipeError | None
check_op("relu", seed=-1) | GradientError | seed
use("cuda") | BackendError | cuda
use(None) | BackendError | None
backend.load("torch") | BackendError | torch
backend.load(["numpy"]) | BackendError | numpy
"""
