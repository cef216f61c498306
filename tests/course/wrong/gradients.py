"""Plausible wrong answers to the tasks of notebooks 00 to 02."""

from __future__ import annotations

import numpy as np

RIGHT = {
    "mask of the second stage": "stages.1.1.mask",
    "trunk of the third stage": "stages.2.1.trunk",
    "first max-pool of the first stage's mask": "stages.0.1.mask.body.pool",
    "logits": "fc",
}


def assigns_gradients(tape, last):
    gradients = {last: np.ones(())}
    for output, inputs, vjp in reversed(tape):
        for name, gradient in zip(inputs, vjp(gradients[output]), strict=True):
            gradients[name] = gradient
    return gradients


def oldest_first(tape, last):
    gradients = {last: np.ones(())}
    for output, inputs, vjp in tape:
        gy = gradients.get(output, np.ones(()))
        for name, gradient in zip(inputs, vjp(gy), strict=True):
            gradients[name] = gradients.get(name, 0) + gradient
    return gradients


def forgets_the_inputs_of_the_first(tape, last):
    gradients = {last: np.ones(())}
    for output, inputs, vjp in reversed(tape[1:]):
        for name, gradient in zip(inputs, vjp(gradients[output]), strict=True):
            gradients[name] = gradients.get(name, 0) + gradient
    return gradients


def adds_in_place(tape, last):
    gradients = {last: np.ones(())}
    for output, inputs, vjp in reversed(tape):
        for name, gradient in zip(inputs, vjp(gradients[output]), strict=True):
            if name in gradients:
                gradients[name] += gradient
            else:
                gradients[name] = gradient
    return gradients


def leaves_only(tape, last):
    everything = forgets_nothing(tape, last)
    return {name: everything[name] for name in "ab" if name in everything}


def forgets_nothing(tape, last):
    gradients = {last: np.ones(())}
    for output, inputs, vjp in reversed(tape):
        for name, gradient in zip(inputs, vjp(gradients[output]), strict=True):
            gradients[name] = gradients.get(name, 0) + gradient
    return gradients


def one_sided(f, x, h):
    gradient = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        moved = x.copy()
        moved[i] += h
        gradient[i] = (f(moved) - f(x)) / h
    return gradient


def divides_by_h(f, x, h):
    gradient = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[i] = h
        gradient[i] = (f(x + step) - f(x - step)) / h
    return gradient


def moves_all_at_once(f, x, h):
    return np.full(x.shape, (f(x + h) - f(x - h)) / (2 * h))


def leaves_x_moved(f, x, h):
    gradient = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        x[i] += h
        ahead = f(x)
        x[i] -= 2 * h
        gradient[i] = (ahead - f(x)) / (2 * h)
    return gradient


def only_added_axes(grad, shape):
    return grad.sum(tuple(range(grad.ndim - len(shape))))


def only_stretched_axes(grad, shape):
    axes = tuple(i for i, n in enumerate(shape) if n == 1)
    return grad.sum(axes, keepdims=True) if axes else grad


def takes_a_slice(grad, shape):
    for _ in range(grad.ndim - len(shape)):
        grad = grad[0]
    return grad[tuple(slice(0, n) for n in shape)]


def means(grad, shape):
    added = grad.ndim - len(shape)
    axes = [*range(added), *(added + i for i, n in enumerate(shape) if n == 1)]
    return grad.mean(tuple(axes), keepdims=True).reshape(shape)


WRONG = {
    "00.1": [
        ("counts stages from 1", RIGHT | {"mask of the second stage": "stages.2.1.mask"}),
        ("takes the stage's first unit", RIGHT | {"trunk of the third stage": "stages.2.0.trunk"}),
        ("takes the stem's pool", RIGHT | {"first max-pool of the first stage's mask": "stem.1"}),
        ("forgets one", {key: name for key, name in RIGHT.items() if key != "logits"}),
    ],
    "00.2": [
        ("naive attention", lambda M, T: M * T),
        ("1 in the wrong place", lambda M, T: 1 + M * T),
        ("adds the mask", lambda M, T: M + T),
    ],
    "01.1": [
        ("takes its own factor", lambda gy, a, b: (gy * a, gy * b)),
        ("forgets gy", lambda gy, a, b: (b, a)),
        ("adds instead of multiplying", lambda gy, a, b: (gy + b, gy + a)),
        ("returns one array", lambda gy, a, b: gy * b),
    ],
    "01.2": [
        (
            "divides, as a mean would",
            lambda gy, shape, axis: np.broadcast_to(np.expand_dims(gy, axis) / shape[axis], shape),
        ),
        ("forgets to repeat", lambda gy, shape, axis: gy),
        ("repeats along the first axis", lambda gy, shape, axis: np.resize(gy, shape)),
        ("ones, without gy", lambda gy, shape, axis: np.ones(shape)),
    ],
    "01.3": [
        ("assigns instead of adding", assigns_gradients),
        ("walks oldest first", oldest_first),
        ("stops too early", forgets_the_inputs_of_the_first),
        ("adds in place", adds_in_place, "one array may be the gradient of two names"),
        ("returns the gradients of the leaves alone", leaves_only, "no gradient of L"),
    ],
    "02.1": [
        ("a one-sided difference", one_sided),
        ("divides by h", divides_by_h),
        ("moves every entry at once", moves_all_at_once),
        ("leaves x moved", leaves_x_moved, "put every entry back"),
    ],
    "02.2": [
        ("sums over added axes only", only_added_axes),
        ("sums over stretched axes only", only_stretched_axes),
        ("cuts instead of summing", takes_a_slice),
        ("takes the mean", means),
        ("does nothing", lambda grad, shape: grad),
    ],
    "02.3": [
        ("accuses the kink", "max pool"),
        ("accuses the convolution", "convolution"),
        ("names something else", "softmax"),
    ],
}
