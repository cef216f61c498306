"""The figure that a notebook shows without pyplot: the only file that needs matplotlib to begin."""

from __future__ import annotations

import io
import re
import warnings
from typing import Any

from matplotlib.figure import Figure


class Picture(Figure):
    """A Figure that a notebook shows without pyplot; `savefig` writes it."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=110)
        return buffer.getvalue()

    def savefig(self, *args: Any, **options: Any) -> None:
        """As Matplotlib's, but letters that the font lacks make one warning, not hundreds."""
        missing: set[str] = set()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            super().savefig(*args, **options)
        for one in caught:
            if found := re.match(r"Glyph (\d+) ", str(one.message)):
                missing.add(chr(int(found[1])))
            else:
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        if missing:
            letters = " ".join(sorted(missing)[:8]) + (" ..." if len(missing) > 8 else "")
            words = f"the figure's font has no letters for {letters}: boxes stand in their place"
            warnings.warn(words, stacklevel=2)
