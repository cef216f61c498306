"""Plausible wrong answers to the tasks of notebooks 07 to 11."""

from __future__ import annotations

import numpy as np

from minran import create_model, nn, ops
from minran.inspect import summary
from minran.models import AttentionModule, Hourglass
from minran.models.units import Build, PreActUnit

BUILD = Build(np.random.default_rng(0))


def _count(cin, cout, stride=1, norms=True, projects=None, inner=None):
    inner = inner or cout // 4
    total = cin * inner + 9 * inner * inner + inner * cout
    if norms:
        total += 2 * (cin + 2 * inner)
    if projects is None:
        projects = cin != cout or stride != 1
    return total + cin * cout * projects


def forgets_batch_norm(cin, cout, stride=1):
    return _count(cin, cout, stride, norms=False)


class _Unit(nn.Module):
    always = False
    bias = False
    strided = "conv2"

    def __init__(self, cin, cout, stride=1):
        inner = cout // 4
        first = stride if self.strided == "conv1" else 1
        self.norm1 = nn.BatchNormReLU(cin)
        self.conv1 = nn.Conv2d(cin, inner, 1, stride=first)
        self.norm2 = nn.BatchNormReLU(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride // first, padding=1, bias=self.bias)
        self.norm3 = nn.BatchNormReLU(inner)
        self.conv3 = nn.Conv2d(inner, cout, 1)
        self.shortcut = None
        if self.always or cin != cout or stride != 1:
            self.shortcut = nn.Conv2d(cin, cout, 1, stride=stride)

    def branch(self, a):
        y = self.conv2(self.norm2(self.conv1(a)))
        return self.conv3(self.norm3(y))

    def forward(self, x):
        a = self.norm1(x)
        return self.branch(a) + (x if self.shortcut is None else self.shortcut(a))


class ProjectsTheRawInput(_Unit):
    def forward(self, x):
        return self.branch(self.norm1(x)) + (x if self.shortcut is None else self.shortcut(x))


class AlwaysProjects(_Unit):
    always = True


class EndsWithReLU(_Unit):
    def forward(self, x):
        return ops.relu(super().forward(x))


class ForgetsTheShortcut(_Unit):
    def forward(self, x):
        return self.branch(self.norm1(x))


class AddsThePreActivated(_Unit):
    def forward(self, x):
        a = self.norm1(x)
        return self.branch(a) + (a if self.shortcut is None else self.shortcut(a))


class StridesTooEarly(_Unit):
    strided = "conv1"


class HasABias(_Unit):
    bias = True


class TheLibrarys(PreActUnit):
    def __init__(self, cin, cout, stride=1):
        super().__init__(BUILD, cin, cout, stride)


class TheLibrarysForward(_Unit):
    def forward(self, x):
        return PreActUnit.forward(self, x)


def heights(pool):
    def mask_heights(size, depth):
        way = [size]
        for _ in range(depth):
            way.append(pool(way[-1]))
        return way[1:] + way[-2::-1]

    return mask_heights


class NoSkip(Hourglass):
    def forward(self, x):
        d = self.down(self.pool(x))
        y = self.up(self.inner(d)) if self.depth > 1 else self.bottom(d)
        return self.interpolate(y, x)


class PlainSkip(Hourglass):
    def forward(self, x):
        d = self.down(self.pool(x))
        y = self.up(d + self.inner(d)) if self.depth > 1 else self.bottom(d)
        return self.interpolate(y, x)


class AddsTheInput(Hourglass):
    def forward(self, x):
        d = self.down(self.pool(x))
        y = self.up(self.skip(d) + self.inner(d)) if self.depth > 1 else self.bottom(d)
        return self.interpolate(y, x) + x


class Unchanged(Hourglass):
    pass


class AsksTheLibrary(Hourglass):
    def forward(self, x):
        return super().forward(x)


class StaysSmall(Hourglass):
    def forward(self, x):
        d = self.down(self.pool(x))
        return self.up(self.skip(d) + self.inner(d)) if self.depth > 1 else self.bottom(d)


def module_count(units, with_norms=True):
    def module_parameters(channels, depth, p=1, t=2, r=1):
        norms = 1 if with_norms else 0
        unit = 17 * channels**2 // 16 + norms * 3 * channels
        return units(p, t, r, depth) * unit + 2 * channels**2 + norms * 4 * channels

    return module_parameters


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def factor(mask, learning):
    return 1 + mask if learning == "residual" else mask


def spatial(axes=(1, 2), sigmoid=True, mean_term=True, stretch_term=True, scaled=True):
    def backward(gy, x, y, mean, inv_std):
        scale = inv_std[:, None, None, :]
        z = (x - mean[:, None, None, :]) * scale
        h = gy * y * (1 - y) if sigmoid else gy
        gx = h.copy()
        gx -= h.mean(axis=axes, keepdims=True) if mean_term else 0
        gx -= z * (h * z).mean(axis=axes, keepdims=True) if stretch_term else 0
        return gx * scale if scaled else gx

    return backward


def channel(along):
    return lambda gy, y, norm: (gy - y * along(gy, y)) / norm[..., None]


def network_count(projections=True, norms_in_units=True, last_norm=True, bias=10):
    def count_parameters(m, p=1, t=2, r=1, norms=True):
        n = 1 if norms else 0

        def unit(before, channels):
            inner = channels // 4
            weights = before * inner + 9 * inner * inner + inner * channels
            if before != channels and projections:
                weights += before * channels
            return weights + (n * 2 * (before + 2 * inner) if norms_in_units else 0)

        total, before = 432, 16
        for channels, depth in ((64, 3), (128, 2), (256, 1)):
            units = 2 * p + t + 2 * depth * r + depth - 1
            head = 2 * channels**2 + n * 4 * channels
            total += unit(before, channels) + m * (units * unit(channels, channels) + head)
            before = channels
        return total + 3 * unit(256, 256) + (n * 512 if last_norm else 0) + 2560 + bias

    return count_parameters


def work(skips=True, shrink=True, head=True, half=lambda n: n // 2):
    def module_multiply_adds(size, channels, depth, p=1, t=2, r=1):
        unit = 17 * channels**2 // 16
        total = (2 * p + t) * unit * size**2 + (2 * channels**2 * size**2 if head else 0)
        for level in range(1, depth + 1):
            size = half(size) if shrink else size
            total += (2 * r + (1 if level < depth and skips else 0)) * unit * size**2
        return total

    return module_multiply_adds


WRONG = {
    "07.1": [
        ("forgets batch norm", forgets_batch_norm),
        ("never projects", lambda cin, cout, stride=1: _count(cin, cout, stride, projects=False)),
        ("always projects", lambda cin, cout, stride=1: _count(cin, cout, stride, projects=True)),
        (
            "a quarter of cin",
            lambda cin, cout, stride=1: _count(cin, cout, stride, inner=cin // 4),
            "cout / 4",
        ),
        (
            "asks the library",
            lambda *case: PreActUnit(BUILD, *case).num_parameters(),
            "write the answer yourself",
        ),
    ],
    "07.2": [
        ("projects the raw input", ProjectsTheRawInput),
        ("always projects", AlwaysProjects),
        ("ends with a ReLU", EndsWithReLU),
        ("forgets the shortcut", ForgetsTheShortcut),
        ("adds the pre-activated input", AddsThePreActivated),
        ("strides too early", StridesTooEarly),
        ("has a bias", HasABias),
        ("the library's unit", TheLibrarys, "write the answer yourself"),
        ("the library's forward", TheLibrarysForward),
    ],
    "08.1": [
        ("rounds down", heights(lambda h: (h - 3) // 2 + 1)),
        ("pads, so that odd sizes round up", heights(lambda h: (h + 1) // 2)),
        ("only the way down", lambda size, depth: [size >> k for k in range(1, depth + 1)]),
    ],
    "08.2": [
        ("forgets the skip", NoSkip),
        ("the skip is no unit", PlainSkip),
        ("adds the input of the level", AddsTheInput),
        ("does not interpolate at the end", StaysSmall),
        ("an instance's method", NoSkip.forward),
        ("nothing written", Unchanged, "write the answer yourself"),
        ("asks the library", AsksTheLibrary),
    ],
    "08.3": [
        ("no batch norms", module_count(lambda p, t, r, d: 2 * p + t + 2 * d * r + d - 1, False)),
        ("forgets the skips", module_count(lambda p, t, r, d: 2 * p + t + 2 * d * r)),
        (
            "only r units at the bottom",
            module_count(lambda p, t, r, d: 2 * p + t + 2 * d * r + d - 1 - r),
        ),
        ("p units on one side only", module_count(lambda p, t, r, d: p + t + 2 * d * r + d - 1)),
        ("asks the library", lambda *case: AttentionModule(BUILD, *case).num_parameters()),
    ],
    "09.1": [
        ("the naive gate for both", lambda gy, m, t, learning: (gy * t, gy * m)),
        (
            "adds T to the mask's gradient",
            lambda gy, m, t, learning: (
                gy * (1 + t) if learning == "residual" else gy * t,
                gy * factor(m, learning),
            ),
        ),
        ("swaps the two", lambda gy, m, t, learning: (gy * factor(m, learning), gy * t)),
        ("forgets gy", lambda gy, m, t, learning: (t, factor(m, learning))),
        (
            "through the sigmoid too",
            lambda gy, m, t, learning: (gy * t * m * (1 - m), gy * factor(m, learning)),
        ),
    ],
    "09.2": [
        ("only through the trunk", lambda x, a, b, learning: factor(sigmoid(b * x), learning) * a),
        (
            "forgets b",
            lambda x, a, b, learning: (
                factor(sigmoid(b * x), learning) * a + a * x * sigmoid(b * x) * (1 - sigmoid(b * x))
            ),
        ),
        (
            "residual for both",
            lambda x, a, b, learning: (
                (1 + sigmoid(b * x)) * a + a * x * b * sigmoid(b * x) * (1 - sigmoid(b * x))
            ),
        ),
    ],
    "09.3": [
        ("adds", lambda masks, learning: factor(masks, learning).sum(0)),
        ("the 1 outside the product", lambda masks, learning: factor(masks.prod(0), learning)),
        ("mean masks", lambda masks, learning: factor(masks.mean(0), learning) ** len(masks)),
        ("one number", lambda masks, learning: factor(masks, learning).prod()),
    ],
    "10.1": [
        ("as if the length were constant", lambda gy, y, norm: gy / norm[..., None]),
        ("over positions", channel(lambda gy, y: (gy * y).sum(axis=(1, 2), keepdims=True))),
        ("a mean instead of a sum", channel(lambda gy, y: (gy * y).mean(axis=-1, keepdims=True))),
        ("forgets the length", lambda gy, y, norm: gy - y * (gy * y).sum(-1, keepdims=True)),
        ("the sum of gy alone", channel(lambda gy, y: gy.sum(axis=-1, keepdims=True))),
        ("sigmoid's", lambda gy, y, norm: gy * y * (1 - y)),
    ],
    "10.2": [
        ("averages over the batch, as batch norm", spatial(axes=(0, 1, 2))),
        ("forgets the sigmoid", spatial(sigmoid=False)),
        ("forgets the mean", spatial(mean_term=False)),
        ("forgets the variance", spatial(stretch_term=False)),
        ("forgets to divide", spatial(scaled=False)),
        ("only the sigmoid", lambda gy, x, y, mean, inv_std: gy * y * (1 - y)),
        ("over channels", lambda gy, x, y, mean, inv_std: np.zeros_like(x)),
    ],
    "11.1": [
        ("the usual p and t always", lambda m, p=1, t=2: 36 * m + 20),
        ("p on one side", lambda m, p=1, t=2: 9 * m * (p + t) + 20),
        ("counts units", lambda m, p=1, t=2: 3 * m * (2 * p + t) + 8),
        ("forgets the first units", lambda m, p=1, t=2: 9 * m * (2 * p + t) + 11),
        (
            "asks the library",
            lambda m, p=1, t=2: summary(create_model("attention56_cifar", p=p, t=t)).trunk_depth,
        ),
    ],
    "11.2": [
        ("forgets projections", network_count(projections=False)),
        ("forgets the norms of the units", network_count(norms_in_units=False)),
        ("forgets the last norm", network_count(last_norm=False)),
        ("forgets the classifier's bias", network_count(bias=0)),
    ],
    "11.3": [
        ("forgets the skips", work(skips=False)),
        ("all maps of full size", work(shrink=False)),
        ("forgets the head", work(head=False)),
        ("rounds sizes up", work(half=lambda n: (n + 1) // 2)),
        (
            "asks the library",
            lambda size, *case: summary(AttentionModule(BUILD, *case), size).multiply_adds,
        ),
    ],
}
