"""Checks of notebooks 00 to 06: reverse mode, checking gradients, and the gradients of layers."""

from __future__ import annotations

import operator
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from minran import create_model, nn, ops, optim, tensor
from minran.autograd import Tensor
from minran.backend.geometry import conv_output_size, pool_output_size
from minran.errors import ShapeError
from minran.gradcheck import gradcheck
from minran.ops.arithmetic import Mul
from minran.workshop.course.checking import (
    Function,
    Wrong,
    beside,
    compare,
    compare_gradients,
    generator,
    gradients,
    known_as,
    require,
    unpack,
)
from minran.workshop.course.planted import MADE_WRONG, planted

MODULES = {
    "mask of the second stage": "stages.1.1.mask",
    "trunk of the third stage": "stages.2.1.trunk",
    "first max-pool of the first stage's mask": "stages.0.1.mask.body.pool",
    "logits": "fc",
}


def check_0_1(names: Any) -> None:
    """follow the boxes from the outside to the inside, and write their names"""
    what = f"names must be a dictionary, got {type(names).__name__}"
    require(isinstance(names, dict), what, "", f"with the keys {', '.join(MODULES)}")
    known = dict(create_model("attention_small_cifar").named_modules())
    for what, right in MODULES.items():
        there = f"names has {', '.join(map(str, names))}"
        require(what in names, f"{what!r} has no name yet", there)
        name = names[what]
        if name is ...:
            raise NotImplementedError(what)
        where = f"names[{what!r}] = {name!r}"
        if not isinstance(name, str) or name not in known:
            raise Wrong(
                f"the network has no module {name!r}",
                where,
                "stages are counted from 0, and so are places in a stage: stages.0.1 is the "
                "attention module of the first stage",
            )
        kind, wanted = (type(known[one]).__name__ for one in (name, right))
        alike = "it is a module of the right kind at another place; count stages from 0"
        hint = alike if kind == wanted else ""
        require(name == right, f"this is not the {what}: it is a {kind}", where, hint)


def check_0_2(gated: Function) -> None:
    """where M is 0, H must be T itself; where M is 1, twice T (Eq. 3)"""
    rng = generator(2)
    mask, trunk = rng.uniform(0, 1, (2, 3, 3, 4)), rng.standard_normal((2, 3, 3, 4))
    compare("H", gated(mask.copy(), trunk.copy()), ops.gate(tensor(mask), tensor(trunk)))


def check_1_1(vjp_mul: Function) -> None:
    """each factor's derivative is the other factor, and gy multiplies it"""
    rng = generator(101)
    a, b = rng.standard_normal((2, 3, 4))
    _, gy, ga, gb = gradients(rng, operator.mul, a, b)
    got = unpack("vjp_mul", vjp_mul(gy, a, b), "ga", "gb")
    compare("ga", got[0], ga)
    compare("gb", got[1], gb)

    class Yours(Mul):
        def backward(self, gy: Any) -> Any:
            return tuple(vjp_mul(gy, self.a, self.b))

    compare_gradients("a * b with your vjp_mul", lambda a, b: Yours()(a, b), a, b)


def check_1_2(vjp_sum: Function) -> None:
    """every x along the axis entered the sum once, with factor 1: each gets the same number of gy;
    np.expand_dims puts the lost axis back
    """
    rng = generator(102)
    for shape, axis in (((4, 3), 0), ((4, 3), 1), ((2, 5, 3), 1), ((3, 3), 1)):
        _, gy, gx = gradients(rng, Tensor.sum, rng.standard_normal(shape), axis=axis)
        compare("gx", vjp_sum(gy, shape, axis), gx, where=f"shape {shape}, axis {axis}")


