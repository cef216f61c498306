"""Wrong input: the message names the operation, what was expected and what came."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minran import Tensor, ops, tensor, use
from minran.errors import BackendError, GradientError, MinranError, RecipeError, ShapeError

EXAMPLES = settings(max_examples=50, deadline=None, derandomize=True)


def t(*shape: int, dtype: Any = np.float32) -> Tensor:
    return tensor(np.ones(shape, dtype))


def norm(x: Tensor, channels: tuple[int, int, int, int], training: bool = True) -> Tensor:
    gamma, beta, mean, var = (np.ones(c, np.float32) for c in channels)
    return ops.batch_norm(x, tensor(gamma), tensor(beta), mean, var, training)


PICTURE = (1, 4, 4, 3)


def fused(w: Tensor, x: Tensor | None = None, **options: Any) -> Tensor:
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    x = t(*PICTURE) if x is None else x
    return ops.norm_relu_conv2d(x, t(3), t(3), zeros, ones, True, w, **options)


# What is called, and the words that its message must hold. More rows: tests/wrong/api_ops.py.
BAD: list[tuple[Callable[[], Any], str]] = [
    (lambda: ops.concat([t(2, 3), t(2)]), "concat (2, 3) (2,)"),
    (lambda: ops.concat([t(2, 3), t(2, 3)], 2), "concat (2, 3) axis 2"),
    (lambda: ops.concat([t(), t()]), "concat () axis -1"),
    (lambda: ops.conv2d(t(*PICTURE), t(3, 3, 1, 2), groups=2), "conv2d 3 2 2 groups"),
    (lambda: ops.conv2d(t(*PICTURE), t(3, 3, 3, 2), groups=0), "conv2d 0 groups"),
    (lambda: ops.conv2d(t(*PICTURE), t(3, 3, 3, 2), groups=1.0), "conv2d 1.0 groups"),
    (lambda: ops.conv2d(t(*PICTURE), t(3, 3, 3, 2), stride=0), "conv2d stride 0"),
    (lambda: ops.conv2d(t(*PICTURE), t(3, 3, 3, 2), padding=-1), "conv2d padding -1"),
    (lambda: ops.conv2d(t(*PICTURE), t(3, 3, 3, 2), stride=(1, 1, 1)), "conv2d stride (1, 1, 1)"),
    (lambda: ops.conv2d(t(*PICTURE), t(3, 3, 3, 2), padding="same"), "conv2d padding 'same'"),
    (lambda: ops.relu(3.0), "ReLU expected a Tensor got float minran.tensor"),
    (lambda: ops.max_pool2d(t(4, 4, 3), 2), "max_pool2d (N, H, W, C) (4, 4, 3)"),
    (lambda: ops.max_pool2d(t(*PICTURE), 2, padding=2), "max_pool2d padding half kernel 2"),
    (lambda: ops.max_pool2d(t(*PICTURE), 2, stride=1.5), "max_pool2d stride 1.5"),
    (lambda: ops.avg_pool2d(t(*PICTURE), 5), "avg_pool2d window of 5 axis of 4"),
    (lambda: ops.global_avg_pool(t(2, 2)), "global_avg_pool (N, H, W, C) (2, 2)"),
    (lambda: ops.upsample_bilinear2d(t(1, 0, 2, 1), 4), "upsample_bilinear2d (0, 2) (4, 4)"),
    (lambda: ops.upsample_bilinear2d(t(*PICTURE), 2.0), "upsample_bilinear2d size 2.0"),
    (lambda: norm(t(*PICTURE), (2, 3, 3, 3)), "batch_norm 3 channels gamma (3,) (2,)"),
    (lambda: norm(t(*PICTURE), (3, 2, 3, 3)), "batch_norm beta (3,) (2,)"),
    (lambda: norm(t(*PICTURE), (3, 3, 2, 3)), "batch_norm running_mean (3,) (2,)"),
    (lambda: norm(t(*PICTURE), (3, 3, 3, 2)), "batch_norm running_var (3,) (2,)"),
    (lambda: fused(t(1, 1, 3, 2), x=t(2, 2, 3)), "(N, H, W, C) (2, 2, 3)"),
    (lambda: fused(t(1, 1, 2, 2)), "norm_relu_conv2d (1, 4, 4, 3) (1, 1, 2, 2)"),
    (lambda: fused(t(1, 3, 3, 2)), "norm_relu_conv2d (K, K, C, Cout) (1, 3, 3, 2)"),
    (lambda: fused(t(5, 5, 3, 2)), "norm_relu_conv2d window of 5 axis of 4"),
    (lambda: fused(t(1, 1, 3, 2), padding=1), "norm_relu_conv2d padding 1 below the kernel's 1"),
    (lambda: ops.channel_attention(t(2, 2)), "channel_attention (N, H, W, C) (2, 2)"),
    (lambda: ops.spatial_attention(t(2, 2)), "spatial_attention (N, H, W, C) (2, 2)"),
    (lambda: ops.cross_entropy(t(3), [0]), "cross_entropy (N, K) (3,)"),
    (lambda: ops.cross_entropy(t(0, 3), np.zeros(0, int)), "cross_entropy (N, K) (0, 3)"),
    (lambda: ops.cross_entropy(t(2, 3), [0, 3]), "cross_entropy 0..2 0 to 3"),
    (lambda: ops.cross_entropy(t(2, 3), [-1, 2]), "cross_entropy 0..2 -1 to 2"),
]


@pytest.mark.parametrize(("call", "words"), BAD, ids=[words for _, words in BAD])
def test_wrong_input_is_named(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(ShapeError) as caught:
        call()
    message = str(caught.value)
    parts = re.findall(r"\([^)]*\)|\S+", words)
    missing = [part for part in parts if part not in message]
    assert not missing, f"{missing} not in {message!r}"


def test_gate_names_the_known_ways_to_learn() -> None:
    with pytest.raises(RecipeError, match=r"gate: learning .*residual.*naive.*'resdual'"):
        ops.gate(t(*PICTURE), t(*PICTURE), "resdual")


def test_a_failed_batch_norm_moves_no_statistics() -> None:
    mean, var = np.zeros(3, np.float32), np.ones(4, np.float32)
    with pytest.raises(ShapeError):
        ops.batch_norm(t(*PICTURE), t(3), t(3), mean, var, training=True)
    assert not mean.any()
    for w in (t(1, 1, 4, 2), t(9, 9, 3, 2)):
        with pytest.raises(ShapeError):
            ops.norm_relu_conv2d(t(*PICTURE), t(3), t(3), mean, mean + 1, True, w)
    assert not mean.any()


def test_a_backend_without_fused_kernels_says_so() -> None:
    with use("naive"), pytest.raises(BackendError, match=r"naive backend has no fused kernel"):
        fused(t(1, 1, 3, 2))


def test_numpy_functions_refuse_tensors() -> None:
    """np.exp(tensor) would otherwise answer with an array of objects, without a gradient."""
    with pytest.raises(TypeError):
        np.exp(t(3))


def test_an_index_out_of_range_is_an_index_error() -> None:
    """As Python's sequences do; it is also what ends a `for row in tensor` loop."""
    with pytest.raises(IndexError):
        t(3)[3]
    assert len(list(t(3, 2))) == 3


