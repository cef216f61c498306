"""The outputs in notebooks/*.ipynb: GitHub, nbviewer and JupyterLab show them without a run.

python docs/_ext/outputs.py          # of the notebooks that have none: their code has changed
python docs/_ext/outputs.py 03 17    # of these anew

They are those of the solution copy, run as for the site (docs/_ext/learn.py) or kept from there.
Every viewer shows text and PNG files; SVG, style sheets and HTML in general some show and some do
not. So a figure becomes a PNG of 256 colours, a drawing is drawn by Chromium, and of figures to
choose from the first one stays. Words for those who do not see a figure stand in its metadata,
which not every viewer reads. A task and its check have no outputs, nor has what is shown once it
has passed.
"""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import learn
from nbformat.v4 import new_output
from PIL import Image

from minran.workshop.course.copies import (
    Notebook,
    code_cells,
    make_pair,
    notebook_files,
    read_notebook,
    read_pair,
    to_text,
)
from minran.workshop.course.slides import BROWSERS

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

_FIGURE = re.compile(
    r'<figure class="[^"]*"( hidden)?><figcaption>(.*?)</figcaption>(.*?)</figure>', re.S
)
_IMAGE = re.compile(r'<img src="data:image/png;base64,([^"]+)"[^>]* alt="([^"]*)"')
_SVG = re.compile(r"<svg .*?</svg>", re.S)


def write(notebook: Notebook, node: Any) -> Path:
    """Write the pair with the outputs of the solution copy that ran."""
    target = notebook.path.with_suffix(".ipynb")
    target.write_text(to_text(make_pair(notebook, outputs(node))), encoding="utf-8", newline="\n")
    return target


def outputs(node: Any) -> list[Any]:
    """The outputs of the solution copy as the pair has them, a list for each code cell."""
    return [[] if of_a_task(cell) else list(still(cell.outputs)) for cell in code_cells(node)]


def of_a_task(cell: Any) -> bool:
    """Is it a task, its check, or what a passed check gives free?"""
    return "nbgrader" in cell.metadata or bool(re.search(r'\bafter="\d', cell.source))


def still(found: list[Any]) -> Iterator[Any]:
    """Outputs as every viewer shows them."""
    for output in _printed_at_once(found):
        data = output.get("data", {})
        html = data.get("text/html", "")
        if output.output_type in ("stream", "error"):
            yield output
        elif "image/png" in data:
            yield _figure(data["image/png"], output.metadata["image/png"]["alt"])
        elif "image/svg+xml" in data:
            yield _drawing(data["image/svg+xml"])
        elif figures := _FIGURE.findall(html):
            yield from _steps(figures, to_choose="<span>" in html)
        else:
            yield new_output("display_data", data=data)


def _printed_at_once(found: list[Any]) -> list[Any]:
    """Outputs whose printed parts are joined: where they end depends on the clock."""
    joined: list[Any] = []
    for output in found:
        last = joined[-1] if joined else None
        if last and "name" in last and last.get("name") == output.get("name"):
            joined[-1] = new_output("stream", name=last.name, text=last.text + output.text)
        else:
            joined.append(output)
    return joined


def _steps(figures: list[tuple[str, str, str]], to_choose: bool) -> Iterator[Any]:
    """The figures of `frames`, each after its caption; of `explore` the one shown first."""
    for hidden, caption, body in figures:
        if hidden and to_choose:
            continue
        words = unescape(caption)
        if to_choose:
            words += f"\n(one of {len(figures)} figures: run the cell to choose others)"
        yield new_output("display_data", data={"text/plain": words})
        if image := _IMAGE.search(body):
            yield _figure(image[1], unescape(image[2]))
        else:
            yield _drawing(body)


def _figure(png: str, words: str) -> Any:
    """A PNG with at most 256 colours, each at most 16 of 255 from the one it stands for."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    few = image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, "PNG", optimize=True)
    data = {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": words}
    return new_output("display_data", data=data, metadata={"image/png": {"alt": words}})


def _drawing(html: str) -> Any:
    """An SVG drawn by Chromium."""
    svg = _SVG.search(html)[0]
    words = f"drawing of {unescape(re.search('<title>(.*?)</title>', svg)[1])}"
    size = tuple(int(re.search(rf'{side}="(\d+)"', svg)[1]) for side in ("width", "height"))
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"drawings need a browser, one of {', '.join(BROWSERS)}")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "drawing.svg"), Path(folder, "drawing.png")
        source.write_text(svg, encoding="utf-8")
        window = f"--window-size={max(size[0], 600)},{size[1] + 200}"
        flags = [
            "--headless",
            "--no-sandbox",
            "--hide-scrollbars",
            f"--screenshot={target}",
            window,
        ]
        command = [browser, *flags, source.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        buffer = io.BytesIO()
        Image.open(target).crop((0, 0, *size)).save(buffer, "PNG")
    return _figure(base64.b64encode(buffer.getvalue()).decode(), words)


def gist(found: list[Any]) -> list[str]:
    """What code alone decides of a cell's outputs: the sources shown, a figure, or only text."""
    shown = set()
    for output in found:
        data = output.get("data", {})
        html = data.get("text/html", "")
        if "minran-source" in html:
            shown.add(re.sub(r"lines \d+-\d+", "", data["text/plain"]))
        elif "image/png" in data or "image/svg+xml" in data or _FIGURE.search(html):
            shown.add("figure")
    return sorted(shown) or ["text"] * bool(found)


def main(numbers: list[str]) -> None:
    """Write the pairs that lack outputs, or those of some numbers."""
    kept = Path(os.environ.get("MINRAN_EXECUTED") or NOTEBOOKS.parent / "docs/_build/executed")
    for notebook in map(read_notebook, notebook_files(NOTEBOOKS)):
        lacks = "outputs" not in read_pair(notebook).metadata["minran"]
        if notebook.number in numbers or (lacks and not numbers):
            print(write(notebook, learn.executed(notebook, kept)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