_VJPS: dict[Function, Function] = {
    operator.mul: lambda gy, p, q: (gy * q, gy * p),
    operator.add: lambda gy, p, q: (gy, gy),
    Tensor.sum: lambda gy, p: (gy * np.ones(3),),
}
_TAPES: dict[str, tuple[tuple[str, str, Function], ...]] = {
    "a chain": (("u", "ab", operator.mul), ("L", "u", Tensor.sum)),
    "a value used twice": (("u", "aa", operator.mul), ("L", "u", Tensor.sum)),
    "a value used by two branches": (
        ("u", "ab", operator.mul),
        ("v", "ua", operator.mul),
        ("w", "vu", operator.add),
        ("L", "w", Tensor.sum),
    ),
    "a sum, which gives one array to both of its inputs": (
        ("u", "ab", operator.mul),
        ("v", "ab", operator.mul),
        ("w", "ua", operator.add),
        ("s", "wv", operator.add),
        ("L", "s", Tensor.sum),
    ),
}
"""By case: the name of each value, the names of what it is made of, and how."""


def _walked(reverse: Function, case: str, *leaves: np.ndarray) -> Any:
    """What the function makes of a tape; the tape is written where the function lives."""
    values, tape = {name: tensor(x) for name, x in zip("ab", leaves, strict=True)}, []
    for name, inputs, function in _TAPES[case]:
        given = [values[one] for one in inputs]
        values[name] = function(*given)
        tape.append((name, tuple(inputs), _vjp(function, *(one.numpy() for one in given))))
    return reverse(tape, "L")


def _vjp(function: Function, *inputs: np.ndarray) -> Callable[[Any], Any]:
    return lambda gy: _VJPS[function](gy, *inputs)


def _reverse(add: Function) -> Function:
    def reverse(tape: Any, last: str) -> dict[str, Any]:
        found: dict[str, Any] = {last: np.ones(())}
        for output, inputs, vjp in reversed(tape):
            for name, gradient in zip(inputs, vjp(found[output]), strict=True):
                found[name] = add(found[name], gradient) if name in found else gradient
        return found

    return reverse


def check_1_3(reverse: Function) -> None:
    """a name that is used twice gets two gradients: do they add up? And is an entry visited only
    when its own gradient is complete, so newest first?
    """
    in_place = (
        "g[name] += x changes the array itself, and one array may be the gradient of two names: "
        "write g[name] = g[name] + x"
    )
    rng = generator(103)
    for case in _TAPES:
        leaves = rng.standard_normal((2, 3))
        got = beside(_walked, reverse, case, *leaves)
        adders = operator.add, operator.iadd
        right, changed = (_walked(_reverse(add), case, *leaves) for add in adders)
        kind, hint = type(got).__name__, "return the dictionary of gradients"
        require(isinstance(got, dict), f"reverse returned a {kind}", case, hint)
        # Leaves first: what is wrong there says most.
        for name in sorted(right):
            hint = "is every entry of the tape visited?"
            require(name in got, f"there is no gradient of {name}", case, hint)
            hint = known_as(got[name], right[name], {in_place: changed[name]})
            compare(f"the gradient of {name}", got[name], right[name], hint, where=case)


def check_2_1(central_gradient: Function) -> None:
    """one entry at a time: (f(x + h e_i) - f(x - h e_i)) / (2 h)"""
    rng = generator(201)
    for shape in ((4,), (2, 3)):
        x = rng.standard_normal(shape)
        before = x.copy()
        got = central_gradient(lambda x: float((x**3).sum()), x, 1e-3)
        # (x + h)^3 - (x - h)^3 over 2 h is 3 x^2 + h^2: h shows that the difference is central.
        expected = 3 * before**2 + 1e-6
        compare("the gradient", got, expected, tol=1e-9, where=f"f = sum of x^3, {shape}")
        # x + h - 2 h + h may round.
        compare("x after the call", x, before, "put every entry back, or move a copy", tol=1e-12)


