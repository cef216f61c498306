"""Plausible wrong answers to the exercises of notebook 06."""

import numpy as np


def _softmax(z, shift=True):
    with np.errstate(over="ignore", invalid="ignore"):
        e = np.exp(z - z.max(1, keepdims=True) if shift else z)
        return e / e.sum(1, keepdims=True)


def overflows(logits, targets):
    """exp of the scores as they are."""
    return (_softmax(logits, shift=False) - targets) / len(logits)


def forgets_the_mean(logits, targets):
    """Without 1/N."""
    return _softmax(logits) - targets


def wrong_sign(logits, targets):
    """Target minus probability."""
    return (targets - _softmax(logits)) / len(logits)


def softmax_over_the_batch(logits, targets):
    """Normalises columns instead of rows."""
    return (_softmax(logits.T).T - targets) / len(logits)


def heavy_ball(p, grad, v, lr, momentum, weight_decay):
    """Momentum without Nesterov's look ahead."""
    v = momentum * v + grad + weight_decay * p
    return p - lr * v, v


def steps_with_the_old_velocity(p, grad, v, lr, momentum, weight_decay):
    """g + momentum times the velocity of before."""
    g = grad + weight_decay * p
    return p - lr * (g + momentum * v), momentum * v + g


def decays_outside_of_the_velocity(p, grad, v, lr, momentum, weight_decay):
    """Decoupled decay: another method."""
    v = momentum * v + grad
    return p - lr * (grad + momentum * v) - lr * weight_decay * p, v


def learning_rate_in_the_velocity(p, grad, v, lr, momentum, weight_decay):
    """v = momentum v - lr g: the form of (6.15)."""
    g = grad + weight_decay * p
    v = momentum * v - lr * g
    return p + momentum * v - lr * g, v


WRONG = {
    "06.1": [
        ("overflows", overflows),
        ("forgets the mean", forgets_the_mean),
        ("wrong sign", wrong_sign),
        ("softmax over the batch", softmax_over_the_batch),
    ],
    "06.2": [
        ("heavy ball", heavy_ball),
        ("steps with the old velocity", steps_with_the_old_velocity),
        ("decays outside of the velocity", decays_outside_of_the_velocity),
        ("learning rate in the velocity", learning_rate_in_the_velocity),
    ],
}