def test_only_floats_can_require_a_gradient() -> None:
    for data in ([1, 2], np.array([True]), np.array([1], np.uint8)):
        with pytest.raises(GradientError, match=r"floating-point .* got dtype"):
            tensor(data, requires_grad=True)


shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


@EXAMPLES
@given(shapes, shapes)
def test_shapes_that_do_not_broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    """Either NumPy's broadcast, or a ShapeError with both shapes: never anything else."""
    x, y = np.ones(a), np.ones(b)
    try:
        expected = np.broadcast_shapes(a, b)
    except ValueError:
        with pytest.raises(ShapeError) as caught:
            tensor(x) * tensor(y)
        assert str(a) in str(caught.value)
        assert str(b) in str(caught.value)
    else:
        assert (tensor(x) * tensor(y)).shape == expected


@EXAMPLES
@given(
    x=hnp.array_shapes(min_dims=3, max_dims=5, max_side=5),
    w=hnp.array_shapes(min_dims=3, max_dims=5, max_side=5),
    stride=st.integers(-1, 3),
    padding=st.integers(-1, 3),
    groups=st.integers(-1, 3),
)
def test_any_convolution_works_or_says_why(
    x: tuple[int, ...], w: tuple[int, ...], stride: int, padding: int, groups: int
) -> None:
    try:
        y = ops.conv2d(
            tensor(np.ones(x), requires_grad=True),
            tensor(np.ones(w), requires_grad=True),
            stride=stride,
            padding=padding,
            groups=groups,
        )
    except MinranError as error:
        assert str(error).startswith("conv2d: ")  # noqa: PT017 - not every example raises
    else:
        assert y.shape[0] == x[0]
        assert y.shape[3] == w[3]
        y.sum().backward()


@EXAMPLES
@given(
    x=hnp.array_shapes(min_dims=3, max_dims=5, max_side=5),
    kernel=st.integers(-1, 4),
    stride=st.integers(-1, 3),
    padding=st.integers(-1, 3),
    ceil_mode=st.booleans(),
)
def test_any_pool_works_or_says_why(
    x: tuple[int, ...], kernel: int, stride: int, padding: int, ceil_mode: bool
) -> None:
    leaf = tensor(np.random.default_rng(0).standard_normal(x), requires_grad=True)
    try:
        y = ops.max_pool2d(leaf, kernel, stride, padding, ceil_mode)
    except MinranError as error:
        assert str(error).startswith("max_pool2d: ")  # noqa: PT017 - not every example raises
    else:
        assert np.isfinite(y.numpy()).all()
        y.sum().backward()
        # Every window hands on all it got.
        assert leaf.grad.sum() == pytest.approx(y.size)


@EXAMPLES
@given(shape=shapes, axis=st.integers(-6, 6))
def test_any_axis_works_or_says_why(shape: tuple[int, ...], axis: int) -> None:
    assume(0 not in shape)
    for name in ("sum", "mean", "max"):
        x = tensor(np.ones(shape))
        if -len(shape) <= axis < len(shape):
            assert getattr(x, name)(axis).shape == np.ones(shape).sum(axis).shape
        else:
            with pytest.raises(ShapeError, match=f"{name}: axis {axis} "):
                getattr(x, name)(axis)


def test_checks_look_at_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """To print an array is slow, and on a GPU waits for it: only a refused call may."""

    def refuse(*_: Any, **__: Any) -> str:
        raise AssertionError("an array was printed")

    monkeypatch.setattr(np, "array2string", refuse)
    np.set_printoptions(override_repr=refuse)
    try:
        norm(t(*PICTURE), (3, 3, 3, 3))
        fused(t(1, 1, 3, 2))
        y = ops.concat([t(*PICTURE), t(*PICTURE)])
        ops.cross_entropy(ops.linear(ops.global_avg_pool(y), t(6, 2)), np.array([1]))
    finally:
        np.set_printoptions(override_repr=None)


def test_concat_takes_a_generator() -> None:
    assert ops.concat(t(1, 2) for _ in range(3)).shape == (1, 6)