def check_2_2(unbroadcast: Function) -> None:
    """first sum over the axes in front that the shape lacks, then over those where the shape has 1
    and grad has more; the result must have the shape asked for
    """
    rng = generator(202)
    for shape, full, words in (
        ((3, 4), (3, 4), "no broadcasting"),
        ((3, 1), (3, 4), "an axis of size 1 was stretched"),
        ((4,), (3, 4), "an axis was added in front"),
        ((1, 4), (2, 3, 4), "one axis added, one stretched"),
        ((1, 1), (1, 4), "an axis of size 1 stayed as it is"),
        ((), (2, 3), "a number"),
    ):
        _, grad, gx, _ = gradients(rng, operator.add, np.zeros(shape), np.zeros(full))
        where = f"{words}: {full} -> {shape}"
        compare("the gradient", unbroadcast(grad, shape), gx, where=where)


def check_2_3(culprit: Any) -> None:
    """run gradcheck on every suspect; an error of 1e-9 is rounding, an error of 1e-2 is a bug; a
    kink is no bug
    """
    suspects = planted()
    among = f"one of {', '.join(suspects)}"
    what = f"the answer must be a name, got {type(culprit).__name__}"
    require(isinstance(culprit, str), what, "", among)
    name = culprit.strip()
    require(name in suspects, f"there is no suspect {name!r}", "", among)
    function, inputs = suspects[name]
    error = gradcheck(function, *inputs).relative_error
    found = f"gradcheck of {name} finds a largest error of {error:.0e}"
    require(name == MADE_WRONG, f"the gradient of {name} is right", found)


# Windows that overlap, that meet edge to edge, that leave gaps; rows unlike columns.
_WINDOWS: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((1, 6, 6, 1), (2, 2), (2, 2), (0, 0)),
    ((2, 5, 5, 2), (3, 3), (1, 1), (0, 0)),
    ((2, 5, 5, 2), (3, 3), (1, 1), (1, 1)),
    ((2, 7, 6, 3), (3, 3), (2, 2), (1, 1)),
    ((1, 6, 8, 2), (3, 2), (2, 3), (1, 0)),
    ((2, 7, 5, 3), (1, 1), (2, 2), (0, 0)),
)


def _words(shape: Any, kernel: Any, stride: Any, padding: Any) -> str:
    out = [conv_output_size(shape[1 + d], kernel[d], stride[d], padding[d]) for d in (0, 1)]
    words = "x {}, kernel {}, stride {}, padding {}, output {} x {}"
    return words.format(shape, kernel, stride, padding, *out)


def check_3_1(col2im: Function) -> None:
    """windows[:, i, j, a, b] came from the padded pixel (i stride + a, j stride + b): a is the row,
    b the column, each with its own stride
    """
    rim = "the rim that padding added is no part of the image: cut it off at the end"
    overlap = (
        "the pixels that one window reads are right, those that several windows read are not: "
        "(3.10) is a sum over all of them"
    )
    rng = generator(31)
    for shape, kernel, stride, padding in _WINDOWS:
        places = kernel[0] * kernel[1] * shape[3]
        # With the identity as weights, conv2d is im2col, and its backward pass is col2im.
        copies = np.eye(places).reshape(*kernel, shape[3], places)
        x, options = rng.standard_normal(shape), {"stride": stride, "padding": padding}
        _, gcolumns, gx, _ = gradients(rng, ops.conv2d, x, copies, **options)
        got = col2im(gcolumns.reshape(-1, places), shape, kernel, stride, padding)
        padded = (shape[0], shape[1] + 2 * padding[0], shape[2] + 2 * padding[1], shape[3])
        known: dict[str, Any] = {rim: np.shape(got) == padded != shape}
        if kernel > stride:
            known[overlap] = lambda got, gx: 0 < np.isclose(got, gx).mean() < 1
        where = _words(shape, kernel, stride, padding)
        compare("gx", got, gx, known_as(got, gx, known), where=where)


