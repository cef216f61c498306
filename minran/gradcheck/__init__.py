"""Is a gradient right, and if not, where is it wrong: read `check`, then `report`, `cases`.

>>> from minran import ops
>>> from minran.gradcheck import gradcheck
>>> import numpy as np
>>> x = np.random.default_rng(0).standard_normal((2, 4, 4, 3))
>>> gradcheck(lambda x: ops.upsample_bilinear2d(x, 7), x).passed
True
"""

from minran.gradcheck.cases import OPS, check_op
from minran.gradcheck.check import gradcheck
from minran.gradcheck.report import Direction, Entry, GradcheckReport, InputReport

__all__ = [
    "OPS",
    "Direction",
    "Entry",
    "GradcheckReport",
    "InputReport",
    "check_op",
    "gradcheck",
]
