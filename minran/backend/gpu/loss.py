"""Softmax, cross-entropy, the record of a step and the optimiser's: `loss.cu`, `optim.cu`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minran.backend.gpu import launch
from minran.backend.gpu.launch import Array, Program, empty, empty_like, operand, operands
from minran.errors import expect

_LOSS, _OPTIM = Program("loss.cu", launch.real), Program("optim.cu", launch.real)


def _rows(kernel: str, *arrays: Array) -> Array:
    """One block for each row along the last axis."""
    inputs = operands(*arrays)
    y = empty_like(inputs[0])
    _LOSS.lines(kernel, y, y.size // y.shape[-1], *inputs, y, y.shape[-1])
    return y


softmax, softmax_backward = launch.pair_of(_rows, "softmax")
log_softmax, log_softmax_backward = launch.pair_of(_rows, "log_softmax")


def cross_entropy(logits: Array, targets: Array) -> tuple[Array, Array]:
    """L = -1/N sum_nk t_nk log p_nk: the loss (a 0-d array) and log p (N, K)."""
    logits, targets = operands(logits, targets)
    log_probabilities = log_softmax(logits)
    loss = empty((), logits.dtype)
    _LOSS.lines("cross_entropy", logits, 1, log_probabilities, targets, loss, *logits.shape)
    return loss, log_probabilities


def cross_entropy_backward(gy: Array, log_probabilities: Array, targets: Array) -> Array:
    """glogits = gy (p sum_k t_k - t) / N; gy is a 0-d array."""
    log_probabilities, targets, gy = operands(log_probabilities, targets, gy)
    glogits = empty_like(targets)
    args = gy, log_probabilities, targets, glogits, *targets.shape
    _LOSS.lines("cross_entropy_backward", gy, len(targets), *args)
    return glogits


def record_step(
    loss: Array, logits: Array, truth: Array, seed_and_step: Array, outcomes: Array
) -> None:
    """outcomes[step % slots] = the loss, and how many rows of logits are largest at the truth.

    loss: 0-d; logits (N, K) and truth (N, K), which is 1 at the true class; outcomes: (slots, 2).
    seed_and_step: (2,) uint32 as for `augmented_batch`. Nobody waits: the host reads many steps
    at once.
    """
    logits, loss, truth = operands(logits, loss, truth)
    expect(
        outcomes.dtype == logits.dtype and outcomes.ndim == 2 and outcomes.shape[1] == 2,
        f"record_step: outcomes must be (slots, 2) {logits.dtype}, got "
        f"{outcomes.dtype} {outcomes.shape}",
    )
    args = loss, logits, truth, seed_and_step, outcomes, len(outcomes), *logits.shape
    _LOSS.lines("record_step", logits, 1, *args)


def sgd_update(
    param: Array,
    grad: Array,
    velocity: Array,
    lr: float | Array,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
) -> None:
    """In place: g += wd p; v = mu v + g; p -= lr (g + mu v) if `nesterov`, else lr v.

    One launch, whatever the shape: give it one flat buffer of all parameters. `lr` is a number,
    or an array of one number on the device, which is read when the step runs: a captured step
    follows it.
    """
    number = param.dtype.type
    on_device = not isinstance(lr, (int, float, np.generic))
    p, g, v = operands(param, grad, velocity)
    rate = number(0 if on_device else lr), operand(lr, p.dtype) if on_device else None
    args = p, g, v, *rate, number(momentum), number(weight_decay), nesterov, p.size
    _OPTIM.fill("sgd_update", p, *args)
    launch.put_back((param, velocity), (p, v))


GATHER_BLOCKS = 16
"""Blocks that copy one array in `gather`; those for which nothing is left end at once."""


def addresses(arrays: Sequence[Array]) -> np.ndarray:
    """Where each array starts in the device's memory, as `gather` wants it: (P,) uint64."""
    return np.array([launch.device().address(array) for array in arrays], np.uint64)


def gather(table: Array, places: Array, flat: Array) -> None:
    """flat[first : first + size] = the array at table[p], for (first, size) = places[p].

    table: (P,) uint64 on the device, from `addresses`; places: (P, 2) int32. One launch brings
    all gradients together. The arrays must be contiguous, of flat's dtype, and still there when
    the kernel runs.
    """
    grid, instance = (GATHER_BLOCKS, len(table)), f"gather<{launch.real(flat.dtype)}>"
    _OPTIM.launch(instance, grid, (launch.THREADS,), table, places, flat)
