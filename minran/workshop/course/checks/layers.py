"""Checks of notebooks 03 to 06: convolution, batch norm, pool and interpolation, loss and SGD."""

from __future__ import annotations

from typing import Any

import numpy as np

from minran import nn, ops, optim, tensor
from minran.backend.geometry import conv_output_size, pool_output_size
from minran.errors import ShapeError
from minran.workshop.course.checking import Function, Wrong, compare, generator, gradients, unpack

# Windows that overlap, that meet edge to edge, that leave gaps; rows unlike columns.
_WINDOWS: tuple[tuple[tuple[int, ...], tuple[int, int], tuple[int, int], tuple[int, int]], ...] = (
    ((1, 6, 6, 1), (2, 2), (2, 2), (0, 0)),
    ((2, 5, 5, 2), (3, 3), (1, 1), (0, 0)),
    ((2, 5, 5, 2), (3, 3), (1, 1), (1, 1)),
    ((2, 7, 6, 3), (3, 3), (2, 2), (1, 1)),
    ((1, 6, 8, 2), (3, 2), (2, 3), (1, 0)),
    ((2, 7, 5, 3), (1, 1), (2, 2), (0, 0)),
)


def _words(shape: Any, kernel: Any, stride: Any, padding: Any) -> str:
    out = [conv_output_size(shape[1 + d], kernel[d], stride[d], padding[d]) for d in (0, 1)]
    return (
        f"x {shape}, kernel {kernel}, stride {stride}, padding {padding}, "
        f"output {out[0]} x {out[1]}"
    )


def check_3_1(col2im: Function) -> None:
    """Judge col2im: against the gradient of a convolution whose weights only copy."""
    rng = generator(31)
    for shape, kernel, stride, padding in _WINDOWS:
        places = kernel[0] * kernel[1] * shape[3]
        # With the identity as weights, conv2d is im2col, and its backward pass is col2im.
        copies = np.eye(places).reshape(*kernel, shape[3], places)
        x, options = rng.standard_normal(shape), {"stride": stride, "padding": padding}
        _, gcolumns, gx, _ = gradients(rng, ops.conv2d, x, copies, **options)
        got = col2im(gcolumns.reshape(-1, places), shape, kernel, stride, padding)
        where = _words(shape, kernel, stride, padding)
        padded = (shape[0], shape[1] + 2 * padding[0], shape[2] + 2 * padding[1], shape[3])
        if getattr(got, "shape", None) == padded != shape:
            raise Wrong(
                f"gx has shape {got.shape}, expected {shape}",
                where,
                "the rim that padding added is no part of the picture: cut it off at the end",
            )
        hint = (
            "windows[:, i, j, a, b] came from the padded pixel (i stride + a, j stride + b): "
            "a is the row, b the column, each with its own stride"
        )
        if _alike(got, gx) and 0 < np.isclose(got, gx).mean() < 1 and kernel > stride:
            hint = (
                "the pixels that one window reads are right, those that several windows read are "
                "not: (3.10) is a sum over all of them"
            )
        compare("gx", got, gx, hint, where=where)


def _alike(got: Any, right: np.ndarray) -> bool:
    """Whether an answer is an array of the right shape, so that a hint can look into it."""
    return isinstance(got, np.ndarray) and got.shape == right.shape


def check_3_2(conv2d_backward: Function) -> None:
    """Judge both gradients of a convolution against the library's."""
    rng = generator(32)
    for shape, kernel, stride, padding in _WINDOWS:
        x, w = rng.standard_normal(shape), rng.standard_normal((*kernel, shape[3], 4))
        _, gy, gx, gw = gradients(rng, ops.conv2d, x, w, stride=stride, padding=padding)
        given = {"gy": gy.copy(), "x": x.copy(), "w": w.copy()}
        answered = conv2d_backward(*given.values(), stride, padding)
        got = unpack("conv2d_backward", answered, "gx", "gw")
        where = _words(shape, kernel, stride, padding)
        hint = "(3.7): every column of w met cols(x); nothing else"
        compare("gw", got[1], gw, hint, 1e-10, where)
        hint = "(3.8) first: g times W transposed has the shape of cols(x); then col2im"
        compare("gx", got[0], gx, hint, 1e-10, where)
        for (name, after), before in zip(given.items(), (gy, x, w), strict=True):
            compare(name, after, before, "backward must leave what it is given as it is", 0, where)


