"""Stochastic gradient descent with Nesterov momentum, and learning-rate schedules."""

from minran.optim.flat import FlatSGD
from minran.optim.schedules import Schedule, constant, cosine, multistep, one_cycle
from minran.optim.sgd import SGD

__all__ = ["SGD", "FlatSGD", "Schedule", "constant", "cosine", "multistep", "one_cycle"]
