"""The NumPy kernels: blocks of samples that fit the cache, on every core.

Read in this order: `blocks` (how work is split), `memory` (where arrays come from), then `conv`,
`pool`, `norm`, `fused`, `activation`, `loss`. Each kernel has the name and the meaning of its
equation in `backend/naive`, which is its oracle.
"""

import numpy as np

from minran.backend.contract import kernels_of
from minran.backend.cpu import activation, blocks, conv, fused, loss, memory, norm, pool, product

name, xp = "numpy", np

globals().update(kernels_of(activation, blocks, conv, fused, loss, memory, norm, pool, product))