# Two numbers a channel would not do: then gx is all rounding, for any inputs.
_MAPS = ((4, 3, 5, 2), (3, 1, 1, 3), (6, 2, 2, 1))


def check_4_1(batch_norm_backward: Function) -> None:
    """Judge the compact backward pass against the library's, in training."""
    rng = generator(41)
    for shape in _MAPS:
        channels = shape[3]
        # A large mean and a small eps: what a wrong sum does is seen.
        x = 2 + 3 * rng.standard_normal(shape)
        gamma, beta = rng.uniform(0.5, 2, channels), rng.standard_normal(channels)
        running = {"running_mean": np.zeros(channels), "running_var": np.ones(channels)}
        _, gy, *right = gradients(rng, ops.batch_norm, x, gamma, beta, **running, training=True)
        mean, inv_std = x.mean((0, 1, 2)), 1 / np.sqrt(x.var((0, 1, 2)) + 1e-5)
        answered = batch_norm_backward(gy.copy(), x.copy(), gamma.copy(), mean, inv_std)
        gx, ggamma, gbeta = unpack("batch_norm_backward", answered, "gx", "ggamma", "gbeta")
        where = f"x {shape}"
        hint = "(4.5): sums, not means, over batch, rows and columns; one number for each channel"
        compare("ggamma", ggamma, right[1], hint, where=where)
        compare("gbeta", gbeta, right[2], hint, where=where)
        hint = _norm_hint(gx, gy, right[0], gamma * inv_std)
        compare("gx", gx, right[0], hint, where=where)


def _norm_hint(got: Any, gy: np.ndarray, right: np.ndarray, scale: np.ndarray) -> str:
    if _alike(got, right):
        if np.allclose(got, scale * gy):
            return (
                "this is evaluation, (4.14): in training x acts through the mean and variance too"
            )
        if not np.allclose(got.sum((0, 1, 2)), 0, atol=1e-8):
            return (
                "the right gx adds up to 0 in every channel, for shifting x changes nothing; "
                "yours does not: look at the term with gbeta"
            )
        if np.allclose(got, scale * (gy - gy.mean((0, 1, 2)))):
            return "the mean is taken out; what x does through the variance is missing"
    return "(4.9): g minus its mean minus xhat times the mean of g xhat, all times gamma inv_std"


def check_4_2(update_running: Function) -> None:
    """Judge one step of the running statistics against a layer of the library."""
    rng = generator(42)
    for shape in _MAPS:
        for momentum in (0.1, 0.3):
            layer = nn.BatchNorm2d(shape[3], momentum=momentum, dtype=np.float64)
            layer.running_mean[...] = rng.standard_normal(shape[3])
            layer.running_var[...] = rng.uniform(1, 3, shape[3])
            before = layer.running_mean.copy(), layer.running_var.copy()
            x = 4 + rng.standard_normal(shape)
            layer(tensor(x))
            answered = update_running(*(array.copy() for array in before), x.copy(), momentum)
            mean, var = unpack("update_running", answered, "running_mean", "running_var")
            where = f"x {shape}, momentum {momentum}"
            hint = "momentum is the weight of the new value, 1 - momentum that of the old"
            compare("running_mean", mean, layer.running_mean, hint, where=where)
            biased = (1 - momentum) * before[1] + momentum * x.var((0, 1, 2))
            hint = (
                "(4.11): the same average as for the mean, of the unbiased variance (divisor m - 1)"
            )
            if np.shape(var) == biased.shape and np.allclose(var, biased):
                hint = "this is the biased variance: (4.13) says what corrects it"
            compare("running_var", var, layer.running_var, hint, where=where)