def check_3_2(conv2d_backward: Function) -> None:
    """(3.8) first: g times W transposed has the shape of cols(x); then col2im"""
    rng = generator(32)
    for shape, kernel, stride, padding in _WINDOWS:
        x, w = rng.standard_normal(shape), rng.standard_normal((*kernel, shape[3], 4))
        _, gy, gx, gw = gradients(rng, ops.conv2d, x, w, stride=stride, padding=padding)
        given = {"gy": gy.copy(), "x": x.copy(), "w": w.copy()}
        answered = conv2d_backward(*given.values(), stride, padding)
        got = unpack("conv2d_backward", answered, "gx", "gw")
        where = _words(shape, kernel, stride, padding)
        hint = "(3.7): every column of w met cols(x); nothing else"
        compare("gw", got[1], gw, hint, where=where)
        compare("gx", got[0], gx, where=where)
        for (name, after), before in zip(given.items(), (gy, x, w), strict=True):
            compare(name, after, before, "backward must leave what it is given as it is", 0, where)


# Two numbers a channel would not do: then gx is all rounding, for any inputs.
_MAPS = ((4, 3, 5, 2), (3, 1, 1, 3), (6, 2, 2, 1))


def check_4_1(batch_norm_backward: Function) -> None:
    """(4.9): g minus its mean minus xhat times the mean of g xhat, all times gamma inv_std"""
    axes = 0, 1, 2
    sums = "(4.5): sums, not means, over batch, rows and columns; one number for each channel"
    mode = "this is evaluation, (4.14): in training x acts through the mean and variance too"
    centred = "the mean is taken out; what x does through the variance is missing"
    shifts = (
        "the right gx adds up to 0 in every channel, for shifting x changes nothing; yours does "
        "not: look at the term with gbeta"
    )
    rng = generator(41)
    for shape in _MAPS:
        channels = shape[3]
        # A large mean and a small eps: what a wrong sum does is seen.
        x = 2 + 3 * rng.standard_normal(shape)
        gamma, beta = rng.uniform(0.5, 2, channels), rng.standard_normal(channels)
        running = {"running_mean": np.zeros(channels), "running_var": np.ones(channels)}
        _, gy, *right = gradients(rng, ops.batch_norm, x, gamma, beta, **running, training=True)
        mean, inv_std = x.mean(axes), 1 / np.sqrt(x.var(axes) + 1e-5)
        scale = gamma * inv_std
        known = {
            mode: scale * gy,
            shifts: lambda got, _: not np.allclose(got.sum(axes), 0, atol=1e-8),
            centred: scale * (gy - gy.mean(axes)),
        }
        answered = batch_norm_backward(gy, x, gamma, mean, inv_std)
        gx, ggamma, gbeta = unpack("batch_norm_backward", answered, "gx", "ggamma", "gbeta")
        where = f"x {shape}"
        compare("ggamma", ggamma, right[1], sums, where=where)
        compare("gbeta", gbeta, right[2], sums, where=where)
        compare("gx", gx, right[0], known_as(gx, right[0], known), where=where)


def check_4_2(update_running: Function) -> None:
    """(4.11): the same average as for the mean, of the unbiased variance (divisor m - 1)"""
    rng = generator(42)
    for shape, momentum in product(_MAPS, (0.1, 0.3)):
        layer = nn.BatchNorm2d(shape[3], momentum=momentum, dtype=np.float64)
        layer.running_mean[...] = rng.standard_normal(shape[3])
        layer.running_var[...] = rng.uniform(1, 3, shape[3])
        mean, var = layer.running_mean.copy(), layer.running_var.copy()
        x = 4 + rng.standard_normal(shape)
        layer(tensor(x))
        biased = (1 - momentum) * var + momentum * x.var((0, 1, 2))
        answered = update_running(mean, var, x, momentum)
        new_mean, new_var = unpack("update_running", answered, "running_mean", "running_var")
        where = f"x {shape}, momentum {momentum}"
        hint = "momentum is the weight of the new value, 1 - momentum that of the old"
        compare("running_mean", new_mean, layer.running_mean, hint, where=where)
        known = {"this is the biased variance: (4.13) says what corrects it": biased}
        hint = known_as(new_var, biased, known)
        compare("running_var", new_var, layer.running_var, hint, where=where)


