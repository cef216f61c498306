"""Cycles of a warp for an instruction, from the convolutions that were timed: JSON.

After `git archive 2a98190 minran/backend | tar x -C OLD`: `python reckon.py OLD kernels-128.txt`.
"""

import json
import re
import sys
from pathlib import Path

from minran import machine
from minran.backend.gpu import cuda
from minran.workshop.bench import static

NAMES = "conv_forward", "conv_input", "conv_filters"
CARD = static.CARDS["H200"]


def reckoned(cycles: float) -> dict[str, float]:
    """Milliseconds of a step in each kernel."""
    card = CARD._replace(cycles=cycles)
    times = ((each.kernel, static.seconds(each, loops, card)) for each in launches)
    times = list(times)
    return {name: 1e3 * sum(time for kernel, time in times if kernel == name) for name in NAMES}


text = Path(sys.argv[2]).read_text()
found = re.findall(r"([\d.]+) ms +\d+ x +[\d.]+ us +void (conv_\w+)\n", text)
measured = {name: float(time) for time, name in found}
cuda._FOLDER = Path(sys.argv[1], "minran/backend/gpu/kernels")
# The templates of that commit end with the piece.
launches = [
    each._replace(instance=re.sub(r", float, \w+, \w+>$", ">", each.instance))
    for each in static.launches_of_step("attention56_cifar", 128)
    if each.steps
]
loops = static.loops(sorted({each.instance for each in launches}))
low, high = 1.0, 20.0
for _ in range(40):
    cycles = (low + high) / 2
    less = sum(reckoned(cycles).values()) < sum(measured.values())
    low, high = (cycles, high) if less else (low, cycles)
rows = {"cycles": cycles, "measured": measured, "reckoned": reckoned(cycles)}
print(json.dumps({"environment": machine.facts(), "commit": "2a98190", **rows}, indent=1))
