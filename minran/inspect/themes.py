"""The colours of figures, drawings and formulas, on light and on dark pages."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Okabe and Ito's colours: told apart by colour-blind readers, on light and on dark paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8c6bb1")
DARK_COLOURS = ("#56B4E9", "#E69F00", "#2fc79a", "#e39ac4", "#ff7f3b", "#f0e442", "#b59be0")
# Of the boxes in drawings: their outlines, and with much white their insides.
GREY = "#7a7f87"
SYMBOLS = {
    "M": ("#7a3fa0", "#c79be6"),
    "T": ("#24734a", "#72c79a"),
    "H": ("#a33a1e", "#f0947a"),
    "g": ("#0b5c9e", "#79b8ff"),
}
"""Mask, trunk, output and gradient, on light and on dark pages: in equations, code and figures."""
ON_ANY = {"M": "#9863bb", "T": "#38885e", "H": "#c05c41", "g": "#337dc1"}
"""Between both: for formulas of notebooks and slides, which cannot know their page."""
KINDS = ("weights", "join", "activation", "leaf", "size", "unit", "norm", "plain", "mask", "trunk")
BOX_COLOURS = dict(zip(KINDS, (*COLOURS[:6], GREY, GREY, SYMBOLS["M"][0], SYMBOLS["T"][0])))
# Brightness grows evenly along this map, so it reads in grey and for every kind of colour vision.
MAP_COLOURS = "inferno"
SIGNED_COLOURS = "RdBu_r"


PAGES = "MINRAN_PAGES"
"""Set where pages are made: a figure is then shown twice, in light and in dark colours."""


@dataclass(frozen=True)
class Theme:
    """Colours of paper, text and lines."""

    paper: str
    text: str
    faint: str
    grid: str
    colours: tuple[str, ...]

    def line(self, index: int) -> str:
        """The colour of a line by its number; they come round again."""
        return self.colours[index % len(self.colours)]


LIGHT = Theme("#ffffff", "#1f2328", "#59636e", "#d9dee3", COLOURS)
DARK = Theme("#0d1117", "#e6edf3", "#9aa4af", "#2d343c", DARK_COLOURS)


def theme(dark: bool = False) -> Theme:
    """The light or the dark theme."""
    return DARK if dark else LIGHT


def symbol_colour(name: str, colours: Theme) -> str:
    """The colour of a step by its name: "M", "g of M", "gradient of M"; that of text for others."""
    key = "g" if name.startswith(("g of ", "gradient of ")) else name
    return SYMBOLS[key][0] if key in SYMBOLS else colours.text


_MATH = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", re.S)
_SYMBOL = re.compile(r"(?<![A-Za-z\\_^])(?<![_^]\{)(g(?:_[MTH])?|[MTH])(?![A-Za-z^])")


def in_colours(markdown: str) -> str:
    """Markdown whose formulas about a mask and a trunk have M, T, H and g in their colours.

    The colour stands in each formula, because not every viewer of notebooks knows definitions.
    """

    def coloured(match: re.Match[str]) -> str:
        formula = match.group()
        if not {"M", "T"} <= {symbol[-1] for symbol in _SYMBOL.findall(formula)}:
            return formula
        return _SYMBOL.sub(lambda m: rf"{{\color{{{ON_ANY[m[0][0]]}}}{{{m[0]}}}}}", formula)

    parts = re.split(r"(```.*?```|`[^`\n]*`)", markdown, flags=re.S)
    return "".join(part if k % 2 else _MATH.sub(coloured, part) for k, part in enumerate(parts))