def check_5_1(pool_size: Function) -> None:
    """(5.2): how often does the stride fit into size + 2 padding - kernel? Then one more"""
    for size, kernel, stride, padding, ceil in np.ndindex(14, 4, 4, 3, 2):
        pool = size + 1, kernel + 1, stride + 1, padding
        try:
            right, floor = pool_output_size(*pool, bool(ceil)), conv_output_size(*pool)
        except ShapeError:
            continue
        got = pool_size(*pool, bool(ceil))
        where = "{} pixels, kernel {}, stride {}, padding {}".format(*pool)
        where += f", {'ceil' if ceil else 'floor'} mode"
        if not isinstance(got, (int, np.integer)):
            hint = "// divides whole numbers and rounds down; -(-a // b) rounds up, without floats"
            raise Wrong(f"pool_size returned {got!r}, expected a whole number", where, hint)
        last, hint = (stride + 1) * (int(got) - 1), ""
        if ceil and got == right + 1 and last >= size + 1 + padding:
            hint = f"your last window starts at padded place {last}, the last real pixel is at "
            hint += f"{size + padding}: the condition of (5.3)"
        elif ceil and got == floor:
            hint = "this is floor mode: in ceil mode a window may overhang"
        require(got == right, f"pool_size returned {got}, expected {right}", where, hint)


def check_5_2(max_pool_backward: Function) -> None:
    """the winner of window (i, j) is pixel (i stride + a, j stride + b)"""
    rng = generator(52)
    several = "a pixel can win several windows, and then gets the sum of what they send (5.5)"
    first = "of equal maxima only the first, row by row, gets the gradient"
    start = "window (i, j) starts at pixel (i stride, j stride), whatever the kernel is"
    for words, x, kernel, stride, hint in (
        ("no overlap", rng.standard_normal((6, 6)), 2, 2, ""),
        ("a window overhangs the edge", rng.standard_normal((5, 7)), 2, 2, ""),
        ("gaps between windows", rng.standard_normal((8, 8)), 2, 3, start),
        ("windows overlap", rng.standard_normal((8, 7)), 3, 2, several),
        ("all values negative", -1 - rng.random((6, 6)), 3, 2, ""),
        ("equal maxima in a window", rng.integers(0, 3, (8, 8)).astype(float), 3, 2, first),
    ):
        pool = {"kernel_size": kernel, "stride": stride, "ceil_mode": True}
        _, gy, gx = gradients(rng, ops.max_pool2d, x[None, :, :, None], **pool)
        got = max_pool_backward(gy[0, :, :, 0], x, kernel, stride)
        where = f"{words}, x {x.shape}, kernel {kernel}, stride {stride}"
        compare("gx", got, gx[0, :, :, 0], hint, where=where)


def check_5_3(upsample_backward: Function) -> None:
    """(5.12): R_h transposed along the rows of gy, R_w transposed along its columns"""
    rng = generator(53)
    shapes = (2, 3, 3, 2), (1, 2, 5, 3), (2, 6, 4, 1), (1, 1, 1, 2)
    cases = tuple(zip(shapes, ((6, 6), (7, 9), (3, 8), (4, 3)), strict=True))
    averages = (
        "the adjoint sums, it does not average: what arrives in gx adds up to what there is in gy, "
        "for the rows of R add up to 1"
    )
    for align_corners, (shape, size) in product((True, False), cases):
        how = {"size": size, "align_corners": align_corners}
        _, gy, gx = gradients(rng, ops.upsample_bilinear2d, rng.standard_normal(shape), **how)
        got = upsample_backward(gy, shape, align_corners)
        known = {averages: lambda got, gx: got.sum() and gx.sum() / got.sum() > 1.5}
        where = f"{shape[1:3]} -> {size}, align_corners={align_corners}"
        compare("gx", got, gx, known_as(got, gx, known), where=where)