def check_5_1(pool_size: Function) -> None:
    """Judge the number of windows, for every pool that makes sense on a short line."""
    for size, kernel, stride, padding, ceil in np.ndindex(14, 4, 4, 3, 2):
        pool = size + 1, kernel + 1, stride + 1, padding
        try:
            expected = pool_output_size(*pool, bool(ceil))
            floor = conv_output_size(*pool)
        except ShapeError:
            continue
        got = pool_size(*pool, bool(ceil))
        whole = isinstance(got, (int, np.integer))
        if whole and got == expected:
            continue
        where = "{} pixels, kernel {}, stride {}, padding {}".format(*pool)
        where += f", {'ceil' if ceil else 'floor'} mode"
        last = (stride + 1) * (int(got) - 1) if whole else 0
        hint = "(5.2): how often does the stride fit into size + 2 padding - kernel? Then one more"
        if not whole:
            hint = "// divides whole numbers and rounds down; -(-a // b) rounds up, without floats"
        elif ceil and got == expected + 1 and last >= size + 1 + padding:
            hint = (
                f"your last window starts at padded place {last}, the last real pixel is at "
                f"{size + padding}: the condition of (5.3)"
            )
        elif ceil and got == floor != expected:
            hint = "this is floor mode: in ceil mode a window may overhang"
        shown, wanted = (got, expected) if whole else (repr(got), "a whole number")
        raise Wrong(f"pool_size returned {shown}, expected {wanted}", where, hint)


def check_5_2(max_pool_backward: Function) -> None:
    """Judge the routing of a max-pool's gradient: overlaps, edges, ties."""
    rng = generator(52)
    winner = "the winner of window (i, j) is pixel (i stride + a, j stride + b)"
    several = "a pixel can win several windows, and then gets the sum of what they send (5.5)"
    first = "of equal maxima only the first, row by row, gets the gradient"
    cases = (
        ("no overlap", rng.standard_normal((6, 6)), 2, winner),
        ("a window overhangs the edge", rng.standard_normal((5, 7)), 2, winner),
        ("windows overlap", rng.standard_normal((8, 7)), 3, several),
        ("all values negative", -1 - rng.random((6, 6)), 3, winner),
        ("equal maxima in a window", rng.integers(0, 3, (8, 8)).astype(float), 3, first),
    )
    for words, x, kernel, hint in cases:
        pool = {"kernel_size": kernel, "stride": 2, "ceil_mode": True}
        _, gy, gx = gradients(rng, ops.max_pool2d, x[None, :, :, None], **pool)
        got = max_pool_backward(gy[0, :, :, 0].copy(), x.copy(), kernel, 2)
        compare("gx", got, gx[0, :, :, 0], hint, where=f"{words}, x {x.shape}")


def check_5_3(upsample_backward: Function) -> None:
    """Judge the adjoint of interpolation, and that it is one."""
    rng = generator(53)
    cases = (
        ((2, 3, 3, 2), (6, 6)),
        ((1, 2, 5, 3), (7, 9)),
        ((2, 6, 4, 1), (3, 8)),
        ((1, 1, 1, 2), (4, 3)),
    )
    for align_corners in (True, False):
        for shape, size in cases:
            how = {"size": size, "align_corners": align_corners}
            _, gy, gx = gradients(rng, ops.upsample_bilinear2d, rng.standard_normal(shape), **how)
            got = upsample_backward(gy.copy(), shape, align_corners)
            hint = "(5.12): R_h transposed along the rows of gy, R_w transposed along its columns"
            if _alike(got, gx) and got.sum() and gx.sum() / got.sum() > 1.5:
                hint = (
                    "the adjoint sums, it does not average: what arrives in gx adds up to what "
                    "there is in gy, for the rows of R add up to 1"
                )
            where = f"{shape[1:3]} -> {size}, align_corners={align_corners}"
            compare("gx", got, gx, hint, where=where)


