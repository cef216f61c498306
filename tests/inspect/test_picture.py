"""A figure in a notebook: what it says to those who do not see it, and its dark colours."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.image import imread

from minran.inspect.picture import Picture, darkened
from minran.inspect.style import colour_bar, dress, legend, new_figure, row_label, show, theme
from minran.inspect.themes import DARK, LIGHT, ON_ANY, PAGES, SYMBOLS, in_colours, symbol_colour


def figure_of_all() -> Picture:
    """A panel of curves, a map with words on it, bars."""
    figure, colours = new_figure(6, 2, dark=False), theme()
    left, middle, right = figure.subplots(1, 3)
    dress(left, colours, "Loss", "step", "cross-entropy")
    left.plot([1, 2], "o-", color=colours.line(0), label="with masks")
    left.annotate("here", (0, 1), (1, 1), color=colours.text, arrowprops={"color": colours.faint})
    legend(left, colours)
    drawn = show(middle, np.eye(4), colours, "mask M", cmap="Blues")
    middle.text(0, 0, "1", color=colours.text)
    colour_bar(figure, drawn, middle, colours, "value")
    dress(right, colours, "Right", "", "share").bar(["a", "b"], [1, 2], color=colours.colours[:2])
    return figure


def test_a_figure_says_what_is_seen() -> None:
    figure = figure_of_all()
    said = "plot: Loss: cross-entropy over step: with masks; image: mask M; bars: Right: share; "
    assert figure.seen() == said + "colours: value"
    data, about = figure._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG") and "text/html" not in data
    assert about["image/png"]["alt"] == figure.seen()
    figure.alt = "Both fall."
    assert figure._repr_mimebundle_()[1]["image/png"]["alt"] == "Both fall."


def test_light_and_dark_have_one_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the resolution that is shown: letters of another one have other widths."""
    figure, positions = new_figure(9.2, 3.6, False), []
    for row, *_ in figure.subplots(3, 8):
        row_label(row, "pad, crop, mirror (the paper)", theme())
    layout, png = figure.get_layout_engine(), figure._repr_png_

    def drawn() -> bytes:
        data = png()
        positions.append(figure.axes[0].get_position().bounds)
        return data

    monkeypatch.setattr(figure, "_repr_png_", drawn, raising=False)
    monkeypatch.setenv(PAGES, "1")
    figure._repr_mimebundle_()
    light, dark = positions
    assert light == dark and figure.get_layout_engine() is layout


def test_a_drawing_says_its_words() -> None:
    figure = new_figure(2, 1, dark=False)
    axes = figure.subplots()
    axes.set_axis_off()
    for words in ("pool", "32", "one unit", "pool"):
        axes.text(0, 0, words)
    assert figure.seen() == "drawing: pool, one unit"


def corner(html: str, kind: str) -> tuple[float, ...]:
    """The colour of the first pixel of the image of a kind."""
    (data,) = re.findall(rf'base64,([^"]+)" class="only-{kind}" alt="Loss &lt;', html)
    return tuple(imread(io.BytesIO(base64.b64decode(data)))[0, 0, :3])


def test_pages_have_it_in_light_and_in_dark(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = figure_of_all()
    figure.alt = "Loss <"
    monkeypatch.setenv(PAGES, "1")
    html = figure._repr_mimebundle_()[0]["text/html"]
    assert corner(html, "light") == pytest.approx((1, 1, 1))
    dark = tuple(int(DARK.paper[k : k + 2], 16) / 255 for k in (1, 3, 5))
    assert corner(html, "dark") == pytest.approx(dark, abs=0.01)


def test_dark_colours_are_lent() -> None:
    figure = figure_of_all()
    left, middle, right = figure.axes[:3]
    look = {
        "line": left.lines[0].get_color,
        "marker": left.lines[0].get_markerfacecolor,
        "bar": lambda: right.patches[1].get_facecolor(),
        "title": left.title.get_color if left.get_title() else left._left_title.get_color,
        "arrow": left.texts[0].arrow_patch.get_edgecolor,
        "on a map": middle.texts[0].get_color,
    }
    before = {name: get() for name, get in look.items()}
    figure.draw_without_rendering()
    with darkened(figure):
        within = {name: get() for name, get in look.items()}
    assert {name: get() for name, get in look.items()} == before
    assert within["line"] == within["marker"] == to_rgba(DARK.line(0))
    assert before["line"] == LIGHT.line(0) and before["on a map"] == LIGHT.text
    assert within.pop("on a map") == before["on a map"], "the map below it stays light"
    assert not [name for name, colour in within.items() if colour == before[name]]


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_one_colour_for_equation_code_and_figure(symbol: str) -> None:
    light, dark = SYMBOLS[symbol]
    pair = f"light-dark({light}, {dark})"
    assert f".symbol-{symbol} {{ color: {pair} }}" in (ROOT / "docs/_static/minran.css").read_text()
    page = (ROOT / "minran/live/page/live.css").read_text()
    assert symbol == "g" or pair in page
    for colour, paper in ((light, LIGHT.paper), (dark, DARK.paper)):
        assert contrast(colour, paper) > 4.5
    # One colour for white and for JupyterLab's dark paper has the root of their contrast at most.
    most = contrast("#ffffff", "#111111") ** 0.5
    for paper in ("#ffffff", "#111111"):
        assert contrast(ON_ANY[symbol], paper) > 0.98 * most
    assert (
        symbol_colour("g of M", LIGHT) == symbol_colour("gradient of T", LIGHT) == SYMBOLS["g"][0]
    )
    assert symbol_colour("logits", LIGHT) == LIGHT.text


def test_formulas_of_mask_and_trunk_have_colours() -> None:
    g, mask = (rf"{{\color{{{ON_ANY[name]}}}" for name in "gM")
    assert in_colours("$g_T = g\\,(1 + M)$") == (
        rf"${g}{{g_T}}}} = {g}{{g}}}}\,(1 + {mask}{{M}}}})$"
    )
    assert in_colours("$M \\underbrace{T}$") == (
        rf"${mask}{{M}}}} \underbrace{{{{\color{{{ON_ANY['T']}}}{{T}}}}}}$"
    )
    plain = "`$M T$` and $N \\times H$, $M^T$, $M x_{T}$, $\\mathrm{TM}$"
    assert in_colours(plain) == plain


def contrast(colour: str, paper: str) -> float:
    """The contrast of WCAG."""
    dim, bright = sorted(map(luminance, (colour, paper)))
    return (bright + 0.05) / (dim + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance, as the contrast of WCAG defines it."""
    parts = (int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))
