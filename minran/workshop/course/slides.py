"""Twelve sets of slides from the notebooks (`minran course slides`): one page of HTML each.

The notebooks are run; a section gives slides with its first sentence, its equations, its figures.
"""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from minran.errors import DataError, MinranError, expect
from minran.files import make_folder, write_atomically
from minran.workshop.course.copies import make_copy, notebook_files, read_notebook, run_cells

SETS = (
    *(("00", "00b", "01"), ("02",), ("03",), ("04", "05"), ("06",), ("07", "08")),
    *(("09", "10"), ("11",), ("12",), ("13", "14", "15"), ("16", "17"), ("18",)),
)
"""The notebooks of each week of the plan for teachers."""

BROWSERS = "chromium", "chromium-browser", "google-chrome"
LEFT_OUT = "Questions", "References"
HEADING = re.compile(r"^## (?=.)", re.M)
EQUATIONS = 3
"""So many on a slide at most."""


def write_slides(week: int, notebooks: str | Path, out: str | Path) -> Path:
    """Run the notebooks of a week and write out/slides-WEEK.html, which needs out/mathjax.js."""
    out = Path(out)
    expect(not out.exists() or out.is_dir(), f"--out: {out} is no folder", DataError)
    files = {file.name.split("_")[0]: file for file in notebook_files(notebooks)}
    mathjax = _mathjax()
    parts: list[str] = []
    for number in SETS[week - 1]:
        expect(number in files, f"there is no notebook {number} in {notebooks}", DataError)
        parts += list(_notebook(files[number]))
    make_folder(out)
    shutil.copyfile(mathjax, out / "mathjax.js")
    page = out / f"slides-{week:02}.html"
    body = "\n".join(f"<section>\n{part}\n</section>" for part in parts)
    write_atomically(page, _PAGE.format(title=f"Week {week}", body=body), DataError)
    return page


def print_pdf(page: Path) -> Path:
    """The slides as a PDF next to them, printed by Chromium. MinranError if there is none."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        what = f"--pdf needs a browser, one of {', '.join(BROWSERS)}; else print {page} from yours"
        raise MinranError(what)
    pdf = page.with_suffix(".pdf")
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    words = ["--headless", "--disable-gpu", "--no-pdf-header-footer", "--virtual-time-budget=60000"]
    command = [browser, *root, *words, f"--print-to-pdf={pdf}", page.absolute().as_uri()]
    pdf.unlink(missing_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    told = done.stderr.strip().rpartition("\n")[2]
    expect(pdf.exists(), f"{browser} wrote no {pdf}: {told}", MinranError)
    return pdf


def _mathjax() -> Path:
    """MathJax with its colours as one file, from the package that the documentation uses."""
    name = "sphinx-mathjax-offline"
    try:
        file = Path(str(distribution(name).locate_file(f"{name}/static/mathjax/tex-svg-full.js")))
    except PackageNotFoundError:
        file = Path()
    what = f'slides need {name} for their equations: pip install "minran[docs,notebooks]"'
    expect(file.is_file(), what, MinranError)
    return file


def _notebook(file: Path) -> Iterator[str]:
    """The slides of a notebook: its title, then those of each section."""
    notebook = read_notebook(file)
    run = run_cells(make_copy(notebook, "solution"), earlier=file.parent)
    errors = (run.error(place) for place in range(len(run.node.cells)))
    wrong = [f"{one[0]}: {one[1]}" for one in errors if one] + list(run.left_out.values())
    expect(not wrong, f"{file.name} did not run: {wrong[:1]}", MinranError)
    yield f'<h1>{html.escape(notebook.title)}</h1>\n<p class="where">notebook {notebook.number}</p>'
    heading = lead = ""
    fresh = False
    for cell in run.node.cells:
        parts = [cell.source] if cell.cell_type == "code" else re.split(HEADING, cell.source)
        for place, part in enumerate(parts):
            if place:  # a section begins
                if lead and not lead.endswith(":</p>\n"):
                    yield _slide(heading, lead)  # nothing else to see in the section before
                title, _, part = part.partition("\n")
                heading, lead, fresh = title.strip(), "", True
            if not heading or heading in LEFT_OUT:
                continue
            if fresh and cell.cell_type == "markdown" and part.strip():
                lead, fresh = _lead(heading, part), False
            for content in (
                _equations(part) if cell.cell_type == "markdown" else _figures(cell, heading)
            ):
                yield _slide(heading, lead + content)
                lead = ""


def _lead(heading: str, text: str) -> str:
    """The first sentence of a section; the points of a summary."""
    if heading == "Summary":
        points = re.findall(r"^[-*] (.+?)(?=^[-*] |\Z|\n\n)", text, re.M | re.S)
        return f"<ul>{''.join(f'<li>{_inline(one)}</li>' for one in points)}</ul>\n"
    plain = [one for one in re.split(r"\n\s*\n|\$\$.+?\$\$", text.strip()) if one[:1].isalpha()]
    sentence = re.match(r".+?[.:?](?=\s+[A-Z$`*(]|\s*$)", plain[0], re.S) if plain else None
    return f"<p>{_inline(sentence[0])}</p>\n" if sentence else ""


def _equations(text: str) -> Iterator[str]:
    """The equations of a text that stand alone, some at a time."""
    text = re.sub(r"<details>.*?</details>", "", text, flags=re.S)
    found = re.findall(r"\$\$(.+?)\$\$", text, re.S)
    shown = [f"<div>$${html.escape(one, quote=False)}$$</div>" for one in found]
    for place in range(0, len(shown), EQUATIONS):
        yield "\n".join(shown[place : place + EQUATIONS])


def _figures(cell: Any, heading: str) -> Iterator[str]:
    """The figures among a cell's outputs, as parts of a page."""
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        if "image/svg+xml" in data:
            yield f"<figure>{data['image/svg+xml']}</figure>"
        elif "image/png" in data:
            source = f"data:image/png;base64,{data['image/png'].strip()}"
            alt = output.get("metadata", {}).get("image/png", {}).get("alt", heading)
            yield f'<figure><img alt="{html.escape(alt)}" src="{source}"></figure>'


