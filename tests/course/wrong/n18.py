"""Plausible wrong answers to the tasks of notebook 18."""

from __future__ import annotations

import numpy as np

from minran import nn, ops
from minran.models import MaskBranch
from minran.models.units import Build
from minran.workshop.course.gates import SqueezeExciteParts


def at_every_position(channels, size, reduction=4):
    few = channels // reduction
    return 2 * channels * few + few + channels, 2 * channels * few * size**2


def no_bias(channels, size, reduction=4):
    return 2 * channels * (channels // reduction), 2 * channels * (channels // reduction)


def one_layer(channels, size, reduction=4):
    few = channels // reduction
    return channels * few + few, channels * few


class NoReLU(SqueezeExciteParts):
    def forward(self, u):
        s = ops.sigmoid(self.expand(self.reduce(self.squeeze(u))))
        return self.spread(s.reshape(len(u), 1, 1, -1), u)


class NoSigmoid(SqueezeExciteParts):
    def forward(self, u):
        s = self.expand(ops.relu(self.reduce(self.squeeze(u))))
        return self.spread(s.reshape(len(u), 1, 1, -1), u)


class NotSpread(SqueezeExciteParts):
    def forward(self, u):
        return ops.sigmoid(self.expand(ops.relu(self.reduce(self.squeeze(u)))))


class Gated(SqueezeExciteParts):
    def forward(self, u):
        s = ops.sigmoid(self.expand(ops.relu(self.reduce(self.squeeze(u)))))
        return u * self.spread(s.reshape(len(u), 1, 1, -1), u)


class ChannelOnly(SqueezeExciteParts):
    def __init__(self, channels, rng):
        super().__init__(channels, 16, rng)

    def forward(self, u):
        s = ops.sigmoid(self.expand(ops.relu(self.reduce(self.squeeze(u)))))
        return self.spread(s.reshape(len(u), 1, 1, -1), u)


class LocalOnly(nn.Module):
    def __init__(self, channels, rng):
        self.reduce = nn.Conv2d(channels, channels // 16, 1, rng=rng)
        self.expand = nn.Conv2d(channels // 16, channels, 1, bias=True, rng=rng)

    def forward(self, u):
        return ops.sigmoid(self.expand(ops.relu(self.reduce(u))))


class Unbounded(LocalOnly):
    def forward(self, u):
        return self.expand(ops.relu(self.reduce(u)))


class OneMap(nn.Module):
    def __init__(self, channels, rng):
        self.score = nn.Conv2d(channels, 1, 1, rng=rng)

    def forward(self, u):
        return ops.sigmoid(self.score(u))


class Costly(MaskBranch):
    def __init__(self, channels, rng):
        super().__init__(Build(rng), channels, 1, 1, "mixed", "hourglass")


class Unused(LocalOnly):
    def __init__(self, channels, rng):
        super().__init__(channels, rng)
        self.pool = nn.GlobalAvgPool()
        self.spare = nn.Linear(channels, 1, rng=np.random.default_rng(0))

    def forward(self, u):
        whole = self.pool(u).sum(axis=1).reshape(-1, 1, 1, 1)
        return ops.sigmoid(self.expand(ops.relu(self.reduce(u) + whole)))


WRONG = {
    "18.1": [
        ("runs at every position", at_every_position),
        ("forgets the biases", no_bias),
        ("only the first layer", one_layer),
    ],
    "18.2": [
        ("no ReLU between the layers", NoReLU),
        ("no sigmoid", NoSigmoid),
        ("one number a channel, not spread", NotSpread),
        ("gates the input instead of giving the gate", Gated),
        ("an object", SqueezeExciteParts(8)),
    ],
    "18.3": [
        ("does not know positions", ChannelOnly),
        ("sees one position only", LocalOnly),
        ("no sigmoid", Unbounded),
        ("one map for all channels", OneMap),
        ("an hourglass of depth 1", Costly),
        ("a layer that is not used", Unused),
    ],
}