def check_6_1(cross_entropy_gradient: Function) -> None:
    """Judge the gradient of cross-entropy against the library's: hard, soft, large scores."""
    rng = generator(61)
    soft = rng.dirichlet(np.ones(4), 6)
    cases = (
        ("hard labels", rng.standard_normal((5, 3)), np.eye(3)[[0, 2, 2, 1, 0]]),
        ("one picture", rng.standard_normal((1, 4)), soft[:1]),
        ("soft targets", 2 * rng.standard_normal((6, 4)), soft),
        ("scores around 1000", 1000 + 3 * rng.standard_normal((6, 4)), soft),
    )
    for where, logits, targets in cases:
        leaf = tensor(logits.copy(), requires_grad=True)
        ops.cross_entropy(leaf, targets.copy()).backward()
        right = np.asarray(leaf.grad)
        with np.errstate(over="ignore", invalid="ignore"):
            got = cross_entropy_gradient(logits.copy(), targets.copy())
        compare("the gradient", got, right, _loss_hint(got, right), where=where)


def _loss_hint(got: Any, right: np.ndarray) -> str:
    if _alike(got, right):
        if not np.isfinite(got).all():
            return "exp overflowed: take the largest score out of each row first, (6.2)"
        if np.allclose(got, -right):
            return "the sign: the loss falls when the label's score grows, so its gradient is < 0"
        if np.allclose(got, right * len(right)):
            return "the loss is a mean over the pictures: where is 1/N?"
        if not np.allclose(got.sum(1), 0):
            return "each row must add up to 0: does each row of p add up to 1?"
    return "(6.6): softmax of each row, minus its targets, over the number of rows"


def check_6_2(nesterov_step: Function) -> None:
    """Judge Nesterov steps against the library's SGD: one step, then several in a row."""
    rng = generator(62)
    for momentum, weight_decay, lr in ((0.9, 0.0, 0.1), (0.5, 0.0, 0.02), (0.9, 0.1, 0.1)):
        weights = tensor(rng.standard_normal((2, 3)), requires_grad=True)
        sgd = optim.SGD([weights], lr, momentum, nesterov=True, weight_decay=weight_decay)
        p, v = weights.numpy().copy(), np.zeros((2, 3))
        for step in range(3):
            grad = rng.standard_normal((2, 3))
            weights.grad = grad.copy()
            sgd.step()
            answered = nesterov_step(p.copy(), grad.copy(), v.copy(), lr, momentum, weight_decay)
            new_p, new_v = unpack("nesterov_step", answered, "p", "v")
            where = f"step {step + 1}, momentum {momentum}, weight_decay {weight_decay}, lr {lr}"
            hint = "(6.16): v is momentum times the old v plus the gradient; lr is no part of it"
            if weight_decay:
                hint = "the decay is part of the gradient (6.20), so the velocity collects it too"
            compare("v", new_v, sgd.velocity[0], hint, where=where)
            hint = _step_hint(new_p, p, v, grad + weight_decay * p, lr, momentum)
            compare("p", new_p, weights.numpy(), hint, where=where)
            p, v = np.asarray(new_p), np.asarray(new_v)


def _step_hint(
    got: Any, p: np.ndarray, v: np.ndarray, g: np.ndarray, lr: float, momentum: float
) -> str:
    new = momentum * v + g
    if np.shape(got) == p.shape:
        if np.allclose(got, p - lr * new):
            return "this is the heavy ball (6.11): Nesterov's step is g + momentum v"
        if np.allclose(got, p - lr * (g + momentum * v)):
            return "g + momentum v, with the new v"
        if np.allclose(got, p + lr * (g + momentum * new)):
            return "the sign: down the slope"
    return "(6.16): the step is lr times (g + momentum v), with the new v and g with its decay"
