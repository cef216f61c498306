"""Results that the notebooks read instead of training for an hour: `docs/results`, in short.

    python -m minran.workshop.course.shipped docs/results/ablations-nano

writes `logs/ablations.json` next to this file anew from what `minran ablate` has reported there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from minran.errors import DataError, expect

KEPT = ("row", "column", "seeds", "values", "paper", "parameters")
FILE = Path(__file__).with_name("logs") / "ablations.json"


def ablation(name: str) -> list[dict[str, Any]]:
    """The cells of one of the paper's tables in small, as `minran ablate` has measured them.

    name: "table1", "table3", "table4", "table5" or "figure4". Each cell has `row`, `column`,
    `seeds`, `values` (one for each seed, mostly test errors in %), `paper` (the paper's number,
    or None) and `parameters`.

    Raises DataError for another name.
    """
    known: dict[str, list[dict[str, Any]]] = json.loads(FILE.read_text(encoding="utf-8"))
    expect(name in known, f"there is no ablation {name!r}; known: {', '.join(known)}", DataError)
    return known[name]


def collect(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What `ablation` hands out, from the reports in a folder that `minran ablate` has written."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        found[path.stem] = [{key: cell.get(key) for key in KEPT} for cell in cells]
    return found


if __name__ == "__main__":
    FILE.write_text(json.dumps(collect(Path(sys.argv[1])), indent=1) + "\n", encoding="utf-8")
    print(FILE)
