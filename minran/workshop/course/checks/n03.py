"""The checks of notebook 03: col2im and the backward pass of a convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from minran import ops, tensor
from minran.backend.geometry import conv_output_size
from minran.workshop.course.checking import Wrong, compare, expect_function, generator, unpack

# Windows that overlap, that meet edge to edge, that leave gaps; rows unlike columns.
_CASES: tuple[tuple[tuple[int, ...], tuple[int, int], tuple[int, int], tuple[int, int]], ...] = (
    ((1, 6, 6, 1), (2, 2), (2, 2), (0, 0)),
    ((2, 5, 5, 2), (3, 3), (1, 1), (0, 0)),
    ((2, 5, 5, 2), (3, 3), (1, 1), (1, 1)),
    ((2, 7, 6, 3), (3, 3), (2, 2), (1, 1)),
    ((1, 6, 8, 2), (3, 2), (2, 3), (1, 0)),
    ((2, 7, 5, 3), (1, 1), (2, 2), (0, 0)),
)


def check_3_1(answer: Any) -> None:
    """Judge col2im: against the gradient of a convolution whose weights only copy."""
    expect_function("col2im", answer)
    rng = generator(31)
    for shape, kernel, stride, padding in _CASES:
        places = kernel[0] * kernel[1] * shape[3]
        # With the identity as weights, conv2d is im2col, and its backward pass is col2im.
        copies = np.eye(places).reshape(*kernel, shape[3], places)
        x = tensor(rng.standard_normal(shape), requires_grad=True)
        columns = ops.conv2d(x, tensor(copies), stride=stride, padding=padding)
        gcolumns = rng.standard_normal(columns.shape)
        columns.backward(gcolumns)
        got = answer(gcolumns.reshape(-1, places), shape, kernel, stride, padding)
        where = _words(shape, kernel, stride, padding)
        if getattr(got, "shape", None) == _padded(shape, padding) != shape:
            raise Wrong(
                f"gx has shape {got.shape}, expected {shape}",
                where,
                "the rim that padding added is no part of the picture: cut it off at the end",
            )
        compare("gx", got, x.grad, hint=_hint_col2im(got, x.grad, kernel, stride), where=where)


def _hint_col2im(got: Any, right: Any, kernel: tuple[int, int], stride: tuple[int, int]) -> str:
    if isinstance(got, np.ndarray) and got.shape == right.shape:
        agree = np.isclose(got, right)
        if 0 < agree.mean() < 1 and kernel > stride:
            return (
                "the pixels that one window reads are right, those that several windows read are "
                "not: (3.10) is a sum over all of them"
            )
    return (
        "windows[:, i, j, a, b] came from the padded pixel (i stride + a, j stride + b): "
        "a is the row, b the column, each with its own stride"
    )


def check_3_2(answer: Any) -> None:
    """Judge both gradients of a convolution against the library's."""
    expect_function("conv2d_backward", answer)
    rng = generator(32)
    for shape, kernel, stride, padding in _CASES:
        x = tensor(rng.standard_normal(shape), requires_grad=True)
        w = tensor(rng.standard_normal((*kernel, shape[3], 4)), requires_grad=True)
        y = ops.conv2d(x, w, stride=stride, padding=padding)
        gy = rng.standard_normal(y.shape)
        y.backward(gy)
        given = gy.copy(), x.numpy().copy(), w.numpy().copy()
        got = unpack("conv2d_backward", answer(*given, stride, padding), "gx", "gw")
        where = _words(shape, kernel, stride, padding)
        compare(
            "gw", got[1], w.grad, "(3.7): every column of w met cols(x); nothing else", 1e-10, where
        )
        compare(
            "gx",
            got[0],
            x.grad,
            "(3.8) first: g times W transposed has the shape of cols(x); then col2im",
            1e-10,
            where,
        )
        for name, before, after in zip(("gy", "x", "w"), (gy, x.numpy(), w.numpy()), given):
            compare(name, after, before, "backward must leave what it is given as it is", 0, where)


def _padded(shape: tuple[int, ...], padding: tuple[int, int]) -> tuple[int, ...]:
    return shape[0], shape[1] + 2 * padding[0], shape[2] + 2 * padding[1], shape[3]


def _words(
    shape: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> str:
    out = [conv_output_size(shape[1 + d], kernel[d], stride[d], padding[d]) for d in (0, 1)]
    return (
        f"x {shape}, kernel {kernel}, stride {stride}, padding {padding}, "
        f"output {out[0]} x {out[1]}"
    )
