"""The largest memory this process ever held."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_bytes() -> int:
    """Bytes of resident memory at the process's peak.

    Linux's VmHWM counts this program alone. `ru_maxrss` would hand on the peak of the
    parent that started it, so a small program started from a large one looks large; it is
    what there is elsewhere.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