def _slide(heading: str, content: str) -> str:
    return f"<h2>{_inline(heading)}</h2>\n{content}"


def _inline(text: str) -> str:
    """Bold, italics, code and links of Markdown; formulas stay for MathJax."""
    text = html.escape(" ".join(text.split()), quote=False)
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
    text = re.sub(r"(?<![*\w$\\])\*([^*$]+)\*(?![*\w])", r"<i>\1</i>", text)
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text)


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<script>
MathJax = {{
  tex: {{ inlineMath: [["$", "$"]] }},
  startup: {{ pageReady: () => MathJax.startup.defaultPageReady().then(() => {{
    for (const one of document.querySelectorAll("section > div")) {{  // no wider than the slide
      const wide = one.scrollWidth / one.clientWidth;
      if (wide > 1) one.style.fontSize = 100 / wide + "%";
    }}
  }}) }}
}};
</script>
<script src="mathjax.js"></script>
<style>
@page {{ size: 1280px 720px; margin: 0 }}
* {{ box-sizing: border-box }}
body {{ margin: 0; font: 28px/1.4 sans-serif; color: #222; background: #ddd }}
section {{ width: 1280px; height: 720px; margin: 0 auto 12px; padding: 40px 70px; background: #fff;
  overflow: hidden; display: flex; flex-direction: column; break-after: page }}
section:last-child {{ break-after: auto }}
h1 {{ margin: auto 0 0; font-size: 60px }}
h2 {{ margin: 0 0 16px; font-size: 38px }}
p, ul {{ margin: 0 0 12px }}
li {{ margin-bottom: 8px; font-size: 24px }}
.where {{ margin-bottom: auto; color: #666 }}
section > div {{ width: 1140px; overflow: hidden }}
figure {{ flex: 1; min-height: 0; margin: 0; display: flex; justify-content: center }}
figure > * {{ width: 100%; height: 100%; object-fit: contain }}
@media print {{ body {{ background: none }} section {{ margin: 0 }} }}
</style>
{body}
</html>
"""
