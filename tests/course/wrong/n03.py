"""Plausible wrong answers to the exercises of notebook 03."""

import numpy as np

from minran.backend import cpu
from minran.backend.geometry import conv_output_size


def _col2im(gcolumns, x_shape, kernel, stride, padding, add=True, swap=False, crop=True):
    n, height, width, channels = x_shape
    (kh, kw), (sh, sw), (ph, pw) = kernel, stride, padding
    ho = conv_output_size(height, kh, sh, ph)
    wo = conv_output_size(width, kw, sw, pw)
    windows = gcolumns.reshape(n, ho, wo, kh, kw, channels)
    padded = np.zeros((n, height + 2 * ph, width + 2 * pw, channels))
    for a in range(kh):
        for b in range(kw):
            at = np.s_[:, a : a + sh * ho : sh, b : b + sw * wo : sw]
            part = windows[:, :, :, a, b]
            if swap and kh == kw:
                part = windows[:, :, :, b, a]
            padded[at] = padded[at] + part if add else part
    return padded[:, ph : ph + height, pw : pw + width] if crop else padded


def forgets_the_overlap(*args):
    """The last window that reads a pixel wins."""
    return _col2im(*args, add=False)


def swaps_rows_and_columns(*args):
    """Place (b, a) instead of (a, b)."""
    return _col2im(*args, swap=True)


def keeps_the_padding(*args):
    """The padded picture comes back."""
    return _col2im(*args, crop=False)


def averages_the_overlap(gcolumns, x_shape, kernel, stride, padding):
    """Undoes im2col: divides by the number of windows that read a pixel."""
    total = _col2im(gcolumns, x_shape, kernel, stride, padding)
    seen = _col2im(np.ones_like(gcolumns), x_shape, kernel, stride, padding)
    return total / np.maximum(seen, 1)


def _backward(gy, x, w, stride, padding, turned=False, mean=False):
    kh, kw, _, outputs = w.shape
    columns = cpu.conv.columns_of(x, (kh, kw), stride, padding, gy.shape[1:3], 1)
    g = gy.reshape(-1, outputs)
    gw = (columns.T @ g).reshape(w.shape)
    if mean:
        gw = gw / len(x)
    weights = w[::-1, ::-1] if turned else w
    gcolumns = g @ weights.reshape(-1, outputs).T
    return _col2im(gcolumns, x.shape, (kh, kw), stride, padding), gw


def turns_the_filter(gy, x, w, stride, padding):
    """Turns the filter although col2im already does what the turn is for."""
    return _backward(gy, x, w, stride, padding, turned=True)


def averages_over_the_batch(gy, x, w, stride, padding):
    """gw divided by the batch size: the loss does that, not the convolution."""
    return _backward(gy, x, w, stride, padding, mean=True)


def swaps_the_results(gy, x, w, stride, padding):
    """(gw, gx)."""
    return _backward(gy, x, w, stride, padding)[::-1]


WRONG = {
    "03.1": [
        ("forgets the overlap", forgets_the_overlap),
        ("swaps rows and columns", swaps_rows_and_columns),
        ("keeps the padding", keeps_the_padding),
        ("averages the overlap", averages_the_overlap),
    ],
    "03.2": [
        ("turns the filter", turns_the_filter),
        ("averages over the batch", averages_over_the_batch),
        ("swaps the results", swaps_the_results),
    ],
}