_FAR = np.array([[0.0], [1000], [-1000]] * 2)


def check_6_1(cross_entropy_gradient: Function) -> None:
    """(6.6): softmax of each row, minus its targets, over the number of rows"""
    overflow = (
        "exp gave infinity, or zeros alone: take out of each row its own largest score first, "
        "(6.2); one number for the whole batch is not enough"
    )
    sign = "the sign: the loss falls when the label's score grows, so its gradient is < 0"
    mean = "the loss is a mean over the images: where is 1/N?"
    rows = "each row must add up to 0: does each row of p add up to 1?"
    rng = generator(61)
    soft = rng.dirichlet(np.ones(4), 6)
    for where, logits, targets in (
        ("hard labels", rng.standard_normal((5, 3)), np.eye(3)[[0, 2, 2, 1, 0]]),
        ("one image", rng.standard_normal((1, 4)), soft[:1]),
        ("soft targets", 2 * rng.standard_normal((6, 4)), soft),
        ("scores around 1000", 1000 + 3 * rng.standard_normal((6, 4)), soft),
        ("rows around 0, 1000, -1000", _FAR + 3 * rng.standard_normal((6, 4)), soft),
    ):
        leaf = tensor(logits.copy(), requires_grad=True)
        ops.cross_entropy(leaf, targets.copy()).backward()
        right: Any = leaf.grad
        with np.errstate(over="ignore", invalid="ignore"):
            got = cross_entropy_gradient(logits, targets.copy())
        known: dict[str, Any] = {overflow: lambda got, _: not np.isfinite(got).all()}
        known |= {sign: -right, mean: right * len(right)}
        known[rows] = lambda got, _: not np.allclose(got.sum(1), 0)
        compare("the gradient", got, right, known_as(got, right, known), where=where)


def check_6_2(nesterov_step: Function) -> None:
    """(6.16): the step is lr times (g + momentum v), with the new v and g with its decay"""
    plain = "(6.16): v is momentum times the old v plus the gradient; lr is no part of it"
    decayed = "the decay is part of the gradient (6.20), so the velocity collects it too"
    rng = generator(62)
    for momentum, weight_decay, lr in ((0.9, 0.0, 0.1), (0.5, 0.0, 0.02), (0.9, 0.1, 0.1)):
        weights = tensor(rng.standard_normal((2, 3)), requires_grad=True)
        sgd = optim.SGD([weights], lr, momentum, nesterov=True, weight_decay=weight_decay)
        p, v = weights.numpy().copy(), np.zeros((2, 3))
        for step in range(4):
            grad = rng.standard_normal((2, 3))
            weights.grad = grad.copy()
            sgd.step()
            if step == 0:  # the answer begins with a velocity
                p, v = weights.numpy().copy(), sgd.velocity[0].copy()
                continue
            got = nesterov_step(p.copy(), grad.copy(), v.copy(), lr, momentum, weight_decay)
            g = grad + weight_decay * p
            new = momentum * v + g
            known = {
                "this step is the new v, which is g + momentum times the old v: the heavy ball "
                "(6.11); Nesterov's is g + momentum times the new v": p - lr * new,
                "this step is made with v as it was before its update": p - lr * v,
                "the sign: down the slope": p + lr * (g + momentum * new),
            }
            where = f"step {step}, momentum {momentum}, weight_decay {weight_decay}, lr {lr}"
            new_p, new_v = unpack("nesterov_step", got, "p", "v")
            compare("v", new_v, sgd.velocity[0], decayed if weight_decay else plain, where=where)
            compare("p", new_p, weights.numpy(), known_as(new_p, p, known), where=where)
            p, v = np.asarray(new_p), np.asarray(new_v)
