"""Every kernel as its equation, over numbers: the oracle, and the place to start reading.

Read in this order: `loops`, `conv`, `pool`, `activation`, `norm`, `loss`. Slow on purpose: each
kernel spells its equation and nothing else, and the fast backends are tested against it. Where
one letter can stand for a whole array, it does; all else is loops over numbers.

A backward kernel is the adjoint of its forward kernel, spelled by the same loops. For what is
linear there is one rule: wherever forward reads `x[p]`, multiplies by a weight and adds to
`y[q]`, backward reads `gy[q]`, multiplies by the same weight and adds to `gx[p]`. (`gy` is the
gradient of the loss with respect to y: it has y's shape, as `gx` has x's.)

Letters: N images, H rows, W columns, C channels; OH, OW the rows and columns of an output;
`stride`, `padding` and `kernel` are pairs (rows, columns). All kernels calculate in float64 and
return the dtype of their first array; `in_float64` does that, so that no equation has to.
"""

import numpy as np

from minran.backend.contract import kernels_of
from minran.backend.naive import activation, conv, loss, norm, pool

name, xp = "naive", np

globals().update(kernels_of(activation, conv, loss, norm, pool))
