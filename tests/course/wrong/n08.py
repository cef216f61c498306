"""Plausible wrong answers to the tasks of notebook 08."""

from __future__ import annotations

from minran.models import Hourglass


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


class StaysSmall(Hourglass):
    def forward(self, x):
        d = self.down(self.pool(x))
        return self.up(self.skip(d) + self.inner(d)) if self.depth > 1 else self.bottom(d)


def count(units, with_norms=True):
    def module_parameters(channels, depth, p=1, t=2, r=1):
        norms = 1 if with_norms else 0
        unit = 17 * channels**2 // 16 + norms * 3 * channels
        return units(p, t, r, depth) * unit + 2 * channels**2 + norms * 4 * channels

    return module_parameters


WRONG = {
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
    ],
    "08.3": [
        ("no batch norms", count(lambda p, t, r, d: 2 * p + t + 2 * d * r + d - 1, False)),
        ("forgets the skips", count(lambda p, t, r, d: 2 * p + t + 2 * d * r)),
        ("only r units at the bottom", count(lambda p, t, r, d: 2 * p + t + 2 * d * r + d - 1 - r)),
        ("p units on one side only", count(lambda p, t, r, d: p + t + 2 * d * r + d - 1)),
    ],
}
