"""Plausible wrong answers to the tasks of notebook 11."""

from __future__ import annotations


def count(projections=True, norms_in_units=True, last_norm=True, bias=10):
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
    "11.1": [
        ("the usual p and t always", lambda m, p=1, t=2: 36 * m + 20),
        ("p on one side", lambda m, p=1, t=2: 9 * m * (p + t) + 20),
        ("counts units", lambda m, p=1, t=2: 3 * m * (2 * p + t) + 8),
        ("forgets the first units", lambda m, p=1, t=2: 9 * m * (2 * p + t) + 11),
    ],
    "11.2": [
        ("forgets projections", count(projections=False)),
        ("forgets the norms of the units", count(norms_in_units=False)),
        ("forgets the last norm", count(last_norm=False)),
        ("forgets the classifier's bias", count(bias=0)),
    ],
    "11.3": [
        ("forgets the skips", work(skips=False)),
        ("all maps of full size", work(shrink=False)),
        ("forgets the head", work(head=False)),
        ("rounds sizes up", work(half=lambda n: (n + 1) // 2)),
    ],
}
