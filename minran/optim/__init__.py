"""Stochastic gradient descent with Nesterov momentum, schedules, averaged weights."""

from minran.optim.average import Average
from minran.optim.flat import FlatSGD
from minran.optim.schedules import Schedule, constant, cosine, multistep, one_cycle
from minran.optim.sgd import SGD

__all__ = [
    "SGD",
    "Average",
    "FlatSGD",
    "Schedule",
    "constant",
    "cosine",
    "multistep",
    "one_cycle",
]
