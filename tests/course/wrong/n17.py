"""Plausible wrong answers to the tasks of notebook 17."""

from __future__ import annotations

import numpy as np


def intensity(operations, numbers):
    def conv_intensity(pixels, channels_in, channels_out, kernel=1):
        weights = kernel * kernel * channels_in * channels_out
        return operations * pixels * weights / (4 * numbers(pixels, channels_in, channels_out))

    return conv_intensity


def one_barrier(thread, threads, cells, values):
    cells[thread] = sum(values[thread::threads])
    yield
    half = threads // 2
    while half:
        if thread < half:
            cells[thread] += cells[thread + half]
        half //= 2


def barrier_in_the_branch(thread, threads, cells, values):
    cells[thread] = sum(values[thread::threads])
    half = threads // 2
    while half:
        if thread < half:
            yield
            cells[thread] += cells[thread + half]
        half //= 2


def no_stride(thread, threads, cells, values):
    cells[thread] = values[thread] if thread < len(values) else 0
    half = threads // 2
    while half:
        yield
        if thread < half:
            cells[thread] += cells[thread + half]
        half //= 2


def one_thread(thread, threads, cells, values):
    cells[thread] = sum(values[thread::threads])
    yield
    if thread == 0:
        cells[0] = cells.sum()


def no_barrier(thread, threads, cells, values):
    cells[thread] = sum(values[thread::threads])


def many_maps(x, gamma, beta, mean, var, eps, out):
    y = gamma * ((x - mean) / np.sqrt(var + eps)) + beta
    out[...] = np.where(y > 0, y, 0)


def five_passes(x, gamma, beta, mean, var, eps, out):
    np.subtract(x, mean, out=out)
    np.divide(out, np.sqrt(var + eps), out=out)
    np.multiply(out, gamma, out=out)
    np.add(out, beta, out=out)
    np.maximum(out, 0, out=out)


def in_place(x, gamma, beta, mean, var, eps, out):
    x -= mean
    np.multiply(x, gamma / np.sqrt(var + eps), out=out)
    np.add(out, beta, out=out)
    np.maximum(out, 0, out=out)


def folded(scale, relu=True, kind=np.float32):
    def fast_norm_relu(x, gamma, beta, mean, var, eps, out):
        a = scale(gamma, var, eps).astype(kind)
        np.multiply(x, a, out=out)
        np.add(out, (beta - mean * a).astype(np.float32), out=out)
        if relu:
            np.maximum(out, 0, out=out)

    return fast_norm_relu


def right_scale(gamma, var, eps):
    return gamma / np.sqrt(var + eps)


def returns_only(x, gamma, beta, mean, var, eps, out):
    scale = gamma / np.sqrt(var + eps)
    return np.maximum(x * scale + (beta - mean * scale), 0)


WRONG = {
    "17.1": [
        ("counts a multiply-add once", intensity(1, lambda p, i, o: p * (i + o) + i * o)),
        ("forgets the output", intensity(2, lambda p, i, o: p * i + i * o)),
        ("forgets the weights", intensity(2, lambda p, i, o: p * (i + o))),
    ],
    "17.2": [
        ("one barrier only", one_barrier),
        ("a barrier that some never reach", barrier_in_the_branch),
        ("only the first numbers", no_stride),
        ("one thread adds the cells", one_thread),
        ("no tree at all", no_barrier),
    ],
    "17.3": [
        ("as it was", many_maps),
        ("no fresh memory, five passes", five_passes),
        ("overwrites x", in_place),
        ("forgets the ReLU", folded(right_scale, relu=False)),
        ("divides by the variance", folded(lambda gamma, var, eps: gamma / (var + eps))),
        ("forgets eps", folded(lambda gamma, var, eps: gamma / np.sqrt(var))),
        ("rounds the scale to half", folded(right_scale, kind=np.float16)),
        ("returns a new map", returns_only),
    ],
}
